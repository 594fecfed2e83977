"""Whether a destroyed request still needs its cleanup dispatched: once per destroy run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import NOW, ago, run, with_run
from tests.dispatch_setup import applied, destroyed, destroying, triggered
from tfpilot.core.cleanup import find_destroy_to_clean_up
from tfpilot.core.model import Answer, FactOutcome, GitHubFacts, PullFact, RepoRef, RunFact, WorkflowKind, WorkflowRun
from tfpilot.core.request import parse_request

NO_PULL = Answer(FactOutcome.NOT_FOUND)


def due(document: dict[str, Any], facts: GitHubFacts | None = None) -> int | None:
    return find_destroy_to_clean_up(parse_request(document), NOW, facts)


def with_github(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**document, "github": {**document["github"], **fields}}


def with_step(document: dict[str, Any], *, minutes: float) -> dict[str, Any]:
    """With an open cleanup pull request, which its timeline says was opened then."""
    link = "https://github.com/acme/infra/pull/9"
    step = {"step": "Cleanup PR opened", "status": "Complete", "message": link, "at": ago(minutes=minutes)}
    return {**document, "cleanupPr": {"number": 9, "status": "open", "merged": False}, "timeline": [step]}


def test_a_destroy_that_succeeded_and_was_never_cleaned_up_is_due():
    assert due(destroyed()) == 6
    assert due(destroyed(), GitHubFacts(cleanup_pull=NO_PULL)) == 6


@pytest.mark.parametrize(
    "document",
    [
        applied(),
        destroying(runId=6),
        destroyed(conclusion="failure"),
        destroyed(conclusion="skipped"),
        with_run(destroyed(), "apply", **run(7, createdAt=ago(minutes=5))),
        with_run(applied(), "destroy", status="completed", conclusion="success"),
    ],
)
def test_nothing_is_due_without_a_destroy_that_counts_succeeded_and_has_a_run(document):
    assert due(document) is None


def test_it_is_due_once_per_destroy_run():
    assert due(with_github(destroyed(), cleanupTriggeredForDestroyRunId=6)) is None
    assert due(with_github(destroyed(), cleanupTriggeredForDestroyRunId="6")) == 6
    assert due(with_github(destroyed(), cleanupTriggeredForDestroyRunId=4)) == 6


def test_it_is_due_again_where_it_could_not_be_dispatched():
    failed = with_github(destroyed(), cleanupTriggeredForDestroyRunId=6, cleanupDispatchStatus="error")
    assert due(failed) == 6
    assert due(with_github(failed, cleanupDispatchStatus="pending")) is None


def test_while_a_cleanup_was_dispatched_and_its_run_is_not_known_nothing_is_due():
    open_intent = triggered(with_run(destroyed(), "cleanup", status="requested"), "cleanupTriggeredAt", ago(minutes=1))
    assert due(with_github(open_intent, cleanupDispatchStatus="error")) is None
    assert due(triggered(destroyed(), "cleanupTriggeredAt", ago(minutes=1))) is None
    assert due(triggered(destroyed(), "cleanupTriggeredAt", "a moment ago")) is None


@pytest.mark.parametrize(("minutes", "expected"), [(19, None), (20, None), (21, 6)])
def test_a_cleanup_run_counts_unless_it_is_older_than_the_destroy(minutes, expected):
    assert due(with_run(destroyed(), "cleanup", **run(8, createdAt=ago(minutes=minutes)))) == expected


def test_a_cleanup_run_of_unknown_age_counts():
    assert due(with_run(destroyed(), "cleanup", **run(8))) is None


@pytest.mark.parametrize(("minutes", "expected"), [(19, None), (20, None), (21, 6)])
def test_a_cleanup_pull_request_counts_unless_it_was_opened_before_the_destroy(minutes, expected):
    assert due(with_step(destroyed(), minutes=minutes)) == expected


def test_a_cleanup_pull_request_of_unknown_age_counts():
    assert due({**with_step(destroyed(), minutes=50), "timeline": []}) is None
    assert due({**with_step(destroyed(), minutes=50), "timeline": "odd"}) is None


def test_what_github_says_of_the_pull_request_beats_the_timeline():
    old = PullFact(number=9, open=True, created_at=NOW.replace(hour=1))
    new = PullFact(number=9, open=True, created_at=NOW)
    asked = GitHubFacts(cleanup_pull=Answer(FactOutcome.OK, old))
    assert due(with_step(destroyed(), minutes=1), asked) == 6
    asked = GitHubFacts(cleanup_pull=Answer(FactOutcome.OK, new))
    assert due(with_step(destroyed(), minutes=50), asked) is None


@pytest.mark.parametrize("outcome", [FactOutcome.TIMEOUT, FactOutcome.NOT_ASKED, FactOutcome.FORBIDDEN])
def test_what_github_could_not_tell_is_no_none(outcome):
    assert due(destroyed(), GitHubFacts(cleanup_pull=Answer(outcome))) is None
    asked = {WorkflowKind.CLEANUP: Answer(outcome)}
    assert due(destroyed(), GitHubFacts(cleanup_pull=NO_PULL, runs=asked)) is None


def test_github_that_knows_no_newer_cleanup_leaves_it_due():
    asked = {WorkflowKind.CLEANUP: Answer(FactOutcome.OK, WorkflowRun(RunFact(run_id=3), RepoRef("acme", "infra")))}
    assert due(destroyed(), GitHubFacts(cleanup_pull=NO_PULL, runs=asked)) == 6
