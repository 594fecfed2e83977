"""What is wrong with one request, since when, and what to do (SPEC §3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from tfpilot.core.document import format_time
from tfpilot.core.lifecycle import (
    STALE_AFTER,
    derive_status,
    is_abandoned,
    is_destroy_stale,
    is_destroy_superseded,
    latest_start,
    stale_after,
    stuck_after,
)
from tfpilot.core.model import (
    ACTIVE_RUN_STATUSES,
    EMPTY_CONCLUSIONS,
    FAILED_CONCLUSIONS,
    NEVER,
    SUCCESS,
    DiagnosisContext,
    Finding,
    FindingCode,
    PullFact,
    Request,
    RunFact,
    Severity,
    Thresholds,
    WorkflowKind,
    is_drift,
)
from tfpilot.core.request import LEGACY_RUNS, canonical_run

NOT_DISPATCHED_AFTER: Final = timedelta(minutes=10)
_CRITICAL: Final = frozenset(
    {
        FindingCode.STALE_DESTROY,
        FindingCode.STATE_UNKNOWN,
        FindingCode.INDEX_CROSSED,
        FindingCode.OVERWRITTEN_FACT,
        FindingCode.UNREADABLE,
    }
)
_INFO: Final = frozenset(
    {
        FindingCode.STATUS_DRIFT,
        FindingCode.SPLIT_FACTS,
        FindingCode.INDEX_MISSING,
        FindingCode.WAITING_APPROVAL,
        FindingCode.QUEUED,
        FindingCode.NEVER_STARTED,
        FindingCode.NOTHING_DESTROYED,
        FindingCode.ABANDONED,
    }
)
STUCK_CODES: Final = frozenset({FindingCode.STALE_DESTROY, FindingCode.STUCK_PLANNING, FindingCode.STUCK_APPLYING})

_WORST_FIRST: Final = {severity: rank for rank, severity in enumerate(Severity)}
BEFORE_START: Final = frozenset({"pending", "queued"})
"""Statuses of a run that waits for its turn."""
_INTERRUPTED: Final = frozenset({"cancelled", "timed_out"})
_KNOWN_CONCLUSIONS: Final = FAILED_CONCLUSIONS | EMPTY_CONCLUSIONS | {SUCCESS}
_PREVIEW: Final = "Preview a repair: it asks GitHub and shows what it would write."
_CHOOSE: Final = "Several runs could be it: choose the right one among the candidates."


@dataclass(frozen=True, slots=True)
class _Case:
    """One request under examination."""

    request: Request
    now: datetime
    thresholds: Thresholds
    context: DiagnosisContext


def diagnose(
    request: Request, now: datetime, thresholds: Thresholds, context: DiagnosisContext | None = None
) -> tuple[Finding, ...]:
    """Every finding, worst first, then oldest. Without a context, what needs one is left out."""
    case = _Case(request, now, thresholds, context or DiagnosisContext())
    found = [finding for check in _CHECKS for finding in check(case)]
    return tuple(
        sorted(found, key=lambda finding: (_WORST_FIRST[finding.severity], finding.since or now, finding.code))
    )


def unreadable(error: str) -> Finding:
    """The finding of an object that is not a request."""
    return _finding(
        FindingCode.UNREADABLE,
        None,
        [error],
        "Compare the object's earlier versions in the bucket and restore a good one.",
    )


def stuck_since(request: Request, thresholds: Thresholds) -> datetime | None:
    """The instant after which the request is stuck, if nothing new is learned; None where it never becomes so by age.

    A run that waits for a person is not stuck (SPEC §3). A destroy whose trigger time cannot be read always is.
    """
    deadlines = [
        _stale_destroy_after(request),
        _stuck_planning_after(request, thresholds),
        _stuck_applying_after(request, thresholds),
    ]
    return min((at for at in deadlines if at is not None), default=None)


def severity_of(code: FindingCode) -> Severity:
    """How bad a finding of that code is."""
    if code in _CRITICAL:
        return Severity.CRITICAL
    return Severity.INFO if code in _INFO else Severity.WARNING


def _finding(code: FindingCode, since: datetime | None, evidence: Iterable[str], next_action: str) -> Finding:
    return Finding(code, severity_of(code), since, tuple(evidence), next_action)


def _waits(request: Request, kind: WorkflowKind) -> bool:
    run = request.runs.get(kind)
    return run is not None and run.is_waiting_for_person


def _name(kind: WorkflowKind, run: RunFact | None) -> str:
    known = f" {run.run_id}" if run is not None and run.run_id is not None else " without a known id"
    return f"{kind.value} run{known}"


def _stale_destroy_after(request: Request) -> datetime | None:
    if _waits(request, WorkflowKind.DESTROY) or is_destroy_superseded(request):
        return None
    return stale_after(request) or (NEVER if is_destroy_stale(request, NEVER) else None)


def _stuck_planning_after(request: Request, thresholds: Thresholds) -> datetime | None:
    run = request.runs.get(WorkflowKind.PLAN)
    if run is not None:
        return None if run.is_waiting_for_person else stuck_after(request, WorkflowKind.PLAN, thresholds)
    went_on = request.approval.approved or request.merged_sha or WorkflowKind.APPLY in request.runs
    if request.pull is None or not request.pull.is_open or went_on:
        return None
    began = latest_start(request, WorkflowKind.PLAN) or request.pull.created_at or request.received_at
    return None if began is None else began + thresholds.planning


def _stuck_applying_after(request: Request, thresholds: Thresholds) -> datetime | None:
    run, trigger = request.runs.get(WorkflowKind.APPLY), request.triggers.get(WorkflowKind.APPLY)
    if run is not None:
        return None if run.is_waiting_for_person else stuck_after(request, WorkflowKind.APPLY, thresholds)
    return trigger.at + thresholds.applying if trigger is not None and trigger.at is not None else None


def _stale_destroy(case: _Case) -> Iterator[Finding]:
    if not is_destroy_stale(case.request, case.now) or _waits(case.request, WorkflowKind.DESTROY):
        return
    since, run = stale_after(case.request), case.request.runs.get(WorkflowKind.DESTROY)
    began = f"in flight since {format_time(since - STALE_AFTER)}" if since else "its trigger time cannot be read"
    evidence = f"{_name(WorkflowKind.DESTROY, run)}: {began}, no conclusion after 15 minutes"
    yield _finding(FindingCode.STALE_DESTROY, since, [evidence], _PREVIEW)


def _stuck_planning(case: _Case) -> Iterator[Finding]:
    since = _stuck_planning_after(case.request, case.thresholds)
    yield from _stuck(case, FindingCode.STUCK_PLANNING, WorkflowKind.PLAN, since, case.thresholds.planning)


def _stuck_applying(case: _Case) -> Iterator[Finding]:
    since = _stuck_applying_after(case.request, case.thresholds)
    yield from _stuck(case, FindingCode.STUCK_APPLYING, WorkflowKind.APPLY, since, case.thresholds.applying)


def _stuck(
    case: _Case, code: FindingCode, kind: WorkflowKind, since: datetime | None, threshold: timedelta
) -> Iterator[Finding]:
    if since is None or case.now <= since or _blocked_by(case, kind) is not None:
        return
    minutes = int(threshold.total_seconds() // 60)
    run = case.request.runs.get(kind)
    what = _name(kind, run) if run is not None else f"no {kind.value} run"
    state = f"stored as {run.status}" if run is not None else "is known"
    began = format_time(since - threshold)
    yield _finding(code, since, [f"{what} {state}, counted from {began}, threshold {minutes} min"], _PREVIEW)


def _run_unknown(case: _Case) -> Iterator[Finding]:
    for kind in WorkflowKind:
        run, trigger = case.request.runs.get(kind), case.request.triggers.get(kind)
        is_lost = run is not None and run.run_id is None and run.conclusion is None
        if kind in case.context.no_run_listed or not (is_lost or (run is None and trigger is not None)):
            continue
        since = trigger.at if trigger else None
        evidence = f"{kind.value} was dispatched{f' at {format_time(since)}' if since else ''}, its run id is not known"
        action = _CHOOSE if kind in case.context.ambiguous else _PREVIEW
        yield _finding(FindingCode.RUN_UNKNOWN, since, [evidence], action)


def _not_dispatched(case: _Case) -> Iterator[Finding]:
    for kind in sorted(case.context.no_run_listed):
        trigger = case.request.triggers.get(kind)
        if trigger is None or trigger.at is None or case.now - trigger.at <= NOT_DISPATCHED_AFTER:
            continue
        evidence = (
            f"{kind.value} was meant to start at {format_time(trigger.at)}; GitHub's complete list has no such run"
        )
        action = "Look at the workflow on GitHub. A person who may dispatch it can confirm that no run exists."
        yield _finding(FindingCode.NOT_DISPATCHED, trigger.at, [evidence], action)


def _unknown_values(case: _Case) -> Iterator[Finding]:
    for kind, run in case.request.runs.items():
        strange = [
            f"{name} {value!r}"
            for name, value, known in (
                ("status", run.status, ACTIVE_RUN_STATUSES | {"completed"}),
                ("conclusion", run.conclusion, _KNOWN_CONCLUSIONS),
            )
            if value is not None and value not in known
        ]
        if strange:
            evidence = f"{_name(kind, run)} has {' and '.join(strange)}, which this portal does not know"
            yield _finding(FindingCode.RUN_UNKNOWN, run.updated_at, [evidence], "Look at the run on GitHub.")


def _waiting_approval(case: _Case) -> Iterator[Finding]:
    for kind, run in case.request.runs.items():
        if run.is_waiting_for_person and not (kind is WorkflowKind.DESTROY and is_destroy_superseded(case.request)):
            evidence = f"{_name(kind, run)} is {run.conclusion or run.status}: a person must approve it"
            since = run.updated_at or latest_start(case.request, kind)
            yield _finding(FindingCode.WAITING_APPROVAL, since, [evidence], "Approve or reject the run on GitHub.")


def _blocked_by(case: _Case, kind: WorkflowKind) -> str | None:
    """The run of the same environment that ours, not started yet, waits behind; None where none is known."""
    run = case.request.runs.get(kind)
    has_not_started = run is not None and run.conclusion is None and run.status in BEFORE_START
    return case.context.blocking_runs.get(kind) if has_not_started else None


def _queued(case: _Case) -> Iterator[Finding]:
    for kind, run in case.request.runs.items():
        other = _blocked_by(case, kind)
        if other is not None:
            evidence = f"{_name(kind, run)} is {run.status} behind {other}"
            yield _finding(
                FindingCode.QUEUED,
                latest_start(case.request, kind),
                [evidence],
                "Nothing: it starts when the other run ends.",
            )


def _missing_pull(case: _Case) -> Iterator[Finding]:
    request = case.request
    if case.context.pull_not_found and request.pr_number is not None:
        evidence = f"GitHub has no pull request #{request.pr_number} in {request.repo}, or the token may not see it"
        yield _finding(
            FindingCode.MISSING_PR, None, [evidence], "Check the token's access, then the pull request on GitHub."
        )
    elif request.pr_number is None and (request.branch or request.merged_sha):
        known = f"branch {request.branch}" if request.branch else f"merge commit {request.merged_sha}"
        yield _finding(
            FindingCode.MISSING_PR, request.received_at, [f"{known} is stored, a PR number is not"], _PREVIEW
        )


def _missing_run(case: _Case) -> Iterator[Finding]:
    known = case.request.runs.keys() | case.request.triggers.keys()
    has_pull = case.request.pr_number is not None or case.request.pull is not None
    if has_pull and WorkflowKind.PLAN not in known:
        yield _finding(FindingCode.MISSING_RUN, None, ["the pull request has no plan run"], _PREVIEW)
    if WorkflowKind.DESTROY in known and WorkflowKind.APPLY not in known:
        yield _finding(FindingCode.MISSING_RUN, None, ["a destroy is stored, an apply run is not"], _PREVIEW)


def _status_drift(case: _Case) -> Iterator[Finding]:
    status = derive_status(case.request, case.now)
    if is_drift(case.request.stored_status, status):
        evidence = f"stored status is {case.request.stored_status}, derived status is {status.value}"
        yield _finding(
            FindingCode.STATUS_DRIFT, None, [evidence], "Nothing: the portal always shows the derived status."
        )


def _split_facts(case: _Case) -> Iterator[Finding]:
    for kind, legacy in LEGACY_RUNS.items():
        canonical = ".".join(canonical_run(kind))
        first, second = case.request.stored_runs.get(canonical), case.request.stored_runs.get(legacy)
        if first is not None and second is not None:
            yield from _split(_disagreements(canonical, first, legacy, second, ("run_id", "status", "conclusion")))
    pulls = [
        (path, pull)
        for path, pull in case.request.stored_pulls.items()
        if pull.number in (None, case.request.pr_number)
    ]
    for (path, pull), (other_path, other) in pairwise(pulls):
        yield from _split(_disagreements(path, pull, other_path, other, ("open", "merged")))


def _disagreements(
    path: str, first: RunFact | PullFact, other_path: str, second: RunFact | PullFact, names: Iterable[str]
) -> list[str]:
    shown = {"run_id": "runId"}
    pairs = ((shown.get(name, name), getattr(first, name), getattr(second, name)) for name in names)
    return [
        f"{path}.{name} is {_text(one)}, {other_path}.{name} is {_text(two)}"
        for name, one, two in pairs
        if one != two and not (name in ("open", "merged") and None in (one, two))
    ]


def _split(evidence: list[str]) -> Iterator[Finding]:
    if evidence:
        yield _finding(FindingCode.SPLIT_FACTS, None, evidence, "A repair settles it with what GitHub says.")


def _text(value: object) -> str:
    return "absent" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _interrupted(case: _Case) -> Iterator[Finding]:
    for kind in (WorkflowKind.APPLY, WorkflowKind.DESTROY):
        run, jobs = case.request.runs.get(kind), case.context.jobs.get(kind)
        if run is None or run.conclusion not in _INTERRUPTED or jobs is None:
            continue
        if jobs.run_id != run.run_id or jobs.attempt != (run.attempt or 1):
            continue
        if jobs.started:
            evidence = f"{_name(kind, run)} was {run.conclusion} after a job had started: Terraform may hold its lock"
            action = "Check the state's lock and what was changed, then plan again."
            yield _finding(FindingCode.STATE_UNKNOWN, run.updated_at, [evidence], action)
        else:
            evidence = f"{_name(kind, run)} was {run.conclusion} before any job started: nothing was touched"
            yield _finding(FindingCode.NEVER_STARTED, run.updated_at, [evidence], "Dispatch it again when wanted.")


def _nothing_destroyed(case: _Case) -> Iterator[Finding]:
    run = case.request.runs.get(WorkflowKind.DESTROY)
    if run is not None and run.conclusion in EMPTY_CONCLUSIONS and not is_destroy_superseded(case.request):
        evidence = f"{_name(WorkflowKind.DESTROY, run)} ended {run.conclusion}: nothing was destroyed"
        yield _finding(
            FindingCode.NOTHING_DESTROYED, run.updated_at, [evidence], "Destroy again where it is still wanted."
        )


def _cleanup_failed(case: _Case) -> Iterator[Finding]:
    if case.request.cleanup_pull is not None and case.request.cleanup_pull.merged:
        return
    run = case.request.runs.get(WorkflowKind.CLEANUP)
    if run is not None and run.is_failed:
        evidence = f"{_name(WorkflowKind.CLEANUP, run)} ended with {run.conclusion}"
        yield _finding(
            FindingCode.CLEANUP_FAILED, run.updated_at, [evidence], "Read the run's log, then clean up again."
        )
    elif case.request.cleanup_error is not None:
        evidence = f"dispatching the cleanup failed: {case.request.cleanup_error}"
        yield _finding(FindingCode.CLEANUP_FAILED, None, [evidence], "Clean up again once the reason is mended.")


def _abandoned(case: _Case) -> Iterator[Finding]:
    if is_abandoned(case.request):
        evidence = f"pull request #{case.request.pr_number} was closed without a merge, nothing was applied"
        yield _finding(FindingCode.ABANDONED, None, [evidence], "Nothing, unless the pull request is opened again.")


def _index(case: _Case) -> Iterator[Finding]:
    for kind, owner in case.context.index_owners.items():
        run = case.request.runs.get(kind)
        if run is None or run.run_id is None or owner == case.request.id:
            continue
        key = f"{kind.value}/run-{run.run_id}"
        if owner is None:
            yield _finding(FindingCode.INDEX_MISSING, run.created_at, [f"no entry {key}"], "Backfilled by the repair.")
        else:
            evidence = f"entry {key} names {owner}"
            yield _finding(
                FindingCode.INDEX_CROSSED, run.created_at, [evidence], "A person must decide whose run it is."
            )


def _lock_expired(case: _Case) -> Iterator[Finding]:
    lock = case.request.lock
    if lock is not None and lock.expires_at is not None and case.now > lock.expires_at:
        evidence = f"{lock.operation} lock of {lock.holder}, expired at {format_time(lock.expires_at)}"
        yield _finding(
            FindingCode.LOCK_EXPIRED, lock.expires_at, [evidence], "May be cleared: nobody holds it any more."
        )


def _overwritten(case: _Case) -> Iterator[Finding]:
    if case.context.overwritten:
        evidence = [f"{path} was overwritten by another writer" for path in case.context.overwritten]
        yield _finding(FindingCode.OVERWRITTEN_FACT, None, evidence, _PREVIEW)


_CHECKS: Final[tuple[Callable[[_Case], Iterator[Finding]], ...]] = (
    _stale_destroy,
    _stuck_planning,
    _stuck_applying,
    _run_unknown,
    _not_dispatched,
    _unknown_values,
    _waiting_approval,
    _queued,
    _missing_pull,
    _missing_run,
    _status_drift,
    _split_facts,
    _interrupted,
    _nothing_destroyed,
    _cleanup_failed,
    _abandoned,
    _index,
    _lock_expired,
    _overwritten,
)
