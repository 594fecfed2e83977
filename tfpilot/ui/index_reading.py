"""Something that is read outside a page's script, and values that are made once of the same thing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from tfpilot.errors import TfPilotError
from tfpilot.ui.background import BACKGROUND

T = TypeVar("T")

_A_MOMENT: Final = 0.4
"""Seconds that a page waits for what usually takes a few milliseconds, instead of being drawn twice."""


@dataclass(slots=True)
class Reading(Generic[T]):
    """`value` is the last good one, of `what`, read at `at`; `error` says why a later try failed."""

    name: str
    what: Hashable = None
    value: T | None = None
    at: datetime | None = None
    error: TfPilotError | None = None
    work: Future[T] | None = None
    _asked: Hashable = None
    _asked_at: datetime | None = None

    def want(
        self, what: Hashable, read: Callable[[], T], *, now: datetime, at_most_every: timedelta = timedelta(0)
    ) -> None:
        """Begins to read `what`, unless it was asked for last, or anything was a moment ago."""
        is_early = self._asked_at is not None and now - self._asked_at < at_most_every
        if self._asked is None or (what != self._asked and not is_early):
            self._asked, self._asked_at = what, now
            self.work = BACKGROUND.submit((self.name, what), read)

    def forget(self) -> None:
        """What is wanted next is read, whatever was asked for last. The value stays until then."""
        self._asked = self._asked_at = None

    def drop(self) -> None:
        """As `forget`, and what was read last is not shown any more."""
        self.forget()
        self.what = self.value = self.at = self.error = self.work = None

    def renew(self, *, after: timedelta, now: datetime) -> None:
        """Has what is wanted next read again, where it was asked for so long ago and has been read."""
        if self.work is None and self._asked_at is not None and now - self._asked_at >= after:
            self.forget()

    def value_of(self, what: Hashable) -> T | None:
        """The value, where it is the last good one of exactly that."""
        return self.value if self.what == what else None

    def collect(self, now: datetime, *, patience: float = _A_MOMENT) -> None:
        """Takes in what was read, after a moment's wait for it."""
        if self.work is None:
            return
        wait([self.work], timeout=patience)
        if not self.work.done():
            return
        work, self.work = self.work, None
        try:
            self.value, self.what, self.at, self.error = work.result(), self._asked, now, None
        except TfPilotError as error:
            self.error = error

    @property
    def is_busy(self) -> bool:
        return self.work is not None

    @property
    def has_news(self) -> bool:
        """Whether something was read that `collect` did not see yet."""
        return self.work is not None and self.work.done()


class Memo(Generic[T]):
    """The last value that was made, for as long as what it is made of is the same. Several threads may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[Any, T] | None = None

    def get(self, what: Hashable, make: Callable[[], T]) -> T:
        """The value of `what`, made now where the last one is of something else."""
        with self._lock:
            if self._made is None or self._made[0] != what:
                self._made = (what, make())
            return self._made[1]
