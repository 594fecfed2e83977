"""Our own records of dispatches: `ops/dispatches/<id>/<nonce>.json`, one object each."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tfpilot.adapters.bulk import Bulk, Fetched
from tfpilot.adapters.keys import DISPATCHES, SUFFIX, dispatch_key, dispatches_prefix
from tfpilot.adapters.records import MAX_RECORD_BYTES, parse_record
from tfpilot.adapters.s3 import Bucket, Listed
from tfpilot.core.document import (
    format_time,
    member_of,
    number_of,
    object_of,
    parse_time,
    render_document,
    text_of,
)
from tfpilot.core.model import (
    ABSENT,
    DispatchRecord,
    DispatchState,
    FieldChange,
    JsonObject,
    RepoRef,
    StoredDispatch,
    WorkflowKind,
)


class S3Dispatches:
    """`Dispatches` on a bucket. Where all requests' records are looked at, each version is read once per process."""

    def __init__(self, bucket: Bucket, bulk: Bulk) -> None:
        self._bucket = bucket
        self._bulk = bulk
        self._lock = threading.Lock()
        self._known: dict[str, StoredDispatch] = {}

    def add(self, record: DispatchRecord) -> StoredDispatch:
        key = dispatch_key(record.request_id, record.nonce)
        return StoredDispatch(record, self._bucket.put(key, render_document(render_record(record)), if_match=None))

    def put(self, record: DispatchRecord, *, if_match: str) -> StoredDispatch:
        key = dispatch_key(record.request_id, record.nonce)
        return StoredDispatch(record, self._bucket.put(key, render_document(render_record(record)), if_match=if_match))

    def list(self, request_id: str) -> Sequence[StoredDispatch]:
        return self._read(self._bulk.list_all(dispatches_prefix(request_id)).values())

    def list_open(self) -> Sequence[StoredDispatch]:
        return [each for each in self._all() if each.record.state is DispatchState.OPEN]

    def list_started(self) -> Sequence[StoredDispatch]:
        return [each for each in self._all() if each.record.state is DispatchState.STARTED]

    def _all(self) -> Sequence[StoredDispatch]:
        listed = self._bulk.list_all(DISPATCHES)
        with self._lock:
            known = {key: each for key, each in self._known.items() if key in listed and each.etag == listed[key].etag}
        found = self._read([each for key, each in listed.items() if key not in known])
        known |= {dispatch_key(each.record.request_id, each.record.nonce): _slim(each) for each in found}
        with self._lock:
            self._known |= known
        return sorted(known.values(), key=_age_order)

    def _read(self, listed: Iterable[Listed]) -> Sequence[StoredDispatch]:
        fetched = self._bulk.read_all(list(listed), limit_bytes=MAX_RECORD_BYTES)
        records = ((_record_in(each), each.listed.etag) for each in fetched)
        stored = [StoredDispatch(record, etag) for record, etag in records if record is not None]
        return sorted(stored, key=_age_order)


def _age_order(stored: StoredDispatch) -> tuple[datetime, str]:
    return (stored.record.triggered_at, stored.record.nonce)


def _slim(stored: StoredDispatch) -> StoredDispatch:
    """What is kept in memory of a record: of one that is over, not what it replaced."""
    if stored.record.state is DispatchState.OPEN:
        return stored
    return replace(stored, record=replace(stored.record, replaced=(), inputs={}))


def _record_in(fetched: Fetched) -> DispatchRecord | None:
    key = fetched.listed.key
    return parse_dispatch(parse_record(fetched.content or b"", key=key), key=key)


def render_record(record: DispatchRecord) -> JsonObject:
    """The record as it is stored."""
    optional = {
        "postedAt": record.posted_at and format_time(record.posted_at),
        "runId": record.run_id,
        "settledAt": record.settled_at and format_time(record.settled_at),
        "settledBy": record.settled_by or None,
        "detail": record.detail or None,
    }
    return {
        "requestId": record.request_id,
        "nonce": record.nonce,
        "kind": record.kind.value,
        "owner": record.repo.owner,
        "repo": record.repo.name,
        "workflowFile": record.workflow_file,
        "ref": record.ref,
        "inputs": dict(record.inputs),
        "operator": record.operator,
        "triggeredAt": format_time(record.triggered_at),
        "state": record.state.value,
        **{name: value for name, value in optional.items() if value is not None},
        "replaced": [_render_change(change) for change in record.replaced],
    }


def parse_dispatch(stored: JsonObject, *, key: str) -> DispatchRecord | None:
    """The record in a stored object; None where it is none, or not the one that its key promises."""
    request_id, nonce, owner, name = (text_of(stored.get(field)) for field in ("requestId", "nonce", "owner", "repo"))
    triggered_at = parse_time(stored.get("triggeredAt"))
    kind, state = member_of(WorkflowKind, stored.get("kind")), member_of(DispatchState, stored.get("state"))
    if not (request_id and nonce and owner and name and triggered_at):
        return None
    if key != f"{DISPATCHES}{request_id}/{nonce}{SUFFIX}":
        return None
    if kind is None or state is None:
        return None
    return DispatchRecord(
        request_id=request_id,
        nonce=nonce,
        kind=kind,
        repo=RepoRef(owner, name),
        workflow_file=text_of(stored.get("workflowFile")) or "",
        ref=text_of(stored.get("ref")) or "",
        inputs={each: value for each, value in object_of(stored.get("inputs")).items() if isinstance(value, str)},
        operator=text_of(stored.get("operator")) or "",
        triggered_at=triggered_at,
        state=state,
        posted_at=parse_time(stored.get("postedAt")),
        run_id=number_of(stored.get("runId")),
        replaced=_parse_changes(stored.get("replaced")),
        settled_at=parse_time(stored.get("settledAt")),
        settled_by=text_of(stored.get("settledBy")) or "",
        detail=text_of(stored.get("detail")) or "",
    )


def _render_change(change: FieldChange) -> Mapping[str, Any]:
    sides = {"before": change.before, "after": change.after}
    return {"path": list(change.path), **{side: value for side, value in sides.items() if value is not ABSENT}}


def _parse_changes(stored: object) -> tuple[FieldChange, ...]:
    changes = [object_of(each) for each in stored] if isinstance(stored, list) else []
    return tuple(
        FieldChange(tuple(path), change.get("before", ABSENT), change.get("after", ABSENT), "")
        for change in changes
        if isinstance(path := change.get("path"), list) and path and all(isinstance(name, str) for name in path)
    )
