"""What became of a reset, by its journal: what is done, what is in doubt, what is next, and what undoes it (SPEC §7).

A journal grows by entries with consecutive numbers, each created only if absent: an intent names the steps that are
about to be tried, a result says what became of them. A step with an intent and no result after it is in doubt; trying
it again tells which, because every step finds its place before or after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tfpilot.core.audit import anchor_fields, parse_anchor
from tfpilot.core.document import format_time, number_of, object_of, parse_time, text_of
from tfpilot.core.model import JsonObject
from tfpilot.core.reset_plan import ResetPlan
from tfpilot.core.reset_plan_document import digest_of, find_strange_place
from tfpilot.core.reset_steps import Action, Outcome, Phase, ResetRecord, ResetStep, Store
from tfpilot.errors import DocumentError, RefusedError

_UNDO: Final = "undo:"
_LOCK, _UNLOCK = "lock:", "unlock:"
_CHANGES: Final = frozenset({Phase.DIGEST, Phase.STATE, Phase.REQUESTS, Phase.INDEX})
_BEFORE_CHANGES: Final = frozenset({Action.TAKE_LOCK, Action.COMPARE})


class Direction(StrEnum):
    """Which way a reset went when an entry was written."""

    APPLY = "apply"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of one step. `etag` and `version_id` are those of what it left; `reason` says why it was left."""

    step_id: str
    outcome: Outcome
    reason: str = ""
    etag: str = ""
    version_id: str | None = None


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry: the steps that are about to be tried, or the results of some. Numbers begin at 1."""

    number: int
    at: datetime
    operator: str
    direction: Direction
    intents: tuple[str, ...] = ()
    results: tuple[StepResult, ...] = ()


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Somebody's wish that a reset stop after the present step; it counts for what was begun before it."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredReset:
    """A reset as it is kept: who carries out which plan, and everything that happened so far."""

    record: ResetRecord
    plan: ResetPlan
    entries: tuple[JournalEntry, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """What the journal says: the last result of each step, those in doubt, and the next entry's number."""

    results: Mapping[str, StepResult]
    in_doubt: frozenset[str]
    undo_began: bool
    next_number: int
    last_at: datetime | None = None

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """What became of each step that is settled."""
        return {name: self.results[name].outcome for name in self.results if name not in self.in_doubt}

    def is_settled(self, step: ResetStep) -> bool:
        return step.id in self.results and step.id not in self.in_doubt

    def was_left(self, step: ResetStep) -> bool:
        return self.is_settled(step) and self.results[step.id].outcome is Outcome.LEFT


def check_stored(stored: StoredReset, *, reset_id: str) -> None:
    """Raises DocumentError where record and plan are not of that reset, of one digest, and about places of the plan's
    own target only: nothing is done by a plan that nobody confirmed."""
    record, plan = stored.record, stored.plan
    if (record.reset_id, record.digest, record.target) != (reset_id, digest_of(plan), plan.target.name):
        raise DocumentError(f"The record of reset {reset_id} is of another plan than the one that is stored", _BY_HAND)
    strange = find_strange_place(plan)
    if strange:
        raise DocumentError(f"The plan of reset {reset_id} names {strange}, which its target has not", _BY_HAND)


class Stage(StrEnum):
    """How far a reset came, by the words a person reads."""

    NOT_BEGUN = "not begun"
    UNFINISHED = "unfinished"
    REFUSED = "refused, nothing was changed"
    FINISHED = "finished"
    UNDO_UNFINISHED = "undo unfinished"
    UNDONE = "undone"


def read_journal(entries: Iterable[JournalEntry]) -> Progress:
    """What the entries come to, in whatever order they were read."""
    results: dict[str, StepResult] = {}
    in_doubt: set[str] = set()
    ordered = sorted(entries, key=lambda entry: entry.number)
    for entry in ordered:
        in_doubt |= set(entry.intents)
        for name in entry.intents:
            if name.startswith(_LOCK):  # a lock that is taken anew is held until it is released anew
                results.pop(f"{_UNLOCK}{name.removeprefix(_LOCK)}", None)
        for result in entry.results:
            results[result.step_id] = result
            in_doubt.discard(result.step_id)
    return Progress(
        results=results,
        in_doubt=frozenset(in_doubt),
        undo_began=any(entry.direction is Direction.UNDO and not _is_about_locks(entry) for entry in ordered),
        next_number=ordered[-1].number + 1 if ordered else 1,
        last_at=ordered[-1].at if ordered else None,
    )


def stage_of(steps: Sequence[ResetStep], progress: Progress) -> Stage:
    """How far the reset with these steps came."""
    if progress.undo_began:
        return Stage.UNDO_UNFINISHED if plan_undo(steps, progress) else Stage.UNDONE
    if progress.next_number == 1:
        return Stage.NOT_BEGUN
    if plan_resume(steps, progress):
        return Stage.UNFINISHED
    return Stage.REFUSED if _is_refused(steps, progress) else Stage.FINISHED


def plan_resume(steps: Sequence[ResetStep], progress: Progress) -> tuple[ResetStep, ...]:
    """What finishes the reset: Terraform's lock again, what is left to do, the release; empty where it is finished.

    What a remaining step needs is looked at again first: nothing is removed because its copy was there days ago.
    A reset that was refused only gives its locks back. Raises RefusedError where its undo began.
    """
    if progress.undo_began:
        raise RefusedError("The undo of this reset began, so it cannot go on", "Let the undo finish, then plan anew.")
    refused = _is_refused(steps, progress)
    remaining = [] if refused else [step for step in steps if not step.is_lock and not progress.is_settled(step)]
    outcomes = progress.outcomes
    needed = {name for step in remaining for name in step.needs if outcomes.get(name) is Outcome.DONE}
    wanted = needed | {step.id for step in remaining}
    return _under_lock(steps, tuple(step for step in steps if step.id in wanted), progress)


def plan_undo(steps: Sequence[ResetStep], progress: Progress, *, again: bool = False) -> tuple[ResetStep, ...]:
    """What takes back every change that was made, or may have been; empty where all of it was taken back.

    These are the steps in reverse, each the other way round, under Terraform's lock. A step waits for the undo of those
    that needed it: no copy is removed before what it is a copy of is in its place, no digest returns without its state.
    `again`: what an earlier undo left is tried once more, since its place may be free by now.
    """
    undoing = steps_of_undo(steps, progress)
    wanted = (step for step in undoing if not progress.is_settled(step) or (again and progress.was_left(step)))
    return _under_lock(steps, tuple(wanted), progress)


def steps_of_undo(steps: Sequence[ResetStep], progress: Progress) -> tuple[ResetStep, ...]:
    """The steps that take back every change that was made, or may have been, in order; also those that are done."""
    changes = (step for step in steps if step.phase in _CHANGES and step.action is not Action.CHECK_COPY)
    made = [step for step in changes if _may_be_done(step, progress)]
    needed_by: dict[str, list[str]] = {}
    for step in made:
        for name in step.needs:
            needed_by.setdefault(name, []).append(undone_id(step.id))
    return tuple(_reversed(step, progress, needs=tuple(needed_by.get(step.id, ()))) for step in reversed(made))


def undone_id(step_id: str) -> str:
    """The id of the step that takes that one back."""
    return f"{_UNDO}{step_id}"


def undo_until(progress: Progress, *, undo_days: int) -> datetime | None:
    """Until when a reset can be undone; None where it has no journal yet."""
    return None if progress.last_at is None else progress.last_at + timedelta(days=undo_days)


def check_undo(record: ResetRecord, progress: Progress, *, undo_days: int, now: datetime) -> None:
    """Raises RefusedError where the time for an undo is over. One that began may always finish."""
    until = undo_until(progress, undo_days=undo_days)
    if progress.undo_began or until is None or now <= until:
        return
    raise RefusedError(
        f"Reset {record.reset_id} could be undone until {until:%Y-%m-%d %H:%M} UTC",
        "Its receipt names the backups. TFPILOT_UNDO_DAYS says how long an undo is possible.",
    )


def count_phases(steps: Sequence[ResetStep], progress: Progress) -> Mapping[Phase, tuple[int, int]]:
    """How many steps of each phase are settled, and how many there are; phases without steps are left out."""
    counted = {phase: [step for step in steps if step.phase is phase] for phase in Phase}
    return {
        phase: (sum(progress.is_settled(step) for step in listed), len(listed))
        for phase, listed in counted.items()
        if listed
    }


def entry_fields(entry: JournalEntry) -> dict[str, object]:
    """An entry as it is stored."""
    results = [
        {
            "step": result.step_id,
            "outcome": result.outcome.value,
            "reason": result.reason,
            "etag": result.etag,
            "versionId": result.version_id,
        }
        for result in entry.results
    ]
    return {
        "number": entry.number,
        "at": format_time(entry.at),
        "operator": entry.operator,
        "direction": entry.direction.value,
        "intents": list(entry.intents),
        "results": results,
    }


def record_fields(record: ResetRecord) -> dict[str, object]:
    """The beginning of a journal as it is stored."""
    return {
        "resetId": record.reset_id,
        "target": record.target,
        "digest": record.digest,
        "lockId": record.lock_id,
        "operator": record.operator,
        "approvedBy": record.approved_by,
        "reason": record.reason,
        "requestsBucket": record.requests_bucket,
        "startedAt": format_time(record.started_at),
        "version": record.version,
        "acceptsNoVersioning": record.accepts_no_versioning,
        "acceptsMostRequests": record.accepts_most_requests,
        "auditedAs": anchor_fields(record.audited_as) if record.audited_as is not None else None,
    }


def parse_record(stored: JsonObject, *, key: str) -> ResetRecord:
    """The beginning of a journal in a stored object. Raises DocumentError where it is none."""
    started_at = parse_time(stored.get("startedAt"))
    names = ("resetId", "target", "digest", "lockId", "operator", "approvedBy", "reason", "requestsBucket", "version")
    texts = {name: stored.get(name) for name in names}
    if started_at is None or not all(isinstance(text, str) for text in texts.values()):
        raise DocumentError(f"{key} is no record of a reset", _BY_HAND)
    return ResetRecord(
        reset_id=str(texts["resetId"]),
        target=str(texts["target"]),
        digest=str(texts["digest"]),
        lock_id=str(texts["lockId"]),
        operator=str(texts["operator"]),
        approved_by=str(texts["approvedBy"]),
        reason=str(texts["reason"]),
        requests_bucket=str(texts["requestsBucket"]),
        started_at=started_at,
        version=str(texts["version"]),
        accepts_no_versioning=stored.get("acceptsNoVersioning") is True,
        accepts_most_requests=stored.get("acceptsMostRequests") is True,
        audited_as=parse_anchor(object_of(stored.get("auditedAs")), where=key),
    )


def parse_entry(stored: JsonObject, *, key: str) -> JournalEntry:
    """The entry in a stored object. Raises DocumentError: a journal that cannot be read whole decides nothing."""
    number, at = number_of(stored.get("number")), parse_time(stored.get("at"))
    intents, results = stored.get("intents"), stored.get("results")
    if number is None or at is None or not isinstance(intents, list) or not isinstance(results, list):
        raise DocumentError(f"{key} is no entry of a reset's journal", _BY_HAND)
    try:
        return JournalEntry(
            number=number,
            at=at,
            operator=text_of(stored.get("operator")) or "",
            direction=Direction(str(stored.get("direction"))),
            intents=tuple(str(name) for name in intents),
            results=tuple(_result(object_of(each)) for each in results),
        )
    except (KeyError, ValueError) as error:
        raise DocumentError(f"{key} is no entry of a reset's journal", _BY_HAND) from error


_BY_HAND: Final = "Compare its earlier versions in the bucket; the reset's receipt and plan say how to undo by hand."


def _result(stored: JsonObject) -> StepResult:
    return StepResult(
        step_id=str(stored["step"]),
        outcome=Outcome(str(stored["outcome"])),
        reason=text_of(stored.get("reason")) or "",
        etag=text_of(stored.get("etag")) or "",
        version_id=text_of(stored.get("versionId")),
    )


def _is_about_locks(entry: JournalEntry) -> bool:
    """Whether the entry is only about Terraform's lock, which an undo takes before it begins."""
    names = (*entry.intents, *(result.step_id for result in entry.results))
    return bool(names) and all(name.startswith((_LOCK, _UNLOCK)) for name in names)


def _under_lock(steps: Sequence[ResetStep], work: tuple[ResetStep, ...], progress: Progress) -> tuple[ResetStep, ...]:
    releases = tuple(step for step in steps if step.action is Action.RELEASE_LOCK)
    if work:
        return (*(step for step in steps if step.action is Action.TAKE_LOCK), *work, *releases)
    taken = set(progress.results) | set(progress.in_doubt)
    mine = [step for step in releases if f"{_LOCK}{step.id.removeprefix(_UNLOCK)}" in taken]
    return tuple(step for step in mine if not progress.is_settled(step))


def _is_refused(steps: Sequence[ResetStep], progress: Progress) -> bool:
    """Whether the reset ended before its first change: somebody held a lock, or what was read again differed."""
    begun = [step for step in steps if step.action in _BEFORE_CHANGES]
    compared = all(progress.is_settled(step) for step in begun if step.action is Action.COMPARE)
    refused = any(progress.was_left(step) for step in begun if step.action is Action.COMPARE)
    return refused or (not compared and any(progress.was_left(step) for step in begun))


def _may_be_done(step: ResetStep, progress: Progress) -> bool:
    return step.id in progress.in_doubt or (progress.is_settled(step) and not progress.was_left(step))


def _reversed(step: ResetStep, progress: Progress, *, needs: tuple[str, ...]) -> ResetStep:
    left = progress.results.get(step.id)
    in_table = step.place.store is Store.LOCK_TABLE
    restores = step.before is not None
    return replace(
        step,
        id=undone_id(step.id),
        action=Action.RESTORE if restores else Action.TAKE_BACK,
        before=step.after,
        after=step.before,
        etag=left.etag if left and step.id not in progress.in_doubt else "",
        content=step.before.encode() if step.before is not None and in_table else None,
        source=step.backup if restores and not in_table else None,
        source_version=_kept_version(step, progress) if restores and not in_table else None,
        backup=None,
        needs=needs,
        follows="",
    )


def _kept_version(step: ResetStep, progress: Progress) -> str | None:
    """The version of the backup that this reset wrote, should somebody have written there since."""
    written = [progress.results.get(name) for name in reversed(step.needs)]
    return next((result.version_id for result in written if result and result.version_id), None)
