"""Auditing the run index, ignoring findings, look-ups and claims, as operators use them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import tfpilot
from tests.builders import NOW, ago, request, run, with_run
from tests.fakes import OUTAGE, InMemory
from tfpilot.core.document import format_time
from tfpilot.core.index_audit import IndexCode
from tfpilot.core.index_listing import EntryVersion
from tfpilot.core.index_report import AuditSource
from tfpilot.core.model import (
    ClaimOutcome,
    DispatchRecord,
    DispatchState,
    Operator,
    RepoRef,
    Role,
    RunFact,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.run_index import entry_key, new_entry, parse_entry, render_entry
from tfpilot.errors import MalformedIdError, MissingRightError, NotFoundError, RefusedError, StorageError
from tfpilot.operations.index_audit import audit_index, ignore_finding, stop_ignoring
from tfpilot.operations.run_index import (
    browse_fresh_index,
    browse_index,
    index_run,
    look_up,
    look_up_run,
    read_lines,
    refresh_index,
)

PLAN, DESTROY = WorkflowKind.PLAN, WorkflowKind.DESTROY
APPROVER = Operator("tom-r", Role.APPROVER)
NOW_FRESH = timedelta(0)


def tracking(request_id: str, run_id: int = 1) -> dict[str, Any]:
    return with_run(request(request_id), "plan", **run(run_id, createdAt=ago(hours=1)))


def put(memory: InMemory, request_id: str, run_id: int = 1, kind: WorkflowKind = PLAN) -> None:
    memory.bucket.write(entry_key(kind, run_id), content_of(request_id, run_id, kind))


def content_of(request_id: str, run_id: int = 1, kind: WorkflowKind = PLAN) -> bytes:
    return render_entry(new_entry(kind, run_id, request_id, created_at=NOW))


def codes(memory: InMemory, *sources: AuditSource) -> list[str]:
    report = audit_index(memory.edges, sources=sources, older_than=NOW_FRESH)
    return [finding.code.value for finding in report.findings]


# The audit


def test_an_audit_tells_what_it_looked_at_and_when(memory: InMemory):
    memory.store(tracking("req_a"))
    put(memory, "req_a")
    report = audit_index(memory.edges)
    assert (report.findings, report.audit.objects, report.audit.requests) == ((), 1, 1)
    assert (report.at, report.requests_read_at, report.index_read_at) == (NOW, NOW, NOW)
    assert (report.sources, report.versions_kept) == (frozenset(), None)


def test_an_audit_of_readings_that_are_young_enough_reads_nothing_again(memory: InMemory):
    audit_index(memory.edges)
    memory.store(tracking("req_a"))
    memory.clock.advance(seconds=60)
    assert audit_index(memory.edges).findings == ()
    memory.clock.advance(seconds=1)
    assert len(audit_index(memory.edges).findings) == 1


@pytest.mark.parametrize("failing", ["snapshots", "index_listings"])
def test_half_an_audit_is_none(memory: InMemory, failing: str, monkeypatch: pytest.MonkeyPatch):
    memory.store(tracking("req_a"))
    audit_index(memory.edges)
    memory.bucket.outage = OUTAGE
    part = getattr(memory, failing)
    (part.refresh if failing == "snapshots" else part.refresh_with_bodies)()
    memory.bucket.outage = None
    with pytest.raises(StorageError, match="no answer in time"):
        audit_index(memory.edges)


def test_records_and_versions_are_looked_at_only_when_asked(memory: InMemory):
    memory.store(tracking("req_b"), request("req_a"))
    put(memory, "req_b")
    memory.edges.dispatches.add(started("req_a"))
    memory.index_objects.versions = {entry_key(PLAN, 1): (EntryVersion("v", NOW, False, content_of("req_a")),)}
    assert codes(memory) == []
    assert codes(memory, AuditSource.RECORDS) == ["OVERWRITTEN"]
    assert codes(memory, AuditSource.VERSIONS) == ["OVERWRITTEN"]


def test_an_audit_that_was_asked_for_versions_says_whether_any_are_kept(memory: InMemory):
    assert audit_index(memory.edges, sources=[AuditSource.VERSIONS]).versions_kept is False


# Ignoring


def test_an_ignored_finding_is_listed_apart_with_who_when_and_why(memory: InMemory):
    memory.store(tracking("req_a"), tracking("req_b", 2))
    ignore_finding(memory.edges, IndexCode.MISSING, entry_key(PLAN, 1), reason=" known ", operator=APPROVER)
    report = audit_index(memory.edges)
    assert [finding.run_id for finding in report.findings] == [2]
    [ignored] = report.ignored
    assert (ignored.finding.run_id, ignored.mark.by, ignored.mark.at, ignored.mark.reason) == (1, "tom-r", NOW, "known")
    assert report.counts() == {IndexCode.MISSING: 1}


def test_another_finding_about_the_same_key_is_not_ignored_with_it(memory: InMemory):
    memory.bucket.write(entry_key(PLAN, 1), b"{")
    ignore_finding(memory.edges, IndexCode.MISSING, entry_key(PLAN, 1), reason="known", operator=APPROVER)
    assert codes(memory) == ["MALFORMED"]


def test_what_is_not_ignored_any_more_is_open_again_and_its_mark_says_who_ended_it(memory: InMemory):
    memory.store(tracking("req_a"))
    key = entry_key(PLAN, 1)
    ignore_finding(memory.edges, IndexCode.MISSING, key, reason="known", operator=APPROVER)
    memory.clock.advance(minutes=1)
    stop_ignoring(memory.edges, IndexCode.MISSING, key, reason="over", operator=Operator("ops-lead", Role.ADMIN))
    assert codes(memory) == ["MISSING"]
    [mark] = memory.edges.index_marks.list()
    assert (mark.ignored, mark.by, mark.reason) == (False, "ops-lead", "over")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_ignoring_takes_a_reason(memory: InMemory, reason: str):
    with pytest.raises(RefusedError, match="reason"):
        ignore_finding(memory.edges, IndexCode.MISSING, entry_key(PLAN, 1), reason=reason, operator=APPROVER)
    assert memory.bucket.writes == []


@pytest.mark.parametrize("change", [ignore_finding, stop_ignoring])
def test_a_developer_may_not_ignore(memory: InMemory, change: Any):
    with pytest.raises(MissingRightError):
        change(memory.edges, IndexCode.ORPHAN, "key", reason="known", operator=Operator("maya-k", Role.DEVELOPER))


# Claims and look-ups, as the package exports them


def test_a_run_is_claimed_once_and_the_same_request_again_is_fine(memory: InMemory):
    assert tfpilot.put_run_index(memory.edges, PLAN, 1, "req_a").outcome is ClaimOutcome.NEW
    assert tfpilot.put_run_index(memory.edges, PLAN, 1, "req_a").outcome is ClaimOutcome.OWN
    with pytest.raises(RefusedError, match="belongs to request req_a"):
        tfpilot.put_run_index(memory.edges, PLAN, 1, "req_b")
    assert tfpilot.get_request_id_by_run_id(memory.edges, PLAN, 1) == "req_a"


def test_a_claim_takes_the_runs_own_time_and_ninety_days(memory: InMemory):
    tfpilot.put_run_index(memory.edges, PLAN, 1, "req_a", created_at=NOW - timedelta(days=10))
    stored = memory.bucket.contents()[entry_key(PLAN, 1)]
    times = f'"createdAt":"{ago(days=10)}","expiresAt":"{format_time(NOW + timedelta(days=80))}"'
    assert stored == f'{{"kind":"plan","runId":1,"requestId":"req_a",{times}}}'.encode()


def test_the_destroy_wrappers_are_the_same_for_destroys(memory: InMemory):
    tfpilot.put_destroy_run_index(memory.edges, 5, "req_a")
    assert tfpilot.get_request_id_by_destroy_run_id_indexed(memory.edges, 5) == "req_a"
    assert tfpilot.get_request_id_by_run_id(memory.edges, DESTROY, 5) == "req_a"
    assert tfpilot.get_request_id_by_run_id(memory.edges, PLAN, 5) is None


@pytest.mark.parametrize("content", [b"{", content_of("req_a", 2), content_of("req_a", 1, DESTROY)])
def test_an_entry_that_contradicts_its_key_answers_nothing_and_blocks_a_claim(memory: InMemory, content: bytes):
    memory.bucket.write(entry_key(PLAN, 1), content)
    assert tfpilot.get_request_id_by_run_id(memory.edges, PLAN, 1) is None
    with pytest.raises(RefusedError, match="cannot be read"):
        tfpilot.put_run_index(memory.edges, PLAN, 1, "req_a")


def test_an_index_that_fails_is_a_notice_and_breaks_nothing(memory: InMemory):
    assert index_run(memory.edges, PLAN, 1, "req_a") == ""
    assert "belongs to request req_a" in index_run(memory.edges, PLAN, 1, "req_b")
    memory.bucket.outage = OUTAGE
    assert "no answer in time" in index_run(memory.edges, PLAN, 2, "req_a")


def test_storage_that_does_not_answer_is_an_error_and_not_an_unclaimed_run(memory: InMemory):
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        tfpilot.get_request_id_by_run_id(memory.edges, PLAN, 1)


@pytest.mark.parametrize("run_id", [0, -1, 2**64, True])
def test_what_cannot_be_a_run_id_is_refused(memory: InMemory, run_id: int):
    with pytest.raises(MalformedIdError):
        tfpilot.put_run_index(memory.edges, PLAN, run_id, "req_a")


def test_the_guarded_run_fact_is_exported_too(memory: InMemory):
    document = tracking("req_a")
    foreign = WorkflowRun(RunFact(run_id=9, status="completed", conclusion="success"), RepoRef("acme", "infra"))
    assert tfpilot.patch_workflow_run(document, PLAN, foreign) is document


# Looking up and browsing


def test_a_look_up_takes_what_a_person_types(memory: InMemory):
    put(memory, "req_a", 42)
    assert look_up(memory.edges, "plan", " 42 ").request_id == "req_a"
    assert [entry.kind for entry in look_up_run(memory.edges, "42")] == [PLAN]
    assert look_up_run(memory.edges, "43") == []
    with pytest.raises(NotFoundError, match="plan run 43"):
        look_up(memory.edges, "plan", "43")


@pytest.mark.parametrize(
    ("kind", "run_id"),
    [("deploy", "1"), ("PLAN", "1"), *(("plan", text) for text in ("x", "²", "0", "01", "-1", "9" * 19))],
)
def test_what_is_no_kind_or_run_id_is_refused(memory: InMemory, kind: str, run_id: str):
    with pytest.raises(MalformedIdError):
        look_up(memory.edges, kind, run_id)


def test_browsing_shows_the_last_listing_at_once_and_reads_bodies_only_on_demand(memory: InMemory):
    put(memory, "req_a", 1)
    put(memory, "req_b", 2)
    memory.bucket.write(entry_key(PLAN, 3), b"{")
    assert browse_index(memory.edges, limit=10).total == 0
    assert refresh_index(memory.edges).objects == 3
    page = browse_index(memory.edges, PLAN, start=0, limit=2)
    assert ([line.run_id for line in page.lines], page.total, page.listing.bodies_missing) == ([3, 2], 3, 3)
    assert [entry and entry.request_id for entry in read_lines(memory.edges, page.lines)] == [None, "req_b"]
    assert browse_index(memory.edges, limit=2).listing.bodies_missing == 1


def test_a_list_that_cannot_be_had_is_an_error_and_not_an_empty_one(memory: InMemory):
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        browse_fresh_index(memory.edges, limit=10)


def test_every_entry_that_was_claimed_can_be_read_again(memory: InMemory):
    for kind in WorkflowKind:
        tfpilot.put_run_index(memory.edges, kind, 7, "req_a")
        stored = memory.bucket.contents()[entry_key(kind, 7)]
        assert parse_entry(stored, key="").kind is kind
    assert {entry.kind for entry in look_up_run(memory.edges, "7")} == set(WorkflowKind)


def started(request_id: str) -> DispatchRecord:
    return DispatchRecord(
        request_id=request_id, nonce="n1", kind=PLAN, repo=RepoRef("acme", "infra"), workflow_file="plan.yml",
        ref="main", inputs={}, operator="maya-k", triggered_at=NOW, state=DispatchState.STARTED, run_id=1,
    )  # fmt: skip
