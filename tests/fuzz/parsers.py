"""Every parser of bytes that are stored or come from outside, with samples that it takes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from github import GithubException

from tests.builders import NOW, REQUEST_ID, ago, stuck_planning
from tests.core.reset_world import FOREIGN, state_bytes
from tests.core.saying import THRESHOLDS
from tests.fakes import InMemory, MemoryBucket, MemoryBulk
from tests.fuzz import samples
from tests.fuzz.samples import DIGEST, GUID, KEPT, KEY, PLAN, REPO, RESET, SEALING
from tests.webhook_payloads import pull_payload, review_payload, run_payload
from tfpilot.adapters import github_values, index_journal
from tfpilot.adapters.backoffs import S3Backoffs
from tfpilot.adapters.deliveries import S3Deliveries, kept_key, parse_handled, render_handled, render_kept
from tfpilot.adapters.dispatches import parse_dispatch, render_record
from tfpilot.adapters.events import parse_event as parse_lifecycle_event
from tfpilot.adapters.freeze import FREEZE, S3Freeze
from tfpilot.adapters.github_errors import server_time, translated
from tfpilot.adapters.index_marks import parse_mark
from tfpilot.adapters.keys import dispatch_key
from tfpilot.adapters.memos import parse_memo
from tfpilot.adapters.pull_index import S3PullIndex, pull_key
from tfpilot.adapters.records import parse_record
from tfpilot.adapters.reset_journal import S3ResetJournal
from tfpilot.config.settings import load_targets
from tfpilot.core import audit, bucket_rules, reset_journal
from tfpilot.core.delivery import Delivery, Place, check_event, check_guid, parse_payload
from tfpilot.core.diagnosis import diagnose
from tfpilot.core.document import object_of, parse_document, parse_json, render_document
from tfpilot.core.lease import parse_lease
from tfpilot.core.lifecycle import explain
from tfpilot.core.listing import summarise
from tfpilot.core.model import JsonObject, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.core.reset_plan_document import find_strange_place, parse_plan, render_plan
from tfpilot.core.reset_target import parse_targets
from tfpilot.core.run_index import new_entry, parse_entry, render_entry
from tfpilot.core.terraform import parse_lock
from tfpilot.core.terraform_state import count_types, empty_state, is_of_new_workspace, read_state
from tfpilot.core.timeline import draw_timeline
from tfpilot.core.webhook_event import parse_event

RESET_OBJECTS: Final = {
    "plan.json": render_plan(PLAN),
    "record.json": render_document(reset_journal.record_fields(RESET)),
    "journal/000001.json": samples.JOURNALED,
}
FILES: Final = InMemory().rules.workflow_files


@dataclass(frozen=True)
class Parser:
    """One parser. `as_json` False: its samples are mutated as bytes only."""

    name: str
    samples: tuple[bytes, ...]
    parse: Callable[[bytes], object]
    as_json: bool = True


def stored(parse: Callable[[JsonObject], object]) -> Callable[[bytes], object]:
    """A parser of an object, on bytes, as the adapters call it."""
    return lambda content: parse(object_of(parse_json(content, what=KEY)))


def memo(parse: Callable[[JsonObject], object]) -> Callable[[bytes], object]:
    """The same for records that say nothing where they are broken."""
    return lambda content: parse(parse_record(content, key=KEY))


def answered(parse: Callable[[Any], object]) -> Callable[[bytes], object]:
    """A reader of GitHub's answers, on what the client's own JSON makes of the bytes; not all bytes are JSON."""

    def read(content: bytes) -> object:
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return parse(data)

    return read


def bucket_with(key: str, content: bytes) -> MemoryBucket:
    bucket = MemoryBucket()
    bucket.write(key, content)
    return bucket


def read_document(content: bytes) -> object:
    """All that a page computes of a document, and the document written again."""
    document = parse_document(content, request_id=REQUEST_ID)
    read = parse_request(document)
    summarise(read, thresholds=THRESHOLDS)
    draw_timeline(read, NOW, THRESHOLDS)
    assert parse_document(render_document(document), request_id=REQUEST_ID) == document
    return explain(read, NOW), diagnose(read, NOW, THRESHOLDS)


def read_terraform_state(content: bytes) -> object:
    is_of_new_workspace(content)
    return count_types(read_state(content).resources)


def read_plan_of_reset(content: bytes) -> object:
    plan = parse_plan(content, key=KEY)
    return find_strange_place(plan), render_plan(plan)


def read_plan_with_a_digest_that_fits(content: bytes) -> object:
    """The same for somebody who knows how a digest is made."""
    stored_plan = object_of(parse_json(content, what=KEY))
    bound = json.dumps(stored_plan.get("binding"), sort_keys=True, separators=(",", ":")).encode()
    return read_plan_of_reset(render_document({**stored_plan, "digest": hashlib.sha256(bound).hexdigest()}))


def read_reset(name: str) -> Callable[[bytes], object]:
    """A reset as the portal reads it, where one of its objects is what the bytes say."""

    def read(content: bytes) -> object:
        bucket = MemoryBucket()
        for key, usual in {**RESET_OBJECTS, name: content}.items():
            bucket.write(f"ops/resets/{RESET.reset_id}/{key}", usual)
        journal = S3ResetJournal(bucket, MemoryBulk(bucket))
        return journal.list(), reset_journal.read_journal(journal.get(RESET.reset_id).entries)

    return read


def read_stop(content: bytes) -> object:
    bucket = bucket_with(f"ops/resets/{RESET.reset_id}/stop.json", content)
    return S3ResetJournal(bucket, MemoryBulk(bucket)).find_stop(RESET.reset_id) or "nobody asked"


def read_approval(name: str) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        bucket = bucket_with(f"ops/resets/approvals/{DIGEST}/{name}.json", content)
        journal = S3ResetJournal(bucket, MemoryBulk(bucket))
        return journal.find_request(DIGEST), journal.find_approval(DIGEST)

    return read


def read_kept(content: bytes) -> object:
    bucket = bucket_with(kept_key(KEPT), content)
    return S3Deliveries(bucket, MemoryBulk(bucket)).list_kept(Place.DEAD_LETTER, limit=5)


def read_seen(content: bytes) -> object:
    bucket = bucket_with(f"webhooks/github/deliveries/{GUID}.json", content)
    return S3Deliveries(bucket, MemoryBulk(bucket)).seen_by_web_app(limit=5)


def read_audit_record(fields: JsonObject) -> object:
    found = audit.parse_record(fields, key=KEY)
    anchor = audit.parse_anchor(fields, where=KEY)
    anchors = [anchor] if anchor is not None and anchor.number < 1000 else []
    return audit.verify_chain("replica-1", {1: found}, anchors, keys=[SEALING])


def read_webhook(content: bytes) -> object:
    payload = parse_payload(content)
    return [parse_event(name, payload, workflow_files=FILES) for name in ("workflow_run", "pull_request_review", "x")]


def read_headers(content: bytes) -> object:
    """The headers of an answer of GitHub's, which say how long to wait."""
    text = content.decode("latin-1")
    server_time({"date": text})
    headers = {"date": text, "retry-after": text, "x-ratelimit-reset": text, "x-ratelimit-remaining": "0"}
    failures = (GithubException(status, {"message": text}, headers) for status in (403, 429, 503))
    return [translated(failure, what="a pull request") for failure in failures]


def read_delivery_id(content: bytes) -> object:
    text = content.decode("latin-1")
    return check_guid(Delivery(text, text, text, b""))


def read_event_name(content: bytes) -> object:
    text = content.decode("latin-1")
    return check_event(Delivery(text, text, text, b""))


def read_rules(fields: JsonObject) -> object:
    scopes = [bucket_rules.scope_of(rule) for rule in bucket_rules.rules_of(fields)]
    return scopes, bucket_rules.normal(fields), bucket_rules.differences(samples.RULES, fields)


def read_targets(content: bytes) -> object:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        Path(file.name).write_bytes(content)
        return load_targets(Path(file.name))


def read_beside(content: bytes) -> object:
    """Small objects that the web app and the portal write, each through its own store."""
    number = 7
    pull = S3PullIndex(bucket_with(pull_key(REPO, number), content)).find(REPO, number)
    backoff = S3Backoffs(bucket_with("webhooks/github/ratelimit/global.json", content)).find(REPO, now=NOW)
    return pull, backoff, S3Freeze(bucket_with(FREEZE, content)).find()


def read_fix(fields: JsonObject) -> object:
    return index_journal.parse_fix(fields), index_journal.parse_step(1, fields)


def read_job(data: Any) -> object:
    return github_values.has_started(data, run_id=101), github_values.running_job(data, run_id=101)


def read_user(data: Any) -> object:
    return github_values.items_of(data, "jobs"), github_values.repo_of(data), github_values.login_of(data)


def read_tables(data: Any) -> object:
    return parse_targets(object_of(data))


def json_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


PULL, RUN, JOB = (json_bytes(each) for each in (samples.PULL, samples.RAN, samples.JOB))
STATES: Final = (state_bytes(), json_bytes(samples.OLD_STATE))
TABLES: Final = (json_bytes(samples.TARGET_TABLES),)

PARSERS: Final[tuple[Parser, ...]] = (
    Parser("request document", (json_bytes(stuck_planning()), json_bytes(samples.FULL)), read_document),
    Parser(
        "entry of the run index",
        (render_entry(new_entry(WorkflowKind.PLAN, 101, REQUEST_ID, created_at=NOW)),),
        partial(parse_entry, key=KEY),
    ),
    Parser("terraform state", STATES, read_terraform_state),
    Parser("state to be emptied", (state_bytes(),), empty_state),
    Parser("lock", (FOREIGN.encode(),), parse_lock),
    Parser("lock item", (FOREIGN.encode(),), lambda content: parse_lock(content.decode("utf-8", "surrogateescape"))),
    Parser("webhook", tuple(map(json_bytes, (run_payload(), pull_payload(), review_payload()))), read_webhook),
    Parser("delivery id", (GUID.encode(),), read_delivery_id, as_json=False),
    Parser("name of an event", (b"workflow_run",), read_event_name, as_json=False),
    Parser("headers of an answer", (b"Mon, 02 Mar 2026 12:00:00 GMT", b"60"), read_headers, as_json=False),
    Parser("kept delivery", (render_document(render_kept(KEPT)),), read_kept),
    Parser(
        "handled delivery",
        (render_document(render_handled(samples.HANDLED)),),
        memo(partial(parse_handled, guid=GUID)),
    ),
    Parser("delivery of the web app", (json_bytes({"event": "ping", "receivedAt": ago(minutes=1)}),), read_seen),
    Parser(
        "dispatch",
        (render_document(render_record(samples.DISPATCH)),),
        memo(partial(parse_dispatch, key=dispatch_key(REQUEST_ID, samples.DISPATCH.nonce))),
    ),
    Parser("plan of a reset", (render_plan(PLAN),), read_plan_of_reset),
    Parser("plan of a reset, sealed anew", (render_plan(PLAN),), read_plan_with_a_digest_that_fits),
    Parser("stored plan of a reset", (render_plan(PLAN),), read_reset("plan.json")),
    Parser("record of a reset", (json_bytes(reset_journal.record_fields(RESET)),), read_reset("record.json")),
    Parser("journal of a reset", (samples.JOURNALED,), read_reset("journal/000001.json")),
    Parser("stop of a reset", (json_bytes({"by": "ada", "at": ago(minutes=1)}),), read_stop),
    Parser("asked approval", (json_bytes(samples.ASKED),), read_approval("asked")),
    Parser("approval", (json_bytes({"login": "ada", "at": ago(minutes=1)}),), read_approval("approved")),
    Parser("fix of the run index", (json_bytes(index_journal.render_step(samples.FIX)),), stored(read_fix)),
    Parser("mark", (json_bytes(samples.MARK),), memo(parse_mark)),
    Parser("memo", (json_bytes(samples.MEMO),), memo(parse_memo)),
    Parser("lease", (json_bytes(samples.LEASE),), memo(parse_lease)),
    Parser(
        "lifecycle event", (json_bytes(samples.EVENT),), memo(partial(parse_lifecycle_event, request_id=REQUEST_ID))
    ),
    Parser("audit record", (json_bytes(audit.record_fields(samples.RECORD)),), stored(read_audit_record)),
    Parser("small objects beside", (json_bytes(samples.BESIDE),), read_beside),
    Parser("lifecycle rules", (json_bytes(samples.RULES),), stored(read_rules)),
    Parser("file of targets", (samples.TARGETS,), read_targets, as_json=False),
    Parser("tables of targets", TABLES, answered(read_tables)),
    Parser("pull request", (PULL,), answered(github_values.pull_of)),
    Parser("review", (json_bytes(samples.REVIEW),), answered(github_values.review_of)),
    Parser("workflow run", (RUN,), answered(github_values.run_of)),
    Parser("job", (JOB,), answered(read_job)),
    Parser("user", (b'{"login": "ada", "full_name": "acme/infra", "jobs": [{}]}',), answered(read_user)),
)
