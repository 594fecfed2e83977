"""Which lock is open, and its place in the URL: `?lock=<target>/<key>`, so that it can be sent to a colleague."""

from __future__ import annotations

from typing import Final

import streamlit as st

OPEN: Final = "locks_open"
_PARAMETER: Final = "lock"
_ADDRESS: Final = "locks_address"


def address_of(target: str, object_key: str) -> str:
    """One state by target and key: a target's name has no slash."""
    return f"{target}/{object_key}"


def read_address() -> None:
    """Takes what is open from the URL, where that says something new: the first visit, a link, the browser's back."""
    given = st.query_params.get(_PARAMETER, "")
    if OPEN not in st.session_state or given != st.session_state.get(_ADDRESS):
        st.session_state[OPEN] = given
        st.session_state[_ADDRESS] = given


def write_address() -> None:
    """Brings the URL to what is open."""
    shown = opened()
    if shown != st.query_params.get(_PARAMETER, ""):
        st.query_params.from_dict({_PARAMETER: shown} if shown else {})
    st.session_state[_ADDRESS] = shown


def opened() -> str:
    """The address of the state whose lock is open; empty: none."""
    shown: str = st.session_state.get(OPEN, "")
    return shown


def turn(address: str, key: str) -> None:
    """Called when a person opens or closes the expander of that key; one is open at a time."""
    st.session_state[OPEN] = address if st.session_state[key] else ""
    # The browser's URL may be a moment behind: what it says then is nothing new.
    st.session_state[_ADDRESS] = st.query_params.get(_PARAMETER, "")


def close() -> None:
    """Nothing is open any more."""
    st.session_state[OPEN] = ""
