"""A stored reset as one look found it, with what a page shows of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tfpilot.core.reset_journal import JournalEntry, StopRequest, steps_of_undo, undone_id
from tfpilot.core.reset_phases import PhaseLine, holds_lock, phase_lines
from tfpilot.core.reset_receipt import Receipt
from tfpilot.core.reset_steps import Action, Outcome, ResetStep
from tfpilot.edges import Edges
from tfpilot.operations.reset_views import ResetView, find_stop, look_again, read_reset, receipt_of

JOURNAL_LINES: Final = 50
_UNDO: Final = undone_id("")
_BEGINNINGS: Final = frozenset({Action.TAKE_LOCK, Action.COMPARE})


@dataclass(frozen=True, slots=True)
class SeenReset:
    """The reset, its phases, its receipt so far, and the end of its journal as text."""

    view: ResetView
    digest: str
    stop: StopRequest | None
    lines: Sequence[PhaseLine]
    receipt: Receipt
    journal: Sequence[str]
    holds_lock: bool

    @property
    def reset_id(self) -> str:
        return self.view.record.reset_id

    @property
    def target(self) -> str:
        return self.view.plan.target.name

    @property
    def is_running(self) -> bool:
        """Whether somebody carries it out, or takes it back, right now."""
        return self.view.at_work is not None and self.view.is_unfinished

    @property
    def steps_left(self) -> int:
        return sum(line.total - line.settled for line in self.lines)

    @property
    def undo_steps(self) -> Sequence[ResetStep]:
        """The steps of its undo, done or not."""
        return steps_of_undo(self.view.steps, self.view.progress)

    @property
    def refusals(self) -> Sequence[str]:
        """Why it went no further than its beginning; empty where it did."""
        names = {step.id for step in self.view.steps if step.action in _BEGINNINGS}
        results = (self.view.progress.results.get(name) for name in names)
        return [each.reason for each in results if each is not None and each.outcome is Outcome.LEFT]


def see_reset(edges: Edges, reset_id: str, before: SeenReset | None) -> SeenReset:
    """The reset as it stands now. Where one look was had `before`, only what its journal gained is read.

    Raises as `read_reset`.
    """
    is_same = before is not None and before.reset_id == reset_id
    view = look_again(edges, before.view) if before is not None and is_same else read_reset(edges, reset_id)
    stop = find_stop(edges, view)
    if before is not None and is_same and view == before.view and stop == before.stop:
        return before
    return SeenReset(
        view=view,
        digest=view.record.digest,
        stop=stop,
        lines=phase_lines(view.steps, view.stored.entries, view.progress),
        receipt=receipt_of(edges, view),
        journal=journal_text(view.steps, view.stored.entries),
        holds_lock=holds_lock(view.steps, view.progress),
    )


def journal_text(steps: Sequence[ResetStep], entries: Iterable[JournalEntry]) -> Sequence[str]:
    """The last lines of the journal: when, which phase, intent or result, what."""
    known = {step.id: step for step in steps}
    lines: list[str] = []
    for entry in sorted(entries, key=lambda each: each.number, reverse=True):
        told = [(name, "intent", "") for name in entry.intents]
        told += [(each.step_id, "result", _said(each.outcome, each.reason)) for each in entry.results]
        for name, kind, result in reversed(told):
            if len(lines) == JOURNAL_LINES:
                return lines[::-1]
            lines.append(_line(entry, known.get(name.removeprefix(_UNDO)), name, kind, result))
    return lines[::-1]


def _line(entry: JournalEntry, step: ResetStep | None, name: str, kind: str, result: str) -> str:
    at = f"{entry.at:%H:%M:%S}.{entry.at.microsecond // 1000:03}"
    phase = step.phase.name.lower() if step is not None else ""
    if step is None:
        what = name
    elif name.startswith(_UNDO):
        what = f"take back: {step.action} {step.place.key}"
    else:
        what = f"{step.action} {step.place.key}".rstrip()
    flat = " ".join(f"{what}{f': {result}' if result else ''}".split())
    return f"{at}  {phase:<8}  {kind}  {flat}"


def _said(outcome: Outcome, reason: str) -> str:
    return f"{outcome.value}, {reason}" if reason else outcome.value
