"""Whether a workflow run may change a request: the guard of SPEC §6, and one run fact applied under it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from tfpilot.core.changes import find_obstacle, run_changes
from tfpilot.core.correlation import bare_branch, named_requests, request_of_branch
from tfpilot.core.dispatch import OTHERS_FORGOTTEN_AFTER
from tfpilot.core.document import apply_changes, format_time
from tfpilot.core.facts import TRIGGER_TOLERANCE
from tfpilot.core.model import FieldChange, JsonObject, RepoRef, Request, RunFact, WorkflowKind, WorkflowRun
from tfpilot.core.request import is_of_older_revision, parse_request, revision_began

_FOLLOWED: Final = frozenset({WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN})
"""Kinds whose newer run replaces the tracked one: others start them too, and nobody tracks those at dispatch."""


class Guarded(StrEnum):
    """What the guard says of a run. TRACKED: the request names this run. NEW: it knows none yet. REPLACES: a newer one
    than the request knows. The last two take a claim of the run before anything is written. FOREIGN: not the
    request's."""

    TRACKED = "tracked"
    NEW = "new"
    REPLACES = "replaces"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The guard's answer and, for a person, why."""

    guarded: Guarded
    reason: str

    @property
    def is_ours(self) -> bool:
        return self.guarded is not Guarded.FOREIGN

    @property
    def needs_claim(self) -> bool:
        return self.guarded in (Guarded.NEW, Guarded.REPLACES)


def guard_run(request: Request, kind: WorkflowKind, run: WorkflowRun, *, owner: str | None) -> Verdict:
    """Whether the run may change the request. `owner` is the request that the run index gives it to, None if nobody.

    A run of another request never may, whatever its branch or title says.
    """
    run_id, tracked = run.fact.run_id, request.runs.get(kind)
    if run_id is None:
        return _foreign("it has no run id")
    if owner is not None and owner != request.id:
        return _foreign(f"the run index gives run {run_id} to {owner}")
    if tracked is not None and tracked.run_id == run_id:
        return Verdict(Guarded.TRACKED, f"run {run_id} is the {kind.value} run of {request.id}")
    why_not = _why_not_correlated(request, kind, run, is_indexed=owner is not None)
    if why_not is not None:
        return _foreign(why_not)
    if tracked is not None and tracked.run_id is not None:
        return _against_tracked(request, kind, run, tracked)
    return _against_intent(request, kind, run)


def guarded_changes(
    request: Request, kind: WorkflowKind, run: WorkflowRun, verdict: Verdict
) -> tuple[FieldChange, ...]:
    """The fields that the run changes; none where the guard refuses it, or it says nothing new. A field whose writing
    would lose what stands in its way is left as it is."""
    if not verdict.is_ours:
        return ()
    changes = run_changes(request, kind, run.fact, replacing=verdict.guarded is Guarded.REPLACES)
    return tuple(change for change in changes if find_obstacle(request.raw, change) is None)


def patch_workflow_run(
    document: JsonObject, kind: WorkflowKind, run: WorkflowRun, *, owner: str | None = None
) -> JsonObject:
    """The document with what the run says, under the guard; the very same object where nothing changes.

    Facts never regress, and unknown fields stay. `owner` is the request that the run index gives the run to. Whoever
    stores the result claims the run first, unless the document tracks it already, and counts the version up.
    """
    request = parse_request(document)
    changes = guarded_changes(request, kind, run, guard_run(request, kind, run, owner=owner))
    return apply_changes(document, changes) if changes else document


def requests_named_by(run: WorkflowRun) -> tuple[str, ...]:
    """The request ids that the run's branch, title and name hold, in the order in which they count."""
    by_branch = request_of_branch(run.branch)
    found = ([by_branch] if by_branch else []) + [*named_requests(run.title), *named_requests(run.name)]
    return tuple(dict.fromkeys(found))


def is_same_repo(repo: RepoRef | None, other: RepoRef | None) -> bool:
    """Whether both are known and the same; GitHub's names are case-insensitive."""
    return repo is not None and other is not None and str(repo).casefold() == str(other).casefold()


def can_have_started(dispatched_at: datetime | None, run: WorkflowRun) -> bool:
    """Whether the run may be the one that a dispatch at that time started; unknown times tell nothing against it."""
    created_at = run.fact.created_at
    if dispatched_at is None or created_at is None:
        return True
    return dispatched_at - TRIGGER_TOLERANCE <= created_at <= dispatched_at + OTHERS_FORGOTTEN_AFTER


def is_own_branch(request: Request, branch: str | None) -> bool:
    """Whether it is the branch that the request's pull request is made from."""
    return bare_branch(branch) == bare_branch(request.branch or f"request/{request.id}")


def _why_not_correlated(request: Request, kind: WorkflowKind, run: WorkflowRun, *, is_indexed: bool) -> str | None:
    """Why a run that the request does not track is not the request's; None where it is."""
    if not is_same_repo(request.repo, run.repo):
        return f"it ran in {run.repo}, and the request is in {request.repo or 'no known repository'}"
    named = requests_named_by(run)
    by_branch = request_of_branch(run.branch)
    if not is_indexed and (by_branch or request.id) != request.id:
        return f"its branch names {by_branch}"
    if not is_indexed and request.id not in named:
        return f"neither its branch nor its title names {request.id}"
    if kind is WorkflowKind.PLAN and bare_branch(run.branch).startswith("cleanup/"):
        return "it planned the cleanup pull request, not the request's own"
    if is_of_older_revision(kind, run.fact.created_at, revision_began(request)):
        return "it is older than the request's pull request"
    return None


def _against_tracked(request: Request, kind: WorkflowKind, run: WorkflowRun, tracked: RunFact) -> Verdict:
    is_followed = kind in _FOLLOWED or (kind is WorkflowKind.PLAN and is_own_branch(request, run.branch))
    if not is_followed:
        return _foreign(f"the request tracks {kind.value} run {tracked.run_id}")
    if not _is_newer(run.fact, tracked):
        return _foreign(f"the request tracks {kind.value} run {tracked.run_id}, which is newer")
    return Verdict(Guarded.REPLACES, f"run {run.fact.run_id} is newer than {kind.value} run {tracked.run_id}")


def _against_intent(request: Request, kind: WorkflowKind, run: WorkflowRun) -> Verdict:
    trigger, created_at = request.triggers.get(kind), run.fact.created_at
    if trigger is not None and trigger.at is not None:
        if created_at is None:
            return _foreign(f"it does not say when it was created, and {kind.value} was dispatched")
        if created_at < trigger.at - TRIGGER_TOLERANCE:
            return _foreign(f"it is older than the dispatch at {format_time(trigger.at)}")
    return Verdict(Guarded.NEW, f"run {run.fact.run_id} names {request.id}, which knows no {kind.value} run")


def _is_newer(run: RunFact, tracked: RunFact) -> bool:
    """By creation; GitHub counts run ids up, so they decide within the same second and where a time is missing."""
    if run.created_at is not None and tracked.created_at is not None and run.created_at != tracked.created_at:
        return run.created_at > tracked.created_at
    return (run.run_id or 0) > (tracked.run_id or 0)


def _foreign(reason: str) -> Verdict:
    return Verdict(Guarded.FOREIGN, reason)
