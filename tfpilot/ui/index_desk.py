"""What one browser tab is doing with the run index, and what all tabs of this process know of it.

Work runs outside the script, so a click elsewhere, a second click or a closed tab neither breaks nor repeats it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from weakref import WeakKeyDictionary

import streamlit as st

from tfpilot.core.index_fixes import FixKind, FixPlan, FixRecord
from tfpilot.core.index_report import AuditReport
from tfpilot.core.model import RequestRow, RunIndexEntry
from tfpilot.core.retention import LifecyclePlan, StoredDays
from tfpilot.core.roles import Right
from tfpilot.edges import Edges, IndexListings
from tfpilot.errors import TfPilotError
from tfpilot.operations.deliveries import DeliveriesView
from tfpilot.operations.index_fixes import right_for
from tfpilot.operations.retention import Retention
from tfpilot.ui.background import BACKGROUND
from tfpilot.ui.index_reading import Memo, Reading

_DESK: Final = "index_desk"


class Verb(StrEnum):
    """What a tab can have the portal do about the run index."""

    AUDIT = "audit"
    FIX = "fix"
    UNDO = "undo"
    MARK = "mark"
    SHOW_RULE = "show rule"
    INSTALL_RULE = "install rule"
    REPLAY = "replay"


@dataclass(slots=True)
class Progress:
    """How far an errand is, told by the thread that runs it."""

    done: int = 0
    to_do: int = 0

    def __call__(self, done: int, to_do: int) -> None:
        self.done, self.to_do = done, to_do


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing that is being done."""

    verb: Verb
    work: Future[Any]
    progress: Progress


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an errand ended: with a result, or with the failure it met."""

    verb: Verb
    at: datetime
    result: Any = None
    error: TfPilotError | None = None


@dataclass(frozen=True, slots=True)
class PlanSize:
    """How many steps of each kind a plan has, and what an operator needs to apply it, as applying it asks for."""

    counts: Mapping[FixKind, int]
    right: Right
    environments: tuple[str, ...]


def size_of(plan: FixPlan) -> PlanSize:
    """The plan's size. Walks over all its steps."""
    counts = Counter(fix.kind for fix in plan.fixes)
    return PlanSize(
        counts, right_for(plan.fixes), tuple(sorted({name for fix in plan.fixes for name in fix.environments}))
    )


@dataclass(slots=True)
class IndexDesk:
    """The state of the page in one tab.

    `plan` and `rule` are those that are shown and not yet acted on or discarded; `outcome` is what the last click came
    to, until the next one.
    """

    errand: Errand | None = None
    outcome: Outcome | None = None
    plan: FixPlan | None = None
    rule: LifecyclePlan | None = None
    plan_size: Memo[PlanSize] = field(default_factory=Memo)
    found: Reading[Sequence[RunIndexEntry]] = field(default_factory=lambda: Reading("index look-up"))
    entries: Reading[Sequence[RunIndexEntry | None]] = field(default_factory=lambda: Reading("index entries"))
    retention: Reading[Retention] = field(default_factory=lambda: Reading("index retention"))
    fixes: Reading[Sequence[FixRecord]] = field(default_factory=lambda: Reading("index fixes"))
    deliveries: Reading[DeliveriesView] = field(default_factory=lambda: Reading("deliveries"))

    @property
    def is_busy(self) -> bool:
        """Whether something that a person asked for is under way."""
        return self.errand is not None

    @property
    def readings(self) -> Sequence[Reading[Any]]:
        return (self.found, self.entries, self.retention, self.fixes, self.deliveries)

    @property
    def has_news(self) -> bool:
        """Whether something has ended that `collect` did not see yet."""
        ended = self.errand is not None and self.errand.work.done()
        return ended or any(reading.has_news for reading in self.readings)

    def begin(self, verb: Verb, key: Hashable, work: Callable[[Progress], Any]) -> None:
        """Starts it, unless something that a person asked for is under way: a second click changes nothing."""
        if self.is_busy:
            return
        progress = Progress()
        self.outcome = None
        self.errand = Errand(verb, BACKGROUND.submit(("run index", verb, key), lambda: work(progress)), progress)

    def collect(self, now: datetime) -> Outcome | None:
        """Takes in what has ended; answers how the errand did, the one time that it ended."""
        for reading in self.readings:
            reading.collect(now)
        errand = self.errand
        if errand is None or not errand.work.done():
            return None
        self.errand = None
        self.outcome = _outcome(errand, now)
        return self.outcome

    def forget_readings(self) -> None:
        """What is shown beside the listing is read again."""
        for reading in (self.retention, self.fixes, self.deliveries):
            reading.forget()


class Shelf:
    """What this process knows of one run index, whichever tab asked: the last audit, and what is made of readings."""

    def __init__(self) -> None:
        self.report: AuditReport | None = None
        self.refreshing: Future[Any] | None = None
        self.rows_of: Memo[Mapping[str, RequestRow]] = Memo()
        self.stored_days: Memo[StoredDays] = Memo()
        self.audit_view: Memo[Any] = Memo()
        self.chart: Memo[Any] = Memo()

    def request_row(self, edges: Edges, request_id: str) -> RequestRow | None:
        """The request as the last reading shows it, active or archived; None where it is in none."""
        snapshot = edges.snapshots.current()
        # Active rows come last into the mapping, so that they win over an archived copy of the same id.
        rows = self.rows_of.get(
            snapshot.number,
            lambda: {row.id: row for row in sorted(snapshot.rows, key=lambda row: not row.archived)},
        )
        return rows.get(request_id)


_SHELVES: Final[WeakKeyDictionary[IndexListings, Shelf]] = WeakKeyDictionary()
_SHELVES_LOCK: Final = threading.Lock()


def shelf_of(edges: Edges) -> Shelf:
    """This process's shelf for the run index of these edges."""
    with _SHELVES_LOCK:
        return _SHELVES.setdefault(edges.index_listings, Shelf())


def desk() -> IndexDesk:
    """This tab's desk."""
    found: IndexDesk | None = st.session_state.get(_DESK)
    if found is None:
        found = IndexDesk()
        st.session_state[_DESK] = found
    return found


def _outcome(errand: Errand, now: datetime) -> Outcome:
    try:
        return Outcome(errand.verb, now, result=errand.work.result())
    except TfPilotError as error:
        return Outcome(errand.verb, now, error=error)
