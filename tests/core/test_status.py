"""Where a request stands: each rule at its boundary, and their order (SPEC §2)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import NOW, ago
from tests.core.saying import before, parsed, status_of
from tfpilot.core.lifecycle import RULES, derive_status, explain, is_destroy_failed, is_destroy_stale
from tfpilot.core.model import (
    ACTIVE_RUN_STATUSES,
    EMPTY_CONCLUSIONS,
    FAILED_CONCLUSIONS,
    FactUsed,
    LifecycleStatus,
)

PLAN, APPLY, DESTROY = "github.workflows.plan", "github.workflows.apply", "github.workflows.destroy"
TRIGGER = "github.destroyTriggeredAt"
SUCCEEDED = {"runId": 1, "status": "completed", "conclusion": "success"}
FAILED = {"runId": 2, "status": "completed", "conclusion": "failure"}
RUNNING = {"runId": 3, "status": "in_progress"}
MERGED = {"github.pr": {"number": 7, "open": False, "merged": True}}
OPEN = {"github.pr": {"number": 7, "open": True, "merged": False}}
APPROVED = {"approval.approved": True}

LADDER = (
    (1, {DESTROY: FAILED}, LifecycleStatus.FAILED),
    (2, {DESTROY: SUCCEEDED}, LifecycleStatus.DESTROYED),
    (3, {DESTROY: RUNNING}, LifecycleStatus.DESTROYING),
    (4, {APPLY: FAILED}, LifecycleStatus.FAILED),
    (5, {PLAN: FAILED}, LifecycleStatus.FAILED),
    (6, {APPLY: RUNNING}, LifecycleStatus.APPLYING),
    (7, {APPLY: SUCCEEDED}, LifecycleStatus.APPLIED),
    (8, MERGED, LifecycleStatus.MERGED),
    (9, APPROVED, LifecycleStatus.APPROVED),
    (10, {PLAN: SUCCEEDED}, LifecycleStatus.PLAN_READY),
    (11, OPEN, LifecycleStatus.PLANNING),
    (12, {}, LifecycleStatus.REQUEST_CREATED),
)


@pytest.mark.parametrize(("rule", "fields", "status"), LADDER)
def test_each_rule_fires_on_its_own_fact_and_says_so(rule, fields, status):
    explanation = explain(parsed(fields), NOW)
    assert (explanation.rule, explanation.status) == (rule, status)


@pytest.mark.parametrize(("rule", "fields", "status"), LADDER)
def test_each_rule_wins_over_every_later_one(rule, fields, status):
    for later, others, _ in LADDER[rule:]:
        together = explain(parsed({**others, **fields}), NOW)
        assert (together.rule, together.status) == (rule, status), f"rule {later} hid rule {rule}"


def test_the_rules_are_numbered_as_they_are_told_to_operators():
    assert list(RULES) == [rule for rule, _, _ in LADDER]


@pytest.mark.parametrize("conclusion", sorted(FAILED_CONCLUSIONS))
@pytest.mark.parametrize("place", [PLAN, APPLY, DESTROY])
def test_every_failed_conclusion_is_a_failure_of_plan_apply_and_destroy(place, conclusion):
    assert status_of({place: {"runId": 1, "status": "completed", "conclusion": conclusion}}) is LifecycleStatus.FAILED


@pytest.mark.parametrize("conclusion", [*sorted(EMPTY_CONCLUSIONS), "levitated"])
def test_a_skipped_neutral_or_unknown_conclusion_is_neither_success_nor_failure(conclusion):
    ended = {"runId": 1, "status": "completed", "conclusion": conclusion}
    assert status_of({PLAN: ended, **OPEN}) is LifecycleStatus.PLANNING
    assert status_of({APPLY: ended, **MERGED}) is LifecycleStatus.MERGED
    assert status_of({DESTROY: ended, APPLY: SUCCEEDED, TRIGGER: ago(hours=2)}) is LifecycleStatus.APPLIED


@pytest.mark.parametrize("status", sorted(ACTIVE_RUN_STATUSES))
def test_every_active_run_status_counts_as_running(status):
    active = {"runId": 1, "status": status}
    assert status_of({PLAN: active}) is LifecycleStatus.PLANNING
    assert status_of({APPLY: active}) is LifecycleStatus.APPLYING
    assert status_of({DESTROY: active}) is LifecycleStatus.DESTROYING


def test_an_unknown_run_status_is_not_guessed_to_be_running():
    assert status_of({APPLY: {"runId": 1, "status": "meditating"}, **MERGED}) is LifecycleStatus.MERGED


def test_a_run_that_is_over_without_a_conclusion_is_not_running():
    assert status_of({APPLY: {"runId": 1, "status": "completed"}, **MERGED}) is LifecycleStatus.MERGED


def test_a_conclusion_counts_more_than_a_status_that_still_says_running():
    assert status_of({APPLY: {"runId": 1, "status": "queued", "conclusion": "success"}}) is LifecycleStatus.APPLIED


def test_a_merge_commit_alone_is_a_merge():
    assert status_of({"mergedSha": "5ea1", **OPEN}) is LifecycleStatus.MERGED


def test_a_closed_pull_request_is_not_planning():
    closed = {"github.pr": {"number": 7, "open": False, "merged": False}}
    assert status_of(closed) is LifecycleStatus.REQUEST_CREATED


def test_the_stored_status_decides_nothing():
    assert status_of({"status": "destroyed"}) is LifecycleStatus.REQUEST_CREATED


# --- destroys without an end


def stale_at(fields, now=NOW):
    request = parsed(fields)
    assert (derive_status(request, now) is LifecycleStatus.FAILED) is is_destroy_stale(request, now)
    assert explain(request, now).destroy_stale is is_destroy_stale(request, now)
    return is_destroy_stale(request, now)


@pytest.mark.parametrize("run", [None, {"status": "requested"}, RUNNING, {"runId": 3, "status": "waiting"}])
def test_a_destroy_is_stale_after_more_than_fifteen_minutes_with_or_without_a_run_id(run):
    fields = {TRIGGER: ago(minutes=15), DESTROY: run}
    assert not stale_at(fields, NOW)
    assert stale_at(fields, NOW + timedelta(milliseconds=1))


def test_exactly_fifteen_minutes_is_still_destroying():
    assert status_of({TRIGGER: ago(minutes=15)}) is LifecycleStatus.DESTROYING


def test_a_dispatched_destroy_without_any_run_hides_the_apply():
    assert status_of({TRIGGER: ago(minutes=1), APPLY: SUCCEEDED}) is LifecycleStatus.DESTROYING


def test_a_re_run_of_a_destroy_counts_from_its_later_start():
    run = {**RUNNING, "attempt": 2, "runStartedAt": ago(minutes=15)}
    assert not stale_at({TRIGGER: ago(hours=3), DESTROY: run})
    assert stale_at({TRIGGER: ago(hours=3), DESTROY: run}, NOW + timedelta(milliseconds=1))


def test_an_earlier_start_of_a_re_run_changes_nothing():
    run = {**RUNNING, "attempt": 2, "runStartedAt": ago(hours=3)}
    assert not stale_at({TRIGGER: ago(minutes=15), DESTROY: run})


def test_the_start_of_a_first_attempt_changes_nothing():
    for attempt in (1, None):
        run = {**RUNNING, "attempt": attempt, "runStartedAt": ago(minutes=1)}
        assert stale_at({TRIGGER: ago(minutes=16), DESTROY: run})


def test_an_unreadable_trigger_falls_back_to_the_creation_of_the_run():
    assert not stale_at({TRIGGER: "soon", DESTROY: {**RUNNING, "createdAt": ago(minutes=15)}})
    assert stale_at({TRIGGER: "soon", DESTROY: {**RUNNING, "createdAt": ago(minutes=15, seconds=0.001)}})


@pytest.mark.parametrize("run", [None, RUNNING])
def test_an_unreadable_trigger_without_a_creation_time_is_stale_at_once(run):
    assert stale_at({TRIGGER: "soon", DESTROY: run})


@pytest.mark.parametrize("absent", [None, "", {}])
def test_an_absent_trigger_with_an_active_run_is_destroying_for_as_long_as_it_takes(absent):
    run = {**RUNNING, "createdAt": ago(days=9)}
    assert status_of({TRIGGER: absent, DESTROY: run}) is LifecycleStatus.DESTROYING


@pytest.mark.parametrize("placeholder", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
def test_a_placeholder_instead_of_a_time_cannot_be_read(placeholder):
    assert stale_at({TRIGGER: placeholder})


def test_a_concluded_destroy_is_never_stale():
    assert not stale_at({TRIGGER: ago(hours=3), DESTROY: {**SUCCEEDED, "createdAt": ago(hours=3)}})


def test_a_destroy_that_was_dispatched_again_is_no_longer_failed():
    fields = {DESTROY: {**FAILED, "createdAt": ago(hours=2)}, TRIGGER: ago(minutes=3)}
    assert status_of(fields) is LifecycleStatus.DESTROYING
    assert not is_destroy_failed(parsed(fields))


# --- an apply after a destroy


@pytest.mark.parametrize("destroy", [FAILED, SUCCEEDED, {"runId": 3, "status": "in_progress"}])
def test_a_later_apply_supersedes_whatever_the_destroy_says(destroy):
    fields = {DESTROY: {**destroy, "createdAt": ago(hours=2)}, APPLY: {**SUCCEEDED, "createdAt": ago(hours=1)}}
    explanation = explain(parsed(fields), NOW)
    assert (explanation.status, explanation.destroy_superseded) == (LifecycleStatus.APPLIED, True)
    assert not is_destroy_failed(parsed(fields))


def test_an_apply_at_the_same_instant_supersedes_nothing():
    fields = {DESTROY: {**FAILED, "createdAt": ago(hours=1)}, APPLY: {**SUCCEEDED, "createdAt": ago(hours=1)}}
    assert explain(parsed(fields), NOW).rule == 1


@pytest.mark.parametrize("later", ["createdAt", "runStartedAt"])
def test_the_latest_of_creation_and_start_of_an_apply_counts(later):
    fields = {
        DESTROY: {**FAILED, "createdAt": ago(hours=2)},
        APPLY: {**SUCCEEDED, "createdAt": ago(hours=3), later: ago(hours=1)},
    }
    assert status_of(fields) is LifecycleStatus.APPLIED


def test_the_trigger_of_an_apply_counts_too():
    fields = {DESTROY: {**FAILED, "createdAt": ago(hours=2)}, APPLY: RUNNING, "applyTriggeredAt": ago(hours=1)}
    assert status_of(fields) is LifecycleStatus.APPLYING


@pytest.mark.parametrize("later", ["createdAt", "runStartedAt"])
def test_the_latest_of_trigger_creation_and_start_of_a_destroy_counts(later):
    fields = {
        DESTROY: {**FAILED, "createdAt": ago(hours=3), later: ago(hours=1)},
        APPLY: {**SUCCEEDED, "createdAt": ago(hours=2)},
    }
    assert status_of(fields) is LifecycleStatus.FAILED


def test_a_superseded_destroy_is_not_stale():
    fields = {TRIGGER: ago(hours=2), APPLY: {**SUCCEEDED, "createdAt": ago(hours=1)}}
    assert status_of(fields) is LifecycleStatus.APPLIED
    assert not is_destroy_stale(parsed(fields), NOW)


# --- what an operator reads beside the status


def test_an_explanation_names_the_stored_fields_it_rests_on():
    used = explain(parsed({"applyRun": {"runId": 9, "status": "completed", "conclusion": "failure"}}), NOW).facts
    assert used == (
        FactUsed("applyRun.runId", "9"),
        FactUsed("applyRun.status", "completed"),
        FactUsed("applyRun.conclusion", "failure"),
    )


def test_an_explanation_of_a_stale_destroy_names_its_trigger():
    assert FactUsed(TRIGGER, ago(minutes=20)) in explain(parsed({TRIGGER: ago(minutes=20)}), NOW).facts
    assert FactUsed(TRIGGER, "not a time") in explain(parsed({TRIGGER: "soon"}), NOW).facts


def test_an_explanation_of_a_merge_leaves_out_other_pull_requests():
    fields = {"activePrNumber": 7, **MERGED, "pr": {"number": 6, "merged": False}, "mergedSha": "5ea1"}
    assert [fact.path for fact in explain(parsed(fields), NOW).facts] == ["github.pr.merged", "mergedSha"]


def test_an_explanation_of_an_approval_names_who_approves():
    fields = {"approval": {"approved": True, "approvers": ["ada", "bob"]}}
    assert FactUsed("approval.approvers", "ada, bob") in explain(parsed(fields), NOW).facts


def test_the_same_request_is_judged_by_the_time_it_is_asked():
    request = parsed({TRIGGER: ago(minutes=10)})
    assert derive_status(request, NOW) is LifecycleStatus.DESTROYING
    assert derive_status(request, before(minutes=-10)) is LifecycleStatus.FAILED
