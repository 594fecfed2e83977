"""How far a reset or its undo is, phase by phase."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW
from tests.core.reset_world import PLAIN, KilledError, Reset, World, dev_world, read_plan, state_bytes
from tfpilot.core.reset_journal import Direction, JournalEntry, StepResult, read_journal
from tfpilot.core.reset_phases import PhaseLine, PhaseState, current_phase, holds_lock, phase_lines
from tfpilot.core.reset_steps import Outcome, Phase
from tfpilot.core.terraform import LockMode

DONE, TO_DO, BEGUN, LEFT = PhaseState.DONE, PhaseState.TO_DO, PhaseState.BEGUN, PhaseState.LEFT


@pytest.fixture
def world() -> World:
    return dev_world()


def reset_of(world: World) -> Reset:
    return Reset(world, read_plan(world))


def lines(reset: Reset) -> tuple[PhaseLine, ...]:
    return phase_lines(reset.steps, reset.journal, reset.progress)


def kill_after(reset: Reset, events: int) -> None:
    doomed = reset.with_pen(events)
    with pytest.raises(KilledError):
        doomed.resume()


def test_before_the_first_step_everything_is_to_do(world):
    told = lines(reset_of(world))
    assert [line.phase for line in told] == list(Phase)
    assert {(line.state, line.settled, line.began, line.took) for line in told} == {(TO_DO, 0, None, None)}
    assert current_phase(told) == 0


def test_a_finished_reset_counts_requests_not_the_steps_that_move_them(world):
    reset = reset_of(world)
    reset.resume()
    told = {line.phase: line for line in lines(reset)}
    assert {line.state for line in told.values()} == {DONE}
    requests = told[Phase.REQUESTS]
    assert (requests.items, requests.items_done, requests.total) == (4, 4, 7)
    assert current_phase(lines(reset)) is None
    assert not holds_lock(reset.steps, reset.progress)


def test_phases_without_steps_are_left_out():
    world = dev_world(LockMode.LOCKFILE)
    assert Phase.DIGEST not in [line.phase for line in lines(reset_of(world))]


def test_a_killed_reset_has_one_phase_begun_and_holds_the_lock(world):
    reset = reset_of(world)
    kill_after(reset, 13)  # four locks with their entries, then the intent to compare
    told = lines(reset)
    at = current_phase(told)
    assert at is not None
    assert [line.state for line in told[:at]] == [DONE] * at
    assert told[at].state is BEGUN
    assert {line.state for line in told[at + 1 :]} == {TO_DO}
    assert holds_lock(reset.steps, reset.progress)


def test_what_found_something_else_is_left_with_its_reason(world):
    reset = reset_of(world)
    reset.resume()
    world.put_state(PLAIN, state_bytes(1, lineage="new"))
    reset.undo()
    told = {line.phase: line for line in lines(reset)}
    assert told[Phase.STATE].state is LEFT
    assert ["holds something else" in result.reason for result in told[Phase.STATE].left] == [True]
    assert (told[Phase.STATE].items_done, told[Phase.STATE].items) == (1, 2)


def test_an_undo_is_told_backwards(world):
    reset = reset_of(world)
    reset.resume()
    reset.undo()
    told = lines(reset)
    assert [line.phase for line in told] == [
        Phase.LOCK, Phase.INDEX, Phase.REQUESTS, Phase.STATE, Phase.DIGEST, Phase.UNLOCK,
    ]  # fmt: skip
    assert {line.state for line in told} == {DONE}
    assert next(line.items for line in told if line.phase is Phase.REQUESTS) == 4


def test_an_undo_that_has_just_begun_has_everything_to_do(world):
    reset = reset_of(world)
    reset.resume()
    begun = [*reset.journal, JournalEntry(len(reset.journal) + 1, NOW, "ops-lead", Direction.UNDO)]
    told = phase_lines(reset.steps, begun, read_journal(begun))
    assert {line.state for line in told} == {TO_DO}


def test_the_time_of_a_phase_leaves_out_the_night_in_which_nobody_worked(world):
    reset = reset_of(world)
    [first, second] = [step.id for step in reset.steps if step.phase is Phase.BACKUP][:2]
    seconds = (0, 3, 10, 36_000, 36_004)
    entries = [
        replace(JournalEntry(number, NOW + timedelta(seconds=at), "ops-lead", Direction.APPLY), **parts)
        for number, (at, parts) in enumerate(
            zip(
                seconds,
                (
                    {"intents": (first,)},
                    {"results": (StepResult(first, Outcome.DONE),)},
                    {"intents": (second,)},  # the process is gone
                    {"intents": (second,)},
                    {"results": (StepResult(second, Outcome.DONE),)},
                ),
                strict=True,
            ),
            1,
        )
    ]
    told = {line.phase: line for line in phase_lines(reset.steps, entries, read_journal(entries))}
    assert (told[Phase.BACKUP].began, told[Phase.BACKUP].took) == (NOW, timedelta(seconds=7))
    assert told[Phase.BACKUP].settled == 2
