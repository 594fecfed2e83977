"""What to ask GitHub about a request, and what its answers come to: the repair plan (SPEC §4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from tfpilot.core.changes import (
    approval_changes,
    cleanup_pull_changes,
    find_obstacle,
    pull_changes,
    run_changes,
    unresolved_changes,
)
from tfpilot.core.document import apply_changes, format_time, number_of
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import (
    Answer,
    ArchiveCopy,
    FactOutcome,
    FactsQuery,
    FieldChange,
    GitHubFacts,
    IndexBackfill,
    JsonObject,
    LifecycleStatus,
    RepairPlan,
    RepairStep,
    Request,
    RunFact,
    RunQuestion,
    WorkflowKind,
)
from tfpilot.core.request import canonical_run, parse_request, revision_began
from tfpilot.core.run_index import LIFETIME

_TELLING: Final = frozenset({FactOutcome.OK, FactOutcome.NOT_FOUND, FactOutcome.CROSSED, FactOutcome.AMBIGUOUS})
"""Outcomes that say something about GitHub, and not only about reaching it."""


FOLLOWED: Final = frozenset({WorkflowKind.PLAN, WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN})
"""Kinds whose runs others start too (a push, another application), so that a newer one takes the known one's place."""


def plan_query(request: Request, now: datetime) -> FactsQuery | None:
    """What to ask GitHub: the PR, its reviews, the cleanup PR and the runs that exist or should. None if no repository.

    A run without a known id is looked for by the request's name. The plan starts with a push, so every request with a
    branch has one; apply and destroy only where they were dispatched; cleanup beside a destroy, and drift beside an
    apply until it is destroyed. Not only after they succeeded: the repair that learns of that leaves nothing to the
    next one.
    """
    if request.repo is None:
        return None
    status = derive_status(request, now)
    return FactsQuery(
        request_id=request.id,
        repo=request.repo,
        pr_number=request.pr_number,
        branch=request.branch or f"request/{request.id}",
        cleanup_branch=f"cleanup/{request.id}",
        runs=tuple(_question(request, kind) for kind in WorkflowKind if _is_expected(request, kind, status)),
    )


def asks_the_same(query: FactsQuery | None, other: FactsQuery) -> bool:
    """Whether answers to one query hold for the other: it is about the same pull request and the same runs, whatever
    else became known of them."""
    return query is not None and _without_times(query) == _without_times(other)


def _without_times(query: FactsQuery) -> FactsQuery:
    return replace(query, runs=tuple(replace(each, not_before=None) if each.or_newer else each for each in query.runs))


def plan_repair(
    request: Request,
    facts: GitHubFacts,
    now: datetime,
    *,
    archived: JsonObject | None = None,
    restored: Iterable[FieldChange] = (),
) -> RepairPlan:
    """The fields that GitHub's answers change, and the steps beside the document.

    Facts never regress, unknown fields stay, another request's run is never taken. A fact that GitHub did not answer
    keeps its stored value. With the same answers, a second plan on the changed document is empty. `archived` is the
    copy in `history/`, None where there is none. `restored` is what was put back into `request` before: it belongs to
    the plan too. A field whose writing would lose something is left out and said.
    """
    wanted = _merged(restored, _changes(request, facts, now))
    in_the_way = [(change, find_obstacle(request.raw, change)) for change in wanted]
    changes = tuple(change for change, obstacle in in_the_way if obstacle is None)
    repaired = parse_request(apply_changes(request.raw, changes))
    status = derive_status(repaired, now)
    return RepairPlan(
        request_id=request.id,
        changes=changes,
        steps=_steps(request, status, changes, archived),
        status_before=derive_status(request, now),
        status_after=status,
        obstacles=tuple(dict.fromkeys(obstacle for _, obstacle in in_the_way if obstacle is not None)),
        crossed=tuple(
            f"{name}: {answer.detail}"
            for name, answer in facts.answers().items()
            if answer.outcome is FactOutcome.CROSSED
        ),
    )


def repaired(request: Request, plan: RepairPlan) -> Request:
    """The request as the plan makes it."""
    return parse_request(apply_changes(request.raw, plan.changes))


def found_runs(plan: RepairPlan) -> tuple[tuple[WorkflowKind, int], ...]:
    """The runs that the plan makes the request's."""
    places = {(*canonical_run(kind), "runId"): kind for kind in WorkflowKind}
    found = ((places.get(change.path), number_of(change.after)) for change in plan.changes)
    return tuple((kind, run_id) for kind, run_id in found if kind is not None and run_id is not None)


def plan_backfill(
    request: Request, owners: Mapping[WorkflowKind, str | None], now: datetime
) -> tuple[IndexBackfill, ...]:
    """The entries that the run index lacks for the runs which a repaired request tracks. `owners`: whom the index
    names for each, None where there is no entry. One that would already be expired is not written."""
    tracked = ((kind, request.runs[kind]) for kind, owner in owners.items() if owner is None)
    return tuple(
        IndexBackfill(kind, run.run_id, run.created_at)
        for kind, run in tracked
        if run.run_id is not None and run.created_at is not None and run.created_at + LIFETIME > now
    )


def _merged(restored: Iterable[FieldChange], learned: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    """One change per field, from what stands in the document to what GitHub says."""
    merged = {change.path: change for change in restored}
    for change in learned:
        before = merged[change.path].before if change.path in merged else change.before
        merged[change.path] = replace(change, before=before)
    return tuple(change for change in merged.values() if change.before != change.after)


def next_version(document: JsonObject, changes: Iterable[FieldChange], now: datetime) -> dict[str, Any]:
    """The document to store: changed fields, `version` up by one, `updatedAt` now."""
    changed = apply_changes(document, changes)
    changed["version"] = parse_request(document).version + 1
    changed["updatedAt"] = format_time(now)
    return changed


def learned_anything(facts: GitHubFacts) -> bool:
    """Whether any answer says something about GitHub: a fact, or that there is none."""
    return any(answer.outcome in _TELLING for answer in facts.answers().values())


def is_degraded(facts: GitHubFacts) -> bool:
    """Whether something that was asked could not be learned."""
    return any(answer.outcome not in _TELLING | {FactOutcome.NOT_ASKED} for answer in facts.answers().values())


def _changes(request: Request, facts: GitHubFacts, now: datetime) -> Iterator[FieldChange]:
    pull = facts.pull.value
    is_another = pull is not None and request.pr_number not in (None, pull.number)
    is_ours = not is_another and facts.pull.outcome is not FactOutcome.CROSSED
    if pull is not None:
        yield from pull_changes(request, pull)
    if facts.reviews.value is not None and is_ours:
        yield from approval_changes(request, facts.reviews.value, pull)
    if facts.cleanup_pull.value is not None:
        yield from cleanup_pull_changes(request, facts.cleanup_pull.value, now)
    for kind, answer in facts.runs.items():
        if answer.value is not None:
            fact = answer.value.fact
            yield from run_changes(request, kind, fact, replacing=_replaces(request, kind, fact))
        elif answer.outcome is FactOutcome.NOT_FOUND and _repository_answers(facts):
            yield from unresolved_changes(request, kind, now)


def _replaces(request: Request, kind: WorkflowKind, fact: RunFact) -> bool:
    """Whether a run takes the place of the tracked one: a newer one of a kind that others start too."""
    tracked = request.runs.get(kind)
    if kind not in FOLLOWED or tracked is None or tracked.run_id in (None, fact.run_id):
        return False
    return tracked.created_at is not None and fact.created_at is not None and fact.created_at > tracked.created_at


def _repository_answers(facts: GitHubFacts) -> bool:
    """Whether the repository gave any fact at all, or said that it has no cleanup pull request. If not, 404 may mean
    that the token cannot see it."""
    seen = {FactOutcome.OK, FactOutcome.CROSSED}
    is_listed = facts.cleanup_pull.outcome is FactOutcome.NOT_FOUND
    return is_listed or any(answer.outcome in seen for answer in facts.answers().values())


def _is_expected(request: Request, kind: WorkflowKind, status: LifecycleStatus) -> bool:
    known = request.runs.keys() | request.triggers.keys()
    if kind in known:
        return True
    if kind is WorkflowKind.PLAN:
        return request.branch is not None or request.pr_number is not None
    if kind is WorkflowKind.CLEANUP:
        return WorkflowKind.DESTROY in known
    is_drift = kind is WorkflowKind.DRIFT_PLAN
    return is_drift and WorkflowKind.APPLY in known and status is not LifecycleStatus.DESTROYED


def _question(request: Request, kind: WorkflowKind) -> RunQuestion:
    run, trigger = request.runs.get(kind), request.triggers.get(kind)
    ask_jobs = kind in (WorkflowKind.APPLY, WorkflowKind.DESTROY)
    if run is None or run.run_id is None:
        not_before = trigger.at if trigger else revision_began(request)
        return RunQuestion(kind, not_before=not_before, ask_jobs=ask_jobs)
    if kind in FOLLOWED:
        return RunQuestion(kind, run.run_id, not_before=run.created_at, or_newer=True)
    return RunQuestion(kind, run.run_id, ask_jobs=ask_jobs)


def _steps(
    request: Request, status: LifecycleStatus, changes: tuple[FieldChange, ...], archived: JsonObject | None
) -> tuple[RepairStep, ...]:
    is_final = status is LifecycleStatus.DESTROYED and (bool(changes) or archived != request.raw)
    return (ArchiveCopy(request.id),) if is_final else ()


def longest_wait(facts: GitHubFacts) -> timedelta | None:
    """How long GitHub asked us to wait, by the most demanding of its answers; None where none did."""
    waits = [answer.retry_after for answer in facts.answers().values() if answer.retry_after is not None]
    return max(waits, default=None)


def unanswered(query: FactsQuery, outcome: FactOutcome, detail: str, retry_after: timedelta | None) -> GitHubFacts:
    """The facts where GitHub is not asked at all: every question has the same outcome."""
    nothing: Answer[Any] = Answer(outcome, None, detail, retry_after)
    return GitHubFacts(
        pull=nothing,
        reviews=nothing,
        cleanup_pull=nothing,
        runs={question.kind: nothing for question in query.runs},
    )
