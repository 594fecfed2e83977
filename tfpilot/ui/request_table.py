"""The table of requests: one page of rows, and the same rows as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import pandas as pd
import streamlit as st
from streamlit.column_config import LinkColumn, TextColumn

from tfpilot.core.document import format_time
from tfpilot.core.model import RequestRow
from tfpilot.ui import grid, links, looks, spreadsheet, words
from tfpilot.ui.grid import ROW_HEIGHT, chips
from tfpilot.ui.looks import Look

WIDE: Final = ("Request", "Status", "Marks", "Env", "Updated", "PR", "Module", "Project", "Repo")
NARROW: Final = ("Request", "Status", "Marks", "Env", "Updated", "PR", "Module")
_STATUS_LOOKS: Final = (*looks.STATUSES.values(), looks.UNREADABLE)
_MARK_LOOKS: Final = (looks.STUCK, looks.DRIFT, looks.ARCHIVED)


def show(rows: Sequence[RequestRow], now: datetime, *, key: str, columns: Sequence[str], selected: str | None) -> None:
    """Draws the rows. `key` must change with the rows: the table knows positions, which mean nothing in other rows."""
    position = next((number for number, row in enumerate(rows) if row.id == selected), None)
    st.dataframe(
        frame(rows, now),
        key=key,
        hide_index=True,
        height="content",
        row_height=ROW_HEIGHT,
        column_order=_columns(rows, columns),
        column_config=_config(),
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [] if position is None else [position]}},
        alt=f"Requests, newest change first: {', '.join(row.id for row in rows)}",
    )


def selected_in(rows: Sequence[RequestRow], *, key: str, before: str | None) -> str | None:
    """The id that is selected now, where `before` was: a row that was clicked, or none where it was clicked away.

    A selection on another page of rows stays.
    """
    if key not in st.session_state:
        return before
    chosen: list[int] = st.session_state[key]["selection"]["rows"]
    if chosen and chosen[0] < len(rows):
        return rows[chosen[0]].id
    return None if any(row.id == before for row in rows) else before


def frame(rows: Sequence[RequestRow], now: datetime) -> pd.DataFrame:
    """The cells of the rows, with every column that a table may show."""
    return grid.frame((_cells(row, now) for row in rows), columns=[*WIDE, "Error"])


def to_csv(rows: Iterable[RequestRow], now: datetime) -> str:
    """All rows as CSV with plain values."""
    header = ("request", "status", "stuck", "drift", "archived", "environment", "project", "module", "repo",
              "created_by", "updated_at", "version", "pr", "pr_url", "error")  # fmt: skip
    return spreadsheet.to_csv(header, (_plain_values(row, now) for row in rows))


def _plain_values(row: RequestRow, now: datetime) -> Sequence[object]:
    status = row.status_at(now)
    return (
        row.id,
        status.value if status else "unreadable",
        row.is_stuck_at(now),
        row.has_drift_at(now),
        row.archived,
        row.environment,
        row.project,
        row.module,
        row.repo,
        row.created_by,
        format_time(row.updated_at) if row.updated_at else "",
        row.version,
        row.pr_number or "",
        row.pr_url,
        row.error or "",
    )


def _cells(row: RequestRow, now: datetime) -> Mapping[str, Any]:
    status = row.status_at(now)
    return {
        "Request": row.id,
        "Status": [(looks.STATUSES[status] if status else looks.UNREADABLE).chip],
        "Marks": [look.chip for look in _marks(row, now)],
        "Env": row.environment,
        "Project": row.project,
        "Module": row.module,
        "Repo": row.repo,
        "Updated": words.lasting(now - row.updated_at) if row.updated_at else "",
        "PR": row.pr_url if links.leads_to_github(row.pr_url) else "",
        "Error": row.error or "",
    }


def _marks(row: RequestRow, now: datetime) -> list[Look]:
    marks = [(row.is_stuck_at(now), looks.STUCK), (row.has_drift_at(now), looks.DRIFT), (row.archived, looks.ARCHIVED)]
    return [look for holds, look in marks if holds]


def _columns(rows: Sequence[RequestRow], columns: Sequence[str]) -> list[str]:
    """The wanted columns; where a row has an error, one for it, instead of the module where there is little room."""
    if not any(row.error for row in rows):
        return list(columns)
    if "Repo" in columns:
        return [*columns, "Error"]
    return ["Error" if column == "Module" else column for column in columns]


def _config() -> Mapping[str, Any]:
    return {
        "Request": TextColumn(width=176),
        "Status": chips(_STATUS_LOOKS, width=136),
        "Marks": chips(_MARK_LOOKS, width=92),
        "Env": TextColumn(width=66),
        "Project": TextColumn(width=92),
        "Module": TextColumn(width=106),
        "Repo": TextColumn(width=196),
        "Updated": TextColumn(width=86),
        "PR": LinkColumn(display_text=r"pull/(\d+)", width=52),
    }
