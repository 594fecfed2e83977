"""Whether a destroyed request still needs its cleanup dispatched, once per destroy run (SPEC §4)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tfpilot.core.document import field_at, number_of, object_of, parse_time
from tfpilot.core.lifecycle import derive_status, lacks_run, latest_start
from tfpilot.core.model import FactOutcome, GitHubFacts, LifecycleStatus, Request, WorkflowKind

_TOLD: Final = frozenset({FactOutcome.OK, FactOutcome.NOT_FOUND})


def find_destroy_to_clean_up(request: Request, now: datetime, facts: GitHubFacts | None = None) -> int | None:
    """The id of the destroy run whose cleanup is due; None where none is.

    Due: the current destroy succeeded, no cleanup run or PR newer than it exists, and the cleanup was last dispatched
    for another destroy run, or could not be dispatched. GitHub's `facts`, where given, decide whether there is a newer
    one; what they could not tell is no "none".
    """
    destroy = request.runs.get(WorkflowKind.DESTROY)
    if destroy is None or destroy.run_id is None or derive_status(request, now) is not LifecycleStatus.DESTROYED:
        return None
    if facts is not None and not _tell_of_cleanup(facts):
        return None
    if lacks_run(request, WorkflowKind.CLEANUP) or _has_newer(request, facts):
        return None
    dispatched_for = number_of(field_at(request.raw, ("github", "cleanupTriggeredForDestroyRunId")))
    is_open = dispatched_for != destroy.run_id or request.cleanup_error is not None
    return destroy.run_id if is_open else None


def _tell_of_cleanup(facts: GitHubFacts) -> bool:
    asked = facts.runs.get(WorkflowKind.CLEANUP)
    return facts.cleanup_pull.outcome in _TOLD and (asked is None or asked.outcome in _TOLD)


def _has_newer(request: Request, facts: GitHubFacts | None) -> bool:
    """Whether a cleanup run or PR is there that began after the destroy; one without a known time counts as newer."""
    destroyed_at = latest_start(request, WorkflowKind.DESTROY)
    began = [latest_start(request, WorkflowKind.CLEANUP)] if WorkflowKind.CLEANUP in request.runs else []
    if request.cleanup_pull is not None:
        began.append(_opened_at(request, facts))
    return any(at is None or destroyed_at is None or at >= destroyed_at for at in began)


def _opened_at(request: Request, facts: GitHubFacts | None) -> datetime | None:
    """When the cleanup PR was opened: by GitHub, else by the request's own timeline."""
    told = facts.cleanup_pull.value if facts is not None else None
    if told is not None:
        return told.created_at
    number = request.cleanup_pull.number if request.cleanup_pull else None
    steps = request.raw.get("timeline")
    times = [
        parse_time(object_of(step).get("at"))
        for step in (steps if isinstance(steps, list) else [])
        if object_of(step).get("step") == "Cleanup PR opened"
        and str(object_of(step).get("message")).rpartition("/")[2] == str(number)
    ]
    return max((at for at in times if at is not None), default=None)
