"""What can be dispatched for a request that lies open, why not, and what GitHub would be asked (SPEC §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tfpilot.core.diagnosis import NOT_DISPATCHED_AFTER
from tfpilot.core.dispatch import DispatchOrder, eligibility, why_open
from tfpilot.core.intents import holds_lock
from tfpilot.core.lifecycle import lacks_run
from tfpilot.core.model import DispatchRecord, Operator, Request, WorkflowKind
from tfpilot.edges import Edges
from tfpilot.errors import RefusedError
from tfpilot.operations.browse import RequestView
from tfpilot.operations.discovery import find_open_record
from tfpilot.operations.dispatch_intent import check_not_overwritten, order_of
from tfpilot.operations.rights import find_refusal_to_dispatch


@dataclass(frozen=True, slots=True)
class Offer:
    """A dispatch as it can be offered to a person. `refusal` says why it cannot; else `order` is what GitHub would be
    asked. `asks_github`: GitHub is asked first what became of the last destroy."""

    kind: WorkflowKind
    refusal: str | None = None
    order: DispatchOrder | None = None
    asks_github: bool = False


@dataclass(frozen=True, slots=True)
class OpenDispatch:
    """A dispatch whose run is not known. `record`: ours of it, None where somebody else dispatched. `closes_at`: from
    when a person may say that no run exists, None where the time of the dispatch is not known."""

    kind: WorkflowKind
    at: datetime | None
    record: DispatchRecord | None

    @property
    def closes_at(self) -> datetime | None:
        since = (self.record.posted_at if self.record is not None else None) or self.at
        return since + NOT_DISPATCHED_AFTER if since is not None else None


def offers(edges: Edges, view: RequestView, *, operator: Operator) -> Mapping[WorkflowKind, Offer]:
    """What the operator can have dispatched, by what is stored; the dispatch itself checks all of it again."""
    return {kind: _offer(edges, view, kind, operator=operator) for kind in WorkflowKind}


def open_dispatches(view: RequestView) -> tuple[OpenDispatch, ...]:
    """The dispatches of the request whose run is not known, by the document or by our records."""
    if view.archived:
        return ()
    found = ((kind, find_open_record(view.records, kind)) for kind in WorkflowKind)
    return tuple(
        _open_dispatch(view.request, kind, stored.record if stored else None)
        for kind, stored in found
        if stored is not None or lacks_run(view.request, kind)
    )


def _open_dispatch(request: Request, kind: WorkflowKind, record: DispatchRecord | None) -> OpenDispatch:
    trigger = request.triggers.get(kind)
    return OpenDispatch(kind, record.triggered_at if record else trigger.at if trigger else None, record)


def _offer(edges: Edges, view: RequestView, kind: WorkflowKind, *, operator: Operator) -> Offer:
    if view.archived:
        return Offer(kind, "the request is archived")
    fit = eligibility(view.request, kind, view.at)
    missing = find_refusal_to_dispatch(edges, view.request, kind, operator=operator)
    try:
        _check(None if missing is None else missing.message)
        _check(fit.refusal)
        _check(_why_open(view, kind))
        _check(_why_locked(view))
        check_not_overwritten(view.request, kind, view.records)
        return Offer(kind, order=order_of(edges, view.request, kind), asks_github=fit.asks_github)
    except RefusedError as refusal:
        return Offer(kind, refusal.message)


def _check(refusal: str | None) -> None:
    if refusal is not None:
        raise RefusedError(refusal)


def _why_open(view: RequestView, kind: WorkflowKind) -> str | None:
    """An open dispatch that the document alone does not forbid to follow: a stale one, or one that was overwritten."""
    return next((why_open(kind, each.at) for each in open_dispatches(view) if each.kind is kind), None)


def _why_locked(view: RequestView) -> str | None:
    held = holds_lock(view.request, view.at)
    return None if held is None else f"the request is locked by {held.holder} for {held.operation}"
