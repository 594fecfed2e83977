"""What one browser tab is doing with Terraform's locks. Reading and releasing run outside the script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import streamlit as st

from tfpilot.core.lock_release import APART, Permission, Released
from tfpilot.core.state_locks import LockReading
from tfpilot.errors import TfPilotError
from tfpilot.operations.locks import LockList, StateLocks
from tfpilot.ui.background import BACKGROUND
from tfpilot.ui.index_reading import Reading

_DESK: Final = "locks_desk"


@dataclass(frozen=True, slots=True)
class FirstLook:
    """The first reading of a lock that somebody may release, and whether this operator may."""

    reading: LockReading
    permission: Permission


@dataclass(slots=True)
class Attempt:
    """A release that is being prepared: the two readings of one state. `token` tells it from an earlier attempt."""

    target: str
    object_key: str
    token: object = field(default_factory=object)
    first: Reading[FirstLook] = field(default_factory=lambda: Reading("lock, first reading"))
    second: Reading[StateLocks] = field(default_factory=lambda: Reading("lock, second reading"))

    @property
    def readings(self) -> tuple[Reading[Any], ...]:
        return (self.first, self.second)

    @property
    def second_due_at(self) -> datetime | None:
        """When the second reading may be made; None while the first is not there, or the second is, or is under way."""
        if self.first.value is None or self.second.value is not None or self.second.is_busy or self.second.error:
            return None
        return self.first.value.reading.at + APART


@dataclass(frozen=True, slots=True)
class ReleaseOutcome:
    """How a release ended, and of which lock."""

    target: str
    object_key: str
    released: Released | None = None
    error: TfPilotError | None = None


@dataclass(frozen=True, slots=True)
class Errand:
    """The release that is under way."""

    target: str
    object_key: str
    work: Future[Released]


@dataclass(slots=True)
class LocksDesk:
    """The state of the page in one tab. `attempts` are by the address of the state; `outcome` is that of the last
    release, until the next one or the next refresh."""

    list: Reading[LockList] = field(default_factory=lambda: Reading("locks"))
    wanted: int = 0
    asked_at: datetime | None = None
    attempts: dict[str, Attempt] = field(default_factory=dict)
    errand: Errand | None = None
    outcome: ReleaseOutcome | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a release is under way."""
        return self.errand is not None

    @property
    def is_waiting(self) -> bool:
        """Whether anything is under way whose end changes the page."""
        return self.is_busy or any(reading.is_busy for reading in self._readings())

    @property
    def has_news(self) -> bool:
        """Whether something has ended that `collect` did not see yet."""
        ended = self.errand is not None and self.errand.work.done()
        return ended or any(reading.has_news for reading in self._readings())

    def begin(self, target: str, object_key: str, work: Callable[[], Released]) -> None:
        """Starts the release, unless one is under way: a second click changes nothing."""
        if self.is_busy:
            return
        self.outcome = None
        self.errand = Errand(target, object_key, BACKGROUND.submit(("release", target, object_key), work))

    def collect(self, now: datetime) -> ReleaseOutcome | None:
        """Takes in what has ended; answers how a release did, the one time that it ended."""
        for reading in self._readings():
            reading.collect(now)
        errand = self.errand
        if errand is None or not errand.work.done():
            return None
        self.errand = None
        self.outcome = _outcome(errand)
        return self.outcome

    def _readings(self) -> Iterator[Reading[Any]]:
        yield self.list
        for attempt in self.attempts.values():
            yield from attempt.readings


def desk() -> LocksDesk:
    """This tab's desk."""
    found: LocksDesk | None = st.session_state.get(_DESK)
    if found is None:
        found = LocksDesk()
        st.session_state[_DESK] = found
    return found


def _outcome(errand: Errand) -> ReleaseOutcome:
    try:
        return ReleaseOutcome(errand.target, errand.object_key, released=errand.work.result())
    except TfPilotError as error:
        return ReleaseOutcome(errand.target, errand.object_key, error=error)
