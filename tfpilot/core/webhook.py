"""What a webhook changes in a request, and why, or why nothing (SPEC §6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from tfpilot.core.changes import (
    approval_changes,
    cleanup_pull_changes,
    field_change,
    find_obstacle,
    is_outdated_pull,
    pull_changes,
)
from tfpilot.core.correlation import bare_branch, request_of_branch
from tfpilot.core.document import format_time, number_of
from tfpilot.core.model import FieldChange, PullFact, Request, WorkflowKind, WorkflowRun
from tfpilot.core.run_guard import Verdict, guard_run, guarded_changes, is_own_branch, is_same_repo
from tfpilot.core.webhook_event import HANDLED_EVENTS, PING, REVIEW, WORKFLOW_RUN, Event

_CLEANUP: Final = "cleanup/"
_VOICES: Final = frozenset({"APPROVED", "CHANGES_REQUESTED", "DISMISSED"})


class Action(StrEnum):
    """Whether an event changes the request."""

    APPLY = "apply"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one event. `reason` is for a person. `verdict`: what the guard said of a run, where it came to
    that; one that needs a claim is written only after the run was claimed."""

    kind: WorkflowKind | None
    request_id: str | None
    action: Action
    reason: str
    changes: tuple[FieldChange, ...] = ()
    verdict: Verdict | None = None

    @property
    def applies(self) -> bool:
        return self.action is Action.APPLY


def decide(event: Event, request: Request | None, now: datetime, *, owner: str | None = None) -> Decision:
    """What the event changes in `request`, the one it was found to belong to; None: none is at hand.

    `owner` is the request that the run index gives the run to, None if nobody. `action` of the payload counts for
    nothing; what it says of status, conclusion, merge and review does.
    """
    why_not = why_no_request(event)
    if why_not is not None or request is None:
        return ignore(event, why_not or "the request is not at hand", request.id if request else named_by(event))
    if event.run is not None and event.kind is not None:
        return decide_run(event.kind, event.run, request, owner=owner)
    if event.pull is None:
        return ignore(event, "it says nothing of a pull request", request.id)
    if not is_same_repo(request.repo, event.repo):
        where = request.repo or "no known repository"
        return ignore(event, f"it is of {event.repo}, and the request is in {where}", request.id)
    if event.name == REVIEW:
        return _decide_review(event, event.pull, request)
    return _decide_pull(event, event.pull, request, now)


def ignore(event: Event, reason: str, request_id: str | None = None) -> Decision:
    """Nothing is changed, for that reason."""
    return Decision(event.kind, request_id, Action.IGNORE, reason)


def named_by(event: Event) -> str | None:
    """The request that the event's branch or texts name, whether or not there is one."""
    return event.named[0] if event.named else None


def why_no_request(event: Event) -> str | None:
    """Why the event is about no request at all; None where it may be about one."""
    if event.name == PING:
        return "the webhook says hello"
    if event.name not in HANDLED_EVENTS:
        return f"events of the kind {event.name} are not handled"
    if event.name == WORKFLOW_RUN:
        return _why_no_run(event)
    return "it names no pull request" if event.pull is None or event.pull.number is None else None


def _why_no_run(event: Event) -> str | None:
    if event.kind is None:
        where = (event.run.path or event.run.name) if event.run else None
        return f"{where or 'its workflow'} is none of our workflows"
    return "it has no run id" if event.run_id is None else None


def decide_run(kind: WorkflowKind, run: WorkflowRun, request: Request, *, owner: str | None) -> Decision:
    """What a run of that kind changes in the request, under the guard."""
    verdict = guard_run(request, kind, run, owner=owner)
    changes = guarded_changes(request, kind, run, verdict)
    reason = verdict.reason if changes or not verdict.is_ours else f"{verdict.reason}: nothing new"
    action = Action.APPLY if changes else Action.IGNORE
    return Decision(kind, request.id, action, reason, changes, verdict)


def _decide_pull(event: Event, pull: PullFact, request: Request, now: datetime) -> Decision:
    if _cleans_up(pull, request):
        return _decide_cleanup(event, pull, request, now)
    why_not = _why_not_own(pull, request)
    if why_not is not None:
        return ignore(event, why_not, request.id)
    if is_outdated_pull(request.pull, pull):
        return ignore(event, f"#{pull.number} is known as of later than this event", request.id)
    changes = (*pull_changes(request, pull),) or _order_change(request, pull)
    return _decided(event, request, changes, f"pull request #{pull.number} of the request")


def _decide_cleanup(event: Event, pull: PullFact, request: Request, now: datetime) -> Decision:
    stored = request.cleanup_pull
    if stored is not None and (stored.number or 0) > (pull.number or 0):
        return ignore(event, f"cleanup pull request #{stored.number} is newer", request.id)
    changes = cleanup_pull_changes(request, pull, now)
    return _decided(event, request, changes, f"cleanup pull request #{pull.number}")


def _decide_review(event: Event, pull: PullFact, request: Request) -> Decision:
    review = event.review
    why_not = "it is of the cleanup pull request" if _cleans_up(pull, request) else _why_not_own(pull, request)
    if review is None or why_not is not None:
        return ignore(event, why_not or "it says nothing of a review", request.id)
    if review.state not in _VOICES:
        return ignore(event, f"a review that says {review.state.lower() or 'nothing'} does not count", request.id)
    if pull.author is not None and review.login.casefold() == pull.author.casefold():
        return ignore(event, f"{review.login} is the author", request.id)
    changes = approval_changes(request, (review,), pull)
    return _decided(event, request, changes, f"{review.login}: {review.state.lower().replace('_', ' ')}")


def _decided(event: Event, request: Request, changes: Iterable[FieldChange], reason: str) -> Decision:
    """The decision for these changes, without those that would lose what stands in their way."""
    kept = tuple(change for change in changes if find_obstacle(request.raw, change) is None)
    if not kept:
        return ignore(event, f"{reason}: nothing new", request.id)
    return Decision(event.kind, request.id, Action.APPLY, reason, kept)


def _cleans_up(pull: PullFact, request: Request) -> bool:
    branch = bare_branch(pull.head_branch)
    return branch.startswith(_CLEANUP) and request_of_branch(branch) == request.id


def _why_not_own(pull: PullFact, request: Request) -> str | None:
    """Why the pull request is not the one that counts for the request now; None where it is."""
    if pull.number in _previous_numbers(request):
        return f"#{pull.number} was replaced by a later pull request"
    if request.pr_number is not None:
        return None if pull.number == request.pr_number else f"the request's pull request is #{request.pr_number}"
    is_ours = is_own_branch(request, pull.head_branch) or request_of_branch(pull.head_branch) == request.id
    return None if is_ours else f"it is not from a branch of {request.id}"


def _previous_numbers(request: Request) -> frozenset[int]:
    stored = request.raw.get("previousPrs")
    numbers = (number_of(each) for each in stored) if isinstance(stored, list) else ()
    return frozenset(number for number in numbers if number is not None)


def _order_change(request: Request, pull: PullFact) -> tuple[FieldChange, ...]:
    """Where events have an order already, one that says nothing new but is newer moves it on: an older one, which may
    still come, then changes nothing."""
    stored = request.pull.updated_at if request.pull else None
    if stored is None or pull.updated_at is None or pull.updated_at <= stored:
        return ()
    path = ("github", "pr", "updatedAt")
    return tuple(field_change(request.raw, path, format_time(pull.updated_at), f"pull request #{pull.number}"))
