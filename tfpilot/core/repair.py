"""What to ask GitHub about a request, and what its answers change in the document (SPEC §4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from tfpilot.core.approval import weigh
from tfpilot.core.document import apply_changes, field_at, format_time, parse_time
from tfpilot.core.facts import newest_run
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import (
    ABSENT,
    Answer,
    ArchiveCopy,
    FactOutcome,
    FactsQuery,
    FieldChange,
    GitHubFacts,
    JsonObject,
    LifecycleStatus,
    PullFact,
    RepairPlan,
    RepairStep,
    Request,
    Review,
    RunFact,
    RunQuestion,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.request import LEGACY_RUNS, canonical_run, parse_request

INTERRUPTED: Final = frozenset({"cancelled", "timed_out"})
_RUN_FIELDS: Final = {
    "run_id": "runId",
    "attempt": "attempt",
    "status": "status",
    "conclusion": "conclusion",
    "head_sha": "headSha",
    "created_at": "createdAt",
    "run_started_at": "runStartedAt",
    "updated_at": "updatedAt",
    "url": "url",
    "html_url": "htmlUrl",
}
_PULL_FIELDS: Final = {
    "number": "number",
    "url": "url",
    "open": "open",
    "merged": "merged",
    "merged_at": "mergedAt",
    "merge_commit_sha": "mergeCommitSha",
    "head_sha": "headSha",
}
_CLEANUP_FIELDS: Final = {"number": "number", "url": "url", "merged": "merged", "head_branch": "headBranch"}


def plan_query(request: Request, now: datetime) -> FactsQuery | None:
    """What to ask GitHub: the PR, its reviews, the cleanup PR and the runs that exist or should. None without a repository.

    A run without a known id is looked for by the request's name. The plan starts with a push, so every request with a
    branch has one; apply and destroy only where they were dispatched; cleanup after a destroy; drift once applied.
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


def plan_repair(request: Request, facts: GitHubFacts, now: datetime) -> RepairPlan:
    """The fields that GitHub's answers change, and the steps beside the document.

    Facts never regress, unknown fields stay, another request's run is never taken. A fact that GitHub did not answer
    keeps its stored value. With the same answers, a second plan on the changed document is empty.
    """
    changes = _merge_changes(
        [
            *_pull_changes(request, facts.pull),
            *_approval_changes(request, facts),
            *_cleanup_pull_changes(request, facts.cleanup_pull, now),
            *(change for kind in WorkflowKind for change in _run_changes(request, kind, facts, now)),
        ]
    )
    repaired = parse_request(apply_changes(request.raw, changes))
    status = derive_status(repaired, now)
    return RepairPlan(
        request_id=request.id,
        changes=changes,
        steps=_steps(repaired, status),
        status_before=derive_status(request, now),
        status_after=status,
        crossed=tuple(
            f"{kind.value}: {answer.detail}"
            for kind, answer in facts.runs.items()
            if answer.outcome is FactOutcome.CROSSED
        ),
    )


def learned_anything(facts: GitHubFacts) -> bool:
    """Whether any answer says something about GitHub: a fact, or that there is none."""
    telling = (FactOutcome.OK, FactOutcome.NOT_FOUND, FactOutcome.CROSSED)
    return any(answer.outcome in telling for answer in facts.answers().values())


def is_degraded(facts: GitHubFacts) -> bool:
    """Whether something that was asked could not be learned."""
    telling = (FactOutcome.OK, FactOutcome.NOT_FOUND, FactOutcome.CROSSED, FactOutcome.NOT_ASKED)
    return any(answer.outcome not in telling for answer in facts.answers().values())


def _is_expected(request: Request, kind: WorkflowKind, status: LifecycleStatus) -> bool:
    if kind in request.runs or kind in request.triggers:
        return True
    if kind is WorkflowKind.PLAN:
        return request.branch is not None or request.pr_number is not None
    if kind is WorkflowKind.CLEANUP:
        return status is LifecycleStatus.DESTROYED
    return kind is WorkflowKind.DRIFT_PLAN and status is LifecycleStatus.APPLIED


def _question(request: Request, kind: WorkflowKind) -> RunQuestion:
    run, trigger = request.runs.get(kind), request.triggers.get(kind)
    run_id = run.run_id if run else None
    return RunQuestion(
        kind=kind,
        run_id=run_id,
        not_before=trigger.at if run_id is None and trigger else None,
        ask_jobs=kind in (WorkflowKind.APPLY, WorkflowKind.DESTROY),
    )


def _steps(repaired: Request, status: LifecycleStatus) -> tuple[RepairStep, ...]:
    return (ArchiveCopy(repaired.id),) if status is LifecycleStatus.DESTROYED else ()


def _run_changes(request: Request, kind: WorkflowKind, facts: GitHubFacts, now: datetime) -> Iterator[FieldChange]:
    answer = facts.runs.get(kind)
    if answer is None:
        return
    stored = request.runs.get(kind)
    if answer.outcome is FactOutcome.NOT_FOUND:
        yield from _unresolved_changes(request, kind, stored, facts, now)
    if answer.outcome is not FactOutcome.OK or answer.value is None:
        return
    learned = _run_to_store(answer.value)
    fact = newest_run(stored, learned)
    source = f"run {learned.run_id}, attempt {learned.attempt or 1}"
    yield from _field_changes(request.raw, canonical_run(kind), _stored_run(fact), source)
    legacy = LEGACY_RUNS.get(kind)
    if legacy is not None:
        yield from _field_changes(request.raw, (legacy,), _stored_run(fact), f"mirror of the {kind.value} fact")
    if request.unresolved.get(kind) is not None:
        yield from _change(
            request.raw, ("github", "unresolved", kind.value), ABSENT, "GitHub answers for the run again"
        )


def _unresolved_changes(
    request: Request, kind: WorkflowKind, stored: RunFact | None, facts: GitHubFacts, now: datetime
) -> Iterator[FieldChange]:
    """Remembers a tracked run that GitHub no longer has, where the repository answered: otherwise 404 means "no access"."""
    repository_answers = any(answer.outcome is FactOutcome.OK for answer in facts.answers().values())
    if (
        stored is None
        or stored.run_id is None
        or not repository_answers
        or request.unresolved.get(kind) == stored.run_id
    ):
        return
    memo = {"runId": stored.run_id, "at": format_time(now)}
    yield from _change(request.raw, ("github", "unresolved", kind.value), memo, f"GitHub has no run {stored.run_id}")


def _run_to_store(run: WorkflowRun) -> RunFact:
    """The fact with a link a person can open in both link fields, as the web app stores them."""
    return replace(run.fact, url=run.fact.html_url or run.fact.url)


def _stored_run(fact: RunFact) -> dict[str, Any]:
    return {name: _json_value(getattr(fact, attribute)) for attribute, name in _RUN_FIELDS.items()}


def _pull_changes(request: Request, answer: Answer[PullFact]) -> Iterator[FieldChange]:
    learned = answer.value
    if answer.outcome is not FactOutcome.OK or learned is None or learned.number is None:
        return
    stored = request.pull
    if stored is not None and stored.merged and not learned.merged and stored.number in (None, learned.number):
        learned = replace(
            learned, merged=True, open=False, merged_at=stored.merged_at, merge_commit_sha=stored.merge_commit_sha
        )
    source = f"pull request #{learned.number}"
    values = {name: _json_value(getattr(learned, attribute)) for attribute, name in _PULL_FIELDS.items()}
    yield from _field_changes(request.raw, ("github", "pr"), values, source)
    yield from _change(request.raw, ("github", "pr", "createdAt"), _json_value(learned.created_at), source)
    yield from _field_changes(request.raw, ("pr",), values, "mirror of the PR fact")
    if isinstance(request.raw.get("pullRequest"), dict):
        flags = {name: values[name] for name in ("number", "open", "merged")}
        yield from _field_changes(request.raw, ("pullRequest",), flags, "mirror of the PR fact")
    if request.pr_number is None:
        yield from _change(request.raw, ("prNumber",), learned.number, f"found by branch {learned.head_branch}")
        yield from _change(request.raw, ("prUrl",), learned.url, f"found by branch {learned.head_branch}")
    if learned.merged and learned.merge_commit_sha is not None:
        yield from _change(request.raw, ("mergedSha",), learned.merge_commit_sha, f"merge of #{learned.number}")


def _approval_changes(request: Request, facts: GitHubFacts) -> Iterator[FieldChange]:
    if facts.reviews.outcome is not FactOutcome.OK or facts.reviews.value is None:
        return
    pull = facts.pull.value
    merged = bool(request.pull and request.pull.merged) or bool(pull and pull.merged)
    verdict = weigh(request.approval, facts.reviews.value, author=pull.author if pull else None, merged=merged)
    for login, review in sorted(verdict.reviews.items()):
        name = next((known for known in request.approval.reviews if known.casefold() == login.casefold()), login)
        yield from _field_changes(
            request.raw, ("approval", "reviews", name), _stored_review(review), f"review by {login}"
        )
    if verdict.approved != request.approval.approved:
        yield from _change(request.raw, ("approval", "approved"), verdict.approved, verdict.reason)
    if verdict.approvers != request.approval.approvers:
        yield from _change(request.raw, ("approval", "approvers"), list(verdict.approvers), verdict.reason)


def _stored_review(review: Review) -> dict[str, Any]:
    return {"state": review.state.upper(), "submittedAt": _json_value(review.submitted_at)}


def _cleanup_pull_changes(request: Request, answer: Answer[PullFact], now: datetime) -> Iterator[FieldChange]:
    learned, stored = answer.value, request.cleanup_pull
    if answer.outcome is not FactOutcome.OK or learned is None or learned.number is None:
        return
    same = stored is not None and stored.number in (None, learned.number)
    merged = bool(learned.merged) or (same and stored is not None and stored.merged is True)
    source = f"cleanup pull request #{learned.number}"
    values = {name: _json_value(getattr(learned, attribute)) for attribute, name in _CLEANUP_FIELDS.items()}
    values |= {"merged": merged, "status": "open" if learned.open and not merged else "closed"}
    yield from _field_changes(request.raw, ("cleanupPr",), values, source)
    steps = [("Cleanup PR opened", learned.created_at)] + ([("Cleanup PR merged", learned.merged_at)] if merged else [])
    yield from _timeline_changes(request.raw, steps, learned.url or "", now, source)


def _timeline_changes(
    document: JsonObject, steps: Iterable[tuple[str, datetime | None]], message: str, now: datetime, source: str
) -> Iterator[FieldChange]:
    """Adds each step that the timeline does not hold yet for this pull request."""
    timeline = document.get("timeline")
    known = list(timeline) if isinstance(timeline, list) else []
    seen = {(entry.get("step"), entry.get("message")) for entry in known if isinstance(entry, dict)}
    added = [
        {"step": step, "status": "Complete", "message": message, "at": format_time(at or now)}
        for step, at in steps
        if (step, message) not in seen
    ]
    if added:
        yield from _change(document, ("timeline",), [*known, *added], source)


def _field_changes(
    document: JsonObject, path: tuple[str, ...], values: dict[str, Any], source: str
) -> Iterator[FieldChange]:
    for name, value in values.items():
        yield from _change(document, (*path, name), value, source)


def _change(document: JsonObject, path: tuple[str, ...], after: object, source: str) -> Iterator[FieldChange]:
    """The change, unless the field says the same already. What is not known is not written over nothing."""
    before = field_at(document, path)
    if _is_same(before, after) or (after is None and before is ABSENT):
        return
    yield FieldChange(path, before, after, source)


def _is_same(before: object, after: object) -> bool:
    if before is ABSENT or after is ABSENT:
        return before is after
    if type(before) is not type(after):
        return False
    at = parse_time(before)
    return before == after or (at is not None and at == parse_time(after))


def _merge_changes(changes: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    """One change per field, in order of first mention."""
    return tuple({change.path: change for change in changes}.values())


def _json_value(value: object) -> Any:
    return format_time(value) if isinstance(value, datetime) else value


def next_version(document: JsonObject, changes: Iterable[FieldChange], now: datetime) -> dict[str, Any]:
    """The document to store: changed fields, `version` up by one, `updatedAt` now."""
    changed = apply_changes(document, changes)
    changed["version"] = parse_request(document).version + 1
    changed["updatedAt"] = format_time(now)
    return changed
