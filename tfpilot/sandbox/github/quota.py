"""The hourly number of calls each account has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of one account's hour; `reset_at` is when it has all of it again."""

    limit: int
    used: int
    reset_at: datetime

    @property
    def remaining(self) -> int:
        return max(self.limit - self.used, 0)


class Quota:
    """Counts the calls per login. An hour begins with the first call after the last one ended."""

    def __init__(self, limit: int, *, clock: Callable[[], datetime]) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.RLock()
        self._budgets: dict[str, Budget] = {}

    def budget(self, login: str) -> Budget:
        """What this account has left now."""
        now = self._clock()
        with self._lock:
            known = self._budgets.get(login)
            return known if known is not None and known.reset_at > now else Budget(self._limit, 0, now + WINDOW)

    def spend(self, login: str) -> Budget:
        """The budget after one call more."""
        with self._lock:
            before = self.budget(login)
            return self._store(login, Budget(before.limit, before.used + 1, before.reset_at))

    def set_remaining(self, login: str, remaining: int) -> Budget:
        """The budget with exactly so many calls left in this hour."""
        with self._lock:
            before = self.budget(login)
            return self._store(login, Budget(before.limit, before.limit - remaining, before.reset_at))

    def _store(self, login: str, budget: Budget) -> Budget:
        self._budgets[login] = budget
        return budget
