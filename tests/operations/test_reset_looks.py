"""Looking at a reset while it goes on, comparing a plan again, and giving up one that changed nothing."""

from __future__ import annotations

import pytest

from tests.core.reset_world import REQUESTS, KilledError, document
from tests.fakes import InMemory
from tests.reset_setup import ADMIN, DevEnvironment, dev_environment
from tfpilot.core.reset_confirm import undo_phrase_of
from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_steps import ResetRecord
from tfpilot.operations.reset import ask_to_stop, resume_reset, undo_reset
from tfpilot.operations.reset_views import ResetView, compare_plan, find_unfinished, look_again, read_reset


@pytest.fixture
def dev(memory: InMemory) -> DevEnvironment:
    return dev_environment(memory)


def test_a_reset_that_stopped_before_its_first_change_is_over_once_it_is_undone(dev: DevEnvironment) -> None:
    before, edges = dev.contents(), dev.memory.edges
    plan = dev.plan()
    stopped = dev.apply(plan, on_begin=lambda record: ask_to_stop(edges, record.reset_id, operator=ADMIN))
    assert (stopped.stopped, stopped.receipt.stage) == ("ops-lead asked to stop", Stage.UNFINISHED)
    assert dev.undo(stopped).receipt.stage is Stage.UNDONE
    assert dev.contents() == before
    assert find_unfinished(edges, dev.target) is None
    dev.memory.clock.advance(seconds=1)
    assert dev.apply(dev.plan()).receipt.stage is Stage.FINISHED


def test_a_reset_that_was_killed_before_its_first_step_can_be_given_up(dev: DevEnvironment) -> None:
    edges, plan = dev.memory.edges, dev.plan()

    def die(_record: ResetRecord) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        dev.apply(plan, on_begin=die)
    begun = find_unfinished(edges, dev.target)
    assert begun is not None
    assert begun.stage is Stage.NOT_BEGUN
    undone = undo_reset(edges, begun.record.reset_id, typed=undo_phrase_of(plan), operator=ADMIN)
    assert undone.receipt.stage is Stage.UNDONE
    assert find_unfinished(edges, dev.target) is None
    assert resume_reset(edges, begun.record.reset_id, operator=ADMIN).receipt.stage is Stage.UNDONE


def test_looking_again_reads_only_what_the_journal_gained(dev: DevEnvironment) -> None:
    edges = dev.memory.edges
    looks: list[ResetView] = []

    def look(*_told: object) -> None:
        looks.append(look_again(edges, looks[-1]))

    ended = dev.apply(
        dev.plan(), on_begin=lambda record: looks.append(read_reset(edges, record.reset_id)), on_group=look
    )
    whole = read_reset(edges, ended.receipt.record.reset_id)
    assert looks[0].stage is Stage.NOT_BEGUN
    assert looks[-1].at_work is not None
    assert look_again(edges, looks[-1]) == whole
    assert look_again(edges, whole) == whole


def test_a_plan_is_compared_with_what_is_there_now(dev: DevEnvironment) -> None:
    edges, plan = dev.memory.edges, dev.plan()
    assert compare_plan(edges, plan) == ()
    dev.memory.bucket.write(f"requests/{REQUESTS[0]}.json", document(REQUESTS[0], version=4))
    assert compare_plan(edges, plan) == (f"request {REQUESTS[0]} changed: content or version",)
