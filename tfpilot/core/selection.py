"""Filtering, counting and paging request rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tfpilot.core.listing import settle_queues
from tfpilot.core.model import LifecycleStatus, RequestRow


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """What to show. Empty sets and texts do not restrict. `text` is looked for, case-insensitively, in id, PR number
    (`#12` exactly), run ids, branch and shas. Archived requests are shown only with `archived`, and then alone."""

    statuses: frozenset[LifecycleStatus] = frozenset()
    environments: frozenset[str] = frozenset()
    text: str = ""
    stuck: bool = False
    drift: bool = False
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows that match, newest change first, and the counts that the filters themselves show.

    `by_status` counts what every other filter lets through, so that a click on a count shows exactly that many;
    `stuck`, `drift` and `archived` likewise. `environments` are all that occur, in order.
    """

    rows: Sequence[RequestRow]
    by_status: Mapping[LifecycleStatus, int]
    unreadable: int
    stuck: int
    drift: int
    archived: int
    environments: Sequence[str] = field(default_factory=tuple)


def select(rows: Iterable[RequestRow], wanted: RequestFilter, now: datetime) -> Selection:
    """What `wanted` lets through at `now`, in the order of `rows`, with the counts beside each filter.

    An unreadable object has no status and no environment: it is shown unless one of those is asked for.
    """
    rows = settle_queues(tuple(rows))
    environments = sorted({row.environment for row in rows if row.environment})
    found = _matching(rows, wanted)
    base = [row for row in found if row.archived is wanted.archived]
    with_marks = [row for row in base if _has_marks(row, wanted, now)]
    by_status: Counter[LifecycleStatus | None] = Counter(row.status_at(now) for row in with_marks)
    chosen = [row for row in with_marks if _has_status(row, wanted, now)]
    with_status = [row for row in base if _has_status(row, wanted, now)]
    return Selection(
        rows=chosen,
        by_status={status: by_status.get(status, 0) for status in LifecycleStatus},
        unreadable=by_status.get(None, 0),
        stuck=sum(row.is_stuck_at(now) for row in with_status if not wanted.drift or row.has_drift_at(now)),
        drift=sum(row.has_drift_at(now) for row in with_status if not wanted.stuck or row.is_stuck_at(now)),
        archived=sum(row.archived and _has_marks(row, wanted, now) and _has_status(row, wanted, now) for row in found),
        environments=environments,
    )


def page_of(rows: Sequence[RequestRow], *, number: int, size: int) -> tuple[Sequence[RequestRow], int, int]:
    """(rows of the page, its number, number of pages). Pages count from 1; a number beyond the ends is clamped."""
    pages = max(1, -(-len(rows) // size))
    number = min(max(number, 1), pages)
    return rows[(number - 1) * size : number * size], number, pages


def _matching(rows: Iterable[RequestRow], wanted: RequestFilter) -> list[RequestRow]:
    text = wanted.text.strip().casefold()
    found = [row for row in rows if not wanted.environments or row.environment in wanted.environments]
    if not text:
        return found
    if text.startswith("#"):
        return [row for row in found if text == f"#{row.pr_number}"]
    return [row for row in found if text in row.search]


def _has_marks(row: RequestRow, wanted: RequestFilter, now: datetime) -> bool:
    return (not wanted.stuck or row.is_stuck_at(now)) and (not wanted.drift or row.has_drift_at(now))


def _has_status(row: RequestRow, wanted: RequestFilter, now: datetime) -> bool:
    return not wanted.statuses or row.status_at(now) in wanted.statuses
