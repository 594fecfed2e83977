"""What one browser tab is doing with one request: questions to GitHub that are under way, and what came of them.

Work runs outside the script, so a click elsewhere, a second click or a closed tab neither breaks nor repeats it.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import streamlit as st

from tfpilot.core.model import JsonObject, Operator, Role, SyncMode, SyncResult
from tfpilot.edges import Edges
from tfpilot.errors import TfPilotError
from tfpilot.log import log_sync
from tfpilot.operations.sync import sync
from tfpilot.ui.background import BACKGROUND

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
    """

    request_id: str
    errand: Errand | None = None
    looking: Errand | None = None
    looked_at: datetime | None = None
    answer: SyncResult | None = None
    preview: SyncResult | None = None
    outcome: Outcome | None = None
    opening: Outcome | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something that a person asked for is under way."""
        return self.errand is not None

    @property
    def has_news(self) -> bool:
        """Whether something has ended that `collect` did not see yet."""
        return any(errand is not None and errand.work.done() for errand in (self.errand, self.looking))

    def begin(self, edges: Edges, verb: Verb, operator: Operator) -> None:
        """Starts it, unless something that a person asked for is under way: a second click changes nothing."""
        if self.is_busy:
            return
        self.outcome = None
        self.errand = _start(edges, self.request_id, verb, operator)

    def repair(self, edges: Edges, operator: Operator, *, shown: SyncResult) -> None:
        """Repairs, if the preview `shown` is still the one on this desk."""
        if self.preview is shown:
            self.begin(edges, Verb.REPAIR, operator)

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
        if errand is None or not errand.work.done():
            return None
        self.errand = None
        self.outcome = self._keep(_outcome(errand, now))
        return self.outcome

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
    dry_run = verb is Verb.PREVIEW
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
