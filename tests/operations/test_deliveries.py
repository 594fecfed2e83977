"""Webhook deliveries: whatever was answered with success is stored, waits, or changed nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.core.saying import having
from tests.fakes import OUTAGE, InMemory
from tests.webhook_payloads import (
    cleanup_payload,
    delivery,
    merged_payload,
    pull_payload,
    review_payload,
    run_payload,
)
from tfpilot.core.delivery import Delivery, KeptDelivery, Place
from tfpilot.core.dispatch import DispatchAnswer, DispatchOrder, DispatchOutcome
from tfpilot.core.document import format_time, render_document
from tfpilot.core.model import DispatchRecord, Operator, RepoRef, Role, WorkflowKind
from tfpilot.core.run_index import new_entry
from tfpilot.edges import GitHubRules
from tfpilot.errors import (
    ConfigError,
    MalformedDeliveryError,
    MissingRightError,
    NotFoundError,
    OversizedError,
    SignatureError,
    StorageError,
)
from tfpilot.operations.deliveries import Disposition, Receipt, open_deliveries, receive, replay
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.run_events import event_of, replay_parked

APPROVER = Operator("tom-r", Role.APPROVER)
OTHER = "req_dev_s3_other"
DESTROY = WorkflowKind.DESTROY
NAMELESS = {"display_title": "Terraform", "head_branch": "main"}


def received(memory: InMemory, event: str, payload: Any, *, guid: str | None = None) -> Receipt:
    return receive(memory.edges, delivery(event, payload, guid=guid))


def record_of(memory: InMemory, guid: str) -> dict[str, Any] | None:
    content = memory.bucket.contents().get(f"ops/deliveries/{guid}.json")
    return json.loads(content) if content is not None else None


def keys(memory: InMemory, prefix: str) -> list[str]:
    return sorted(key for key in memory.bucket.contents() if key.startswith(prefix))


def breaks_at(memory: InMemory, number: int) -> Callable[[], None]:
    """Storage that fails for good at the write with that number from now on, counted from 1."""

    def come_between() -> None:
        nonlocal number
        number -= 1
        if number == 0:
            memory.bucket.outage = OUTAGE
            raise OUTAGE
        memory.bucket.interfere = come_between

    return come_between


def open_dispatch(memory: InMemory, kind: WorkflowKind = DESTROY, *, at_minutes: float = 11) -> None:
    record = DispatchRecord(
        request_id=REQUEST_ID,
        nonce="n1",
        kind=kind,
        repo=RepoRef("acme", "infra"),
        workflow_file=f"{kind.value}.yml",
        ref="main",
        inputs={},
        operator="ops-lead",
        triggered_at=NOW - timedelta(minutes=at_minutes),
    )
    memory.edges.dispatches.add(record)


# --- what is taken


def test_what_a_delivery_says_is_stored_and_then_the_delivery_is_recorded(memory: InMemory):
    memory.store(with_run(with_pull(request()), "plan", **run(101, "queued")))
    receipt = received(memory, "workflow_run", run_payload(), guid="guid-1")
    assert (receipt.disposition, receipt.request_id, receipt.kind) == (
        Disposition.APPLIED,
        REQUEST_ID,
        WorkflowKind.PLAN,
    )
    assert memory.stored(REQUEST_ID)["planRun"]["conclusion"] == "success"
    record = record_of(memory, "guid-1")
    assert record is not None
    assert (record["applied"], record["requestId"], record["runId"]) == (True, REQUEST_ID, 101)
    written = memory.bucket.writes
    assert written.index(f"requests/{REQUEST_ID}.json") < written.index("ops/deliveries/guid-1.json")


def test_a_delivery_that_was_handled_is_a_duplicate_the_second_time_and_changes_nothing(memory: InMemory):
    memory.store(with_pull(request()))
    received(memory, "pull_request", merged_payload(), guid="guid-1")
    before = memory.bucket.contents()
    assert received(memory, "pull_request", merged_payload(), guid="guid-1").disposition is Disposition.DUPLICATE
    assert memory.bucket.contents() == before


def test_what_the_web_app_says_it_saw_is_no_reason_to_leave_a_delivery_out(memory: InMemory):
    memory.store(with_pull(request()))
    memory.bucket.write("webhooks/github/deliveries/guid-1.json", b'{"deliveryId": "guid-1", "event": "pull_request"}')
    assert received(memory, "pull_request", merged_payload(), guid="guid-1").disposition is Disposition.APPLIED


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (merged_payload(), "mergedSha"),
        (cleanup_payload(), "cleanupPr"),
        (review_payload(), "approval"),
    ],
)
def test_pull_requests_and_reviews_are_stored_with_a_line_in_the_history(memory, payload, field):
    memory.store(with_pull(request()))
    event = "pull_request_review" if "review" in payload else "pull_request"
    assert received(memory, event, payload).disposition is Disposition.APPLIED
    assert field in memory.stored(REQUEST_ID)
    (line,) = memory.edges.events.list(REQUEST_ID, limit=9)
    assert (line.event, line.actor) == ("github_event", "maya-k")


def test_a_replayed_body_under_a_new_id_changes_nothing(memory: InMemory):
    memory.store(with_pull(request()))
    for event, payload in (
        ("pull_request", pull_payload(state="closed", updated_at=ago(minutes=30))),
        ("pull_request", pull_payload()),
        ("pull_request_review", review_payload("approved", submitted_at=ago(minutes=30))),
        ("pull_request_review", review_payload("changes_requested")),
        ("workflow_run", run_payload(status="in_progress", conclusion=None, updated_at=ago(minutes=8))),
        ("workflow_run", run_payload()),
    ):
        received(memory, event, payload)
    before = memory.stored(REQUEST_ID)
    for event, payload in (
        ("pull_request", pull_payload(state="closed", updated_at=ago(minutes=30))),
        ("pull_request_review", review_payload("approved", submitted_at=ago(minutes=30))),
        ("workflow_run", run_payload(status="in_progress", conclusion=None, updated_at=ago(minutes=8))),
    ):
        assert received(memory, event, payload).disposition is Disposition.IGNORED
    assert memory.stored(REQUEST_ID) == before


def test_stale_duplicate_and_foreign_events_count_no_version_up(memory: InMemory):
    """Refused and stale events still bumped the version and wrote."""
    memory.store(with_pull(request()))
    received(memory, "pull_request", merged_payload())
    received(memory, "workflow_run", run_payload())
    before = memory.bucket.contents()
    for event, payload in (
        ("pull_request", merged_payload()),
        ("pull_request", pull_payload(updated_at=ago(minutes=45))),
        ("pull_request", pull_payload(12)),
        ("pull_request_review", review_payload("commented")),
        ("workflow_run", run_payload()),
        ("workflow_run", run_payload(status="queued", conclusion=None, updated_at=ago(minutes=10))),
        ("workflow_run", run_payload(55, "apply", display_title=OTHER)),
    ):
        assert received(memory, event, payload).disposition is Disposition.IGNORED
    after = memory.bucket.contents()
    assert {key for key in after if not key.startswith("ops/deliveries/")} == {
        key for key in before if not key.startswith("ops/deliveries/")
    }
    assert after[f"requests/{REQUEST_ID}.json"] == before[f"requests/{REQUEST_ID}.json"]


def test_two_events_of_the_same_millisecond_both_keep_their_line_in_the_history(memory: InMemory):
    """Keys with milliseconds collided, and one line was lost."""
    memory.store(with_pull(request()))
    received(memory, "pull_request", merged_payload())
    received(memory, "workflow_run", run_payload())
    assert len(memory.edges.events.list(REQUEST_ID, limit=9)) == 2
    assert len(keys(memory, "ops/deliveries/")) == 2


def test_a_ping_is_recorded_and_an_event_that_is_not_handled_leaves_nothing(memory: InMemory):
    assert received(memory, "ping", {"zen": "…"}, guid="guid-1").disposition is Disposition.IGNORED
    assert received(memory, "push", {"ref": "x"}, guid="guid-2").disposition is Disposition.IGNORED
    assert list(memory.bucket.contents()) == ["ops/deliveries/guid-1.json"]


# --- what is not taken


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"signature": None}, SignatureError),
        ({"signature": "sha256=" + "0" * 64}, SignatureError),
        ({"body": b'{"x": 1}'}, SignatureError),
        ({"guid": None}, MalformedDeliveryError),
        ({"guid": "../../requests/x"}, MalformedDeliveryError),
        ({"event": None}, MalformedDeliveryError),
    ],
)
def test_a_delivery_that_is_forged_or_lacks_what_it_must_have_leaves_nothing(memory, change, error):
    memory.store(with_pull(request()))
    before = memory.bucket.contents()
    with pytest.raises(error):
        receive(memory.edges, replace(delivery("pull_request", merged_payload()), **change))
    assert memory.bucket.contents() == before


def test_a_body_that_is_no_json_or_too_large_leaves_nothing(memory: InMemory):
    with pytest.raises(MalformedDeliveryError):
        receive(memory.edges, delivery("push", b"payload=%7B%7D"))
    with pytest.raises(OversizedError):
        receive(memory.edges, delivery("push", b" " * (5 * 1024 * 1024 + 1)))
    assert memory.bucket.contents() == {}


def test_without_a_secret_nothing_is_taken(memory: InMemory):
    memory.rules = GitHubRules(workflow_files=memory.rules.workflow_files)
    with pytest.raises(ConfigError):
        received(memory, "ping", {})


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


# --- whose it is


def test_an_archived_request_is_left_alone_and_nothing_brings_it_back(memory: InMemory):
    memory.archive(with_pull(request()))
    for event, payload in (("workflow_run", run_payload()), ("pull_request", merged_payload())):
        receipt = received(memory, event, payload)
        assert (receipt.disposition, receipt.reason) == (Disposition.IGNORED, f"{REQUEST_ID} is archived")
    assert keys(memory, "requests/") == []


def test_an_id_in_a_text_that_is_no_requests_is_passed_over(memory: InMemory):
    """Ids taken from texts were not looked up."""
    memory.store(with_pull(request()))
    told = run_payload(kind="apply", display_title=f"Merge req_never_was for {REQUEST_ID}")
    assert received(memory, "workflow_run", told).request_id == REQUEST_ID
    unknown = received(memory, "workflow_run", run_payload(102, "apply", display_title="req_never_was"))
    assert (unknown.request_id, unknown.reason) == (None, "there is no request req_never_was")


@pytest.mark.parametrize("branch", [f"update/{REQUEST_ID}/rev-2", f"request/{REQUEST_ID}"])
def test_events_of_every_branch_of_a_request_find_it(memory: InMemory, branch: str):
    """Only `request/` branches were correlated."""
    memory.store(request(branchName=branch))
    head = {"ref": branch, "sha": "c0de", "repo": {"full_name": "acme/infra"}}
    assert received(memory, "pull_request", pull_payload(title="", head=head)).disposition is Disposition.APPLIED
    plan = run_payload(head_branch=branch, display_title=None)
    assert received(memory, "workflow_run", plan).disposition is Disposition.APPLIED


def test_the_run_index_decides_before_any_text(memory: InMemory):
    memory.store(request(), request(OTHER))
    memory.edges.run_index.claim(new_entry(WorkflowKind.APPLY, 101, REQUEST_ID, created_at=NOW))
    told = run_payload(kind="apply", display_title=f"Apply {OTHER}")
    assert received(memory, "workflow_run", told).request_id == REQUEST_ID
    assert memory.stored(OTHER) == request(OTHER)


def test_a_destroy_that_a_document_tracks_is_found_without_the_index_and_without_a_name(memory: InMemory):
    memory.store(with_run(request(), "destroy", **run(101, "queued")), request(OTHER))
    receipt = received(memory, "workflow_run", run_payload(kind="destroy", **NAMELESS))
    assert (receipt.disposition, receipt.request_id) == (Disposition.APPLIED, REQUEST_ID)


def test_a_destroy_that_two_documents_track_is_given_to_neither(memory: InMemory):
    memory.store(*(with_run(request(each), "destroy", **run(101, "queued")) for each in (REQUEST_ID, OTHER)))
    receipt = received(memory, "workflow_run", run_payload(kind="destroy", **NAMELESS))
    assert receipt.disposition is Disposition.IGNORED


def test_a_pull_request_whose_branch_and_title_name_nobody_is_found_by_the_pull_index(memory: InMemory):
    memory.store(with_pull(request()))
    entry = {"requestId": REQUEST_ID, "owner": "acme", "repo": "infra", "prNumber": 7}
    memory.bucket.write("webhooks/github/pr-index/acme_infra/pr-7.json", render_document(entry))
    head = {"ref": "hotfix", "sha": "c0de", "repo": {"full_name": "acme/infra"}}
    receipt = received(memory, "pull_request", merged_payload(title="Fix", head=head))
    assert (receipt.disposition, receipt.request_id) == (Disposition.APPLIED, REQUEST_ID)


def test_a_run_of_another_repository_that_names_the_request_is_not_taken(memory: InMemory):
    memory.store(request())
    told = run_payload(repository={"full_name": "acme/other"}, head_repository={"full_name": "acme/other"})
    assert received(memory, "workflow_run", told).disposition is Disposition.IGNORED
    assert memory.stored(REQUEST_ID) == request()


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


# --- after a destroy


def destroyed(memory: InMemory) -> None:
    """Its destroy is about to end."""
    placed = request(targetFiles=["envs/dev/s3.tf"], targetEnvPath="envs/dev")
    running = with_run(placed, "destroy", **run(101, "queued"))
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}, running))


def test_a_destroy_that_succeeded_is_followed_by_one_cleanup_however_often_it_is_told(memory: InMemory):
    destroyed(memory)
    for _ in range(3):
        received(memory, "workflow_run", run_payload(kind="destroy"))
    assert [order.workflow_file for order in memory.workflows.orders] == ["cleanup.yml"]


@pytest.mark.parametrize("fields", [{"conclusion": "failure"}, {"conclusion": "skipped"}, {"conclusion": None}])
def test_a_destroy_that_did_not_succeed_is_not_followed_by_a_cleanup(memory: InMemory, fields: dict[str, Any]):
    destroyed(memory)
    received(memory, "workflow_run", run_payload(kind="destroy", **fields))
    assert memory.workflows.orders == []


def test_a_foreign_destroy_that_succeeded_is_not_followed_by_a_cleanup(memory: InMemory):
    destroyed(memory)
    received(memory, "workflow_run", run_payload(202, "destroy"))
    assert memory.workflows.orders == []


def test_github_is_answered_before_the_cleanup_is_dispatched(memory: InMemory):
    destroyed(memory)
    told: list[int] = []
    receive(
        memory.edges,
        delivery("workflow_run", run_payload(kind="destroy")),
        on_handled=lambda _receipt: told.append(len(memory.workflows.orders)),
    )
    assert told == [0]
    assert len(memory.workflows.orders) == 1


def test_a_cleanup_that_cannot_be_dispatched_does_not_fail_the_delivery(memory: InMemory):
    destroyed(memory)
    locked = {"holder": "ada", "operation": "plan", "acquiredAt": ago(), "expiresAt": ago(minutes=-2)}
    memory.store({**memory.stored(REQUEST_ID), "lock": locked})
    receipt = received(memory, "workflow_run", run_payload(kind="destroy"), guid="guid-1")
    assert receipt.disposition is Disposition.APPLIED
    assert "The cleanup was not dispatched" in receipt.notices[0]
    assert record_of(memory, "guid-1") is not None


# --- what is shown


def test_the_deliveries_of_late_are_shown_newest_first_with_those_that_found_no_request(memory: InMemory):
    memory.store(with_pull(request()))
    for number, (event, payload) in enumerate(
        [
            ("ping", {}),
            ("pull_request", merged_payload()),
            ("workflow_run", run_payload(kind="apply", **NAMELESS)),
        ]
    ):
        memory.clock.advance(seconds=1)
        received(memory, event, payload, guid=f"guid-{number}")
    memory.bucket.write(
        "webhooks/github/deliveries/theirs.json",
        render_document({"deliveryId": "theirs", "event": "pull_request", "receivedAt": ago()}),
    )
    shown = open_deliveries(memory.edges)
    assert [each.guid for each in shown.handled] == ["guid-2", "guid-1", "guid-0"]
    assert [each.guid for each in shown.uncorrelated] == ["guid-2"]
    assert [each.guid for each in shown.seen_by_web_app] == ["theirs"]
    assert [each.guid for each in open_deliveries(memory.edges, limit=1).handled] == ["guid-2"]


def test_dead_letters_and_parked_ones_say_what_they_wait_for(memory: InMemory):
    open_dispatch(memory)
    memory.bucket.write(f"requests/{REQUEST_ID}.json", b"{")
    received(memory, "workflow_run", run_payload(kind="destroy", **NAMELESS), guid="guid-1")
    received(memory, "workflow_run", run_payload(), guid="guid-2")
    shown = open_deliveries(memory.edges)
    assert [(each.delivery.guid, each.delivery.place) for each in shown.parked] == [("guid-1", Place.PARKED)]
    assert shown.parked[0].delivery.run_id == 101
    assert [each.delivery.guid for each in shown.dead_letters] == ["guid-2"]
    assert REQUEST_ID in shown.dead_letters[0].delivery.why


def test_the_signature_is_checked_before_anything_is_read(memory: InMemory):
    memory.bucket.outage = OUTAGE
    with pytest.raises(SignatureError):
        receive(memory.edges, Delivery("guid-1", "ping", None, b"{}"))
