"""What the portal learns of GitHub about one request."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.adapters.github_setup import (
    ALL_OK,
    FILES,
    OURS,
    REPO,
    SOON,
    add_run,
    github_world,
    outcomes,
    portal_on,
    query,
    request_on,
)
from tfpilot.adapters.github import TokenCredential
from tfpilot.core.model import FactOutcome, RepoRef, RunQuestion, WorkflowKind
from tfpilot.sandbox.github import Fault, FaultKind

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


@pytest.fixture
def world():
    return github_world()


@pytest.fixture
def portal(world):
    with portal_on(world) as edge:
        yield edge


def ask(portal, asked, deadline=SOON):
    return portal.facts_for(asked, deadline=deadline)


def ask_run(portal, kind=WorkflowKind.PLAN, **question):
    facts = ask(portal, query(runs=(RunQuestion(kind, **question),)))
    return facts.runs[kind]


def test_everything_about_a_request_is_learned_with_eight_calls(world, portal):
    facts = ask(portal, request_on(world))
    assert outcomes(facts) == ALL_OK
    assert facts.calls == len(world.calls) == 8
    assert facts.pull.value.head_branch == "request/req_dev_1"
    assert {kind: run.value.path for kind, run in facts.runs.items()} == {
        kind: f".github/workflows/{file}" for kind, file in FILES.items()
    }


def test_a_second_look_at_a_changed_request_sees_the_change(world, portal):
    asked = request_on(world)
    assert ask(portal, asked).pull.value.merged is False
    merged = world.merge_pull(REPO, asked.pr_number)
    pull = ask(portal, asked).pull.value
    assert (pull.open, pull.merged, pull.merge_commit_sha) == (False, True, merged.merge_commit_sha)


def test_the_trial_merge_of_an_open_pull_request_is_not_taken_for_its_merge(world, portal):
    asked = request_on(world)
    world.faults.add(Fault(FaultKind.FIELDS, path="*/pulls/1", fields={"merge_commit_sha": "f" * 40}))
    assert ask(portal, asked).pull.value.merge_commit_sha is None


def test_all_pages_of_reviews_are_read_and_states_are_upper_case(world, portal):
    asked = request_on(world)
    for number in range(250):
        world.add_review(REPO, asked.pr_number, login=f"reviewer-{number}", state="APPROVED")
    facts = ask(portal, asked)
    assert [review.login for review in facts.reviews.value] == [f"reviewer-{number}" for number in range(250)]
    assert {review.state for review in facts.reviews.value} == {"APPROVED"}
    assert facts.calls == 10


def test_a_list_of_reviews_without_end_is_given_up(world, portal):
    asked = request_on(world)
    for number in range(3001):
        world.add_review(REPO, asked.pr_number, login=f"reviewer-{number}", state="COMMENTED")
    assert outcomes(ask(portal, asked)) == ALL_OK | {"reviews": "malformed"}


def test_a_review_not_yet_submitted_and_one_of_a_deleted_account_are_kept(world, portal):
    asked = request_on(world)
    world.add_review(REPO, asked.pr_number, login="portal", state="PENDING")
    world.faults.add(Fault(FaultKind.FIELDS, path="*/reviews", fields={"*.user": None}))
    (review,) = ask(portal, asked).reviews.value
    assert (review.login, review.state, review.submitted_at) == ("ghost", "PENDING", None)


def test_a_pull_request_is_found_by_its_branch_and_then_its_reviews(world, portal):
    world.add_pull(REPO, branch="request/req_dev_1", title="first")
    world.close_pull(REPO, 1)
    newest = world.add_pull(REPO, branch="request/req_dev_1", title="second")
    world.add_pull(REPO, branch="request/req_dev_10", title="another request")
    world.add_review(REPO, newest.number, login="maya", state="APPROVED")
    facts = ask(portal, query(branch="request/req_dev_1"))
    assert facts.pull.value.number == newest.number
    assert [review.login for review in facts.reviews.value] == ["maya"]


def test_without_number_and_branch_nothing_is_asked_about_a_pull_request(portal):
    facts = ask(portal, query())
    assert (facts.pull.outcome, facts.reviews.outcome) == (FactOutcome.NOT_ASKED, FactOutcome.NOT_ASKED)


def test_a_branch_without_pull_request_is_not_found(portal):
    facts = ask(portal, query(branch="request/req_dev_1"))
    assert facts.pull.outcome is FactOutcome.NOT_FOUND
    assert facts.pull.detail == "acme/infra has no pull request of request/req_dev_1"
    assert facts.reviews.outcome is FactOutcome.NOT_ASKED


def test_an_open_cleanup_pull_request_goes_before_a_newer_closed_one(world, portal):
    world.add_pull(REPO, branch="cleanup/req_dev_1", number=5)
    world.add_pull(REPO, branch="cleanup/req_dev_1", number=6)
    world.close_pull(REPO, 6)
    assert ask(portal, query()).cleanup_pull.value.number == 5


def test_the_newest_of_several_closed_cleanup_pull_requests_counts_and_merged_is_known_from_the_list(world, portal):
    for number in (5, 6):
        world.add_pull(REPO, branch="cleanup/req_dev_1", number=number)
        world.merge_pull(REPO, number)
    found = ask(portal, query()).cleanup_pull.value
    assert (found.number, found.merged, found.open) == (6, True, False)


def test_a_list_of_other_branches_is_not_taken_for_no_cleanup_pull_request(world, portal):
    world.add_pull(REPO, branch="cleanup/req_dev_1")
    world.faults.add(Fault(FaultKind.FIELDS, path="*/pulls", fields={"*.head.ref": "feature/x"}))
    assert ask(portal, query()).cleanup_pull.outcome is FactOutcome.MALFORMED


# Whose answer it is


def test_another_pull_request_than_the_one_asked_for_is_not_believed(world, portal):
    asked = request_on(world)
    other = world.add_pull(REPO, branch="request/req_dev_2")
    path = f"/repos/{REPO}/pulls/{other.number}"
    world.faults.add(Fault(FaultKind.INSTEAD, path=f"*/pulls/{asked.pr_number}", instead=path))
    facts = ask(portal, asked)
    assert outcomes(facts) == ALL_OK | {"pull": "malformed"}
    assert facts.pull.detail == "GitHub answered with pull request 2 when asked for 1"


def test_another_run_than_the_one_asked_for_is_not_believed(world, portal):
    asked = request_on(world)
    plan, apply, *_ = asked.runs
    path = f"/repos/{REPO}/actions/runs/{apply.run_id}"
    world.faults.add(Fault(FaultKind.INSTEAD, path=f"*/runs/{plan.run_id}", instead=path))
    assert outcomes(ask(portal, asked)) == ALL_OK | {"plan": "malformed"}


def test_reviews_of_another_pull_request_are_not_believed(world, portal):
    asked = request_on(world)
    other = world.add_pull(REPO, branch="request/req_dev_2")
    world.add_review(REPO, other.number, login="maya", state="APPROVED")
    path = f"/repos/{REPO}/pulls/{other.number}/reviews"
    world.faults.add(Fault(FaultKind.INSTEAD, path=f"*/pulls/{asked.pr_number}/reviews", instead=path))
    assert outcomes(ask(portal, asked)) == ALL_OK | {"reviews": "malformed"}


def test_another_repository_without_a_redirect_is_not_believed(world, portal):
    asked = request_on(world)
    world.faults.add(Fault(FaultKind.FIELDS, path="*/pulls/1", fields={"base.repo.full_name": "evil/infra"}))
    world.faults.add(Fault(FaultKind.FIELDS, path="*/runs/*", fields={"repository.full_name": "evil/infra"}, times=5))
    facts = ask(portal, asked)
    assert outcomes(facts) == ALL_OK | {"pull": "malformed"} | dict.fromkeys(FILES, "malformed")
    assert facts.pull.detail == "GitHub answered from evil/infra when asked about acme/infra"


def test_the_repository_name_is_compared_without_case(world, portal):
    asked = replace(request_on(world), repo=RepoRef("Acme", "Infra"))
    assert outcomes(ask(portal, asked)) == ALL_OK


def test_a_run_of_another_workflow_file_is_not_believed(world, portal):
    run = add_run(world, WorkflowKind.APPLY)
    answer = ask_run(portal, WorkflowKind.DESTROY, run_id=run.id)
    assert answer.outcome is FactOutcome.MALFORMED
    assert answer.detail == f"run {run.id} is of apply.yml, and destroy runs are of destroy.yml"


def test_a_workflow_path_with_a_ref_is_of_the_same_file(world, portal):
    run = add_run(world, WorkflowKind.PLAN)
    path = ".github/workflows/plan.yml@refs/heads/main"
    world.faults.add(Fault(FaultKind.FIELDS, path="*/actions/runs/*", fields={"path": path}))
    assert ask_run(portal, run_id=run.id).value.path == path


@pytest.mark.parametrize(
    ("branch", "title"),
    [
        ("request/req_dev_2", "plan req_dev_1"),
        ("cleanup/req_dev_2", "anything"),
        ("update/req_dev_2/rev-3", "anything"),
        ("main", "apply req_dev_2"),
        ("main", "apply req_dev_1_x"),
    ],
)
def test_a_run_of_another_request_is_crossed(world, portal, branch, title):
    run = add_run(world, WorkflowKind.PLAN, branch=branch, title=title)
    answer = ask_run(portal, run_id=run.id)
    other = "req_dev_1_x" if title.endswith("_x") else "req_dev_2"
    assert (answer.outcome, answer.value, answer.detail) == (FactOutcome.CROSSED, None, f"belongs to {other}")


def test_a_pull_request_of_another_request_is_crossed(world, portal):
    pull = world.add_pull(REPO, branch="request/req_dev_2", title="req_dev_2")
    facts = ask(portal, query(pr_number=pull.number))
    assert (facts.pull.outcome, facts.pull.detail) == (FactOutcome.CROSSED, "belongs to req_dev_2")


@pytest.mark.parametrize("title", ["Merge pull request #4", "apply req_dev_2 and req_dev_1"])
def test_a_run_that_names_nobody_or_us_too_is_ours_by_its_id(world, portal, title):
    run = add_run(world, WorkflowKind.APPLY, branch="main", title=title)
    assert ask_run(portal, WorkflowKind.APPLY, run_id=run.id).value.fact.run_id == run.id


@pytest.mark.parametrize(("status", "conclusion"), [("paused", None), ("completed", "exploded")])
def test_statuses_that_nobody_knows_are_kept_as_they_are(world, portal, status, conclusion):
    run = add_run(world, WorkflowKind.PLAN)
    fields = {"status": status, "conclusion": conclusion}
    world.faults.add(Fault(FaultKind.FIELDS, path="*/actions/runs/*", fields=fields))
    fact = ask_run(portal, run_id=run.id).value.fact
    assert (fact.status, fact.conclusion) == (status, conclusion)


def test_a_re_run_is_told_by_its_attempt(world, portal):
    run = add_run(world, WorkflowKind.APPLY, conclusion="failure")
    world.rerun(run.id)
    fact = ask_run(portal, WorkflowKind.APPLY, run_id=run.id).value.fact
    assert (fact.attempt, fact.status, fact.conclusion) == (2, "queued", None)


# Runs whose id is not known


def test_the_newest_run_that_names_the_request_is_found(world, portal):
    add_run(world, WorkflowKind.APPLY, branch="main", at=NOON)
    newer = add_run(world, WorkflowKind.APPLY, branch="main", at=NOON + timedelta(minutes=1))
    for other in ("req_dev_10", "req_dev_1_x", "req_dev_2"):
        add_run(world, WorkflowKind.APPLY, other, at=NOON + timedelta(minutes=2))
    assert ask_run(portal, WorkflowKind.APPLY).value.fact.run_id == newer.id


def test_a_run_on_the_branch_of_another_request_is_not_found_by_its_title(world, portal):
    add_run(world, WorkflowKind.PLAN, branch="request/req_dev_2", title="plan req_dev_1")
    assert ask_run(portal).outcome is FactOutcome.NOT_FOUND


@pytest.mark.parametrize(("seconds_before", "outcome"), [(5, FactOutcome.OK), (6, FactOutcome.NOT_FOUND)])
def test_a_run_from_before_the_dispatch_is_not_its_run(world, portal, seconds_before, outcome):
    add_run(world, WorkflowKind.APPLY, branch="main", at=NOON - timedelta(seconds=seconds_before))
    assert ask_run(portal, WorkflowKind.APPLY, not_before=NOON).outcome is outcome


def test_only_the_newest_hundred_runs_are_looked_at_and_the_answer_says_so(world, portal):
    add_run(world, WorkflowKind.PLAN, at=NOON)
    for minute in range(100):
        add_run(world, WorkflowKind.PLAN, "req_dev_2", at=NOON + timedelta(minutes=1 + minute))
    answer = ask_run(portal)
    assert answer.outcome is FactOutcome.NOT_FOUND
    assert answer.detail == "no run names this request among the newest 100 of plan.yml"
    assert len(world.calls) == 2


def test_a_dispatched_run_is_looked_for_until_the_list_reaches_back_to_its_dispatch(world, portal):
    ours = add_run(world, WorkflowKind.APPLY, branch="main", at=NOON)
    for minute in range(230):
        add_run(world, WorkflowKind.APPLY, "req_dev_2", at=NOON + timedelta(minutes=1 + minute))
    answer = ask_run(portal, WorkflowKind.APPLY, not_before=NOON)
    assert answer.value.fact.run_id == ours.id


def test_a_dispatch_of_which_no_run_exists_is_told_so_once_the_list_reaches_back(world, portal):
    add_run(world, WorkflowKind.APPLY, "req_dev_2", at=NOON - timedelta(minutes=1))
    for minute in range(120):
        add_run(world, WorkflowKind.APPLY, "req_dev_2", at=NOON + timedelta(minutes=1 + minute))
    answer = ask_run(portal, WorkflowKind.APPLY, not_before=NOON)
    assert answer.outcome is FactOutcome.NOT_FOUND
    assert len([call for call in world.calls if call.path.endswith("/runs")]) == 2


# Runs whose place a newer one may take


@pytest.mark.parametrize("kind", [WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN])
def test_a_newer_run_of_the_request_is_told_in_place_of_the_known_one(world, portal, kind):
    known = add_run(world, kind, branch="main", at=NOON)
    newer = add_run(world, kind, branch="main", at=NOON + timedelta(minutes=1))
    add_run(world, kind, "req_dev_2", branch="main", at=NOON + timedelta(minutes=2))
    answer = ask_run(portal, kind, run_id=known.id, not_before=NOON, or_newer=True)
    assert answer.value.fact.run_id == newer.id


def test_a_newer_plan_is_the_requests_where_it_ran_on_its_branch(world, portal):
    known = add_run(world, WorkflowKind.PLAN, at=NOON)
    newer = add_run(world, WorkflowKind.PLAN, at=NOON + timedelta(minutes=1), title="Fix the bucket's name")
    add_run(world, WorkflowKind.PLAN, branch="cleanup/req_dev_1", at=NOON + timedelta(minutes=2))
    question = RunQuestion(WorkflowKind.PLAN, known.id, not_before=NOON, or_newer=True)
    facts = ask(portal, query(branch="request/req_dev_1", runs=(question,)))
    assert facts.runs[WorkflowKind.PLAN].value.fact.run_id == newer.id


def test_without_a_newer_one_the_known_run_is_told_from_the_list(world, portal):
    known = add_run(world, WorkflowKind.PLAN, at=NOON)
    answer = ask_run(portal, run_id=known.id, not_before=NOON, or_newer=True)
    assert answer.value.fact.run_id == known.id
    assert not [call for call in world.calls if "/actions/runs/" in call.path]


def test_a_known_run_that_is_too_old_for_the_list_is_asked_by_its_id(world, portal):
    known = add_run(world, WorkflowKind.PLAN, at=NOON)
    for minute in range(100):
        add_run(world, WorkflowKind.PLAN, "req_dev_2", at=NOON + timedelta(minutes=1 + minute))
    answer = ask_run(portal, run_id=known.id, not_before=NOON, or_newer=True)
    assert answer.value.fact.run_id == known.id


# Whether a job had started


@pytest.mark.parametrize("conclusion", ["cancelled", "timed_out"])
@pytest.mark.parametrize(
    ("jobs", "started"),
    [
        ([], False),
        ([{"conclusion": "cancelled", "is_started": False}], False),
        ([{"conclusion": "skipped", "is_started": False}, {"status": "queued"}], False),
        ([{"conclusion": "cancelled", "is_started": False}, {"conclusion": "cancelled"}], True),
        ([{"status": "in_progress"}], True),
        ([{"conclusion": "success"}], True),
    ],
)
def test_a_broken_off_run_tells_whether_a_job_had_started(world, portal, conclusion, jobs, started):
    run = add_run(world, WorkflowKind.APPLY, conclusion=conclusion)
    for job in jobs:
        world.add_job(run.id, **job)
    asked = query(runs=(RunQuestion(WorkflowKind.APPLY, run.id, ask_jobs=True),))
    told = ask(portal, asked).jobs[WorkflowKind.APPLY]
    assert (told.outcome, told.value.run_id, told.value.attempt, told.value.started) == ("ok", run.id, 1, started)


def test_jobs_of_an_earlier_attempt_do_not_count(world, portal):
    run = add_run(world, WorkflowKind.DESTROY, conclusion="failure")
    world.add_job(run.id, conclusion="failure")
    world.rerun(run.id)
    world.update_run(run.id, conclusion="cancelled")
    asked = query(runs=(RunQuestion(WorkflowKind.DESTROY, run.id, ask_jobs=True),))
    told = ask(portal, asked).jobs[WorkflowKind.DESTROY].value
    assert (told.attempt, told.started) == (2, False)


def test_jobs_are_asked_only_where_the_conclusion_leaves_it_open(world, portal):
    run = add_run(world, WorkflowKind.APPLY, conclusion="failure")
    facts = ask(portal, query(runs=(RunQuestion(WorkflowKind.APPLY, run.id, ask_jobs=True),)))
    assert facts.jobs[WorkflowKind.APPLY].outcome is FactOutcome.NOT_ASKED
    assert facts.calls == 2


def test_jobs_that_cannot_be_learned_leave_the_run_known(world, portal):
    run = add_run(world, WorkflowKind.APPLY, conclusion="cancelled")
    world.faults.add(Fault(FaultKind.STATUS, path="*/jobs", status=403))
    facts = ask(portal, query(runs=(RunQuestion(WorkflowKind.APPLY, run.id, ask_jobs=True),)))
    assert facts.runs[WorkflowKind.APPLY].value.fact.conclusion == "cancelled"
    assert facts.jobs[WorkflowKind.APPLY].outcome is FactOutcome.FORBIDDEN


# One fact fails, the others count


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault(FaultKind.STATUS, status=404), "not found"),
        (Fault(FaultKind.STATUS, status=401), "unauthorized"),
        (Fault(FaultKind.STATUS, status=403), "forbidden"),
        (Fault(FaultKind.STATUS, status=422), "failed"),
        (Fault(FaultKind.PRIMARY_LIMIT), "rate limited"),
        (Fault(FaultKind.SECONDARY_LIMIT), "rate limited"),
        (Fault(FaultKind.SECONDARY_LIMIT, retry_after_s=None), "rate limited"),
        (Fault(FaultKind.SECONDARY_LIMIT, status=429), "rate limited"),
        (Fault(FaultKind.SECONDARY_LIMIT, status=429, retry_after_s=None), "rate limited"),
        (Fault(FaultKind.HTML), "malformed"),
        (Fault(FaultKind.HTML, status=404), "malformed"),
        (Fault(FaultKind.EMPTY), "malformed"),
        (Fault(FaultKind.TRUNCATED), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"number": None}), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"number": True}), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"head": None}), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"base": []}), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"state": "ajar"}), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"merged_at": "yesterday"}), "malformed"),
        (Fault(FaultKind.FIELDS, fields={"title": 7}), "malformed"),
    ],
    ids=lambda told: f"{told.kind}-{told.status}-{dict(told.fields)}" if isinstance(told, Fault) else told,
)
def test_a_fact_that_fails_is_named_and_the_others_count(world, portal, fault, outcome):
    asked = request_on(world)
    world.faults.add(replace(fault, path="*/pulls/1"))
    assert outcomes(ask(portal, asked)) == ALL_OK | {"pull": outcome}


@pytest.mark.usefixtures("hasty_retries")
def test_a_server_that_fails_or_hangs_up_is_unreachable_and_every_retry_is_counted(world, portal):
    asked = request_on(world)
    plan, *_ = asked.runs
    world.faults.add(Fault(FaultKind.STATUS, path="*/pulls/1", status=502))
    world.faults.add(Fault(FaultKind.DISCONNECT, path=f"*/runs/{plan.run_id}"))
    facts = ask(portal, asked)
    assert outcomes(facts) == ALL_OK | {"pull": "unreachable", "plan": "unreachable"}
    assert facts.calls == len(world.calls) == 14


def test_a_short_failure_of_github_heals_by_itself(world, portal):
    asked = request_on(world)
    world.faults.add(Fault(FaultKind.STATUS, path="*/pulls/1", status=502, times=1))
    facts = ask(portal, asked)
    assert outcomes(facts) == ALL_OK
    assert facts.calls == 9


def test_how_long_github_asks_to_wait_is_told(world, portal):
    asked = request_on(world)
    world.faults.add(Fault(FaultKind.SECONDARY_LIMIT, path="*/pulls/1", retry_after_s=90))
    world.faults.add(Fault(FaultKind.PRIMARY_LIMIT, path="*/reviews", retry_after_s=300))
    world.faults.add(Fault(FaultKind.SECONDARY_LIMIT, path="*/pulls", status=429, retry_after_s=None))
    facts = ask(portal, asked)
    assert facts.pull.retry_after == timedelta(seconds=90)
    assert timedelta(seconds=299) <= facts.reviews.retry_after <= timedelta(seconds=302)
    assert facts.cleanup_pull.retry_after == timedelta(seconds=60)


def test_one_fact_that_hangs_ends_at_the_deadline_and_the_others_are_kept(world, portal):
    asked = request_on(world)
    world.faults.add(Fault(FaultKind.HANG, path="*/pulls/1"))
    facts = ask(portal, asked, deadline=timedelta(seconds=2))
    assert outcomes(facts) == ALL_OK | {"pull": "timeout"}


def test_a_github_that_never_answers_leaves_every_fact_a_timeout(world, portal):
    asked = request_on(world)
    world.faults.add(Fault(FaultKind.HANG))
    facts = ask(portal, asked, deadline=timedelta(milliseconds=300))
    assert set(outcomes(facts).values()) == {"timeout"}


def test_after_the_deadline_nothing_more_is_asked(world, portal):
    facts = ask(portal, request_on(world), deadline=timedelta(0))
    assert set(outcomes(facts).values()) == {"timeout"}
    assert facts.calls == len(world.calls) == 0


def test_many_hanging_requests_do_not_keep_the_next_ones_waiting(world, portal):
    asked = request_on(world)
    world.faults.add(Fault(FaultKind.HANG, path="*"))
    with ThreadPoolExecutor(8) as callers:
        hanging = list(callers.map(lambda _: ask(portal, asked, timedelta(milliseconds=300)), range(8)))
    assert all(set(outcomes(facts).values()) == {"timeout"} for facts in hanging)
    world.faults.clear()
    assert outcomes(ask(portal, asked)) == ALL_OK


# What "not found" means


def test_a_deleted_pull_request_is_not_found_and_the_rest_counts(world, portal):
    asked = replace(request_on(world), pr_number=99)
    assert outcomes(ask(portal, asked)) == ALL_OK | {"pull": "not found", "reviews": "not found"}


def test_a_repository_that_the_token_cannot_see_is_forbidden_not_an_empty_one(world, portal):
    asked = replace(request_on(world), repo=RepoRef("acme", "secret"))
    assert set(outcomes(ask(portal, asked)).values()) == {"forbidden"}


def test_a_404_counts_only_where_something_shows_that_the_repository_is_seen(world, portal):
    asked = query(pr_number=99)
    world.faults.add(Fault(FaultKind.SECONDARY_LIMIT, path="*/pulls"))
    assert ask(portal, asked).pull.outcome is FactOutcome.FORBIDDEN


def test_a_wrong_token_is_unauthorized_everywhere(world):
    asked = request_on(world)
    with portal_on(world, TokenCredential("ghp_wrong")) as portal:
        facts = ask(portal, asked)
    assert set(outcomes(facts).values()) == {"unauthorized"}
    assert all("ghp_wrong" not in answer.detail for answer in facts.answers().values())


@pytest.mark.parametrize("owner", ["..", "acme/infra", "acme?x=", "", "acme%2f"])
def test_a_name_that_no_repository_can_have_is_never_sent(world, portal, owner):
    facts = ask(portal, replace(request_on(world), repo=RepoRef(owner, "infra")))
    assert set(outcomes(facts).values()) == {"malformed"}
    assert world.calls == ()


# A renamed repository


def test_a_renamed_repository_counts_as_the_same_and_its_new_name_is_told(world, portal):
    asked = request_on(world)
    world.add_pull(REPO, branch=f"cleanup/{OURS}")
    world.rename_repo(REPO, to="acme/platform")
    facts = ask(portal, asked)
    assert outcomes(facts) == ALL_OK | {"cleanup_pull": "ok"}
    assert facts.pull.detail == facts.cleanup_pull.detail == facts.runs[WorkflowKind.PLAN].detail == "now acme/platform"
    assert facts.runs[WorkflowKind.PLAN].value.repo == RepoRef("acme", "platform")
    assert 9 <= facts.calls == len(world.calls) <= 16


def test_where_a_renamed_repository_is_now_is_asked_only_once(world, portal):
    asked = request_on(world)
    world.rename_repo(REPO, to="acme/platform")
    ask(portal, asked)
    facts = ask(portal, asked)
    assert outcomes(facts) == ALL_OK
    assert facts.pull.detail == "now acme/platform"
    assert facts.calls == 8


def test_a_cleanup_pull_request_is_found_after_the_repository_moved_to_another_owner(world, portal):
    pull = world.add_pull(REPO, branch=f"cleanup/{OURS}")
    world.merge_pull(REPO, pull.number)
    world.rename_repo(REPO, to="newco/infra")
    assert ask(portal, query()).cleanup_pull.value.merged is True


# Many at once


def test_32_threads_never_get_each_other_s_pull_request(world, portal):
    asked = [replace(request_on(world, f"req_dev_{number}"), runs=()) for number in range(32)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(32) as callers:
            learned = list(callers.map(lambda one: ask(portal, one, timedelta(seconds=60)), asked * 3))
    finally:
        sys.setswitchinterval(before)
    assert [facts.pull.value.number for facts in learned] == [one.pr_number for one in asked] * 3
    assert {facts.calls for facts in learned} == {3}


def test_the_budget_is_the_last_one_seen_by_any_thread(world, portal):
    assert portal.budget() is None
    ask(portal, request_on(world))
    remaining, limit = portal.budget()
    assert limit == 5000
    assert 4992 <= remaining <= 4999


def test_who_we_are_is_told_with_github_s_own_time(world, portal):
    told = portal.whoami(deadline=SOON)
    assert (told.login, told.quota) == ("portal", (4999, 5000))
    assert told.at.tzinfo is not None
