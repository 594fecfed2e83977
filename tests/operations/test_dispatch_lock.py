"""The lock and the intent of a dispatch: respected, given back, and taken back where storage fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import REQUEST_ID, ago, run
from tests.dispatch_setup import ADMIN, applied
from tests.fakes import OUTAGE
from tests.operations.dispatching import at_write, content, destroy, states, status, web_app_stores
from tfpilot.core.dispatch import DispatchAnswer, DispatchEnd, DispatchOrder
from tfpilot.core.model import DispatchState, LifecycleStatus, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.errors import RefusedError, StorageError
from tfpilot.operations.dispatch import dispatch

DESTROY = WorkflowKind.DESTROY


def test_a_lock_that_somebody_holds_is_respected(memory):
    lock = {"holder": "web-app", "operation": "apply", "acquiredAt": ago(minutes=1), "expiresAt": ago(minutes=-1)}
    memory.store(applied(lock=lock))
    with pytest.raises(RefusedError, match=f"{REQUEST_ID} is locked by web-app for apply until {ago(minutes=-1)}"):
        destroy(memory)
    assert memory.stored(REQUEST_ID)["lock"] == lock
    assert (memory.workflows.orders, memory.bucket.writes) == ([], [])


def test_an_expired_lock_is_taken_over(memory):
    memory.store(applied(lock={"holder": "web-app", "operation": "apply", "expiresAt": ago(seconds=1)}))
    assert destroy(memory).end is DispatchEnd.STARTED
    assert "lock" not in memory.stored(REQUEST_ID)


def test_a_lock_that_was_taken_over_meanwhile_sends_nothing_and_stays_with_the_other(memory):
    memory.store(applied())
    other = {"holder": "other", "operation": "x", "acquiredAt": ago(), "expiresAt": ago(minutes=-2)}
    at_write(memory, 3, lambda: web_app_stores(memory, {**memory.stored(REQUEST_ID), "lock": other}))
    with pytest.raises(RefusedError, match="was taken over meanwhile"):
        destroy(memory)
    assert memory.workflows.orders == []
    assert memory.stored(REQUEST_ID)["lock"] == other
    assert states(memory) == [DispatchState.REFUSED]


@pytest.mark.parametrize(("seconds", "sent"), [(59, 1), (60, 1), (60.001, 0), (300, 0)])
def test_with_less_than_a_minute_of_the_lock_left_nothing_is_sent(memory, seconds, sent):
    memory.store(applied())
    at_write(memory, 3, lambda: memory.clock.advance(seconds=seconds))
    if sent:
        destroy(memory)
    else:
        with pytest.raises(RefusedError, match="storing the intent took too long, so nothing was sent"):
            destroy(memory)
        assert status(memory) is LifecycleStatus.APPLIED
    assert len(memory.workflows.orders) == sent
    assert "lock" not in memory.stored(REQUEST_ID)


def test_a_lock_that_cannot_be_given_back_is_told_and_the_dispatch_stands(memory):
    memory.store(applied())

    def breaks(order: DispatchOrder) -> DispatchAnswer:
        answer = memory.workflows.start(order)
        at_write(memory, 4, lambda: setattr(memory.bucket, "outage", OUTAGE))  # claim, record and run are stored
        return answer

    memory.workflows.answer = breaks
    result = destroy(memory)
    memory.bucket.outage = None
    assert (result.end, result.run_id) == (DispatchEnd.STARTED, 9001)
    assert any("The lock was not given back" in notice for notice in result.notices)
    memory.clock.advance(minutes=2, seconds=1)
    with pytest.raises(RefusedError, match="a destroy run is not over"):
        destroy(memory)


@pytest.mark.parametrize("is_written", [True, False])
def test_storage_that_fails_before_the_post_sends_nothing_and_leaves_nothing_of_the_intent(
    memory, is_written, monkeypatch
):
    """The record of it stayed open: a repair then took the intent for overwritten, put it into the document, and the
    request was shown as being applied or destroyed though nothing had been sent."""
    memory.store({**applied(conclusion="failure"), "applyRun": run(5, conclusion="failure")})
    before = content(memory)
    edges = memory.edges
    put = edges.documents.put

    def lost(request_id: str, document: Any, *, if_match: str) -> str:
        is_intent = parse_request(document).runs[WorkflowKind.APPLY].run_id is None
        etag = put(request_id, document, if_match=if_match) if is_written or not is_intent else ""
        if is_intent:
            raise StorageError("Storage did not answer in time")
        return etag

    monkeypatch.setattr(edges.documents, "put", lost)
    with pytest.raises(StorageError):
        dispatch(edges, REQUEST_ID, WorkflowKind.APPLY, operator=ADMIN)
    assert content(memory) == before
    assert states(memory) == [DispatchState.REFUSED]
    assert dispatch(memory.edges, REQUEST_ID, WorkflowKind.APPLY, operator=ADMIN).end is DispatchEnd.STARTED
    assert len(memory.workflows.orders) == 1


def test_where_storage_does_not_let_an_intent_be_taken_back_it_is_looked_for_and_nothing_is_sent(memory, monkeypatch):
    memory.store(applied())
    edges = memory.edges
    put = edges.documents.put

    def stored_and_gone(request_id: str, document: Any, *, if_match: str) -> str:
        etag = put(request_id, document, if_match=if_match)
        if "destroyTriggeredAt" in document["github"]:
            memory.bucket.outage = OUTAGE
            raise OUTAGE
        return etag

    monkeypatch.setattr(edges.documents, "put", stored_and_gone)
    with pytest.raises(StorageError):
        dispatch(edges, REQUEST_ID, DESTROY, operator=ADMIN)
    memory.bucket.outage = None
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    assert memory.workflows.orders == []


def test_a_lock_whose_answer_was_lost_is_given_back(memory, monkeypatch):
    memory.store(applied())
    edges = memory.edges
    put = edges.documents.put

    def taken_and_lost(request_id: str, document: Any, *, if_match: str) -> str:
        etag = put(request_id, document, if_match=if_match)
        if document.get("lock"):
            raise StorageError("Storage did not answer in time")
        return etag

    monkeypatch.setattr(edges.documents, "put", taken_and_lost)
    with pytest.raises(StorageError):
        dispatch(edges, REQUEST_ID, DESTROY, operator=ADMIN)
    assert "lock" not in memory.stored(REQUEST_ID)
