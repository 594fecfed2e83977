"""`dispatch`: starting a workflow, and what becomes of a dispatch whose run is not known; `requests unlock`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tfpilot.cli.output import DONE, FAILED, MISUSE, failures_shown, show, show_json
from tfpilot.cli.portal import command_portal, operator_of
from tfpilot.core.answers import candidate_answer, change_answer, dispatch_answer
from tfpilot.core.dispatch import DispatchEnd, DispatchResult, RunChoice
from tfpilot.core.document import check_request_id, format_time
from tfpilot.core.model import FieldChange, WorkflowKind, WorkflowRun
from tfpilot.log import log_dispatch
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.open_dispatches import choose_run, confirm_no_run, find_candidates
from tfpilot.operations.request_lock import clear_lock

if TYPE_CHECKING:
    from tfpilot.wiring import Portal

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
Kind = Annotated[WorkflowKind, typer.Argument(metavar="KIND", help=f"One of {', '.join(WorkflowKind)}.")]
RequestId = Annotated[str, typer.Argument(metavar="ID", help="A request id, such as req_dev_s3_abc123.")]
RunId = Annotated[int | None, typer.Option("--choose", metavar="RUN_ID", min=1, help="Make this run the request's.")]
Candidates = Annotated[bool, typer.Option("--candidates", help="Show what an open dispatch may have started.")]
NoRun = Annotated[bool, typer.Option("--confirm-no-run", help="Close an open dispatch that started nothing.")]

_KNOWN = frozenset({DispatchEnd.STARTED, DispatchEnd.FOUND})
_ENDS = {
    DispatchEnd.STARTED: "started",
    DispatchEnd.FOUND: "found, nothing new was started",
    DispatchEnd.AMBIGUOUS: "a person must choose the run",
    DispatchEnd.UNKNOWN: "its run is not known, nothing is sent again",
}


def dispatch_command(
    kind: Kind,
    request_id: RequestId,
    *,
    candidates: Candidates = False,
    choose: RunId = None,
    no_run: NoRun = False,
    as_json: AsJson = False,
) -> None:
    """Starts a workflow for a request with one POST, or finds the run of a dispatch that is still open.

    Exits 0 where the run is known or the open dispatch was closed, 1 where it was refused or the run is not known.
    """
    if sum((candidates, choose is not None, no_run)) > 1:
        typer.echo("Only one of --candidates, --choose and --confirm-no-run can be done at a time.", err=True)
        sys.exit(MISUSE)
    with failures_shown(as_json=as_json):
        check_request_id(request_id)
        with command_portal() as portal:
            if candidates:
                code = _show_candidates(portal, request_id, kind, as_json=as_json)
            elif no_run:
                code = _close(portal, request_id, kind, as_json=as_json)
            else:
                code = _dispatch(portal, request_id, kind, choose, as_json=as_json)
    sys.exit(code)


def unlock_command(request_id: RequestId, as_json: AsJson = False) -> None:
    """Clears a request's own lock, once its time is over."""
    with failures_shown(as_json=as_json):
        check_request_id(request_id)
        with command_portal() as portal:
            changes = clear_lock(portal.edges, request_id, operator=operator_of(portal)).changes
    _show_changes(request_id, changes, "the lock was cleared" if changes else "there is no lock", as_json=as_json)


def _dispatch(portal: Portal, request_id: str, kind: WorkflowKind, choose: int | None, *, as_json: bool) -> int:
    operator = operator_of(portal)
    if choose is None:
        result = dispatch(portal.edges, request_id, kind, operator=operator)
    else:
        result = choose_run(portal.edges, request_id, kind, choose, operator=operator)
    log_dispatch(result, operator)
    _show_result(result, as_json=as_json)
    return DONE if result.end in _KNOWN else FAILED


def _show_candidates(portal: Portal, request_id: str, kind: WorkflowKind, *, as_json: bool) -> int:
    found = find_candidates(portal.edges, request_id, kind)
    runs = _runs_in(found)
    if as_json:
        told = {"id": request_id, "kind": kind.value, "outcome": found.outcome.value, "reason": found.reason}
        show_json({**told, "candidates": [candidate_answer(run) for run in runs]})
    else:
        show(f"{request_id}: {kind.value}, {found.outcome.value}{f': {found.reason}' if found.reason else ''}")
        _show_runs(runs)
    return DONE if found.run is not None else FAILED


def _close(portal: Portal, request_id: str, kind: WorkflowKind, *, as_json: bool) -> int:
    changes = confirm_no_run(portal.edges, request_id, kind, operator=operator_of(portal))
    _show_changes(request_id, changes, f"the open {kind.value} dispatch was closed", as_json=as_json)
    return DONE


def _runs_in(found: RunChoice) -> tuple[WorkflowRun, ...]:
    return found.candidates if found.run is None else (found.run,)


def _show_result(result: DispatchResult, *, as_json: bool) -> None:
    if as_json:
        show_json(dispatch_answer(result))
        return
    run = f" run {result.run_id}" if result.run_id is not None else ""
    reason = f": {result.reason}" if result.reason else ""
    show(f"{result.request_id}: {result.kind.value}{run}, {_ENDS[result.end]}{reason}")
    if result.html_url:
        show(f"    {result.html_url}")
    _show_runs(result.candidates)
    for notice in result.notices:
        show(f"    {notice}")


def _show_runs(runs: Sequence[WorkflowRun]) -> None:
    for run in runs:
        created = f" created {format_time(run.fact.created_at)}" if run.fact.created_at else ""
        show(f"    run {run.fact.run_id}{created} by {run.actor or 'nobody known'}: {run.title or ''}")
        if run.fact.html_url:
            show(f"        {run.fact.html_url}")


def _show_changes(request_id: str, changes: Sequence[FieldChange], what: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"id": request_id, "success": True, "changes": [change_answer(each) for each in changes]})
        return
    show(f"{request_id}: {what}")
    for change in changes:
        show(f"    {change.dotted}: {change.before} → {change.after}")
