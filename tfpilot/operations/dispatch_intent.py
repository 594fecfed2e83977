"""Writing the intent of a dispatch before GitHub is asked, and taking it back where GitHub refused (SPEC §6)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tfpilot.core.dispatch import CHANGING, DispatchAnswer, DispatchOrder, Eligibility, order_for
from tfpilot.core.document import apply_changes
from tfpilot.core.intents import (
    error_changes,
    intent_changes,
    is_still_open,
    overwritten_changes,
    take_back_changes,
    unlock_changes,
)
from tfpilot.core.model import (
    DispatchRecord,
    DispatchState,
    FieldChange,
    Operator,
    Request,
    Stored,
    StoredDispatch,
    WorkflowKind,
)
from tfpilot.core.repair import next_version
from tfpilot.core.request import parse_request
from tfpilot.edges import Edges
from tfpilot.errors import ArchivedError, ConflictError, NotFoundError, RefusedError, TfPilotError
from tfpilot.operations.discovery import find_open_record, find_record, settle_record
from tfpilot.operations.history import note_event
from tfpilot.operations.request_lock import HeldLock
from tfpilot.operations.rewrite import MAX_TRIES, check_unobstructed, read_active, rewrite

Recheck = Callable[[Request], Eligibility]
"""Whether the request as it stands now may be dispatched."""


def order_of(edges: Edges, request: Request, kind: WorkflowKind) -> DispatchOrder:
    """What GitHub is to be asked, by this portal's rules. Raises as `order_for`."""
    return order_for(
        request,
        kind,
        workflow_files=edges.rules.workflow_files,
        base_branch=edges.rules.base_branch,
        dry_run_kinds=edges.rules.dry_run_kinds,
        is_prod=request.environment not in edges.rights.dev_environments,
    )


def check_eligible(request: Request, fit: Eligibility) -> None:
    if fit.refusal is not None:
        raise RefusedError(
            f"No {fit.kind.value} was dispatched for {request.id}: {fit.refusal}",
            "Repair the request first where GitHub may know better.",
        )


@dataclass(frozen=True, slots=True)
class Draft:
    """A dispatch before its intent is stored. `ahead`: how far GitHub's clock is ahead of ours."""

    request_id: str
    kind: WorkflowKind
    operator: Operator
    recheck: Recheck
    ahead: timedelta


@dataclass(frozen=True, slots=True)
class Intent:
    """A stored intent, and what GitHub is going to be asked."""

    record: DispatchRecord
    order: DispatchOrder
    request: Request


def write_intent(edges: Edges, draft: Draft, lock: HeldLock) -> Intent:
    """Stores our record and then the document. An intent that did not come to be leaves a refused record, and nothing
    of it in the document: nothing was sent yet."""
    nonce = secrets.token_hex(8)
    try:
        return _store_intent(edges, draft, lock, nonce=nonce)
    except TfPilotError as failure:
        _withdraw(edges, draft.request_id, lock, nonce=nonce, why=failure.message)
        raise


def _store_intent(edges: Edges, draft: Draft, lock: HeldLock, *, nonce: str) -> Intent:
    kept: StoredDispatch | None = None
    for _ in range(MAX_TRIES):
        stored = read_active(edges, draft.request_id)
        intent, changes = _plan_intent(edges, draft, stored, nonce=nonce, lock=lock)
        if kept is None:
            kept = edges.dispatches.add(intent.record)
        else:
            kept = edges.dispatches.put(intent.record, if_match=kept.etag)
        _check_alone(edges, intent)
        document = next_version(stored.document, changes, edges.clock())
        try:
            etag = edges.documents.put(draft.request_id, document, if_match=stored.etag)
        except ConflictError:
            continue
        edges.snapshots.note(draft.request_id, Stored(document, etag))
        return replace(intent, request=parse_request(document))
    raise ConflictError(
        f"Other writers changed {draft.request_id} {MAX_TRIES} times meanwhile. Nothing was dispatched.",
        "Try again in a moment.",
    )


def _withdraw(edges: Edges, request_id: str, lock: HeldLock, *, nonce: str, why: str) -> None:
    """Takes back what may have been stored of an intent. Where storage does not let it, the record stays open, and the
    dispatch is looked for as one whose outcome is not known."""
    with suppress(TfPilotError):
        stored = find_record(edges, request_id, nonce)
        if stored is None:
            return
        record = stored.record

        def decide(current: Request) -> tuple[FieldChange, ...]:
            back = take_back_changes(current.raw, record) if is_still_open(current.raw, record) else ()
            # The lock goes in the same write: a write of the intent that is still under way has lost then.
            return (*unlock_changes(current.raw, holder=lock.holder), *back)

        with suppress(NotFoundError, ArchivedError):
            rewrite(edges, request_id, decide)
        settle_record(edges, record, state=DispatchState.REFUSED, settled_by="", detail=why)


def check_not_overwritten(request: Request, kind: WorkflowKind, records: Iterable[StoredDispatch]) -> None:
    """Returns where the document holds what our records say of the dispatches that another may not follow.

    Raises RefusedError: without what somebody overwrote, a request looks ready for what was started already.
    """
    concerned = [each.record for each in records if each.record.kind in {*CHANGING, kind}]
    lost = overwritten_changes(request.raw, concerned)
    if lost:
        raise RefusedError(
            f"Another writer has overwritten a dispatch of {request.id}: {', '.join(each.dotted for each in lost)}",
            "Repair the request first: that puts back what was overwritten.",
        )


def _check_alone(edges: Edges, intent: Intent) -> None:
    """Returns where no other dispatch of the kind is open or overwritten, by our records. Ours is stored by now: of two
    who dispatch at once, at least one sees the other, whatever became of the lock in the document."""
    record = intent.record
    others = [each for each in edges.dispatches.list(record.request_id) if each.record.nonce != record.nonce]
    if find_open_record(others, record.kind) is not None:
        raise RefusedError(
            f"Another {record.kind.value} of {record.request_id} was dispatched meanwhile", "Look at the request again."
        )
    check_not_overwritten(intent.request, record.kind, others)


def _plan_intent(
    edges: Edges, draft: Draft, stored: Stored, *, nonce: str, lock: HeldLock
) -> tuple[Intent, tuple[FieldChange, ...]]:
    request = parse_request(stored.document)
    lock.check_held(request)
    check_eligible(request, draft.recheck(request))
    order = order_of(edges, request, draft.kind)
    at = _whole_milliseconds(edges.clock() + draft.ahead)
    destroy = request.runs.get(WorkflowKind.DESTROY)
    changes = intent_changes(request, draft.kind, at, destroy_run_id=destroy.run_id if destroy else None)
    check_unobstructed(request, changes)
    record = DispatchRecord(
        request_id=request.id,
        nonce=nonce,
        kind=draft.kind,
        repo=order.repo,
        workflow_file=order.workflow_file,
        ref=order.ref,
        inputs=order.inputs,
        operator=draft.operator.login,
        triggered_at=at,
        replaced=changes,
    )
    return Intent(record, order, request), changes


def take_back(edges: Edges, intent: Intent, answer: DispatchAnswer, *, operator: Operator) -> None:
    """Puts back what the intent replaced; a cleanup keeps why it was refused."""
    record = intent.record

    def decide(current: Request) -> tuple[FieldChange, ...]:
        back = take_back_changes(current.raw, record)
        if record.kind is not WorkflowKind.CLEANUP:
            return back
        return (*back, *error_changes(apply_changes(current.raw, back), record, answer.detail))

    rewrite(edges, record.request_id, decide)
    settle_record(edges, record, state=DispatchState.REFUSED, settled_by="github", detail=answer.detail)
    event = f"{record.kind.value}_dispatch_refused"
    note_event(edges, record.request_id, event, operator=operator, data={"detail": answer.detail})


def _whole_milliseconds(at: datetime) -> datetime:
    """What the document can hold of an instant."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
