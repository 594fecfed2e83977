"""One piece of work at a time, and one run of it for everybody who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable


class SingleFlight:
    """Runs `work`, which answers whether it succeeded, never twice at the same time."""

    def __init__(self, work: Callable[[], bool]) -> None:
        self._work = work
        self._turn = threading.Condition()
        self._is_running = False
        self._is_closed = False
        self._begun = 0
        self._done = 0
        self._succeeded = True

    def ensure(self, is_enough: Callable[[], bool]) -> None:
        """Returns when `is_enough`, or after a run that began after this call, or one that was waited for and failed.

        Runs the work itself where nobody else does.
        """
        with self._turn:
            if not self._is_mine(is_enough):
                return
            self._is_running = True
            self._begun += 1
        succeeded = False
        try:
            succeeded = self._work()
        finally:
            with self._turn:
                self._is_running = False
                self._succeeded = succeeded
                self._done = self._begun
                self._turn.notify_all()

    def close(self) -> None:
        """Waits for the run that is under way; there is none after it."""
        with self._turn:
            self._is_closed = True
            self._turn.wait_for(lambda: not self._is_running)

    def _is_mine(self, is_enough: Callable[[], bool]) -> bool:
        """Whether the caller must run the work; waits for a run that is under way."""
        seen = self._begun
        while not (self._is_closed or self._done > seen or is_enough()):
            if not self._is_running:
                return True
            self._wait_for_end_of(self._begun)
            if not self._succeeded:
                return False
        return False

    def _wait_for_end_of(self, run: int) -> None:
        self._turn.wait_for(lambda: self._done >= run)
