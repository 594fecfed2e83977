"""What one browser tab is doing with dev resets. Everything is read and done outside the script."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import streamlit as st

from tfpilot.core.model import Operator
from tfpilot.core.reset_confirm import Approval, ApprovalRequest
from tfpilot.core.reset_steps import ResetRecord
from tfpilot.errors import TfPilotError
from tfpilot.operations.reset_views import ResetView, ScopeCheck, UndoLine
from tfpilot.ui.background import BACKGROUND
from tfpilot.ui.index_reading import Reading
from tfpilot.ui.reset_deeds import Deed
from tfpilot.ui.reset_made import MadePlan
from tfpilot.ui.reset_seen import SeenReset

_DESK: Final = "reset_desk"
_A_MOMENT: Final = 0.4


class Step(StrEnum):
    """The steps of the wizard, by the words a person reads."""

    SCOPE = "Scope"
    REVIEW = "Review"
    CONFIRM = "Confirm"
    RUN = "Run"
    RECEIPT = "Receipt"


class Verb(StrEnum):
    """What a tab can have the portal do that changes no target."""

    PLAN = "plan"
    ASK = "ask a second admin"
    APPROVE = "approve"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing that is being done."""

    verb: Verb
    work: Future[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an errand ended: with a result, or with the failure it met."""

    verb: Verb
    result: Any = None
    error: TfPilotError | None = None


@dataclass(slots=True)
class ResetDesk:
    """The state of the page in one tab.

    `step` counts while no stored reset is shown. `made` is the plan under review, `deed` what this tab began and waits
    for, `failed` what ended before its first step, `outcome` what the last errand came to, until the next click.
    """

    step: Step = Step.SCOPE
    made: MadePlan | None = None
    deed: Deed | None = None
    failed: Deed | None = None
    errand: Errand | None = None
    outcome: Outcome | None = None
    scope: Reading[ScopeCheck] = field(default_factory=lambda: Reading("reset guards"))
    unfinished: Reading[ResetView | None] = field(default_factory=lambda: Reading("unfinished reset"))
    past: Reading[Sequence[ResetRecord]] = field(default_factory=lambda: Reading("resets"))
    compared: Reading[Sequence[str]] = field(default_factory=lambda: Reading("reset plan again"))
    approval: Reading[tuple[ApprovalRequest | None, Approval | None]] = field(
        default_factory=lambda: Reading("reset approval")
    )
    to_approve: Reading[tuple[ApprovalRequest, MadePlan]] = field(default_factory=lambda: Reading("plan to approve"))
    seen: Reading[SeenReset] = field(default_factory=lambda: Reading("reset"))
    preview: Reading[Sequence[UndoLine]] = field(default_factory=lambda: Reading("reset undo"))

    @property
    def is_busy(self) -> bool:
        """Whether something that a person asked for is under way."""
        return self.errand is not None or self.deed is not None

    @property
    def readings(self) -> Sequence[Reading[Any]]:
        return (self.scope, self.unfinished, self.past, self.compared, self.approval, self.to_approve, self.seen,
                self.preview)  # fmt: skip

    @property
    def works(self) -> Sequence[Future[Any]]:
        """Everything that is under way."""
        begun = [reading.work for reading in self.readings]
        begun += [self.errand.work if self.errand else None, self.deed.work if self.deed else None]
        return [work for work in begun if work is not None]

    @property
    def has_news(self) -> bool:
        """Whether something has ended that `collect` did not see yet."""
        ended = self.errand is not None and self.errand.work.done()
        ended = ended or (self.deed is not None and self.deed.is_over)
        return ended or any(reading.has_news for reading in self.readings)

    def begin(self, verb: Verb, key: Hashable, work: Callable[[], Any]) -> None:
        """Starts it, unless another errand is under way: a second click changes nothing. A deed holds no errand up, for
        that is what a wish to stop is about."""
        if self.errand is not None:
            return
        self.outcome = None
        self.errand = Errand(verb, BACKGROUND.submit(("dev reset", verb, key), work))

    def collect(self, now: datetime) -> Outcome | None:
        """Takes in what has ended, after a moment's wait; answers how the errand did, the one time that it ended."""
        wait([reading.work for reading in self.readings if reading.work is not None], timeout=_A_MOMENT)
        for reading in self.readings:
            reading.collect(now, patience=0)
        errand = self.errand
        if errand is None or not errand.work.done():
            return None
        self.errand = None
        try:
            self.outcome = Outcome(errand.verb, result=errand.work.result())
        except TfPilotError as error:
            self.outcome = Outcome(errand.verb, error=error)
        return self.outcome

    def look_again(self) -> None:
        """Everything that is shown is read again."""
        for reading in self.readings:
            if reading is not self.preview:
                reading.forget()

    def discard_plan(self) -> None:
        """The wizard begins anew; what was chosen stays."""
        self.step, self.made, self.outcome, self.failed = Step.SCOPE, None, None, None


GUARDS_EVERY: Final = timedelta(seconds=15)


def desk() -> ResetDesk:
    """This tab's desk."""
    found: ResetDesk | None = st.session_state.get(_DESK)
    if found is None:
        found = ResetDesk()
        st.session_state[_DESK] = found
    return found


def person(operator: Operator) -> tuple[str, str]:
    """The operator as part of what is read: what one may do, another may not."""
    return operator.login, operator.role.value
