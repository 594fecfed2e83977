"""How far a reset, or its undo, is: a line per phase, by its journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tfpilot.core.reset_journal import Direction, JournalEntry, Progress, StepResult, read_journal, steps_of_undo
from tfpilot.core.reset_steps import Action, Outcome, Phase, ResetStep

_FORWARDS: Final = tuple(Phase)
_BACKWARDS: Final = (Phase.LOCK, Phase.INDEX, Phase.REQUESTS, Phase.STATE, Phase.DIGEST, Phase.UNLOCK)
_ACTIVE: Final = "requests/"


class PhaseState(StrEnum):
    """How far a phase is. BEGUN: some of it is under way, or was when the reset was interrupted."""

    DONE = "done"
    BEGUN = "begun"
    TO_DO = "to do"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class PhaseLine:
    """One phase that has steps. `left`: what became of the steps that found something else at their place.

    `items` are what a person counts: requests, not the steps that move them; `items_done` are those that are through.
    `took` adds up the time in which it was worked at; None where none of it ended yet.
    """

    phase: Phase
    total: int
    settled: int
    left: tuple[StepResult, ...]
    items: int
    items_done: int
    began: datetime | None
    took: timedelta | None

    @property
    def state(self) -> PhaseState:
        if self.settled == self.total:
            return PhaseState.LEFT if self.left else PhaseState.DONE
        return PhaseState.BEGUN if self.began is not None else PhaseState.TO_DO


@dataclass(frozen=True, slots=True)
class _Times:
    began: datetime
    worked: timedelta = timedelta(0)
    ended: bool = False


def phase_lines(
    steps: Sequence[ResetStep], entries: Iterable[JournalEntry], progress: Progress
) -> tuple[PhaseLine, ...]:
    """A line per phase with steps, in the order in which they are carried out: of the undo, where that began."""
    undoes = progress.undo_began
    direction = Direction.UNDO if undoes else Direction.APPLY
    ordered = sorted((each for each in entries if each.direction is direction), key=lambda each: each.number)
    mine = read_journal(ordered)
    wanted = _with_locks(steps, progress) if undoes else steps
    by_phase: dict[Phase, list[ResetStep]] = {}
    for step in wanted:
        by_phase.setdefault(step.phase, []).append(step)
    times = _times(ordered, {step.id: step.phase for step in wanted})
    order = _BACKWARDS if undoes else _FORWARDS
    return tuple(_line(phase, by_phase[phase], mine, times.get(phase)) for phase in order if phase in by_phase)


def current_phase(lines: Sequence[PhaseLine]) -> int | None:
    """The place, from 0, of the first phase that is not through; None where all are."""
    return next((number for number, line in enumerate(lines) if line.settled < line.total), None)


def holds_lock(steps: Sequence[ResetStep], progress: Progress) -> bool:
    """Whether Terraform's lock, or a part of it, is the reset's own by its journal."""
    taken = {step.place for step in steps if step.action is Action.TAKE_LOCK and _may_hold(step, progress)}
    given_back = {step.place for step in steps if step.action is Action.RELEASE_LOCK and progress.is_settled(step)}
    return bool(taken - given_back)


def _may_hold(step: ResetStep, progress: Progress) -> bool:
    return step.id in progress.in_doubt or (progress.is_settled(step) and not progress.was_left(step))


def _with_locks(steps: Sequence[ResetStep], progress: Progress) -> tuple[ResetStep, ...]:
    taken = (step for step in steps if step.action is Action.TAKE_LOCK)
    released = (step for step in steps if step.action is Action.RELEASE_LOCK)
    return (*taken, *steps_of_undo(steps, progress), *released)


def _line(phase: Phase, steps: Sequence[ResetStep], mine: Progress, times: _Times | None) -> PhaseLine:
    items = [step for step in steps if phase is not Phase.REQUESTS or step.place.key.startswith(_ACTIVE)]
    outcomes = mine.outcomes
    return PhaseLine(
        phase=phase,
        total=len(steps),
        settled=sum(mine.is_settled(step) for step in steps),
        left=tuple(mine.results[step.id] for step in steps if mine.was_left(step)),
        items=len(items),
        items_done=sum(outcomes.get(step.id) is Outcome.DONE for step in items),
        began=times.began if times else None,
        took=times.worked if times and times.ended else None,
    )


def _times(ordered: Iterable[JournalEntry], phases: dict[str, Phase]) -> dict[Phase, _Times]:
    """When each phase was worked at: from an intent to the results after it, however often it was interrupted."""
    times: dict[Phase, _Times] = {}
    opened: dict[Phase, datetime] = {}
    for entry in ordered:
        for phase in _phases_in(entry.intents, phases):
            opened[phase] = entry.at
            times.setdefault(phase, _Times(entry.at))
        for phase in _phases_in((result.step_id for result in entry.results), phases):
            if phase in opened:
                known = times[phase]
                worked = known.worked + (entry.at - opened.pop(phase))
                times[phase] = _Times(known.began, worked, ended=True)
    return times


def _phases_in(names: Iterable[str], phases: dict[str, Phase]) -> tuple[Phase, ...]:
    """The phases of these steps; a step that the present way does not have counts nowhere."""
    return tuple(dict.fromkeys(phases[name] for name in names if name in phases))
