"""A reset, or an undo, of the chosen target that is not over: who is at it, or how to go on."""

from __future__ import annotations

import streamlit as st

from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_target import find_target
from tfpilot.edges import Edges
from tfpilot.operations.reset_views import ResetView, find_unfinished
from tfpilot.ui import reset_acts, reset_address, reset_header, reset_looks, shell, words
from tfpilot.ui.reset_desk import GUARDS_EVERY, ResetDesk


def show(edges: Edges, desk: ResetDesk, name: str) -> None:
    """The block; nothing where every reset of the target is over."""
    target, now = find_target(edges.resets.targets, name), edges.clock()
    if target is None:
        return
    desk.unfinished.renew(after=GUARDS_EVERY, now=now)
    desk.unfinished.want(name, lambda: find_unfinished(edges, target), now=now)
    if desk.unfinished.error is not None:
        reset_header.show_reading_error(desk.unfinished.error, title="Whether a reset is under way could not be read",
                                        key="reset_unfinished_again", desk=desk)  # fmt: skip
    view = desk.unfinished.value_of(name)
    if view is not None:
        _show(edges, desk, view)


def _show(edges: Edges, desk: ResetDesk, view: ResetView) -> None:
    record = view.record
    what = "The undo of a reset" if view.stage is Stage.UNDO_UNFINISHED else "A reset"
    when, reason = reset_looks.day(record.started_at), words.plain(words.sentence(record.reason))
    began = f"{words.plain(record.operator)} began it at {when} UTC: {reason}"
    with st.container(gap="small", key="reset_unfinished_block"):
        if view.at_work is not None:
            doing = words.plain(view.at_work.operator or "Somebody")
            st.info(f"{began} {doing} is at it now. Two resets of one target cannot run at a time.",
                    title=f"{what} of {words.plain(view.plan.target.name)} is running",
                    icon=":material/progress_activity:")  # fmt: skip
        else:
            st.warning(f"{began} Until it is resumed or undone, no other reset of this target can begin.",
                       title=f"{what} of {words.plain(view.plan.target.name)} was interrupted",
                       icon=":material/pause_circle:")  # fmt: skip
        _show_ways(edges, desk, view)


def _show_ways(edges: Edges, desk: ResetDesk, view: ResetView) -> None:
    reset_id = view.record.reset_id
    if view.at_work is not None:
        st.button("See its progress", key="reset_see", icon=":material/visibility:", type="primary",
                  on_click=_see, args=(reset_id,))  # fmt: skip
        return
    refusal = reset_acts.why_not(edges, shell.operator(), view.plan.target.environment)
    undoes = view.stage is Stage.UNDO_UNFINISHED
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Resume the undo" if undoes else "Resume", key="reset_resume_here", icon=":material/play_arrow:",
                  type="primary", disabled=bool(refusal) or desk.is_busy, on_click=_resume,
                  args=(edges, desk, view))  # fmt: skip
        st.button("See it" if undoes else "See it, or undo it", key="reset_see", icon=":material/visibility:",
                  on_click=_see, args=(reset_id,))  # fmt: skip
        text = "Resume puts back what is left." if undoes else (
            "Resume checks the guards again and does what is left. Undo puts back what was changed."
        )  # fmt: skip
        st.markdown(f":small[{words.plain(refusal) if refusal else text}]", width="stretch")


def _see(reset_id: str) -> None:
    reset_address.touched()
    reset_address.show_reset(reset_id)


def _resume(edges: Edges, desk: ResetDesk, view: ResetView) -> None:
    reset_address.touched()
    record = view.record
    reset_acts.begin_resume(edges, desk, shell.operator(), reset_id=record.reset_id, target=record.target,
                            digest=record.digest)  # fmt: skip
