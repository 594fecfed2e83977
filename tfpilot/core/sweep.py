"""Which requests a sweep asks GitHub about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from tfpilot.core.model import RequestRow, SyncMode


class SweepScope(StrEnum):
    """DUE: what needs repair, or was not looked at for a while. STUCK: what needs repair. ALL: every request."""

    DUE = "due"
    STUCK = "stuck"
    ALL = "all"

    @property
    def mode(self) -> SyncMode:
        """ALL repairs whatever the document says; the others ask GitHub only where it helps."""
        return SyncMode.REPAIR if self is SweepScope.ALL else SyncMode.AUTO


def select_for_sweep(rows: Iterable[RequestRow], scope: SweepScope, now: datetime) -> tuple[str, ...]:
    """The ids of the requests in scope, those that need repair first, in the order of the rows. Archived and unreadable
    ones are never among them: nothing writes those."""
    alive = [row for row in rows if not row.archived and row.error is None]
    urgent = [row.id for row in alive if row.needs_repair_at(now)]
    if scope is SweepScope.STUCK:
        return tuple(urgent)
    others = [row.id for row in alive if scope is SweepScope.ALL or row.is_unsettled]
    return tuple(dict.fromkeys((*urgent, *others)))
