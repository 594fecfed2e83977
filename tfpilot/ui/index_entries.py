"""One page of the entries of the run index, the newest run first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import streamlit as st
from streamlit.column_config import LinkColumn, TextColumn

from tfpilot.core.index_listing import IndexLine
from tfpilot.core.model import RequestRow, RunIndexEntry, WorkflowKind
from tfpilot.edges import Edges
from tfpilot.operations.run_index import IndexPage, browse_index, read_lines
from tfpilot.ui import index_address, index_rows, shell, words
from tfpilot.ui.grid import ROW_HEIGHT, frame, page_numbers
from tfpilot.ui.index_desk import IndexDesk, Shelf

ROWS_PER_PAGE: Final = 15
_PAGER_WIDTH: Final = 270


def show(edges: Edges, desk: IndexDesk, shelf: Shelf) -> None:
    """The card: kinds with counts, the rows, and where they stand among all."""
    kind, listing = index_address.kind(), edges.index_listings.current()
    with st.container(border=True, gap="small", height="stretch"):
        with st.container(horizontal=True, horizontal_alignment="distribute"):
            st.markdown("**Entries**", width="content")
            st.markdown(":small[newest run first]", width="content")
        _show_kinds({each: listing.keys.count(each) for each in WorkflowKind})
        first, shown, pages = page_numbers(listing.keys.count(kind), index_address.PAGE, size=ROWS_PER_PAGE)
        page = browse_index(edges, kind, start=first, limit=shown)
        if page.lines:
            _show_rows(edges, desk, shelf, page)
            _show_place(first, page, pages)
        else:
            st.markdown(_nothing(kind, page))
        if listing.odd_keys:
            odd = words.counted(len(listing.odd_keys), "key is", "keys are")
            st.markdown(f":small[{odd} under the prefix and of no entry; an audit names them.]")


def _show_kinds(counts: Mapping[WorkflowKind, int]) -> None:
    labels = {kind.value: f"{kind.value} {words.number(count)}" for kind, count in counts.items()}
    st.pills(
        "Kind",
        list(labels),
        key=index_address.KIND,
        label_visibility="collapsed",
        format_func=labels.__getitem__,
        on_change=index_address.chose,
        args=(index_address.PAGE,),
    )


def _show_rows(edges: Edges, desk: IndexDesk, shelf: Shelf, page: IndexPage) -> None:
    lines, reading = page.lines, desk.entries
    what = (page.listing.number, tuple(line.key for line in lines))
    reading.want(what, lambda: read_lines(edges, lines), now=page.at)
    reading.collect(page.at)
    is_read = reading.what == what and reading.value is not None
    entries = reading.value if is_read and reading.value is not None else [None] * len(lines)
    requests = [shelf.request_row(edges, entry.request_id) if entry is not None else None for entry in entries]
    rows = [
        _cells(line, entry, row, now=page.at, is_read=is_read)
        for line, entry, row in zip(lines, entries, requests, strict=True)
    ]
    st.dataframe(
        frame(rows),
        key="index_entries",
        hide_index=True,
        height="content",
        row_height=ROW_HEIGHT,
        column_config=_config(),
        alt=_described(lines),
    )
    if not is_read:
        failed = reading.error is not None and not reading.is_busy
        why = f"{words.plain(words.sentence(reading.error.message))}" if failed and reading.error else "Reading them."
        st.markdown(f":small[:material/hourglass_top: The requests of these entries are not known yet. {why}]")


def _cells(
    line: IndexLine, entry: RunIndexEntry | None, row: RequestRow | None, *, now: datetime, is_read: bool
) -> Mapping[str, Any]:
    return {
        "Kind": line.kind.value,
        "Run": str(line.run_id),
        "Request": shell.request_link(entry.request_id) if entry is not None else "",
        "Age": words.lasting(now - (entry.created_at if entry is not None else line.modified)),
        "Expires": _expires(entry, now, is_read=is_read),
        "On GitHub": index_rows.run_address(row, line.run_id),
    }


def _expires(entry: RunIndexEntry | None, now: datetime, *, is_read: bool) -> str:
    if entry is None:
        return "unusable" if is_read else "…"
    left = entry.expires_at - now
    return f"in {words.lasting(left)}" if left.total_seconds() > 0 else f"{words.lasting(-left)} ago"


def _config() -> Mapping[str, Any]:
    return {
        "Kind": TextColumn(width=82),
        "Run": TextColumn(width=100),
        "Request": LinkColumn(width=170, display_text=r"id=(.+)"),
        "Age": TextColumn(width=86),
        "Expires": TextColumn(width=94),
        "On GitHub": LinkColumn(width=78, display_text="Run"),
    }


def _described(lines: Sequence[IndexLine]) -> str:
    return f"Entries, newest run first: {', '.join(f'{line.kind.value} {line.run_id}' for line in lines)}"


def _show_place(first: int, page: IndexPage, pages: int) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(
            f"{words.number(first + 1)} to {words.number(first + len(page.lines))} of {words.number(page.total)}",
            width="content",
        )
        if pages > 1:
            pager = f"index_pager_{st.session_state[index_address.ROUND]}"
            st.pagination(
                pages,
                default=st.session_state[index_address.PAGE],
                key=pager,
                width=_PAGER_WIDTH,
                max_visible_pages=5,
                on_change=index_address.turn_page,
                args=(index_address.PAGE, pager),
            )


def _nothing(kind: WorkflowKind | None, page: IndexPage) -> str:
    if kind is not None and len(page.listing.keys):
        return f"There is no entry of kind {kind.value}. The index was read completely."
    return (
        "**The run index is empty.** It was read completely: 0 entries. The web app and this portal write one for each "
        "run they dispatch; an audit says which runs of active requests lack one."
    )
