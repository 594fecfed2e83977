"""Failures that tools of this kind have had, each named after what an operator saw."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, stuck_planning, with_pull, with_run
from tests.core.saying import (
    FORBIDDEN,
    NOT_FOUND,
    THRESHOLDS,
    answer_pull,
    answer_reviews,
    answer_run,
    before,
    having,
    merged_pull,
)
from tests.dispatch_setup import ADMIN, applied
from tests.fakes import OUTAGE, InMemory
from tests.webhook_payloads import delivery, run_payload
from tfpilot.core.diagnosis import diagnose
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import (
    Answer,
    FactOutcome,
    FindingCode,
    GitHubFacts,
    LifecycleStatus,
    Operator,
    PullFact,
    Role,
    SyncMode,
    WorkflowKind,
)
from tfpilot.core.request import parse_request
from tfpilot.core.selection import RequestFilter, page_of
from tfpilot.errors import NotFoundError, StorageError
from tfpilot.operations.browse import list_fresh_requests, open_request
from tfpilot.operations.deliveries import receive
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.sync import sync

OPERATOR = Operator("maya-k", Role.DEVELOPER)
PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
CLEANUP, DRIFT = WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN
SUCCESS = {"runId": 102, "attempt": 1, "status": "completed", "conclusion": "success"}


def repair(memory: InMemory, facts: GitHubFacts, mode: SyncMode = SyncMode.REPAIR):
    memory.github.answers[REQUEST_ID] = facts
    return sync(memory.edges, REQUEST_ID, mode=mode, operator=OPERATOR)


def shown_status(memory: InMemory) -> LifecycleStatus:
    return open_request(memory.edges, REQUEST_ID).explanation.status


# --- repairs that did not repair


def test_stuck_planning_is_repaired_when_only_the_legacy_field_was_behind(memory):
    """The repair wrote the older place of the run, readers preferred the other one, and the status never moved."""
    memory.store(
        having({"github.workflows.plan": run(101, "queued"), "planRun": run(101, "queued")}, with_pull(request()))
    )
    repair(memory, GitHubFacts(runs={PLAN: answer_run(101)}))
    assert shown_status(memory) is LifecycleStatus.PLAN_READY
    for reader in ({"planRun": None}, {"github": {**memory.stored(REQUEST_ID)["github"], "workflows": {}}}):
        assert derive_status(parse_request({**memory.stored(REQUEST_ID), **reader}), NOW) is LifecycleStatus.PLAN_READY


def test_a_lost_merge_is_stored_where_every_reader_looks(memory):
    """The repair learned of the merge and kept it to itself: neither the merge commit nor the fact that readers prefer
    was stored, so that the next look showed the request unmerged again."""
    memory.store(with_run(with_pull(request()), "plan", **run(101)))
    repair(memory, GitHubFacts(pull=merged_pull(7, "5ea1")))
    stored = memory.stored(REQUEST_ID)
    assert stored["mergedSha"] == "5ea1"
    assert (stored["pr"]["merged"], stored["github"]["pr"]["merged"]) == (True, True)
    assert shown_status(memory) is LifecycleStatus.MERGED


def test_a_cleanup_that_succeeded_at_the_second_try_is_not_put_back_to_failed(memory):
    """A write-back of an older read restored the failed cleanup, and each repair saw a reason to clean up again."""
    failed = with_run(with_run(request(), "destroy", **run(5)), "cleanup", **run(6, conclusion="failure"))
    memory.store(failed)
    done = with_run(failed, "cleanup", **{**run(6), "attempt": 2})
    memory.bucket.interfere = lambda: memory.store({**done, "cleanupPr": {"number": 9, "merged": True}})
    repair(memory, GitHubFacts(runs={DESTROY: answer_run(5), CLEANUP: answer_run(6, conclusion="failure")}))
    stored = memory.stored(REQUEST_ID)
    assert (stored["github"]["workflows"]["cleanup"]["conclusion"], stored["cleanupPr"]["merged"]) == ("success", True)
    assert FindingCode.CLEANUP_FAILED not in {
        finding.code for finding in open_request(memory.edges, REQUEST_ID).findings
    }


def test_there_is_one_way_to_repair_and_it_always_asks(memory):
    """Two documented names of the same repair did different things. There is one mode for both, and it asks GitHub
    about a request that looks healthy, too."""
    assert list(SyncMode) == [SyncMode.AUTO, SyncMode.REPAIR]
    memory.store(having({"applyRun": SUCCESS}, with_run(with_pull(request()), "plan", **run(101))))
    result = repair(memory, GitHubFacts(pull=merged_pull()))
    assert (result.asked, result.written) == (True, True)


def test_a_fact_that_a_webhook_stored_while_github_was_asked_is_not_written_over(memory):
    """The repair read, talked to GitHub for seconds, and then wrote its old read back over what had come meanwhile."""
    memory.store(stuck_planning())

    def github_takes_its_time(query):
        memory.store(having({"approval": {"approved": True, "approvers": ["ada"]}, "version": 2}, stuck_planning()))
        return GitHubFacts(runs={PLAN: answer_run(101)})

    memory.github.answers[REQUEST_ID] = github_takes_its_time
    sync(memory.edges, REQUEST_ID, mode=SyncMode.REPAIR, operator=OPERATOR)
    stored = memory.stored(REQUEST_ID)
    assert stored["approval"] == {"approved": True, "approvers": ["ada"]}
    assert (stored["planRun"]["conclusion"], stored["version"]) == ("success", 3)


def test_a_healthy_request_that_was_never_destroyed_costs_no_call_to_github(memory):
    """ "Needs repair" was true of every applied request without a destroy: full traffic on each look."""
    memory.store(having({"applyRun": SUCCESS, "mergedSha": "5ea1"}, with_run(with_pull(request()), "plan", **run(101))))
    for _ in range(10):
        result = repair(memory, GitHubFacts(), SyncMode.AUTO)
        memory.clock.advance(hours=1)
    assert (result.asked, memory.github.queries) == (False, [])


@pytest.mark.parametrize("kind", ["plan", "apply", "destroy"])
@pytest.mark.parametrize("place", ["github.workflows.{}", "{}Run"])
def test_a_run_known_in_only_one_place_is_looked_up(memory, kind, place):
    """A run whose id stood in one of the two places only was never asked for."""
    memory.store(having({place.format(kind): run(101, "in_progress")}, with_pull(request())))
    repair(memory, GitHubFacts(runs={WorkflowKind(kind): answer_run(101)}))
    (query,) = memory.github.queries
    assert {question.kind: question.run_id for question in query.runs}[WorkflowKind(kind)] == 101
    assert memory.stored(REQUEST_ID)[f"{kind}Run"]["conclusion"] == "success"


@pytest.mark.parametrize("kind", [APPLY, DESTROY])
def test_a_run_whose_id_was_never_learned_is_looked_for(memory, kind):
    """A dispatched run without id stayed unknown for ever: repairs only refreshed ids they had."""
    trigger = {"apply": "applyTriggeredAt", "destroy": "github.destroyTriggeredAt"}[kind.value]
    memory.store(having({trigger: ago(minutes=9)}, with_pull(request())))
    repair(memory, GitHubFacts(runs={kind: answer_run(5, created_at=before(minutes=9))}))
    (question,) = [question for question in memory.github.queries[0].runs if question.kind is kind]
    assert (question.run_id, question.not_before) == (None, before(minutes=9))
    assert parse_request(memory.stored(REQUEST_ID)).runs[kind].run_id == 5


@pytest.mark.parametrize(
    ("kind", "fields"), [(CLEANUP, {"destroyRun": SUCCESS}), (DRIFT, {"applyRun": SUCCESS, "mergedSha": "5ea1"})]
)
def test_cleanup_and_drift_runs_are_looked_up_too(memory, kind, fields):
    """Nobody ever asked for cleanup and drift runs; what their webhooks lost stayed lost."""
    memory.store(having(fields, with_pull(request())))
    repair(memory, GitHubFacts(runs={kind: answer_run(9)}))
    assert kind in {question.kind for question in memory.github.queries[0].runs}
    assert parse_request(memory.stored(REQUEST_ID)).runs[kind].is_success


@pytest.mark.parametrize("refused", [NOT_FOUND, FORBIDDEN, Answer(FactOutcome.TIMEOUT, detail="slow")])
def test_one_fact_that_github_refuses_does_not_stop_the_others(memory, refused):
    """One deleted pull request, or one 403, made the whole repair fail."""
    memory.store(stuck_planning())
    facts = GitHubFacts(pull=refused, reviews=refused, cleanup_pull=refused, runs={PLAN: answer_run(101)})
    result = repair(memory, facts)
    assert (result.written, result.facts.answers()["pull"].outcome) == (True, refused.outcome)
    assert memory.stored(REQUEST_ID)["planRun"]["conclusion"] == "success"


def test_a_missing_request_and_an_unreachable_bucket_are_different_errors(memory):
    """Both were answered alike, so that an outage looked like a typing mistake and the other way round."""
    with pytest.raises(NotFoundError):
        repair(memory, GitHubFacts())
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        repair(memory, GitHubFacts())


def test_a_cleanup_merge_is_known_from_its_time_alone(memory):
    """Lists of pull requests have a merge time and no merge flag: read by the flag, no cleanup was ever merged."""
    stored = {"number": 9, "url": "https://github.com/acme/infra/pull/9", "mergedAt": ago(minutes=5)}
    memory.store(having({"destroyRun": SUCCESS, "cleanupPr": stored}, with_pull(request())))
    assert parse_request(memory.stored(REQUEST_ID)).cleanup_pull.merged is True
    fact = PullFact(number=9, url=stored["url"], open=False, merged=True, merged_at=before(minutes=5))
    repair(memory, GitHubFacts(cleanup_pull=Answer(FactOutcome.OK, fact)))
    assert memory.stored(REQUEST_ID)["cleanupPr"]["merged"] is True
    assert "Cleanup PR merged" in [step["step"] for step in memory.stored(REQUEST_ID)["timeline"]]


@pytest.mark.parametrize("state", ["CHANGES_REQUESTED", "DISMISSED"])
def test_an_approval_is_withdrawn_when_the_reviewer_takes_it_back(memory, state):
    """Once approved, a request stayed approved: later objections and dismissals were never seen."""
    memory.store(with_pull(request()))
    repair(memory, GitHubFacts(pull=answer_pull(7), reviews=answer_reviews(("ada", "APPROVED"))))
    assert shown_status(memory) is LifecycleStatus.APPROVED
    repair(memory, GitHubFacts(pull=answer_pull(7), reviews=answer_reviews(("ada", "APPROVED"), ("ada", state))))
    assert memory.stored(REQUEST_ID)["approval"]["approved"] is False
    assert shown_status(memory) is LifecycleStatus.PLANNING


def test_an_objection_after_a_hundred_and_thirty_other_reviews_counts(memory):
    """Only the first page of reviews was read, and the objection stood on a later one."""
    chatter = [("bob", "COMMENTED")] * 130
    memory.store(with_pull(request()))
    repair(memory, GitHubFacts(reviews=answer_reviews(("ada", "APPROVED"), *chatter, ("ada", "CHANGES_REQUESTED"))))
    approval = parse_request(memory.stored(REQUEST_ID)).approval
    assert (approval.approved, approval.reviews["ada"].state) == (False, "CHANGES_REQUESTED")


# --- runs that were read wrongly


@pytest.mark.parametrize("status", ["waiting", "pending", "requested"])
def test_a_destroy_that_waits_pends_or_was_just_requested_is_in_flight(memory, status):
    """These run statuses counted as not running, and the request looked applied while a destroy was under way."""
    memory.store(having({"applyRun": SUCCESS, "destroyRun": run(5, status)}))
    assert shown_status(memory) is LifecycleStatus.DESTROYING


@pytest.mark.parametrize("conclusion", ["skipped", "neutral"])
def test_a_skipped_destroy_is_said_to_have_destroyed_nothing(memory, conclusion):
    """A skipped destroy counted as nothing at all: nobody saw that it had ended, nor that it had done nothing."""
    memory.store(having({"applyRun": SUCCESS, "destroyRun": run(5, conclusion=conclusion)}))
    view = open_request(memory.edges, REQUEST_ID)
    assert view.explanation.status is LifecycleStatus.APPLIED
    assert FindingCode.NOTHING_DESTROYED in {finding.code for finding in view.findings}


def test_a_destroy_whose_time_cannot_be_read_does_not_run_for_ever(memory):
    """An unreadable time never got old, so that the destroy was "destroying" for ever."""
    memory.store(having({"applyRun": SUCCESS, "github.destroyTriggeredAt": "03/02/2026 11:00"}))
    view = open_request(memory.edges, REQUEST_ID)
    assert view.explanation.status is LifecycleStatus.FAILED
    assert FindingCode.STALE_DESTROY in {finding.code for finding in view.findings}


@pytest.mark.parametrize(
    ("kind", "code", "minutes"), [("plan", FindingCode.STUCK_PLANNING, 16), ("apply", FindingCode.STUCK_APPLYING, 61)]
)
def test_planning_and_applying_have_an_age_limit(memory, kind, code, minutes):
    """Only destroys ever got old: a request could be planning or applying for weeks and nothing said so."""
    memory.store(with_run(with_pull(request()), kind, **run(5, "in_progress", createdAt=ago(minutes=minutes))))
    view = open_request(memory.edges, REQUEST_ID)
    assert code in {finding.code for finding in view.findings}
    assert view.needs_repair
    assert repair(memory, GitHubFacts(), SyncMode.AUTO).asked


# --- many at once


def test_no_object_is_rewritten_by_everybody(memory):
    """Deliveries, events and locks of all requests shared a few objects, and whoever wrote last won. What is written
    more than once belongs to one request."""
    ids = [f"req_{letter}" for letter in "abc"]
    memory.store(*(applied(each, run_id=number) for number, each in enumerate(ids, 51)))
    for number, each in enumerate(ids, 9001):
        dispatch(memory.edges, each, DESTROY, operator=ADMIN)
        for status, conclusion in (("in_progress", None), ("completed", "failure")):
            began = {name: ago() for name in ("created_at", "run_started_at", "updated_at")}
            told = run_payload(number, "destroy", status=status, conclusion=conclusion, display_title=each, **began)
            receive(memory.edges, delivery("workflow_run", told))
        assert memory.stored(each)["destroyRun"]["conclusion"] == "failure"
    often = {key for key in memory.bucket.writes if memory.bucket.writes.count(key) > 1}
    assert {f"requests/{each}.json" for each in ids} <= often
    assert [key for key in often if sum(each in key for each in ids) != 1] == []


# --- lists


def test_the_fifty_newest_requests_are_on_the_first_page_whatever_they_are_called(memory):
    """The first fifty keys were taken in the order of their names and only then sorted by time: two of the fifty newest
    were among them, and nothing said that more existed."""
    memory.store(*(request(f"req_{n:04}", updatedAt=ago(minutes=500 - n)) for n in range(500)))
    selection = list_fresh_requests(memory.edges, RequestFilter()).selection
    first, number, pages = page_of(selection.rows, number=1, size=50)
    assert [row.id for row in first] == [f"req_{n:04}" for n in range(499, 449, -1)]
    assert (len(selection.rows), number, pages) == (500, 1, 10)


def test_an_outage_is_not_an_empty_list(memory):
    """The bucket did not answer, and the answer was an empty list with a success code."""
    memory.store(request())
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        list_fresh_requests(memory.edges, RequestFilter())


def test_one_corrupt_object_hides_no_other_and_not_itself(memory):
    """One object that was no JSON emptied the whole list."""
    memory.store(request("req_a"), request("req_c"))
    memory.bucket.write("requests/req_b.json", b"\x00\x01 not JSON")
    rows = {row.id: row for row in list_fresh_requests(memory.edges, RequestFilter()).selection.rows}
    assert rows.keys() == {"req_a", "req_b", "req_c"}
    assert "not JSON" in rows["req_b"].error


@pytest.mark.parametrize("stored_status", ["planning", "failed", "applied", "no such status"])
def test_list_and_detail_show_the_same_status_at_every_instant(memory, stored_status):
    """The list showed the stored status and the page the derived one; a stale destroy was "destroying" in one of them
    only. An unknown stored status was shown as if it were a real one."""
    memory.store(having({"status": stored_status, "github.destroyTriggeredAt": ago(minutes=10)}))
    row = list_fresh_requests(memory.edges, RequestFilter()).selection.rows[0]
    for _ in range(20):
        assert row.status_at(memory.clock()) is shown_status(memory)
        memory.clock.advance(seconds=30)
    assert row.status_at(memory.clock()) is LifecycleStatus.FAILED


# --- revisions


def test_a_new_revision_does_not_look_applied_because_the_old_one_was(memory):
    """The new pull request kept the merge and apply of the one it replaced, and looked applied at once."""
    old_run = {**SUCCESS, "createdAt": ago(hours=5)}
    old_pull = {"number": 6, "open": False, "merged": True, "mergedAt": ago(hours=6), "mergeCommitSha": "01d"}
    revised = {
        "previousPrs": [6],
        "activePrNumber": 7,
        "mergedSha": "01d",
        "pr": old_pull,
        "github.pr": old_pull,
        "planRun": old_run,
        "applyRun": old_run,
    }
    memory.store(having(revised))
    repair(memory, GitHubFacts(pull=answer_pull(7, created_at=before(hours=1))))
    assert shown_status(memory) is LifecycleStatus.PLANNING
    request_now = parse_request(memory.stored(REQUEST_ID))
    assert (request_now.merged_sha, dict(request_now.runs)) == (None, {})
    assert FindingCode.STUCK_PLANNING in {finding.code for finding in diagnose(request_now, NOW, THRESHOLDS)}


def test_the_merge_of_a_revision_counts_when_it_comes(memory):
    """A guard against the old merge must not hide the new one."""
    memory.store(having({"previousPrs": [6], "activePrNumber": 7, "mergedSha": "01d"}))
    repair(memory, GitHubFacts(pull=merged_pull(7, "0e3", created_at=NOW - timedelta(hours=1))))
    assert memory.stored(REQUEST_ID)["mergedSha"] == "0e3"
    assert shown_status(memory) is LifecycleStatus.MERGED
