"""All questions about one request at once, on a shared pool of threads, and what came back before the deadline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar

from tfpilot.adapters.github_facts import Questions
from tfpilot.core.model import (
    NOT_ASKED,
    Answer,
    FactOutcome,
    GitHubFacts,
    JobsFact,
    PullFact,
    Review,
    RunQuestion,
    WorkflowKind,
    WorkflowRun,
)

A = TypeVar("A")
B = TypeVar("B")

_TIMED_OUT: Final[Answer[Any]] = Answer(FactOutcome.TIMEOUT, detail="GitHub did not answer in time")


def gather(pool: Executor, questions: Questions) -> GitHubFacts:
    """Every answer that came within the allowance; what has none then is a timeout, and its task is dropped or ends
    without being heard. What a task raises is raised here: it is a bug."""
    tasks = _Tasks.begun(pool, questions)
    try:
        wait(tasks.all(), timeout=questions.allowance.seconds_left(), return_when=FIRST_EXCEPTION)
    finally:
        for task in tasks.all():
            task.cancel()
    return _with_sight_proven(replace(tasks.facts(), calls=questions.allowance.calls))


@dataclass(frozen=True, slots=True)
class _Tasks:
    pull: Future[Answer[PullFact]]
    reviews: Future[Answer[tuple[Review, ...]]]
    cleanup_pull: Future[Answer[PullFact]]
    runs: Mapping[WorkflowKind, tuple[Future[Answer[WorkflowRun]], Future[Answer[JobsFact]]]]

    @classmethod
    def begun(cls, pool: Executor, questions: Questions) -> _Tasks:
        pull, reviews = _begin_pull(pool, questions)
        return cls(
            pull=pull,
            reviews=reviews,
            cleanup_pull=pool.submit(questions.cleanup_pull),
            runs={asked.kind: _begin_run(pool, questions, asked) for asked in questions.query.runs},
        )

    def all(self) -> list[Future[Any]]:
        return [self.pull, self.reviews, self.cleanup_pull, *(task for pair in self.runs.values() for task in pair)]

    def facts(self) -> GitHubFacts:
        return GitHubFacts(
            pull=_answer_of(self.pull),
            reviews=_answer_of(self.reviews),
            cleanup_pull=_answer_of(self.cleanup_pull),
            runs={kind: _answer_of(run) for kind, (run, _) in self.runs.items()},
            jobs={kind: _answer_of(jobs) for kind, (_, jobs) in self.runs.items()},
        )


def _begin_pull(
    pool: Executor, questions: Questions
) -> tuple[Future[Answer[PullFact]], Future[Answer[tuple[Review, ...]]]]:
    number = questions.query.pr_number
    if number is not None:
        return pool.submit(questions.pull), pool.submit(questions.reviews, number)
    return _in_turn(pool, questions.pull, partial(_ask_reviews, questions))


def _ask_reviews(questions: Questions, pull: Answer[PullFact]) -> Answer[tuple[Review, ...]]:
    if pull.value is None or pull.value.number is None:
        return NOT_ASKED
    return questions.reviews(pull.value.number)


def _begin_run(
    pool: Executor, questions: Questions, asked: RunQuestion
) -> tuple[Future[Answer[WorkflowRun]], Future[Answer[JobsFact]]]:
    ask_jobs: Callable[[Answer[WorkflowRun]], Answer[JobsFact]]
    ask_jobs = questions.jobs if asked.ask_jobs else lambda _run: NOT_ASKED
    return _in_turn(pool, partial(questions.run, asked), ask_jobs)


def _in_turn(pool: Executor, first: Callable[[], A], second: Callable[[A], B]) -> tuple[Future[A], Future[B]]:
    """One task that asks two things in turn; the first answer is there before the second."""
    answered: Future[A] = Future()
    answered.set_running_or_notify_cancel()  # it cannot be cancelled, so the task may always set it

    def task() -> B:
        answer = first()
        answered.set_result(answer)
        return second(answer)

    return answered, pool.submit(task)


def _answer_of(task: Future[Answer[A]]) -> Answer[A]:
    if task.cancelled() or not task.done():
        return _TIMED_OUT
    return task.result()


def _with_sight_proven(facts: GitHubFacts) -> GitHubFacts:
    """The facts, with "not found" believed only where something else shows that the token sees the repository.

    GitHub answers 404 both for what does not exist and for what the token may not see.
    """
    if any(_proves_sight(name, answer) for name, answer in facts.answers().items()):
        return facts
    return replace(
        facts,
        pull=_doubted(facts.pull),
        reviews=_doubted(facts.reviews),
        runs={kind: _doubted(run) for kind, run in facts.runs.items()},
    )


def _proves_sight(name: str, answer: Answer[Any]) -> bool:
    if answer.outcome in {FactOutcome.OK, FactOutcome.CROSSED}:
        return True
    # A list of pull requests that is empty is an answer about a repository that is seen; its 404 is "forbidden".
    return name == "cleanup_pull" and answer.outcome is FactOutcome.NOT_FOUND


def _doubted(answer: Answer[A]) -> Answer[A]:
    if answer.outcome is not FactOutcome.NOT_FOUND:
        return answer
    detail = f"{answer.detail}: nothing shows that the token sees the repository"
    return replace(answer, outcome=FactOutcome.FORBIDDEN, detail=detail)
