"""Dispatches whose run is not known: looking for it, choosing it, or saying that there is none."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from tfpilot.core.model import WorkflowKind, WorkflowRun
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.operations.browse import RequestView
from tfpilot.operations.offers import OpenDispatch, open_dispatches
from tfpilot.operations.rights import find_refusal, find_refusal_to_dispatch
from tfpilot.ui import links, shell, words
from tfpilot.ui.desk import Desk
from tfpilot.ui.dispatch_tasks import NAMES, ChooseRun, ConfirmNoRun, FindRun

_WIDTHS = (1.5, 2.6, 1.4, 1.3, 1.7, 1.2)


def show(edges: Edges, view: RequestView, desk: Desk) -> None:
    """A card for each of them; nothing where every run is known."""
    for each in open_dispatches(view):
        with st.container(border=True, gap="small", key=f"request_open_{each.kind.value}"):
            _show_open(edges, view, desk, each)


def _show_open(edges: Edges, view: RequestView, desk: Desk, each: OpenDispatch) -> None:
    st.markdown(f"**Open dispatch: {NAMES[each.kind]}** :orange-badge[:material/help: run not known]")
    st.markdown(_told(view, each))
    why_not_look = _why_not(edges, view, Right.SYNC)
    why_not_close = _why_not_close(edges, view, each)
    with st.container(horizontal=True):
        st.button(
            "Look for the run",
            key=f"request_find_{each.kind.value}",
            icon=":material/search:",
            disabled=why_not_look is not None or desk.is_busy,
            on_click=desk.act,
            args=(edges, FindRun(each.kind), shell.operator()),
        )
        st.button(
            "No run exists",
            key=f"request_close_{each.kind.value}",
            icon=":material/search_off:",
            disabled=why_not_close is not None or desk.is_busy,
            on_click=desk.act,
            args=(edges, ConfirmNoRun(each.kind), shell.operator()),
        )
    st.markdown(_conditions(each.kind))
    for label, refusal in (("Look for the run", why_not_look), ("No run exists", why_not_close)):
        if refusal is not None:
            st.markdown(f":material/block: {label}: {words.plain(refusal.removesuffix('.'))}.")
    _show_candidates(edges, view, desk, each)


def _told(view: RequestView, each: OpenDispatch) -> str:
    """What was dispatched, when and by whom."""
    when = (
        f"{words.clock_time(each.at, view.at)}, {words.lasting(view.at - each.at)} ago"
        if each.at
        else "at no time told"
    )
    record = each.record
    if record is None:
        return f"Dispatched {when}, by the document: the portal has no record of it, so somebody else dispatched it."
    said = f" {words.plain(words.sentence(record.detail))}" if record.detail else ""
    return (
        f"Dispatched {when}, by {words.plain(record.operator)} with this portal: {words.code(record.workflow_file)} on "
        f"{words.code(record.ref)} of {words.plain(record.repo)}.{said}"
    )


def _conditions(kind: WorkflowKind) -> str:
    return (
        f"Looking starts nothing: a run that can only be this one becomes the request's. Saying that no run exists "
        f"closes the dispatch, so that another {NAMES[kind]} can be started; GitHub is asked once more, and it is "
        "refused if a run could be this one, if GitHub's list does not reach back to the dispatch, or within ten "
        "minutes of it."
    )


def _why_not_close(edges: Edges, view: RequestView, each: OpenDispatch) -> str | None:
    opens = each.closes_at
    if opens is None:
        return "when it was dispatched is not known"
    if view.at <= opens:
        return f"GitHub's lists may be late, so it can be said from {words.clock_time(opens, view.at)}"
    return shell.told(find_refusal_to_dispatch(edges, view.request, each.kind, operator=shell.operator()))


def _show_candidates(edges: Edges, view: RequestView, desk: Desk, each: OpenDispatch) -> None:
    candidates = desk.candidates.get(each.kind, ())
    if not candidates:
        return
    refusal = _why_not(edges, view, Right.CHOOSE_RUN)
    st.markdown(
        f"**{words.counted(len(candidates), 'run')} could be it.** The one you choose becomes this request's, in the "
        "document and in the run index. No run has two requests, so choose only what you know."
    )
    if refusal is not None:
        st.markdown(f":material/block: This is it: {words.plain(refusal)}.")
    _show_row(("Run", "Title", "Started by", "Event", "Created (UTC)"))
    for run in candidates:
        _show_candidate(edges, view, desk, each.kind, run, may_choose=refusal is None)


def _show_candidate(
    edges: Edges, view: RequestView, desk: Desk, kind: WorkflowKind, run: WorkflowRun, *, may_choose: bool
) -> None:
    created = run.fact.created_at
    run_id = run.fact.run_id or 0
    last = _show_row(
        (
            links.link(str(run_id), run.fact.html_url),
            words.plain(run.title or words.NOTHING),
            words.plain(run.actor or words.NOTHING),
            words.code(run.event) if run.event else words.NOTHING,
            words.clock_time(created, view.at) if created else words.NOTHING,
        )
    )
    last.button(
        "This is it",
        key=f"request_choose_{kind.value}_{run_id}",
        disabled=not may_choose or desk.is_busy,
        on_click=desk.act,
        args=(edges, ChooseRun(kind, run_id), shell.operator()),
    )


def _show_row(cells: tuple[str, ...]) -> DeltaGenerator:
    """Draws the cells side by side; the column that is left for a button."""
    columns = st.columns(_WIDTHS, vertical_alignment="center", gap="small")
    for column, cell in zip(columns[:-1], cells, strict=True):
        column.markdown(cell)
    return columns[-1]


def _why_not(edges: Edges, view: RequestView, right: Right) -> str | None:
    return shell.told(find_refusal(edges, shell.operator(), right, environment=view.request.environment))
