"""Carrying out the steps of a reset: every group with its intent before and its results after, in the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tfpilot.core.model import Operator
from tfpilot.core.reset_guards import Reading, refuse_unless_passed
from tfpilot.core.reset_journal import Direction, JournalEntry, Progress, StepResult, StoredReset
from tfpilot.core.reset_plan import ReadObject, ResetPlan
from tfpilot.core.reset_plan_document import differences
from tfpilot.core.reset_steps import (
    Action,
    Found,
    Move,
    Outcome,
    Phase,
    ResetRecord,
    ResetStep,
    Store,
    batches,
    decide,
    fits,
    release_steps,
)
from tfpilot.edges import Edges, ResetStore
from tfpilot.errors import ConflictError, DocumentError, RefusedError, StorageError, TfPilotError
from tfpilot.operations.history import note_event
from tfpilot.operations.reset_guarding import check_guards
from tfpilot.operations.reset_lease import TargetLease
from tfpilot.operations.reset_reading import read_plan, read_scope
from tfpilot.operations.reset_unused import find_unused, take_away
from tfpilot.operations.rights import frozen_reason

AT_ONCE: Final = 32
_MAX_TRIES: Final = 5
_HELD: Final = frozenset({Phase.DIGEST, Phase.STATE})
_STARTS: Final = frozenset({Action.TAKE_LOCK, Action.COMPARE})
_EVENTS: Final = {Action.REMOVE_REQUEST: "request_archived_by_reset", Action.RESTORE: "request_restored_by_reset"}

OnGroup = Callable[[Sequence[ResetStep], Sequence[StepResult]], None]
"""Is told of every group of steps that was carried out."""


@dataclass(slots=True)
class ResetRun:
    """One process's turn at a reset, forwards or back."""

    edges: Edges
    stored: StoredReset
    progress: Progress
    direction: Direction
    operator: Operator
    lease: TargetLease
    on_group: OnGroup
    began_at: datetime = field(init=False)
    store: ResetStore = field(init=False)
    results: dict[str, StepResult] = field(init=False)
    outcomes: dict[str, Outcome] = field(init=False)
    next_number: int = field(init=False)
    undo_began: bool = field(init=False)

    def __post_init__(self) -> None:
        self.began_at = self.edges.clock()
        self.store = self.edges.reset_stores.of(self.plan.target)
        self.results = dict(self.progress.results)
        self.outcomes = dict(self.progress.outcomes)
        self.next_number = self.progress.next_number
        self.undo_began = self.progress.undo_began

    @property
    def record(self) -> ResetRecord:
        return self.stored.record

    @property
    def plan(self) -> ResetPlan:
        return self.stored.plan

    def carry_out(self, steps: Sequence[ResetStep]) -> str:
        """Carries the steps out in their order, and answers why it stopped before the end; empty where it did not.

        Wherever it ends by itself, Terraform's lock is given back. Raises RefusedError where a lock is somebody else's
        or what was read again differs; StorageError where a store did not answer: then the lock stays, for a resume or
        an undo to find.
        """
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="reset") as pool:
            for group in batches(steps):
                self._begin_undo(group)
                stopped = "" if group[0].phase is Phase.UNLOCK else self._why_stop()
                if stopped:
                    self._release(pool)
                    return stopped
                self.lease.keep()
                results = self._group(pool, group)
                if group[0].action in _STARTS and results[0].outcome is Outcome.LEFT:
                    self._release(pool)
                    raise RefusedError(
                        f"Reset {self.record.reset_id} of {self.plan.target.name} went no further: {results[0].reason}",
                        "Nothing was changed in this turn. Look what changed, or who holds the lock.",
                    )
        self._begin_undo(())
        return ""

    def _begin_undo(self, group: Sequence[ResetStep]) -> None:
        """Says in the journal that the undo began, once Terraform's lock is ours: one that is refused before changes
        nothing, and one that finds nothing to do is over all the same."""
        if self.direction is Direction.APPLY or self.undo_began or (group and group[0].action is Action.TAKE_LOCK):
            return
        self._journal()
        self.undo_began = True

    def _release(self, pool: ThreadPoolExecutor) -> None:
        for step in release_steps(self.plan, self.record):
            self._group(pool, (step,))

    def _why_stop(self) -> str:
        frozen = frozen_reason(self.edges)
        if frozen or self.edges.rights.read_only:
            return f"the portal is frozen: {frozen}" if frozen else "the portal is read-only"
        asked = self.edges.reset_journal.find_stop(self.record.reset_id)
        return f"{asked.by} asked to stop" if asked is not None and asked.at >= self.began_at else ""

    def _group(self, pool: ThreadPoolExecutor, group: Sequence[ResetStep]) -> Sequence[StepResult]:
        self._journal(intents=tuple(step.id for step in group))
        tried = list(pool.map(self._tried, group)) if len(group) > 1 else [self._tried(group[0])]
        results = [each for each in tried if isinstance(each, StepResult)]
        if results:
            self._journal(results=tuple(results))
        for result in results:
            self.results[result.step_id] = result
            self.outcomes[result.step_id] = result.outcome
        failed = next((each for each in tried if isinstance(each, TfPilotError)), None)
        if failed is not None:
            raise StorageError(
                f"Reset {self.record.reset_id} of {self.plan.target.name} was interrupted: {failed.message}",
                f"{failed.hint} Nothing is lost: resume it, or undo it.".strip(),
            ) from failed
        self.on_group(group, results)
        return results

    def _journal(self, *, intents: tuple[str, ...] = (), results: tuple[StepResult, ...] = ()) -> None:
        now, who = self.edges.clock(), self.operator.login
        entry = JournalEntry(self.next_number, now, who, self.direction, intents, results)
        try:
            self.edges.reset_journal.add(self.record.reset_id, entry)
        except ConflictError as error:
            raise RefusedError(
                f"Another process goes on with reset {self.record.reset_id}",
                "Look at its progress; this one has stopped.",
            ) from error
        self.next_number += 1

    def _tried(self, step: ResetStep) -> StepResult | TfPilotError:
        """The result, or the failure that leaves the step in doubt."""
        try:
            return self._compared(step) if step.action is Action.COMPARE else self._done(step)
        except (StorageError, DocumentError) as error:
            return error

    def _compared(self, step: ResetStep) -> StepResult:
        """Everything is read again under Terraform's lock, and the guards look again."""
        target, record = self.plan.target, self.record
        reading = read_scope(self.edges, target)
        again = read_plan(
            self.edges,
            target,
            state_mode=self.plan.state_mode,
            with_index=self.plan.with_index,
            own_lock_id=record.lock_id,
            reading=reading,
        )
        told = differences(self.plan, again)
        checks = check_guards(
            self.edges,
            target,
            operator=self.operator,
            reading=Reading(reading),
            own_lock_id=record.lock_id,
            accepts_no_versioning=record.accepts_no_versioning,
            accepts_most_requests=record.accepts_most_requests,
        )
        try:
            refuse_unless_passed(target, checks)
        except RefusedError as refusal:
            told = (*told, refusal.message)
        return StepResult(step.id, Outcome.LEFT if told else Outcome.DONE, "; ".join(told))

    def _done(self, step: ResetStep) -> StepResult:
        knows = self._knows_what_stands_there(step)
        for _ in range(_MAX_TRIES):
            found = _expected(step) if knows else self.store.find(step.place)
            decision = decide(step, found, outcomes=self.outcomes)
            if decision.move is Move.NOTHING:
                return _left_there(step, decision.found)
            try:
                if decision.move is Move.WRITE:
                    return self._written(step, decision.found)
                if not self._makes_room(step):
                    return StepResult(step.id, Outcome.LEFT, decision.reason)
            except ConflictError:
                knows = False  # look what stands there, which may be ours: an answer may have been lost
        return StepResult(step.id, Outcome.LEFT, f"{step.place} is written by others all the time")

    def _makes_room(self, step: ResetStep) -> bool:
        """Takes away what Terraform put in the place of a state only because it looked there."""
        if step.phase is not Phase.STATE or any(self.outcomes.get(name) is not Outcome.DONE for name in step.needs):
            return False
        unused = find_unused(self.store, self.plan.target, step)
        if unused is None:
            return False
        take_away(self.store, unused)
        return True

    def _knows_what_stands_there(self, step: ResetStep) -> bool:
        """Whether the write itself tells: it is conditional on what was read, and nobody tried the step before."""
        is_object = step.place.store is not Store.LOCK_TABLE and not step.place.is_lock
        was_tried = step.id in self.progress.in_doubt or step.id in self.progress.results
        looks_only = step.action is Action.CHECK_COPY
        return is_object and not was_tried and not looks_only and (step.before is None or bool(step.etag))

    def _written(self, step: ResetStep, found: Found | None) -> StepResult:
        if step.phase in _HELD:
            self.lease.keep()  # a step before may have lasted longer than others wait for us
        if step.after is None:
            if found is None:
                raise ValueError("decided to remove nothing")
            self.store.remove(step.place, found=found)
            self._tell(step)
            return StepResult(step.id, Outcome.DONE)
        content, like = self._content(step)
        if content is None:
            return StepResult(step.id, Outcome.LEFT, f"{step.source} is not what this reset read or kept")
        written = self.store.write(step.place, content, over=found, encrypted_like=like)
        if step.place.is_lock or step.place.store is Store.LOCK_TABLE:
            return StepResult(step.id, Outcome.DONE)
        there = self.store.find(step.place)
        if there is None or there.mark != step.after:
            return StepResult(step.id, Outcome.LEFT, f"{step.place} was written again by somebody else")
        self._tell(step)
        return StepResult(step.id, Outcome.DONE, etag=written.etag, version_id=written.version_id)

    def _content(self, step: ResetStep) -> tuple[bytes | None, ReadObject | None]:
        """What to write, and what it is to be encrypted like; None where the source is not what it was."""
        if step.content is not None:
            is_state = step.place.store is Store.STATE_BUCKET and not step.place.is_lock
            return step.content, self.store.read(step.place) if is_state else None
        if step.source is None:
            raise ValueError("a step that writes has a content or a source")
        for version_id in dict.fromkeys((None, step.source_version)):
            read = self.store.read(step.source, version_id=version_id)
            if read is not None and fits(step, read.content):
                return read.content, read
        return None, None

    def _tell(self, step: ResetStep) -> None:
        """A line in the history of a request that was moved; one that fails stops nothing."""
        event = _EVENTS.get(step.action)
        if event is None or not step.place.key.startswith("requests/"):
            return
        data: Mapping[str, str] = {"resetId": self.record.reset_id, "target": self.plan.target.name}
        note_event(self.edges, step.subject, event, operator=self.operator, data=data)


def _expected(step: ResetStep) -> Found | None:
    return None if step.before is None else Found(step.before, step.etag)


def _left_there(step: ResetStep, found: Found | None) -> StepResult:
    is_item = step.place.store is Store.LOCK_TABLE
    if found is None or is_item:
        return StepResult(step.id, Outcome.DONE)
    return StepResult(step.id, Outcome.DONE, etag=found.etag, version_id=found.version_id)
