"""Tables of a few rows whose text matters: findings, changes, events. Cells are Markdown, data in them escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import pandas as pd
import streamlit as st

from tfpilot.core.model import ABSENT, FieldChange, Finding, LifecycleEvent, RepairStep
from tfpilot.ui import looks, words
from tfpilot.ui.steps import cells_of

_LONGEST_VALUE: Final = 60
_LONGEST_LIST: Final = 2
_SOURCES: Final = {"ops-portal": "this portal", "": words.NOTHING}


def show(rows: Sequence[Mapping[str, str]], *, alt: str) -> None:
    """Draws the rows under the names of their cells."""
    st.table(pd.DataFrame(rows), border="horizontal", hide_index=True, alt=alt)


def show_findings(findings: Iterable[Finding], now: datetime) -> None:
    """What is wrong, worst first, since when, and what to do."""
    rows = [
        {
            "Severity": looks.SEVERITIES[finding.severity].badge,
            "Finding": words.code(finding.code.value),
            "Since": _since(finding.since, now),
            "Evidence": " · ".join(words.plain(evidence) for evidence in finding.evidence),
            "Next action": words.plain(finding.next_action),
        }
        for finding in findings
    ]
    show(rows, alt=f"Findings: {words.counted(len(rows), 'row')}")


def show_changes(changes: Iterable[FieldChange], *, written: bool, steps: Iterable[RepairStep] = ()) -> None:
    """Field by field what is stored and what GitHub says; `written`: what was stored and what is now. Then what a
    repair does beside the document."""
    before, after = ("Before", "Stored now") if written else ("Stored", "GitHub says")
    columns = ("Field", "Change", before, after, "Source")
    cells = [
        (
            words.code(change.dotted),
            _kind_of(change),
            value(change.before),
            f"**{value(change.after)}**" if change.after is not ABSENT else value(change.after),
            words.plain(change.source),
        )
        for change in changes
    ]
    rows = [dict(zip(columns, row, strict=True)) for row in (*cells, *(cells_of(step) for step in steps))]
    show(rows, alt=f"Changes: {words.counted(len(rows), 'row')}")


def show_events(events: Iterable[LifecycleEvent], now: datetime) -> None:
    """The request's history, newest first."""
    rows = [
        {
            "At (UTC)": words.clock_time(event.at, now),
            "Event": words.plain(event.event.replace("_", " ")),
            "By": words.plain(event.actor),
            "Source": words.plain(_SOURCES.get(event.source, event.source)),
            "Details": _details(event.data),
        }
        for event in events
    ]
    show(rows, alt=f"History: {words.counted(len(rows), 'event')}")


def show_events_briefly(events: Iterable[LifecycleEvent], now: datetime) -> None:
    """The events without their details, for a narrow place."""
    rows = [
        {
            "At": words.clock_time(event.at, now),
            "Event": words.plain(event.event.replace("_", " ")),
            "By": words.plain(event.actor),
        }
        for event in events
    ]
    show(rows, alt=f"Last events: {words.counted(len(rows), 'event')}")


def value(stored: object) -> str:
    """A stored value as code; what is not in the document says so."""
    if stored is ABSENT:
        return ":gray[absent]"
    text = stored if isinstance(stored, str) else json.dumps(stored, ensure_ascii=False)
    return words.code(text, longest=_LONGEST_VALUE) if text.strip() else words.code('""')


def _kind_of(change: FieldChange) -> str:
    if change.after is ABSENT:
        return ":gray-badge[:material/remove: removed]"
    if change.before is ABSENT:
        return ":gray-badge[:material/add: added]"
    return ":gray-badge[:material/edit: changed]"


def _since(since: datetime | None, now: datetime) -> str:
    if since is None:
        return words.NOTHING
    return f"{words.clock_time(since, now)}, {words.lasting(now - since)} ago"


def _details(data: Mapping[str, object]) -> str:
    shown = [f"{words.plain(name)}: {_listed(content)}" for name, content in data.items()]
    return " · ".join(shown)


def _listed(content: object) -> str:
    """A value, of a long list its beginning."""
    if not isinstance(content, list) or len(content) <= _LONGEST_LIST:
        return value(content)
    some = ", ".join(value(item) for item in content[:_LONGEST_LIST])
    return f"{some} and {len(content) - _LONGEST_LIST} more"
