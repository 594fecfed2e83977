"""Looking at resets: the checklist of a target, a reset as it stands, what an undo would find. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from tfpilot.core.lease import Lease
from tfpilot.core.model import Operator
from tfpilot.core.reset_guards import Check
from tfpilot.core.reset_journal import (
    Progress,
    Stage,
    StopRequest,
    StoredReset,
    plan_undo,
    read_journal,
    stage_of,
)
from tfpilot.core.reset_plan import ResetPlan, StateMode
from tfpilot.core.reset_plan_document import differences
from tfpilot.core.reset_receipt import Receipt, make_receipt
from tfpilot.core.reset_steps import Found, Move, Outcome, ResetRecord, ResetStep, decide, steps_of
from tfpilot.core.reset_target import ResetTarget, Scope, find_target
from tfpilot.edges import Edges
from tfpilot.errors import NotFoundError
from tfpilot.operations.reset_guarding import check_guards, look_up
from tfpilot.operations.reset_lease import lease_name
from tfpilot.operations.reset_reading import read_plan, read_scope
from tfpilot.operations.reset_unused import find_unused

_AT_ONCE: Final = 32
_LOCK: Final = "lock:"
_UNFINISHED: Final = frozenset({Stage.NOT_BEGUN, Stage.UNFINISHED, Stage.UNDO_UNFINISHED})


@dataclass(frozen=True, slots=True)
class Choices:
    """What an operator chooses about a reset; what is accepted is kept with it and counts until its end."""

    state_mode: StateMode = StateMode.REMOVE
    with_index: bool = True
    accepts_no_versioning: bool = False
    accepts_most_requests: bool = False


@dataclass(frozen=True, slots=True)
class ScopeCheck:
    """The checklist of a target, and the requests in scope; None where they could not be read."""

    target: ResetTarget
    scope: Scope | None
    checks: tuple[Check, ...]
    at: datetime

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, slots=True)
class ResetView:
    """A reset as it stands: its steps, how far it came, and who carries it out right now (None: nobody)."""

    stored: StoredReset
    steps: tuple[ResetStep, ...]
    progress: Progress
    stage: Stage
    at_work: Lease | None

    @property
    def record(self) -> ResetRecord:
        return self.stored.record

    @property
    def plan(self) -> ResetPlan:
        return self.stored.plan

    @property
    def is_unfinished(self) -> bool:
        return self.stage in _UNFINISHED


@dataclass(frozen=True, slots=True)
class UndoLine:
    """One step of an undo, and whether its place is as the reset left it; `reason` says why it would be left."""

    step: ResetStep
    is_free: bool
    reason: str


def get_target(edges: Edges, name: str) -> ResetTarget:
    """The target of that name. Raises NotFoundError."""
    target = find_target(edges.resets.targets, name)
    if target is None:
        known = ", ".join(each.name for each in edges.resets.targets) or "none"
        raise NotFoundError(f"There is no reset target {name}", f"TFPILOT_RESET_TARGETS names: {known}.")
    return target


def check_scope(edges: Edges, name: str, choices: Choices, *, operator: Operator) -> ScopeCheck:
    """The checklist as it is now. Raises NotFoundError only: whatever else fails is a line of it."""
    target = get_target(edges, name)
    reading = look_up(lambda: read_scope(edges, target))
    checks = check_guards(
        edges,
        target,
        operator=operator,
        reading=reading,
        accepts_no_versioning=choices.accepts_no_versioning,
        accepts_most_requests=choices.accepts_most_requests,
    )
    return ScopeCheck(target, reading.value.scope if reading.value else None, checks, edges.clock())


def read_reset(edges: Edges, reset_id: str) -> ResetView:
    """A reset as it stands now. Raises MalformedIdError, NotFoundError, DocumentError or StorageError."""
    stored = edges.reset_journal.get(reset_id)
    at_work = edges.leases.find(lease_name(stored.plan.target), now=edges.clock())
    return view_of(stored, at_work)


def look_again(edges: Edges, view: ResetView) -> ResetView:
    """The same reset as it stands now; reads what its journal has gained. Raises DocumentError or StorageError."""
    at_work = edges.leases.find(lease_name(view.plan.target), now=edges.clock())
    news = edges.reset_journal.entries(view.record.reset_id, after=view.progress.next_number - 1)
    if not news:
        return replace(view, at_work=at_work)
    return _view(replace(view.stored, entries=(*view.stored.entries, *news)), view.steps, at_work)


def view_of(stored: StoredReset, at_work: Lease | None) -> ResetView:
    """What a stored reset comes to."""
    return _view(stored, steps_of(stored.plan, stored.record), at_work)


def compare_plan(edges: Edges, plan: ResetPlan) -> Sequence[str]:
    """What differs between the plan and what is there now, a sentence each. Raises StorageError or DocumentError."""
    again = read_plan(edges, plan.target, state_mode=plan.state_mode, with_index=plan.with_index)
    return differences(plan, again)


def find_unfinished(edges: Edges, target: ResetTarget) -> ResetView | None:
    """The target's reset, or undo, that was begun and is not over; None where there is none.

    Raises DocumentError or StorageError.
    """
    for record in edges.reset_journal.list():
        if record.target == target.name and not edges.reset_journal.has_receipt(record.reset_id):
            view = read_reset(edges, record.reset_id)
            if view.is_unfinished:
                return view
    return None


def find_stop(edges: Edges, view: ResetView) -> StopRequest | None:
    """The last wish that the reset stop; None where there is none since its last turn began. Raises StorageError."""
    stop = edges.reset_journal.find_stop(view.record.reset_id)
    return stop if stop is not None and stop.at >= _last_turn_at(view.stored) else None


def _last_turn_at(stored: StoredReset) -> datetime:
    """When somebody last took the reset up; whoever does takes Terraform's lock first."""
    at, locks = stored.record.started_at, True
    for entry in stored.entries:
        names = (*entry.intents, *(result.step_id for result in entry.results))
        begins = any(name.startswith(_LOCK) for name in names)
        if begins and not locks:
            at = entry.at
        locks = begins
    return at


def list_resets(edges: Edges) -> Sequence[ResetRecord]:
    """All resets, the newest first. Raises DocumentError or StorageError."""
    return edges.reset_journal.list()


def get_receipt(edges: Edges, reset_id: str) -> Receipt:
    """The receipt of a reset, or how far it came. Raises as `read_reset`."""
    return receipt_of(edges, read_reset(edges, reset_id))


def receipt_of(edges: Edges, view: ResetView) -> Receipt:
    """The receipt of a reset that was read."""
    return make_receipt(view.plan, view.record, view.steps, view.progress, undo_days=edges.resets.undo_days)


def preview_undo(edges: Edges, reset_id: str) -> Sequence[UndoLine]:
    """What an undo would put back or take away, in its order, after a look at every place.

    Raises as `read_reset`.
    """
    view = read_reset(edges, reset_id)
    store = edges.reset_stores.of(view.plan.target)
    steps = [step for step in plan_undo(view.steps, view.progress) if not step.is_lock]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="reset-undo") as pool:
        places = list(dict.fromkeys(step.place for step in steps))
        stands = dict(zip(places, pool.map(store.find, places), strict=True))
    lines = []
    for step in steps:
        decision = decide(step, stands[step.place], outcomes=dict.fromkeys(step.needs, Outcome.DONE))
        is_free = decision.move is not Move.LEAVE or find_unused(store, view.plan.target, step) is not None
        if is_free:  # a later step finds what this one leaves: the digest of an emptied state makes way for the old one
            stands[step.place] = None if step.after is None else Found(step.after)
        lines.append(UndoLine(step, is_free, "" if is_free else decision.reason))
    return lines


def _view(stored: StoredReset, steps: tuple[ResetStep, ...], at_work: Lease | None) -> ResetView:
    progress = read_journal(stored.entries)
    return ResetView(stored, steps, progress, stage_of(steps, progress), at_work)
