"""When GitHub is asked without anybody clicking, and how often (SPEC §3)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import NOW, ago
from tests.core.saying import THRESHOLDS, before, having, parsed
from tfpilot.core.lifecycle import derive_status, is_due, may_ask_again, needs_repair
from tfpilot.core.model import Checked, LifecycleStatus, WorkflowKind

PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
A_MOMENT = timedelta(milliseconds=1)
SUCCESS = {"runId": 1, "status": "completed", "conclusion": "success"}
PLANNED = {"prNumber": 7, "github.workflows.plan": SUCCESS}
APPLIED = {**PLANNED, "mergedSha": "5ea1", "github.workflows.apply": {**SUCCESS, "runId": 2}}


def needs(fields, now=NOW, **options):
    return needs_repair(parsed(fields), now, THRESHOLDS, **options)


def test_a_healthy_applied_request_never_needs_repair():
    assert not needs(APPLIED)
    assert not needs(APPLIED, NOW + timedelta(days=3650))


def test_a_branch_or_a_merge_without_a_pull_request_number_needs_repair():
    assert needs({})
    assert needs({"branchName": None, "mergedSha": "5ea1"})
    assert not needs({"branchName": None})


def test_a_pull_request_without_any_plan_fact_needs_repair():
    assert needs({"prNumber": 7})
    assert needs({"prNumber": 7, "github.planTriggeredAt": ago(minutes=1)})
    assert not needs({"prNumber": 7, "planRun": {"status": "requested"}})
    assert not needs(PLANNED)


@pytest.mark.parametrize("kind", ["apply", "destroy"])
def test_a_dispatched_apply_or_destroy_without_id_and_conclusion_needs_repair(kind):
    trigger = {**PLANNED, f"github.{kind}TriggeredAt": ago(seconds=1)}
    assert needs(trigger)
    assert needs({**trigger, f"{kind}Run": {"status": "requested"}})
    assert not needs({**trigger, f"{kind}Run": {"runId": 5, "status": "queued"}})
    assert not needs({**trigger, f"{kind}Run": {"conclusion": "success"}})


def test_a_stale_destroy_needs_repair():
    running = {
        **APPLIED,
        "destroyRun": {"runId": 5, "status": "in_progress"},
        "github.destroyTriggeredAt": ago(minutes=15),
    }
    assert not needs(running)
    assert needs(running, NOW + A_MOMENT)


def test_a_stale_destroy_that_an_apply_superseded_needs_nothing():
    fields = {
        **APPLIED,
        "destroyRun": {"runId": 5, "status": "in_progress"},
        "github.destroyTriggeredAt": ago(hours=2),
        "github.workflows.apply": {**SUCCESS, "createdAt": ago(hours=1)},
    }
    assert not needs(fields)


@pytest.mark.parametrize(("kind", "minutes"), [("plan", 15), ("apply", 60)])
def test_a_run_that_is_active_for_longer_than_its_threshold_needs_repair(kind, minutes):
    run = {"runId": 5, "status": "queued", "createdAt": ago(minutes=minutes)}
    fields = {**PLANNED, f"github.workflows.{kind}": run}
    assert not needs(fields)
    assert needs(fields, NOW + A_MOMENT)


def test_a_run_of_unknown_age_needs_no_repair_by_age():
    assert not needs({"prNumber": 7, "planRun": {"runId": 5, "status": "queued"}}, NOW + timedelta(days=900))


@pytest.mark.parametrize("missing", ["targetOwner", "targetRepo"])
def test_without_a_repository_there_is_nobody_to_ask(missing):
    assert not needs({missing: None})
    assert not needs({missing: ""})


def test_an_abandoned_request_vetoes_everything():
    closed = {"prNumber": 7, "github.pr": {"number": 7, "open": False, "merged": False}}
    assert not needs(closed)
    assert needs({**closed, "github.pr.open": True})


STUCK = {
    "plan": {"prNumber": 7, "planRun": {"runId": 5, "status": "queued", "createdAt": ago(hours=9)}},
    "apply": {**PLANNED, "applyRun": {"runId": 5, "status": "queued", "createdAt": ago(hours=9)}},
    "destroy": {
        **PLANNED,
        "destroyRun": {"runId": 5, "status": "queued"},
        "github.destroyTriggeredAt": ago(hours=9),
    },
}


@pytest.mark.parametrize("kind", list(STUCK))
def test_a_run_settled_by_hand_vetoes_the_clauses_about_it(kind):
    assert needs(STUCK[kind])
    assert not needs(STUCK[kind], settled=frozenset({WorkflowKind(kind)}))
    assert needs(STUCK[kind], settled=frozenset(WorkflowKind) - {WorkflowKind(kind)})


@pytest.mark.parametrize("kind", list(STUCK))
def test_a_run_that_github_does_not_have_vetoes_the_clauses_about_it(kind):
    memo = {f"github.unresolved.{kind}": {"runId": 5, "at": ago(minutes=1)}}
    assert not needs({**STUCK[kind], **memo})
    assert needs({**STUCK[kind], f"github.unresolved.{kind}": {"runId": 4, "at": ago(minutes=1)}})


def test_a_veto_about_one_run_leaves_the_others_alone():
    both = having(STUCK["apply"], having({"planRun": {"runId": 4, "status": "queued", "createdAt": ago(hours=9)}}))
    memo = {"github.workflows.plan": None, "github.unresolved.apply": {"runId": 5}}
    assert needs({**both, **memo})


# --- how often


WAITING = {"prNumber": 7, "planRun": {"runId": 5, "status": "waiting", "createdAt": ago(hours=9)}}


@pytest.mark.parametrize(("fields", "minutes"), [(STUCK["plan"], 5), (WAITING, 30)])
def test_github_is_asked_again_after_five_minutes_and_after_thirty_while_a_person_must_approve(fields, minutes):
    request = parsed(fields)
    assert may_ask_again(request, NOW, None)
    assert may_ask_again(request, NOW, Checked(at=before(minutes=minutes)))
    assert not may_ask_again(request, NOW, Checked(at=before(minutes=minutes) + A_MOMENT))


# --- due


def due(fields, minutes=31, now=NOW):
    return is_due(parsed(fields), now, Checked(at=now - timedelta(minutes=minutes)))


def test_a_request_is_due_when_the_last_answer_is_older_than_thirty_minutes():
    assert not due(PLANNED, minutes=30)
    assert due(PLANNED, minutes=30.001)


def test_a_request_that_github_was_never_asked_about_is_due():
    assert is_due(parsed(PLANNED), NOW, None)


def test_an_applied_request_is_not_due():
    assert derive_status(parsed(APPLIED), NOW) is LifecycleStatus.APPLIED
    assert not due(APPLIED)
    assert not is_due(parsed(APPLIED), NOW, None)


def test_an_abandoned_request_and_one_without_repository_are_not_due():
    assert not due({"github.pr": {"number": 7, "open": False, "merged": False}})
    assert not due({**PLANNED, "targetRepo": None})


@pytest.mark.parametrize(
    ("cleanup", "expected"),
    [
        (None, True),
        ({"status": "pending"}, True),
        ({"number": 9, "status": "open"}, True),
        ({"number": 9, "status": "closed"}, False),
        ({"number": 9, "merged": True}, False),
    ],
)
def test_a_destroyed_request_is_due_until_its_cleanup_pull_request_is_over(cleanup, expected):
    assert due({**APPLIED, "destroyRun": {**SUCCESS, "runId": 3}, "cleanupPr": cleanup}) is expected


def test_a_failed_request_is_due_for_thirty_days():
    failed = {"runId": 5, "status": "completed", "conclusion": "failure", "updatedAt": ago(days=30)}
    assert due({**PLANNED, "applyRun": failed})
    assert not due({**PLANNED, "applyRun": failed}, now=NOW + A_MOMENT)


def test_a_failure_without_a_time_counts_from_the_last_change_of_the_request():
    failed = {**PLANNED, "applyRun": {"runId": 5, "status": "completed", "conclusion": "failure"}}
    assert due({**failed, "updatedAt": ago(days=30)})
    assert not due({**failed, "updatedAt": ago(days=31)})
    assert due({**failed, "updatedAt": None})
