"""What large tables have in common: pages, chips, and which rows are selected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import streamlit as st
from streamlit.column_config import MultiselectColumn
from streamlit.elements.lib.column_types import ColumnConfig

from tfpilot.ui import looks
from tfpilot.ui.looks import Look

ROW_HEIGHT: Final = 32
PAGER_WIDTH: Final = 340


def page_numbers(total: int, page: str, *, size: int) -> tuple[int, int, int]:
    """(position of the first row, rows on the page, pages). `page` names the number that is wanted; it is clamped."""
    pages = max(1, -(-total // size))
    number = min(max(st.session_state[page], 1), pages)
    st.session_state[page] = number
    first = (number - 1) * size
    return first, min(size, total - first), pages


def selected_rows(key: str, count: int) -> Sequence[int]:
    """The positions that are selected in the table with that key, of so many rows."""
    if key not in st.session_state:
        return []
    chosen: list[int] = st.session_state[key]["selection"]["rows"]
    return sorted(number for number in chosen if number < count)


def chips(options: Iterable[Look], *, width: int) -> ColumnConfig:
    """A column of chips: each cell is a list of their texts."""
    shown = list(options)
    return MultiselectColumn(
        options=[look.chip for look in shown],
        color=[looks.CHIP_COLOURS[look.colour] for look in shown],
        width=width,
    )
