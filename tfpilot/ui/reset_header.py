"""The title of Dev reset, its steps, what is under way, and what the last click came to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.edges import Edges
from tfpilot.errors import TfPilotError
from tfpilot.ui import reset_address, reset_confirm_view, shell, words
from tfpilot.ui.reset_desk import Outcome, ResetDesk, Step, Verb

_BETWEEN: Final = "\u2003\u203a\u2003"
_LOOK_OFTEN: Final = timedelta(milliseconds=500)
_UNDER_WAY: Final = {
    Verb.PLAN: "Making the plan: everything that it would touch is read. Nothing is changed.",
    Verb.ASK: "Storing the question.",
    Verb.APPROVE: "Reading everything again, then storing the approval.",
    Verb.STOP: "Storing the wish to stop.",
}
_FAILED: Final = {
    Verb.PLAN: "There is no plan",
    Verb.ASK: "Nobody was asked",
    Verb.APPROVE: "Nothing was approved",
    Verb.STOP: "The reset was not asked to stop",
}


def settle(desk: ResetDesk, ended: Outcome | None) -> None:
    """Puts what has just ended where it belongs, and follows what this tab began to its own view."""
    if ended is not None and ended.error is None:
        _take_in(desk, ended)
    deed = desk.deed
    if deed is None:
        return
    if not deed.reset_id:
        if deed.is_over:
            desk.deed, desk.failed = None, deed
        return
    if reset_address.reset_id() != deed.reset_id:
        reset_address.show_reset(deed.reset_id)
        desk.discard_plan()
    if deed.is_over:
        desk.deed = None
        desk.seen.forget()
        desk.past.forget()
        for reading in (desk.scope, desk.unfinished, desk.preview):
            reading.drop()


def show(edges: Edges, desk: ResetDesk, current: Step) -> None:
    """The title, what a reset is, and where in the wizard this is."""
    st.title("Dev reset", anchor=False)
    st.markdown(
        ":small[Removes the Terraform state, the requests and, if chosen, the run-index entries of one dev "
        f"environment. It destroys no cloud resource. Nothing changes before step 4; everything can be undone for "
        f"{words.counted(edges.resets.undo_days, 'day')}.]"
    )
    st.markdown(_BETWEEN.join(_named(step, current) for step in Step))
    if desk.outcome is not None and desk.outcome.error is not None:
        shell.show_error(desk.outcome.error, title=_FAILED[desk.outcome.verb])


def show_progress(desk: ResetDesk) -> None:
    """What a click has the portal do now. Asks for a new page when it has ended."""
    errand = desk.errand
    if errand is None:
        return

    def draw() -> None:
        st.progress(0.0, text=_UNDER_WAY[errand.verb])

    watch(desk, lambda: desk.errand is errand, draw, every=_LOOK_OFTEN)


def watch(desk: ResetDesk, look: Callable[[], object], draw: Callable[[], object], *, every: timedelta) -> None:
    """Draws again and again. Asks for a new page on every tick while `look` answers something else than now, or
    something has ended: asking once can get lost."""
    shown = look()

    @st.fragment(run_every=every)
    def tick() -> None:
        if desk.has_news or look() != shown:
            st.rerun()
        draw()

    tick()


def show_reading_error(error: TfPilotError, *, title: str, key: str, desk: ResetDesk) -> None:
    """Why something could not be read, and a button that reads it again."""
    shell.show_error(error, title=title)
    st.button("Try again", key=key, icon=":material/refresh:", on_click=desk.look_again)


def _take_in(desk: ResetDesk, ended: Outcome) -> None:
    if ended.verb is Verb.PLAN:
        desk.made, desk.step = ended.result, Step.REVIEW
        desk.compared.forget()
        reset_confirm_view.forget_what_was_given()
    elif ended.verb is Verb.ASK:
        desk.approval.forget()
        st.toast("Asked. Send the address to a second admin.", icon=":material/how_to_reg:")
    elif ended.verb is Verb.APPROVE:
        desk.approval.forget()
        st.toast("Approved: exactly this digest.", icon=":material/how_to_reg:")
    elif ended.verb is Verb.STOP:
        desk.seen.forget()
        st.toast("It stops when the present step is through.", icon=":material/pause_circle:")


def _named(step: Step, current: Step) -> str:
    steps = list(Step)
    number, at = steps.index(step), steps.index(current)
    if number < at:
        return f":green-badge[:material/check:] {step}"
    if number > at:
        return f":gray-badge[{number + 1}] :gray[{step}]"
    return f":violet-badge[{number + 1}] **{step}**"
