"""Memos of GitHub's last answer about each request: `ops/checked/<id>.json`."""

from __future__ import annotations

from tfpilot.adapters.keys import checked_key
from tfpilot.adapters.records import Records
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import flag_of, format_time, number_of, object_of, parse_time
from tfpilot.core.model import Checked, JobsFact, JsonObject, WorkflowKind


class S3CheckedMemos:
    """`CheckedMemos` on a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._records = Records(bucket)

    def find(self, request_id: str) -> Checked | None:
        return parse_memo(self._records.find(checked_key(request_id)))

    def put(self, request_id: str, memo: Checked) -> None:
        def is_as_new(stored: JsonObject) -> bool:
            other = parse_memo(stored)
            return other is not None and format_time(other.asked_at) >= format_time(memo.asked_at)

        self._records.put_newest(checked_key(request_id), render_memo(memo), stays=is_as_new)


def render_memo(memo: Checked) -> JsonObject:
    """The memo as it is stored."""
    jobs = {
        kind.value: {"runId": fact.run_id, "attempt": fact.attempt, "started": fact.started}
        for kind, fact in memo.jobs.items()
    }
    tried = {"triedAt": format_time(memo.tried_at)} if memo.tried_at else {}
    return {"at": format_time(memo.at), "facts": dict(memo.facts), "jobs": jobs, **tried}


def parse_memo(record: JsonObject) -> Checked | None:
    """The memo in a stored record, without what cannot be read; None where it has no time."""
    at = parse_time(record.get("at"))
    if at is None:
        return None
    facts = {name: outcome for name, outcome in object_of(record.get("facts")).items() if isinstance(outcome, str)}
    stored_jobs = object_of(record.get("jobs"))
    jobs = {kind: _parse_jobs(object_of(stored_jobs.get(kind.value))) for kind in WorkflowKind}
    known_jobs = {kind: fact for kind, fact in jobs.items() if fact is not None}
    return Checked(at, facts, known_jobs, parse_time(record.get("triedAt")))


def _parse_jobs(record: JsonObject) -> JobsFact | None:
    run_id, attempt = number_of(record.get("runId")), number_of(record.get("attempt"))
    started = flag_of(record.get("started"))
    if run_id is None or attempt is None or started is None:
        return None
    return JobsFact(run_id, attempt, started)
