"""The cleanup after a destroy: dispatched once, by the portal itself."""

from __future__ import annotations

import pytest

from tests.builders import REQUEST_ID
from tests.dispatch_setup import DEVELOPER, SYSTEM, destroying, refused, unknown
from tests.fakes import InMemory
from tests.operations.dispatching import STEPS, at_write, cleanable, ends, web_app_stores
from tfpilot.core.dispatch import DispatchEnd
from tfpilot.core.request import parse_request
from tfpilot.edges import Rights
from tfpilot.errors import MissingRightError, RefusedError
from tfpilot.operations.dispatch import clean_up_after_destroy


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_portal_itself_cleans_up_after_a_destroy_in_every_environment(environment):
    rights = Rights("", "", frozenset({"dev"}), frozenset({"somebody"}), frozenset({"somebody"}))
    memory = InMemory(rights=rights)
    memory.store(cleanable(environment=environment))
    result = clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM)
    assert result is not None
    assert result.end is DispatchEnd.STARTED
    [order] = memory.workflows.orders
    assert order.inputs["auto_merge"] == ("true" if environment == "dev" else "false")
    github = memory.stored(REQUEST_ID)["github"]
    assert (github["cleanupTriggeredForDestroyRunId"], github["cleanupDispatchStatus"]) == (6, "dispatched")


@pytest.mark.parametrize("answer", ["started", "unknown"])
def test_the_cleanup_is_dispatched_once_per_destroy_run(memory, answer):
    memory.store(cleanable())
    memory.workflows.answer = memory.workflows.start if answer == "started" else unknown
    clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM)
    memory.clock.advance(hours=1)
    for _ in range(3):
        assert clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM) is None
    assert len(memory.workflows.orders) == 1


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("restores", [True, False])
def test_two_who_clean_up_at_once_dispatch_it_once(memory, step, restores):
    memory.store(cleanable())

    def other() -> None:
        if restores:
            web_app_stores(memory, cleanable())
        ends(lambda: clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM))

    at_write(memory, step, other)
    for _ in range(2):  # where each saw the other, neither sent anything, and the next one does
        ends(lambda: clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM))
    assert len(memory.workflows.orders) == 1


def test_a_developer_may_not_clean_up_and_is_told_so(memory):
    memory.store(cleanable())
    with pytest.raises(MissingRightError, match="may not dispatch the cleanup after a destroy"):
        clean_up_after_destroy(memory.edges, REQUEST_ID, operator=DEVELOPER)
    assert memory.workflows.orders == []


def test_nothing_is_cleaned_up_while_the_destroy_runs(memory):
    memory.store(destroying(runId=6))
    assert clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM) is None


def test_a_cleanup_that_github_refused_is_tried_again_and_one_that_ran_is_not(memory):
    memory.store(cleanable())
    memory.workflows.answer = refused
    with pytest.raises(RefusedError):
        clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM)
    memory.workflows.answer = memory.workflows.start
    result = clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM)
    assert result is not None
    assert result.end is DispatchEnd.STARTED
    assert parse_request(memory.stored(REQUEST_ID)).cleanup_error is None
    assert clean_up_after_destroy(memory.edges, REQUEST_ID, operator=SYSTEM) is None
