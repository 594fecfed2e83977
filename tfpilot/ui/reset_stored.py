"""A stored reset in the page: its run while it is not over, its receipt afterwards. Any tab may be sent it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.edges import Edges
from tfpilot.errors import MalformedIdError, NotFoundError, TfPilotError
from tfpilot.ui import reset_address, reset_header, reset_receipt, reset_run, shell, words
from tfpilot.ui.reset_deeds import Deed, DeedVerb, deeds_of
from tfpilot.ui.reset_desk import ResetDesk, Step
from tfpilot.ui.reset_seen import SeenReset, see_reset

_FAST: Final = timedelta(seconds=1)
_SLOW: Final = timedelta(seconds=5)
_FAILED: Final = {
    DeedVerb.APPLY: "The reset did not come to its end",
    DeedVerb.RESUME: "It did not go on to its end",
    DeedVerb.UNDO: "The undo did not come to its end",
}


def begin(edges: Edges, desk: ResetDesk, reset_id: str) -> SeenReset | None:
    """Has the reset looked at, again where that was a moment ago; answers the last look, None before the first."""
    now = edges.clock()
    before = desk.seen.value_of(reset_id)
    is_going_on = before is None or before.is_running or _going_on(edges, before) is not None
    desk.seen.renew(after=_FAST if is_going_on else _SLOW, now=now)
    desk.seen.want(reset_id, lambda: see_reset(edges, reset_id, before), now=now)
    return before


def step_of(edges: Edges, desk: ResetDesk, reset_id: str) -> Step:
    """Where in the wizard that reset is."""
    seen = desk.seen.value_of(reset_id)
    is_over = seen is not None and not seen.view.is_unfinished and _going_on(edges, seen) is None
    return Step.RECEIPT if is_over else Step.RUN


def show(edges: Edges, desk: ResetDesk, reset_id: str) -> None:
    """The whole view."""
    if desk.seen.error is not None:
        _show_error(desk, desk.seen.error)
    seen = begin(edges, desk, reset_id)
    if seen is None:
        if desk.seen.error is None:
            _show_first_look(desk, reset_id)
        return
    deed = _going_on(edges, seen)
    if seen.is_running or deed is not None:
        reset_run.show_running(edges, desk, seen, look=lambda: begin(edges, desk, reset_id),
                               goes_on=lambda: _going_on(edges, seen) is not None)  # fmt: skip
        return
    _show_failure(edges, seen)
    _watch_slowly(edges, desk, seen)
    if seen.view.is_unfinished:
        reset_run.show_interrupted(edges, desk, seen)
    else:
        reset_receipt.show(edges, desk, seen)
    st.button("New reset", key="reset_new", icon=":material/restart_alt:", on_click=_leave, args=(desk, seen.target))


def _going_on(edges: Edges, seen: SeenReset) -> Deed | None:
    """What this process does to the reset right now; None where it does nothing."""
    deed = deeds_of(edges).of(seen.target)
    return deed if deed is not None and not deed.is_over and deed.reset_id == seen.reset_id else None


def _show_first_look(desk: ResetDesk, reset_id: str) -> None:
    def draw() -> None:
        st.progress(0.0, text=f"Reading reset {words.plain(reset_id)} and its journal.")

    reset_header.watch(desk, lambda: desk.seen.is_busy, draw, every=_FAST / 2)
    st.skeleton(300)


def _watch_slowly(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    """Somebody else may go on with it, or take it back."""
    reset_header.watch(
        desk, lambda: (begin(edges, desk, seen.reset_id) is None, _going_on(edges, seen) is None), lambda: None,
        every=_SLOW,
    )  # fmt: skip


def _show_error(desk: ResetDesk, error: TfPilotError) -> None:
    if not isinstance(error, (NotFoundError, MalformedIdError)):
        kept = " What is shown below is the last look." if desk.seen.value is not None else ""
        reset_header.show_reading_error(error, title=f"The reset could not be read.{kept}", key="reset_seen_again",
                                        desk=desk)  # fmt: skip
        return
    shell.show_error(error, title="There is no such reset")
    st.button("New reset", key="reset_new_instead", icon=":material/restart_alt:", on_click=_leave, args=(desk, ""))


def _show_failure(edges: Edges, seen: SeenReset) -> None:
    """Why this process's last try ended early, until the reset has gone on since."""
    deed, last_at = deeds_of(edges).of(seen.target), seen.view.progress.last_at
    if deed is None or deed.reset_id != seen.reset_id or deed.error is None or deed.ended_at is None:
        return
    if (last_at is not None and last_at > deed.ended_at) or seen.refusals:
        return
    if isinstance(deed.error, TfPilotError):
        shell.show_error(deed.error, title=_FAILED[deed.verb])
    else:
        st.error("The log of the portal has the whole failure. Nothing is lost.", title=_FAILED[deed.verb],
                 icon=":material/error:")  # fmt: skip


def _leave(desk: ResetDesk, target: str) -> None:
    reset_address.touched()
    reset_address.show_target(target)
    desk.discard_plan()
    desk.past.forget()
    for reading in (desk.scope, desk.unfinished, desk.preview):
        reading.drop()
