"""How fresh the run index is, what is under way, and what the last click came to."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.index_listing import IndexListing
from tfpilot.edges import Edges
from tfpilot.ui import (
    index_acts,
    index_audit_view,
    index_deliveries,
    index_fix_view,
    index_retention,
    shell,
    words,
)
from tfpilot.ui.index_acts import Marked
from tfpilot.ui.index_desk import IndexDesk, Outcome, Shelf, Verb
from tfpilot.wiring import Portal

_LOOK_EVERY: Final = timedelta(seconds=5)
_LOOK_OFTEN: Final = timedelta(milliseconds=500)

_UNDER_WAY: Final = {
    Verb.AUDIT: "Auditing",
    Verb.FIX: "Fixing",
    Verb.UNDO: "Taking the fix back",
    Verb.MARK: "Storing the marks",
    Verb.SHOW_RULE: "Reading the bucket's rules",
    Verb.INSTALL_RULE: "Writing the rule and reading it back",
    Verb.REPLAY: "Replaying",
}
_FAILED: Final = {
    Verb.AUDIT: "The audit was not finished",
    Verb.FIX: "Nothing was fixed",
    Verb.UNDO: "Nothing was taken back",
    Verb.MARK: "Not every finding was marked",
    Verb.SHOW_RULE: "There is no difference to show",
    Verb.INSTALL_RULE: "The rule was not installed",
    Verb.REPLAY: "Nothing was replayed",
}


def show(edges: Edges, desk: IndexDesk, shelf: Shelf, listing: IndexListing) -> None:
    """The title, the age of what is shown, Refresh and Run audit."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.title("Run index", anchor=False, width="content")
        _show_tick(edges, desk, shelf, listing)


def show_progress(edges: Edges, desk: IndexDesk) -> None:
    """What a person's click has the portal do now, and how far it is."""
    errand = desk.errand
    if errand is None:
        return

    @st.fragment(run_every=_LOOK_OFTEN)
    def tick() -> None:
        done, to_do, of = _how_far(edges, desk)
        verb = _UNDER_WAY[errand.verb]
        st.progress(done / to_do if to_do else 0.0, text=f"{verb}: {words.number(done)} of {words.counted(to_do, of)}"
                    if to_do else f"{verb}.")  # fmt: skip

    tick()


def show_outcome(edges: Edges, desk: IndexDesk) -> None:
    """What the last click came to, until the next one."""
    outcome = desk.outcome
    if outcome is None:
        return
    if outcome.error is not None:
        shell.show_error(outcome.error, title=_FAILED[outcome.verb])
    elif outcome.verb in {Verb.FIX, Verb.UNDO}:
        index_fix_view.show_outcome(edges, desk, outcome)
    elif outcome.verb is Verb.INSTALL_RULE:
        index_retention.show_installed(outcome.result)
    elif outcome.verb is Verb.REPLAY:
        index_deliveries.show_replayed(outcome.result)


def settle(desk: IndexDesk, ended: Outcome | None) -> None:
    """Puts the result of an errand that has just ended where it belongs, and says so in passing."""
    if ended is None or ended.error is not None:
        return
    if ended.verb is Verb.SHOW_RULE:
        desk.rule = ended.result
    elif ended.verb is Verb.MARK:
        _announce(ended.result)
    elif ended.verb in {Verb.FIX, Verb.UNDO}:
        desk.fixes.forget()
    elif ended.verb is Verb.REPLAY:
        desk.deliveries.forget()


def show_first_reading(portal: Portal) -> None:
    """That the first listing is under way, in the layout that will follow."""
    bucket = words.code(portal.place.bucket)
    st.markdown(
        f":material/hourglass_top: Listing the run index of {bucket} for the first time: 1,000 entries per call, none "
        "of them is read. Later visits start from the cache."
    )
    st.progress(0.0)
    st.skeleton(44)
    st.skeleton(220)
    for column in st.columns((11, 8)):
        with column:
            st.skeleton(560)


def _announce(marked: Marked) -> None:
    what = words.counted(marked.count, "finding")
    told = f"{what} ignored" if marked.ignored else f"{what} open again"
    st.toast(told, icon=":material/visibility_off:" if marked.ignored else ":material/visibility:")


def _how_far(edges: Edges, desk: IndexDesk) -> tuple[int, int, str]:
    """(done, to do, of what)."""
    errand = desk.errand
    if errand is not None and errand.progress.to_do:
        return errand.progress.done, errand.progress.to_do, "step"
    requests = edges.snapshots.progress()
    if requests is not None:
        return *requests, "request"
    entries = edges.index_listings.progress()
    return (*entries, "object") if entries is not None else (0, 0, "")


def _show_tick(edges: Edges, desk: IndexDesk, shelf: Shelf, listing: IndexListing) -> None:
    """The age of the data, Refresh and Run audit.

    Asks for a new page on every tick while something else is known than is shown: asking once can get lost.
    """
    waits = desk.is_busy or index_acts.is_refreshing(shelf) or any(reading.is_busy for reading in desk.readings)
    shown = _identity(edges, desk, shelf)

    @st.fragment(run_every=_LOOK_OFTEN if waits else _LOOK_EVERY)
    def tick() -> None:
        index_acts.keep_young(edges)
        refreshing = index_acts.is_refreshing(shelf)
        if _identity(edges, desk, shelf) != shown or desk.has_news or (refreshing and not waits):
            st.rerun()
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            if refreshing:
                st.markdown(":blue-badge[:material/sync: Listing again]", width="content")
            elif listing.read_at is not None:
                st.markdown(shell.age_badge("Data {age} old", listing.read_at, edges.clock()), width="content")
            st.button(
                "Refresh",
                key="index_refresh",
                icon=":material/refresh:",
                shortcut="u",
                disabled=refreshing,
                on_click=index_acts.refresh,
                args=(edges, desk),
            )
            st.button(
                "Run audit",
                key="index_run_audit",
                icon=":material/fact_check:",
                disabled=desk.is_busy,
                on_click=_audit,
                args=(edges, desk),
            )

    tick()


def _audit(edges: Edges, desk: IndexDesk) -> None:
    index_acts.begin_audit(edges, desk, index_audit_view.wanted_sources())


def _identity(edges: Edges, desk: IndexDesk, shelf: Shelf) -> tuple[object, ...]:
    """What of readings and of the audit a page shows; the age is shown by itself."""
    listing = edges.index_listings.current()
    return (listing.number, listing.read_at is None, listing.error, id(shelf.report), desk.is_busy,
            index_acts.is_refreshing(shelf))  # fmt: skip
