"""That a reset, or the approval of one, needs a sign-in of the last few minutes."""

from __future__ import annotations

import streamlit as st

from tfpilot.core.sign_in import FRESH_FOR
from tfpilot.ui import sign_in, words


def show(*, key: str) -> None:
    """Why, and the way to one."""
    st.warning(
        f"You signed in more than {words.lasting(FRESH_FOR)} ago. Whoever has a browser that was left open could click "
        "here, so this needs a fresh sign-in. You come back to this page; a plan that you made has to be made again.",
        title="Sign in again first",
        icon=":material/lock_clock:",
    )
    sign_in.show_sign_in_again(key=key)
