"""The page of an object that is stored as a request and is none: what is wrong with it, and its text."""

from __future__ import annotations

import streamlit as st

from tfpilot.edges import Edges
from tfpilot.errors import DocumentError
from tfpilot.operations.quarantine import open_unreadable
from tfpilot.ui import looks, shell, tables, words


def show(edges: Edges, request_id: str, error: DocumentError) -> None:
    """The finding and the stored text, as text."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(request_id, anchor=False, width="content")
        st.markdown(looks.UNREADABLE.badge, width="content")
    st.page_link(shell.REQUESTS_PAGE, label="Requests", icon=":material/arrow_back:")
    st.error(
        f"{words.plain(words.sentence(error.message))} Nothing writes it: preview and sync are off.",
        title="The document cannot be read as a request",
        icon=":material/broken_image:",
    )
    found = open_unreadable(edges, request_id, error)
    tables.show_findings([found.finding], edges.clock())
    key = words.code(f"requests/{request_id}.json")
    if found.text is None or found.size_bytes is None:
        st.markdown(f"{key} is too large to be shown.")
        return
    cut = f", the first {words.number(len(found.text))} characters" if len(found.text) < found.size_bytes else ""
    st.markdown(f"{key} · {words.number(found.size_bytes)} bytes{cut}")
    st.code(found.text or "(empty)", language=None)
