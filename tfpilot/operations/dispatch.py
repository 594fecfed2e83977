"""Dispatching a workflow for a request: lock, intent, one POST, and the run that came of it (SPEC §6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from tfpilot.core.changes import run_changes
from tfpilot.core.cleanup import find_destroy_to_clean_up
from tfpilot.core.deeds import Deed
from tfpilot.core.dispatch import (
    DispatchAnswer,
    DispatchEnd,
    DispatchOutcome,
    DispatchResult,
    Eligibility,
    check_destroy_is_over,
    eligibility,
)
from tfpilot.core.intents import LEAST_LEASE
from tfpilot.core.model import (
    NOT_ASKED,
    DispatchRecord,
    FactsQuery,
    GitHubFacts,
    Operator,
    Request,
    RunFact,
    RunQuestion,
    WorkflowKind,
)
from tfpilot.core.roles import Right
from tfpilot.core.run_index import new_entry
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, RefusedError, StorageError
from tfpilot.operations.acting import Act, act
from tfpilot.operations.discovery import Search, find_open_record, settle_known
from tfpilot.operations.dispatch_intent import (
    Draft,
    Intent,
    Recheck,
    check_eligible,
    check_not_overwritten,
    take_back,
    write_intent,
)
from tfpilot.operations.history import note_event
from tfpilot.operations.open_dispatches import adopted, look_for_run, told_of
from tfpilot.operations.request_lock import HeldLock, request_lock
from tfpilot.operations.rewrite import read_request, rewrite
from tfpilot.operations.rights import check_may, check_may_dispatch

POST_DEADLINE: Final = timedelta(seconds=15)
ASK_DEADLINE: Final = timedelta(seconds=15)
LOOK_AGAIN_AFTER: Final = (timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=4))
"""GitHub's lists are late: how long to wait before each further look for a run that was just started."""


def dispatch(edges: Edges, request_id: str, kind: WorkflowKind, *, operator: Operator) -> DispatchResult:
    """Starts the workflow by exactly one POST, or finds the run of an earlier dispatch that is still open.

    Raises MalformedIdError, NotFoundError, ArchivedError, DocumentError, MissingRightError, RefusedError (not eligible,
    locked, or GitHub refused), StorageError, ConflictError, and GitHubError where GitHub did not answer before
    anything was started.
    """
    request = read_request(edges, request_id)

    def recheck(current: Request) -> Eligibility:
        return eligibility(current, kind, edges.clock())

    with act(edges, operator, Deed.DISPATCH, request_id) as deed:
        deed.tell(kind=kind.value)
        check_may_dispatch(edges, request, kind, operator=operator)
        return _dispatch(edges, request, kind, deed, operator=operator, recheck=recheck)


def clean_up_after_destroy(
    edges: Edges, request_id: str, *, operator: Operator, facts: GitHubFacts | None = None
) -> DispatchResult | None:
    """Dispatches the cleanup of a destroyed request, once per destroy run; None where none is due.

    `facts`: what GitHub just said of the request, where it was asked. Raises as `dispatch`.
    """
    request = read_request(edges, request_id)
    if find_destroy_to_clean_up(request, edges.clock(), facts) is None:
        return None

    def recheck(current: Request) -> Eligibility:
        now = edges.clock()
        if find_destroy_to_clean_up(current, now, facts) is None:
            return Eligibility(WorkflowKind.CLEANUP, "its cleanup was dispatched meanwhile")
        return eligibility(current, WorkflowKind.CLEANUP, now)

    with act(edges, operator, Deed.CLEAN_UP, request_id) as deed:
        check_may(edges, operator, Right.CLEAN_UP_AFTER_DESTROY, environment=request.environment)
        return _dispatch(edges, request, WorkflowKind.CLEANUP, deed, operator=operator, recheck=recheck)


def _dispatch(
    edges: Edges, request: Request, kind: WorkflowKind, deed: Act, *, operator: Operator, recheck: Recheck
) -> DispatchResult:
    result = _dispatched(edges, request, kind, deed, operator=operator, recheck=recheck)
    deed.tell(**told_of(result))
    return result


def _dispatched(
    edges: Edges, request: Request, kind: WorkflowKind, deed: Act, *, operator: Operator, recheck: Recheck
) -> DispatchResult:
    settle_known(edges, request, edges.dispatches.list(request.id))
    fit = recheck(request)
    records = edges.dispatches.list(request.id)
    if fit.lacks_run or find_open_record(records, kind) is not None:
        deed.begin(kind=kind.value, looksFor="the run of an open dispatch")
        return look_for_run(edges, request, kind, operator=operator)
    check_eligible(request, fit)
    check_not_overwritten(request, kind, records)
    ahead = edges.workflows.me().clock_ahead
    deed.begin(kind=kind.value)
    with request_lock(edges, request.id, operation=f"dispatch {kind.value}", operator=operator) as lock:
        told = _ask_about_destroy(edges, request) if fit.asks_github else None
        draft = Draft(request.id, kind, operator, _with_destroy_over(recheck, told), ahead)
        intent = write_intent(edges, draft, lock)
        result = _settle(edges, intent, _post(edges, intent, lock), operator=operator)
    result = replace(result, notices=(*result.notices, *lock.notices))
    if result.end is not DispatchEnd.UNKNOWN:
        return result
    looked = look_for_run(edges, request, kind, operator=operator, waits=LOOK_AGAIN_AFTER)
    reason = "; ".join(part for part in (result.reason, looked.reason) if part)
    return replace(looked, reason=reason, notices=(*result.notices, *looked.notices))


def _with_destroy_over(recheck: Recheck, told: RunFact | None) -> Recheck:
    """As `recheck`; refused too where the request has a destroy that is not over by what GitHub `told`."""

    def recheck_with_destroy(current: Request) -> Eligibility:
        fit = recheck(current)
        if fit.asks_github:
            check_destroy_is_over(current, told)
        return fit

    return recheck_with_destroy


def _ask_about_destroy(edges: Edges, request: Request) -> RunFact:
    """What GitHub says of the last destroy's run, which is stored too. Raises RefusedError where it may still run, or
    may have succeeded."""
    run = request.runs.get(WorkflowKind.DESTROY)
    if request.repo is None or run is None or run.run_id is None:
        raise RefusedError(
            f"The last destroy of {request.id} has no known run, so it may still run",
            "Repair the request; where a complete list shows that no run exists, confirm that.",
        )
    question = RunQuestion(kind=WorkflowKind.DESTROY, run_id=run.run_id)
    query = FactsQuery(request.id, request.repo, pr_number=None, branch=None, cleanup_branch=None, runs=(question,))
    answer = edges.github.facts_for(query, deadline=ASK_DEADLINE).runs.get(WorkflowKind.DESTROY, NOT_ASKED)
    if answer.value is None:
        raise RefusedError(
            f"GitHub did not tell what became of destroy run {run.run_id}: {answer.detail or answer.outcome.value}",
            "Try again: only a destroy that is known to have failed may be repeated.",
        )
    fact: RunFact = answer.value.fact
    current = rewrite(edges, request.id, lambda now: tuple(run_changes(now, WorkflowKind.DESTROY, fact))).request
    check_destroy_is_over(current, fact)
    return fact


def _post(edges: Edges, intent: Intent, lock: HeldLock) -> DispatchAnswer:
    """GitHub's answer to the one POST; a refusal without asking where too little is left of the lock."""
    now = edges.clock()
    if lock.expires_at - now < LEAST_LEASE:
        return DispatchAnswer(
            DispatchOutcome.REFUSED, now, detail="storing the intent took too long, so nothing was sent"
        )
    return edges.workflows.dispatch(intent.order, deadline=POST_DEADLINE)


def _settle(edges: Edges, intent: Intent, answer: DispatchAnswer, *, operator: Operator) -> DispatchResult:
    if answer.outcome is DispatchOutcome.REFUSED:
        take_back(edges, intent, answer, operator=operator)
        raise RefusedError(
            f"GitHub started no {intent.record.kind.value} for {intent.record.request_id}: {answer.detail}",
            "Nothing was started and the request is as before. Mend what GitHub names, then try again.",
        )
    if answer.run_id is None:
        notices = _note_posted(edges, intent.record, answer)
        event = f"{intent.record.kind.value}_dispatch_unknown"
        notices += note_event(edges, intent.record.request_id, event, operator=operator, data={"detail": answer.detail})
        return _result(intent.record, DispatchEnd.UNKNOWN, reason=answer.detail, notices=notices)
    return _started(edges, intent, answer, run_id=answer.run_id, operator=operator)


def _started(
    edges: Edges, intent: Intent, answer: DispatchAnswer, *, run_id: int, operator: Operator
) -> DispatchResult:
    """GitHub named the run. A failing index does not undo that: the audit finds the missing entry."""
    record = intent.record
    notices: tuple[str, ...] = ()
    try:
        claim = edges.run_index.claim(new_entry(record.kind, run_id, record.request_id, created_at=answer.at))
    except StorageError as error:
        notices = (f"The run index was not written: {error.message}",)
    else:
        if not claim.holds:
            return _taken(edges, intent, answer, run_id=run_id, owner=claim.owner)
    search = Search(intent.request, record.kind, record, record.workflow_file, record.ref)
    result = adopted(edges, search, run_id=run_id, html_url=answer.html_url, operator=operator, end=DispatchEnd.STARTED)
    return replace(result, notices=(*notices, *result.notices))


def _taken(edges: Edges, intent: Intent, answer: DispatchAnswer, *, run_id: int, owner: str | None) -> DispatchResult:
    """The index gives the run that GitHub named to somebody else: no run has two requests, so a person decides."""
    reason = f"GitHub says that it started run {run_id}, which the run index gives to {owner or 'an unreadable entry'}"
    notices = _note_posted(edges, intent.record, replace(answer, detail=reason))
    return _result(intent.record, DispatchEnd.AMBIGUOUS, run_id=run_id, reason=reason, notices=notices)


def _note_posted(edges: Edges, record: DispatchRecord, answer: DispatchAnswer) -> tuple[str, ...]:
    """Remembers when GitHub was asked, by its clock: what discovery looks from."""
    try:
        stored = {each.record.nonce: each for each in edges.dispatches.list(record.request_id)}[record.nonce]
        edges.dispatches.put(replace(stored.record, posted_at=answer.at, detail=answer.detail), if_match=stored.etag)
    except (StorageError, ConflictError, KeyError) as error:
        return (f"When GitHub was asked could not be remembered: {error}",)
    return ()


def _result(
    record: DispatchRecord,
    end: DispatchEnd,
    *,
    run_id: int | None = None,
    reason: str = "",
    notices: tuple[str, ...] = (),
) -> DispatchResult:
    return DispatchResult(record.request_id, record.kind, end, run_id=run_id, reason=reason, notices=notices)
