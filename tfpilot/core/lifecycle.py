"""Where a request stands (SPEC §2) and whether GitHub must be asked about it (SPEC §3)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.document import format_time
from tfpilot.core.model import (
    NEVER,
    Checked,
    Explanation,
    FactUsed,
    LifecycleStatus,
    Request,
    RunFact,
    Thresholds,
    WorkflowKind,
)
from tfpilot.core.request import LEGACY_RUNS, canonical_run

STALE_AFTER: Final = timedelta(minutes=15)
ASK_AGAIN_AFTER: Final = timedelta(minutes=5)
ASK_AGAIN_WAITING_AFTER: Final = timedelta(minutes=30)
DUE_AFTER: Final = timedelta(minutes=30)
FAILED_FOR_GOOD_AFTER: Final = timedelta(days=30)

RULES: Final = {
    1: "destroy failed",
    2: "destroy succeeded",
    3: "destroy in flight",
    4: "apply failed",
    5: "plan failed",
    6: "apply active",
    7: "apply succeeded",
    8: "PR merged",
    9: "approved",
    10: "plan succeeded",
    11: "plan active, or PR open",
    12: "nothing has happened yet",
}
"""The rules of SPEC §2 by number, in the order in which they are tried."""


def derive_status(request: Request, now: datetime) -> LifecycleStatus:
    """The status that the stored facts imply at `now`."""
    return explain(request, now).status


def explain(request: Request, now: datetime) -> Explanation:
    """The status with the first rule of SPEC §2 that matches and the stored fields it used."""
    superseded = is_destroy_superseded(request)
    return _by_destroy(request, now, superseded=superseded) or _by_progress(request, superseded=superseded)


def is_destroy_superseded(request: Request) -> bool:
    """Whether an apply came after the destroy, by the latest of trigger, creation and (re-)start of each.

    Without a known time of the destroy it is not: a destroy follows its apply unless times say otherwise.
    """
    apply_at, destroy_at = latest_start(request, WorkflowKind.APPLY), latest_start(request, WorkflowKind.DESTROY)
    return apply_at is not None and destroy_at is not None and apply_at > destroy_at


def latest_start(request: Request, kind: WorkflowKind) -> datetime | None:
    """The latest readable of the trigger, creation and (re-)start time of a kind; None where none is known."""
    trigger, run = request.triggers.get(kind), request.runs.get(kind)
    times = [trigger.at if trigger else None, run.created_at if run else None, run.run_started_at if run else None]
    return max((at for at in times if at is not None), default=None)


def stale_after(request: Request) -> datetime | None:
    """The instant after which a destroy in flight is stale; None where no destroy is in flight or no time is known."""
    if not _is_destroy_in_flight(request):
        return None
    began = _destroy_began(request)
    return None if began is None else began + STALE_AFTER


def is_destroy_stale(request: Request, now: datetime) -> bool:
    """Whether a destroy is in flight for more than 15 minutes, with or without a known run id.

    With a trigger time that cannot be read and no creation time it counts as stale at once.
    """
    if not _is_destroy_in_flight(request) or is_destroy_superseded(request):
        return False
    deadline = stale_after(request)
    if deadline is None:
        return WorkflowKind.DESTROY in request.triggers
    return now > deadline


def is_destroy_failed(request: Request) -> bool:
    """Whether the destroy that counts has concluded without success (rule 1)."""
    run = request.runs.get(WorkflowKind.DESTROY)
    return run is not None and run.is_failed and not is_destroy_superseded(request)


def is_abandoned(request: Request) -> bool:
    """The PR was closed without a merge before anything was applied or destroyed."""
    touched = {WorkflowKind.APPLY, WorkflowKind.DESTROY} & (request.runs.keys() | request.triggers.keys())
    closed = request.pull is not None and request.pull.is_closed_unmerged
    return closed and request.merged_sha is None and not touched


def lacks_run(request: Request, kind: WorkflowKind) -> bool:
    """Whether a dispatch of that kind has neither a run id nor a conclusion: its run is not known yet."""
    run = request.runs.get(kind)
    if run is None:
        return kind in request.triggers
    return run.run_id is None and run.conclusion is None


def stuck_after(request: Request, kind: WorkflowKind, thresholds: Thresholds) -> datetime | None:
    """The instant after which an active plan or apply run counts as stuck; None where it never does by age.

    Counted from the latest readable of its trigger time, creation and (re-)start; with none of them, its last update.
    """
    run = request.runs.get(kind)
    if run is None or not run.is_active:
        return None
    began = latest_start(request, kind) or run.updated_at
    limit = thresholds.planning if kind is WorkflowKind.PLAN else thresholds.applying
    return None if began is None else began + limit


def needs_repair(
    request: Request, now: datetime, thresholds: Thresholds, *, settled: frozenset[WorkflowKind] = frozenset()
) -> bool:
    """Whether GitHub must be asked, because the document alone cannot be right (SPEC §3).

    `settled` holds the kinds whose run a person settled by hand; those, and runs that GitHub answered 404 for, are not
    asked for again.
    """
    at = repair_after(request, thresholds, settled=settled)
    return at is not None and now > at


def repair_after(
    request: Request, thresholds: Thresholds, *, settled: frozenset[WorkflowKind] = frozenset()
) -> datetime | None:
    """The instant after which the request needs repair, if nothing new is learned: NEVER where it does at once, None
    where it never will by age."""
    if request.repo is None or is_abandoned(request):
        return None
    vetoed = settled | {kind for kind in WorkflowKind if _is_unresolved(request, kind)}
    if _lacks_pull(request) or _lacks_plan(request, vetoed) or _lacks_change_run(request, vetoed):
        return NEVER
    deadlines = [
        stuck_after(request, kind, thresholds) for kind in (WorkflowKind.PLAN, WorkflowKind.APPLY) if kind not in vetoed
    ]
    if WorkflowKind.DESTROY not in vetoed:
        deadlines.append(_stale_at(request))
    return min((at for at in deadlines if at is not None), default=None)


def may_become_due(request: Request) -> bool:
    """Whether GitHub is ever asked again about a request in which nothing looks wrong."""
    return request.repo is not None and not is_abandoned(request) and not _is_settled_for_good(request, NEVER)


def is_due(request: Request, now: datetime, checked: Checked | None) -> bool:
    """Whether GitHub's last answer is old enough to ask again though nothing looks wrong: a lost merge, review or
    re-run heals without a click."""
    if request.repo is None or is_abandoned(request) or _is_settled_for_good(request, now):
        return False
    return checked is None or now - checked.at > DUE_AFTER


def may_ask_again(request: Request, now: datetime, checked: Checked | None) -> bool:
    """Whether the last question, answered or not, is long enough ago: 5 minutes, 30 where a run waits for a person."""
    if checked is None:
        return True
    waiting = any(run.is_active and run.is_waiting_for_person for run in request.runs.values())
    return now - checked.asked_at >= (ASK_AGAIN_WAITING_AFTER if waiting else ASK_AGAIN_AFTER)


def _by_destroy(request: Request, now: datetime, *, superseded: bool) -> Explanation | None:
    run = request.runs.get(WorkflowKind.DESTROY)
    if superseded:
        return None
    used = _facts_of(request, WorkflowKind.DESTROY)
    if run is not None and run.is_failed:
        return Explanation(LifecycleStatus.FAILED, 1, f"the destroy run ended with {run.conclusion}", used)
    if run is not None and run.is_success:
        return Explanation(LifecycleStatus.DESTROYED, 2, "the destroy run succeeded", used)
    if not _is_destroy_in_flight(request):
        return None
    if is_destroy_stale(request, now):
        return Explanation(
            LifecycleStatus.FAILED, 3, "the destroy has no result after 15 minutes", used, destroy_stale=True
        )
    return Explanation(LifecycleStatus.DESTROYING, 3, "a destroy is in flight", used)


def _by_progress(request: Request, *, superseded: bool) -> Explanation:
    apply_run, plan_run = (
        request.runs.get(WorkflowKind.APPLY, RunFact()),
        request.runs.get(WorkflowKind.PLAN, RunFact()),
    )
    apply_used, plan_used = _facts_of(request, WorkflowKind.APPLY), _facts_of(request, WorkflowKind.PLAN)
    merged = request.pull is not None and request.pull.merged is True
    is_open = request.pull is not None and request.pull.is_open
    candidates: tuple[tuple[bool, LifecycleStatus, int, str, tuple[FactUsed, ...]], ...] = (
        (
            apply_run.is_failed,
            LifecycleStatus.FAILED,
            4,
            f"the apply run ended with {apply_run.conclusion}",
            apply_used,
        ),
        (plan_run.is_failed, LifecycleStatus.FAILED, 5, f"the plan run ended with {plan_run.conclusion}", plan_used),
        (apply_run.is_active, LifecycleStatus.APPLYING, 6, "the stored apply run is still active", apply_used),
        (apply_run.is_success, LifecycleStatus.APPLIED, 7, "the apply run succeeded", apply_used),
        (
            merged or request.merged_sha is not None,
            LifecycleStatus.MERGED,
            8,
            "the pull request is merged",
            _merge_facts(request),
        ),
        (request.approval.approved, LifecycleStatus.APPROVED, 9, "the request is approved", _approval_facts(request)),
        (plan_run.is_success, LifecycleStatus.PLAN_READY, 10, "the plan run succeeded", plan_used),
        (
            plan_run.is_active,
            LifecycleStatus.PLANNING,
            11,
            "the stored plan run is still active",
            plan_used + _pull_facts(request),
        ),
        (
            is_open,
            LifecycleStatus.PLANNING,
            11,
            "the pull request is open and no plan has a result",
            _pull_facts(request) + plan_used,
        ),
        (True, LifecycleStatus.REQUEST_CREATED, 12, "nothing has happened yet", ()),
    )
    _, status, rule, reason, used = next(candidate for candidate in candidates if candidate[0])
    return Explanation(status, rule, reason, used, destroy_superseded=superseded)


def _is_destroy_in_flight(request: Request) -> bool:
    run = request.runs.get(WorkflowKind.DESTROY)
    if run is not None and run.conclusion is not None:
        return False
    return WorkflowKind.DESTROY in request.triggers or (run is not None and run.is_active)


def _destroy_began(request: Request) -> datetime | None:
    run, trigger = request.runs.get(WorkflowKind.DESTROY), request.triggers.get(WorkflowKind.DESTROY)
    began = trigger.at if trigger else None
    if began is None and trigger is not None and run is not None:
        began = run.created_at
    if began is not None and run is not None and (run.attempt or 1) > 1 and run.run_started_at is not None:
        return max(began, run.run_started_at)
    return began


def _lacks_pull(request: Request) -> bool:
    return request.pr_number is None and (request.branch is not None or request.merged_sha is not None)


def _lacks_plan(request: Request, vetoed: frozenset[WorkflowKind]) -> bool:
    has_pull = request.pr_number is not None or request.pull is not None
    return has_pull and WorkflowKind.PLAN not in request.runs and WorkflowKind.PLAN not in vetoed


def _lacks_change_run(request: Request, vetoed: frozenset[WorkflowKind]) -> bool:
    """Whether an apply or a destroy was triggered of which neither run id nor conclusion is known."""
    kinds = {WorkflowKind.APPLY, WorkflowKind.DESTROY} - vetoed
    return any(kind in request.triggers and lacks_run(request, kind) for kind in kinds)


def _stale_at(request: Request) -> datetime | None:
    """The instant after which a destroy in flight is stale; NEVER where it is without any readable time."""
    if is_destroy_superseded(request):
        return None
    return stale_after(request) or (NEVER if is_destroy_stale(request, NEVER) else None)


def _is_unresolved(request: Request, kind: WorkflowKind) -> bool:
    run = request.runs.get(kind)
    return run is not None and run.run_id is not None and request.unresolved.get(kind) == run.run_id


def _is_settled_for_good(request: Request, now: datetime) -> bool:
    status = derive_status(request, now)
    if status is LifecycleStatus.APPLIED:
        return True
    if status is LifecycleStatus.DESTROYED:
        cleanup = request.cleanup_pull
        return cleanup is not None and (cleanup.merged is True or cleanup.open is False)
    return status is LifecycleStatus.FAILED and _failed_for_long(request, now)


def _failed_for_long(request: Request, now: datetime) -> bool:
    times = [
        at
        for run in request.runs.values()
        if run.is_failed
        for at in (run.updated_at, run.created_at)
        if at is not None
    ]
    failed_at = max(times, default=request.updated_at)
    return failed_at is not None and now - failed_at > FAILED_FOR_GOOD_AFTER


def _facts_of(request: Request, kind: WorkflowKind) -> tuple[FactUsed, ...]:
    used: list[FactUsed] = []
    for path in (".".join(canonical_run(kind)), LEGACY_RUNS.get(kind, "")):
        stored = request.stored_runs.get(path)
        if stored is not None:
            fields = {
                "runId": stored.run_id,
                "attempt": stored.attempt,
                "status": stored.status,
                "conclusion": stored.conclusion,
            }
            used += [FactUsed(f"{path}.{name}", str(value)) for name, value in fields.items() if value is not None]
    trigger = request.triggers.get(kind)
    if trigger is not None:
        used.append(FactUsed(trigger.path, format_time(trigger.at) if trigger.at else "not a time"))
    return tuple(used)


def _pull_facts(request: Request) -> tuple[FactUsed, ...]:
    return tuple(_flags(request, "open"))


def _merge_facts(request: Request) -> tuple[FactUsed, ...]:
    merged_sha = [FactUsed("mergedSha", request.merged_sha)] if request.merged_sha else []
    return (*_flags(request, "merged"), *merged_sha)


def _flags(request: Request, name: str) -> Iterable[FactUsed]:
    for path, pull in request.stored_pulls.items():
        value = pull.open if name == "open" else pull.merged
        if value is not None and pull.number in (None, request.pr_number):
            yield FactUsed(f"{path}.{name}", str(value).lower())


def _approval_facts(request: Request) -> tuple[FactUsed, ...]:
    named = ", ".join(request.approval.approvers)
    return (FactUsed("approval.approved", "true"), *([FactUsed("approval.approvers", named)] if named else []))
