"""What the list endpoints leave out, and in which order the rest comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from tfpilot.sandbox.github.asking import ProblemError
from tfpilot.sandbox.github.state import Pull, Repo, Run

SEARCHED: Final = ("actor", "branch", "event", "status", "created", "head_sha", "check_suite_id")
SEARCH_LIMIT: Final = 1000
"""A filtered list of runs comes from a search, which never shows more, whatever its total says."""

Span = tuple[datetime, datetime]


def select_pulls(pulls: Sequence[Pull], repo: Repo, query: Mapping[str, str]) -> list[Pull]:
    """The pull requests a list shows: open ones unless asked otherwise, newest first.

    `head` filters as `owner:branch` alone; without the owner it is ignored, as on GitHub.
    """
    state, base = query.get("state", "open"), query.get("base", "")
    owner, has_owner, branch = query.get("head", "").partition(":")
    seen = [
        pull
        for pull in pulls
        if (state == "all" or pull.is_open == (state == "open"))
        and (not base or pull.base == base)
        and (not has_owner or (owner.lower() == repo.owner.lower() and branch == pull.branch))
    ]
    by_update = query.get("sort") == "updated"
    descending = query.get("direction", "asc" if by_update else "desc") == "desc"
    return sorted(
        seen, key=lambda pull: (pull.updated_at if by_update else pull.created_at, pull.number), reverse=descending
    )


def select_runs(runs: Sequence[Run], query: Mapping[str, str]) -> list[Run]:
    """The runs that every filter in the query lets through, in the order given."""
    tests = [_run_test(name, query[name]) for name in SEARCHED if query.get(name)]
    return [run for run in runs if all(test(run) for test in tests)]


def within_search(runs: Sequence[Run], query: Mapping[str, str]) -> Sequence[Run]:
    """The selected runs that a list can ever show."""
    return runs[:SEARCH_LIMIT] if any(query.get(name) for name in SEARCHED) else runs


def _run_test(name: str, value: str) -> Callable[[Run], bool]:
    tests: dict[str, Callable[[Run], bool]] = {
        "actor": lambda run: run.actor.lower() == value.lower(),
        "branch": lambda run: run.branch == value,
        "event": lambda run: run.event == value,
        "status": lambda run: value in {run.latest.status, run.latest.conclusion},
        "head_sha": lambda run: run.head_sha == value,
        "check_suite_id": lambda run: str(run.id) == value,
    }
    return _created_test(value) if name == "created" else tests[name]


def _created_test(text: str) -> Callable[[Run], bool]:
    start, end = _window(text)
    return lambda run: start <= run.created_at < end


def _window(text: str) -> Span:
    first, is_range, last = text.partition("..")
    if is_range:
        return _span(first, EVER)[0], _span(last, EVER)[1]
    sign = text[: len(text) - len(text.lstrip("<>="))]
    start, end = _span(text[len(sign) :])
    windows = {
        "": (start, end),
        ">=": (start, EVER[1]),
        ">": (end, EVER[1]),
        "<=": (EVER[0], end),
        "<": (EVER[0], start),
    }
    return windows[sign]


EVER: Final[Span] = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def _span(text: str, any_time: Span | None = None) -> Span:
    """The day or the second that a text names."""
    if text == "*" and any_time is not None:
        return any_time
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        raise ProblemError(422, f"Validation Failed: {text!r} is no time") from None
    length = timedelta(days=1) if len(text) == len("2026-01-01") else timedelta(seconds=1)
    start = start if start.tzinfo else start.replace(tzinfo=UTC)
    return start, start + length
