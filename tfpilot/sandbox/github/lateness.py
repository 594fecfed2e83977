"""Which runs a list shows already, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime

from tfpilot.sandbox.github.state import Lists, Run


def listed(runs: Iterable[Run], lists: Lists, *, now: datetime, asked: int) -> tuple[Run, ...]:
    """What the list shows that is asked for `now`, newest first, the `asked`-th list of the repository."""
    seen = [run for run in runs if not run.is_dispatched or _is_due(run, lists, now=now, asked=asked)]
    return tuple(sorted(seen, key=lambda run: (run.created_at, _place(run, lists.seed), run.id), reverse=True))


def _is_due(run: Run, lists: Lists, *, now: datetime, asked: int) -> bool:
    part = 1.0 if lists.seed is None else _share(f"late:{lists.seed}:{run.id}")
    waited = asked - 1 - run.lists_before
    return now >= run.created_at + lists.late * part and waited >= round(lists.late_calls * part)


def _place(run: Run, seed: int | None) -> float:
    return 0.0 if seed is None else _share(f"place:{seed}:{run.id}")


def _share(text: str) -> float:
    """A number from 0 to 1, the same for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 0xFFFFFFFF
