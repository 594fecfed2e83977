"""What a person can have done about the dispatches of a request; each is carried out outside the page's script."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, Protocol

from tfpilot.core.dispatch import DispatchResult
from tfpilot.core.model import FieldChange, Operator, WorkflowKind
from tfpilot.edges import Edges
from tfpilot.errors import RefusedError, TfPilotError
from tfpilot.log import log_changes, log_dispatch, log_refusal
from tfpilot.operations import open_dispatches, request_lock
from tfpilot.operations.dispatch import dispatch
from tfpilot.ui.background import BACKGROUND

NAMES: Final[Mapping[WorkflowKind, str]] = {
    WorkflowKind.PLAN: "plan",
    WorkflowKind.APPLY: "apply",
    WorkflowKind.DESTROY: "destroy",
    WorkflowKind.CLEANUP: "cleanup",
    WorkflowKind.DRIFT_PLAN: "drift check",
}
"""What a dispatched workflow is called in a sentence."""


@dataclass(slots=True, eq=False)
class Proposal:
    """A dispatch that waits for its confirmation. `is_mistyped`: something else than the request's id was typed."""

    kind: WorkflowKind
    is_mistyped: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What a task came to: the result of a dispatch or search, or what was changed in the request."""

    result: DispatchResult | None = None
    changes: tuple[FieldChange, ...] = ()


class Task(Protocol):
    """One thing to do. Equal tasks are one: whoever asks for what is under way gets that."""

    @property
    def doing(self) -> str:
        """What is going on while it is being done."""

    def carry_out(self, edges: Edges, request_id: str, operator: Operator) -> Done:
        """Does it. Raises TfPilotError."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Starting a workflow."""

    kind: WorkflowKind

    @property
    def doing(self) -> str:
        return f"Dispatching the {NAMES[self.kind]}"

    def carry_out(self, edges: Edges, request_id: str, operator: Operator) -> Done:
        return Done(dispatch(edges, request_id, self.kind, operator=operator))


@dataclass(frozen=True, slots=True)
class FindRun:
    """Looking for the run of an open dispatch."""

    kind: WorkflowKind

    @property
    def doing(self) -> str:
        return f"Looking for the run of the {NAMES[self.kind]}"

    def carry_out(self, edges: Edges, request_id: str, operator: Operator) -> Done:
        return Done(open_dispatches.find_run(edges, request_id, self.kind, operator=operator))


@dataclass(frozen=True, slots=True)
class ChooseRun:
    """Making a run the request's that a person chose."""

    kind: WorkflowKind
    run_id: int

    @property
    def doing(self) -> str:
        return f"Storing run {self.run_id}"

    def carry_out(self, edges: Edges, request_id: str, operator: Operator) -> Done:
        return Done(open_dispatches.choose_run(edges, request_id, self.kind, self.run_id, operator=operator))


@dataclass(frozen=True, slots=True)
class ConfirmNoRun:
    """Closing a dispatch of which a person says that no run exists."""

    kind: WorkflowKind

    @property
    def doing(self) -> str:
        return f"Closing the {NAMES[self.kind]} that started nothing"

    def carry_out(self, edges: Edges, request_id: str, operator: Operator) -> Done:
        return Done(changes=open_dispatches.confirm_no_run(edges, request_id, self.kind, operator=operator))


@dataclass(frozen=True, slots=True)
class ClearLock:
    """Clearing a lock whose time is over."""

    @property
    def doing(self) -> str:
        return "Clearing the lock"

    def carry_out(self, edges: Edges, request_id: str, operator: Operator) -> Done:
        return Done(changes=request_lock.clear_lock(edges, request_id, operator=operator).changes)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended: done, or with the failure it met."""

    task: Task
    done: Done = field(default_factory=Done)
    error: TfPilotError | None = None

    @property
    def result(self) -> DispatchResult | None:
        return self.done.result


@dataclass(frozen=True, slots=True)
class Deed:
    """One task that is being carried out."""

    task: Task
    work: Future[Done]

    def outcome(self) -> Ended:
        """How it ended; waits for that."""
        try:
            return Ended(self.task, self.work.result())
        except TfPilotError as error:
            return Ended(self.task, error=error)


def start_task(edges: Edges, request_id: str, task: Task, operator: Operator) -> Deed:
    """Starts it in the background, or joins what is under way already, also from another tab."""

    def work() -> Done:
        try:
            done = task.carry_out(edges, request_id, operator)
        except RefusedError as refusal:
            log_refusal(task.doing, request_id, operator, refusal.message)
            raise
        _log(done, task, request_id, operator)
        return done

    return Deed(task, BACKGROUND.submit((request_id, task, operator), work))


def _log(done: Done, task: Task, request_id: str, operator: Operator) -> None:
    if done.result is not None:
        log_dispatch(done.result, operator)
    elif done.changes:
        log_changes(task.doing, request_id, done.changes, operator)
