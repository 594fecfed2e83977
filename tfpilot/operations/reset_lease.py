"""Holding a target while a reset of it is carried out: two operators cannot work on one."""

from __future__ import annotations

import secrets
from types import TracebackType
from typing import Self

from tfpilot.core.lease import HeldLease, Lease
from tfpilot.core.model import Operator
from tfpilot.core.reset_target import ResetTarget
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, RefusedError


class TargetLease:
    """The lease of one target, as a context manager. Entering raises ConflictError where somebody else holds it."""

    def __init__(self, edges: Edges, target: ResetTarget, operator: Operator, *, doing: str) -> None:
        self._edges = edges
        until = edges.clock() + edges.resets.lease_for
        self.lease = Lease(lease_name(target), secrets.token_hex(8), operator.login, doing, until)
        self._held: HeldLease | None = None

    def __enter__(self) -> Self:
        self._held = self._edges.leases.take(self.lease, now=self._edges.clock())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            self._edges.leases.release(self._held)

    def keep(self) -> None:
        """Holds it longer where a third of its time is gone. Raises RefusedError where somebody took it over."""
        now, lasts = self._edges.clock(), self._edges.resets.lease_for
        if self._held is None or self._held.lease.until - now > lasts * 2 / 3:
            return
        try:
            self._held = self._edges.leases.renew(self._held, until=now + lasts)
        except ConflictError as error:
            raise RefusedError(
                f"Another process took over {self.lease.name}", "Look at the reset: this process has stopped."
            ) from error


def lease_name(target: ResetTarget) -> str:
    """The name of the lease of whoever works on the target."""
    return f"reset-{target.name}"
