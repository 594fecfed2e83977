"""How old the entries of the run index are, as a chart and in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import streamlit as st

from tfpilot.core.index_listing import AGE_BIN, Ages, IndexListing
from tfpilot.core.model import WorkflowKind
from tfpilot.core.run_index import LIFETIME
from tfpilot.ui import looks, words
from tfpilot.ui.index_desk import Shelf

_HEIGHT: Final = 230
_WIDTH_DAYS: Final = AGE_BIN.days
_LINE_BIN: Final = LIFETIME // AGE_BIN


def show(listing: IndexListing, shelf: Shelf) -> None:
    """The card with the chart and its summary."""
    with st.container(border=True, gap="small"):
        st.markdown("**Entries by age**")
        if not len(listing.keys):
            st.markdown("There are no entries.")
            return
        dark = st.context.theme.type == "dark"
        audit = shelf.report
        ages, by = (listing.ages, "when they were stored") if audit is None else (audit.audit.ages, "the time in them")
        what = (listing.number, listing.read_at, id(audit), dark)
        spec = shelf.chart.get(what, lambda: chart(ages, dark=dark))
        st.vega_lite_chart(spec, width="stretch", alt=described(ages, by=by))
        st.markdown(f":small[{summary(ages, by=by)}]")


def chart(ages: Ages, *, dark: bool) -> dict[str, Any]:
    """Bars of ten days, stacked by kind, with the line at which entries expire, as a Vega-Lite specification."""
    colours, kinds = looks.chart_colours(dark=dark), looks.kind_colours(dark=dark)
    quiet = {"labelColor": colours["quiet"], "titleColor": colours["quiet"], "labelFontSize": 12, "titleFontSize": 12}
    plain_axis = {"domain": False, "ticks": False, **quiet, "titleFontWeight": "normal"}
    last = _bins(ages) * _WIDTH_DAYS
    x_axis = {"title": "Age in days", "grid": False, "values": list(range(0, last + 1, 30)), **plain_axis}
    x = {"field": "from", "type": "quantitative", "scale": {"domain": [0, last], "nice": False}, "axis": x_axis}
    y_axis = {"title": None, "format": "~s", "tickCount": 4, "tickMinStep": 1, "gridColor": colours["line"],
              **plain_axis}  # fmt: skip
    legend = {"title": None, "orient": "top", "columns": 3, "labelColor": colours["text"], "labelFontSize": 12,
              "symbolType": "square"}  # fmt: skip
    names = [kind.value for kind in WorkflowKind]
    bars = {
        "data": {"values": _rows(ages)},
        "mark": {"type": "bar", "binSpacing": 2},
        "encoding": {
            "x": {**x, "bin": "binned"},
            "x2": {"field": "to"},
            "y": {"field": "entries", "type": "quantitative", "stack": "zero", "axis": y_axis},
            "color": {
                "field": "kind",
                "type": "nominal",
                "sort": names,
                "scale": {"domain": names, "range": [kinds[kind] for kind in WorkflowKind]},
                "legend": legend,
            },
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [
                {"field": "kind", "type": "nominal"},
                {"field": "days", "type": "nominal"},
                {"field": "entries", "type": "quantitative", "format": ","},
            ],
        },
    }
    at_line = {"data": {"values": [{"at": LIFETIME.days, "text": f"expires at {LIFETIME.days} d"}]}}
    where = {"x": {"field": "at", "type": "quantitative"}}
    line = {**at_line, "mark": {"type": "rule", "color": colours["red"], "strokeWidth": 2}, "encoding": where}
    said = {
        **at_line,
        "mark": {"type": "text", "color": colours["red"], "align": "right", "dx": -6, "y": 8, "fontSize": 12},
        "encoding": {**where, "text": {"field": "text", "type": "nominal"}},
    }
    return {"height": _HEIGHT, "layer": [bars, line, said], "config": {"view": {"stroke": None}}}


def described(ages: Ages, *, by: str) -> str:
    """The chart in words, for those who do not see it."""
    told = [
        f"{kind.value} {words.number(sum(counts))}, {words.number(_over(counts))} of them older than {LIFETIME.days} d"
        for kind, counts in ages.items()
        if sum(counts)
    ]
    return f"Entries by age, by {by}, in bins of {_WIDTH_DAYS} days. {'; '.join(told)}."


def summary(ages: Ages, *, by: str) -> str:
    """How many there are, how many are young, and how many should be gone."""
    total, over = sum(map(sum, ages.values())), sum(map(_over, ages.values()))
    young = sum(sum(counts[: timedelta(days=30) // AGE_BIN]) for counts in ages.values())
    return (
        f"{words.counted(total, 'entry', 'entries')}, by {by}: {words.number(young)} of the last 30 days, "
        f"{words.number(over)} older than {LIFETIME.days} days."
    )


def _rows(ages: Ages) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind.value,
            "order": order,
            "from": number * _WIDTH_DAYS,
            "to": (number + 1) * _WIDTH_DAYS,
            "days": _days(number, len(counts)),
            "entries": count,
        }
        for order, (kind, counts) in enumerate(ages.items())
        for number, count in enumerate(counts)
        if count
    ]


def _days(number: int, bins: int) -> str:
    first = number * _WIDTH_DAYS
    return f"{first} days or more" if number == bins - 1 else f"{first} to {first + _WIDTH_DAYS} days"


def _bins(ages: Ages) -> int:
    """How many bins there are; the last one has no upper end."""
    return max(len(counts) for counts in ages.values())


def _over(counts: tuple[int, ...]) -> int:
    return sum(counts[_LINE_BIN:])
