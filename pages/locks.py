"""Terraform's locks: who holds them, since when, whether that still works, and the guarded release of one."""

from __future__ import annotations

import streamlit as st

from tfpilot.ui import locks_acts, locks_address, locks_header, locks_release, locks_table, shell
from tfpilot.ui.locks_desk import desk

shell.configure_page("Locks · TfPilot Ops")
edges, here = shell.portal().edges, desk()
locks_address.read_address()
locks_header.settle(edges, here, here.collect(edges.clock()))
if edges.resets.targets:
    locks_acts.keep_young(edges, here)
    here.list.collect(edges.clock())

locks_header.show(edges, here)
if not edges.resets.targets:
    locks_header.show_no_targets()
    st.stop()
locks_header.show_outcome(here)
if here.list.error is not None:
    shell.show_error(here.list.error, title="The locks could not be read")
found = here.list.value
if found is None:
    if here.list.error is None:
        locks_header.show_first_reading(edges)
    st.stop()

if found.unread and not found.locks and not found.free:
    locks_header.show_outage(edges, here, found)
locks_header.show_intro(found)
if found.locks or found.unread:
    locks_table.show(found, edges.clock())
    for judged in found.locks:
        locks_release.show(edges, here, judged)
else:
    locks_header.show_none_held(found)
locks_address.write_address()
