"""One request at a glance, beside the list: why it stands where it does, what is wrong, and the way to its page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import streamlit as st

from tfpilot.core.diagnosis import STUCK_CODES, unreadable
from tfpilot.core.model import Finding
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError, TfPilotError
from tfpilot.operations.browse import RequestView, open_request
from tfpilot.ui import desk, links, looks, shell, tables, words

_EVENTS_SHOWN: Final = 4


def show(edges: Edges, request_id: str) -> None:
    """The card of the request, read now; where it cannot be read, what is wrong with it."""
    with st.container(border=True, gap="xsmall"):
        try:
            _show_request(open_request(edges, request_id))
        except DocumentError as error:
            _show_unreadable(request_id, error)
        except TfPilotError as error:
            shell.show_error(error)


def facts_line(view: RequestView) -> str:
    """Where the request belongs and who asked for it, in one line of Markdown."""
    request = view.request
    parts = [
        words.plain(request.environment or "no environment"),
        words.plain(request.project or "no project"),
        words.code(request.module) or "no module",
        f"by {words.plain(request.created_by)}" if request.created_by else "",
        f"version {request.version}",
    ]
    return " · ".join(part for part in parts if part)


def badges(view: RequestView) -> str:
    """Status, stuck and archived as chips."""
    chips = [looks.STATUSES[view.explanation.status].badge]
    stuck = next((finding for finding in view.findings if finding.code in STUCK_CODES), None)
    if stuck is not None:
        length = f" {words.lasting(view.at - stuck.since)}" if stuck.since else ""
        chips.append(f":orange-badge[:material/warning: Stuck{length}]")
    if view.archived:
        chips.append(looks.ARCHIVED.badge)
    return " ".join(chips)


def _show_request(view: RequestView) -> None:
    _show_title(view.request.id, badges(view))
    st.markdown(facts_line(view))
    explanation = view.explanation
    st.markdown(f"**Why {looks.STATUSES[explanation.status].label.lower()}**")
    st.markdown(f"Rule {explanation.rule}: {words.plain(explanation.reason)}.")
    st.markdown("**What is wrong**")
    for finding in view.findings:
        st.markdown(_finding(view, finding))
    if not view.findings:
        st.markdown(":green-badge[:material/check_circle: Nothing found]")
    _show_actions(view)
    if view.events:
        st.markdown("**Last events**")
        tables.show_events_briefly(view.events[:_EVENTS_SHOWN], view.at)
    st.markdown(" · ".join(_links(view)))


def _show_unreadable(request_id: str, error: DocumentError) -> None:
    _show_title(request_id, looks.UNREADABLE.badge)
    finding = unreadable(error.message)
    st.markdown(f"{looks.SEVERITIES[finding.severity].badge} {words.code(finding.code.value)}")
    st.markdown(words.plain(words.sentence(error.message)))
    st.markdown(f"Next: {words.plain(finding.next_action)}")
    if st.button("Open", key="requests_open", icon=":material/open_in_full:"):
        shell.go_to_request(request_id)


def _show_title(request_id: str, chips: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{words.plain(request_id)}**", width="content")
        st.markdown(chips, width="content")


def _finding(view: RequestView, finding: Finding) -> str:
    since = f" since {words.clock_time(finding.since, view.at)}" if finding.since else ""
    evidence = f"{words.plain(' · '.join(finding.evidence))}."
    badge = looks.SEVERITIES[finding.severity].badge
    next_action = words.plain(words.sentence(finding.next_action))
    return f"{badge} {words.code(finding.code.value)}{since}. {evidence} Next: {next_action}"


def _show_actions(view: RequestView) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if not view.archived and st.button(
            "Preview repair", key="requests_preview", icon=":material/build:", type="primary"
        ):
            desk.wish_preview(view.request.id)
            shell.go_to_request(view.request.id)
        if st.button("Open request", key="requests_open", icon=":material/open_in_full:"):
            shell.go_to_request(view.request.id)
        if not view.archived:
            st.markdown("A preview writes nothing.", width="content")


def _links(view: RequestView) -> Iterator[str]:
    """GitHub's pages about it: the pull request, and each run."""
    request = view.request
    if request.pr_number is not None:
        yield links.link(f"PR #{request.pr_number}", request.pull.url if request.pull else None)
    for kind, run in request.runs.items():
        url = run.html_url or run.url
        if links.leads_to_github(url):
            yield links.link(f"{kind.value.replace('_', ' ')} run", url)
