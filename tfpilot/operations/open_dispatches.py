"""Dispatches whose run is not known: looking for it, a person's choice, and closing one that started nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from tfpilot.core.deeds import Deed
from tfpilot.core.diagnosis import NOT_DISPATCHED_AFTER
from tfpilot.core.dispatch import Choice, DispatchEnd, DispatchResult, RunChoice
from tfpilot.core.intents import close_changes, is_still_open, take_back_changes
from tfpilot.core.lifecycle import lacks_run
from tfpilot.core.model import DispatchState, FieldChange, Operator, Request, WorkflowKind, WorkflowRun
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import RefusedError, TfPilotError, UpstreamError
from tfpilot.operations.acting import Act, act
from tfpilot.operations.discovery import Search, adopt, claim_run, discover, look, search_for, settle_record
from tfpilot.operations.history import note_event
from tfpilot.operations.rewrite import read_request, rewrite
from tfpilot.operations.rights import check_may, check_may_dispatch
from tfpilot.operations.run_events import replay_claimed


def choose_run(edges: Edges, request_id: str, kind: WorkflowKind, run_id: int, *, operator: Operator) -> DispatchResult:
    """Makes a run the request's that a person chose among the candidates of an open dispatch.

    Raises RefusedError where no dispatch is open, the run is no candidate, or another request has it; else as
    `dispatch`.
    """
    request = read_request(edges, request_id)
    with act(edges, operator, Deed.CHOOSE_RUN, request_id) as deed:
        check_may(edges, operator, Right.CHOOSE_RUN, environment=request.environment)
        return _choose(edges, _open_search(edges, request, kind), run_id, deed, operator=operator)


def _choose(edges: Edges, search: Search, run_id: int, deed: Act, *, operator: Operator) -> DispatchResult:
    request_id, kind = search.request.id, search.kind
    run = {each.fact.run_id: each for each in _candidates(edges, search)}.get(run_id)
    if run is None:
        raise RefusedError(
            f"Run {run_id} is no candidate for the {kind.value} of {request_id}",
            "Look at the candidates again: it may be older than the dispatch, or another request's.",
        )
    deed.begin(kind=kind.value, runId=run_id)
    claim = claim_run(edges, request_id, kind, run)
    if not claim.holds:
        raise RefusedError(f"Run {run_id} belongs to {claim.owner or 'an unreadable entry'}", "Choose another run.")
    return adopted(edges, search, run_id=run_id, html_url=run.fact.html_url, operator=operator)


def confirm_no_run(edges: Edges, request_id: str, kind: WorkflowKind, *, operator: Operator) -> tuple[FieldChange, ...]:
    """Closes an open dispatch of which a person says that no run exists; answers what was changed.

    GitHub is asked again: refused (RefusedError) where a run could be its, where its list does not reach back, or
    before ten minutes are over. Takes the right to that dispatch. Raises else as `dispatch`.
    """
    request = read_request(edges, request_id)
    with act(edges, operator, Deed.CLOSE_DISPATCH, request_id) as deed:
        check_may_dispatch(edges, request, kind, operator=operator)
        return _close(edges, _open_search(edges, request, kind), deed, operator=operator)


def _close(edges: Edges, search: Search, deed: Act, *, operator: Operator) -> tuple[FieldChange, ...]:
    request_id, kind = search.request.id, search.kind
    if search.since is None or edges.clock() - search.since <= NOT_DISPATCHED_AFTER:
        raise RefusedError(
            f"The {kind.value} of {request_id} was dispatched less than ten minutes ago",
            "GitHub's lists may be late: look again later.",
        )
    found = look(edges, search)
    if found.outcome is not Choice.NONE:
        raise RefusedError(
            f"A run of the {kind.value} of {request_id} may exist: {_told(found)}",
            "Repair the request, or choose its run among the candidates.",
        )
    deed.begin(kind=kind.value)
    changes = rewrite(edges, request_id, lambda current: _closing(current, search)).changes
    settle_record(edges, search.record, state=DispatchState.CLOSED, settled_by=operator.login, detail="no run exists")
    fields = [each.dotted for each in changes]
    note_event(edges, request_id, f"{kind.value}_dispatch_closed", operator=operator, data={"fields": fields})
    return changes


def find_candidates(edges: Edges, request_id: str, kind: WorkflowKind) -> RunChoice:
    """What an open dispatch could have started, for a person to look at; claims nothing. Raises as `choose_run`."""
    request = read_request(edges, request_id)
    return look(edges, _open_search(edges, request, kind))


def find_run(edges: Edges, request_id: str, kind: WorkflowKind, *, operator: Operator) -> DispatchResult:
    """Looks for the run of an open dispatch and makes it the request's, as a repair would; starts nothing.

    Raises RefusedError where no dispatch is open, MissingRightError, else as `read_request`.
    """
    request = read_request(edges, request_id)
    with act(edges, operator, Deed.FIND_RUN, request_id) as deed:
        check_may(edges, operator, Right.SYNC, environment=request.environment)
        _open_search(edges, request, kind)
        deed.begin(kind=kind.value)
        result = look_for_run(edges, request, kind, operator=operator)
        deed.tell(**told_of(result))
        return result


def told_of(result: DispatchResult) -> dict[str, str | int]:
    """What the audit says of how a dispatch, or a look for its run, ended."""
    return {"end": result.end.value, **({"runId": result.run_id} if result.run_id else {})}


def look_for_run(
    edges: Edges,
    request: Request,
    kind: WorkflowKind,
    *,
    operator: Operator,
    waits: Iterable[timedelta] = (),
) -> DispatchResult:
    """Looks for the run of the request's open dispatch and makes it the request's; looks again after each of `waits`.

    What GitHub or storage could not tell is UNKNOWN with the reason.
    """
    try:
        search = search_for(edges, request, kind)
        found = discover(edges, search)
        for wait in waits:
            if found.run is not None:
                break
            edges.sleep(wait)
            found = discover(edges, search)
    except UpstreamError as error:
        return DispatchResult(request.id, kind, DispatchEnd.UNKNOWN, reason=error.message)
    if found.run is not None and found.run.fact.run_id is not None:
        run_id, url = found.run.fact.run_id, found.run.fact.html_url
        return adopted(edges, search, run_id=run_id, html_url=url, operator=operator)
    end = DispatchEnd.AMBIGUOUS if found.outcome is Choice.AMBIGUOUS else DispatchEnd.UNKNOWN
    return DispatchResult(request.id, kind, end, reason=found.reason, candidates=found.candidates)


def adopted(
    edges: Edges,
    search: Search,
    *,
    run_id: int,
    html_url: str | None,
    operator: Operator,
    end: DispatchEnd = DispatchEnd.FOUND,
) -> DispatchResult:
    """The run is the request's. Where it cannot be stored now, our record tells the next repair. What webhooks said of
    it before anybody knew whose it is counts from now on."""
    result = DispatchResult(search.request.id, search.kind, end, run_id=run_id, html_url=html_url)
    try:
        _, notices = adopt(edges, search, run_id=run_id, html_url=html_url, settled_by=operator.login)
    except TfPilotError as error:
        return replace(result, notices=(f"The run was not stored, a repair does it: {error.message}",))
    event = "dispatched" if end is DispatchEnd.STARTED else "run_found"
    notices += note_event(
        edges, search.request.id, f"{search.kind.value}_{event}", operator=operator, data={"runId": run_id}
    )
    return replace(result, notices=notices + replay_claimed(edges, search.kind, run_id))


def _open_search(edges: Edges, request: Request, kind: WorkflowKind) -> Search:
    search = search_for(edges, request, kind)
    if search.record is None and not lacks_run(request, kind):
        raise RefusedError(f"{request.id} has no open {kind.value} dispatch", "Look at the request again.")
    return search


def _candidates(edges: Edges, search: Search) -> tuple[WorkflowRun, ...]:
    found = look(edges, search)
    return found.candidates if found.run is None else (found.run, *found.candidates)


def _closing(current: Request, search: Search) -> tuple[FieldChange, ...]:
    """What closes the dispatch that was looked for; nothing where a run of it or another dispatch is there by now."""
    if search.record is not None:
        return take_back_changes(current.raw, search.record) if is_still_open(current.raw, search.record) else ()
    is_same = current.triggers.get(search.kind) == search.request.triggers.get(search.kind)
    return close_changes(current.raw, search.kind) if is_same and lacks_run(current, search.kind) else ()


def _told(found: RunChoice) -> str:
    return found.reason or f"run {found.run.fact.run_id if found.run else ''} was found"
