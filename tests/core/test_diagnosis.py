"""What is wrong with a request: every finding at its boundary, and how bad it is (SPEC §3)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago
from tests.core.saying import THRESHOLDS, before, findings, parsed
from tfpilot.core.diagnosis import STUCK_CODES, diagnose, severity_of, stuck_since, unreadable
from tfpilot.core.model import (
    DiagnosisContext,
    FindingCode,
    JobsFact,
    LifecycleStatus,
    Severity,
    Thresholds,
    WorkflowKind,
)

PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
A_MOMENT = timedelta(milliseconds=1)
HEALTHY = {
    "github.pr": {"number": 7, "open": False, "merged": True},
    "mergedSha": "5ea1",
    "github.workflows.plan": {"runId": 1, "status": "completed", "conclusion": "success"},
    "github.workflows.apply": {"runId": 2, "status": "completed", "conclusion": "success"},
}

CRITICAL = {"STALE_DESTROY", "STATE_UNKNOWN", "INDEX_CROSSED", "OVERWRITTEN_FACT", "UNREADABLE"}
INFO = {
    "STATUS_DRIFT", "SPLIT_FACTS", "INDEX_MISSING", "WAITING_APPROVAL", "QUEUED", "NEVER_STARTED",
    "NOTHING_DESTROYED", "ABANDONED",
}  # fmt: skip


@pytest.mark.parametrize("code", list(FindingCode))
def test_every_finding_has_the_severity_that_was_agreed(code):
    expected = Severity.CRITICAL if code in CRITICAL else Severity.INFO if code in INFO else Severity.WARNING
    assert severity_of(code) is expected


def test_a_healthy_applied_request_has_no_findings():
    assert findings(HEALTHY) == {}


def test_every_finding_says_what_was_seen_and_what_to_do():
    context = DiagnosisContext(overwritten=("mergedSha",), index_owners={APPLY: "req_other"})
    fields = {**HEALTHY, "status": "merged", "github.destroyTriggeredAt": "soon"}
    found = findings(fields, context=context).values()
    assert len(found) >= 4
    assert all(finding.evidence and all(finding.evidence) and finding.next_action for finding in found)


def test_findings_come_worst_first_and_then_oldest():
    fields = {
        "status": "merged",
        "github.destroyTriggeredAt": ago(hours=1),
        "github.pr": {"number": 7, "open": True},
        "lock": {"holder": "maya-k", "operation": "plan", "expiresAt": ago(hours=9)},
    }
    found = diagnose(parsed(fields), NOW, THRESHOLDS)
    ranks = [list(Severity).index(finding.severity) for finding in found]
    assert ranks == sorted(ranks)
    warnings = [finding.since for finding in found if finding.severity is Severity.WARNING and finding.since]
    assert warnings == sorted(warnings)
    assert found[0].code is FindingCode.STALE_DESTROY


# --- stuck


def stuck(fields, now):
    return findings(fields, now).keys() & STUCK_CODES


@pytest.mark.parametrize(
    ("kind", "code", "minutes"), [("plan", FindingCode.STUCK_PLANNING, 15), ("apply", FindingCode.STUCK_APPLYING, 60)]
)
@pytest.mark.parametrize("run", [{"runId": 5, "status": "in_progress"}, {"status": "requested"}])
def test_a_run_is_stuck_when_it_is_active_for_longer_than_its_threshold(kind, code, minutes, run):
    fields = {f"github.workflows.{kind}": run, f"github.{kind}TriggeredAt": ago(minutes=minutes)}
    assert stuck(fields, NOW) == set()
    assert stuck(fields, NOW + A_MOMENT) == {code}
    assert findings(fields, NOW + A_MOMENT)[code].since == NOW


@pytest.mark.parametrize("later", ["createdAt", "runStartedAt"])
def test_the_latest_known_start_of_a_run_counts(later):
    run = {"runId": 5, "status": "queued", "createdAt": ago(hours=9), later: ago(minutes=15)}
    fields = {"planRun": run, "github.planTriggeredAt": ago(hours=9)}
    assert stuck(fields, NOW) == set()
    assert stuck(fields, NOW + A_MOMENT) == {FindingCode.STUCK_PLANNING}


def test_the_update_time_counts_only_where_no_start_is_known():
    run = {"runId": 5, "status": "queued", "updatedAt": ago(minutes=15)}
    assert stuck({"planRun": run}, NOW) == set()
    assert stuck({"planRun": run}, NOW + A_MOMENT) == {FindingCode.STUCK_PLANNING}
    assert stuck({"planRun": {**run, "createdAt": ago(minutes=16)}}, NOW) == {FindingCode.STUCK_PLANNING}


def test_a_run_of_unknown_age_never_becomes_stuck_by_age():
    assert stuck({"planRun": {"runId": 5, "status": "queued"}}, NOW + timedelta(days=900)) == set()


def test_thresholds_are_settings():
    request = parsed({"planRun": {"runId": 5, "status": "queued", "createdAt": ago(minutes=15)}})
    patient = Thresholds(planning=timedelta(hours=1))
    assert FindingCode.STUCK_PLANNING not in {f.code for f in diagnose(request, NOW + A_MOMENT, patient)}
    assert stuck_since(request, patient) == NOW + timedelta(minutes=45)


def test_an_open_pull_request_whose_plan_never_came_is_stuck_planning():
    fields = {"github.pr": {"number": 7, "open": True, "createdAt": ago(minutes=15)}}
    assert stuck(fields, NOW) == set()
    assert stuck(fields, NOW + A_MOMENT) == {FindingCode.STUCK_PLANNING}


def test_an_apply_that_was_dispatched_and_left_no_trace_is_stuck_applying():
    fields = {**HEALTHY, "github.workflows.apply": None, "applyTriggeredAt": ago(minutes=60)}
    assert stuck(fields, NOW) == set()
    assert stuck(fields, NOW + A_MOMENT) == {FindingCode.STUCK_APPLYING}


def test_a_stale_destroy_is_critical_and_tells_since_when():
    found = findings({**HEALTHY, "github.destroyTriggeredAt": ago(minutes=20)})
    assert found[FindingCode.STALE_DESTROY].since == before(minutes=5)
    assert FindingCode.STALE_DESTROY not in findings({**HEALTHY, "github.destroyTriggeredAt": ago(minutes=15)})


def test_a_stale_destroy_whose_trigger_cannot_be_read_says_so_instead_of_a_time():
    found = findings({**HEALTHY, "github.destroyTriggeredAt": "soon"})[FindingCode.STALE_DESTROY]
    assert found.since is None
    assert "cannot be read" in found.evidence[0]


@pytest.mark.parametrize("kind", ["plan", "apply", "destroy"])
def test_a_run_that_waits_for_a_person_is_not_stuck(kind):
    fields = {f"github.workflows.{kind}": {"runId": 5, "status": "waiting"}, f"github.{kind}TriggeredAt": ago(hours=9)}
    found = findings(fields)
    assert found.keys() & STUCK_CODES == set()
    assert FindingCode.WAITING_APPROVAL in found
    assert stuck_since(parsed(fields), THRESHOLDS) is None


def test_waiting_for_a_person_leaves_the_status_as_derived():
    fields = {**HEALTHY, "destroyRun": {"runId": 5, "status": "waiting"}, "github.destroyTriggeredAt": ago(hours=9)}
    found = diagnose(parsed({**fields, "status": "failed"}), NOW, THRESHOLDS)
    assert FindingCode.STATUS_DRIFT not in {finding.code for finding in found}


def test_a_run_that_ended_because_a_person_had_to_approve_waits_too():
    run = {"runId": 5, "status": "completed", "conclusion": "action_required", "updatedAt": ago(minutes=9)}
    finding = findings({"planRun": run})[FindingCode.WAITING_APPROVAL]
    assert finding.since == before(minutes=9)


def test_a_destroy_that_an_apply_superseded_waits_for_nobody():
    fields = {
        **HEALTHY,
        "destroyRun": {"runId": 5, "status": "waiting", "createdAt": ago(hours=2)},
        "github.applyTriggeredAt": ago(hours=1),
    }
    assert FindingCode.WAITING_APPROVAL not in findings(fields)


# --- runs that are not known


@pytest.mark.parametrize("fields", [{"github.applyTriggeredAt": ago(minutes=1)}, {"applyRun": {"status": "requested"}}])
def test_a_dispatched_run_without_id_is_unknown(fields):
    assert FindingCode.RUN_UNKNOWN in findings(fields)


def test_an_active_destroy_without_id_and_trigger_is_unknown():
    assert FindingCode.RUN_UNKNOWN in findings({**HEALTHY, "destroyRun": {"status": "in_progress"}})


def test_a_run_with_id_or_conclusion_is_not_unknown():
    trigger = {"github.planTriggeredAt": ago(minutes=1)}
    assert FindingCode.RUN_UNKNOWN not in findings({**trigger, "planRun": {"runId": 5, "status": "queued"}})
    assert FindingCode.RUN_UNKNOWN not in findings({**trigger, "planRun": {"conclusion": "success"}})


@pytest.mark.parametrize("run", [{"status": "meditating"}, {"status": "completed", "conclusion": "levitated"}])
def test_a_value_that_nobody_knows_is_diagnosed_with_its_own_words(run):
    finding = findings({"applyRun": {"runId": 5, **run}})[FindingCode.RUN_UNKNOWN]
    assert "meditating" in finding.evidence[0] or "levitated" in finding.evidence[0]


def test_a_run_is_not_dispatched_when_ten_minutes_later_a_complete_list_has_none():
    fields = {**HEALTHY, "github.workflows.apply": None, "applyTriggeredAt": ago(minutes=10)}
    context = DiagnosisContext(no_run_listed=frozenset({APPLY}))
    assert FindingCode.NOT_DISPATCHED not in findings(fields, NOW, context)
    assert FindingCode.NOT_DISPATCHED in findings(fields, NOW + A_MOMENT, context)
    assert FindingCode.RUN_UNKNOWN not in findings(fields, NOW + A_MOMENT, context)
    assert FindingCode.NOT_DISPATCHED not in findings(fields, NOW + timedelta(days=1))


@pytest.mark.parametrize("status", ["queued", "pending"])
def test_a_run_behind_another_one_is_queued_and_not_stuck(status):
    fields = {"planRun": {"runId": 5, "status": status, "createdAt": ago(hours=1)}}
    found = findings(fields, NOW, DiagnosisContext(blocking_runs={PLAN: "plan run 4 of req_other"}))
    assert found.keys() & {FindingCode.QUEUED, FindingCode.STUCK_PLANNING} == {FindingCode.QUEUED}
    assert "req_other" in found[FindingCode.QUEUED].evidence[0]
    assert FindingCode.STUCK_PLANNING in findings(fields)


def test_a_run_that_is_under_way_is_behind_nobody():
    fields = {"planRun": {"runId": 5, "status": "in_progress", "createdAt": ago(hours=1)}}
    found = findings(fields, NOW, DiagnosisContext(blocking_runs={PLAN: "plan run 4 of req_other"}))
    assert found.keys() & {FindingCode.QUEUED, FindingCode.STUCK_PLANNING} == {FindingCode.STUCK_PLANNING}


# --- missing pieces


def test_a_branch_or_a_merge_without_a_pull_request_number_misses_its_pull_request():
    assert FindingCode.MISSING_PR in findings({})
    assert FindingCode.MISSING_PR in findings({"branchName": None, "mergedSha": "5ea1"})
    assert FindingCode.MISSING_PR not in findings({"branchName": None})
    assert FindingCode.MISSING_PR not in findings({"prNumber": 7})


def test_a_pull_request_that_github_does_not_have_is_missing():
    context = DiagnosisContext(pull_not_found=True)
    assert "#7" in findings({"prNumber": 7}, context=context)[FindingCode.MISSING_PR].evidence[0]


def test_a_pull_request_without_a_plan_misses_a_run():
    assert FindingCode.MISSING_RUN in findings({"prNumber": 7})
    assert FindingCode.MISSING_RUN not in findings({"prNumber": 7, "planRun": {"runId": 5}})
    assert FindingCode.MISSING_RUN not in findings({"prNumber": 7, "github.planTriggeredAt": ago(minutes=1)})
    assert FindingCode.MISSING_RUN not in findings({})


def test_a_destroy_without_an_apply_misses_a_run():
    fields = {**HEALTHY, "github.workflows.apply": None, "destroyRun": {"runId": 5, "status": "queued"}}
    assert FindingCode.MISSING_RUN in findings(fields)


# --- disagreements


def test_a_stored_status_that_claims_something_else_is_drift():
    assert FindingCode.STATUS_DRIFT in findings({**HEALTHY, "status": "planning"})
    for status in (LifecycleStatus.APPLIED.value, "created", None, ""):
        assert FindingCode.STATUS_DRIFT not in findings({**HEALTHY, "status": status})


@pytest.mark.parametrize(
    "legacy",
    [
        {"runId": 9, "status": "queued"},
        {"runId": 5, "status": "in_progress"},
        {"runId": 5, "status": "queued", "conclusion": "success"},
    ],
)
def test_two_places_that_tell_different_things_are_split(legacy):
    fields = {"github.workflows.plan": {"runId": 5, "status": "queued"}, "planRun": legacy}
    finding = findings(fields)[FindingCode.SPLIT_FACTS]
    assert "planRun." in finding.evidence[0]
    assert "github.workflows.plan." in finding.evidence[0]


def test_places_that_agree_or_are_alone_are_not_split():
    run = {"runId": 5, "status": "queued"}
    assert FindingCode.SPLIT_FACTS not in findings({"github.workflows.plan": run, "planRun": {**run, "url": "x"}})
    assert FindingCode.SPLIT_FACTS not in findings({"planRun": run})


def test_places_that_disagree_about_the_merge_are_split():
    fields = {"github.pr": {"number": 7, "open": True, "merged": False}, "pr": {"number": 7, "merged": True}}
    assert FindingCode.SPLIT_FACTS in findings(fields)
    other = {**fields, "activePrNumber": 7, "pr": {"number": 6, "merged": True}}
    assert FindingCode.SPLIT_FACTS not in findings(other)


# --- interrupted and empty runs


@pytest.mark.parametrize("conclusion", ["cancelled", "timed_out"])
@pytest.mark.parametrize("kind", [APPLY, DESTROY])
def test_an_interrupted_run_is_dangerous_only_if_a_job_had_started(kind, conclusion):
    run = {"runId": 5, "status": "completed", "conclusion": conclusion, "updatedAt": ago(minutes=9)}
    fields = {f"{kind.value}Run": run}
    codes = {FindingCode.STATE_UNKNOWN, FindingCode.NEVER_STARTED}
    for started, code in ((True, FindingCode.STATE_UNKNOWN), (False, FindingCode.NEVER_STARTED)):
        found = findings(fields, context=DiagnosisContext(jobs={kind: JobsFact(5, 1, started)}))
        assert found.keys() & codes == {code}
        assert found[code].since == before(minutes=9)
    assert findings(fields).keys() & codes == set()


@pytest.mark.parametrize("jobs", [JobsFact(4, 1, started=True), JobsFact(5, 2, started=True)])
def test_the_jobs_of_another_run_or_attempt_say_nothing(jobs):
    fields = {"applyRun": {"runId": 5, "status": "completed", "conclusion": "cancelled"}}
    assert FindingCode.STATE_UNKNOWN not in findings(fields, context=DiagnosisContext(jobs={APPLY: jobs}))


def test_a_failed_apply_is_no_unknown_state():
    fields = {"applyRun": {"runId": 5, "status": "completed", "conclusion": "failure"}}
    context = DiagnosisContext(jobs={APPLY: JobsFact(5, 1, started=True)})
    assert findings(fields, context=context).keys() & {FindingCode.STATE_UNKNOWN, FindingCode.NEVER_STARTED} == set()


@pytest.mark.parametrize("conclusion", ["skipped", "neutral"])
def test_a_skipped_destroy_destroyed_nothing(conclusion):
    run = {"runId": 5, "status": "completed", "conclusion": conclusion, "createdAt": ago(hours=2)}
    assert FindingCode.NOTHING_DESTROYED in findings({**HEALTHY, "destroyRun": run})
    superseded = {**HEALTHY, "destroyRun": run, "applyTriggeredAt": ago(hours=1)}
    assert FindingCode.NOTHING_DESTROYED not in findings(superseded)


def test_a_cleanup_fails_by_its_run_or_by_its_dispatch():
    failed = {"github.workflows.cleanup": {"runId": 5, "status": "completed", "conclusion": "failure"}}
    refused = {"github.cleanupDispatchStatus": "error", "github.cleanupDispatchLastError": "422 no such ref"}
    assert "failure" in findings(failed)[FindingCode.CLEANUP_FAILED].evidence[0]
    assert "422 no such ref" in findings(refused)[FindingCode.CLEANUP_FAILED].evidence[0]
    for fields in (failed, refused):
        assert FindingCode.CLEANUP_FAILED not in findings({**fields, "cleanupPr": {"number": 9, "merged": True}})
    assert FindingCode.CLEANUP_FAILED not in findings({**refused, "github.cleanupDispatchStatus": "dispatched"})


CLOSED = {"github.pr": {"number": 7, "open": False, "merged": False}}


def test_a_pull_request_closed_without_a_merge_abandons_the_request():
    assert FindingCode.ABANDONED in findings(CLOSED)


@pytest.mark.parametrize(
    "fields",
    [
        {"github.pr.open": True},
        {"github.pr.merged": True},
        {"mergedSha": "5ea1"},
        {"applyRun": {"runId": 5}},
        {"destroyRun": {"runId": 5}},
        {"applyTriggeredAt": ago(hours=1)},
        {"github.destroyTriggeredAt": "soon"},
    ],
)
def test_a_request_that_went_on_is_not_abandoned(fields):
    assert FindingCode.ABANDONED not in findings({**CLOSED, **fields})


# --- what only others know


def test_an_index_entry_is_missing_or_names_somebody_else():
    def codes(owner):
        return findings(HEALTHY, context=DiagnosisContext(index_owners={APPLY: owner})).keys()

    assert codes(None) == {FindingCode.INDEX_MISSING}
    assert codes("req_other") == {FindingCode.INDEX_CROSSED}
    assert codes(REQUEST_ID) == set()


def test_an_index_entry_of_an_unknown_run_says_nothing():
    context = DiagnosisContext(index_owners={DESTROY: "req_other"})
    assert findings(HEALTHY, context=context) == {}


def test_a_lock_is_expired_strictly_after_its_end():
    fields = {**HEALTHY, "lock": {"holder": "maya-k", "operation": "apply", "expiresAt": ago(minutes=0)}}
    assert FindingCode.LOCK_EXPIRED not in findings(fields)
    assert findings(fields, NOW + A_MOMENT)[FindingCode.LOCK_EXPIRED].since == NOW


@pytest.mark.parametrize(
    "lock", [{}, {"expiresAt": ago(hours=1)}, {"holder": "x", "operation": "y", "expiresAt": "soon"}]
)
def test_a_lock_that_cannot_be_read_is_not_called_expired(lock):
    assert FindingCode.LOCK_EXPIRED not in findings({**HEALTHY, "lock": lock})


def test_an_overwritten_fact_is_named_by_its_path():
    context = DiagnosisContext(overwritten=("mergedSha", "github.pr.merged"))
    evidence = findings(HEALTHY, context=context)[FindingCode.OVERWRITTEN_FACT].evidence
    assert [text.split()[0] for text in evidence] == ["mergedSha", "github.pr.merged"]


def test_an_unreadable_object_is_a_critical_finding_with_its_error():
    finding = unreadable("not JSON")
    assert (finding.code, finding.severity, finding.evidence) == (
        FindingCode.UNREADABLE,
        Severity.CRITICAL,
        ("not JSON",),
    )
