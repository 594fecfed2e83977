"""Work outside a page's script: it goes on when the page is left, and one key never runs twice at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

T = TypeVar("T")

WORKERS: Final = 8


class Background:
    """A few threads. Whoever asks for a key that is under way gets that work instead of starting it again."""

    def __init__(self, workers: int = WORKERS) -> None:
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="page-work")
        self._running: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()

    def submit(self, key: Hashable, work: Callable[[], T]) -> Future[T]:
        """The running work of `key`, or this one, started now. A key stands for one kind of work."""
        with self._lock:
            running = self._running.get(key)
            if running is not None and not running.done():
                return running
            future = self._pool.submit(work)
            self._running[key] = future
        future.add_done_callback(lambda _done: self._forget(key, future))
        return future

    def _forget(self, key: Hashable, future: Future[Any]) -> None:
        with self._lock:
            if self._running.get(key) is future:
                del self._running[key]


BACKGROUND: Final = Background()
"""The one pool of the process: sessions share it, so that two tabs do not do the same work twice."""
