"""Many requests brought to what GitHub says, without a click."""

from __future__ import annotations

import pytest

from tests.builders import REQUEST_ID, request, run, stuck_planning, with_pull, with_run
from tests.core.saying import FORBIDDEN, answer_pull, answer_run
from tests.fakes import OUTAGE, InMemory
from tfpilot.core.model import GitHubFacts, WorkflowKind
from tfpilot.core.sweep import SweepScope
from tfpilot.errors import GitHubError, StorageError
from tfpilot.operations.sweep import sweep

HEALTHY, SECOND = "req_dev_s3_healthy", "req_dev_s3_second"


@pytest.fixture
def bucket_of_three(memory: InMemory) -> InMemory:
    """Two stuck requests, and one that is applied and healthy."""
    applied = with_run(with_run(with_pull(request(HEALTHY)), "plan", **run(111)), "apply", **run(112))
    memory.store(stuck_planning(), stuck_planning(SECOND, run_id=121), applied)
    for request_id, run_id in ((REQUEST_ID, 101), (SECOND, 121), (HEALTHY, 111)):
        plan = {WorkflowKind.PLAN: answer_run(run_id)}
        memory.github.answers[request_id] = GitHubFacts(pull=answer_pull(), runs=plan)
    return memory


def test_a_bare_sweep_heals_what_is_stuck_and_leaves_what_is_healthy_alone(bucket_of_three):
    outcomes = {each.request_id: each for each in sweep(bucket_of_three.edges, SweepScope.DUE)}
    assert {name for name, each in outcomes.items() if each.result.written} == {REQUEST_ID, SECOND}
    assert HEALTHY not in outcomes
    assert bucket_of_three.stored(SECOND)["planRun"]["conclusion"] == "success"


def test_a_sweep_of_all_asks_about_the_healthy_too(bucket_of_three):
    list(sweep(bucket_of_three.edges, SweepScope.ALL))
    assert {query.request_id for query in bucket_of_three.github.queries} == {REQUEST_ID, SECOND, HEALTHY}


def test_one_request_that_fails_does_not_hide_the_others(bucket_of_three):
    bucket_of_three.github.answers[REQUEST_ID] = GitHubFacts(pull=FORBIDDEN, runs={WorkflowKind.PLAN: FORBIDDEN})
    outcomes = {each.request_id: each for each in sweep(bucket_of_three.edges, SweepScope.ALL)}
    assert isinstance(outcomes[REQUEST_ID].error, GitHubError)
    assert outcomes[SECOND].result.written


def test_a_second_sweep_writes_nothing(bucket_of_three):
    list(sweep(bucket_of_three.edges, SweepScope.ALL))
    bucket_of_three.clock.advance(minutes=31)
    assert not any(each.result.wrote for each in sweep(bucket_of_three.edges, SweepScope.ALL))


def test_a_sweep_acts_as_the_portal_itself(bucket_of_three):
    list(sweep(bucket_of_three.edges, SweepScope.STUCK))
    [event] = bucket_of_three.edges.events.list(REQUEST_ID, limit=9)
    assert event.actor == "system"


def test_a_bucket_that_cannot_be_listed_is_no_empty_sweep(bucket_of_three):
    bucket_of_three.bucket.outage = OUTAGE
    with pytest.raises(StorageError, match="could not be listed"):
        list(sweep(bucket_of_three.edges, SweepScope.ALL))
