"""Chips and short forms of the dev reset."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from tfpilot.core.reset_guards import Verdict
from tfpilot.core.reset_phases import PhaseState
from tfpilot.ui import words
from tfpilot.ui.looks import Look

VERDICTS: Final[Mapping[Verdict, Look]] = {
    Verdict.REFUSED: Look("Refused", "red", "block"),
    Verdict.UNCHECKED: Look("Not checked", "red", "help"),
    Verdict.PASSED: Look("Passed", "green", "check"),
}
PHASES: Final[Mapping[PhaseState, Look]] = {
    PhaseState.DONE: Look("Done", "green", "check_circle"),
    PhaseState.BEGUN: Look("Running", "blue", "progress_activity"),
    PhaseState.TO_DO: Look("To do", "gray", "radio_button_unchecked"),
    PhaseState.LEFT: Look("Left", "orange", "warning"),
}
INTERRUPTED: Final = Look("Interrupted", "orange", "pause_circle")
PASSED: Final = VERDICTS[Verdict.PASSED]
REFUSED: Final = VERDICTS[Verdict.REFUSED]
FREE: Final = Look("Free", "green", "check")
PUT_BACK: Final = Look("Put back", "green", "check")
OCCUPIED: Final = Look("Occupied", "orange", "warning")
OPTIONAL: Final = Look("Optional", "gray", "remove")
NEEDED: Final = Look("Needed", "orange", "how_to_reg")
LATER: Final = Look("At the start", "gray", "schedule")
DIFFERS: Final = Look("Differs", "red", "difference")
LOOKING: Final = Look("Looking", "blue", "sync")

_SHOWN: Final = 4


def short(text: str, *, head: int = 6, tail: int = _SHOWN) -> str:
    """`3fa91c…e07b` as code; a text that is not longer than that is whole."""
    return words.code(text if len(text) <= head + tail + 1 else f"{text[:head]}…{text[-tail:]}")


def day(at: datetime) -> str:
    """`5 April 2026, 14:23` in UTC."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M}"


def second(at: datetime) -> str:
    """`14:22:08` in UTC."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


def took(length: timedelta) -> str:
    """`< 0.1 s`, `0.4 s`, `12 s`, `2 min`."""
    seconds = length.total_seconds()
    if 0 <= seconds < 0.1:
        return "< 0.1 s"
    return f"{seconds:.1f} s" if 0 <= seconds < 10 else words.lasting(length)
