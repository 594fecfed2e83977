"""All requests: newest change first, filtered, paged, with the selected one beside the list."""

from __future__ import annotations

import streamlit as st

from tfpilot.operations.browse import list_requests
from tfpilot.ui import filters, readings, request_list, request_panel, request_table, shell

portal = shell.portal()
edges = portal.edges
filters.read_address()
shown = list_requests(edges, filters.wanted())
snapshot = shown.snapshot

readings.show_header(portal, snapshot)
if snapshot.error is not None:
    readings.show_outage(portal, snapshot)
if snapshot.read_at is None:
    if snapshot.error is None:
        readings.show_first_reading(portal, snapshot)
    st.stop()
if not snapshot.rows:
    readings.show_empty(portal)
    st.stop()

request_list.show_filters(shown.selection)
if not shown.selection.rows:
    filters.write_address()
    request_list.show_no_match()
    st.stop()

page = request_list.turn_to_page(shown.selection.rows)
filters.write_address()
selected = st.session_state[filters.SELECTED]
if selected is None or not st.session_state[filters.PANEL]:
    request_list.show_table(shown, page, columns=request_table.WIDE)
    request_list.show_way_to(selected)
else:
    table, panel = st.columns((19, 10))
    with table:
        request_list.show_table(shown, page, columns=request_table.NARROW)
    with panel:
        request_panel.show(edges, selected)
