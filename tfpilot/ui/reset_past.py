"""The resets that were begun before, newest first."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import streamlit as st

from tfpilot.edges import Edges
from tfpilot.operations.reset_views import list_resets
from tfpilot.ui import reset_address, reset_header, tables, words
from tfpilot.ui.reset_desk import ResetDesk

_RENEW_AFTER: Final = timedelta(seconds=60)
_SHOWN: Final = 20


def show(edges: Edges, desk: ResetDesk) -> None:
    """The table; without one where there was none yet."""
    now = edges.clock()
    desk.past.renew(after=_RENEW_AFTER, now=now)
    desk.past.want("all", lambda: list_resets(edges), now=now)
    st.subheader("Past resets", anchor=False)
    if desk.past.error is not None:
        reset_header.show_reading_error(desk.past.error, title="The past resets could not be read",
                                        key="reset_past_again", desk=desk)  # fmt: skip
    records = desk.past.value
    if records is None:
        if desk.past.error is None:
            st.skeleton(80)
        return
    if not records:
        st.markdown("None yet. Each one is kept here with its receipt.")
        return
    rows = [
        {
            "Began (UTC)": words.clock_time(record.started_at, now),
            "Target": words.plain(record.target),
            "Who": words.plain(record.operator),
            "Reason": words.plain(record.reason),
            "Reset": f"[{words.plain(record.reset_id)}]({reset_address.link_to_reset(record.reset_id)})",
        }
        for record in records[:_SHOWN]
    ]
    tables.show(rows, alt=f"Past resets: {words.counted(len(rows), 'row')}")
    more = f"1 to {len(rows)} of {words.number(len(records))}, newest first" if len(records) > len(rows) else ""
    st.markdown(f":small[{more or 'Newest first'}]")
