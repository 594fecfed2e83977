"""Facts by source: what is stored beside what GitHub answered, and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tfpilot.core.model import (
    Answer,
    FactOutcome,
    PullFact,
    Request,
    Review,
    RunFact,
    SyncResult,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.ui import looks, words

NAMES: Final[Mapping[str, str]] = {
    "pull": "Pull request",
    "reviews": "Reviews",
    "plan": "Plan run",
    "apply": "Apply run",
    "destroy": "Destroy run",
    "cleanup_pull": "Cleanup PR",
    "cleanup": "Cleanup run",
    "drift_plan": "Drift run",
}
"""The facts by the names GitHub's answers have, in the order of a request's life."""

_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "pull": ("github.pr", "pr", "pullRequest", "prNumber", "prUrl", "mergedSha"),
    "reviews": ("approval",),
    "plan": ("github.workflows.plan", "planRun", "github.unresolved.plan"),
    "apply": ("github.workflows.apply", "applyRun", "github.unresolved.apply"),
    "destroy": ("github.workflows.destroy", "destroyRun", "github.unresolved.destroy"),
    "cleanup_pull": ("cleanupPr", "timeline"),
    "cleanup": ("github.workflows.cleanup", "github.unresolved.cleanup"),
    "drift_plan": ("github.workflows.drift_plan", "github.unresolved.drift_plan"),
}
_NONE: Final = ":gray[none]"
_TELLING: Final = frozenset({FactOutcome.OK, FactOutcome.NOT_FOUND})


def rows_of(result: SyncResult) -> list[Mapping[str, str]]:
    """One row per fact, its cells in Markdown."""
    answers = result.facts.answers()
    return [
        {
            "Fact": label,
            "GitHub answered": looks.OUTCOMES[answers[name].outcome].badge,
            "Stored": _stored(result.request, name),
            "GitHub says": _said(answers[name]),
            "Result": _result(result, name, answers[name]),
        }
        for name, label in NAMES.items()
    ]


def unlearned(result: SyncResult) -> list[str]:
    """What GitHub did not tell, each with what that means: `Plan run: timeout, no answer in time`."""
    answers = result.facts.answers()
    return [
        f"{label}: {answers[name].outcome.value}, {_meaning(answers[name])}"
        for name, label in NAMES.items()
        if answers[name].outcome in looks.MEANINGS
    ]


def summary(result: SyncResult) -> str:
    """How many facts are known, and what it cost."""
    asked = [answer for answer in result.facts.answers().values() if answer.outcome is not FactOutcome.NOT_ASKED]
    known = sum(answer.outcome in _TELLING for answer in asked)
    return (
        f"{known} of {words.counted(len(asked), 'fact')} known. A fact that GitHub did not answer keeps its stored "
        f"value. Calls used: {result.facts.calls}."
    )


def _meaning(answer: Answer[Any]) -> str:
    meaning = looks.MEANINGS[answer.outcome]
    if answer.retry_after is not None:
        meaning += f", {words.lasting(answer.retry_after)}"
    return (
        f"{meaning} ({answer.detail})"
        if answer.detail and answer.outcome is not FactOutcome.CROSSED
        else (answer.detail or meaning)
    )


def _result(result: SyncResult, name: str, answer: Answer[Any]) -> str:
    if answer.outcome is FactOutcome.NOT_ASKED:
        return ":gray[nothing to compare]"
    if answer.outcome not in _TELLING:
        left_alone = answer.outcome is FactOutcome.CROSSED
        return ":material/shuffle: left alone" if left_alone else ":material/help: stored fact kept"
    if any(_is_under(change.dotted, _PATHS[name]) for change in result.plan.changes):
        return ":material/edit: written" if result.written else ":material/edit: GitHub is newer"
    return ":material/check: same"


def _is_under(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(f"{place}.") for place in places)


def _said(answer: Answer[Any]) -> str:
    if answer.outcome is FactOutcome.NOT_ASKED:
        return words.NOTHING
    if answer.value is None:
        none = answer.outcome is FactOutcome.NOT_FOUND
        return words.plain(answer.detail) or (_NONE if none else looks.MEANINGS.get(answer.outcome, ""))
    if isinstance(answer.value, WorkflowRun):
        return _run(answer.value.fact)
    if isinstance(answer.value, PullFact):
        return _pull(answer.value)
    return _reviews(answer.value)


def _stored(request: Request, name: str) -> str:
    if name == "pull":
        return _pull(request.pull) if request.pull else _NONE
    if name == "cleanup_pull":
        return _pull(request.cleanup_pull) if request.cleanup_pull else _NONE
    if name == "reviews":
        return _reviews(request.approval.reviews.values())
    run = request.runs.get(WorkflowKind(name))
    return _run(run) if run is not None else _NONE


def _run(run: RunFact) -> str:
    attempt = f", attempt {run.attempt}" if run.attempt and run.attempt > 1 else ""
    known = f"{run.run_id}{attempt}" if run.run_id is not None else "no run id"
    states = " ".join(words.code(state) for state in (run.status, run.conclusion) if state)
    return f"{known} {states}".strip()


def _pull(pull: PullFact) -> str:
    return " ".join(_pull_parts(pull))


def _pull_parts(pull: PullFact) -> Iterator[str]:
    yield words.plain(f"#{pull.number}") if pull.number is not None else "no number"
    if pull.merged:
        yield "merged"
    elif pull.open is not None:
        yield "open" if pull.open else "closed"
    if pull.head_sha:
        yield words.code(pull.head_sha[:7])


def _reviews(reviews: Iterable[Review]) -> str:
    told = [f"{words.plain(review.login)} {words.code(review.state.upper())}" for review in reviews]
    return ", ".join(told) or _NONE
