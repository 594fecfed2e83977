"""The timeline of a request as a chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import streamlit as st

from tfpilot.core.timeline import Lane, Span, Timeline, Tone
from tfpilot.ui import looks, words

_LANE_HEIGHT: Final = 25
_AXIS_HEIGHT: Final = 34
_PLOT_WIDTH: Final = 940
"""About as many pixels as the lanes get in a window of 1440; only to judge which labels fit."""
_LONGEST: Final = 120
_LETTER: Final = 6.3
_MARGIN: Final = 12
_SHORTEST: Final = timedelta(minutes=10)
_PALE: Final = frozenset({Tone.OPEN, Tone.UNCONFIRMED})
_TONE_COLOURS: Final = {
    Tone.OPEN: "gray",
    Tone.ACTIVE: "blue",
    Tone.SUCCEEDED: "green",
    Tone.FAILED: "red",
    Tone.ENDED: "gray",
    Tone.UNCONFIRMED: "orange",
}


_Layer = dict[str, Any]
_Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From when to when the chart goes."""

    began: datetime
    ended: datetime

    def pixel(self, at: datetime) -> float:
        return _PLOT_WIDTH * ((at - self.began) / (self.ended - self.began))


def show(timeline: Timeline) -> None:
    """Draws the timeline with what its marks mean. Without a single known time it says so."""
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Timeline**", width="content")
            if timeline.lanes:
                st.markdown(f":small[{_legend(timeline)}]", width="content")
        if not timeline.lanes:
            st.markdown("The document holds no time that can be read.")
            return
        dark = st.context.theme.type == "dark"
        colours = looks.chart_colours(dark=dark)
        told = readable(timeline)
        st.vega_lite_chart(chart(told, colours), width="stretch", alt=described(told))


def readable(timeline: Timeline) -> Timeline:
    """The timeline with its texts as a chart can show them: on one line, without characters that cannot be seen, and
    not longer than a line. Nothing in a chart is read as Markdown."""
    return replace(
        timeline,
        moments=tuple(replace(moment, text=_short(moment.text)) for moment in timeline.moments),
        spans=tuple(replace(span, text=_short(span.text)) for span in timeline.spans),
    )


def _short(text: str) -> str:
    shown = words.visible(text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def chart(timeline: Timeline, colours: Mapping[str, str]) -> dict[str, Any]:
    """The chart in the given colours, as a Vega-Lite specification."""
    scale = _scale(timeline)
    lanes = [lane.value for lane in timeline.lanes]
    x = {"field": "at", "type": "temporal", "title": None, "axis": _time_axis(scale, colours)}
    x["scale"] = {"type": "utc", "domain": [_utc_parts(scale.began), _utc_parts(scale.ended)]}
    y = {"field": "lane", "type": "nominal", "title": None, "sort": lanes, "axis": _lane_axis(colours)}
    layers = [
        *_bars(timeline, colours),
        *_labels(_span_labels(timeline, scale), colours),
        _dots(timeline, colours),
        *_labels(_moment_labels(timeline, scale), colours),
        _ticks(timeline, colours),
        *_now_line(timeline, colours),
    ]
    return {
        "height": _LANE_HEIGHT * len(lanes) + _AXIS_HEIGHT,
        "encoding": {"x": x, "y": y},
        "layer": [layer for layer in layers if layer["data"]["values"]],
        "config": {"view": {"stroke": None}},
    }


def described(timeline: Timeline) -> str:
    """The chart in words, for those who do not see it."""
    told = [(moment.at, moment.lane, moment.text) for moment in timeline.moments if moment.text]
    told += [(span.began, span.lane, span.text or span.tone.value) for span in timeline.spans]
    return "; ".join(f"{lane.value}: {text} ({at:%Y-%m-%d %H:%M} UTC)" for at, lane, text in sorted(told))


def _legend(timeline: Timeline) -> str:
    parts = [_dates(timeline), "solid: GitHub's result"]
    if any(span.tone is Tone.UNCONFIRMED for span in timeline.spans):
        parts.append("dashed: stored only")
    if timeline.thresholds:
        parts.append("red tick: stuck threshold")
    return " · ".join(parts)


def _dates(timeline: Timeline) -> str:
    scale = _bounds(timeline)
    first, last = f"{scale.began.day} {scale.began:%B}", f"{scale.ended.day} {scale.ended:%B}"
    return f"{first}, UTC" if first == last else f"{first} to {last}, UTC"


def _bounds(timeline: Timeline) -> _Scale:
    times = [moment.at for moment in timeline.moments]
    times += [at for span in timeline.spans for at in (span.began, span.ended)]
    times += [threshold.at for threshold in timeline.thresholds]
    return _Scale(min(times), max(times))


def _scale(timeline: Timeline) -> _Scale:
    bounds = _bounds(timeline)
    length = max(bounds.ended - bounds.began, _SHORTEST)
    return _Scale(bounds.began - length * 0.04, bounds.began + length * 1.1)


def _utc_parts(at: datetime) -> dict[str, int | bool]:
    """The time in a form that nothing takes for local time."""
    parts = {"year": at.year, "month": at.month, "date": at.day, "hours": at.hour}
    return {**parts, "minutes": at.minute, "seconds": at.second, "utc": True}


def _time_axis(scale: _Scale, colours: Mapping[str, str]) -> dict[str, Any]:
    pattern = "%H:%M" if scale.ended - scale.began < timedelta(hours=36) else "%-d %b"
    look = {"grid": False, "domain": False, "ticks": False, "tickCount": 8, "labelPadding": 10}
    return {"format": pattern, **look, **_axis_labels(colours)}


def _lane_axis(colours: Mapping[str, str]) -> dict[str, Any]:
    look = {
        "labelOverlap": False,
        "grid": True,
        "gridColor": colours["line"],
        "domain": False,
        "ticks": False,
        "labelPadding": 12,
    }
    return {**look, **_axis_labels(colours)}


def _axis_labels(colours: Mapping[str, str]) -> dict[str, Any]:
    return {"labelColor": colours["quiet"], "labelFontSize": 12}


def _bars(timeline: Timeline, colours: Mapping[str, str]) -> list[_Layer]:
    """What lasted; what is only stored has a dashed edge."""
    solid = {"type": "bar", "height": 16, "cornerRadius": 2}
    dashed = {**solid, "fillOpacity": 0.22, "strokeDash": [3, 2], "strokeWidth": 1}
    colour = {"field": "colour", "type": "nominal", "scale": None}
    encoding = {"x2": {"field": "until"}, "color": colour, "tooltip": _tooltip("what", "from", "to")}
    return [
        _layer(solid, [_bar(s, colours) for s in timeline.spans if s.tone is not Tone.UNCONFIRMED], encoding),
        _layer(
            dashed,
            [_bar(s, colours) for s in timeline.spans if s.tone is Tone.UNCONFIRMED],
            {**encoding, "stroke": colour},
        ),
    ]


def _bar(span: Span, colours: Mapping[str, str]) -> _Row:
    return {
        "lane": span.lane.value,
        "at": span.began.isoformat(),
        "until": span.ended.isoformat(),
        "colour": colours[_TONE_COLOURS[span.tone]],
        "what": span.text or span.tone.value,
        "from": f"{span.began:%Y-%m-%d %H:%M:%S} UTC",
        "to": f"{span.ended:%Y-%m-%d %H:%M:%S} UTC",
    }


def _dots(timeline: Timeline, colours: Mapping[str, str]) -> _Layer:
    rows = [
        {
            "lane": moment.lane.value,
            "at": moment.at.isoformat(),
            "what": moment.text or "started",
            "time": f"{moment.at:%Y-%m-%d %H:%M:%S} UTC",
        }
        for moment in timeline.moments
    ]
    mark = {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": colours["text"]}
    return _layer(mark, rows, {"tooltip": _tooltip("what", "time")})


def _ticks(timeline: Timeline, colours: Mapping[str, str]) -> _Layer:
    rows = [{"lane": tick.lane.value, "at": tick.at.isoformat()} for tick in timeline.thresholds]
    return _layer({"type": "tick", "orient": "vertical", "color": colours["red"], "thickness": 2, "size": 24}, rows)


def _now_line(timeline: Timeline, colours: Mapping[str, str]) -> list[_Layer]:
    rows = [{"at": timeline.now.isoformat()}] if timeline.is_running else []
    return [_layer({"type": "rule", "color": colours["quiet"], "strokeDash": [2, 3]}, rows, {"y": None})]


def _layer(mark: Mapping[str, Any], rows: Sequence[_Row], encoding: Mapping[str, Any] | None = None) -> _Layer:
    return {"data": {"values": list(rows)}, "mark": dict(mark), "encoding": dict(encoding or {})}


def _tooltip(*fields: str) -> list[dict[str, str]]:
    return [{"field": field, "type": "nominal"} for field in fields]


@dataclass(frozen=True, slots=True)
class _Label:
    """A text beside or on a mark. `align`: where on the text the time is."""

    lane: Lane
    at: datetime
    text: str
    align: str


def _labels(labels: Iterable[_Label], colours: Mapping[str, str]) -> list[_Layer]:
    shown = list(labels)
    offsets = {"left": _MARGIN - 2, "right": 2 - _MARGIN, "center": 0}
    look = {"type": "text", "color": colours["text"], "fontSize": 12, "baseline": "middle"}
    return [
        _layer(
            {**look, "align": align, "dx": offset},
            [
                {"lane": label.lane.value, "at": label.at.isoformat(), "text": label.text}
                for label in shown
                if label.align == align
            ],
            {"text": {"field": "text", "type": "nominal"}},
        )
        for align, offset in offsets.items()
    ]


def _moment_labels(timeline: Timeline, scale: _Scale) -> Iterable[_Label]:
    """The texts of the moments that have room; the others are in the tooltip and under History."""
    taken: dict[Lane, float] = {}
    for moment in timeline.moments:
        here, length = scale.pixel(moment.at), _LETTER * len(moment.text) + _MARGIN
        fits_right = here + length <= _PLOT_WIDTH
        left_edge = here if fits_right else here - length
        if moment.text and left_edge >= taken.get(moment.lane, 0):
            taken[moment.lane] = left_edge + length
            yield _Label(moment.lane, moment.at, moment.text, "left" if fits_right else "right")


def _span_labels(timeline: Timeline, scale: _Scale) -> Iterable[_Label]:
    """The text on its bar where that is long and pale enough, else beside it."""
    for span in timeline.spans:
        began, ended, length = scale.pixel(span.began), scale.pixel(span.ended), _LETTER * len(span.text)
        if not span.text:
            continue
        if span.tone in _PALE and ended - began > length + 2 * _MARGIN:
            yield _Label(span.lane, span.began + (span.ended - span.began) / 2, span.text, "center")
        elif ended + length + _MARGIN <= _PLOT_WIDTH:
            yield _Label(span.lane, span.ended, span.text, "left")
        else:
            yield _Label(span.lane, span.began, span.text, "right")
