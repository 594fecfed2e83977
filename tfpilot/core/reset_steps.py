"""The steps of a reset, each a change of one place from what stood there to what shall stand there (SPEC §7).

Everything a killed reset needs follows from that form: a step that is tried again finds its place before or after, and
never writes where it finds a third thing; taken back, a step is the same change the other way round.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import Final

from tfpilot.core.audit import Anchor
from tfpilot.core.reset_plan import ArchiveCase, PlannedObject, PlannedRequest, PlannedState, ResetPlan, sha256_of
from tfpilot.core.reset_plan_document import HISTORY
from tfpilot.core.reset_target import BACKUP_PREFIX, ResetTarget
from tfpilot.core.run_index import PREFIX as INDEX_PREFIX
from tfpilot.core.terraform import (
    DIGEST_SUFFIX,
    LOCKFILE_SUFFIX,
    LockInfo,
    digest_id,
    lock_id,
    lockfile_key,
    md5_of,
    render_lock,
)

RESETS: Final = "ops/resets/"
BATCH_SIZE: Final = 100
"""How many requests are copied before they are removed, so that few are in both places for long."""

PORTAL: Final = "tfpilot-ops 0.1.0"
"""What Terraform shows as the version of whoever holds its lock."""

OPERATION: Final = "TfPilot dev reset"
"""What Terraform's lock says that its holder does, while a reset holds it."""


class Phase(StrEnum):
    """The parts of a reset in their order, by the words a person reads."""

    LOCK = "Take Terraform's lock"
    COMPARE = "Compare"
    BACKUP = "Back up and read back"
    DIGEST = "Remove the digest item"
    STATE = "Remove the state"
    REQUESTS = "Requests to history"
    INDEX = "Remove the index entries"
    UNLOCK = "Release the lock"


class Action(StrEnum):
    """What one step does to its place."""

    TAKE_LOCK = "take the lock"
    COMPARE = "read everything again and compare"
    BACK_UP = "back up"
    REMOVE_DIGEST = "remove the digest item"
    WRITE_DIGEST = "write the digest item"
    REMOVE_STATE = "remove the state"
    WRITE_STATE = "write the state"
    ARCHIVE = "copy to history"
    REPLACE = "replace the older copy in history"
    CHECK_COPY = "find the same copy in history"
    REMOVE_REQUEST = "remove the request"
    REMOVE_ENTRY = "remove the entry"
    RESTORE = "put back"
    TAKE_BACK = "take away what the reset wrote"
    RELEASE_LOCK = "release the lock"


class Store(StrEnum):
    """Where a place is."""

    STATE_BUCKET = "state bucket"
    REQUESTS_BUCKET = "requests bucket"
    LOCK_TABLE = "lock table"


@dataclass(frozen=True, slots=True)
class Place:
    """One key of a bucket, or one LockID of the lock table."""

    store: Store
    key: str

    @property
    def is_lock(self) -> bool:
        """Whether Terraform's lock, or one half of it, is there."""
        if self.store is Store.LOCK_TABLE:
            return not self.key.endswith(DIGEST_SUFFIX)
        return self.store is Store.STATE_BUCKET and self.key.endswith(LOCKFILE_SUFFIX)

    def __str__(self) -> str:
        return f"{self.store} {self.key}"


@dataclass(frozen=True, slots=True)
class ResetRecord:
    """One reset as its journal begins: who carries out which plan, and why. `lock_id` is that of Terraform's lock.

    `approved_by`: the second admin, empty where none was asked. `version` is the portal's. What was accepted when the
    plan was confirmed counts for its comparison too, and when it goes on. `audited_as`: the audit's record of its
    beginning; None where the portal that began it kept none.
    """

    reset_id: str
    target: str
    digest: str
    lock_id: str
    operator: str
    approved_by: str
    reason: str
    requests_bucket: str
    started_at: datetime
    version: str
    accepts_no_versioning: bool = False
    accepts_most_requests: bool = False
    audited_as: Anchor | None = None


@dataclass(frozen=True, slots=True)
class ResetStep:
    """One step. `before` and `after` are the marks of what stands at `place` and of what shall: None for nothing, else
    the SHA-256 of an object, the value of a digest item, the id of a lock.

    `etag`: that of `before` by the plan, for a write without another reading. What is written is `content` or the
    content of `source` (of its `source_version`, should the present one be another); `backup` is where what the step
    replaces or removes is kept. `needs` are ids of steps without which this one is left; `follows` is the id of one
    with which it is left, and that it does not hold up in an undo.
    """

    id: str
    phase: Phase
    action: Action
    place: Place
    before: str | None
    after: str | None
    subject: str
    etag: str = ""
    content: bytes | None = None
    source: Place | None = None
    source_version: str | None = None
    backup: Place | None = None
    needs: tuple[str, ...] = ()
    follows: str = ""

    @property
    def is_lock(self) -> bool:
        """Whether the step takes or releases Terraform's lock, which is looked at anew whenever a reset goes on."""
        return self.action in {Action.TAKE_LOCK, Action.RELEASE_LOCK}


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at a place: its mark, and what a write or removal on condition needs: the ETag of an object, the
    stored text of an item. `version_id` None: the bucket keeps no versions."""

    mark: str
    etag: str = ""
    version_id: str | None = None


class Move(StrEnum):
    """What to do about a step, after looking at its place."""

    WRITE = "write"
    NOTHING = "nothing: it is as the step leaves it"
    LEAVE = "leave it: something else stands there"


class Outcome(StrEnum):
    """What became of a step. LEFT: something else stood there, or a step that it needs was left."""

    DONE = "done"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a step. A write replaces or removes only `found`; None: it writes only where nothing stands.
    `reason` says why a place is left."""

    move: Move
    found: Found | None = None
    reason: str = ""


def steps_of(plan: ResetPlan, record: ResetRecord) -> tuple[ResetStep, ...]:
    """Every step of the reset, in order. The same plan and record give the same steps, in every process."""
    return tuple(
        chain(
            _lock_steps(plan, record),
            [_compare_step(plan)],
            _backup_steps(plan, record),
            *(_state_steps(plan, state, record) for state in plan.states),
            _request_steps(plan.requests, record),
            _entry_steps(plan, record),
            release_steps(plan, record),
        )
    )


def release_steps(plan: ResetPlan, record: ResetRecord) -> tuple[ResetStep, ...]:
    """The steps that give Terraform's lock back, the last taken first: at the end, and wherever a reset stops."""
    return tuple(
        ResetStep(
            id=f"unlock:{step.place.key}",
            phase=Phase.UNLOCK,
            action=Action.RELEASE_LOCK,
            place=step.place,
            before=record.lock_id,
            after=None,
            subject=step.subject,
        )
        for step in reversed(list(_lock_steps(plan, record)))
    )


def decide(step: ResetStep, found: Found | None, *, outcomes: Mapping[str, Outcome]) -> Decision:
    """What to do about a step that finds this at its place. `outcomes` are those of the steps before it."""
    unmet = [name for name in step.needs if outcomes.get(name) is not Outcome.DONE]
    if unmet:
        return Decision(Move.LEAVE, reason=f"{unmet[0]} was not done")
    if outcomes.get(step.follows) is Outcome.LEFT:
        return Decision(Move.LEAVE, reason=f"{step.follows} was left, too")
    mark = found.mark if found else None
    if mark == step.after:
        return Decision(Move.NOTHING, found)
    if mark == step.before:
        return Decision(Move.WRITE, found)
    if found is None:
        return Decision(Move.LEAVE, reason=f"{step.place} is not there any more")
    who = "is somebody else's" if step.is_lock else "holds something else than this reset read or left there"
    return Decision(Move.LEAVE, reason=f"{step.place} {who}")


def fits(step: ResetStep, content: bytes) -> bool:
    """Whether this is what the step writes; a source that was changed meanwhile is not copied."""
    in_bucket = step.place.store is not Store.LOCK_TABLE and not step.is_lock
    return sha256_of(content) == step.after if in_bucket else content == step.content


def batches(steps: Sequence[ResetStep], *, size: int = BATCH_SIZE) -> tuple[tuple[ResetStep, ...], ...]:
    """The steps in order, in groups that may be carried out side by side; what holds a lock or a state is alone."""
    groups: list[list[ResetStep]] = []
    for step in steps:
        last = groups[-1] if groups else []
        if last and len(last) < size and _may_join(step, last):
            last.append(step)
        else:
            groups.append([step])
    return tuple(tuple(group) for group in groups)


def lock_info(record: ResetRecord, plan: ResetPlan, state: PlannedState) -> LockInfo:
    """What Terraform shows whom our lock blocks: the operator, the reset and the reason."""
    return LockInfo(
        id=record.lock_id,
        operation=OPERATION,
        info=f"Reset {record.reset_id} of {plan.target.name}: {record.reason}",
        who=f"{record.operator}@tfpilot-ops",
        version=record.version,
        created=record.started_at,
        path=state.lock_id,
    )


def lock_places(target: ResetTarget, object_key: str) -> tuple[Place, ...]:
    """Where the lock of a state is, in the order in which Terraform takes them: the lockfile, then the item."""
    places = []
    if target.lock_mode.has_lockfile:
        places.append(Place(Store.STATE_BUCKET, lockfile_key(object_key)))
    if target.lock_mode.has_table:
        places.append(Place(Store.LOCK_TABLE, lock_id(target.bucket, object_key)))
    return tuple(places)


def seen_lock_places(target: ResetTarget, object_key: str) -> tuple[Place, ...]:
    """Where a lock of a state is looked for: beside where the target says, its lockfile in any case. A backend may use
    another mode than the file of the targets says."""
    lockfile = Place(Store.STATE_BUCKET, lockfile_key(object_key))
    return tuple(dict.fromkeys((lockfile, *lock_places(target, object_key))))


def state_backup(record: ResetRecord, object_key: str) -> Place:
    """Where a state is kept: in its own bucket, under the same encryption."""
    return Place(Store.STATE_BUCKET, f"{BACKUP_PREFIX}{record.reset_id}/{object_key}")


def plan_place(record: ResetRecord) -> Place:
    """Where the plan of a reset is kept, the values of the digest items in it."""
    return _ops(record, "plan.json")


def _may_join(step: ResetStep, group: Collection[ResetStep]) -> bool:
    side_by_side = {Phase.BACKUP, Phase.REQUESTS, Phase.INDEX}
    names = {each.id for each in group}
    return all(each.phase is step.phase for each in group) and step.phase in side_by_side and not names & {*step.needs}


def _entry_backup(record: ResetRecord, key: str) -> Place:
    return _ops(record, f"run-index/{key.removeprefix(INDEX_PREFIX)}")


def _ops(record: ResetRecord, name: str) -> Place:
    return Place(Store.REQUESTS_BUCKET, f"{RESETS}{record.reset_id}/{name}")


def _lock_steps(plan: ResetPlan, record: ResetRecord) -> Iterator[ResetStep]:
    for state in plan.states:
        for place in lock_places(plan.target, state.object_key):
            yield ResetStep(
                id=f"lock:{place.key}",
                phase=Phase.LOCK,
                action=Action.TAKE_LOCK,
                place=place,
                before=None,
                after=record.lock_id,
                subject=state.object_key,
                content=render_lock(lock_info(record, plan, state)),
            )


COMPARE_ID: Final = "compare"


def _compare_step(plan: ResetPlan) -> ResetStep:
    """Writes nothing: its place is the target, its result whether the digest is the reviewed one."""
    place = Place(Store.STATE_BUCKET, "")
    return ResetStep(COMPARE_ID, Phase.COMPARE, Action.COMPARE, place, None, None, plan.target.name)


def _backup_steps(plan: ResetPlan, record: ResetRecord) -> Iterator[ResetStep]:
    for state in plan.states:
        if state.state is not None:
            source = Place(Store.STATE_BUCKET, state.object_key)
            yield _backup(state.state, source, state_backup(record, state.object_key), state.object_key)
    for request in plan.requests:
        if request.case is ArchiveCase.OLDER and request.archived is not None:
            source = Place(Store.REQUESTS_BUCKET, request.archived.key)
            yield _backup(request.archived, source, _replaced(record, request), request.request_id)
        if request.case is ArchiveCase.KEPT:
            source = Place(Store.REQUESTS_BUCKET, request.document.key)
            yield _backup(request.document, source, _put_aside(record, request), request.request_id)
    for planned in plan.entries:
        source = Place(Store.REQUESTS_BUCKET, planned.entry.key)
        yield _backup(planned.entry, source, _entry_backup(record, planned.entry.key), planned.request_id)


def _backup(planned: PlannedObject, source: Place, backup: Place, subject: str) -> ResetStep:
    return ResetStep(
        id=_backup_id(source),
        phase=Phase.BACKUP,
        action=Action.BACK_UP,
        place=backup,
        before=None,
        after=planned.sha256,
        subject=subject,
        source=source,
        source_version=planned.version_id,
    )


def _backup_id(source: Place) -> str:
    return f"{'state-backup' if source.store is Store.STATE_BUCKET else 'backup'}:{source.key}"


def _replaced(record: ResetRecord, request: PlannedRequest) -> Place:
    return _ops(record, f"replaced/{request.request_id}.json")


def _put_aside(record: ResetRecord, request: PlannedRequest) -> Place:
    return _ops(record, f"history/{request.request_id}.json")


def _state_steps(plan: ResetPlan, state: PlannedState, record: ResetRecord) -> Iterator[ResetStep]:
    """The digest item goes first: Terraform takes a state without digest, and refuses a digest without its state."""
    place = Place(Store.LOCK_TABLE, digest_id(plan.target.bucket, state.object_key))
    needs = (_backup_id(Place(Store.STATE_BUCKET, state.object_key)),) if state.state else ()
    if state.digest is not None:
        gone = f"digest:{state.object_key}"
        yield ResetStep(
            id=gone,
            phase=Phase.DIGEST,
            action=Action.REMOVE_DIGEST,
            place=place,
            before=state.digest,
            after=None,
            subject=state.object_key,
            backup=plan_place(record),
            needs=needs,
        )
        needs = (*needs, gone)
    if state.state is None:
        return
    changed = _state_step(state, state.state, record, needs=needs)
    yield changed
    if state.replacement is not None and plan.target.lock_mode.has_table:
        value = md5_of(state.replacement.encode())
        yield ResetStep(
            id=f"new-digest:{state.object_key}",
            phase=Phase.STATE,
            action=Action.WRITE_DIGEST,
            place=place,
            before=None,
            after=value,
            subject=state.object_key,
            content=value.encode(),
            needs=(changed.id,),
        )


def _state_step(
    state: PlannedState, planned: PlannedObject, record: ResetRecord, *, needs: tuple[str, ...]
) -> ResetStep:
    content = state.replacement.encode() if state.replacement is not None else None
    return ResetStep(
        id=f"state:{state.object_key}",
        phase=Phase.STATE,
        action=Action.REMOVE_STATE if content is None else Action.WRITE_STATE,
        place=Place(Store.STATE_BUCKET, state.object_key),
        before=planned.sha256,
        after=None if content is None else sha256_of(content),
        subject=state.object_key,
        etag=planned.etag,
        content=content,
        backup=state_backup(record, state.object_key),
        needs=needs,
    )


def _request_steps(requests: Sequence[PlannedRequest], record: ResetRecord) -> Iterator[ResetStep]:
    for start in range(0, len(requests), BATCH_SIZE):
        part = requests[start : start + BATCH_SIZE]
        yield from (copy for request in part if (copy := _copy_step(request, record)) is not None)
        yield from (_remove_step(request, record) for request in part)


def _copy_step(request: PlannedRequest, record: ResetRecord) -> ResetStep | None:
    """How `history/` comes to hold the document; None where its place there is kept for a newer one."""
    if request.case is ArchiveCase.KEPT:
        return None
    there = request.archived
    is_older = request.case is ArchiveCase.OLDER
    actions = {ArchiveCase.NEW: Action.ARCHIVE, ArchiveCase.OLDER: Action.REPLACE}
    return ResetStep(
        id=_copy_id(request),
        phase=Phase.REQUESTS,
        action=actions.get(request.case, Action.CHECK_COPY),
        place=Place(Store.REQUESTS_BUCKET, f"{HISTORY}{request.request_id}.json"),
        before=there.sha256 if there else None,
        after=request.document.sha256,
        subject=request.request_id,
        etag=there.etag if there else "",
        source=Place(Store.REQUESTS_BUCKET, request.document.key),
        source_version=request.document.version_id,
        backup=_replaced(record, request) if is_older else None,
        needs=(_backup_id(Place(Store.REQUESTS_BUCKET, there.key)),) if there and is_older else (),
    )


def _copy_id(request: PlannedRequest) -> str:
    return f"copy:{request.request_id}"


def _remove_id(request_id: str) -> str:
    return f"request:{request_id}"


def _remove_step(request: PlannedRequest, record: ResetRecord) -> ResetStep:
    is_kept = request.case is ArchiveCase.KEPT
    place = Place(Store.REQUESTS_BUCKET, request.document.key)
    archived = Place(Store.REQUESTS_BUCKET, f"{HISTORY}{request.request_id}.json")
    return ResetStep(
        id=_remove_id(request.request_id),
        phase=Phase.REQUESTS,
        action=Action.REMOVE_REQUEST,
        place=place,
        before=request.document.sha256,
        after=None,
        subject=request.request_id,
        etag=request.document.etag,
        backup=_put_aside(record, request) if is_kept else archived,
        needs=(_backup_id(place) if is_kept else _copy_id(request),),
    )


def _entry_steps(plan: ResetPlan, record: ResetRecord) -> Iterable[ResetStep]:
    """The entries of a request that stays, because somebody edited it meanwhile, stay with it."""
    for planned in plan.entries:
        place = Place(Store.REQUESTS_BUCKET, planned.entry.key)
        yield ResetStep(
            id=f"entry:{planned.entry.key}",
            phase=Phase.INDEX,
            action=Action.REMOVE_ENTRY,
            place=place,
            before=planned.entry.sha256,
            after=None,
            subject=planned.request_id,
            etag=planned.entry.etag,
            backup=_entry_backup(record, planned.entry.key),
            needs=(_backup_id(place),),
            follows=_remove_id(planned.request_id),
        )
