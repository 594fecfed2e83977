"""Fixing the run index: what is done, what is not, what is kept, and taking it back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, ago, request, run, with_run
from tests.fakes import OUTAGE, InMemory
from tfpilot.core.index_audit import IndexCode
from tfpilot.core.index_fixes import FixKind, FixOutcome, FixPlan, FixReport, IndexFix, MustHold, digest_of
from tfpilot.core.index_listing import EntryVersion
from tfpilot.core.index_report import AuditSource
from tfpilot.core.model import DispatchRecord, DispatchState, Operator, RepoRef, Role, WorkflowKind
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.errors import ConflictError, MalformedIdError, MissingRightError, NotFoundError, RefusedError, StorageError
from tfpilot.operations.index_audit import audit_index
from tfpilot.operations.index_fixes import apply_fixes, list_fixes, plan_fixes, undo_fixes

PLAN = WorkflowKind.PLAN
KEY = entry_key(PLAN, 1)
DEVELOPER = Operator("maya-k", Role.DEVELOPER)
APPROVER = Operator("tom-r", Role.APPROVER)
DAYS = timedelta(days=1)


def tracking(request_id: str, run_id: int = 1, **fields: Any) -> dict[str, Any]:
    return with_run(request(request_id), "plan", **run(run_id, **{"createdAt": ago(hours=1), **fields}))


def content_of(request_id: str, run_id: int = 1, *, age: timedelta = timedelta(hours=1)) -> bytes:
    return render_entry(new_entry(PLAN, run_id, request_id, created_at=NOW - age))


def planned(memory: InMemory, *codes: IndexCode, sources: tuple[AuditSource, ...] = ()) -> FixPlan:
    report = audit_index(memory.edges, sources=sources, older_than=timedelta(0))
    return plan_fixes(report.findings, codes=codes or None, now=report.at)


def applied(memory: InMemory, plan: FixPlan, operator: Operator = APPROVER) -> FixReport:
    return apply_fixes(memory.edges, plan, operator=operator)


def outcomes(report: FixReport) -> list[tuple[FixOutcome, str]]:
    return [(result.outcome, result.reason) for result in report.results]


def only_outcome(report: FixReport) -> FixOutcome:
    [result] = report.results
    return result.outcome


@pytest.fixture
def missing(memory: InMemory) -> InMemory:
    """A request whose plan run has no entry."""
    memory.store(tracking("req_a"))
    return memory


@pytest.fixture
def orphaned(memory: InMemory) -> InMemory:
    """An entry of a request that is nowhere."""
    memory.bucket.write(KEY, content_of("req_gone", age=2 * DAYS))
    return memory


@pytest.fixture
def expired(memory: InMemory) -> InMemory:
    """An expired entry of a request that does not wait for anything."""
    memory.store(request("req_a"))
    memory.bucket.write(KEY, content_of("req_a", age=91 * DAYS))
    return memory


@pytest.fixture
def malformed(memory: InMemory) -> InMemory:
    """An entry that is no JSON, and not even text."""
    memory.bucket.write(KEY, b"\xff{")
    return memory


# Planning


def test_a_plan_writes_nothing(missing: InMemory):
    before = missing.bucket.contents()
    assert len(planned(missing).fixes) == 1
    assert missing.bucket.contents() == before


def test_a_plan_takes_only_the_codes_that_were_asked_for(missing: InMemory):
    missing.bucket.write(entry_key(PLAN, 2), b"{")
    assert [fix.code for fix in planned(missing, IndexCode.MALFORMED).fixes] == ["MALFORMED"]
    assert [fix.code for fix in planned(missing).fixes] == ["MISSING", "MALFORMED"]


def test_the_digest_changes_with_what_is_planned(missing: InMemory):
    first = planned(missing)
    assert planned(missing).digest == first.digest
    missing.store(tracking("req_b", 2))
    assert planned(missing).digest != first.digest


def test_a_plan_that_was_tampered_with_is_refused(orphaned: InMemory):
    plan = planned(orphaned)
    changed = replace(plan, fixes=(replace(plan.fixes[0], must_hold=MustHold.NOTHING),))
    with pytest.raises(RefusedError, match="digest"):
        applied(orphaned, changed)
    assert KEY in orphaned.bucket.contents()


def test_an_empty_plan_does_nothing_and_leaves_no_journal(memory: InMemory):
    assert applied(memory, planned(memory)).results == ()
    assert memory.bucket.contents() == {}


# Backfill


def test_a_missing_entry_is_written_with_the_runs_own_time(missing: InMemory):
    assert only_outcome(applied(missing, planned(missing))) is FixOutcome.DONE
    assert missing.bucket.contents()[KEY] == content_of("req_a")
    assert audit_index(missing.edges).findings == ()


def test_an_entry_that_somebody_wrote_meanwhile_is_never_overwritten(missing: InMemory):
    plan = planned(missing)
    missing.bucket.write(KEY, content_of("req_b"))
    [(outcome, reason)] = outcomes(applied(missing, plan))
    assert (outcome, "for request req_b" in reason) == (FixOutcome.CHANGED, True)
    assert missing.bucket.contents()[KEY] == content_of("req_b")


def test_an_entry_that_comes_in_the_very_last_moment_is_not_overwritten_either(missing: InMemory):
    plan = planned(missing)
    edges = missing.edges
    put = edges.index_objects.put

    def interfere_and_put(key: str, content: bytes, *, if_match: str | None) -> str:
        missing.bucket.write(KEY, content_of("req_b"))
        return put(key, content, if_match=if_match)

    missing.index_objects.put = interfere_and_put
    assert only_outcome(apply_fixes(edges, plan, operator=APPROVER)) is FixOutcome.CHANGED
    assert missing.bucket.contents()[KEY] == content_of("req_b")


def test_a_run_that_the_request_does_not_track_any_more_gets_no_entry(missing: InMemory):
    plan = planned(missing)
    missing.store(tracking("req_a", 2))
    assert only_outcome(applied(missing, plan)) is FixOutcome.REFUSED
    assert KEY not in missing.bucket.contents()


def test_an_entry_that_would_be_expired_by_now_is_not_written(missing: InMemory):
    plan = planned(missing)
    missing.clock.advance(days=90)
    [(outcome, reason)] = outcomes(applied(missing, plan))
    assert (outcome, "expired" in reason) == (FixOutcome.REFUSED, True)


def test_a_developer_may_backfill_outside_prod_only(memory: InMemory):
    memory.store(tracking("req_dev"), {**tracking("req_prod", 2), "environment": "prod"})
    assert [outcome for outcome, _ in outcomes(applied(memory, planned(memory), DEVELOPER))] == [
        FixOutcome.DONE,
        FixOutcome.REFUSED,
    ]


def test_a_viewer_may_not_fix_anything(missing: InMemory):
    with pytest.raises(MissingRightError):
        applied(missing, planned(missing), Operator("", Role.VIEWER))
    assert missing.bucket.writes == []


def test_a_developer_may_not_remove(orphaned: InMemory):
    with pytest.raises(MissingRightError):
        applied(orphaned, planned(orphaned), DEVELOPER)


# Removal


@pytest.mark.parametrize("place", ["orphaned", "expired", "malformed"])
def test_what_is_removed_is_kept_byte_by_byte_before_and_comes_back_by_an_undo(
    place: str, request: pytest.FixtureRequest
):
    memory: InMemory = request.getfixturevalue(place)
    before = memory.bucket.contents()[KEY]
    report = applied(memory, planned(memory))
    assert only_outcome(report) is FixOutcome.DONE
    assert KEY not in memory.bucket.contents()
    assert only_outcome(undo_fixes(memory.edges, report.fix_id, operator=APPROVER)) is FixOutcome.DONE
    assert memory.bucket.contents()[KEY] == before


@pytest.mark.parametrize("place", ["orphaned", "expired", "malformed"])
def test_what_was_changed_since_the_plan_is_not_removed(place: str, request: pytest.FixtureRequest):
    memory: InMemory = request.getfixturevalue(place)
    plan = planned(memory)
    memory.bucket.write(KEY, content_of("req_b"))
    assert only_outcome(applied(memory, plan)) is FixOutcome.CHANGED
    assert memory.bucket.contents()[KEY] == content_of("req_b")


def test_what_is_changed_in_the_very_last_moment_is_not_removed(malformed: InMemory):
    plan = planned(malformed)
    edges = malformed.edges
    delete = edges.index_objects.delete

    def interfere_and_delete(key: str, *, if_match: str) -> None:
        malformed.bucket.write(KEY, content_of("req_b"))
        delete(key, if_match=if_match)

    malformed.index_objects.delete = interfere_and_delete
    assert only_outcome(apply_fixes(edges, plan, operator=APPROVER)) is FixOutcome.CHANGED
    assert malformed.bucket.contents()[KEY] == content_of("req_b")


def test_a_removal_whose_answer_was_lost_counts_as_done_and_can_be_undone(malformed: InMemory):
    plan = planned(malformed)
    edges = malformed.edges
    delete = edges.index_objects.delete

    def delete_twice(key: str, *, if_match: str) -> None:
        delete(key, if_match=if_match)
        raise ConflictError("gone")

    malformed.index_objects.delete = delete_twice
    report = apply_fixes(edges, plan, operator=APPROVER)
    assert only_outcome(report) is FixOutcome.DONE
    assert only_outcome(undo_fixes(edges, report.fix_id, operator=APPROVER)) is FixOutcome.DONE
    assert malformed.bucket.contents()[KEY] == b"\xff{"


@pytest.mark.parametrize("where", ["requests", "history"])
@pytest.mark.parametrize("document", [b'{"id": "req_gone"}', b"{"], ids=["readable", "broken"])
def test_an_orphan_whose_request_is_there_after_all_stays(orphaned: InMemory, where: str, document: bytes):
    plan = planned(orphaned)
    orphaned.bucket.write(f"{where}/req_gone.json", document)
    assert only_outcome(applied(orphaned, plan)) is FixOutcome.REFUSED
    assert KEY in orphaned.bucket.contents()


@pytest.mark.parametrize(
    "waiting",
    [
        tracking("req_a", status="in_progress", conclusion=None, createdAt=ago(days=91)),
        request("req_a", github={"planTriggeredAt": ago(minutes=1)}),
    ],
    ids=["for this run", "for a run whose id it does not know"],
)
def test_an_expired_entry_stays_where_its_request_has_begun_to_wait(expired: InMemory, waiting: dict[str, Any]):
    plan = planned(expired)
    expired.store(waiting)
    assert only_outcome(applied(expired, plan)) is FixOutcome.REFUSED
    assert KEY in expired.bucket.contents()


def test_an_expired_entry_stays_where_its_request_cannot_be_read_now(expired: InMemory):
    plan = planned(expired)
    expired.bucket.write("requests/req_a.json", b"{")
    assert only_outcome(applied(expired, plan)) is FixOutcome.FAILED
    assert KEY in expired.bucket.contents()


# Restoring


def test_an_overwritten_entry_is_written_again_by_our_record_and_comes_back_by_an_undo(memory: InMemory):
    memory.store(tracking("req_a"), request("req_b"))
    memory.bucket.write(KEY, content_of("req_b"))
    memory.edges.dispatches.add(
        DispatchRecord(
            request_id="req_a", nonce="n1", kind=PLAN, repo=RepoRef("acme", "infra"), workflow_file="plan.yml",
            ref="main", inputs={}, operator="maya-k", triggered_at=NOW, state=DispatchState.STARTED, run_id=1,
        )
    )  # fmt: skip
    plan = planned(memory, IndexCode.OVERWRITTEN, sources=(AuditSource.RECORDS,))
    report = applied(memory, plan)
    assert only_outcome(report) is FixOutcome.DONE
    assert memory.bucket.contents()[KEY] == content_of("req_a")
    assert only_outcome(undo_fixes(memory.edges, report.fix_id, operator=APPROVER)) is FixOutcome.DONE
    assert memory.bucket.contents()[KEY] == content_of("req_b")


def test_an_earlier_version_is_written_again_over_the_wrong_one_only(memory: InMemory):
    memory.store(request("req_a"), tracking("req_b"))
    memory.bucket.write(KEY, content_of("req_b"))
    memory.index_objects.versions = {KEY: (EntryVersion("v1", NOW, False, content_of("req_a")),)}
    plan = planned(memory, IndexCode.OVERWRITTEN, sources=(AuditSource.VERSIONS,))
    memory.bucket.write(KEY, content_of("req_c"))
    assert only_outcome(applied(memory, plan)) is FixOutcome.CHANGED
    memory.bucket.write(KEY, content_of("req_b"))
    memory.clock.advance(seconds=1)
    assert only_outcome(applied(memory, plan)) is FixOutcome.DONE
    assert memory.bucket.contents()[KEY] == content_of("req_a")


# Failures, the journal and undo


def test_one_step_that_fails_does_not_stop_the_others(memory: InMemory):
    memory.store(tracking("req_a"), tracking("req_b", 2))
    plan = planned(memory)
    memory.bucket.write("requests/req_a.json", b"{")
    told: list[tuple[int, int]] = []
    report = apply_fixes(
        memory.edges, plan, operator=APPROVER, on_progress=lambda done, to_do: told.append((done, to_do))
    )
    assert [outcome for outcome, _ in outcomes(report)] == [FixOutcome.FAILED, FixOutcome.DONE]
    assert told == [(1, 2), (2, 2)]
    assert report.has_failures


def test_without_a_journal_nothing_is_done(missing: InMemory):
    plan = planned(missing)
    missing.bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        applied(missing, plan)
    missing.bucket.outage = None
    assert missing.bucket.writes == []


def test_what_is_about_to_be_removed_is_in_the_journal_before_it_is_removed(orphaned: InMemory):
    edges, seen = orphaned.edges, []
    delete = edges.index_objects.delete

    def look_and_delete(key: str, *, if_match: str) -> None:
        seen.extend(key for key in orphaned.bucket.contents() if key.endswith("/000001.json"))
        delete(key, if_match=if_match)

    orphaned.index_objects.delete = look_and_delete
    apply_fixes(edges, planned(orphaned), operator=APPROVER)
    [step] = seen
    kept = json.loads(orphaned.bucket.contents()[step])
    assert kept["before"] == {"text": content_of("req_gone", age=2 * DAYS).decode()}


def test_a_fix_that_was_killed_before_it_could_say_so_is_undone_all_the_same(orphaned: InMemory):
    report = applied(orphaned, planned(orphaned))
    orphaned.bucket.delete(f"ops/backups/run-index/{report.fix_id}/000001-done.json")
    assert only_outcome(undo_fixes(orphaned.edges, report.fix_id, operator=APPROVER)) is FixOutcome.DONE
    assert orphaned.bucket.contents()[KEY] == content_of("req_gone", age=2 * DAYS)


def test_an_entry_of_which_the_journal_does_not_say_that_the_fix_wrote_it_stays(missing: InMemory):
    report = applied(missing, planned(missing))
    missing.bucket.delete(f"ops/backups/run-index/{report.fix_id}/000001-done.json")
    assert only_outcome(undo_fixes(missing.edges, report.fix_id, operator=APPROVER)) is FixOutcome.REFUSED
    assert KEY in missing.bucket.contents()


def test_an_undo_removes_a_backfilled_entry_only_where_it_is_as_the_fix_left_it(missing: InMemory):
    report = applied(missing, planned(missing))
    missing.bucket.write(KEY, content_of("req_b"))
    assert only_outcome(undo_fixes(missing.edges, report.fix_id, operator=APPROVER)) is FixOutcome.CHANGED
    missing.bucket.write(KEY, content_of("req_a"))
    assert only_outcome(undo_fixes(missing.edges, report.fix_id, operator=APPROVER)) is FixOutcome.DONE
    assert KEY not in missing.bucket.contents()


def test_an_undo_leaves_an_occupied_place_alone(orphaned: InMemory):
    report = applied(orphaned, planned(orphaned))
    orphaned.bucket.write(KEY, content_of("req_b"))
    assert only_outcome(undo_fixes(orphaned.edges, report.fix_id, operator=APPROVER)) is FixOutcome.CHANGED
    assert orphaned.bucket.contents()[KEY] == content_of("req_b")


def test_a_second_undo_changes_nothing(orphaned: InMemory):
    report = applied(orphaned, planned(orphaned))
    undo_fixes(orphaned.edges, report.fix_id, operator=APPROVER)
    before = orphaned.bucket.contents()
    assert outcomes(undo_fixes(orphaned.edges, report.fix_id, operator=APPROVER)) == [
        (FixOutcome.DONE, "was taken back before")
    ]
    assert orphaned.bucket.contents() == before


def test_a_developer_may_not_undo(missing: InMemory):
    report = applied(missing, planned(missing))
    with pytest.raises(MissingRightError):
        undo_fixes(missing.edges, report.fix_id, operator=DEVELOPER)


def test_an_unknown_fix_is_not_found_and_a_strange_id_is_refused(memory: InMemory):
    with pytest.raises(NotFoundError):
        undo_fixes(memory.edges, "fix-1", operator=APPROVER)
    with pytest.raises(MalformedIdError):
        undo_fixes(memory.edges, "../fix", operator=APPROVER)


def test_fixes_are_listed_the_newest_first_with_who_did_them(missing: InMemory):
    first = applied(missing, planned(missing))
    missing.clock.advance(minutes=1)
    missing.bucket.write(entry_key(PLAN, 2), b"{")
    second = applied(missing, planned(missing))
    assert [(each.fix_id, each.operator) for each in list_fixes(missing.edges)] == [
        (second.fix_id, "tom-r"),
        (first.fix_id, "tom-r"),
    ]


def test_no_fix_touches_a_key_outside_the_run_index(memory: InMemory):
    memory.store(request("req_a"))
    outside = IndexFix("MALFORMED", FixKind.REMOVE, "requests/req_a.json", "e", None, "", MustHold.NOTHING)
    report = applied(memory, FixPlan((outside,), NOW, digest_of((outside,))))
    assert only_outcome(report) is FixOutcome.REFUSED
    assert "requests/req_a.json" in memory.bucket.contents()
