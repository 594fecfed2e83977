"""Webhook deliveries: receiving them so that nothing that was answered with 2xx is lost, and handling later what could
not be handled (SPEC §6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from tfpilot.core.deeds import Deed
from tfpilot.core.delivery import (
    Delivery,
    HandledDelivery,
    KeptDelivery,
    Place,
    SeenDelivery,
    StoredDelivery,
    check_event,
    check_guid,
    check_signature,
    check_size,
)
from tfpilot.core.facts import TRIGGER_TOLERANCE
from tfpilot.core.model import Door, Operator, Request, RequestRow, Role, WorkflowKind, WorkflowRun
from tfpilot.core.roles import Right
from tfpilot.core.run_guard import can_have_started, is_same_repo
from tfpilot.core.webhook import Decision, decide, ignore, named_by, why_no_request
from tfpilot.core.webhook_event import HANDLED_EVENTS, PING, Event
from tfpilot.edges import Edges
from tfpilot.errors import (
    ArchivedError,
    ConflictError,
    DocumentError,
    NotFoundError,
    StorageError,
    TfPilotError,
    UpstreamError,
)
from tfpilot.operations.acting import act
from tfpilot.operations.browse import FRESH_ENOUGH
from tfpilot.operations.dispatch import clean_up_after_destroy
from tfpilot.operations.rights import check_may
from tfpilot.operations.run_events import Outcome, apply_run, change_request, event_of, replay_parked

SHOWN: Final = 50
_GUID_SHOWN: Final = 128
_SYSTEM: Final = Operator("system", Role.SYSTEM, Door.WEBHOOK)


class Disposition(StrEnum):
    """What became of a delivery. PARKED and KEPT wait, whole, to be handled later."""

    APPLIED = "applied"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    PARKED = "parked"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to a delivery. `notices` tell what went wrong beside the request, which is stored."""

    guid: str
    event: str
    disposition: Disposition
    reason: str
    request_id: str | None = None
    kind: WorkflowKind | None = None
    fields: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


OnHandled = Callable[[Receipt], None]
"""Is told what became of a delivery when nothing can be lost any more."""


@dataclass(frozen=True, slots=True)
class DeliveriesView:
    """The deliveries of late, each list newest first. What the web app says it saw is shown and never trusted."""

    handled: Sequence[HandledDelivery]
    dead_letters: Sequence[StoredDelivery]
    parked: Sequence[StoredDelivery]
    seen_by_web_app: Sequence[SeenDelivery]

    @property
    def uncorrelated(self) -> Sequence[HandledDelivery]:
        """Those about a workflow or pull request that belongs to no request."""
        return [each for each in self.handled if each.request_id is None and each.event != PING]


@dataclass(frozen=True, slots=True)
class _Case:
    """One delivery whose signature was good, and what it says."""

    guid: str
    body: bytes
    event: Event
    at: datetime

    def receipt(self, disposition: Disposition, reason: str, request_id: str | None = None) -> Receipt:
        return Receipt(self.guid, self.event.name, disposition, reason, request_id, self.event.kind)

    def kept(self, place: Place, why: str) -> KeptDelivery:
        waits = place is Place.PARKED
        kind, run_id = (self.event.kind, self.event.run_id) if waits else (None, None)
        return KeptDelivery(place, self.guid, self.event.name, self.body, self.at, why, kind, run_id)


def receive(edges: Edges, delivery: Delivery, *, on_handled: OnHandled | None = None) -> Receipt:
    """Handles one delivery from GitHub, or keeps it.

    A delivery is recorded as handled only after it was; one that we handled before changes nothing. `on_handled` is
    told as soon as that is done: GitHub need not wait for the cleanup that a destroy may be followed by.

    While the portal is frozen, it is kept as a dead letter.

    Raises OversizedError, ConfigError (no secret is set), SignatureError or MalformedDeliveryError without having read
    anything, UpstreamError where the portal is read-only, and StorageError where it could not be handled: it is then
    kept as a dead letter, if that much works.
    """
    check_size(len(delivery.body))
    check_signature(delivery, edges.rules.webhook_secrets)
    guid, name = check_guid(delivery), check_event(delivery)
    case = _Case(guid, delivery.body, event_of(edges, name, delivery.body), edges.clock())
    if edges.rights.read_only:
        raise UpstreamError(
            "The portal is read-only: the delivery was not taken",
            "Redeliver it at GitHub when the portal writes again.",
        )
    try:
        if edges.deliveries.find(guid) is not None:
            return case.receipt(Disposition.DUPLICATE, "this delivery was handled before")
        frozen = edges.freeze.find()
        if frozen is not None:
            edges.deliveries.keep(case.kept(Place.DEAD_LETTER, f"the portal is frozen: {frozen.reason}"))
            return case.receipt(Disposition.KEPT, "kept as a dead letter: the portal is frozen")
        return _handle(edges, case, on_handled)
    except (StorageError, ConflictError) as error:
        raise _kept_for_later(edges, case, error) from error


def replay(edges: Edges, guid: str, *, operator: Operator) -> Receipt:
    """Handles a delivery that was kept; its signature was good when it came. It is removed only where it was handled,
    or is kept elsewhere now.

    Raises MissingRightError, NotFoundError (none is kept under that id), StorageError or ConflictError.
    """
    with act(edges, operator, Deed.REPLAY, guid[:_GUID_SHOWN]) as deed:
        check_may(edges, operator, Right.REPLAY, environment=None)
        stored = edges.deliveries.find_kept(guid)
        if stored is None:
            raise NotFoundError(f"No delivery {guid[:_GUID_SHOWN]} is kept", "It was handled meanwhile, or never came.")
        deed.begin(event=stored.delivery.event)
        receipt = _replay(edges, stored)
        deed.tell(disposition=receipt.disposition.value, about=receipt.request_id or "")
    return receipt


def _replay(edges: Edges, stored: StoredDelivery) -> Receipt:
    kept = stored.delivery
    case = _Case(kept.guid, kept.body, event_of(edges, kept.event, kept.body), kept.received_at)
    receipt = _handle(edges, case)
    is_elsewhere = receipt.disposition is Disposition.PARKED and kept.place is Place.DEAD_LETTER
    if is_elsewhere or receipt.disposition in (Disposition.APPLIED, Disposition.IGNORED):
        edges.deliveries.remove_kept(stored)
    return receipt


def open_deliveries(edges: Edges, *, limit: int = SHOWN) -> DeliveriesView:
    """The last deliveries, and those that wait to be handled. Raises StorageError."""
    return DeliveriesView(
        handled=edges.deliveries.recent(limit=limit),
        dead_letters=edges.deliveries.list_kept(Place.DEAD_LETTER, limit=limit),
        parked=edges.deliveries.list_kept(Place.PARKED, limit=limit),
        seen_by_web_app=edges.deliveries.seen_by_web_app(limit=limit),
    )


def _handle(edges: Edges, case: _Case, on_handled: OnHandled | None = None) -> Receipt:
    if case.event.name not in HANDLED_EVENTS:
        return case.receipt(Disposition.IGNORED, ignore(case.event, why_no_request(case.event) or "").reason)
    try:
        outcome = _apply(edges, case)
    except DocumentError as error:
        return _kept_as_unreadable(edges, case, error)
    if outcome is None:
        return case.receipt(Disposition.PARKED, _waits_for(case.event))
    receipt = _receipt_of(case, outcome)
    edges.deliveries.add(_record_of(case, receipt))
    if on_handled is not None:
        on_handled(receipt)
    return replace(receipt, notices=receipt.notices + _cleaned_up(edges, case.event, outcome))


def _apply(edges: Edges, case: _Case) -> Outcome | Decision | None:
    """What the event came to: in a request, or without one; None where it waits for its run to be claimed."""
    event = case.event
    why_not = why_no_request(event)
    if why_not is not None:
        return ignore(event, why_not)
    for request_id in _candidates(edges, event):
        try:
            return _apply_to(edges, event, request_id)
        except ArchivedError:
            return ignore(event, f"{request_id} is archived", request_id)
        except NotFoundError:
            continue  # an id in a text that is no request's
    return _apply_without_request(edges, case)


def _candidates(edges: Edges, event: Event) -> Iterator[str]:
    """The requests that the event may belong to, the surest first; each is looked up when the one before is none."""
    if event.kind is not None and event.run_id is not None:
        entry = edges.run_index.find(event.kind, event.run_id)
        if entry is not None:
            yield entry.request_id
        if event.kind is WorkflowKind.DESTROY:
            yield from _trackers(_rows_since(edges, event.run), event.kind, event.run_id)
    yield from event.named
    for number in event.pull_numbers:
        request_id = edges.pull_index.find(event.repo, number)
        if request_id is not None:
            yield request_id


def _apply_to(edges: Edges, event: Event, request_id: str) -> Outcome:
    if event.run is not None and event.kind is not None:
        return apply_run(edges, request_id, event.kind, event.run, actor=event.sender)

    def decide_now(request: Request) -> Decision:
        return decide(event, request, edges.clock())

    number = event.pull.number if event.pull else None
    about = {"event": event.name, "prNumber": number}
    return change_request(edges, request_id, decide_now, actor=event.sender, about=about)


def _apply_without_request(edges: Edges, case: _Case) -> Outcome | Decision | None:
    """A run that names nobody waits while a dispatch of its kind does not know its run. The index is looked at once
    more after that: the dispatch may have claimed its run meanwhile, and found nothing that waited."""
    event = case.event
    if event.run is None or event.kind is None or event.run_id is None or not _is_awaited(edges, event, event.run):
        named = named_by(event)
        return ignore(event, f"there is no request {named}" if named else "it names no request")
    edges.deliveries.keep(case.kept(Place.PARKED, _waits_for(event)))
    outcomes = replay_parked(edges, event.kind, event.run_id)
    return outcomes[-1] if outcomes else None


def _is_awaited(edges: Edges, event: Event, run: WorkflowRun) -> bool:
    """Whether a dispatch of that kind in that repository, ours or the web app's, may have started the run and does not
    know it yet."""
    ours = (each.record for each in edges.dispatches.list_open())
    if any(
        record.kind is event.kind
        and is_same_repo(record.repo, event.repo)
        and can_have_started(record.triggered_at, run)
        for record in ours
    ):
        return True
    repo = str(event.repo).casefold()
    intents = (
        intent
        for row in _rows_since(edges, run)
        if row.repo.casefold() == repo and not row.archived
        for intent in row.intents
    )
    return any(intent.kind is event.kind and can_have_started(intent.at, run) for intent in intents)


def _rows_since(edges: Edges, run: WorkflowRun | None) -> Sequence[RequestRow]:
    """All requests, as they were after the run began: who dispatched it had said so by then. Raises StorageError: what
    cannot be read may be about the run."""
    now = edges.clock()
    began = run.fact.created_at if run is not None else None
    oldest = now - FRESH_ENOUGH if began is None else max(now - FRESH_ENOUGH, min(began + TRIGGER_TOLERANCE, now))
    snapshot = edges.snapshots.refresh(older_than=now - oldest)
    if snapshot.read_at is None or snapshot.read_at < oldest:
        raise StorageError(
            f"Whose run it is cannot be told: {snapshot.error or 'the requests could not be read'}",
            "Try again when storage answers.",
        )
    return snapshot.rows


def _trackers(rows: Sequence[RequestRow], kind: WorkflowKind, run_id: int) -> Sequence[str]:
    """The one active request that tracks the run; nobody where several do, since nothing tells whose it is."""
    found = [
        row.id
        for row in rows
        if not row.archived and any(each.kind is kind and each.run_id == run_id for each in row.tracked)
    ]
    return found if len(found) == 1 else ()


def _receipt_of(case: _Case, outcome: Outcome | Decision) -> Receipt:
    if isinstance(outcome, Decision):
        return case.receipt(Disposition.IGNORED, outcome.reason, outcome.request_id)
    disposition = Disposition.APPLIED if outcome.written else Disposition.IGNORED
    receipt = case.receipt(disposition, outcome.decision.reason, outcome.request.id)
    fields = tuple(change.dotted for change in outcome.decision.changes) if outcome.written else ()
    return replace(receipt, fields=fields, notices=outcome.notices)


def _record_of(case: _Case, receipt: Receipt) -> HandledDelivery:
    return HandledDelivery(
        guid=case.guid,
        event=case.event.name,
        received_at=case.at,
        applied=receipt.disposition is Disposition.APPLIED,
        reason=receipt.reason,
        request_id=receipt.request_id,
        kind=case.event.kind,
        run_id=case.event.run_id,
        repo=str(case.event.repo).strip("/"),
        sender=case.event.sender,
    )


def _cleaned_up(edges: Edges, event: Event, outcome: Outcome | Decision) -> tuple[str, ...]:
    """Dispatches the cleanup after a destroy that succeeded, where it is due. What goes wrong with it is said; the
    next repair dispatches it then."""
    is_destroyed = event.kind is WorkflowKind.DESTROY and event.run is not None and event.run.fact.is_success
    if not is_destroyed or isinstance(outcome, Decision):
        return ()
    if outcome.decision.verdict is None or not outcome.decision.verdict.is_ours:
        return ()
    try:
        clean_up_after_destroy(edges, outcome.request.id, operator=_SYSTEM)
    except TfPilotError as error:
        return (f"The cleanup was not dispatched: {error.message}",)
    return ()


def _kept_as_unreadable(edges: Edges, case: _Case, error: DocumentError) -> Receipt:
    """GitHub cannot help: the same delivery would meet the same document. So it is kept for the time when the document
    is restored, and taken for that; where it cannot be kept, it is refused."""
    edges.deliveries.keep(case.kept(Place.DEAD_LETTER, error.message))
    return case.receipt(Disposition.KEPT, f"kept as a dead letter: {error.message}")


def _kept_for_later(edges: Edges, case: _Case, error: StorageError | ConflictError) -> StorageError:
    """The failure to answer with, after an attempt to keep the delivery."""
    hint = "It is kept as a dead letter: replay it in the portal, or redeliver it at GitHub."
    try:
        edges.deliveries.keep(case.kept(Place.DEAD_LETTER, error.message))
    except StorageError:
        hint = "It could not be kept either: redeliver it at GitHub, or repair the request."
    return StorageError(f"Delivery {case.guid} was not handled: {error.message}", hint)


def _waits_for(event: Event) -> str:
    kind = event.kind.value if event.kind else ""
    return f"{kind} run {event.run_id} names no request, and a dispatch does not know its run yet"
