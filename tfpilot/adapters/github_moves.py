"""Where renamed repositories are now, so that not every question about one is asked twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from datetime import timedelta
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

REMEMBERED_FOR: Final = timedelta(minutes=10)
"""Then GitHub is asked under the stored name again: another repository may have it by now."""

_MOST_REMEMBERED: Final = 1024


class Remembered(Generic[K, V]):
    """Values that are forgotten after ten minutes. For any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[K, tuple[V, float]] = {}

    def note(self, key: K, value: V) -> None:
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = (value, time.monotonic() + REMEMBERED_FOR.total_seconds())

    def find(self, key: K) -> V | None:
        with self._lock:
            found = self._known.get(key)
        return found[0] if found is not None and time.monotonic() < found[1] else None


class Moves:
    """Paths of repositories that GitHub redirected, by the path that was asked. For any number of threads."""

    def __init__(self) -> None:
        self._places: Remembered[str, str] = Remembered()

    def note(self, asked_url: str, target_url: str) -> None:
        """Remembers a redirect of everything under one repository; any other redirect is left alone."""
        asked, target = urlsplit(asked_url).path, urlsplit(target_url).path
        repository = _repository(asked)
        rest = asked.removeprefix(repository)
        if repository and target.endswith(rest):
            self._places.note(repository, target.removesuffix(rest))

    def find(self, url: str) -> str | None:
        """Where to ask instead, None where nothing is known."""
        parts = urlsplit(url)
        repository = _repository(parts.path)
        place = self._places.find(repository)
        return None if place is None else parts._replace(path=place + parts.path.removeprefix(repository)).geturl()


def _repository(path: str) -> str:
    """The part of an API path that names a repository (`/repos/acme/infra`), empty where there is none."""
    before, mark, after = path.partition("/repos/")
    names = after.split("/", 2)
    return f"{before}{mark}{names[0]}/{names[1]}" if mark and len(names) > 1 else ""
