"""Concurrency groups: one run goes on, one waits, and the newest to wait pushes out the one that did."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tfpilot.sandbox.github.state import COMPLETED, PENDING, QUEUED, Run


def entered(run: Run, others: Iterable[Run], at: datetime) -> tuple[Run, ...]:
    """A queued run as its group takes it in, first, and then the run that it pushes out, cancelled.

    As GitHub does without `cancel-in-progress`. A run without a group, or that is not queued, is left as it is.
    """
    members = _members(run, others)
    if run.latest.status != QUEUED or not members:
        return (run,)
    pushed_out = (
        other.updated(at, status=COMPLETED, conclusion="cancelled")
        for other in members
        if other.latest.status == PENDING
    )
    return (run.updated(run.updated_at, status=PENDING, conclusion=None), *pushed_out)


def let_in(run: Run, others: Iterable[Run], at: datetime) -> tuple[Run, ...]:
    """The run that waited for `run`, which is over now, queued; none where nobody waited or another run goes on."""
    members = _members(run, others)
    if run.latest.status != COMPLETED or any(other.latest.status != PENDING for other in members):
        return ()
    return tuple(other.updated(at, status=QUEUED, conclusion=None) for other in members)


def _members(run: Run, others: Iterable[Run]) -> list[Run]:
    """The other runs of its group that are not over."""
    return [
        other
        for other in others
        if run.group
        and (other.repo_id, other.group) == (run.repo_id, run.group)
        and other.id != run.id
        and other.latest.status != COMPLETED
    ]
