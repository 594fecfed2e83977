"""How fresh the list of locks is, what the last release came to, and what is shown where there is no lock."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.core.lock_release import PartOutcome, Released
from tfpilot.edges import Edges
from tfpilot.operations.locks import LockList
from tfpilot.ui import locks_acts, locks_address, shell, tables, words
from tfpilot.ui.locks_desk import LocksDesk, ReleaseOutcome
from tfpilot.ui.looks import Look

_LOOK_EVERY: Final = timedelta(seconds=5)
_LOOK_OFTEN: Final = timedelta(milliseconds=500)
_OUTCOMES: Final = {
    PartOutcome.REMOVED: Look("removed", "green", "check_circle"),
    PartOutcome.GONE: Look("gone already", "gray", "remove"),
    PartOutcome.TAKEN: Look("left: somebody else's now", "orange", "call_split"),
}


def show(edges: Edges, desk: LocksDesk) -> None:
    """The title, the age of what is shown, and Refresh."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.title("Locks", anchor=False, width="content")
        if edges.resets.targets:
            _show_tick(edges, desk)


def settle(edges: Edges, desk: LocksDesk, ended: ReleaseOutcome | None) -> None:
    """What follows from a release that has just ended: its readings are over, and the list is read again."""
    if ended is None:
        return
    locks_acts.begin_again(desk, ended.target, ended.object_key)
    if ended.released is not None:
        locks_address.close()
        what = f"{ended.target} {ended.object_key}"
        told = f"Lock of {what} released" if ended.released.is_free else f"Lock of {what} released in part"
        st.toast(words.plain(told), icon=":material/lock_open:")
    locks_acts.read_again(edges, desk)


def show_outcome(desk: LocksDesk) -> None:
    """What the last release came to, until the next one or a refresh."""
    outcome = desk.outcome
    if outcome is None:
        return
    if outcome.error is not None:
        shell.show_error(outcome.error, title=f"The lock of {outcome.target} {outcome.object_key} was not released")
    elif outcome.released is not None:
        _show_released(outcome.released)


def show_no_targets() -> None:
    """Nothing is configured: what to do about it."""
    with st.container(border=True):
        st.markdown("### :material/lock_open: No reset target is configured", anchors=False)
        st.markdown(
            f"The portal looks at the locks of the states that {words.code('TFPILOT_RESET_TARGETS')} names: a TOML "
            "file with each target's state bucket, exact state keys and lock mode. "
            f"{words.code('docs/DEV_RESET.md')} shows a complete one."
        )


def show_first_reading(edges: Edges) -> None:
    """That the first reading is under way, in the layout that will follow."""
    targets = edges.resets.targets
    states = sum(len(target.states) for target in targets)
    st.markdown(
        f":material/hourglass_top: Reading the locks of {words.counted(states, 'state')} in "
        f"{words.counted(len(targets), 'target')}, and asking GitHub about those that are held."
    )
    st.skeleton(220)


def show_intro(found: LockList) -> None:
    """What the table is about."""
    of = words.counted(found.targets, "configured reset target")
    told = f"Terraform state locks of the {of}. A lock is shown with who holds it and whether that still works."
    st.markdown(f":small[{told}]")


def show_none_held(found: LockList) -> None:
    """Every state was read, and no lock is held."""
    with st.container(border=True):
        st.markdown("### :material/lock_open: No lock is held", anchors=False)
        st.markdown(
            f"{words.counted(found.free, 'state')} of {words.counted(found.targets, 'target')} were read completely, "
            "lockfiles and lock items. Terraform may run on each of them."
        )


def show_outage(edges: Edges, desk: LocksDesk, found: LockList) -> None:
    """No state could be read at all."""
    first = found.unread[0].error
    hint = f"\n\n{words.plain(words.sentence(first.hint))}" if first.hint else ""
    st.error(
        f"{words.plain(words.sentence(first.message))} Nothing was changed.{hint}",
        title="No lock could be read",
        icon=":material/cloud_off:",
    )
    st.button(
        "Try again",
        key="locks_try_again",
        icon=":material/refresh:",
        type="primary",
        on_click=locks_acts.refresh,
        args=(edges, desk),
    )


def _show_released(released: Released) -> None:
    lock, kept = released.record.judged.lock, words.code(released.record_key, longest=120)
    what = f"{words.plain(lock.target)} {words.code(lock.object_key)}"
    if released.is_free:
        told = f"{what} is free: the next Terraform run may take it. What stood there is kept in {kept}."
        st.success(told, title="The lock was released", icon=":material/lock_open:")
    else:
        told = f"One place of {what} is somebody else's now and was left. What was removed is kept in {kept}."
        st.warning(told, title="The lock was released in part", icon=":material/warning:")
    rows = [
        {
            "Outcome": _OUTCOMES[part.outcome].badge,
            "Place": f"{part.place.store} {words.code(part.place.key, longest=120)}",
        }
        for part in released.parts
    ]
    tables.show(rows, alt=f"What was released: {words.counted(len(rows), 'place')}")


def _show_tick(edges: Edges, desk: LocksDesk) -> None:
    """The age of the data, and Refresh. Asks for a new page on every tick while something has ended that it does not
    show: asking once can get lost."""
    waits = desk.is_waiting

    @st.fragment(run_every=_LOOK_OFTEN if waits else _LOOK_EVERY)
    def tick() -> None:
        locks_acts.keep_young(edges, desk)
        if desk.has_news or desk.is_waiting is not waits:
            st.rerun()
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            if desk.list.is_busy:
                st.markdown(":blue-badge[:material/sync: Reading again]", width="content")
            elif desk.list.value is not None:
                age = shell.age_badge("Data {age} old", desk.list.value.at, edges.clock())
                st.markdown(age, width="content")
            st.button(
                "Refresh",
                key="locks_refresh",
                icon=":material/refresh:",
                shortcut="u",
                disabled=desk.list.is_busy,
                on_click=locks_acts.refresh,
                args=(edges, desk),
            )

    tick()
