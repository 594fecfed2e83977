"""Others who write in between, at any step of a dispatch: nothing is sent twice, and nothing of theirs is lost."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import REQUEST_ID
from tests.dispatch_setup import ADMIN, applied, refused, unknown
from tests.operations.dispatching import STEPS, at_write, destroy, ends, records, states, web_app_stores
from tfpilot.adapters.keys import active_key
from tfpilot.core.dispatch import DispatchAnswer, DispatchEnd, DispatchOrder
from tfpilot.core.model import DispatchState, Operator, Role, WorkflowKind
from tfpilot.errors import ConflictError, RefusedError
from tfpilot.operations.dispatch import dispatch

DESTROY = WorkflowKind.DESTROY


@pytest.mark.parametrize("answer", ["started", "unknown", "refused"])
@pytest.mark.parametrize("step", STEPS)
def test_what_the_web_app_overwrites_at_any_step_starts_nothing_twice(memory, step, answer):
    before = applied(labels={"team": "core"})
    memory.store(before)
    memory.workflows.answer = {"started": memory.workflows.start, "unknown": unknown, "refused": refused}[answer]
    overwrote: list[None] = []

    def web_app() -> None:
        web_app_stores(memory, {**before, "labels": {"team": "web"}})
        overwrote.append(None)

    at_write(memory, step, web_app)
    outcome = ends(lambda: destroy(memory))
    sent = len(memory.workflows.orders)
    memory.bucket.interfere = None
    memory.clock.advance(minutes=3)
    memory.workflows.answer = memory.workflows.start
    for _ in range(3):
        ends(lambda: destroy(memory))
    assert len(memory.workflows.orders) <= 1 + (answer == "refused" or sent == 0), outcome
    assert memory.stored(REQUEST_ID)["labels"] == {"team": "web" if overwrote else "core"}


@pytest.mark.parametrize("second", ["started", "unknown"])
@pytest.mark.parametrize("first", ["started", "unknown"])
@pytest.mark.parametrize("restores", [True, False])
@pytest.mark.parametrize("step", STEPS)
def test_a_second_operator_at_any_step_never_makes_a_second_post(memory, step, restores, first, second):
    before = applied()
    memory.store(before)
    answers = {"started": memory.workflows.start, "unknown": unknown}
    memory.workflows.answer = answers[first]

    def other() -> None:
        memory.workflows.answer = answers[second]
        if restores:
            web_app_stores(memory, before)
        ends(lambda: destroy(memory, operator=Operator("another-admin", Role.ADMIN)))
        memory.workflows.answer = answers[first]

    at_write(memory, step, other)
    ends(lambda: destroy(memory))
    assert len(memory.workflows.orders) <= 1  # where each saw the other, neither sent anything
    memory.bucket.interfere = None
    ends(lambda: destroy(memory))
    assert len(memory.workflows.orders) == 1


def test_an_operator_whose_lock_was_overwritten_and_put_back_sees_what_another_sent_meanwhile(memory):
    """The web app took the lock out of the document and later wrote what it had read before, byte by byte: the version
    is the same again, and only our records know of the dispatch between."""
    memory.store(applied())

    def another_dispatches() -> None:
        locked = memory.bucket.contents()[active_key(REQUEST_ID)]
        memory.store(applied())
        assert destroy(memory).end is DispatchEnd.STARTED
        memory.bucket.write(active_key(REQUEST_ID), locked)

    at_write(memory, 2, another_dispatches)
    with pytest.raises(RefusedError, match="has overwritten a dispatch"):
        destroy(memory)
    assert len(memory.workflows.orders) == 1
    assert sorted(states(memory)) == [DispatchState.REFUSED, DispatchState.STARTED]


@pytest.mark.parametrize("restores", [True, False])
def test_a_second_operator_while_github_answers_never_makes_a_second_post(memory, restores):
    before = applied()
    memory.store(before)

    def answer(order: DispatchOrder) -> DispatchAnswer:
        memory.workflows.answer = memory.workflows.start
        if restores:
            web_app_stores(memory, before)
        ends(lambda: destroy(memory, operator=Operator("another-admin", Role.ADMIN)))
        return memory.workflows.start(order)

    memory.workflows.answer = answer
    destroy(memory)
    assert len(memory.workflows.orders) == 1


def test_an_overwritten_dispatch_is_told_and_must_be_repaired_before_the_next(memory):
    memory.store(applied())
    destroy(memory)
    web_app_stores(memory, applied())
    for kind in (DESTROY, WorkflowKind.DRIFT_PLAN):
        with pytest.raises(
            RefusedError, match=f"has overwritten a dispatch of {REQUEST_ID}: github.destroyTriggeredAt"
        ):
            dispatch(memory.edges, REQUEST_ID, kind, operator=ADMIN)
    assert len(memory.workflows.orders) == 1


def test_a_run_that_could_not_be_stored_over_what_the_web_app_wrote_is_told(memory):
    memory.store(applied())

    def answer(order: DispatchOrder) -> DispatchAnswer:
        web_app_stores(memory, applied())
        return memory.workflows.start(order)

    memory.workflows.answer = answer
    result = destroy(memory)
    assert result.end is DispatchEnd.STARTED
    assert result.notices == (
        "Another writer changed the destroy meanwhile, so run 9001 was not stored in it",
        *result.notices[1:],
    )
    assert records(memory)[0].run_id == 9001


def test_other_fields_that_change_meanwhile_survive(memory):
    memory.store(applied())
    at_write(memory, 3, lambda: web_app_stores(memory, {**memory.stored(REQUEST_ID), "labels": {"team": "core"}}))
    assert destroy(memory).end is DispatchEnd.STARTED
    assert memory.stored(REQUEST_ID)["labels"] == {"team": "core"}
    assert len(memory.workflows.orders) == 1


def test_where_others_win_every_race_nothing_is_sent_and_the_record_says_so(memory, monkeypatch):
    memory.store(applied())
    edges = memory.edges
    put = edges.documents.put

    def lost(request_id: str, document: Any, *, if_match: str) -> str:
        if document["github"].get("destroyTriggeredAt"):
            raise ConflictError("somebody else wrote")
        return put(request_id, document, if_match=if_match)

    monkeypatch.setattr(edges.documents, "put", lost)
    with pytest.raises(ConflictError, match="Nothing was dispatched"):
        dispatch(edges, REQUEST_ID, DESTROY, operator=ADMIN)
    assert (memory.workflows.orders, states(memory)) == ([], [DispatchState.REFUSED])
    assert "lock" not in memory.stored(REQUEST_ID)
