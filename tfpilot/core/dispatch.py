"""Dispatching a workflow for a request: who is eligible, what is asked of GitHub, and whose run it became (SPEC §6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tfpilot.core.correlation import bare_branch, find_other_owner, names_request, request_of_branch
from tfpilot.core.document import format_time
from tfpilot.core.facts import TRIGGER_TOLERANCE
from tfpilot.core.lifecycle import derive_status, is_destroy_stale, is_destroy_superseded, lacks_run
from tfpilot.core.model import (
    EMPTY_CONCLUSIONS,
    LifecycleStatus,
    RepoRef,
    Request,
    RunFact,
    RunListing,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.errors import RefusedError

DISPATCH_EVENT: Final = "workflow_dispatch"
OTHERS_FORGOTTEN_AFTER: Final = timedelta(hours=24)
"""A dispatch starts its run within seconds: one that is older by a day cannot be what a run of ours belongs to."""

CHANGING: Final = (WorkflowKind.APPLY, WorkflowKind.DESTROY)
"""What changes the infrastructure: nothing is dispatched beside one of them."""
_PATH: Final = re.compile(r"(?![/-])[\w.@+-]+(?:/[\w.@+-]+)*")
_REPO_NAME: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class DispatchOrder:
    """What GitHub is asked to start: the workflow file, on which ref, with which inputs."""

    repo: RepoRef
    workflow_file: str
    ref: str
    inputs: Mapping[str, str]


class DispatchOutcome(StrEnum):
    """What one POST came to. REFUSED started nothing; UNKNOWN may have started a run."""

    STARTED = "started"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DispatchAnswer:
    """GitHub's answer to a dispatch. `at`: when it was sent, by GitHub's clock. `run_id` and `html_url` only where it
    started and GitHub named the run; `detail` is for a person."""

    outcome: DispatchOutcome
    at: datetime
    run_id: int | None = None
    html_url: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether a workflow may be dispatched for a request. `refusal` says why not, None where it may.

    `asks_github`: it may only if GitHub, asked in the same operation, says that the last destroy came to nothing.
    `lacks_run`: a dispatch of that kind is open, and its run has to be found first.
    """

    kind: WorkflowKind
    refusal: str | None
    asks_github: bool = False
    lacks_run: bool = False


class Choice(StrEnum):
    """What looking for the run of a dispatch came to. NONE: a complete list has none; INCOMPLETE: the list does not
    reach back far enough to say."""

    FOUND = "found"
    AMBIGUOUS = "ambiguous"
    NONE = "none"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class RunChoice:
    """The run that a dispatch started, or why it cannot be told. `candidates`: what a person can choose from, the
    earliest first; `reason` says, for a person, why none was taken."""

    outcome: Choice
    run: WorkflowRun | None = None
    candidates: tuple[WorkflowRun, ...] = ()
    reason: str = ""


class DispatchEnd(StrEnum):
    """How a dispatch ended. FOUND: an earlier one was open, and its run was found; nothing new was started."""

    STARTED = "started"
    FOUND = "found"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """What a dispatch came to. `candidates`: the runs a person can choose from where it is ambiguous.

    UNKNOWN: whether a run was started is not known; nothing is sent again, and a repair goes on looking. `notices` tell
    a person what went wrong beside it.
    """

    request_id: str
    kind: WorkflowKind
    end: DispatchEnd
    run_id: int | None = None
    html_url: str | None = None
    reason: str = ""
    candidates: tuple[WorkflowRun, ...] = ()
    notices: tuple[str, ...] = ()


def eligibility(request: Request, kind: WorkflowKind, now: datetime) -> Eligibility:
    """Whether that workflow may be dispatched, by the document alone."""
    if request.repo is None:
        return Eligibility(kind, "no target repository is known")
    if lacks_run(request, kind) and not _may_be_over(request, kind, now):
        return Eligibility(kind, _open_intent(request, kind), lacks_run=True)
    blocked = _why_busy(request, kind, now)
    if blocked is not None:
        return Eligibility(kind, blocked)
    refusal = _REFUSALS[kind](request, now)
    asks = kind is WorkflowKind.DESTROY and _has_destroy(request)
    return Eligibility(kind, refusal, asks_github=refusal is None and asks, lacks_run=lacks_run(request, kind))


def why_open(kind: WorkflowKind, at: datetime | None) -> str:
    """Why nothing follows a dispatch whose run is not known. `at`: when it was dispatched, None where no time is."""
    when = f" at {format_time(at)}" if at is not None else ""
    return f"{_article(kind)} was dispatched{when} and its run is not known yet"


def check_destroy_is_over(request: Request, told: RunFact | None) -> None:
    """Returns where the last destroy is known to have failed or been skipped, by what GitHub just `told` of its run.

    Raises RefusedError: a destroy without a result may still run, however old it is.
    """
    if not _has_destroy(request):
        return
    run = request.runs.get(WorkflowKind.DESTROY)
    if run is None or told is None or told.run_id != run.run_id or None in (run.conclusion, told.conclusion):
        raise RefusedError(
            f"The last destroy of {request.id} has no result that GitHub confirms, so it may still run",
            "Look at the run on GitHub. Where a complete list shows that no run exists, confirm that first.",
        )
    refusal = _why_destroy_stands(run) or _why_destroy_stands(told)
    if refusal is not None:
        raise RefusedError(f"{request.id} cannot be destroyed: {refusal}", "Look at the run on GitHub.")


def order_for(
    request: Request,
    kind: WorkflowKind,
    *,
    workflow_files: Mapping[WorkflowKind, str],
    base_branch: str,
    dry_run_kinds: Collection[WorkflowKind],
    is_prod: bool,
) -> DispatchOrder:
    """What GitHub is to be asked. Raises RefusedError for a ref that is not allowed, or inputs that cannot be sent."""
    if request.repo is None:
        raise RefusedError(f"{request.id} names no target repository", "Set it in the web app.")
    if None in (_REPO_NAME.fullmatch(request.repo.owner), _REPO_NAME.fullmatch(request.repo.name)):
        raise RefusedError(f"{str(request.repo)[:200]!r} cannot be the repository of {request.id}", "Correct it there.")
    if not request.environment:
        raise RefusedError(f"{request.id} names no environment", "Set it in the web app.")
    inputs = {"request_id": request.id, "environment": request.environment}
    if kind in dry_run_kinds:
        inputs["dry_run"] = "false"
    if kind is WorkflowKind.CLEANUP:
        inputs |= _cleanup_inputs(request, base_branch=base_branch, is_prod=is_prod)
    ref = _plan_ref(request) if kind is WorkflowKind.PLAN else _base_ref(request, base_branch)
    return DispatchOrder(request.repo, workflow_files[kind], ref, inputs)


def choose_run(
    request_id: str,
    listing: RunListing,
    *,
    ref: str,
    since: datetime,
    login: str | None,
    owner_of: Callable[[WorkflowRun], str | None],
    others_open: Collection[str],
) -> RunChoice:
    """The run that a dispatch at `since` (GitHub's clock) on `ref` started.

    A run that is the request's already, by the index, wins, then one that names the request; otherwise the earliest
    that `login` dispatched and that has no owner, while no other dispatch (`others_open`: of which requests) is open
    there; else a person has to choose. `login` None: somebody else dispatched it, so only the name can tell.
    """
    recent = [run for run in listing.runs if run.branch == ref and _is_since(run, since)]
    concerned = [run for run in sorted(recent, key=age_order) if _concerns(run, request_id)]
    free = [(run, owner) for run in concerned if (owner := owner_of(run)) in (None, request_id)]
    own = [run for run, owner in free if owner == request_id]
    named = [run for run, _ in free if _is_named(run, request_id)]
    if own or named:
        return RunChoice(Choice.FOUND, min(own or named, key=lambda run: (run.actor != login, age_order(run))))
    candidates = tuple(run for run, _ in free if _is_dispatched_by(run, login))
    if not candidates:
        outcome = Choice.NONE if listing.complete else Choice.INCOMPLETE
        return RunChoice(outcome, reason=f"no run on {ref} since {format_time(since)} can be this dispatch's")
    reason = _why_ambiguous(listing, login, others_open)
    if reason is not None:
        return RunChoice(Choice.AMBIGUOUS, candidates=candidates, reason=reason)
    return RunChoice(Choice.FOUND, candidates[0])


def _why_ambiguous(listing: RunListing, login: str | None, others_open: Collection[str]) -> str | None:
    """Why a run that names nobody may not be taken by itself; None where it may."""
    if login is None:
        return "another application dispatched it, and no run names the request"
    if others_open:
        return f"no run names its request, and {', '.join(sorted(others_open))} may be waiting for the same one"
    return None if listing.complete else "no run names its request, and the list does not reach back to the dispatch"


def _is_since(run: WorkflowRun, since: datetime) -> bool:
    return run.fact.created_at is not None and run.fact.created_at >= since - TRIGGER_TOLERANCE


def _concerns(run: WorkflowRun, request_id: str) -> bool:
    """Whether the run names this request, or was dispatched and names nobody: only then is its owner of interest."""
    is_others = find_other_owner(branch=run.branch, title=run.title, request_id=request_id) is not None
    return not is_others and (run.event == DISPATCH_EVENT or _is_named(run, request_id))


def _is_named(run: WorkflowRun, request_id: str) -> bool:
    return names_request(run.branch, request_id) or names_request(run.title, request_id)


def _is_dispatched_by(run: WorkflowRun, login: str | None) -> bool:
    is_by = login is None or (run.actor or "").casefold() == login.casefold()
    return is_by and run.event == DISPATCH_EVENT


def age_order(run: WorkflowRun) -> tuple[float, int]:
    """Sorts runs by when they were created, the earliest first, and in the same second as GitHub counts them."""
    created_at = run.fact.created_at
    return (created_at.timestamp() if created_at else 0.0, run.fact.run_id or 0)


def _has_destroy(request: Request) -> bool:
    known = request.runs.keys() | request.triggers.keys()
    return WorkflowKind.DESTROY in known and not is_destroy_superseded(request)


def _may_be_over(request: Request, kind: WorkflowKind, now: datetime) -> bool:
    """A destroy that outlived its time may have failed: only GitHub can tell."""
    return kind is WorkflowKind.DESTROY and is_destroy_stale(request, now)


def _why_busy(request: Request, kind: WorkflowKind, now: datetime) -> str | None:
    """The apply, destroy or run of the same kind that is still active; None where nothing is."""
    for other in dict.fromkeys((*CHANGING, kind)):
        run = request.runs.get(other)
        if other is kind and _may_be_over(request, other, now):
            continue
        if run is not None and run.run_id is not None and _may_run(run, other):
            return _waits(other) if run.is_waiting_for_person else f"{_article(other)} run is not over"
        if other is not kind and lacks_run(request, other) and not _is_left_behind(request, other):
            return _open_intent(request, other)
    return None


def _may_run(run: RunFact, kind: WorkflowKind) -> bool:
    """Whether the run may still do something. An apply or destroy does while it has no result, whatever its status says
    and however many came after it."""
    return run.is_active or run.is_waiting_for_person or (kind in CHANGING and run.conclusion is None)


def _is_left_behind(request: Request, kind: WorkflowKind) -> bool:
    """Whether it is a destroy that an apply came after."""
    return kind is WorkflowKind.DESTROY and is_destroy_superseded(request)


def _why_not_plan(request: Request, _now: datetime) -> str | None:
    if request.pull is None or not request.pull.is_open:
        return "the PR is not open"
    return None if request.branch else "no branch is stored"


def _why_not_apply(request: Request, now: datetime) -> str | None:
    if not (request.pull is not None and request.pull.merged) and request.merged_sha is None:
        return "the PR is not merged"
    if derive_status(request, now) is LifecycleStatus.APPLIED:
        return "the request is applied already"
    return _why_gone(request)


def _why_not_destroy(request: Request, now: datetime) -> str | None:
    run = request.runs.get(WorkflowKind.DESTROY)
    if _has_destroy(request):
        if _may_be_over(request, WorkflowKind.DESTROY, now) or run is None:
            return None
        return _why_destroy_stands(run)
    applied = request.runs.get(WorkflowKind.APPLY)
    if applied is not None and (applied.is_success or applied.is_failed):
        return None
    return "the request is not applied"


def _why_destroy_stands(run: RunFact) -> str | None:
    """Why a destroy that ended forbids another; None where it failed or did nothing."""
    if run.is_success:
        return "the request is destroyed already"
    if run.is_waiting_for_person:
        return _waits(WorkflowKind.DESTROY)
    if run.is_failed or run.conclusion in EMPTY_CONCLUSIONS:
        return None
    return f"the last destroy ended with {run.conclusion}, which this portal does not know"


def _why_not_cleanup(request: Request, now: datetime) -> str | None:
    if derive_status(request, now) is not LifecycleStatus.DESTROYED:
        return "the request is not destroyed"
    return "the cleanup PR is merged already" if _why_gone(request) else None


def _why_gone(request: Request) -> str | None:
    merged = request.cleanup_pull is not None and request.cleanup_pull.merged
    return "the request was destroyed and its cleanup PR is merged" if merged else None


def _why_not_drift(request: Request, now: datetime) -> str | None:
    return None if derive_status(request, now) is LifecycleStatus.APPLIED else "the request is not applied"


_REFUSALS: Final[Mapping[WorkflowKind, Callable[[Request, datetime], str | None]]] = {
    WorkflowKind.PLAN: _why_not_plan,
    WorkflowKind.APPLY: _why_not_apply,
    WorkflowKind.DESTROY: _why_not_destroy,
    WorkflowKind.CLEANUP: _why_not_cleanup,
    WorkflowKind.DRIFT_PLAN: _why_not_drift,
}


def _open_intent(request: Request, kind: WorkflowKind) -> str:
    trigger = request.triggers.get(kind)
    return why_open(kind, trigger.at if trigger is not None else None)


def _article(kind: WorkflowKind) -> str:
    word = kind.value.replace("_", " ")
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _waits(kind: WorkflowKind) -> str:
    return f"{_article(kind)} run waits for a person's approval on GitHub"


def _plan_ref(request: Request) -> str:
    branch = bare_branch(request.branch)
    is_own = request_of_branch(branch) == request.id and not branch.startswith("cleanup/")
    if not is_own:
        raise RefusedError(
            f"{request.id} cannot be planned on branch {branch!r}, which is not its own",
            f"A plan runs on request/{request.id} or update/{request.id}/rev-N: correct branchName in the document.",
        )
    return branch


def _base_ref(request: Request, base_branch: str) -> str:
    if request.base_branch not in (None, base_branch):
        raise RefusedError(
            f"{request.id} is merged into {request.base_branch!r}, where no workflow may be dispatched",
            f"Only {base_branch} is allowed: GITHUB_DEFAULT_BASE_BRANCH.",
        )
    return base_branch


def _cleanup_inputs(request: Request, *, base_branch: str, is_prod: bool) -> Mapping[str, str]:
    files, folder = request.raw.get("targetFiles"), request.raw.get("targetEnvPath")
    paths = files if isinstance(files, list) else []
    strange = [path for path in (*paths, folder) if not isinstance(path, str) or _PATH.fullmatch(path) is None]
    strange += [path for path in (*paths, folder) if isinstance(path, str) and ".." in path.split("/")]
    if strange or not paths:
        what = f"{str(strange[0])[:80]!r} is no path in a repository" if strange else "targetFiles names no file"
        raise RefusedError(f"{request.id} cannot be cleaned up: {what}", "Correct targetFiles and targetEnvPath.")
    return {
        "target_base": base_branch,
        "cleanup_paths": ",".join(paths),
        "target_env_path": str(folder),
        "auto_merge": "false" if is_prod else "true",
    }
