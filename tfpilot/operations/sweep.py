"""Bringing many requests to what GitHub says of them, without a click."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from tfpilot.core.model import Operator, Role, SyncMode, SyncResult
from tfpilot.core.sweep import SweepScope, select_for_sweep
from tfpilot.edges import Edges
from tfpilot.errors import StorageError, TfPilotError
from tfpilot.operations.sync import sync

SYSTEM: Final = Operator("system", Role.SYSTEM)
"""Who a sweep acts as, whoever started it (SPEC §8)."""

AT_ONCE: Final = 6
"""Requests that are synced at the same time; each asks several questions in parallel."""


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """What became of one request: a result, or the failure it met."""

    request_id: str
    result: SyncResult | None = None
    error: TfPilotError | None = None


def sweep(edges: Edges, scope: SweepScope) -> Iterator[SweepOutcome]:
    """One outcome per request in scope, as they come; one that fails does not stop the others.

    Raises StorageError where the requests cannot be listed.
    """
    snapshot = edges.snapshots.refresh()
    if snapshot.error is not None:
        raise StorageError(f"The requests could not be listed: {snapshot.error}", "Try again when storage answers.")
    wanted = select_for_sweep(snapshot.rows, scope, edges.clock())
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sweep") as pool:
        yield from pool.map(partial(_swept, edges, scope.mode), wanted)


def _swept(edges: Edges, mode: SyncMode, request_id: str) -> SweepOutcome:
    try:
        return SweepOutcome(request_id, result=sync(edges, request_id, mode=mode, operator=SYSTEM))
    except TfPilotError as error:
        return SweepOutcome(request_id, error=error)
