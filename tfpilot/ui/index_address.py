"""What of the run index is shown, and its place in the URL, so that a view can be sent to a colleague."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import streamlit as st

from tfpilot.core.index_audit import IndexCode
from tfpilot.core.model import WorkflowKind

KIND: Final = "index_kind"
PAGE: Final = "index_page"
CODE: Final = "index_code"
FINDINGS_PAGE: Final = "index_findings_page"
TAB: Final = "index_tab"
ROUND: Final = "index_round"
_ADDRESS: Final = "index_address"
_TOUCHED: Final = "index_touched"

INDEX_TAB: Final = "Entries and audit"
DELIVERIES_TAB: Final = "Deliveries"
_TABS: Final = {INDEX_TAB: "", DELIVERIES_TAB: "deliveries"}


def read_address() -> None:
    """Takes what is shown from the URL, where that says something new: the first visit, a link, the browser's back.

    While a person works with the widgets they decide, even if the browser's URL is a moment behind.
    """
    touched = st.session_state.pop(_TOUCHED, False)
    if ROUND in st.session_state and (touched or st.query_params.to_dict() == st.session_state.get(_ADDRESS)):
        _keep_widgets()
        return
    _begin_round()
    given = st.query_params
    st.session_state[KIND] = given["kind"] if given.get("kind") in set(WorkflowKind) else None
    st.session_state[CODE] = given["code"] if given.get("code") in set(IndexCode) else None
    st.session_state[PAGE] = _number(given.get("page", ""))
    st.session_state[FINDINGS_PAGE] = _number(given.get("findings", ""))
    st.session_state[TAB] = DELIVERIES_TAB if given.get("tab") == _TABS[DELIVERIES_TAB] else INDEX_TAB


def write_address() -> None:
    """Brings the URL to what is shown."""
    address = _address()
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)
    st.session_state[_ADDRESS] = address


def kind() -> WorkflowKind | None:
    """The kind whose entries are wanted; None: of every kind."""
    chosen = st.session_state[KIND]
    return WorkflowKind(chosen) if chosen else None


def code() -> IndexCode | None:
    """The code whose findings are wanted; None: of every code."""
    chosen = st.session_state[CODE]
    return IndexCode(chosen) if chosen else None


def touched() -> None:
    """Called when a person changes what is shown."""
    st.session_state[_TOUCHED] = True


def chose(page: str) -> None:
    """Called when a person chooses a kind or a code: the pages are other ones, so begin with the first."""
    touched()
    _begin_round()
    st.session_state[page] = 1


def turn_page(page: str, pager: str) -> None:
    """Called when a person turns to another page with the pager of that key."""
    touched()
    st.session_state[page] = st.session_state[pager]


def _keep_widgets() -> None:
    """Streamlit forgets what a widget says while the tab that holds it is closed; these are wanted then, too."""
    for key in (KIND, CODE, TAB):
        st.session_state[key] = st.session_state.get(key)


def _begin_round() -> None:
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def _address() -> Mapping[str, str]:
    state = st.session_state
    parts = {
        "tab": _TABS.get(state[TAB], ""),
        "kind": state[KIND] or "",
        "page": str(state[PAGE]) if state[PAGE] > 1 else "",
        "code": state[CODE] or "",
        "findings": str(state[FINDINGS_PAGE]) if state[FINDINGS_PAGE] > 1 else "",
    }
    return {name: value for name, value in parts.items() if value}


def _number(text: str) -> int:
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1
