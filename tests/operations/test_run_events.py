"""One run fact into one request: claimed first where nobody tracks it, and replayed where it came before its id."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_run
from tests.core.saying import having
from tests.fakes import OUTAGE, InMemory
from tests.webhook_payloads import run_payload
from tfpilot.core.delivery import KeptDelivery, Place
from tfpilot.core.document import render_document
from tfpilot.core.model import WorkflowKind, WorkflowRun
from tfpilot.core.run_index import entry_key, new_entry
from tfpilot.core.webhook_event import parse_event
from tfpilot.errors import ArchivedError, ConflictError, DocumentError, NotFoundError, StorageError
from tfpilot.operations.run_events import Outcome, apply_run, replay_parked

PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
OTHER = "req_dev_s3_other"


def told(memory: InMemory, kind: WorkflowKind, run_id: int = 101, **fields: Any) -> WorkflowRun:
    payload = run_payload(run_id, kind.value, **fields)
    run = parse_event("workflow_run", payload, workflow_files=memory.rules.workflow_files).run
    assert run is not None
    return run


def applied(memory: InMemory, kind: WorkflowKind = APPLY, run_id: int = 101, **fields: Any) -> Outcome:
    return apply_run(memory.edges, REQUEST_ID, kind, told(memory, kind, run_id, **fields), actor="maya-k")


def owner(memory: InMemory, kind: WorkflowKind, run_id: int) -> str | None:
    entry = memory.edges.run_index.find(kind, run_id)
    return entry.request_id if entry else None


def claim(memory: InMemory, kind: WorkflowKind, run_id: int, request_id: str) -> None:
    assert memory.edges.run_index.claim(new_entry(kind, run_id, request_id, created_at=NOW)).holds


def park(memory: InMemory, kind: WorkflowKind, run_id: int, *, guid: str = "guid-1", **fields: Any) -> None:
    body = render_document(run_payload(run_id, kind.value, display_title=None, head_branch="main", **fields))
    memory.edges.deliveries.keep(
        KeptDelivery(Place.PARKED, guid, "workflow_run", body, memory.clock(), "waits", kind, run_id)
    )


def test_a_run_that_nobody_tracks_is_claimed_before_it_is_written(memory: InMemory):
    memory.store(request())
    outcome = applied(memory)
    assert (outcome.written, owner(memory, APPLY, 101)) == (True, REQUEST_ID)
    stored = memory.stored(REQUEST_ID)
    assert (stored["version"], stored["applyRun"]["runId"]) == (2, 101)
    assert memory.bucket.writes[0] == entry_key(APPLY, 101)
    entry = memory.edges.run_index.find(APPLY, 101)
    assert entry is not None
    assert entry.created_at == NOW - timedelta(minutes=10)


def test_a_run_that_another_request_claims_at_the_same_time_is_left_to_it(memory: InMemory):
    memory.store(request())
    memory.bucket.interfere = lambda: claim(memory, APPLY, 101, OTHER)
    outcome = applied(memory)
    assert (outcome.written, outcome.decision.reason) == (False, f"run 101 belongs to {OTHER}")
    assert memory.stored(REQUEST_ID) == request()
    assert memory.edges.events.list(REQUEST_ID, limit=9) == []


def test_an_index_entry_that_cannot_be_read_is_no_free_run(memory: InMemory):
    memory.store(request())
    memory.bucket.write(entry_key(APPLY, 101), b"{")
    assert "cannot be read" in applied(memory).decision.reason
    assert memory.stored(REQUEST_ID) == request()


def test_every_write_is_one_line_in_the_requests_history_with_who_caused_it(memory: InMemory):
    memory.store(with_run(request(), "apply", **run(101, "queued")))
    applied(memory)
    (event,) = memory.edges.events.list(REQUEST_ID, limit=9)
    assert (event.event, event.actor, event.source) == ("github_event", "maya-k", "ops-portal")
    assert (event.data["kind"], event.data["runId"], event.data["statusAfter"]) == ("apply", 101, "applied")
    assert "applyRun.conclusion" in event.data["fields"]


def test_a_stale_or_foreign_run_writes_nothing_and_counts_no_version_up(memory: InMemory):
    """Refused and stale events still bumped the version and wrote."""
    memory.store(request())
    applied(memory)
    before = memory.bucket.contents()
    for run_id, fields in ((101, {}), (101, {"status": "in_progress", "conclusion": None}), (7, {})):
        assert not applied(memory, run_id=run_id, **fields).written
    assert memory.bucket.contents() == before


def test_a_lost_race_is_read_and_decided_again(memory: InMemory):
    memory.store(with_run(request(), "apply", **run(101, "queued")))
    claim(memory, APPLY, 101, REQUEST_ID)
    meanwhile = with_run({**request(), "version": 5, "notes": "theirs"}, "apply", **run(101, "in_progress"))
    memory.bucket.interfere = lambda: memory.store(meanwhile)
    assert applied(memory).written
    stored = memory.stored(REQUEST_ID)
    assert (stored["version"], stored["notes"], stored["applyRun"]["conclusion"]) == (6, "theirs", "success")


def test_a_request_that_tracks_another_run_since_the_event_was_decided_is_left_alone(memory: InMemory):
    memory.store(with_run(request(), "apply", **run(101, "queued")))
    claim(memory, APPLY, 101, REQUEST_ID)
    memory.bucket.interfere = lambda: memory.store(with_run(request(), "apply", **run(202, "queued")))
    assert not applied(memory).written
    assert memory.stored(REQUEST_ID)["github"]["workflows"]["apply"]["runId"] == 202


def test_others_who_win_every_race_end_it(memory: InMemory):
    memory.store(with_run(request(), "apply", **run(101, "queued")))
    claim(memory, APPLY, 101, REQUEST_ID)

    def come_between() -> None:
        memory.store({**memory.stored(REQUEST_ID), "version": memory.stored(REQUEST_ID)["version"] + 1})
        memory.bucket.interfere = come_between

    memory.bucket.interfere = come_between
    with pytest.raises(ConflictError):
        applied(memory)


@pytest.mark.parametrize("kind", list(WorkflowKind))
def test_a_tracked_run_of_any_kind_that_the_index_lacks_is_written_into_it(memory: InMemory, kind: WorkflowKind):
    """Nobody wrote the index for cleanup and drift runs."""
    memory.store(with_run(request(), kind.value, **run(101, "queued")))
    assert applied(memory, kind).notices == ()
    assert owner(memory, kind, 101) == REQUEST_ID


@pytest.mark.parametrize("kind", [WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN])
def test_a_cleanup_or_drift_run_is_in_the_index_as_soon_as_a_webhook_tells_of_it(memory: InMemory, kind: WorkflowKind):
    """Nobody wrote the index for cleanup and drift runs."""
    memory.store(with_run(request(), kind.value, **run(50, createdAt=ago(hours=3))))
    assert applied(memory, kind).written
    assert owner(memory, kind, 101) == REQUEST_ID


def test_a_tracked_run_that_the_index_gives_to_nobody_readable_is_said(memory: InMemory):
    memory.store(with_run(request(), "apply", **run(101, "queued")))
    memory.bucket.write(entry_key(APPLY, 101), b"{}")
    outcome = applied(memory)
    assert outcome.written
    assert "an entry that cannot be read" in outcome.notices[0]


def test_a_run_older_than_the_index_keeps_is_neither_claimed_nor_written_into_it(memory: InMemory):
    memory.store(request())
    old = {"created_at": ago(days=91)}
    assert "older than" in applied(memory, **old).decision.reason
    memory.store(with_run(request(), "apply", **run(101, "queued")))
    assert applied(memory, **old).written
    assert owner(memory, APPLY, 101) is None


def test_a_request_that_is_not_there_archived_or_unreadable_is_told_apart(memory: InMemory):
    with pytest.raises(NotFoundError):
        applied(memory)
    memory.archive(request())
    with pytest.raises(ArchivedError):
        applied(memory)
    memory.bucket.write(f"requests/{REQUEST_ID}.json", b"{")
    with pytest.raises(DocumentError):
        applied(memory)


# --- deliveries that came before the id of their run was stored


def test_what_came_before_the_run_was_claimed_is_replayed_and_removed(memory: InMemory):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}))
    park(memory, DESTROY, 101)
    claim(memory, DESTROY, 101, REQUEST_ID)
    (outcome,) = replay_parked(memory.edges, DESTROY, 101)
    assert outcome.written
    assert memory.stored(REQUEST_ID)["destroyRun"]["conclusion"] == "success"
    assert memory.edges.deliveries.list_parked(DESTROY, 101) == []
    assert replay_parked(memory.edges, DESTROY, 101) == ()


def test_while_nobody_owns_the_run_its_deliveries_stay(memory: InMemory):
    memory.store(request())
    park(memory, DESTROY, 101)
    park(memory, DESTROY, 1011, guid="guid-2")
    assert replay_parked(memory.edges, DESTROY, 101) == ()
    assert len(memory.edges.deliveries.list_kept(Place.PARKED, limit=9)) == 2


def test_a_replay_takes_only_the_deliveries_of_that_run(memory: InMemory):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}))
    park(memory, DESTROY, 1011, guid="guid-2")
    claim(memory, DESTROY, 101, REQUEST_ID)
    assert replay_parked(memory.edges, DESTROY, 101) == ()
    assert len(memory.edges.deliveries.list_parked(DESTROY, 1011)) == 1


def test_several_that_waited_end_in_what_the_last_of_them_says(memory: InMemory):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}))
    park(memory, DESTROY, 101, guid="guid-b")
    park(memory, DESTROY, 101, guid="guid-a", status="queued", conclusion=None, updated_at=ago(minutes=10))
    claim(memory, DESTROY, 101, REQUEST_ID)
    assert len(replay_parked(memory.edges, DESTROY, 101)) == 2
    assert memory.stored(REQUEST_ID)["destroyRun"]["conclusion"] == "success"


def test_what_could_not_be_replayed_waits_on(memory: InMemory):
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}))
    park(memory, DESTROY, 101)
    claim(memory, DESTROY, 101, REQUEST_ID)

    def fail() -> None:
        memory.bucket.outage = OUTAGE
        raise OUTAGE

    memory.bucket.interfere = fail
    with pytest.raises(StorageError):
        replay_parked(memory.edges, DESTROY, 101)
    memory.bucket.outage = None
    assert len(memory.edges.deliveries.list_parked(DESTROY, 101)) == 1
    assert replay_parked(memory.edges, DESTROY, 101)[0].written


def test_what_waited_for_a_run_of_a_request_that_is_archived_by_now_goes(memory: InMemory):
    memory.archive(request())
    park(memory, DESTROY, 101)
    claim(memory, DESTROY, 101, REQUEST_ID)
    assert replay_parked(memory.edges, DESTROY, 101) == ()
    assert memory.edges.deliveries.list_parked(DESTROY, 101) == []
    assert f"requests/{REQUEST_ID}.json" not in memory.bucket.contents()
