"""Webhook deliveries: whatever was answered with success is stored, waits, or changed nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.core.saying import having
from tests.fakes import OUTAGE, InMemory
from tests.operations.receiving import NAMELESS, keys, open_dispatch, received, record_of
from tests.webhook_payloads import cleanup_payload, delivery, merged_payload, pull_payload, review_payload, run_payload
from tfpilot.core.delivery import Delivery, Place
from tfpilot.core.document import render_document
from tfpilot.core.model import WorkflowKind
from tfpilot.core.run_index import new_entry
from tfpilot.edges import GitHubRules
from tfpilot.errors import ConfigError, MalformedDeliveryError, OversizedError, SignatureError
from tfpilot.operations.deliveries import Disposition, open_deliveries, receive

OTHER = "req_dev_s3_other"


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
