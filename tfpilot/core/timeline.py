"""What happened to a request and when, as a chart shows it: lanes with moments, spans and stuck thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from tfpilot.core.approval import latest_voices
from tfpilot.core.lifecycle import latest_start, stale_after, stuck_after
from tfpilot.core.model import (
    FAILED_CONCLUSIONS,
    SUCCESS,
    GitHubFacts,
    LifecycleEvent,
    PullFact,
    Request,
    RunFact,
    Thresholds,
    WorkflowKind,
)


class Lane(StrEnum):
    """The rows of the chart, from top to bottom."""

    REQUEST = "Request"
    PULL = "Pull request"
    PLAN = "Plan run"
    APPLY = "Apply run"
    DESTROY = "Destroy run"
    CLEANUP = "Cleanup run"
    DRIFT_PLAN = "Drift run"
    REVIEWS = "Reviews"
    PORTAL = "Portal"


class Tone(StrEnum):
    """What a span says: open, a machine at work, and how it ended. `UNCONFIRMED` is stored, and GitHub knows better or
    was not heard."""

    OPEN = "open"
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ENDED = "ended"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at one time."""

    lane: Lane
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """Something that lasted. `text` may be empty."""

    lane: Lane
    began: datetime
    ended: datetime
    tone: Tone
    text: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """When what a lane shows counts as stuck."""

    lane: Lane
    at: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything with a known time, oldest first, as seen at `now`. Lanes that hold nothing are left out."""

    moments: tuple[Moment, ...]
    spans: tuple[Span, ...]
    thresholds: tuple[Threshold, ...]
    now: datetime

    @property
    def lanes(self) -> Sequence[Lane]:
        """The lanes that hold something, from top to bottom."""
        used = {moment.lane for moment in self.moments} | {span.lane for span in self.spans}
        return [lane for lane in Lane if lane in used]

    @property
    def is_running(self) -> bool:
        """Whether something goes on until now, so that now is the end of what is shown."""
        return any(span.ended == self.now for span in self.spans)


RUN_LANES: Final = {
    WorkflowKind.PLAN: Lane.PLAN,
    WorkflowKind.APPLY: Lane.APPLY,
    WorkflowKind.DESTROY: Lane.DESTROY,
    WorkflowKind.CLEANUP: Lane.CLEANUP,
    WorkflowKind.DRIFT_PLAN: Lane.DRIFT_PLAN,
}
_EVENTS_SHOWN: Final = 3
_VERBS: Final = {"APPROVED": "approved by", "CHANGES_REQUESTED": "changes requested by", "DISMISSED": "dismissed for"}


def draw_timeline(
    request: Request,
    now: datetime,
    thresholds: Thresholds,
    *,
    events: Iterable[LifecycleEvent] = (),
    facts: GitHubFacts | None = None,
) -> Timeline:
    """What the document, its events and, where it was asked, GitHub tell about when. What has no time is not shown."""
    known = facts or GitHubFacts()
    moments = [*_created(request), *_pull_moments(request, known), *_reviews(request, known), *_portal(events)]
    spans = [*_pull_spans(request, known, now), *_run_spans(request, known, now)]
    moments += _starts(spans)
    return Timeline(
        moments=tuple(sorted(moments, key=lambda moment: moment.at)),
        spans=tuple(sorted(spans, key=lambda span: span.began)),
        thresholds=tuple(_thresholds(request, thresholds)),
        now=now,
    )


def _starts(spans: Sequence[Span]) -> Iterator[Moment]:
    """Where each run began: its first span."""
    for lane in RUN_LANES.values():
        began = min((span.began for span in spans if span.lane is lane), default=None)
        if began is not None:
            yield Moment(lane, began, "")


def _created(request: Request) -> Iterator[Moment]:
    if request.received_at is not None:
        by = f" · {request.created_by}" if request.created_by else ""
        yield Moment(Lane.REQUEST, request.received_at, f"request created{by}")


def _pull(request: Request, facts: GitHubFacts) -> PullFact | None:
    return facts.pull.value or request.pull


def _pull_moments(request: Request, facts: GitHubFacts) -> Iterator[Moment]:
    pull = _pull(request, facts)
    if pull is None:
        return
    if pull.created_at is not None:
        yield Moment(Lane.PULL, pull.created_at, f"#{pull.number} opened")
    if pull.merged_at is not None:
        yield Moment(Lane.PULL, pull.merged_at, f"#{pull.number} merged{_only_github(request, pull)}")


def _only_github(request: Request, pull: PullFact) -> str:
    stored = request.pull is not None and request.pull.merged
    return "" if stored or not pull.merged else " · only GitHub knows"


def _pull_spans(request: Request, facts: GitHubFacts, now: datetime) -> Iterator[Span]:
    pull = _pull(request, facts)
    if pull is None or pull.created_at is None:
        return
    ended = now if pull.is_open else pull.merged_at or pull.updated_at
    if ended is not None and ended >= pull.created_at:
        yield Span(Lane.PULL, pull.created_at, ended, Tone.OPEN)


def _run_spans(request: Request, facts: GitHubFacts, now: datetime) -> Iterator[Span]:
    for kind in WorkflowKind:
        stored = request.runs.get(kind)
        answer = facts.runs.get(kind)
        learned = answer.value.fact if answer is not None and answer.value is not None else None
        began = _began(learned) or _began(stored) or latest_start(request, kind)
        if began is not None:
            yield from _spans_of_one(RUN_LANES[kind], began, stored, learned, now)


def _began(run: RunFact | None) -> datetime | None:
    return None if run is None else run.run_started_at or run.created_at


def _spans_of_one(
    lane: Lane, began: datetime, stored: RunFact | None, learned: RunFact | None, now: datetime
) -> Iterator[Span]:
    """What GitHub says, and after its end what is still stored as if it went on."""
    told = learned if learned is not None else stored if stored is not None and stored.conclusion else None
    end = began
    if told is not None:
        end = max(began, told.updated_at or began) if told.conclusion else now
        yield Span(lane, began, end, _tone(told), "" if _stored_goes_on(stored, learned) else _said(told))
    if _stored_goes_on(stored, learned) or (told is None and stored is not None):
        yield Span(lane, end, now, Tone.UNCONFIRMED, _unconfirmed(stored, learned, began))


def _stored_goes_on(stored: RunFact | None, learned: RunFact | None) -> bool:
    """Whether the document still shows a run as going on that GitHub says has ended."""
    return stored is not None and stored.conclusion is None and learned is not None and learned.conclusion is not None


def _tone(run: RunFact) -> Tone:
    if run.conclusion is None:
        return Tone.ACTIVE
    if run.conclusion == SUCCESS:
        return Tone.SUCCEEDED
    return Tone.FAILED if run.conclusion in FAILED_CONCLUSIONS else Tone.ENDED


def _said(run: RunFact) -> str:
    return _plain(run.conclusion or run.status or "")


def _unconfirmed(stored: RunFact | None, learned: RunFact | None, began: datetime) -> str:
    state = _plain(stored.status or "no status") if stored is not None else "no status"
    text = f"stored: {state} since {began:%H:%M}"
    if learned is None:
        return text
    at = f" at {learned.updated_at:%H:%M}" if learned.updated_at else ""
    return f"{text} · GitHub: {_said(learned)}{at}"


def _plain(word: str) -> str:
    return word.replace("_", " ")


def _reviews(request: Request, facts: GitHubFacts) -> Iterator[Moment]:
    pull = _pull(request, facts)
    voices = latest_voices(facts.reviews.value or (), author=pull.author if pull else None)
    stored = {login.casefold() for login in request.approval.reviews}
    for review in (voices or request.approval.reviews).values():
        if review.submitted_at is not None:
            verb = _VERBS.get(review.state, f"{_plain(review.state.lower())} by")
            news = "" if review.login.casefold() in stored else " · only GitHub knows"
            yield Moment(Lane.REVIEWS, review.submitted_at, f"{verb} {review.login}{news}")


def _portal(events: Iterable[LifecycleEvent]) -> Iterator[Moment]:
    """The newest few things that this portal did."""
    ours = sorted((event for event in events if event.source == "ops-portal"), key=lambda event: event.at)
    for event in ours[-_EVENTS_SHOWN:]:
        yield Moment(Lane.PORTAL, event.at, f"{_plain(event.event)} · {event.actor}")


def _thresholds(request: Request, thresholds: Thresholds) -> Iterator[Threshold]:
    for kind in (WorkflowKind.PLAN, WorkflowKind.APPLY):
        at = stuck_after(request, kind, thresholds)
        if at is not None:
            yield Threshold(RUN_LANES[kind], at)
    stale_at = stale_after(request)
    if stale_at is not None:
        yield Threshold(Lane.DESTROY, stale_at)
