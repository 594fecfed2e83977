"""A request document read as values: both places of every fact, joined (SPEC §1). Wrong types read as absent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from tfpilot.core.document import field_at, flag_of, number_of, object_of, parse_time, text_of
from tfpilot.core.facts import current_attempt, join_pulls, join_runs
from tfpilot.core.model import (
    ABSENT,
    Approval,
    JsonObject,
    PullFact,
    RepoRef,
    Request,
    RequestLock,
    Review,
    RunFact,
    TriggerTime,
    WorkflowKind,
)

LEGACY_RUNS: Final[Mapping[WorkflowKind, str]] = {
    WorkflowKind.PLAN: "planRun",
    WorkflowKind.APPLY: "applyRun",
    WorkflowKind.DESTROY: "destroyRun",
}
"""Where the older shape keeps a run fact; cleanup and drift runs never had such a place."""

TRIGGERS: Final[Mapping[WorkflowKind, tuple[tuple[str, ...], ...]]] = {
    WorkflowKind.PLAN: (("github", "planTriggeredAt"),),
    WorkflowKind.APPLY: (("github", "applyTriggeredAt"), ("applyTriggeredAt",)),
    WorkflowKind.DESTROY: (("github", "destroyTriggeredAt"),),
    WorkflowKind.CLEANUP: (("github", "cleanupTriggeredAt"),),
    WorkflowKind.DRIFT_PLAN: (("github", "driftPlanTriggeredAt"),),
}

PULL_PLACES: Final[tuple[tuple[str, ...], ...]] = (("github", "pr"), ("pr",), ("pullRequest",))

_PULL_URL: Final = re.compile(r".*/pull/(\d{1,18})(?:[/?#].*)?", re.DOTALL)


def canonical_run(kind: WorkflowKind) -> tuple[str, ...]:
    """The path of the canonical run fact of a kind."""
    return ("github", "workflows", kind.value)


def parse_request(document: JsonObject) -> Request:
    """The request that the document holds. Never fails: what has the wrong type reads as absent."""
    pr_number = _pull_number(document)
    stored_pulls = _stored_pulls(document)
    pull = join_pulls(fact for fact in stored_pulls.values() if fact.number in (None, pr_number))
    stored_runs = _stored_runs(document)
    has_previous_pulls = bool(document.get("previousPrs")) and isinstance(document.get("previousPrs"), list)
    began = pull.created_at if pull is not None and has_previous_pulls else None
    triggers = {
        kind: trigger
        for kind, trigger in _triggers(document).items()
        if not is_of_older_revision(kind, trigger.at, began)
    }
    github = object_of(document.get("github"))
    tags = object_of(object_of(document.get("config")).get("tags"))
    merged_sha = text_of(document.get("mergedSha"))
    if has_previous_pulls and (pull is None or not pull.merged):
        merged_sha = None
    return Request(
        raw=document,
        id=text_of(document.get("id")) or "",
        version=number_of(document.get("version")) or 0,
        project=text_of(document.get("project")) or "",
        environment=text_of(document.get("environment")) or "",
        module=text_of(document.get("module")) or "",
        created_by=text_of(tags.get("tfpilot:created_by")) or "",
        repo=_repo(document),
        base_branch=text_of(document.get("targetBase")),
        branch=text_of(document.get("branchName")),
        merged_sha=merged_sha,
        stored_status=text_of(document.get("status")),
        received_at=parse_time(document.get("receivedAt")),
        updated_at=parse_time(document.get("updatedAt")),
        pr_number=pr_number,
        pull=pull,
        stored_pulls=stored_pulls,
        runs=_runs(stored_runs, triggers, began=began),
        stored_runs=stored_runs,
        triggers=triggers,
        approval=_approval(object_of(document.get("approval"))),
        has_previous_pulls=has_previous_pulls,
        cleanup_pull=parse_pull(document.get("cleanupPr")),
        cleanup_error=_cleanup_error(github),
        lock=_lock(object_of(document.get("lock"))),
        unresolved=_unresolved(object_of(github.get("unresolved"))),
    )


def revision_began(request: Request) -> datetime | None:
    """When the pull request that replaced earlier ones was opened; None where none was replaced, or it is not known."""
    return request.pull.created_at if request.has_previous_pulls and request.pull is not None else None


def is_of_older_revision(kind: WorkflowKind, at: datetime | None, began: datetime | None) -> bool:
    """Whether a plan or apply belongs to a pull request that the current one, opened at `began`, replaced; unknown
    times are current."""
    revised = kind in (WorkflowKind.PLAN, WorkflowKind.APPLY)
    return revised and at is not None and began is not None and at < began


def parse_run(value: object) -> RunFact | None:
    """The run fact in a stored object; None where nothing in it says anything."""
    stored = object_of(value)
    fact = RunFact(
        run_id=number_of(stored.get("runId")),
        attempt=number_of(stored.get("attempt")),
        status=text_of(stored.get("status")),
        conclusion=text_of(stored.get("conclusion")),
        head_sha=text_of(stored.get("headSha")),
        created_at=parse_time(stored.get("createdAt")),
        run_started_at=parse_time(stored.get("runStartedAt")),
        updated_at=parse_time(stored.get("updatedAt")),
        url=text_of(stored.get("url")),
        html_url=text_of(stored.get("htmlUrl")),
    )
    return None if fact == RunFact() else fact


def parse_pull(value: object) -> PullFact | None:
    """The pull request in a stored object; None where nothing in it says anything."""
    stored = object_of(value)
    merged_at = parse_time(stored.get("mergedAt"))
    merged = flag_of(stored.get("merged"))
    fact = PullFact(
        number=number_of(stored.get("number")),
        url=text_of(stored.get("url")),
        open=_is_open(stored),
        merged=True if merged_at is not None else merged,
        merged_at=merged_at,
        merge_commit_sha=text_of(stored.get("mergeCommitSha")),
        head_sha=text_of(stored.get("headSha")),
        head_branch=text_of(stored.get("headBranch")),
        title=text_of(stored.get("title")),
        created_at=parse_time(stored.get("createdAt")),
        updated_at=parse_time(stored.get("updatedAt")),
    )
    return None if fact == PullFact() else fact


def _runs(
    stored: Mapping[str, RunFact], triggers: Mapping[WorkflowKind, TriggerTime], *, began: datetime | None
) -> Mapping[WorkflowKind, RunFact]:
    runs: dict[WorkflowKind, RunFact] = {}
    for kind in WorkflowKind:
        canonical, legacy = stored.get(".".join(canonical_run(kind))), stored.get(LEGACY_RUNS.get(kind, ""))
        trigger = triggers.get(kind)
        intent = next((fact for fact in (canonical, legacy) if fact is not None and fact.run_id is None), None)
        joined = join_runs(canonical, legacy)
        fact = current_attempt(joined, intent=intent, triggered_at=trigger.at if trigger else None)
        if fact is not None and not is_of_older_revision(kind, fact.created_at, began):
            runs[kind] = fact
    return runs


def _stored_runs(document: JsonObject) -> Mapping[str, RunFact]:
    paths = [canonical_run(kind) for kind in WorkflowKind] + [(name,) for name in LEGACY_RUNS.values()]
    found = {".".join(path): parse_run(field_at(document, path)) for path in paths}
    return {path: fact for path, fact in found.items() if fact is not None}


def _stored_pulls(document: JsonObject) -> Mapping[str, PullFact]:
    found = {".".join(path): parse_pull(field_at(document, path)) for path in PULL_PLACES}
    return {path: fact for path, fact in found.items() if fact is not None}


def _triggers(document: JsonObject) -> Mapping[WorkflowKind, TriggerTime]:
    found: dict[WorkflowKind, TriggerTime] = {}
    for kind, paths in TRIGGERS.items():
        stored = [(path, field_at(document, path)) for path in paths]
        times = [
            TriggerTime(parse_time(value), ".".join(path))
            for path, value in stored
            if value not in (ABSENT, None, "", {})
        ]
        if times:
            readable = [time for time in times if time.at is not None]
            found[kind] = (
                max(readable, key=lambda time: time.at.timestamp() if time.at else 0.0) if readable else times[0]
            )
    return found


def _pull_number(document: JsonObject) -> int | None:
    candidates = (
        field_at(document, ("activePrNumber",)),
        field_at(document, ("github", "pr", "number")),
        field_at(document, ("pr", "number")),
        field_at(document, ("prNumber",)),
    )
    known = next((number for number in map(number_of, candidates) if number is not None), None)
    if known is not None:
        return known
    match = _PULL_URL.fullmatch(text_of(document.get("prUrl")) or "")
    return number_of(int(match[1])) if match else None


def _repo(document: JsonObject) -> RepoRef | None:
    owner, name = text_of(document.get("targetOwner")), text_of(document.get("targetRepo"))
    return RepoRef(owner, name) if owner and name else None


def _is_open(stored: JsonObject) -> bool | None:
    flag = flag_of(stored.get("open"))
    if flag is not None:
        return flag
    state = text_of(stored.get("state")) or text_of(stored.get("status"))
    return {"open": True, "closed": False}.get(state or "")


def _approval(stored: JsonObject) -> Approval:
    approvers = stored.get("approvers")
    named = tuple(login for login in approvers if text_of(login)) if isinstance(approvers, list) else ()
    reviews = {
        login: Review(login, state.upper(), parse_time(object_of(review).get("submittedAt")))
        for login, review in object_of(stored.get("reviews")).items()
        if login and (state := text_of(object_of(review).get("state"))) is not None
    }
    return Approval(approved=stored.get("approved") is True, approvers=named, reviews=reviews)


def _cleanup_error(github: JsonObject) -> str | None:
    if github.get("cleanupDispatchStatus") != "error":
        return None
    return text_of(github.get("cleanupDispatchLastError")) or "no reason was stored"


def _lock(stored: JsonObject) -> RequestLock | None:
    holder, operation = text_of(stored.get("holder")), text_of(stored.get("operation"))
    if holder is None or operation is None:
        return None
    return RequestLock(holder, operation, parse_time(stored.get("acquiredAt")), parse_time(stored.get("expiresAt")))


def _unresolved(stored: JsonObject) -> Mapping[WorkflowKind, int]:
    found = {kind: number_of(object_of(stored.get(kind.value)).get("runId")) for kind in WorkflowKind}
    return {kind: run_id for kind, run_id in found.items() if run_id is not None}
