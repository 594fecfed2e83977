"""Keeps a snapshot young in the background."""

from __future__ import annotations

import threading
from datetime import timedelta

from tfpilot.edges import Snapshots


class Renewal:
    """Renews snapshots at once and then every `interval`, in a thread of its own, from `start` to `stop`."""

    def __init__(self, snapshots: Snapshots, *, interval: timedelta) -> None:
        self._snapshots = snapshots
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot-renewal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended, after the reading that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._snapshots.refresh(older_than=self._interval)
            self._stopping.wait(self._interval.total_seconds())
