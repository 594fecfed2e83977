"""Sync and repair one request: gather what GitHub says, plan, apply under the version that was read (SPEC §4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.document import check_request_id
from tfpilot.core.lifecycle import explain, is_due, may_ask_again, needs_repair
from tfpilot.core.model import (
    NEVER,
    Checked,
    FactOutcome,
    FactsQuery,
    GitHubFacts,
    JsonObject,
    LifecycleEvent,
    Operator,
    RepairPlan,
    Request,
    Stored,
    SyncMode,
    SyncResult,
    WorkflowKind,
)
from tfpilot.core.repair import (
    is_degraded,
    learned_anything,
    longest_wait,
    next_version,
    plan_query,
    plan_repair,
    unanswered,
)
from tfpilot.core.request import parse_request
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import (
    ArchivedError,
    ConflictError,
    DocumentError,
    GitHubError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    StorageError,
    unknown_request,
)
from tfpilot.operations.rights import check_may

DEADLINE: Final = timedelta(seconds=15)
"""One sync asks GitHub for at most this long, however many facts it needs."""

MAX_TRIES: Final = 25
"""Lost races before a sync gives up. Each one means that another writer got through."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One request as read, what was asked about it and answered, and its archived copy where one may be renewed.

    `is_backed_off`: GitHub was not called, because it asked us to wait.
    """

    stored: Stored
    request: Request
    query: FactsQuery
    facts: GitHubFacts
    archived: Stored | None
    is_backed_off: bool


def sync(edges: Edges, request_id: str, *, mode: SyncMode, operator: Operator, dry_run: bool = False) -> SyncResult:
    """Brings one request to what GitHub says of it, or with `dry_run` shows how, writing nothing.

    AUTO asks GitHub only where the document cannot be right or the last answer is old; REPAIR always. Running twice
    is the same as running once.

    Raises MalformedIdError, NotFoundError, ArchivedError (only an archived copy exists), DocumentError,
    MissingRightError, RefusedError (no repository is known), StorageError, ConflictError (other writers won every
    race), and for a REPAIR that learned nothing at all GitHubError or RateLimitedError.
    """
    stored = _read(edges, check_request_id(request_id))
    request = parse_request(stored.document)
    if not dry_run:
        check_may(edges, operator, Right.SYNC, environment=request.environment)
    now = edges.clock()
    reason = _why_not_to_ask(edges, request, now) if mode is SyncMode.AUTO else None
    if reason is not None:
        return _not_asked(request, now, mode=mode, dry_run=dry_run, reason=reason)
    case = _gather(edges, stored, now, until=now + DEADLINE)
    _check_learned(edges, case, now, mode=mode, dry_run=dry_run)
    if dry_run:
        return _result(case, now, _plan(case, now), mode=mode, dry_run=True, written=False)
    return _apply(edges, case, mode=mode, operator=operator, now=now)


def _read(edges: Edges, request_id: str) -> Stored:
    try:
        return edges.documents.get(request_id)
    except NotFoundError as missing:
        if edges.documents.find_archived(request_id) is None:
            raise unknown_request(request_id) from missing
        raise ArchivedError(
            f"{request_id} is archived: it has a copy in history/ and no active document",
            "Read it on its page; nothing writes an archived request.",
        ) from missing


def _why_not_to_ask(edges: Edges, request: Request, now: datetime) -> str | None:
    """Why AUTO leaves GitHub alone; None where it asks."""
    if request.repo is None:
        return "no target repository is known"
    checked = edges.checked.find(request.id)
    if not needs_repair(request, now, edges.thresholds) and not is_due(request, now, checked):
        return "nothing needs repair"
    if may_ask_again(request, now, checked) or edges.backoffs.find(request.repo, now=now) is not None:
        return None
    return "GitHub was asked a moment ago"


def _not_asked(request: Request, now: datetime, *, mode: SyncMode, dry_run: bool, reason: str) -> SyncResult:
    facts = GitHubFacts()
    return SyncResult(
        request=request,
        explanation=explain(request, now),
        mode=mode,
        dry_run=dry_run,
        asked=False,
        reason=reason,
        plan=plan_repair(request, facts, now, archived=request.raw),
        facts=facts,
        written=False,
    )


def _gather(edges: Edges, stored: Stored, now: datetime, *, until: datetime) -> _Case:
    request = parse_request(stored.document)
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
    archived = _find_archived(edges, request)
    return _Case(stored, request, query, facts, archived, is_backed_off=backed_off_until is not None)


def _find_archived(edges: Edges, request: Request) -> Stored | None:
    """The archived copy, read only where the repair may have to renew it. One that cannot be read is none here: it
    must not keep the active document from being repaired, and writing over it is refused when it comes to that."""
    if WorkflowKind.DESTROY not in request.runs.keys() | request.triggers.keys():
        return None
    try:
        return edges.documents.find_archived(request.id)
    except DocumentError:
        return None


def _check_learned(edges: Edges, case: _Case, now: datetime, *, mode: SyncMode, dry_run: bool) -> None:
    """Raises where a REPAIR learned nothing at all. How long GitHub asked us to wait is remembered first."""
    if mode is SyncMode.AUTO or learned_anything(case.facts):
        return
    if not dry_run:
        _remember(edges, case, now)
    raise _nothing_learned(case)


def _nothing_learned(case: _Case) -> GitHubError:
    outcomes = ", ".join(f"{name}: {a.outcome.value}" for name, a in case.facts.answers().items() if a.detail)
    message = f"GitHub told nothing about {case.request.id} ({outcomes or 'nothing was asked'}). Nothing was changed."
    wait = longest_wait(case.facts)
    if wait is not None:
        return RateLimitedError(message, "Try again when GitHub's limit is over.", retry_after=wait)
    return GitHubError(message, "Check GitHub and the token with `python -m tfpilot doctor`, then try again.")


def _plan(case: _Case, now: datetime) -> RepairPlan:
    archived = case.archived.document if case.archived else None
    return plan_repair(case.request, case.facts, now, archived=archived)


def _apply(edges: Edges, case: _Case, *, mode: SyncMode, operator: Operator, now: datetime) -> SyncResult:
    written, plan = False, _plan(case, now)
    if plan.changes:
        case, plan, written = _write(edges, case, now)
        _check_learned(edges, case, now, mode=mode, dry_run=False)
    archived, notices = _archive(edges, case, plan)
    if written:
        edges.snapshots.note(case.request.id, case.stored)
    if written or archived:
        notices += _record(edges, plan, archived=archived, mode=mode, operator=operator, now=now)
    notices += _remember(edges, case, now)
    result = _result(case, now, plan, mode=mode, dry_run=False, written=written)
    return replace(result, archived=archived, notices=tuple(notices))


def _write(edges: Edges, case: _Case, now: datetime) -> tuple[_Case, RepairPlan, bool]:
    """Stores the planned document; a lost race is read and planned again. With other questions to ask, GitHub is asked
    again: the old answers are about something the document no longer says."""
    for _ in range(MAX_TRIES):
        plan = _plan(case, now)
        if not plan.changes:
            return case, plan, False
        document = next_version(case.stored.document, plan.changes, now)
        try:
            etag = edges.documents.put(case.request.id, document, if_match=case.stored.etag)
        except ConflictError:
            case = _read_again(edges, case, now)
            continue
        return replace(case, stored=Stored(document, etag), request=parse_request(document)), plan, True
    raise ConflictError(
        f"Other writers changed {case.request.id} {MAX_TRIES} times while it was being repaired. Nothing was changed.",
        "Try again in a moment.",
    )


def _read_again(edges: Edges, case: _Case, now: datetime) -> _Case:
    stored = _read(edges, case.request.id)
    request = parse_request(stored.document)
    if plan_query(request, now) != case.query:
        return _gather(edges, stored, now, until=now + DEADLINE)
    return replace(case, stored=stored, request=request)


def _archive(edges: Edges, case: _Case, plan: RepairPlan) -> tuple[bool, list[str]]:
    """Brings the archived copy of a destroyed request to its final document; an older copy is kept first.

    Answers whether it was written, and what went wrong.
    """
    if not plan.steps:
        return False, []
    try:
        for _ in range(MAX_TRIES):
            written = _try_archive(edges, case.request.id, case.stored.document)
            if written is not None:
                return written, []
    except (StorageError, DocumentError) as error:
        return False, [f"The final copy in history/ was not written: {error.message}"]
    return False, ["The final copy in history/ was not written: other writers kept changing it. Repair again."]


def _try_archive(edges: Edges, request_id: str, document: JsonObject) -> bool | None:
    """Whether the copy was written or is there already; None where somebody else wrote first."""
    archived = edges.documents.find_archived(request_id)
    if archived is not None and archived.document == document:
        return False
    if archived is not None:
        edges.documents.keep_archived(request_id, archived)
    try:
        edges.documents.put_archived(request_id, document, if_match=archived.etag if archived else None)
    except ConflictError:
        return None
    return True


def _record(
    edges: Edges, plan: RepairPlan, *, archived: bool, mode: SyncMode, operator: Operator, now: datetime
) -> list[str]:
    """One line in the request's history for a write that happened."""
    event = LifecycleEvent(
        at=now,
        request_id=plan.request_id,
        event="request_repaired" if mode is SyncMode.REPAIR else "request_synced",
        actor=operator.login,
        source="ops-portal",
        data={
            "fields": [change.dotted for change in plan.changes],
            "statusBefore": plan.status_before.value,
            "statusAfter": plan.status_after.value,
            "archivedCopy": archived,
        },
    )
    try:
        edges.events.append(event)
    except StorageError as error:
        return [f"The line in the request's history was not written: {error.message}"]
    return []


def _remember(edges: Edges, case: _Case, now: datetime) -> list[str]:
    """Keeps GitHub's answer, and how long it asked us to wait, for the next question."""
    if case.is_backed_off:
        return []
    wait = longest_wait(case.facts)
    try:
        if wait is not None:
            edges.backoffs.put(case.query.repo, until=now + wait, now=now, reason="github_rate_limited")
        edges.checked.put(case.request.id, _memo(edges, case, now))
    except StorageError as error:
        return [f"When GitHub was asked could not be remembered: {error.message}"]
    return []


def _memo(edges: Edges, case: _Case, now: datetime) -> Checked:
    """GitHub's answer; where it told nothing, the answer before it with the time of the vain try."""
    known = edges.checked.find(case.request.id)
    if not learned_anything(case.facts):
        return replace(known or Checked(at=NEVER), tried_at=now)
    outcomes = {name: answer.outcome.value for name, answer in case.facts.answers().items()}
    jobs = {kind: answer.value for kind, answer in case.facts.jobs.items() if answer.value is not None}
    # What was once learned of a run's jobs stays: a diagnosis looks at the run id and the attempt.
    return Checked(at=now, facts=outcomes, jobs={**(known.jobs if known else {}), **jobs})


def _result(
    case: _Case, now: datetime, plan: RepairPlan, *, mode: SyncMode, dry_run: bool, written: bool
) -> SyncResult:
    return SyncResult(
        request=case.request,
        explanation=explain(case.request, now),
        mode=mode,
        dry_run=dry_run,
        asked=True,
        reason="",
        plan=plan,
        facts=case.facts,
        written=written,
        degraded=is_degraded(case.facts),
        retry_after=longest_wait(case.facts),
    )
