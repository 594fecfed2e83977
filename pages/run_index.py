"""The run index: whose a run is, what is wrong with the index, how old it is, and the webhooks that use it."""

from __future__ import annotations

import streamlit as st

from tfpilot.ui import (
    index_acts,
    index_address,
    index_ages,
    index_audit_view,
    index_deliveries,
    index_entries,
    index_fix_view,
    index_header,
    index_lookup,
    index_retention,
    readings,
    shell,
)
from tfpilot.ui.index_desk import desk, shelf_of

shell.configure_page("Run index · TfPilot Ops")
portal = shell.portal()
edges, here = portal.edges, desk()
shelf = shelf_of(edges)
index_address.read_address()
index_header.settle(here, here.collect(edges.clock()))
index_acts.keep_young(edges)
listing = edges.index_listings.current()

index_header.show(edges, here, shelf, listing)
if listing.error is not None:
    readings.show_outage(portal, listing, key="index_try_again", again=index_acts.refresh)
if listing.read_at is None:
    if listing.error is None:
        index_header.show_first_reading(portal)
    st.stop()

index_header.show_progress(edges, here)
index_header.show_outcome(edges, here)
entries, deliveries = st.tabs(
    [index_address.INDEX_TAB, index_address.DELIVERIES_TAB], key=index_address.TAB, on_change=index_address.touched
)
if deliveries.open:
    with deliveries:
        index_deliveries.show(edges, here)
else:
    with entries:
        index_lookup.show(edges, here, shelf)
        index_audit_view.show(edges, here, shelf)
        index_fix_view.show_plan(edges, here)
        index_retention.show_difference(edges, here)
        left, right = st.columns((11, 8))
        with left:
            index_entries.show(edges, here, shelf)
        with right:
            index_ages.show(listing, shelf)
            index_retention.show(edges, here, shelf, listing)
index_address.write_address()
