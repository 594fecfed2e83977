"""The lower half of a request's page: diagnosis and repair, facts by source, what is related, history,
the stored document."""

from __future__ import annotations

from typing import Final

import streamlit as st

from tfpilot.core.document import render_document
from tfpilot.core.model import Stored
from tfpilot.edges import Edges
from tfpilot.operations.browse import RequestView
from tfpilot.ui import facts, related, repair_view, shell, tables, words
from tfpilot.ui.desk import Desk

_LONGEST_SHOWN: Final = 200_000
"""Characters of a document that a browser shows without trouble; all of it can be downloaded."""


def show(edges: Edges, view: RequestView, desk: Desk) -> None:
    """The tabs, each from what is known now."""
    diagnosis, sources, relations, history, raw = st.tabs(
        ["Diagnosis and repair", "Facts by source", "Related", "History", "Raw JSON"], key="request_tabs"
    )
    with diagnosis:
        _show_diagnosis(view)
        repair_view.show_outcome(edges, desk)
        repair_view.show_preview(edges, view, desk)
    with sources:
        _show_facts(desk)
    with relations:
        related.show(edges, view, desk)
    with history:
        _show_history(view)
    with raw:
        _show_raw(edges, view)


def _show_diagnosis(view: RequestView) -> None:
    if view.findings:
        tables.show_findings(view.findings, view.at)
    else:
        st.markdown(":green-badge[:material/check_circle: Nothing found] The stored facts fit together.")


def _show_facts(desk: Desk) -> None:
    answer = desk.answer
    if answer is None:
        st.markdown("GitHub was not asked on this page yet. Preview a repair to compare: it writes nothing.")
        return
    tables.show(facts.rows_of(answer), alt="Facts by source: stored beside what GitHub says")
    st.markdown(words.plain(facts.summary(answer)))


def _show_history(view: RequestView) -> None:
    if view.events:
        tables.show_events(view.events, view.at)
    else:
        st.markdown("No lifecycle event is stored for this request.")


def _show_raw(edges: Edges, view: RequestView) -> None:
    request_id = view.request.id
    place = "history" if view.archived else "requests"
    _show_document(view.stored, key=f"{place}/{request_id}.json", version=view.request.version)
    if view.has_archived_copy and st.toggle("Show the archived copy", key="request_show_archived"):
        with shell.explained("request_archived"):
            copy = edges.documents.find_archived(request_id)
            if copy is None:
                st.markdown("The archived copy is gone.")
            else:
                _show_document(copy, key=f"history/{request_id}.json", version=copy.document.get("version"))


def _show_document(stored: Stored, *, key: str, version: object) -> None:
    body = render_document(stored.document)
    text = body.decode()
    with st.container(horizontal=True, vertical_alignment="center"):
        etag = stored.etag.strip('"')
        st.markdown(
            f"{words.code(key)} · version {words.plain(version)} · ETag {words.code(etag, longest=12)} · "
            f"{words.number(len(body))} bytes",
            width="content",
        )
        st.download_button(
            "Download",
            data=body,
            file_name=key.rpartition("/")[2],
            mime="application/json",
            key=f"request_download_{key.partition('/')[0]}",
            icon=":material/download:",
            on_click="ignore",
        )
    if len(text) > _LONGEST_SHOWN:
        st.markdown(f"The first {words.number(_LONGEST_SHOWN)} of {words.number(len(text))} characters:")
    st.code(text[:_LONGEST_SHOWN], language=None)
