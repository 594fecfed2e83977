"""What the page of Terraform's locks begins outside the script: reading the list, the two readings, the release."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tfpilot.core.lock_release import Released
from tfpilot.core.model import Operator
from tfpilot.core.state_locks import LockReading
from tfpilot.edges import Edges
from tfpilot.errors import TfPilotError
from tfpilot.log import log_lock_refusal, log_lock_release
from tfpilot.operations.locks import first_reading, get_lock, list_locks, may_release, release_lock
from tfpilot.ui.locks_address import address_of
from tfpilot.ui.locks_desk import Attempt, FirstLook, LocksDesk

RENEW_AFTER: Final = timedelta(minutes=2)
"""How old the list gets while somebody looks at it."""


def keep_young(edges: Edges, desk: LocksDesk) -> None:
    """Begins to read the list where that was not done yet, or longer ago than it may get old."""
    now = edges.clock()
    if not desk.list.is_busy and (desk.asked_at is None or now - desk.asked_at > RENEW_AFTER):
        read_again(edges, desk)


def refresh(edges: Edges, desk: LocksDesk) -> None:
    """Begins to read the list now; what an earlier release came to is not shown any longer."""
    desk.outcome = None
    read_again(edges, desk)


def prepare(edges: Edges, desk: LocksDesk, target: str, object_key: str, *, operator: Operator) -> Attempt:
    """The attempt at that state's lock: its first reading begins with it, the second as soon as it may be made."""
    address = address_of(target, object_key)
    attempt = desk.attempts.setdefault(address, Attempt(target, object_key))
    now = edges.clock()

    def look() -> FirstLook:
        permission = may_release(edges, target, operator=operator)
        return FirstLook(first_reading(edges, target, object_key), permission)

    attempt.first.want(attempt.token, look, now=now)
    attempt.first.collect(now)
    if attempt.second_due_at is not None and now >= attempt.second_due_at:
        attempt.second.want(attempt.token, lambda: get_lock(edges, target, object_key), now=now)
    attempt.second.collect(now)
    return attempt


def begin_again(desk: LocksDesk, target: str, object_key: str) -> None:
    """Forgets both readings: what was changed between them may be as it should by now."""
    desk.attempts.pop(address_of(target, object_key), None)


def begin_release(
    edges: Edges, desk: LocksDesk, operator: Operator, *, first: LockReading, typed: str, reason: str
) -> None:
    """Releases the lock that was typed, if it still is as it was read first."""
    target, object_key = first.target, first.object_key

    def work() -> Released:
        try:
            released = release_lock(
                edges, target, object_key, first=first, typed=typed, reason=reason, operator=operator
            )
        except TfPilotError as error:
            log_lock_refusal(target, object_key, operator, error.message)
            raise
        log_lock_release(released, operator)
        return released

    desk.begin(target, object_key, work)


def read_again(edges: Edges, desk: LocksDesk) -> None:
    desk.wanted += 1
    desk.asked_at = edges.clock()
    desk.list.want(desk.wanted, lambda: list_locks(edges), now=desk.asked_at)
