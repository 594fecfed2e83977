"""What a dispatch writes into a request: the lock, the intent, the run it started, and each of them taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.changes import RUN_FIELDS, field_change
from tfpilot.core.document import field_at, format_time, object_of, parse_time
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
from tfpilot.core.request import LEGACY_RUNS, TRIGGERS, canonical_run

LOCKED_FOR: Final = timedelta(minutes=2)
LEAST_LEASE: Final = timedelta(seconds=60)
"""What must be left of the lock when GitHub is asked to start something."""

_LOCK: Final = ("lock",)
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
        *_attempt_changes(document, canonical_run(kind), source),
        *(_attempt_changes(document, (LEGACY_RUNS[kind],), source) if kind in LEGACY_RUNS else ()),
        *field_change(document, ("github", "unresolved", kind.value), ABSENT, source),
        *(_cleanup_changes(document, now, destroy_run_id) if kind is WorkflowKind.CLEANUP else ()),
    )


def started_changes(
    document: JsonObject, kind: WorkflowKind, *, run_id: int, html_url: str | None
) -> tuple[FieldChange, ...]:
    """Stores the run that a dispatch started, in both places."""
    source = f"run {run_id} started"
    values = {"runId": run_id, "url": html_url, "htmlUrl": html_url}
    places = [canonical_run(kind), *([(LEGACY_RUNS[kind],)] if kind in LEGACY_RUNS else [])]
    changes = [
        change
        for place in places
        for name, value in values.items()
        for change in field_change(document, (*place, name), value, source)
    ]
    if kind is WorkflowKind.CLEANUP:
        changes += field_change(document, ("github", "cleanupDispatchStatus"), "dispatched", source)
    return tuple(changes)


def is_still_open(document: JsonObject, record: DispatchRecord) -> bool:
    """Whether the document still holds that dispatch as its latest of the kind, without a run."""
    at = _trigger_of(document, record.kind)
    run = object_of(field_at(document, canonical_run(record.kind)))
    return at == record.triggered_at and not run.get("runId") and not run.get("conclusion")


def take_back_changes(document: JsonObject, record: DispatchRecord) -> tuple[FieldChange, ...]:
    """Puts back what the intent replaced, wherever the document still holds what the intent wrote."""
    return tuple(
        FieldChange(change.path, change.after, change.before, f"the {record.kind.value} was not started")
        for change in record.replaced
        if field_at(document, change.path) == change.after
    )


def close_changes(document: JsonObject, kind: WorkflowKind) -> tuple[FieldChange, ...]:
    """Takes away a dispatch, not ours, of which a person confirmed that no run exists."""
    source = f"no {kind.value} run exists, confirmed by a person"
    places = [canonical_run(kind), *([(LEGACY_RUNS[kind],)] if kind in LEGACY_RUNS else [])]
    changes = [change for path in TRIGGERS[kind] for change in field_change(document, path, ABSENT, source)]
    for place in places:
        stored = object_of(field_at(document, place))
        if not stored.get("runId") and not stored.get("conclusion"):
            changes += field_change(document, (*place, "status"), ABSENT, source)
    return tuple(changes)


def error_changes(document: JsonObject, reason: str) -> tuple[FieldChange, ...]:
    """Says that the cleanup could not be dispatched, and why."""
    source = "the cleanup was not started"
    return (
        *field_change(document, ("github", "cleanupDispatchStatus"), "error", source),
        *field_change(document, ("github", "cleanupDispatchLastError"), reason, source),
    )


def overwritten_changes(document: JsonObject, records: Iterable[DispatchRecord]) -> tuple[FieldChange, ...]:
    """What another writer has overwritten of our latest dispatch of each kind, by our own records, put back.

    A later trigger of the same kind is a newer dispatch and no overwriting; so is a newer plan, cleanup or drift run.
    """
    standing = [each for each in records if each.state in (DispatchState.OPEN, DispatchState.STARTED)]
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
    places = [canonical_run(record.kind), *([(LEGACY_RUNS[record.kind],)] if record.kind in LEGACY_RUNS else [])]
    for place in places:
        yield from _attempt_changes(document, place, source)
        if record.run_id is not None:
            yield from field_change(document, (*place, "runId"), record.run_id, source)


def _is_newer_run(stored: JsonObject, record: DispatchRecord) -> bool:
    created_at = parse_time(stored.get("createdAt"))
    return record.kind in _REPLACED_BY_NEWER and created_at is not None and created_at > record.triggered_at


def _trigger_of(document: JsonObject, kind: WorkflowKind) -> datetime | None:
    times = [parse_time(field_at(document, path)) for path in TRIGGERS[kind]]
    return max((at for at in times if at is not None), default=None)


def _trigger_changes(document: JsonObject, kind: WorkflowKind, at: datetime, source: str) -> Iterator[FieldChange]:
    for path in TRIGGERS[kind]:
        yield from field_change(document, path, format_time(at), source)


def _attempt_changes(document: JsonObject, place: tuple[str, ...], source: str) -> Iterator[FieldChange]:
    """An attempt without id in place of what is stored of a run; fields that are no fact of a run stay."""
    stored = object_of(field_at(document, place))
    for name in RUN_FIELDS.values():
        if name != "status" and name in stored:
            yield from field_change(document, (*place, name), ABSENT, source)
    yield from field_change(document, (*place, "status"), REQUESTED, source)


def _cleanup_changes(document: JsonObject, now: datetime, destroy_run_id: int | None) -> Iterator[FieldChange]:
    source = "cleanup dispatched"
    if destroy_run_id is not None:
        yield from field_change(document, ("github", "cleanupTriggeredForDestroyRunId"), destroy_run_id, source)
    yield from field_change(document, ("github", "cleanupDispatchStatus"), "pending", source)
    yield from field_change(document, ("github", "cleanupDispatchAttemptedAt"), format_time(now), source)
    yield from field_change(document, ("github", "cleanupDispatchLastError"), ABSENT, source)
