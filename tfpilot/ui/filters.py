"""The filters of the request list and their place in the URL, so that a view can be sent to a colleague."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import streamlit as st

from tfpilot.core.model import LifecycleStatus
from tfpilot.core.selection import RequestFilter

TEXT: Final = "requests_text"
ENVIRONMENTS: Final = "requests_environments"
MARKS: Final = "requests_marks"
STATUSES: Final = "requests_statuses"
PAGE: Final = "requests_page"
PANEL: Final = "requests_panel"
SELECTED: Final = "requests_selected"
ADDRESS: Final = "requests_address"
ROUND: Final = "requests_round"
_TOUCHED: Final = "requests_touched"

STUCK: Final = "stuck"
DRIFT: Final = "drift"
ARCHIVED: Final = "archived"
LONGEST_TEXT: Final = 200

Address = Mapping[str, str | list[str]]


def read_address() -> None:
    """Takes the filters from the URL, where it says something new: the first visit, a link, the browser's back.

    Each time it does, a new round begins, in which what a table holds as selected counts no more. While a person
    works with the widgets they decide, even if the browser's URL is a moment behind.
    """
    touched = st.session_state.pop(_TOUCHED, False)
    if TEXT in st.session_state and (touched or _current() == st.session_state.get(ADDRESS)):
        return
    _begin_round()
    given = st.query_params
    st.session_state[TEXT] = given.get("q", "")[:LONGEST_TEXT]
    st.session_state[ENVIRONMENTS] = given.get_all("env")
    st.session_state[MARKS] = [mark for mark in (STUCK, DRIFT, ARCHIVED) if mark in given.get_all("show")]
    st.session_state[STATUSES] = [status.value for status in LifecycleStatus if status.value in given.get_all("status")]
    st.session_state[PAGE] = _page(given.get("page", ""))
    st.session_state[PANEL] = given.get("panel") != "off"
    st.session_state[SELECTED] = given.get("request") or None


def write_address() -> None:
    """Brings the URL to what is shown."""
    address = _address()
    if _current() != address:
        st.query_params.from_dict(address)
    st.session_state[ADDRESS] = address


def last_address() -> Address:
    """The filters that the list had when it was left, for a link back to it."""
    address: Address = st.session_state.get(ADDRESS, {})
    return address


def wanted() -> RequestFilter:
    """What the widgets ask for."""
    state = st.session_state
    return RequestFilter(
        statuses=frozenset(LifecycleStatus(value) for value in state[STATUSES]),
        environments=frozenset(state[ENVIRONMENTS]),
        text=state[TEXT] or "",
        stuck=STUCK in state[MARKS],
        drift=DRIFT in state[MARKS],
        archived=ARCHIVED in state[MARKS],
    )


def touched() -> None:
    """Called when a person changes what is shown, but no filter."""
    st.session_state[_TOUCHED] = True


def narrowed() -> None:
    """Called when a person changes a filter: the pages are other ones, so begin with the first."""
    touched()
    _begin_round()
    st.session_state[PAGE] = 1


def turn_page(pager: str) -> None:
    """Called when a person turns to another page with the pager of that key."""
    touched()
    st.session_state[PAGE] = st.session_state[pager]


def clear() -> None:
    """Takes every filter away."""
    narrowed()
    st.session_state.update({TEXT: "", ENVIRONMENTS: [], MARKS: [], STATUSES: []})


def _begin_round() -> None:
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def _address() -> Address:
    state: Mapping[str, Any] = {name: st.session_state.get(name) for name in (TEXT, ENVIRONMENTS, MARKS, STATUSES)}
    selected, page = st.session_state.get(SELECTED), st.session_state.get(PAGE, 1)
    parts: dict[str, str | list[str]] = {
        "q": state[TEXT] or "",
        "env": list(state[ENVIRONMENTS]),
        "show": list(state[MARKS]),
        "status": list(state[STATUSES]),
        "page": str(page) if page > 1 else "",
        "panel": "" if st.session_state.get(PANEL, True) else "off",
        "request": selected or "",
    }
    return {name: value for name, value in parts.items() if value}


def _current() -> Address:
    single = ("q", "page", "panel", "request")
    return {
        name: st.query_params[name] if name in single else st.query_params.get_all(name) for name in st.query_params
    }


def _page(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1
