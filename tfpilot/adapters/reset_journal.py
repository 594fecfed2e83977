"""The journals of resets: `ops/resets/<reset id>/`, an object for each thing that happened.

`plan.json` is what was confirmed, `record.json` by whom, `journal/<n>.json` an entry, `receipts/<n>.json` and `.md` the
receipt after entry n, `stop.json` the last wish to stop. `ops/resets/approvals/<digest>/` holds what a second admin was
asked and said about the plan with that digest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.keys import RESET_APPROVALS, RESETS, SUFFIX
from tfpilot.adapters.records import MAX_RECORD_BYTES, Records
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import (
    flag_of,
    format_time,
    member_of,
    object_of,
    parse_json,
    parse_time,
    render_document,
    text_of,
)
from tfpilot.core.reset_confirm import Approval, ApprovalRequest
from tfpilot.core.reset_journal import (
    JournalEntry,
    StopRequest,
    StoredReset,
    check_stored,
    entry_fields,
    parse_entry,
    parse_record,
    record_fields,
)
from tfpilot.core.reset_plan import ResetPlan, StateMode
from tfpilot.core.reset_plan_document import parse_plan, render_plan
from tfpilot.core.reset_steps import ResetRecord
from tfpilot.errors import ConflictError, MalformedIdError, NotFoundError

MAX_PLAN_BYTES: Final = 256 * 1024 * 1024
_ID: Final = re.compile(r"rst_[a-z0-9_]{1,60}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class S3ResetJournal:
    """`ResetJournal` on a bucket."""

    def __init__(self, bucket: Bucket, bulk: Bulk) -> None:
        self._bucket = bucket
        self._bulk = bulk
        self._records = Records(bucket)

    def begin(self, record: ResetRecord, plan: ResetPlan) -> None:
        self._bucket.put(f"{_prefix(record.reset_id)}plan{SUFFIX}", render_plan(plan), if_match=None)
        self._add(f"{_prefix(record.reset_id)}record{SUFFIX}", record_fields(record))

    def add(self, reset_id: str, entry: JournalEntry) -> None:
        self._add(f"{_journal(reset_id)}{_name(entry.number)}{SUFFIX}", entry_fields(entry))

    def get(self, reset_id: str) -> StoredReset:
        prefix = _prefix(reset_id)
        plan = self._bucket.find(f"{prefix}plan{SUFFIX}", limit_bytes=MAX_PLAN_BYTES)
        record = self._bucket.find(f"{prefix}record{SUFFIX}", limit_bytes=MAX_RECORD_BYTES)
        if plan is None or record is None:
            raise NotFoundError(f"There is no reset {reset_id}", "`python -m tfpilot reset list` names them.")
        stored = StoredReset(
            record=_record(record.content, key=f"{prefix}record{SUFFIX}"),
            plan=parse_plan(plan.content, key=f"{prefix}plan{SUFFIX}"),
            entries=tuple(self.entries(reset_id, after=0)),
        )
        check_stored(stored, reset_id=reset_id)
        return stored

    def entries(self, reset_id: str, *, after: int) -> Sequence[JournalEntry]:
        prefix = _journal(reset_id)
        listed = [key for key in sorted(self._bulk.list_all(prefix)) if key > f"{prefix}{_name(after)}{SUFFIX}"]
        read = self._bulk.find_all(listed, limit_bytes=MAX_PLAN_BYTES)
        return [
            parse_entry(object_of(parse_json(each.content, what=each.key)), key=each.key)
            for each in read
            if each is not None
        ]

    def list(self) -> Sequence[ResetRecord]:
        keys = [f"{folder}record{SUFFIX}" for folder in self._bucket.list_folders(RESETS) if folder != RESET_APPROVALS]
        read = self._bulk.find_all(keys, limit_bytes=MAX_RECORD_BYTES)
        records = [_record(each.content, key=each.key) for each in read if each is not None]
        return sorted(records, key=lambda record: (record.started_at, record.reset_id), reverse=True)

    def put_receipt(self, reset_id: str, number: int, *, as_json: bytes, as_markdown: str) -> None:
        name = f"{_receipts(reset_id)}{_name(number)}"
        for key, content in (
            (f"{name}.md", as_markdown.encode(errors="backslashreplace")),
            (f"{name}{SUFFIX}", as_json),
        ):
            try:
                self._bucket.put(key, content, if_match=None)
            except ConflictError:
                continue  # another process came to the same end

    def has_receipt(self, reset_id: str) -> bool:
        last = max(self._bulk.list_all(_journal(reset_id)), default="")
        name = last.removeprefix(_journal(reset_id))
        return bool(name) and f"{_receipts(reset_id)}{name}" in self._bulk.list_all(_receipts(reset_id))

    def ask_to_stop(self, reset_id: str, request: StopRequest) -> None:
        self._records.put_newest(
            f"{_prefix(reset_id)}stop{SUFFIX}",
            {"by": request.by, "at": format_time(request.at)},
            stays=lambda stored: (text_of(stored.get("at")) or "") > format_time(request.at),
        )

    def find_stop(self, reset_id: str) -> StopRequest | None:
        stored = self._records.find(f"{_prefix(reset_id)}stop{SUFFIX}")
        at = parse_time(stored.get("at"))
        return None if at is None else StopRequest(text_of(stored.get("by")) or "", at)

    def ask_for_approval(self, request: ApprovalRequest) -> None:
        fields = {
            "digest": request.digest,
            "target": request.target,
            "stateMode": request.state_mode.value,
            "withIndex": request.with_index,
            "askedBy": request.asked_by,
            "reason": request.reason,
            "at": format_time(request.at),
        }
        self._keep(f"{_approvals(request.digest)}asked{SUFFIX}", fields)

    def find_request(self, digest: str) -> ApprovalRequest | None:
        stored = self._records.find(f"{_approvals(digest)}asked{SUFFIX}")
        at, target = parse_time(stored.get("at")), text_of(stored.get("target"))
        state_mode = member_of(StateMode, stored.get("stateMode"))
        if at is None or target is None or state_mode is None:
            return None
        return ApprovalRequest(
            digest=digest,
            target=target,
            state_mode=state_mode,
            with_index=flag_of(stored.get("withIndex")) or False,
            asked_by=text_of(stored.get("askedBy")) or "",
            reason=text_of(stored.get("reason")) or "",
            at=at,
        )

    def approve(self, approval: Approval) -> None:
        fields = {"digest": approval.digest, "login": approval.login, "at": format_time(approval.at)}
        self._keep(f"{_approvals(approval.digest)}approved{SUFFIX}", fields)

    def find_approval(self, digest: str) -> Approval | None:
        stored = self._records.find(f"{_approvals(digest)}approved{SUFFIX}")
        at, login = parse_time(stored.get("at")), text_of(stored.get("login"))
        return None if at is None or login is None else Approval(digest, login, at)

    def _add(self, key: str, fields: Mapping[str, Any]) -> None:
        self._bulk.create(key, render_document(fields))

    def _keep(self, key: str, fields: Mapping[str, Any]) -> None:
        try:
            self._add(key, fields)
        except ConflictError:
            return  # the first one counts


def _record(content: bytes, *, key: str) -> ResetRecord:
    return parse_record(object_of(parse_json(content, what=key)), key=key)


def _prefix(reset_id: str) -> str:
    if _ID.fullmatch(reset_id) is None:
        raise MalformedIdError(
            f"{reset_id[:60]!r} is not the id of a reset", "`python -m tfpilot reset list` has them."
        )
    return f"{RESETS}{reset_id}/"


def _journal(reset_id: str) -> str:
    return f"{_prefix(reset_id)}journal/"


def _receipts(reset_id: str) -> str:
    return f"{_prefix(reset_id)}receipts/"


def _approvals(digest: str) -> str:
    if _DIGEST.fullmatch(digest) is None:
        raise MalformedIdError(f"{digest[:70]!r} is not the digest of a plan", "It has 64 digits and letters a to f.")
    return f"{RESET_APPROVALS}{digest}/"


def _name(number: int) -> str:
    return f"{number:06}"
