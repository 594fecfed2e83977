"""Webhook deliveries that are kept: after a failure, or until a dispatch knows its run."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.core.saying import having
from tests.fakes import OUTAGE, InMemory
from tests.operations.receiving import NAMELESS, breaks_at, keys, open_dispatch, received, record_of
from tests.webhook_payloads import delivery, merged_payload, run_payload
from tfpilot.core.delivery import KeptDelivery, Place
from tfpilot.core.dispatch import DispatchAnswer, DispatchOrder, DispatchOutcome
from tfpilot.core.document import format_time
from tfpilot.core.model import Operator, Role, WorkflowKind
from tfpilot.core.run_index import new_entry
from tfpilot.errors import MissingRightError, NotFoundError, StorageError
from tfpilot.operations.deliveries import Disposition, open_deliveries, replay
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.run_events import event_of, replay_parked

APPROVER = Operator("tom-r", Role.APPROVER)
DESTROY = WorkflowKind.DESTROY


# --- when storage fails


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_delivery_whose_update_failed_is_not_recorded_and_counts_when_it_comes_again(memory, number):
    """A failed update still recorded the delivery, so that GitHub's redelivery was answered "duplicate": lost for
    good."""
    memory.store(with_pull(request()))
    memory.bucket.interfere = breaks_at(memory, number)
    with suppress(StorageError):
        received(memory, "workflow_run", run_payload(), guid="guid-1")
    memory.bucket.outage = None
    memory.bucket.interfere = None
    was_handled = record_of(memory, "guid-1") is not None
    receipt = received(memory, "workflow_run", run_payload(), guid="guid-1")
    assert (receipt.disposition is Disposition.DUPLICATE) == was_handled
    assert memory.stored(REQUEST_ID)["planRun"]["conclusion"] == "success"


def test_a_delivery_that_failed_before_anything_was_stored_is_not_answered_ok_the_second_time(memory: InMemory):
    """The key that tells repetitions apart was stored before the work: a failed action was answered "ok" when it came
    again."""
    memory.store(with_pull(request()))
    memory.bucket.outage = OUTAGE
    for _ in range(2):
        with pytest.raises(StorageError):
            received(memory, "pull_request", merged_payload(), guid="guid-1")
    memory.bucket.outage = None
    assert received(memory, "pull_request", merged_payload(), guid="guid-1").disposition is Disposition.APPLIED


def test_while_storage_is_down_the_delivery_is_refused_and_says_that_it_could_not_be_kept(memory: InMemory):
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError) as caught:
        received(memory, "workflow_run", run_payload(), guid="guid-1")
    assert "guid-1" in caught.value.message
    assert "could not be kept" in caught.value.hint


def test_a_delivery_that_failed_is_kept_as_a_dead_letter_and_handled_by_a_replay(memory: InMemory):
    memory.store(with_pull(request()))
    memory.bucket.interfere = _fail_once(memory)
    with pytest.raises(StorageError) as caught:
        received(memory, "pull_request", merged_payload(), guid="guid-1")
    assert "dead letter" in caught.value.hint
    assert record_of(memory, "guid-1") is None
    (letter,) = open_deliveries(memory.edges).dead_letters
    assert (letter.delivery.guid, letter.delivery.event) == ("guid-1", "pull_request")
    assert json.loads(letter.delivery.body) == merged_payload()
    assert replay(memory.edges, "guid-1", operator=APPROVER).disposition is Disposition.APPLIED
    assert memory.stored(REQUEST_ID)["mergedSha"] == "5ea1"
    assert open_deliveries(memory.edges).dead_letters == []
    assert record_of(memory, "guid-1") is not None


def test_a_replay_that_fails_keeps_the_letter(memory: InMemory):
    memory.store(with_pull(request()))
    memory.bucket.interfere = _fail_once(memory)
    with pytest.raises(StorageError):
        received(memory, "pull_request", merged_payload(), guid="guid-1")
    memory.bucket.interfere = _fail_once(memory)
    with pytest.raises(StorageError):
        replay(memory.edges, "guid-1", operator=APPROVER)
    assert len(open_deliveries(memory.edges).dead_letters) == 1


def test_others_who_win_every_race_are_a_failure_that_github_is_told_of(memory: InMemory):
    memory.store(with_pull(request()))

    def come_between() -> None:
        memory.store({**memory.stored(REQUEST_ID), "version": memory.stored(REQUEST_ID)["version"] + 1})
        memory.bucket.interfere = come_between if memory.stored(REQUEST_ID)["version"] < 26 else None

    memory.bucket.interfere = come_between
    with pytest.raises(StorageError):
        received(memory, "pull_request", merged_payload())
    assert len(keys(memory, "ops/dead-letters/")) == 1


def _fail_once(memory: InMemory) -> Callable[[], None]:
    def fail() -> None:
        raise OUTAGE

    return fail


# --- replays by a person


def test_a_dead_letter_that_waits_for_its_run_after_a_replay_is_kept_once(memory: InMemory):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}))
    letter = delivery("workflow_run", run_payload(kind="destroy", **NAMELESS), guid="guid-1")
    memory.edges.deliveries.keep(
        KeptDelivery(Place.DEAD_LETTER, "guid-1", "workflow_run", letter.body, NOW, "storage did not answer")
    )
    assert replay(memory.edges, "guid-1", operator=APPROVER).disposition is Disposition.PARKED
    assert keys(memory, "ops/dead-letters/") == []
    assert keys(memory, "ops/parked/") == ["ops/parked/destroy/run-101/guid-1.json"]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.SYSTEM])
def test_a_replay_takes_an_approver(memory: InMemory, role: Role):
    with pytest.raises(MissingRightError):
        replay(memory.edges, "guid-1", operator=Operator("maya-k", role))


def test_a_replay_of_what_is_not_kept_is_told(memory: InMemory):
    with pytest.raises(NotFoundError):
        replay(memory.edges, "guid-1", operator=APPROVER)


def test_an_unreadable_document_keeps_the_delivery_until_somebody_restored_it(memory: InMemory):
    memory.bucket.write(f"requests/{REQUEST_ID}.json", b"{")
    receipt = received(memory, "workflow_run", run_payload(), guid="guid-1")
    assert (receipt.disposition, record_of(memory, "guid-1")) == (Disposition.KEPT, None)
    assert memory.bucket.contents()[f"requests/{REQUEST_ID}.json"] == b"{"
    assert replay(memory.edges, "guid-1", operator=APPROVER).disposition is Disposition.KEPT
    memory.store(request())
    assert replay(memory.edges, "guid-1", operator=APPROVER).disposition is Disposition.APPLIED
    assert keys(memory, "ops/dead-letters/") == []


def test_an_unreadable_document_whose_delivery_cannot_be_kept_is_a_failure(memory: InMemory):
    memory.bucket.write(f"requests/{REQUEST_ID}.json", b"{")
    memory.bucket.interfere = breaks_at(memory, 1)
    with pytest.raises(StorageError):
        received(memory, "workflow_run", run_payload())


# --- before the dispatch has stored its run's id


def test_where_the_requests_cannot_be_listed_a_run_is_kept_for_later_and_not_called_nobodys(
    memory: InMemory, monkeypatch: pytest.MonkeyPatch
):
    """GitHub was answered that the run names no request, though nobody had looked: the end of a destroy was lost."""
    memory.store(having({"destroyRun": run(101, "in_progress"), "github.destroyTriggeredAt": ago(minutes=11)}))
    list_all = memory.bucket.list_all

    def fails(prefix: str) -> Any:
        if prefix == "requests/":
            raise OUTAGE
        return list_all(prefix)

    with monkeypatch.context() as patch:
        patch.setattr(memory.bucket, "list_all", fails)
        with pytest.raises(StorageError, match="was not handled"):
            received(memory, "workflow_run", run_payload(kind="destroy", **NAMELESS), guid="guid-1")
    assert record_of(memory, "guid-1") is None
    assert replay(memory.edges, "guid-1", operator=APPROVER).disposition is Disposition.APPLIED
    assert memory.stored(REQUEST_ID)["destroyRun"]["conclusion"] == "success"


def test_a_dispatch_that_is_younger_than_the_last_reading_of_the_requests_is_seen(memory: InMemory):
    """The list of requests was a few seconds old, the web app had dispatched since, and the run waited for nobody."""
    memory.store(having({}))
    memory.snapshots.refresh()
    memory.clock.advance(seconds=3)
    began = format_time(memory.clock())
    memory.store(having({"github.destroyTriggeredAt": began}))
    memory.clock.advance(seconds=2)
    times = {"created_at": began, "run_started_at": began, "updated_at": began}
    receipt = received(memory, "workflow_run", run_payload(kind="destroy", **times, **NAMELESS))
    assert receipt.disposition is Disposition.PARKED


@pytest.mark.parametrize("whose", ["ours", "the web app's"])
def test_a_run_that_names_nobody_waits_while_a_dispatch_does_not_know_its_run(memory: InMemory, whose: str):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)} if whose != "ours" else {}))
    if whose == "ours":
        open_dispatch(memory)
    receipt = received(memory, "workflow_run", run_payload(kind="destroy", **NAMELESS), guid="guid-1")
    assert receipt.disposition is Disposition.PARKED
    assert keys(memory, "ops/parked/") == ["ops/parked/destroy/run-101/guid-1.json"]
    assert record_of(memory, "guid-1") is None


def test_a_delivery_that_came_before_the_run_was_claimed_finds_its_request_when_it_is(memory: InMemory):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}))
    open_dispatch(memory)
    received(memory, "workflow_run", run_payload(kind="destroy", **NAMELESS))
    memory.edges.run_index.claim(new_entry(DESTROY, 101, REQUEST_ID, created_at=NOW))
    assert replay_parked(memory.edges, DESTROY, 101)[0].written
    assert memory.stored(REQUEST_ID)["destroyRun"]["conclusion"] == "success"


@pytest.mark.parametrize("names_run", [True, False])
def test_a_delivery_that_overtakes_githubs_answer_to_the_dispatch_finds_its_request_all_the_same(memory, names_run):
    """GitHub tells of the run before it has answered the POST that started it, and the run names nobody."""
    memory.store(with_run(with_pull(request(), merged=True, open=False), "apply", **run(50, createdAt=ago(hours=1))))
    started = {"created_at": format_time(NOW), "run_started_at": format_time(NOW), "updated_at": format_time(NOW)}
    under_way = {"status": "in_progress", "conclusion": None, **started, **NAMELESS}
    github = {"actor": {"login": memory.workflows.login}, "event": "workflow_dispatch"}
    told = run_payload(9001, "destroy", **under_way, **github)

    def answer(order: DispatchOrder) -> DispatchAnswer:
        assert received(memory, "workflow_run", told).disposition is Disposition.PARKED
        seen = event_of(memory.edges, "workflow_run", json.dumps(told).encode()).run
        memory.workflows.runs["destroy.yml"] = [seen] if seen else []
        return memory.workflows.start(order) if names_run else DispatchAnswer(DispatchOutcome.UNKNOWN, NOW)

    memory.workflows.answer = answer
    dispatch(memory.edges, REQUEST_ID, DESTROY, operator=Operator("ops-lead", Role.ADMIN))
    stored = memory.stored(REQUEST_ID)
    assert (stored["destroyRun"]["runId"], stored["destroyRun"]["status"]) == (9001, "in_progress")
    assert keys(memory, "ops/parked/") == []


def test_a_run_that_is_claimed_while_its_delivery_is_put_aside_finds_its_request_at_once(memory: InMemory):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}))
    open_dispatch(memory)
    memory.bucket.interfere = lambda: memory.edges.run_index.claim(new_entry(DESTROY, 101, REQUEST_ID, created_at=NOW))
    receipt = received(memory, "workflow_run", run_payload(kind="destroy", **NAMELESS), guid="guid-1")
    assert (receipt.disposition, receipt.request_id) == (Disposition.APPLIED, REQUEST_ID)
    assert memory.stored(REQUEST_ID)["destroyRun"]["conclusion"] == "success"
    assert keys(memory, "ops/parked/") == []
    assert record_of(memory, "guid-1") is not None


@pytest.mark.parametrize(
    "payload",
    [
        run_payload(kind="apply", **NAMELESS),
        run_payload(kind="destroy", repository={"full_name": "acme/other"}, **NAMELESS),
        run_payload(path=".github/workflows/lint.yml", **NAMELESS),
        run_payload(kind="destroy", created_at=ago(minutes=12), **NAMELESS),
        run_payload(kind="destroy", created_at=ago(hours=-25), **NAMELESS),
    ],
)
def test_a_run_that_no_open_dispatch_can_have_started_does_not_wait(memory: InMemory, payload: dict[str, Any]):
    open_dispatch(memory)
    assert received(memory, "workflow_run", payload).disposition is Disposition.IGNORED
    assert keys(memory, "ops/parked/") == []


def test_a_parked_delivery_can_be_replayed_by_hand_and_stays_while_nobody_has_its_run(memory: InMemory):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}))
    open_dispatch(memory)
    received(memory, "workflow_run", run_payload(kind="destroy", **NAMELESS), guid="guid-1")
    assert replay(memory.edges, "guid-1", operator=APPROVER).disposition is Disposition.PARKED
    memory.edges.run_index.claim(new_entry(DESTROY, 101, REQUEST_ID, created_at=NOW))
    assert replay(memory.edges, "guid-1", operator=APPROVER).disposition is Disposition.APPLIED
    assert open_deliveries(memory.edges).parked == []


def test_after_a_retry_of_the_destroy_the_end_of_the_new_run_is_believed_and_the_old_one_is_not(memory: InMemory):
    """The retry kept the failed run's id, and the guard refused the success of the new run."""
    failed = with_run(request(), "destroy", **run(5, conclusion="failure", createdAt=ago(hours=1)))
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}, failed))
    late = run_payload(5, "destroy", conclusion="failure", created_at=ago(hours=1))
    assert received(memory, "workflow_run", late).disposition is Disposition.IGNORED
    assert received(memory, "workflow_run", run_payload(6, "destroy")).disposition is Disposition.APPLIED
    assert memory.stored(REQUEST_ID)["destroyRun"]["runId"] == 6
