"""Whose run is it: a look-up by kind and run id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import streamlit as st

from tfpilot.core.model import RequestRow, RunIndexEntry, WorkflowKind
from tfpilot.core.run_index import is_expired
from tfpilot.edges import Edges
from tfpilot.errors import MalformedIdError, NotFoundError, TfPilotError
from tfpilot.operations.run_index import look_up, look_up_run
from tfpilot.ui import index_rows, shell, words
from tfpilot.ui.index_desk import IndexDesk, Shelf

_KIND: Final = "index_lookup_kind"
_RUN: Final = "index_lookup_run"
_ANY: Final = "any kind"


def show(edges: Edges, desk: IndexDesk, shelf: Shelf) -> None:
    """The box, and what was found last."""
    with st.form("index_lookup", border=False), st.container(horizontal=True, vertical_alignment="center"):
        kind = st.selectbox("Kind", [*WorkflowKind, _ANY], key=_KIND, label_visibility="collapsed", width=130)
        run_id = st.text_input(
            "Run id",
            key=_RUN,
            label_visibility="collapsed",
            icon=":material/search:",
            placeholder="run id",
            max_chars=40,
            width=200,
        )
        asked = st.form_submit_button("Look up", key="index_look_up", type="primary")
        if asked:
            desk.found.forget()
            desk.found.want((kind, run_id), lambda: _found(edges, kind, run_id), now=edges.clock())
        desk.found.collect(edges.clock())
        _show_found(edges, desk, shelf)


def _found(edges: Edges, kind: str, run_id: str) -> Sequence[RunIndexEntry]:
    if kind != _ANY:
        return [look_up(edges, kind, run_id)]
    entries = look_up_run(edges, run_id)
    if not entries:
        raise NotFoundError(f"The run index has no entry that can be used for run {run_id.strip()}, of any kind")
    return entries


def _show_found(edges: Edges, desk: IndexDesk, shelf: Shelf) -> None:
    reading = desk.found
    if reading.is_busy:
        st.markdown(":material/hourglass_top: Looking it up.", width="content")
    elif reading.error is not None:
        _show_error(reading.error)
    elif reading.value:
        with st.container(gap="xsmall", width="content"):
            for entry in reading.value:
                _show_entry(edges, shelf, entry)
    else:
        st.markdown(":small[Which request a run belongs to, by one read.]", width="content")


def _show_error(error: TfPilotError) -> None:
    icon = "search_off" if isinstance(error, (NotFoundError, MalformedIdError)) else "cloud_off"
    hint = f" {words.plain(words.sentence(error.hint))}" if error.hint else ""
    st.markdown(f":material/{icon}: {words.plain(words.sentence(error.message))}{hint}", width="content")


def _show_entry(edges: Edges, shelf: Shelf, entry: RunIndexEntry) -> None:
    now = edges.clock()
    row = shelf.request_row(edges, entry.request_id)
    expiry = "expired" if is_expired(entry, now) else "expires"
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        if row is not None:
            st.page_link(shell.REQUEST_PAGE, label=words.plain(entry.request_id), icon=":material/arrow_forward:",
                         query_params={"id": entry.request_id}, width="content")  # fmt: skip
        else:
            st.markdown(f":material/arrow_forward: {words.code(entry.request_id)}", width="content")
        st.markdown(
            f"{entry.kind.value} · created {words.clock_time(entry.created_at, now)} · {expiry} "
            f"{words.clock_time(entry.expires_at, now)} UTC · {_tracking(row, entry)}",
            width="content",
        )
        address = index_rows.run_address(row, entry.run_id)
        if address:
            st.page_link(address, label="Run", icon=":material/open_in_new:", width="content")


def _tracking(row: RequestRow | None, entry: RunIndexEntry) -> str:
    """Whether the request names the run, as far as the last reading of the requests tells."""
    if row is None:
        return ":orange-badge[:material/warning: neither active nor archived] at the last reading"
    where = "archived, " if row.archived else ""
    tracked = [run for run in row.tracked if run.kind is entry.kind and run.run_id == entry.run_id]
    if any(run.current for run in tracked):
        return f"{where}names the run that the request tracks"
    if tracked:
        return f"{where}the request names it beside the run that counts now"
    return f"{where}:orange-badge[:material/warning: the request does not track this run]"
