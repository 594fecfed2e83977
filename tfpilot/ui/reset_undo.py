"""The way back: what an undo would find, and the undo itself behind its own phrase."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.reset_confirm import undo_phrase_of
from tfpilot.core.reset_plan_document import HISTORY
from tfpilot.core.reset_steps import Outcome, Place, Store
from tfpilot.core.run_index import PREFIX as INDEX
from tfpilot.edges import Edges
from tfpilot.operations.reset_views import UndoLine, preview_undo
from tfpilot.ui import reset_acts, reset_address, reset_header, reset_looks, shell, tables, words
from tfpilot.ui.reset_desk import ResetDesk
from tfpilot.ui.reset_looks import FREE, OCCUPIED, PUT_BACK
from tfpilot.ui.reset_seen import SeenReset

TYPED: Final = "reset_undo_typed"
_LOOK_OFTEN: Final = timedelta(milliseconds=500)
_OCCUPIED_SHOWN: Final = 5
_KINDS: Final = ("state", "digest item", "request place", "history place", "index place")


def show(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    """The card."""
    until = seen.receipt.undo_until
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Undo**", width="content")
            if until is not None:
                st.markdown(f":small[possible until {reset_looks.day(until)} UTC]", width="content")
        st.markdown(
            ":small[Puts back the states, requests and entries that were changed, each only where its place is still "
            "as this reset left it. What somebody else has written since is kept and listed.]"
        )
        _show_preview(edges, desk, seen)
        if until is not None and edges.clock() > until:
            st.markdown("The time for an undo is over. The receipt names every backup.")
        else:
            _show_act(edges, desk, seen)
        st.code(seen.receipt.undo_command, language=None, wrap_lines=True)


def _show_preview(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    reading = desk.preview
    what = _what(seen)
    if reading.error is not None:
        shell.show_error(reading.error, title="The places could not be looked at")
    if reading.is_busy:
        reset_header.watch(desk, lambda: reading.is_busy, lambda: st.progress(0.0, text="Looking at every place."),
                           every=_LOOK_OFTEN)  # fmt: skip
    found = reading.value_of(what)
    if found is not None and reading.at is not None:
        _show_places(found, looked=f"Looked at {reset_looks.second(reading.at)} UTC")
    st.button("Preview undo", key="reset_preview_undo", icon=":material/undo:", disabled=reading.is_busy,
              on_click=_preview, args=(edges, desk, seen))  # fmt: skip


def _show_places(found: Sequence[UndoLine], *, looked: str) -> None:
    rows, named = [], 0
    for kind in _KINDS:
        lines = [line for line in found if _kind_of(line) == kind]
        if not lines:
            continue
        free = sum(line.is_free for line in lines)
        look = FREE if free == len(lines) else OCCUPIED
        rows.append({"Place": look.badge, looked: f"{free} of {words.counted(len(lines), kind)} as the reset left it"})
        for line in lines:
            if not line.is_free and named < _OCCUPIED_SHOWN:
                named += 1
                rows.append({"Place": "", looked: words.plain(line.reason)})
    if not rows:
        st.markdown("Nothing was changed, so there is nothing to put back.")
        return
    occupied = sum(not line.is_free for line in found)
    if occupied > named:
        rows.append({"Place": "", looked: f"and {words.number(occupied - named)} more"})
    tables.show(rows, alt=f"Places of the undo: {len(found) - occupied} of {len(found)} free")
    if occupied:
        st.markdown(f"{words.counted(occupied, 'place was', 'places were')} written since: an undo leaves "
                    "them as they are.")  # fmt: skip


def show_undone(seen: SeenReset) -> None:
    """The card of an undo that is over: what is back in its place, and what is not."""
    outcomes = seen.view.progress.outcomes
    rows = []
    with st.container(border=True, gap="small"):
        st.markdown("**Undone**")
        for kind in _KINDS:
            steps = [step for step in seen.undo_steps if _kind(step.place) == kind]
            if steps:
                back = sum(outcomes.get(step.id) is Outcome.DONE for step in steps)
                look = PUT_BACK if back == len(steps) else OCCUPIED
                rows.append({"Place": look.badge, "What": f"{words.number(back)} of {words.counted(len(steps), kind)}"})
        if not rows:
            st.markdown(":small[Nothing had been changed, so nothing had to be put back.]")
            return
        tables.show(rows, alt=f"What was put back: {words.counted(len(rows), 'kind')}")


def _kind_of(line: UndoLine) -> str:
    return _kind(line.step.place)


def _kind(place: Place) -> str:
    if place.store is Store.LOCK_TABLE:
        return "digest item"
    if place.store is Store.STATE_BUCKET:
        return "state"
    if place.key.startswith(HISTORY):
        return "history place"
    return "index place" if place.key.startswith(INDEX) else "request place"


def _show_act(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    phrase = undo_phrase_of(seen.view.plan)
    st.text_input(f"Type {words.code(phrase)}", key=TYPED, max_chars=120, autocomplete="off",
                  on_change=reset_address.touched)  # fmt: skip
    refusal = reset_acts.why_not(edges, shell.operator(), seen.view.plan.target.environment)
    why_not = words.plain(refusal) if refusal else ""
    if not why_not and not (st.session_state.get(TYPED) or "").strip():
        why_not = "Type the phrase, then press Enter."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Undo this reset", key="reset_undo_fire", icon=":material/undo:",
                  disabled=bool(why_not) or desk.is_busy, on_click=_undo, args=(edges, desk, seen))  # fmt: skip
        text = why_not or "Takes Terraform's lock first, and looks at every place once more."
        st.markdown(f":small[{text}]", width="stretch")


def _what(seen: SeenReset) -> tuple[str, int]:
    return seen.reset_id, seen.view.progress.next_number


def _preview(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    reset_address.touched()
    desk.preview.forget()
    desk.preview.want(_what(seen), lambda: preview_undo(edges, seen.reset_id), now=edges.clock())


def _undo(edges: Edges, desk: ResetDesk, seen: SeenReset) -> None:
    reset_address.touched()
    reset_acts.begin_undo(edges, desk, shell.operator(), seen=seen, typed=st.session_state[TYPED])
