"""What a dispatch writes into a request: the lock, the intent, the run it started, and each of them taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.changes import RUN_FIELDS, field_change
from tfpilot.core.document import field_at, format_time, number_of, object_of, parse_time
from tfpilot.core.model import (
    ABSENT,
    REQUESTED,
    DispatchRecord,
    DispatchState,
    FieldChange,
    JsonObject,
    Request,
    RequestLock,
    WorkflowKind,
)
from tfpilot.core.request import (
    LEGACY_RUNS,
    TRIGGERS,
    canonical_run,
    is_of_older_revision,
    parse_request,
    revision_began,
)

LOCKED_FOR: Final = timedelta(minutes=2)
LEAST_LEASE: Final = timedelta(seconds=60)
"""What must be left of the lock when GitHub is asked to start something."""

_LOCK: Final = ("lock",)
_CLEANUP_ATTEMPT: Final = frozenset(
    {("github", "cleanupTriggeredForDestroyRunId"), ("github", "cleanupDispatchAttemptedAt")}
)
_REPLACED_BY_NEWER: Final = frozenset({WorkflowKind.PLAN, WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN})
"""Kinds whose runs are started by others too, so that a newer run is no sign of an overwritten one."""


def holds_lock(request: Request, now: datetime) -> RequestLock | None:
    """The lock that somebody holds at `now`; None where there is none or its time is over. Without a readable end it
    ends two minutes after it was taken, and without that it counts as over."""
    lock = request.lock
    if lock is None:
        return None
    ends = lock.expires_at or (lock.acquired_at + LOCKED_FOR if lock.acquired_at else None)
    return lock if ends is not None and now <= ends else None


def lock_changes(document: JsonObject, *, holder: str, operation: str, now: datetime) -> tuple[FieldChange, ...]:
    """Takes the request's own lock for two minutes, in place of one whose time is over."""
    lock = {
        "holder": holder,
        "operation": operation,
        "acquiredAt": format_time(now),
        "expiresAt": format_time(now + LOCKED_FOR),
    }
    return tuple(field_change(document, _LOCK, lock, f"locked for {operation}"))


def unlock_changes(document: JsonObject, *, holder: str) -> tuple[FieldChange, ...]:
    """Releases the lock, if it is still the holder's."""
    if object_of(document.get("lock")).get("holder") != holder:
        return ()
    return tuple(field_change(document, _LOCK, ABSENT, "released"))


def intent_changes(
    request: Request, kind: WorkflowKind, now: datetime, *, destroy_run_id: int | None = None
) -> tuple[FieldChange, ...]:
    """Says that a run is about to be dispatched: the trigger time, and an attempt without id in place of the last run,
    whose id is never used again. A cleanup also says for which destroy run it is."""
    document, source = request.raw, f"{kind.value} dispatched"
    return (
        *_trigger_changes(document, kind, now, source),
        *(change for place in _run_places(kind) for change in _attempt_changes(document, place, source)),
        *field_change(document, ("github", "unresolved", kind.value), ABSENT, source),
        *(_cleanup_changes(document, now, destroy_run_id) if kind is WorkflowKind.CLEANUP else ()),
    )


def started_changes(
    document: JsonObject, kind: WorkflowKind, *, run_id: int, html_url: str | None
) -> tuple[FieldChange, ...]:
    """Stores the run that a dispatch started, in both places."""
    source = f"run {run_id} started"
    changes = [
        change for place in _run_places(kind) for change in _started_at(document, place, run_id, html_url, source)
    ]
    if kind is WorkflowKind.CLEANUP:
        changes += field_change(document, ("github", "cleanupDispatchStatus"), "dispatched", source)
    return tuple(changes)


def is_still_open(document: JsonObject, record: DispatchRecord) -> bool:
    """Whether the document still holds that dispatch as its latest of the kind, without a run."""
    at = _trigger_of(document, record.kind)
    return at == record.triggered_at and not _holds_run(document, canonical_run(record.kind))


def take_back_changes(document: JsonObject, record: DispatchRecord) -> tuple[FieldChange, ...]:
    """Puts back what the intent replaced, wherever the document still holds what the intent wrote.

    A place that holds a run by now keeps it whole: parts of the run before would say something wrong of this one.
    """
    taken = {place for place in _run_places(record.kind) if _holds_run(document, place)}
    return tuple(
        FieldChange(change.path, change.after, change.before, f"the {record.kind.value} was not started")
        for change in record.replaced
        if change.path[:-1] not in taken and field_at(document, change.path) == change.after
    )


def replaced_run_ids(record: DispatchRecord) -> frozenset[int]:
    """The runs that the intent took the place of: none of them is the run that it started."""
    ids = (number_of(change.before) for change in record.replaced if change.path[-1] == "runId")
    return frozenset(run_id for run_id in ids if run_id is not None)


def close_changes(document: JsonObject, kind: WorkflowKind) -> tuple[FieldChange, ...]:
    """Takes away a dispatch, not ours, of which a person confirmed that no run exists."""
    source = f"no {kind.value} run exists, confirmed by a person"
    changes = [change for path in TRIGGERS[kind] for change in field_change(document, path, ABSENT, source)]
    for place in _run_places(kind):
        if not _holds_run(document, place):
            changes += field_change(document, (*place, "status"), ABSENT, source)
    return tuple(changes)


def error_changes(document: JsonObject, record: DispatchRecord, reason: str) -> tuple[FieldChange, ...]:
    """Says that the cleanup of the record could not be dispatched: why, when it was tried, and after which destroy."""
    source = "the cleanup was not started"
    tried = [(change.path, change.after) for change in record.replaced if change.path in _CLEANUP_ATTEMPT]
    return (
        *field_change(document, ("github", "cleanupDispatchStatus"), "error", source),
        *field_change(document, ("github", "cleanupDispatchLastError"), reason, source),
        *(change for path, value in tried for change in field_change(document, path, value, source)),
    )


def overwritten_changes(document: JsonObject, records: Iterable[DispatchRecord]) -> tuple[FieldChange, ...]:
    """What another writer has overwritten of our latest dispatch of each kind, by our own records, put back.

    A later trigger of the same kind is a newer dispatch and no overwriting; so is a newer plan, cleanup or drift run,
    and a newer pull request.
    """
    began = revision_began(parse_request(document))
    standing = [
        each
        for each in records
        if each.state in (DispatchState.OPEN, DispatchState.STARTED)
        and not is_of_older_revision(each.kind, each.triggered_at, began)
    ]
    latest = {each.kind: each for each in sorted(standing, key=lambda each: each.triggered_at)}
    return tuple(change for record in latest.values() for change in _overwritten(document, record))


def _overwritten(document: JsonObject, record: DispatchRecord) -> Iterator[FieldChange]:
    at = _trigger_of(document, record.kind)
    stored = object_of(field_at(document, canonical_run(record.kind)))
    if (at is not None and at > record.triggered_at) or _is_newer_run(stored, record):
        return
    source = f"our record of the dispatch at {format_time(record.triggered_at)}"
    if at != record.triggered_at:
        yield from _trigger_changes(document, record.kind, record.triggered_at, source)
    is_lost = record.run_id is not None and stored.get("runId") != record.run_id
    if not is_lost and (at == record.triggered_at or record.state is DispatchState.STARTED):
        return
    named = {} if record.run_id is None else {"runId": record.run_id}
    for place in _run_places(record.kind):
        if record.run_id is None or object_of(field_at(document, place)).get("runId") != record.run_id:
            yield from _attempt_changes(document, place, source, named)


def _is_newer_run(stored: JsonObject, record: DispatchRecord) -> bool:
    created_at = parse_time(stored.get("createdAt"))
    return record.kind in _REPLACED_BY_NEWER and created_at is not None and created_at > record.triggered_at


def _trigger_of(document: JsonObject, kind: WorkflowKind) -> datetime | None:
    times = [parse_time(field_at(document, path)) for path in TRIGGERS[kind]]
    return max((at for at in times if at is not None), default=None)


def _trigger_changes(document: JsonObject, kind: WorkflowKind, at: datetime, source: str) -> Iterator[FieldChange]:
    for path in TRIGGERS[kind]:
        yield from field_change(document, path, format_time(at), source)


def _attempt_changes(
    document: JsonObject, place: tuple[str, ...], source: str, named: JsonObject | None = None
) -> Iterator[FieldChange]:
    """An attempt that says nothing but `named`, by default not even its id, in place of what is stored of a run; fields
    that are no fact of a run stay."""
    stored = object_of(field_at(document, place))
    cleared = {name: ABSENT for name in RUN_FIELDS.values() if name in stored}
    for name, value in {**cleared, "status": REQUESTED, **(named or {})}.items():
        yield from field_change(document, (*place, name), value, source)


def _started_at(
    document: JsonObject, place: tuple[str, ...], run_id: int, html_url: str | None, source: str
) -> Iterator[FieldChange]:
    """The run in one place. What is stored there of another run is taken out first."""
    links = {} if html_url is None else {"url": html_url, "htmlUrl": html_url}
    named = {"runId": run_id, **links}
    stored = object_of(field_at(document, place))
    if _holds_run(document, place) and stored.get("runId") != run_id:
        yield from _attempt_changes(document, place, source, named)
        return
    for name, value in named.items():
        yield from field_change(document, (*place, name), value, source)


def _run_places(kind: WorkflowKind) -> tuple[tuple[str, ...], ...]:
    """Where the document keeps a run of that kind, the canonical place first."""
    return (canonical_run(kind), *([(LEGACY_RUNS[kind],)] if kind in LEGACY_RUNS else []))


def _holds_run(document: JsonObject, place: tuple[str, ...]) -> bool:
    """Whether a run stands there that is known or over: more than an attempt that was asked for."""
    stored = object_of(field_at(document, place))
    return bool(stored.get("runId") or stored.get("conclusion"))


def _cleanup_changes(document: JsonObject, now: datetime, destroy_run_id: int | None) -> Iterator[FieldChange]:
    source = "cleanup dispatched"
    if destroy_run_id is not None:
        yield from field_change(document, ("github", "cleanupTriggeredForDestroyRunId"), destroy_run_id, source)
    yield from field_change(document, ("github", "cleanupDispatchStatus"), "pending", source)
    yield from field_change(document, ("github", "cleanupDispatchAttemptedAt"), format_time(now), source)
    yield from field_change(document, ("github", "cleanupDispatchLastError"), ABSENT, source)
