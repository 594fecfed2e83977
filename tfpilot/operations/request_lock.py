"""The request's own lock, held while a workflow is dispatched."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from tfpilot.core.deeds import Deed
from tfpilot.core.document import format_time
from tfpilot.core.intents import LOCKED_FOR, holds_lock, lock_changes, unlock_changes
from tfpilot.core.model import FieldChange, Operator, Request
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import RefusedError, TfPilotError
from tfpilot.operations.acting import act
from tfpilot.operations.rewrite import Rewritten, rewrite
from tfpilot.operations.rights import check_may


@dataclass(slots=True)
class HeldLock:
    """A lock that is ours until `expires_at`. `notices` tell a person what went wrong in giving it back."""

    holder: str
    expires_at: datetime
    notices: list[str] = field(default_factory=list)

    def check_held(self, request: Request) -> None:
        """Returns where the document says that it is still ours. Raises RefusedError."""
        if request.lock is None or request.lock.holder != self.holder:
            raise RefusedError(f"The lock of {request.id} was taken over meanwhile", "Look at the request again.")


@contextmanager
def request_lock(edges: Edges, request_id: str, *, operation: str, operator: Operator) -> Iterator[HeldLock]:
    """Holds the request's lock; it is given back in every case, also on refusal. An expired one is taken over.

    Raises RefusedError where somebody else holds it, else as `rewrite`.
    """
    holder = f"ops-portal:{operator.login}:{secrets.token_hex(6)}"
    taken_at = edges.clock()

    def take(request: Request) -> tuple[FieldChange, ...]:
        _check_free(request, edges.clock())
        return lock_changes(request.raw, holder=holder, operation=operation, now=taken_at)

    lock = HeldLock(holder, taken_at + LOCKED_FOR)
    try:
        rewrite(edges, request_id, take)  # it may be taken though storage did not say so
        yield lock
    finally:
        lock.notices += _released(edges, request_id, holder)


def clear_lock(edges: Edges, request_id: str, *, operator: Operator) -> Rewritten:
    """Clears a lock whose time is over. Raises RefusedError where it is held, MissingRightError, else as `rewrite`."""

    with act(edges, operator, Deed.CLEAR_LOCK, request_id) as deed:

        def clear(request: Request) -> tuple[FieldChange, ...]:
            check_may(edges, operator, Right.CLEAR_LOCK, environment=request.environment)
            _check_free(request, edges.clock())
            if request.lock is None:
                return ()
            deed.begin(holder=request.lock.holder or "", operation=request.lock.operation or "")
            return unlock_changes(request.raw, holder=request.lock.holder)

        return rewrite(edges, request_id, clear)


def _check_free(request: Request, now: datetime) -> None:
    held = holds_lock(request, now)
    if held is not None:
        until = f" until {format_time(held.expires_at)}" if held.expires_at else ""
        raise RefusedError(
            f"{request.id} is locked by {held.holder} for {held.operation}{until}",
            "Wait until it is over, then try again.",
        )


def _released(edges: Edges, request_id: str, holder: str) -> list[str]:
    try:
        rewrite(edges, request_id, lambda request: unlock_changes(request.raw, holder=holder))
    except TfPilotError as error:
        return [f"The lock was not given back and ends by itself: {error.message}"]
    return []
