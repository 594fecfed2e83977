"""Looking at requests: the list with its age, and one request with all that is known."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, stuck_planning, with_pull
from tests.fakes import OUTAGE
from tfpilot.core.document import format_time
from tfpilot.core.model import (
    Checked,
    FindingCode,
    JobsFact,
    LifecycleEvent,
    LifecycleStatus,
    WorkflowKind,
)
from tfpilot.core.selection import RequestFilter
from tfpilot.errors import DocumentError, MalformedIdError, NotFoundError, StorageError
from tfpilot.operations.browse import list_fresh_requests, list_requests, open_request

EVERYTHING = RequestFilter()


def codes(view):
    return {finding.code for finding in view.findings}


# --- the list


def test_the_list_is_complete_and_newest_first(memory):
    memory.store(*(request(f"req_{n:03}", updatedAt=ago(minutes=(n * 37) % 100)) for n in range(100)))
    rows = list_fresh_requests(memory.edges, EVERYTHING).selection.rows
    assert len(rows) == 100
    times = [row.updated_at for row in rows]
    assert times == sorted(times, reverse=True)


def test_the_list_answers_at_once_from_the_last_reading(memory):
    memory.store(request())
    assert list_requests(memory.edges, EVERYTHING).selection.rows == []
    memory.snapshots.refresh()
    memory.bucket.outage = OUTAGE
    listed = list_requests(memory.edges, EVERYTHING)
    assert [row.id for row in listed.selection.rows] == [REQUEST_ID]
    assert listed.snapshot.read_at == NOW


def test_the_list_tells_that_it_could_not_be_renewed(memory):
    memory.store(request())
    memory.snapshots.refresh()
    memory.bucket.outage = OUTAGE
    memory.clock.advance(minutes=9)
    memory.snapshots.refresh()
    snapshot = list_requests(memory.edges, EVERYTHING).snapshot
    assert "no answer in time" in snapshot.error
    assert (snapshot.read_at, snapshot.tried_at) == (NOW, NOW + timedelta(minutes=9))


def test_a_caller_who_asks_for_data_gets_an_error_and_never_an_empty_or_old_list(memory):
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError, match="could not be listed"):
        list_fresh_requests(memory.edges, EVERYTHING)
    memory.bucket.outage = None
    assert list_fresh_requests(memory.edges, EVERYTHING).selection.rows == []
    memory.clock.advance(seconds=16)
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        list_fresh_requests(memory.edges, EVERYTHING)


def test_a_reading_of_the_last_fifteen_seconds_is_fresh_enough(memory):
    list_fresh_requests(memory.edges, EVERYTHING)
    memory.store(request())
    memory.clock.advance(seconds=15)
    assert list_fresh_requests(memory.edges, EVERYTHING).selection.rows == []
    memory.clock.advance(seconds=1)
    assert len(list_fresh_requests(memory.edges, EVERYTHING).selection.rows) == 1


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b'{"id": "req_other"}', b"[" * 5000])
def test_one_bad_object_is_a_row_with_its_error_among_the_others(memory, content):
    memory.store(request("req_good"))
    memory.bucket.write("requests/req_bad.json", content)
    selection = list_fresh_requests(memory.edges, EVERYTHING).selection
    rows = {row.id: row for row in selection.rows}
    assert rows.keys() == {"req_good", "req_bad"}
    assert rows["req_bad"].error
    assert selection.unreadable == 1


def test_twins_are_one_row_and_archived_requests_come_only_when_asked_for(memory):
    memory.store(request("req_twin"))
    memory.archive(request("req_twin"), request("req_gone"))
    (row,) = list_fresh_requests(memory.edges, EVERYTHING).selection.rows
    assert (row.id, row.has_archived_copy, row.archived) == ("req_twin", True, False)
    (gone,) = list_fresh_requests(memory.edges, RequestFilter(archived=True)).selection.rows
    assert (gone.id, gone.archived) == ("req_gone", True)


# --- one request


def test_an_opened_request_tells_its_status_why_and_what_is_wrong(memory):
    memory.store(stuck_planning())
    view = open_request(memory.edges, REQUEST_ID)
    assert (view.explanation.status, view.explanation.rule) == (LifecycleStatus.PLANNING, 11)
    assert FindingCode.STUCK_PLANNING in codes(view)
    assert (view.needs_repair, view.archived, view.has_archived_copy) == (True, False, False)
    assert view.stored.document == stuck_planning()
    assert memory.github.queries == []


def test_opening_a_request_shows_it_anew_in_the_list(memory):
    memory.store(request())
    memory.snapshots.refresh()
    memory.store({**with_pull(request()), "mergedSha": "5ea1"})
    open_request(memory.edges, REQUEST_ID)
    (row,) = list_requests(memory.edges, EVERYTHING).selection.rows
    assert row.status_at(NOW) is LifecycleStatus.MERGED


def test_an_opened_request_shows_its_history_newest_first(memory):
    memory.store(request())
    for minutes in (9, 1, 5):
        at = NOW - timedelta(minutes=minutes)
        memory.edges.events.append(LifecycleEvent(at, REQUEST_ID, f"event_{minutes}", "maya-k", "ops-portal"))
    assert [event.event for event in open_request(memory.edges, REQUEST_ID).events] == ["event_1", "event_5", "event_9"]


def test_an_archived_request_can_be_read_and_says_that_it_is_archived(memory):
    memory.archive(stuck_planning())
    view = open_request(memory.edges, REQUEST_ID)
    assert (view.archived, view.needs_repair, view.has_archived_copy) == (True, False, False)
    assert view.stored.document == stuck_planning()


def test_of_twins_the_active_document_is_shown_and_the_copy_is_offered(memory):
    memory.store(request(updatedAt=ago(minutes=1)))
    memory.archive(request(updatedAt=ago(days=1)))
    memory.snapshots.refresh()
    view = open_request(memory.edges, REQUEST_ID)
    assert (view.archived, view.has_archived_copy) == (False, True)
    assert view.request.updated_at == NOW - timedelta(minutes=1)


def test_what_only_github_knows_comes_from_its_last_answer(memory):
    cancelled = {"runId": 5, "status": "completed", "conclusion": "cancelled"}
    memory.store({**with_pull(request()), "applyRun": cancelled})
    jobs = {WorkflowKind.APPLY: JobsFact(5, 1, started=True)}
    assert codes(open_request(memory.edges, REQUEST_ID)).isdisjoint({FindingCode.STATE_UNKNOWN, FindingCode.MISSING_PR})
    memory.edges.checked.put(REQUEST_ID, Checked(at=NOW, facts={"pull": "not found"}, jobs=jobs))
    view = open_request(memory.edges, REQUEST_ID)
    assert codes(view) >= {FindingCode.STATE_UNKNOWN, FindingCode.MISSING_PR}
    assert view.checked.at == NOW


@pytest.mark.parametrize(("looked_for", "is_told"), [(-1, False), (0, False), (1, True)])
def test_a_dispatch_without_a_run_is_told_once_the_list_was_read_after_it(memory, looked_for, is_told):
    dispatched = NOW - timedelta(minutes=30)
    memory.store({**with_pull(request()), "github": {"applyTriggeredAt": format_time(dispatched)}})
    memo = Checked(at=dispatched + timedelta(minutes=looked_for), facts={"apply": "not found"})
    memory.edges.checked.put(REQUEST_ID, memo)
    found = codes(open_request(memory.edges, REQUEST_ID))
    assert (FindingCode.NOT_DISPATCHED in found, FindingCode.RUN_UNKNOWN in found) == (is_told, not is_told)


def test_a_run_that_waits_behind_another_of_its_environment_is_queued_and_not_stuck(memory):
    long_ago = ago(hours=3)
    ours = {**with_pull(request()), "applyRun": {"runId": 5, "status": "pending", "createdAt": long_ago}}
    memory.store(ours)
    stuck_only = RequestFilter(stuck=True)
    assert FindingCode.STUCK_APPLYING in codes(open_request(memory.edges, REQUEST_ID))
    assert [row.id for row in list_fresh_requests(memory.edges, stuck_only).selection.rows] == [REQUEST_ID]
    running = {"runId": 6, "status": "in_progress", "createdAt": ago(minutes=5)}
    memory.store({**with_pull(request()), "id": "req_dev_s3_other", "applyRun": running})
    memory.clock.advance(minutes=1)
    found = open_request(memory.edges, REQUEST_ID).findings
    (queued,) = (finding for finding in found if finding.code is FindingCode.QUEUED)
    assert queued.evidence == ("apply run 5 is pending behind apply run 6 of req_dev_s3_other",)
    assert FindingCode.STUCK_APPLYING not in {finding.code for finding in found}
    assert list_fresh_requests(memory.edges, stuck_only).selection.rows == []


def test_a_missing_request_an_impossible_id_an_unreadable_one_and_an_outage_are_told_apart(memory):
    with pytest.raises(NotFoundError):
        open_request(memory.edges, "req_unknown")
    with pytest.raises(MalformedIdError):
        open_request(memory.edges, "../req_unknown")
    memory.bucket.write("requests/req_bad.json", b"{")
    with pytest.raises(DocumentError):
        open_request(memory.edges, "req_bad")
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        open_request(memory.edges, "req_unknown")
