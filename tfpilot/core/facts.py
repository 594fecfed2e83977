"""Joining what two places say about one run or pull request (SPEC §1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tfpilot.core.model import REQUESTED, PullFact, RunFact

TRIGGER_TOLERANCE: Final = timedelta(seconds=5)
"""How much later than a concluded run a trigger must be to start a newer attempt: GitHub's clock and ours differ."""

_OLDEST: Final = datetime.min.replace(tzinfo=UTC)
_PROGRESS: Final = {
    name: rank for rank, name in enumerate(("requested", "queued", "pending", "waiting", "in_progress"), 1)
}


def join_runs(canonical: RunFact | None, legacy: RunFact | None) -> RunFact | None:
    """The one fact that both places together tell; None where neither tells any.

    Different run ids: the canonical one. A fact without id is the same run as one with: they are joined.
    """
    if canonical is None or legacy is None:
        return canonical or legacy
    if _are_different(canonical.run_id, legacy.run_id):
        return canonical
    newer, older = (legacy, canonical) if _rank(legacy) > _rank(canonical) else (canonical, legacy)
    return _filled(newer, older)


def newest_run(stored: RunFact | None, learned: RunFact) -> RunFact:
    """What is known after GitHub said `learned` about the run we track: facts of one run never regress.

    Another run id replaces the stored fact: whoever asks has decided that the new run is the request's.
    """
    if stored is None or _are_different(stored.run_id, learned.run_id):
        return learned
    if stored.run_id is None:
        return _filled(learned, stored)
    newer, older = (stored, learned) if _order(stored) > _order(learned) else (learned, stored)
    return _filled(newer, older)


def current_attempt(fact: RunFact | None, *, intent: RunFact | None, triggered_at: datetime | None) -> RunFact | None:
    """The fact of the newest attempt: `fact`, or the intent that a later trigger started.

    A trigger more than 5 s after a concluded run was created (if unknown: last updated) starts a newer attempt without
    id, whether or not `intent`, a stored fact without id, is there.
    """
    if fact is None or fact.conclusion is None or triggered_at is None:
        return fact
    concluded_run_began = fact.created_at or fact.updated_at
    if concluded_run_began is None or triggered_at - concluded_run_began <= TRIGGER_TOLERANCE:
        return fact
    return intent if intent is not None and intent.conclusion is None else RunFact(status=REQUESTED)


def join_pulls(facts: Iterable[PullFact]) -> PullFact | None:
    """The one pull request that all places together tell, the canonical one first. Merged beats not merged."""
    joined: PullFact | None = None
    for fact in facts:
        joined = fact if joined is None else _join_two_pulls(joined, fact)
    return joined


def _join_two_pulls(canonical: PullFact, legacy: PullFact) -> PullFact:
    newer, older = (legacy, canonical) if _pull_rank(legacy) > _pull_rank(canonical) else (canonical, legacy)
    return replace(
        newer,
        number=newer.number or older.number,
        url=newer.url or older.url,
        open=older.open if newer.open is None else newer.open,
        merged=older.merged if newer.merged is None else newer.merged,
        merged_at=newer.merged_at or older.merged_at,
        merge_commit_sha=newer.merge_commit_sha or older.merge_commit_sha,
        head_sha=newer.head_sha or older.head_sha,
        head_branch=newer.head_branch or older.head_branch,
        title=newer.title or older.title,
        author=newer.author or older.author,
        created_at=newer.created_at or older.created_at,
    )


def _are_different(first: int | None, second: int | None) -> bool:
    return first is not None and second is not None and first != second


def _rank(fact: RunFact) -> tuple[int, bool, datetime]:
    return (fact.attempt or 1, fact.conclusion is not None, fact.updated_at or _OLDEST)


def _order(fact: RunFact) -> tuple[tuple[int, bool, datetime], int, str]:
    """A total order of what can be said about one run: the newest is the same in whatever order it was heard."""
    return (_rank(fact), _PROGRESS.get(fact.status or "", 0), f"{fact.status}/{fact.conclusion}")


def _pull_rank(fact: PullFact) -> tuple[bool, datetime]:
    return (fact.merged is True, fact.updated_at or _OLDEST)


def _filled(newer: RunFact, older: RunFact) -> RunFact:
    """`newer` with the descriptive fields it lacks; status, conclusion and update time are never mixed."""
    return replace(
        newer,
        run_id=newer.run_id or older.run_id,
        head_sha=newer.head_sha or older.head_sha,
        created_at=newer.created_at or older.created_at,
        url=newer.url or older.url,
        html_url=newer.html_url or older.html_url,
    )
