"""Terraform locks of the configured targets: who holds them, whether that still works, and releasing one by hand."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tfpilot.core.deeds import Deed
from tfpilot.core.lock_release import (
    KeptLock,
    LockRecord,
    PartOutcome,
    PartResult,
    Permission,
    Released,
    ReleaseGuard,
    check_release,
    release_guards,
)
from tfpilot.core.model import JsonObject, Operator
from tfpilot.core.reset_steps import Store
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.roles import Right
from tfpilot.core.state_locks import HeldPart, HeldStateLock, JudgedLock, LockReading, held_locks, worst_first
from tfpilot.edges import Edges, ResetStore
from tfpilot.errors import (
    ConflictError,
    DocumentError,
    MissingRightError,
    NotFoundError,
    RefusedError,
    StorageError,
    TfPilotError,
)
from tfpilot.operations.acting import Act, act
from tfpilot.operations.lock_reading import Judge, read_places
from tfpilot.operations.reset_views import get_target
from tfpilot.operations.rights import check_role, frozen_reason

_AT_ONCE: Final = 16
_MAX_TRIES: Final = 3
_INFO: Final = "Info"


@dataclass(frozen=True, slots=True)
class UnreadLocks:
    """States of one target whose locks could not be read, and why."""

    target: str
    object_keys: tuple[str, ...]
    error: TfPilotError


@dataclass(frozen=True, slots=True)
class LockList:
    """Every lock of every target, worst first, and what could not be read. `free` states have no lock."""

    locks: tuple[JudgedLock, ...]
    unread: tuple[UnreadLocks, ...]
    free: int
    targets: int
    notices: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class StateLocks:
    """The locks of one state: none, one, or two where its lockfile and its lock item are different ones."""

    target: ResetTarget
    reading: LockReading
    locks: tuple[JudgedLock, ...]
    notices: tuple[str, ...]


def list_locks(edges: Edges) -> LockList:
    """Reads every place of every target. What cannot be read is told beside the others, and never hides them."""
    targets = edges.resets.targets
    states = [(target, state.object_key) for target in targets for state in target.states]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="locks") as pool:
        answers = list(pool.map(lambda state: _tried(edges, *state), states))
    read = [answer for answer in answers if isinstance(answer, LockReading)]
    by_name = {target.name: target for target in targets}
    held = [(by_name[each.target], lock) for each in read for lock in held_locks(by_name[each.target], each)]
    judge = Judge(edges)
    locks = worst_first(judge.verdicts(held))
    return LockList(
        locks=locks,
        unread=_unread(states, answers),
        free=sum(all(seen.stored is None for seen in each.places) for each in read),
        targets=len(targets),
        notices=tuple(dict.fromkeys(judge.notices)),
        at=edges.clock(),
    )


def get_lock(edges: Edges, target_name: str, object_key: str) -> StateLocks:
    """The locks of one state as they are now; none where it is free.

    Raises NotFoundError (no such target, or not its state), StorageError or DocumentError.
    """
    target = _target_of(edges, target_name, object_key)
    return _judged(edges, target, read_places(edges, target, object_key))


def first_reading(edges: Edges, target_name: str, object_key: str) -> LockReading:
    """Every place of one state's lock as it is now: what a release half a minute later is compared with.

    Raises as `get_lock`.
    """
    return read_places(edges, _target_of(edges, target_name, object_key), object_key)


def begin_release(
    edges: Edges, target_name: str, object_key: str, *, typed: str, reason: str, operator: Operator
) -> LockReading:
    """The first reading, for a release against which only the second one still stands.

    Raises as `release_lock`, at once, where something else does: nobody waits half a minute for a refusal.
    """
    target = _target_of(edges, target_name, object_key)
    with act(edges, operator, Deed.RELEASE_STATE_LOCK, f"{target_name} {object_key}"):
        permission = may_release(edges, target_name, operator=operator)
        found = _judged(edges, target, read_places(edges, target, object_key))
        judged = _chosen(found, typed)
        lines = release_guards(
            judged, first=found.reading, second=None, typed=typed, reason=reason, permission=permission
        )
        check_release(judged, [line for line in lines if line.guard is not ReleaseGuard.READINGS])
    return found.reading


def may_release(edges: Edges, target_name: str, *, operator: Operator) -> Permission:
    """Whether the operator may release locks of that target, and whether the portal writes. Raises NotFoundError."""
    target = get_target(edges, target_name)
    try:
        check_role(edges, operator, Right.RELEASE_STATE_LOCK, environment=target.environment)
    except MissingRightError as error:
        return Permission(f"{error.message}. {error.hint}", _why_no_writing(edges))
    return Permission("", _why_no_writing(edges))


def release_lock(
    edges: Edges, target_name: str, object_key: str, *, first: LockReading, typed: str, reason: str, operator: Operator
) -> Released:
    """Removes exactly the lock whose id was typed, where it is as it was at the first reading, from exactly its places.

    The lock is read and GitHub is asked again here. What is removed is stored first. Raises NotFoundError,
    RefusedError (MissingRightError among it; nothing was removed), DocumentError, or StorageError, which tells how far
    it came.
    """
    target = _target_of(edges, target_name, object_key)
    with act(edges, operator, Deed.RELEASE_STATE_LOCK, f"{target_name} {object_key}") as deed:
        released = _release(edges, target, object_key, deed, first=first, typed=typed, reason=reason, operator=operator)
        deed.tell(record=released.record_key, **{str(part.place): part.outcome.value for part in released.parts})
    return released


def _release(
    edges: Edges,
    target: ResetTarget,
    object_key: str,
    deed: Act,
    *,
    first: LockReading,
    typed: str,
    reason: str,
    operator: Operator,
) -> Released:
    permission = may_release(edges, target.name, operator=operator)
    found = _judged(edges, target, read_places(edges, target, object_key))
    judged = _chosen(found, typed)
    lines = release_guards(judged, first=first, second=found.reading, typed=typed, reason=reason, permission=permission)
    check_release(judged, lines)
    store = edges.reset_stores.of(target)
    record = LockRecord(
        record_id=f"{found.reading.at:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        judged=judged,
        bucket=target.bucket,
        table=target.lock_table,
        kept=tuple(_kept(store, part) for part in judged.lock.parts),
        operator=operator.login,
        reason=reason.strip(),
        first_at=first.at,
        at=found.reading.at,
    )
    deed.begin(lock=judged.lock.handle, reason=record.reason)
    key = edges.lock_records.add(record)
    released = Released(record, key, _removed(store, judged.lock, key))
    if all(part.outcome is PartOutcome.TAKEN for part in released.parts):
        raise RefusedError(
            f"The lock of {target.name} {object_key} is somebody else's now", "Nothing was removed. Look at it again."
        )
    return released


def _tried(edges: Edges, target: ResetTarget, object_key: str) -> LockReading | TfPilotError:
    try:
        return read_places(edges, target, object_key)
    except (StorageError, DocumentError) as error:
        return error


def _unread(
    states: Iterable[tuple[ResetTarget, str]], answers: Iterable[LockReading | TfPilotError]
) -> tuple[UnreadLocks, ...]:
    """A store that does not answer is told once per target, by its first failure; what cannot be told, one by one."""
    found: dict[tuple[str, str], tuple[TfPilotError, list[str]]] = {}
    for (target, object_key), answer in zip(states, answers, strict=True):
        if isinstance(answer, TfPilotError):
            which = "" if isinstance(answer, StorageError) else object_key
            found.setdefault((target.name, which), (answer, []))[1].append(object_key)
    return tuple(UnreadLocks(name, tuple(keys), error) for (name, _), (error, keys) in found.items())


def _target_of(edges: Edges, name: str, object_key: str) -> ResetTarget:
    target = get_target(edges, name)
    if object_key not in {state.object_key for state in target.states}:
        known = ", ".join(state.object_key for state in target.states)
        raise NotFoundError(f"Target {name} has no state {object_key}", f"TFPILOT_RESET_TARGETS names: {known}.")
    return target


def _judged(edges: Edges, target: ResetTarget, reading: LockReading) -> StateLocks:
    judge = Judge(edges)
    locks = judge.verdicts([(target, lock) for lock in held_locks(target, reading)])
    return StateLocks(target, reading, worst_first(locks), tuple(dict.fromkeys(judge.notices)))


def _why_no_writing(edges: Edges) -> str:
    if edges.rights.read_only:
        return "the portal is read-only: TFPILOT_READ_ONLY says so"
    try:
        frozen = frozen_reason(edges)
    except StorageError as error:
        return f"whether the portal is frozen could not be read: {error.message}"
    return f"the portal is frozen: {frozen}" if frozen else ""


def _chosen(found: StateLocks, typed: str) -> JudgedLock:
    """The lock that was typed; where none is, the first, for the guards to say what is wrong. Raises RefusedError."""
    if not found.locks:
        raise RefusedError(
            f"No lock of {found.target.name} {found.reading.object_key} is held", "There is nothing to release."
        )
    return next((each for each in found.locks if each.lock.handle == typed), found.locks[0])


def _kept(store: ResetStore, part: HeldPart) -> KeptLock:
    """What stands there, as it is stored. Raises RefusedError where it was changed since it was read."""
    content: bytes | JsonObject | None = None
    if part.place.store is Store.LOCK_TABLE:
        item = store.find_lock_item(part.place)
        if item is not None and item.get(_INFO, {}).get("S") == part.stored.version:
            content = item
    else:
        read = store.read(part.place)
        if read is not None and read.etag == part.stored.version:
            content = read.content
    if content is None:
        raise RefusedError(f"{part.place} was changed while it was looked at", "Nothing was removed. Look again.")
    return KeptLock(part.place, content)


def _removed(store: ResetStore, lock: HeldStateLock, record_key: str) -> tuple[PartResult, ...]:
    """The last place taken first, as Terraform gives a lock back. Raises StorageError, telling how far it came."""
    results: list[PartResult] = []
    for part in reversed(lock.parts):
        try:
            results.append(PartResult(part.place, _remove(store, part)))
        except (StorageError, DocumentError) as error:
            raise StorageError(
                f"Whether {part.place} was removed is not known: {error.message}. {_so_far(results)}",
                f"Look at the lock again. What stood there is in {record_key}.",
            ) from error
    return tuple(results)


def _so_far(results: Sequence[PartResult]) -> str:
    told = ", ".join(f"{each.place}: {each.outcome}" for each in results)
    return f"Before that: {told}" if told else "Nothing was removed before that"


def _remove(store: ResetStore, part: HeldPart) -> PartOutcome:
    for _ in range(_MAX_TRIES):
        try:
            store.remove_lock(part.place, part.stored)
        except ConflictError:
            stands = store.find_lock(part.place)
            if stands is None:
                return PartOutcome.GONE  # by its holder, or by us and the answer was lost
            if stands != part.stored:
                return PartOutcome.TAKEN
        else:
            return PartOutcome.REMOVED
    raise StorageError("the store refuses to remove what still stands there", "Try again in a minute.")
