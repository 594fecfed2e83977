"""What a dispatch, a search for its run, or what a person decided about it came to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import streamlit as st

from tfpilot.core.dispatch import DispatchEnd, DispatchResult
from tfpilot.ui import links, shell, words
from tfpilot.ui.desk import Desk
from tfpilot.ui.dispatch_tasks import NAMES, ChooseRun, ClearLock, ConfirmNoRun, Dispatch, Ended


def show_outcome(desk: Desk) -> None:
    """What a person's last click came to, until the next one."""
    ended = desk.ended
    if ended is None:
        return
    if ended.error is not None:
        shell.show_error(ended.error)
    elif ended.result is not None:
        _SHOWN[ended.result.end](ended, ended.result)
        for notice in ended.result.notices:
            st.warning(words.plain(words.sentence(notice)), icon=":material/warning:")
    else:
        _show_changes(ended)


def announce(ended: Ended | None) -> None:
    """One passing line about a run that was just started."""
    result = ended.result if ended else None
    if result is None or result.end is not DispatchEnd.STARTED:
        return
    st.toast(
        f"{words.plain(result.request_id)}: {NAMES[result.kind]} started, run {result.run_id}",
        icon=":material/play_arrow:",
        duration="long",
    )


def _show_started(_ended: Ended, result: DispatchResult) -> None:
    st.success(
        f"GitHub started {_run(result)}. This page shows what becomes of it; it goes on if you leave.",
        title=f"{_name(result)} started",
        icon=":material/play_arrow:",
    )


def _show_found(ended: Ended, result: DispatchResult) -> None:
    if isinstance(ended.task, ChooseRun):
        st.success(f"{_run(result).capitalize()} is this request's now.", title="The run is stored", icon=_DONE)
        return
    st.success(
        f"The run of the earlier dispatch was found: {_run(result)}. It is stored, and nothing new was started.",
        title=f"{_name(result)}: run found",
        icon=_DONE,
    )


def _show_ambiguous(_ended: Ended, result: DispatchResult) -> None:
    choose = "Choose it under Open dispatch. " if result.candidates else ""
    st.warning(
        f"{choose}Nothing is sent again.{_reason(result)}",
        title=f"{_name(result)}: whose run it is cannot be told",
        icon=":material/alt_route:",
    )


def _show_unknown(ended: Ended, result: DispatchResult) -> None:
    title = "whether a run was started is not known" if isinstance(ended.task, Dispatch) else "no run was found yet"
    st.warning(
        f"Nothing is sent again; a repair goes on looking.{_reason(result)}",
        title=f"{_name(result)}: {title}",
        icon=":material/help:",
    )


def _show_changes(ended: Ended) -> None:
    fields = ", ".join(words.code(change.dotted) for change in ended.done.changes)
    written = f"Changed in the request: {fields}." if fields else "The request was as wanted already."
    if isinstance(ended.task, ConfirmNoRun):
        title = f"The {NAMES[ended.task.kind]} that started nothing is closed"
        st.success(f"Another can be dispatched. {written}", title=title, icon=_DONE)
    elif isinstance(ended.task, ClearLock):
        st.success(written, title="The lock is cleared" if fields else "There was no lock", icon=_DONE)


def _name(result: DispatchResult) -> str:
    return NAMES[result.kind].capitalize()


def _run(result: DispatchResult) -> str:
    return links.link(f"run {result.run_id}", result.html_url)


def _reason(result: DispatchResult) -> str:
    return f" {words.plain(words.sentence(result.reason))}" if result.reason else ""


_DONE: Final = ":material/check_circle:"
_SHOWN: Final[Mapping[DispatchEnd, Callable[[Ended, DispatchResult], None]]] = {
    DispatchEnd.STARTED: _show_started,
    DispatchEnd.FOUND: _show_found,
    DispatchEnd.AMBIGUOUS: _show_ambiguous,
    DispatchEnd.UNKNOWN: _show_unknown,
}
