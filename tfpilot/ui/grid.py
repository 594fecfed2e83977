"""What large tables have in common: pages, chips, and which rows are selected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd
import streamlit as st
from streamlit.column_config import MultiselectColumn
from streamlit.elements.lib.column_types import ColumnConfig

from tfpilot.ui import looks, words
from tfpilot.ui.looks import Look

ROW_HEIGHT: Final = 32
PAGER_WIDTH: Final = 340


def frame(rows: Iterable[Mapping[str, Any]], *, columns: list[str] | None = None) -> pd.DataFrame:
    """The rows as a table takes them: a text on one line, with a mark for what cannot be seen in it."""
    shown = [
        {name: words.visible(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows
    ]
    return pd.DataFrame(shown, columns=columns)


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
