"""What one browser tab is doing with one request: questions to GitHub that are under way, and what came of them.

Work runs outside the script, so a click elsewhere, a second click or a closed tab neither breaks nor repeats it.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import streamlit as st

from tfpilot.core.model import JsonObject, Operator, Role, SyncMode, SyncResult, WorkflowKind, WorkflowRun
from tfpilot.edges import Edges
from tfpilot.errors import TfPilotError
from tfpilot.log import log_sync
from tfpilot.operations.rights import why_not_write
from tfpilot.operations.sync import sync
from tfpilot.ui.background import BACKGROUND
from tfpilot.ui.dispatch_tasks import Deed, Dispatch, Ended, Proposal, Task, start_task

SYSTEM: Final = Operator("system", Role.SYSTEM)
"""Who asks GitHub when nobody clicked."""

LOOK_AGAIN_AFTER: Final = timedelta(minutes=1)
"""How long an open page of an active request waits before it lets the portal ask GitHub again, if that is due."""

_DESK: Final = "request_desk"
_WISH: Final = "request_wish"


class Verb(StrEnum):
    """What a tab can have the portal do about a request."""

    OPEN = "open"
    PREVIEW = "preview"
    SYNC = "sync"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing that is being done."""

    verb: Verb
    work: Future[SyncResult]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an errand ended: with a result, or with the failure it met."""

    verb: Verb
    at: datetime
    result: SyncResult | None = None
    error: TfPilotError | None = None


@dataclass(slots=True)
class Desk:
    """The state of one request in one tab.

    `answer` is the newest result for which GitHub was asked; `preview` one that was asked for and not yet acted on or
    discarded; `outcome` what the person's last click came to; `opening` what the portal's own question came to.

    `proposal`: a dispatch that waits for its confirmation; `deed` what is being done about dispatches, `ended` what the
    last one came to; `candidates` the runs that an open dispatch may have started, as they were found last.
    """

    request_id: str
    errand: Errand | None = None
    looking: Errand | None = None
    looked_at: datetime | None = None
    answer: SyncResult | None = None
    preview: SyncResult | None = None
    outcome: Outcome | None = None
    opening: Outcome | None = None
    proposal: Proposal | None = None
    deed: Deed | None = None
    ended: Ended | None = None
    candidates: dict[WorkflowKind, tuple[WorkflowRun, ...]] = field(default_factory=dict)

    @property
    def is_busy(self) -> bool:
        """Whether something that a person asked for is under way."""
        return self.errand is not None or self.deed is not None

    @property
    def has_news(self) -> bool:
        """Whether something has ended that `collect` did not see yet."""
        return any(each is not None and each.work.done() for each in (self.errand, self.looking, self.deed))

    def begin(self, edges: Edges, verb: Verb, operator: Operator) -> None:
        """Starts it, unless something that a person asked for is under way: a second click changes nothing."""
        if self.is_busy:
            return
        self.outcome = self.ended = None
        self.errand = _start(edges, self.request_id, verb, operator)

    def repair(self, edges: Edges, operator: Operator, *, shown: SyncResult) -> None:
        """Repairs, if the preview `shown` is still the one on this desk."""
        if self.preview is shown:
            self.begin(edges, Verb.REPAIR, operator)

    def propose(self, kind: WorkflowKind) -> None:
        """Asks the person to confirm a dispatch."""
        self.ended = None
        self.proposal = Proposal(kind)

    def withdraw(self) -> None:
        """Takes the proposal away."""
        self.proposal = None

    def confirm(self, edges: Edges, operator: Operator, *, shown: Proposal, typed: str | None = None) -> None:
        """Dispatches what was proposed, if the proposal `shown` is still the one on this desk: it counts once.

        `typed`: what was typed as the request's id, where that was asked for; another text starts nothing.
        """
        if self.proposal is not shown or self.is_busy:
            return
        if typed is not None and typed.strip() != self.request_id:
            shown.is_mistyped = True
            return
        self.proposal = None
        self.act(edges, Dispatch(shown.kind), operator)

    def act(self, edges: Edges, task: Task, operator: Operator) -> None:
        """Starts it, unless something that a person asked for is under way."""
        if self.is_busy:
            return
        self.outcome = self.ended = None
        self.deed = start_task(edges, self.request_id, task, operator)

    def may_look(self, edges: Edges) -> bool:
        """Whether the portal's last question for this page is a moment ago, and none is under way."""
        return self.looking is None and (self.looked_at is None or edges.clock() - self.looked_at > LOOK_AGAIN_AFTER)

    def look(self, edges: Edges) -> None:
        """Lets the portal ask GitHub by itself, where it has not done so for this page a moment ago."""
        if self.may_look(edges):
            self.looked_at = edges.clock()
            self.looking = _start(edges, self.request_id, Verb.OPEN, SYSTEM)

    def discard(self) -> None:
        """Takes the preview away."""
        self.preview = None

    def collect(self, now: datetime) -> Outcome | None:
        """Takes in what has ended; answers how a person's errand did, the one time that it ended."""
        looking, errand = self.looking, self.errand
        if looking is not None and looking.work.done():
            self.looking = None
            self.opening = self._keep(_outcome(looking, now))
        self._collect_deed()
        if errand is None or not errand.work.done():
            return None
        self.errand = None
        self.outcome = self._keep(_outcome(errand, now))
        return self.outcome

    def _collect_deed(self) -> None:
        deed = self.deed
        if deed is None or not deed.work.done():
            return
        self.deed = None
        self.ended = deed.outcome()
        result = self.ended.result
        if result is not None:
            self.candidates[result.kind] = result.candidates

    def _keep(self, outcome: Outcome) -> Outcome:
        result = outcome.result
        if result is not None and result.asked:
            self.answer = result
        if result is not None and outcome.verb is Verb.PREVIEW:
            self.preview = result
        elif result is not None and (result.written or outcome.verb is Verb.REPAIR):
            self.preview = None
        return outcome


def desk_of(request_id: str) -> Desk:
    """This tab's desk for the request; a new one where it last looked at another."""
    desk: Desk | None = st.session_state.get(_DESK)
    if desk is None or desk.request_id != request_id:
        desk = Desk(request_id)
        st.session_state[_DESK] = desk
    return desk


def wish_preview(request_id: str) -> None:
    """Asks the request's page, which is opened next, to begin with a preview."""
    st.session_state[_WISH] = request_id


def take_wish(request_id: str) -> bool:
    """Whether a preview was wished for; answers so once."""
    wished: str | None = st.session_state.pop(_WISH, None)
    return wished == request_id


def is_outdated(preview: SyncResult, document: JsonObject) -> bool:
    """Whether the document is another one than the preview was made of."""
    return preview.request.raw != document


def _start(edges: Edges, request_id: str, verb: Verb, operator: Operator) -> Errand:
    mode = SyncMode.REPAIR if verb in {Verb.PREVIEW, Verb.REPAIR} else SyncMode.AUTO
    dry_run = verb is Verb.PREVIEW or (verb is Verb.OPEN and why_not_write(edges) is not None)
    key = (request_id, verb, operator)

    def work() -> SyncResult:
        result = sync(edges, request_id, mode=mode, operator=operator, dry_run=dry_run)
        log_sync(result, operator)
        return result

    return Errand(verb, BACKGROUND.submit(key, work))


def _outcome(errand: Errand, now: datetime) -> Outcome:
    try:
        return Outcome(errand.verb, now, result=errand.work.result())
    except TfPilotError as error:
        return Outcome(errand.verb, now, error=error)
