"""Holding a target while a reset of it is carried out: two operators cannot work on one."""

from __future__ import annotations

import secrets
import threading
from types import TracebackType
from typing import Final, Self

from tfpilot.core.lease import HeldLease, Lease
from tfpilot.core.model import Operator
from tfpilot.core.reset_target import ResetTarget
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, RefusedError, StorageError

_BEATS: Final = 3
"""How often the lease is held longer within its time, so that a step may last longer than that."""


class TargetLease:
    """The lease of one target, as a context manager. Entering raises ConflictError where somebody else holds it."""

    def __init__(self, edges: Edges, target: ResetTarget, operator: Operator, *, doing: str) -> None:
        self._edges = edges
        until = edges.clock() + edges.resets.lease_for
        self.lease = Lease(lease_name(target), secrets.token_hex(8), operator.login, doing, until)
        self._held: HeldLease | None = None
        self._lost: ConflictError | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._held = self._edges.leases.take(self.lease, now=self._edges.clock())
        self._heart.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._heart.join()
        if self._held is not None and self._lost is None:
            self._edges.leases.release(self._held)

    def keep(self) -> None:
        """Holds it longer where a third of its time is gone. Raises RefusedError where somebody took it over, and
        StorageError."""
        with self._lock:
            if self._lost is None:
                self._renew()
            if self._lost is not None:
                raise RefusedError(
                    f"Another process took over {self.lease.name}", "Look at the reset: this process has stopped."
                ) from self._lost

    def _renew(self) -> None:
        now, lasts = self._edges.clock(), self._edges.resets.lease_for
        if self._held is None or self._held.lease.until - now > lasts * 2 / 3:
            return
        try:
            self._held = self._edges.leases.renew(self._held, until=now + lasts)
        except ConflictError as error:
            self._lost = error

    def _beat(self) -> None:
        while not self._over.wait(self._edges.resets.lease_for.total_seconds() / _BEATS):
            with self._lock:
                if self._lost is not None:
                    return
                try:
                    self._renew()
                except StorageError:
                    continue  # whoever carries out the next step learns of it


def lease_name(target: ResetTarget) -> str:
    """The name of the lease of whoever works on the target."""
    return f"reset-{target.name}"
