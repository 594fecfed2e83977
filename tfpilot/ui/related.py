"""What belongs to a request: its pull request and runs, their index entries, its locks, and our dispatches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import streamlit as st

from tfpilot.core.intents import holds_lock
from tfpilot.core.model import DispatchRecord, DispatchState, PullFact, RunFact, WorkflowKind
from tfpilot.edges import Edges
from tfpilot.operations.browse import RequestView
from tfpilot.ui import dispatch_view, links, shell, tables, words
from tfpilot.ui.desk import Desk
from tfpilot.ui.facts import NAMES as FACT_NAMES

Row = Mapping[str, str]

_NONE: Final = ":gray[none]"
_FREE: Final = ":green-badge[:material/lock_open: free]"
_MISSING: Final = ":orange-badge[:material/warning: missing]"
_STATES: Final[Mapping[DispatchState, str]] = {
    DispatchState.OPEN: ":orange-badge[:material/help: run not known]",
    DispatchState.STARTED: ":green-badge[:material/check_circle: started]",
    DispatchState.REFUSED: ":red-badge[:material/block: refused]",
    DispatchState.CLOSED: ":gray-badge[:material/search_off: closed, no run]",
}


def show(edges: Edges, view: RequestView, desk: Desk) -> None:
    """One row per thing that belongs to the request, then our own dispatches of it."""
    rows = list(_rows(view))
    tables.show(rows, alt=f"Related: {words.counted(len(rows), 'row')}")
    dispatch_view.show_lock_release(edges, view, desk, key="request_related_unlock")
    _show_records(view)


def _rows(view: RequestView) -> Iterator[Row]:
    request = view.request
    yield _pull_row("Pull request", request.pull)
    yield from _pull_index_rows(view)
    for kind, run in request.runs.items():
        yield _run_row(kind, run)
        yield from _index_rows(view, kind, run)
    yield _pull_row("Cleanup PR", request.cleanup_pull)
    yield _lock_row(view)
    twin = words.code(f"history/{request.id}.json")
    if view.archived:
        yield _row("Archived copy", twin, "it is what this page shows")
    else:
        yield _row("Archived copy", twin if view.has_archived_copy else _NONE, "")


def _row(what: str, which: str, state: str) -> Row:
    return {"What": what, "Which": which, "State": state}


def _pull_row(what: str, pull: PullFact | None) -> Row:
    if pull is None or pull.number is None:
        return _row(what, _NONE, "")
    title = f" {pull.title}" if pull.title else ""
    return _row(what, links.link(f"#{pull.number}{title}", pull.url), _pull_state(pull))


def _pull_state(pull: PullFact) -> str:
    if pull.merged:
        return "merged"
    return {True: "open", False: "closed", None: "state not known"}[pull.open]


def _pull_index_rows(view: RequestView) -> Iterator[Row]:
    request = view.request
    if request.repo is None or request.pr_number is None or view.archived:
        return
    what = f"Index entry {words.code(f'pr-{request.pr_number}')}"
    yield _owner_row(view, what, view.pull_owner, missing="the web app writes it")


def _run_row(kind: WorkflowKind, run: RunFact) -> Row:
    what = FACT_NAMES[kind.value]
    if run.run_id is None:
        return _row(what, ":gray[run not known]", _run_state(run))
    attempt = f", attempt {run.attempt}" if run.attempt else ""
    return _row(what, links.link(f"{run.run_id}{attempt}", run.html_url or run.url), _run_state(run))


def _run_state(run: RunFact) -> str:
    state = run.conclusion or run.status
    return words.plain(state.replace("_", " ")) if state else "state not known"


def _index_rows(view: RequestView, kind: WorkflowKind, run: RunFact) -> Iterator[Row]:
    if run.run_id is None or view.archived:
        return
    what = f"Index entry {words.code(f'{kind.value}/run-{run.run_id}')}"
    if kind in view.index_owners:
        yield _owner_row(view, what, view.index_owners[kind], missing="backfilled by the repair")
    else:
        yield _row(what, words.NOTHING, "older than 90 days, or of unknown age: no entry is expected")


def _owner_row(view: RequestView, what: str, owner: str | None, *, missing: str) -> Row:
    if owner is None:
        return _row(what, _MISSING, missing)
    if owner == view.request.id:
        return _row(what, ":green-badge[:material/check_circle: names this request]", "")
    link = f"[{words.plain(owner)}]({shell.request_link(owner)})"
    return _row(what, f":red-badge[:material/error: names another] {link}", "audit the run index")


def _lock_row(view: RequestView) -> Row:
    lock = view.request.lock
    if lock is None:
        return _row("Request lock", _FREE, "")
    held = holds_lock(view.request, view.at)
    who = f"{words.plain(lock.holder)}, for {words.plain(lock.operation)}"
    ends = f" {words.clock_time(lock.expires_at, view.at)}" if lock.expires_at else ""
    if held is None:
        return _row("Request lock", ":orange-badge[:material/lock_clock: expired]", f"{who}, ended{ends}")
    return _row("Request lock", ":blue-badge[:material/lock: held]", f"{who}, until{ends or ' its time is over'}")


def _show_records(view: RequestView) -> None:
    st.markdown("**Dispatched with this portal**")
    records = [each.record for each in reversed(view.records)]
    if not records:
        st.markdown("Nothing was dispatched for this request with this portal.")
        return
    rows = [_record_row(view, record) for record in records]
    tables.show(rows, alt=f"Dispatches: {words.counted(len(rows), 'row')}")


def _record_row(view: RequestView, record: DispatchRecord) -> Row:
    return {
        "When (UTC)": words.clock_time(record.triggered_at, view.at),
        "Workflow": f"{words.code(record.workflow_file)} on {words.code(record.ref)}",
        "By": words.plain(record.operator),
        "Result": _STATES[record.state],
        "Run": _record_run(view, record),
        "Detail": words.plain(record.detail) or words.NOTHING,
    }


def _record_run(view: RequestView, record: DispatchRecord) -> str:
    if record.run_id is None:
        return words.NOTHING
    run = view.request.runs.get(record.kind)
    is_current = run is not None and run.run_id == record.run_id
    return links.link(str(record.run_id), (run.html_url or run.url) if run is not None and is_current else None)
