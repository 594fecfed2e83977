"""One request: why it stands where it does, what is wrong, and its repair."""

from __future__ import annotations

import streamlit as st

from tfpilot.core.document import check_request_id
from tfpilot.core.model import ACTIVE_STATUSES
from tfpilot.core.timeline import draw_timeline
from tfpilot.errors import DocumentError
from tfpilot.operations.browse import open_request
from tfpilot.ui import dispatch_outcome, repair_view, request_tabs, request_view, shell, timeline_chart, unreadable
from tfpilot.ui.desk import Verb, desk_of, take_wish

edges = shell.portal().edges
asked_for = st.query_params.get("id")
if not asked_for:
    request_view.show_none_chosen()
    st.stop()
with shell.explained("request"):
    request_id = check_request_id(asked_for)
    shell.configure_page(f"{request_id} · TfPilot Ops")
    desk = desk_of(request_id)
    was_acting = desk.deed is not None
    repair_view.announce(desk.collect(edges.clock()))
    dispatch_outcome.announce(desk.ended if was_acting else None)
    try:
        view = open_request(edges, request_id)
    except DocumentError as error:
        unreadable.show(edges, request_id, error)
        st.stop()

if not view.archived:
    if take_wish(request_id):
        desk.begin(edges, Verb.PREVIEW, shell.operator())
    if desk.looked_at is None or view.explanation.status in ACTIVE_STATUSES:
        desk.look(edges)

request_view.show_header(edges, view, desk)
request_view.show_banners(view, desk)
request_view.show_why(view)
request_view.show_actions(edges, view, desk)
answered = desk.answer.facts if desk.answer is not None else None
timeline_chart.show(draw_timeline(view.request, view.at, edges.thresholds, events=view.events, facts=answered))
request_tabs.show(edges, view, desk)
