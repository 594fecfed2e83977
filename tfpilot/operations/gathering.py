"""What a sync knows of one request before it decides: the document, GitHub's answers, and our own records (SPEC §4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.dispatch import Choice, RunChoice
from tfpilot.core.document import apply_changes
from tfpilot.core.intents import overwritten_changes, replaced_run_ids
from tfpilot.core.lifecycle import lacks_run
from tfpilot.core.model import (
    Answer,
    FactOutcome,
    FactsQuery,
    FieldChange,
    GitHubFacts,
    Request,
    Stored,
    StoredDispatch,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.repair import plan_query, unanswered
from tfpilot.core.request import parse_request
from tfpilot.core.run_index import LIFETIME
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError, GitHubError, RefusedError, StorageError
from tfpilot.operations.discovery import claim_run, discover, find_open_record, look, search_for

DEADLINE: Final = timedelta(seconds=15)
"""One sync asks GitHub for at most this long, however many facts it needs."""

_CHOICES: Final[Mapping[Choice, FactOutcome]] = {
    Choice.AMBIGUOUS: FactOutcome.AMBIGUOUS,
    Choice.NONE: FactOutcome.NOT_FOUND,
    Choice.INCOMPLETE: FactOutcome.FAILED,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One request as read, what was asked about it and answered, its archived copy where one may be renewed, and our
    records of its dispatches.

    `request` is the document with what others overwrote put back (`restored`). `is_backed_off`: GitHub was not called,
    because it asked us to wait.
    """

    stored: Stored
    request: Request
    restored: tuple[FieldChange, ...]
    records: Sequence[StoredDispatch]
    query: FactsQuery
    facts: GitHubFacts
    archived: Stored | None
    is_backed_off: bool


def read_request_again(case: Case, stored: Stored) -> Case:
    """The same case on what is stored now; GitHub's answers stay."""
    request, restored = _restored(stored, case.records)
    return replace(case, stored=stored, request=request, restored=restored)


def gather(edges: Edges, stored: Stored, now: datetime, *, dry_run: bool) -> Case:
    """Everything a repair needs to know. With `dry_run` no run is claimed.

    Raises RefusedError where no repository is known, StorageError.
    """
    until = now + DEADLINE
    request = parse_request(stored.document)
    records = edges.dispatches.list(request.id)
    request, restored = _restored(stored, records)
    query = plan_query(request, now)
    if query is None:
        raise RefusedError(
            f"{request.id} names no target repository, so GitHub cannot be asked",
            "Set targetOwner and targetRepo in the web app, then repair again.",
        )
    backed_off_until = edges.backoffs.find(query.repo, now=now)
    if backed_off_until is not None:
        # What GitHub said before still holds; asking would make it wait longer.
        facts = unanswered(query, FactOutcome.RATE_LIMITED, "GitHub asked us to wait", backed_off_until - now)
    else:
        facts = edges.github.facts_for(query, deadline=until - edges.clock())
        facts = _with_runs_settled(edges, request, records, facts, dry_run=dry_run)
    archived = _find_archived(edges, request)
    is_backed_off = backed_off_until is not None
    return Case(stored, request, restored, records, query, facts, archived, is_backed_off=is_backed_off)


def _restored(stored: Stored, records: Sequence[StoredDispatch]) -> tuple[Request, tuple[FieldChange, ...]]:
    restored = overwritten_changes(stored.document, [each.record for each in records])
    return parse_request(apply_changes(stored.document, restored)), restored


def _with_runs_settled(
    edges: Edges, request: Request, records: Sequence[StoredDispatch], facts: GitHubFacts, *, dry_run: bool
) -> GitHubFacts:
    """The facts, with each run that the request does not track yet claimed for it, or left to whom it belongs."""
    settled = dict(_settled_runs(edges, request, records, facts, dry_run=dry_run))
    return replace(facts, runs={**facts.runs, **settled}) if settled else facts


def _settled_runs(
    edges: Edges, request: Request, records: Sequence[StoredDispatch], facts: GitHubFacts, *, dry_run: bool
) -> Iterator[tuple[WorkflowKind, Answer[WorkflowRun]]]:
    for kind, answer in facts.runs.items():
        tracked, ours = request.runs.get(kind), find_open_record(records, kind)
        run_id = answer.value.fact.run_id if answer.value is not None else None
        trigger = request.triggers.get(kind)
        # Of a dispatch whose time nobody knows, nothing tells which runs could be its own.
        is_sought = ours is not None or (trigger is not None and trigger.at is not None)
        is_missing = answer.outcome is FactOutcome.NOT_FOUND and lacks_run(request, kind) and is_sought
        if is_missing or (ours is not None and run_id in replaced_run_ids(ours.record)):
            yield kind, _discovered(edges, request, kind, dry_run=dry_run)
        elif run_id is not None and (tracked is None or tracked.run_id != run_id):
            yield kind, _claimed(edges, request, kind, answer, dry_run=dry_run)


def _claimed(
    edges: Edges, request: Request, kind: WorkflowKind, answer: Answer[WorkflowRun], *, dry_run: bool
) -> Answer[WorkflowRun]:
    """The answer about a run that names the request, if the run index does not give it to another one. A run that is
    older than the index keeps runs gets no entry."""
    run = answer.value
    if run is None or run.fact.run_id is None:
        return answer
    is_old = run.fact.created_at is not None and run.fact.created_at + LIFETIME < edges.clock()
    try:
        if dry_run or is_old:
            entry = edges.run_index.find(kind, run.fact.run_id)
            owner, holds = (entry.request_id, entry.request_id == request.id) if entry else (None, True)
        else:
            claim = claim_run(edges, request.id, kind, run)
            owner, holds = claim.owner, claim.holds
    except StorageError as error:
        return Answer(FactOutcome.FAILED, detail=f"whose run {run.fact.run_id} is cannot be told: {error.message}")
    if holds:
        return answer
    return Answer(
        FactOutcome.CROSSED, detail=f"run {run.fact.run_id} belongs to {owner or 'an unreadable index entry'}"
    )


def _discovered(edges: Edges, request: Request, kind: WorkflowKind, *, dry_run: bool) -> Answer[WorkflowRun]:
    """The run of a dispatch that names no request, claimed; or why it cannot be told. Of the web app's dispatch it
    never can: a person has to choose among the candidates."""
    try:
        search = search_for(edges, request, kind)
        found: RunChoice = look(edges, search) if dry_run else discover(edges, search)
    except GitHubError as error:
        return Answer(FactOutcome(error.outcome), detail=error.message, retry_after=error.retry_after)
    except StorageError as error:
        return Answer(FactOutcome.FAILED, detail=error.message)
    if found.run is not None:
        return Answer(FactOutcome.OK, found.run, detail="found by what started it")
    return Answer(_CHOICES[found.outcome], detail=found.reason)


def _find_archived(edges: Edges, request: Request) -> Stored | None:
    """The archived copy, read only where the repair may have to renew it. One that cannot be read is none here: it
    must not keep the active document from being repaired, and writing over it is refused when it comes to that."""
    if WorkflowKind.DESTROY not in request.runs.keys() | request.triggers.keys():
        return None
    try:
        return edges.documents.find_archived(request.id)
    except DocumentError:
        return None
