"""One run fact into one request, under the guard: from a webhook at once, or from one that waited for its run's id."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from tfpilot.core.deeds import Deed
from tfpilot.core.delivery import StoredDelivery, parse_payload
from tfpilot.core.intents import replaced_run_ids
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import Door, FieldChange, Operator, Request, Role, RunIndexEntry, WorkflowKind, WorkflowRun
from tfpilot.core.run_guard import Guarded, Verdict
from tfpilot.core.run_index import is_expired
from tfpilot.core.webhook import Action, Decision, decide_run
from tfpilot.core.webhook_event import Event, parse_event
from tfpilot.edges import Edges
from tfpilot.errors import ArchivedError, NotFoundError, StorageError, TfPilotError
from tfpilot.operations.acting import act, fields_told
from tfpilot.operations.discovery import entry_for, find_open_record
from tfpilot.operations.history import note_event
from tfpilot.operations.rewrite import Rewritten, rewrite

_IN_LINE: Final = tuple(threading.Lock() for _ in range(64))
"""Events of one request come in bursts. Within this process they queue, instead of losing their races to each other;
what keeps them apart from other writers is the condition of each write."""

Decide = Callable[[Request], Decision]
"""What an event changes in a request as it stands now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event: the decision, the request as it is stored now, and whether it was written. `notices`
    tell a person what went wrong beside the document."""

    decision: Decision
    request: Request
    written: bool
    notices: tuple[str, ...] = ()


def apply_run(edges: Edges, request_id: str, kind: WorkflowKind, run: WorkflowRun, *, actor: str) -> Outcome:
    """Stores what the run says in the request, if the guard lets it; a run that the request does not track is claimed
    for it first, so that no other request has it.

    Raises NotFoundError, ArchivedError, DocumentError, StorageError, or ConflictError where others won every race.
    """
    run_id = run.fact.run_id
    owner = _owner_of(edges, kind, run_id)

    def decide(request: Request) -> Decision:
        decision = decide_run(kind, run, request, owner=owner)
        if decision.verdict is None or not (decision.applies and decision.verdict.needs_claim):
            return decision
        if run_id in _runs_before(edges, request_id, kind):
            return _refused(decision, f"run {run_id} is the one before our dispatch")
        return _with_claim(edges, decision, entry_for(edges, request_id, kind, run))

    outcome = change_request(edges, request_id, decide, actor=actor, about={"kind": kind.value, "runId": run_id})
    if owner is None and _is_tracked(outcome.decision.verdict):
        return replace(outcome, notices=outcome.notices + _backfill(edges, entry_for(edges, request_id, kind, run)))
    return outcome


def change_request(edges: Edges, request_id: str, decide: Decide, *, actor: str, about: Mapping[str, Any]) -> Outcome:
    """Stores what `decide` wants, deciding again after each lost race, with one line in the request's history.

    Nothing to change: nothing is written. Raises as `apply_run`.
    """
    decided: list[tuple[Request, Decision]] = []

    sender = Operator(actor, Role.SYSTEM, Door.WEBHOOK)
    with _IN_LINE[hash(request_id) % len(_IN_LINE)], act(edges, sender, Deed.WEBHOOK, request_id) as deed:

        def changes_of(request: Request) -> Sequence[FieldChange]:
            decision = decide(request)
            decided.append((request, decision))
            if not (decision.applies and decision.changes):
                return ()
            deed.begin(**{name: value for name, value in about.items() if isinstance(value, str | int)})
            return decision.changes

        rewritten = rewrite(edges, request_id, changes_of)
        deed.tell(fields=fields_told(rewritten.changes))
    before, decision = decided[-1]
    if not rewritten.changes:
        return Outcome(decision, rewritten.request, written=False)
    notices = _record(edges, before, rewritten, decision, actor=actor, about=about)
    return Outcome(decision, rewritten.request, written=True, notices=notices)


def replay_parked(edges: Edges, kind: WorkflowKind, run_id: int) -> Sequence[Outcome]:
    """What became of the deliveries about a run that had waited until somebody claimed it, the oldest first. Each is
    removed once it was handled; nothing is done while nobody owns the run.

    Raises StorageError, ConflictError or DocumentError; what was not handled stays.
    """
    parked = edges.deliveries.list_parked(kind, run_id)
    owner = _owner_of(edges, kind, run_id) if parked else None
    if owner is None:
        return ()
    return tuple(outcome for each in parked if (outcome := _replay(edges, each, owner)) is not None)


def replay_claimed(edges: Edges, kind: WorkflowKind, run_id: int) -> tuple[str, ...]:
    """As `replay_parked` right after the run was claimed; never fails, and answers what went wrong, for a person."""
    try:
        replay_parked(edges, kind, run_id)
    except TfPilotError as error:
        return (f"What webhooks said of run {run_id} was not taken in: {error.message}",)
    return ()


def event_of(edges: Edges, name: str, body: bytes) -> Event:
    """The event in a body. Raises MalformedDeliveryError where it is no JSON."""
    return parse_event(name, parse_payload(body), workflow_files=edges.rules.workflow_files)


def _replay(edges: Edges, parked: StoredDelivery, owner: str) -> Outcome | None:
    """What became of it; None where the owner is no active request any more, which nothing may change."""
    event = event_of(edges, parked.delivery.event, parked.delivery.body)
    outcome = None
    if event.run is not None and event.kind is not None:
        with suppress(NotFoundError, ArchivedError):
            outcome = apply_run(edges, owner, event.kind, event.run, actor=event.sender)
    edges.deliveries.remove_kept(parked)
    return outcome


def _runs_before(edges: Edges, request_id: str, kind: WorkflowKind) -> frozenset[int]:
    """The runs that our open dispatch of that kind took the place of: a late word about them is not about its run."""
    ours = find_open_record(edges.dispatches.list(request_id), kind)
    return replaced_run_ids(ours.record) if ours is not None else frozenset()


def _owner_of(edges: Edges, kind: WorkflowKind, run_id: int | None) -> str | None:
    entry = edges.run_index.find(kind, run_id) if run_id is not None else None
    return entry.request_id if entry is not None else None


def _with_claim(edges: Edges, decision: Decision, entry: RunIndexEntry) -> Decision:
    """The decision where the claim holds; else that another request has the run."""
    if is_expired(entry, edges.clock()):
        return _refused(decision, f"run {entry.run_id} is older than the run index keeps runs")
    claim = edges.run_index.claim(entry)
    if claim.holds:
        return decision
    return _refused(decision, f"run {entry.run_id} belongs to {claim.owner or 'an index entry that cannot be read'}")


def _refused(decision: Decision, reason: str) -> Decision:
    verdict = Verdict(Guarded.FOREIGN, reason)
    return replace(decision, action=Action.IGNORE, reason=reason, changes=(), verdict=verdict)


def _is_tracked(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.guarded is Guarded.TRACKED


def _backfill(edges: Edges, entry: RunIndexEntry) -> tuple[str, ...]:
    """Gives a tracked run the index entry it lacks. Never fails: the audit finds what is missing."""
    if is_expired(entry, edges.clock()):
        return ()
    try:
        claim = edges.run_index.claim(entry)
    except StorageError as error:
        return (f"Run {entry.run_id} was not written into the run index: {error.message}",)
    if claim.holds:
        return ()
    owner = claim.owner or "an entry that cannot be read"
    return (f"The run index gives run {entry.run_id} to {owner}, and {entry.request_id} tracks it",)


def _record(
    edges: Edges, before: Request, rewritten: Rewritten, decision: Decision, *, actor: str, about: Mapping[str, Any]
) -> tuple[str, ...]:
    now = edges.clock()
    data = {
        **{name: value for name, value in about.items() if value is not None},
        "reason": decision.reason,
        "fields": [change.dotted for change in rewritten.changes],
        "statusBefore": derive_status(before, now).value,
        "statusAfter": derive_status(rewritten.request, now).value,
    }
    return note_event(edges, before.id, "github_event", operator=Operator(actor, Role.SYSTEM, Door.WEBHOOK), data=data)
