"""The run index over HTTP: an entry, and the audit."""

from __future__ import annotations

import pytest

from tests.builders import NOW, ago, request, run, with_run
from tests.doors.door_setup import Door
from tests.fakes import OUTAGE, InMemory
from tfpilot.core.index_audit import IndexCode
from tfpilot.core.model import Operator, Role, WorkflowKind
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.operations.index_audit import ignore_finding

PLAN = WorkflowKind.PLAN
AUDIT = "/api/run-index/audit"


@pytest.fixture
def indexed(memory: InMemory) -> InMemory:
    """A request with two runs, of which one has an entry."""
    planned = with_run(request("req_a"), "plan", **run(1, createdAt=ago(hours=1)))
    memory.store(with_run(planned, "apply", **run(2, createdAt=ago(hours=1))))
    memory.bucket.write(entry_key(PLAN, 1), render_entry(new_entry(PLAN, 1, "req_a", created_at=NOW)))
    return memory


@pytest.mark.parametrize("path", [AUDIT, "/api/run-index/plan/1"])
def test_the_run_index_takes_a_token(path: str, door: Door, indexed: InMemory):
    assert door.get(path, token=None).status_code == 401


def test_an_entry_is_answered_with_exactly_its_five_fields(door: Door, indexed: InMemory):
    answer = door.get("/api/run-index/plan/1")
    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "entry": {
            "kind": "plan",
            "runId": 1,
            "requestId": "req_a",
            "createdAt": "2026-03-02T12:00:00.000Z",
            "expiresAt": "2026-05-31T12:00:00.000Z",
        },
    }


@pytest.mark.parametrize("content", [None, b"{", render_entry(new_entry(PLAN, 8, "req_a", created_at=NOW))])
def test_without_an_entry_that_can_be_used_the_answer_is_404(door: Door, memory: InMemory, content: bytes | None):
    if content is not None:
        memory.bucket.write(entry_key(PLAN, 9), content)
    answer = door.get("/api/run-index/plan/9")
    assert answer.status_code == 404
    assert (answer.json()["success"], "plan run 9" in answer.json()["error"]) == (False, True)
    assert answer.json()["hint"]


@pytest.mark.parametrize(
    "place", ["deploy/1", "plan/x", "plan/0", "plan/1/2", "plan/", "plan", "", "plan/%C2%B2", "plan/1%0A2", "PLAN/1"]
)
def test_what_is_no_kind_or_run_id_is_a_400(place: str, door: Door, memory: InMemory):
    status, body = door.raw(f"/api/run-index/{place}")
    assert status == 400
    assert b'"success": false' in body
    assert memory.bucket.writes == []


def test_the_audit_answers_findings_with_evidence_and_what_to_do(door: Door, indexed: InMemory):
    answer = door.get(AUDIT).json()
    assert answer["success"]
    assert (answer["entries"], answer["requests"], answer["counts"]) == (1, 1, {"MISSING": 1})
    [finding] = answer["findings"]
    assert finding == {
        "code": "MISSING",
        "severity": "warning",
        "key": "webhooks/github/run-index/apply/run-2.json",
        "kind": "apply",
        "runId": 2,
        "requests": ["req_a"],
        "evidence": ["request req_a tracks it as its apply run"],
        "nextAction": "Write the entry, unless somebody does meanwhile.",
        "fix": "write the missing entry",
    }
    assert answer["indexReadAt"] == "2026-03-02T12:00:00.000Z"


def test_ignored_findings_are_answered_apart(door: Door, indexed: InMemory):
    key = entry_key(WorkflowKind.APPLY, 2)
    ignore_finding(indexed.edges, IndexCode.MISSING, key, reason="known", operator=Operator("tom-r", Role.APPROVER))
    answer = door.get(AUDIT).json()
    assert answer["findings"] == []
    [ignored] = answer["ignored"]
    assert (ignored["code"], ignored["mark"]["by"], ignored["mark"]["reason"]) == ("MISSING", "tom-r", "known")


def test_the_audit_is_from_readings_at_most_a_minute_old(door: Door, indexed: InMemory):
    door.get(AUDIT)
    indexed.bucket.write(entry_key(PLAN, 1), b"{")
    indexed.clock.advance(seconds=60)
    assert door.get(AUDIT).json()["counts"] == {"MISSING": 1}
    indexed.clock.advance(seconds=1)
    assert door.get(AUDIT).json()["counts"] == {"MALFORMED": 1, "MISSING": 1}


def test_where_storage_fails_the_audit_answers_503_and_not_an_empty_list(door: Door, indexed: InMemory):
    door.get(AUDIT)
    indexed.clock.advance(minutes=2)
    indexed.bucket.outage = OUTAGE
    answer = door.get(AUDIT)
    assert answer.status_code == 503
    assert "findings" not in answer.json()
    assert "no answer in time" in answer.json()["error"]
    assert door.get("/api/run-index/plan/1").status_code == 503


def test_versions_and_records_are_looked_at_on_demand(door: Door, indexed: InMemory):
    assert door.get(AUDIT).json()["sources"] == []
    answer = door.get(f"{AUDIT}?versions=1&records=1").json()
    assert (answer["sources"], answer["versionsKept"]) == (["records", "versions"], False)
    assert door.get(f"{AUDIT}?versions=yes").status_code == 400


def test_looking_writes_nothing(door: Door, indexed: InMemory):
    before = indexed.bucket.contents()
    for path in (AUDIT, f"{AUDIT}?versions=1&records=1", "/api/run-index/plan/1", "/api/run-index/plan/5"):
        door.get(path)
    assert indexed.bucket.contents() == before
