"""What of the dev reset is shown, and its place in the URL: a target, one reset, or a plan to approve."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import quote

import streamlit as st

from tfpilot.core.reset_target import ResetTarget

TARGET: Final = "reset_target"
_RESET: Final = "reset_shown"
_APPROVE: Final = "reset_to_approve"
_UNKNOWN: Final = "reset_unknown_target"
_ADDRESS: Final = "reset_address"
_TOUCHED: Final = "reset_touched"


def read_address(targets: Sequence[ResetTarget]) -> None:
    """Takes what is shown from the URL, where that says something new: the first visit, a link, the browser's back."""
    touched = st.session_state.pop(_TOUCHED, False)
    names = [target.name for target in targets]
    given = st.query_params.to_dict()
    if _ADDRESS not in st.session_state or not (touched or given == st.session_state[_ADDRESS]):
        asked = given.get("target", "")
        st.session_state[TARGET] = asked if asked in names else next(iter(names), None)
        st.session_state[_UNKNOWN] = asked if asked not in names else ""
        st.session_state[_RESET] = given.get("reset", "")
        st.session_state[_APPROVE] = given.get("approve", "")
    keep((TARGET,))


def write_address() -> None:
    """Brings the URL to what is shown."""
    address = _address()
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)
    st.session_state[_ADDRESS] = address


def keep(keys: Collection[str]) -> None:
    """Has Streamlit remember what these widgets say while another step is shown."""
    for key in keys:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


def target_name() -> str:
    """The chosen target; empty where there is none."""
    return st.session_state[TARGET] or ""


def unknown_target() -> str:
    """A target that the URL names and the settings do not; empty where there is none."""
    return str(st.session_state[_UNKNOWN])


def reset_id() -> str:
    """The reset that is shown; empty: a new one is prepared."""
    return str(st.session_state[_RESET])


def digest_to_approve() -> str:
    """The digest of the plan that a second admin is asked about; empty where none is."""
    return str(st.session_state[_APPROVE])


def touched() -> None:
    """Called when a person changes what is shown: from then on the widgets decide, not the URL."""
    st.session_state[_TOUCHED] = True
    st.session_state[_UNKNOWN] = ""


def show_reset(reset_id: str) -> None:
    """From now on that reset is shown."""
    st.session_state[_RESET], st.session_state[_APPROVE] = reset_id, ""


def show_target(name: str) -> None:
    """From now on a new reset of that target is prepared; an empty name leaves the target as it is chosen."""
    st.session_state[_RESET], st.session_state[_APPROVE] = "", ""
    if name:
        st.session_state[TARGET] = name


def link_to_reset(reset_id: str) -> str:
    """The address of a reset, seen from a page of the portal."""
    return f"dev_reset?reset={quote(reset_id)}"


def link_to_approve(digest: str) -> str:
    """The address at which a second admin sees the plan with that digest."""
    return f"dev_reset?approve={quote(digest)}"


def _address() -> dict[str, str]:
    if reset_id():
        return {"reset": reset_id()}
    if digest_to_approve():
        return {"approve": digest_to_approve()}
    return {"target": target_name()} if target_name() else {}
