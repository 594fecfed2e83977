"""The parts of the page with all requests: filters, and one page of the table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import streamlit as st

from tfpilot.core.model import RequestRow
from tfpilot.core.selection import Selection, page_of
from tfpilot.operations.browse import RequestList
from tfpilot.ui import filters, looks, request_table, shell, words

ROWS_PER_PAGE: Final = 25
_PAGER_WIDTH: Final = 360


def show_filters(selection: Selection) -> None:
    """Search, environments, marks and statuses; each count is what a click on it shows."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text_input(
            "Search",
            key=filters.TEXT,
            label_visibility="collapsed",
            icon=":material/search:",
            placeholder="id, PR, run, branch, sha",
            max_chars=filters.LONGEST_TEXT,
            width=200,
            on_change=filters.narrowed,
        )
        _show_environments(selection)
        _show_marks(selection)
        st.toggle("Side panel", key=filters.PANEL, on_change=filters.touched)
    _show_statuses(selection)


def _show_environments(selection: Selection) -> None:
    st.segmented_control(
        "Environment",
        sorted({*selection.environments, *st.session_state[filters.ENVIRONMENTS]}),
        selection_mode="multi",
        key=filters.ENVIRONMENTS,
        label_visibility="collapsed",
        format_func=words.plain,
        on_change=filters.narrowed,
    )


def _show_marks(selection: Selection) -> None:
    labels = {
        filters.STUCK: f"Stuck {words.number(selection.stuck)}",
        filters.DRIFT: f"Drift {words.number(selection.drift)}",
        filters.ARCHIVED: f"Archived {words.number(selection.archived)}",
    }
    st.pills(
        "Marks",
        list(labels),
        selection_mode="multi",
        key=filters.MARKS,
        label_visibility="collapsed",
        format_func=labels.__getitem__,
        on_change=filters.narrowed,
    )


def _show_statuses(selection: Selection) -> None:
    labels = {
        status.value: f":material/{looks.STATUSES[status].icon}: {looks.STATUSES[status].label} {words.number(count)}"
        for status, count in selection.by_status.items()
    }
    st.pills(
        "Status",
        list(labels),
        selection_mode="multi",
        key=filters.STATUSES,
        label_visibility="collapsed",
        format_func=labels.__getitem__,
        on_change=filters.narrowed,
    )


@dataclass(frozen=True, slots=True)
class TablePage:
    """The rows of one page of the table, and which of the pages it is. `key` names the table that shows them."""

    rows: Sequence[RequestRow]
    number: int
    pages: int
    key: str


def turn_to_page(rows: Sequence[RequestRow]) -> TablePage:
    """The page that is asked for, or the nearest one that exists, with the selection a person made on it."""
    shown, number, pages = page_of(rows, number=st.session_state[filters.PAGE], size=ROWS_PER_PAGE)
    st.session_state[filters.PAGE] = number
    # Positions in other rows, or from before the URL changed, must not be taken for a selection.
    ids = " ".join([str(st.session_state[filters.ROUND]), *(row.id for row in shown)])
    key = f"requests_table_{hashlib.sha256(ids.encode()).hexdigest()[:16]}"
    before = st.session_state[filters.SELECTED]
    st.session_state[filters.SELECTED] = request_table.selected_in(shown, key=key, before=before)
    return TablePage(shown, number, pages, key)


def show_table(shown: RequestList, page: TablePage, *, columns: Sequence[str]) -> None:
    """One page of the rows, where it stands among all, and everything as CSV."""
    everything = shown.selection.rows
    selected = st.session_state[filters.SELECTED]
    request_table.show(page.rows, shown.at, key=page.key, columns=columns, selected=selected)
    first = (page.number - 1) * ROWS_PER_PAGE + 1
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(
            f"{words.number(first)} to {words.number(first + len(page.rows) - 1)} of {words.number(len(everything))}, "
            "newest change first",
            width="content",
        )
        if page.pages > 1:
            pager = f"requests_pager_{st.session_state[filters.ROUND]}"
            st.pagination(
                page.pages,
                default=page.number,
                key=pager,
                width=_PAGER_WIDTH,
                on_change=filters.turn_page,
                args=(pager,),
            )
        st.download_button(
            "CSV",
            data=lambda: request_table.to_csv(everything, shown.at),
            file_name="requests.csv",
            mime="text/csv",
            key="requests_csv",
            icon=":material/download:",
            on_click="ignore",
        )


def show_no_match() -> None:
    """Nothing passes the filters."""
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.markdown("**No request matches these filters.**", width="content")
        st.button("Clear the filters", key="requests_clear", icon=":material/filter_alt_off:", on_click=filters.clear)
        st.space("small")


def show_way_to(request_id: str | None) -> None:
    """The way to the selected request's page, where no side panel shows it."""
    if request_id is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(f"Open {request_id}", key="requests_open", icon=":material/open_in_full:"):
            shell.go_to_request(request_id)
