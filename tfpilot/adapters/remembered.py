"""What was asked of somebody, remembered for a while, so that they are not asked the same all the time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from datetime import timedelta
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Answers by their question, the newest few, each for its time. For any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def find(self, question: K) -> V | None:
        """The answer while it lasts, else None."""
        with self._lock:
            found = self._answers.get(question)
            return found[0] if found is not None and time.monotonic() < found[1] else None

    def put(self, question: K, answer: V, *, lasting: timedelta, at_most: int) -> None:
        """Remembers the answer, and of all answers the newest `at_most`."""
        with self._lock:
            self._answers[question] = (answer, time.monotonic() + lasting.total_seconds())
            self._answers.move_to_end(question)
            while len(self._answers) > at_most:
                self._answers.popitem(last=False)
