"""Name, colour, icon and sign of everything that is shown as a chip. Colours are roles: .streamlit/config.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tfpilot.core.model import FactOutcome, LifecycleStatus, Severity, WorkflowKind


@dataclass(frozen=True, slots=True)
class Look:
    """How one value is shown. `sign` stands for the icon where only text is drawn."""

    label: str
    colour: str
    icon: str
    sign: str = ""

    @property
    def badge(self) -> str:
        """The chip in Markdown."""
        return f":{self.colour}-badge[:material/{self.icon}: {self.label}]"

    @property
    def chip(self) -> str:
        """The chip's text in a table that draws no icons."""
        return f"{self.sign} {self.label}"


STATUSES: Final[Mapping[LifecycleStatus, Look]] = {
    LifecycleStatus.REQUEST_CREATED: Look("Request created", "gray", "note_add", "○"),
    LifecycleStatus.PLANNING: Look("Planning", "blue", "pending", "◔"),
    LifecycleStatus.PLAN_READY: Look("Plan ready", "violet", "fact_check", "◑"),
    LifecycleStatus.APPROVED: Look("Approved", "violet", "how_to_reg", "◕"),
    LifecycleStatus.MERGED: Look("Merged", "violet", "merge", "●"),
    LifecycleStatus.APPLYING: Look("Applying", "blue", "sync", "▸"),
    LifecycleStatus.APPLIED: Look("Applied", "green", "check_circle", "✓"),
    LifecycleStatus.DESTROYING: Look("Destroying", "blue", "auto_delete", "▾"),
    LifecycleStatus.DESTROYED: Look("Destroyed", "gray", "delete", "\u2013"),
    LifecycleStatus.FAILED: Look("Failed", "red", "error", "✕"),
}
UNREADABLE: Final = Look("Unreadable", "red", "broken_image", "✕")
STUCK: Final = Look("Stuck", "orange", "warning", "⚠")
DRIFT: Final = Look("Drift", "gray", "difference", "≠")
ARCHIVED: Final = Look("Archived", "gray", "inventory_2", "▫")

SEVERITIES: Final[Mapping[Severity, Look]] = {
    Severity.CRITICAL: Look("Critical", "red", "error", "✕"),
    Severity.WARNING: Look("Warning", "orange", "warning", "⚠"),
    Severity.INFO: Look("Info", "gray", "info", "i"),
}

OUTCOMES: Final[Mapping[FactOutcome, Look]] = {
    FactOutcome.OK: Look("ok", "green", "check_circle"),
    FactOutcome.NOT_ASKED: Look("not asked", "gray", "remove"),
    FactOutcome.NOT_FOUND: Look("not found", "gray", "search_off"),
    FactOutcome.FORBIDDEN: Look("forbidden", "red", "block"),
    FactOutcome.UNAUTHORIZED: Look("unauthorized", "red", "key_off"),
    FactOutcome.RATE_LIMITED: Look("rate limited", "orange", "hourglass_top"),
    FactOutcome.TIMEOUT: Look("timeout", "red", "timer_off"),
    FactOutcome.UNREACHABLE: Look("unreachable", "red", "cloud_off"),
    FactOutcome.MALFORMED: Look("malformed", "red", "data_alert"),
    FactOutcome.CROSSED: Look("crossed", "orange", "shuffle"),
    FactOutcome.AMBIGUOUS: Look("ambiguous", "orange", "alt_route"),
    FactOutcome.FAILED: Look("failed", "red", "error"),
}
"""How GitHub answered one question."""

MEANINGS: Final[Mapping[FactOutcome, str]] = {
    FactOutcome.FORBIDDEN: "the token may not read it",
    FactOutcome.UNAUTHORIZED: "GitHub does not accept the token",
    FactOutcome.RATE_LIMITED: "GitHub asked us to wait",
    FactOutcome.TIMEOUT: "no answer in time",
    FactOutcome.UNREACHABLE: "GitHub could not be reached",
    FactOutcome.MALFORMED: "the answer is not what GitHub documents",
    FactOutcome.CROSSED: "the answer is about another request, so it was left alone",
    FactOutcome.AMBIGUOUS: "several runs could be it, so a person has to choose",
    FactOutcome.FAILED: "GitHub answered with an error",
}
"""What an answer that taught nothing means; the stored fact is kept."""

CHIP_COLOURS: Final[Mapping[str, str]] = {
    "gray": "#8b94a633",
    "blue": "#3b7bf033",
    "violet": "#8b6cf533",
    "green": "#1fa56633",
    "red": "#ef443640",
    "orange": "#f08c1a3d",
}
"""Grounds of chips in tables: translucent, because such a table knows no theme colours."""

LIGHT_CHART: Final[Mapping[str, str]] = {
    "text": "#10131b",
    "quiet": "#4a5262",
    "line": "#dfe2ea",
    "gray": "#cdd2dc",
    "blue": "#2f6fed",
    "green": "#17915a",
    "red": "#d92d20",
    "orange": "#dc6803",
}
DARK_CHART: Final[Mapping[str, str]] = {
    "text": "#e3e7ef",
    "quiet": "#b4bdcc",
    "line": "#2b3342",
    "gray": "#3a4252",
    "blue": "#5b8def",
    "green": "#3fb57c",
    "red": "#f97066",
    "orange": "#f79009",
}
"""Colours of charts, which cannot use the theme's names."""


_KINDS_LIGHT: Final = ("#1d4bb8", "#2f6fed", "#7ea6f5", "#bcd2fb", "#c3c8d2")
_KINDS_DARK: Final = ("#9dbcff", "#5b8def", "#3763b8", "#24407c", "#5a6375")


def kind_colours(*, dark: bool) -> Mapping[WorkflowKind, str]:
    """A tint per kind of workflow, for charts."""
    return dict(zip(WorkflowKind, _KINDS_DARK if dark else _KINDS_LIGHT, strict=True))


def chart_colours(*, dark: bool) -> Mapping[str, str]:
    """The chart colours of the theme."""
    return DARK_CHART if dark else LIGHT_CHART
