"""What a repair asks and what it changes (SPEC §4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, stuck_planning, with_pull, with_run
from tests.core.saying import (
    FORBIDDEN,
    NOT_FOUND,
    RATE_LIMITED,
    TIMEOUT,
    answer_pull,
    answer_reviews,
    answer_run,
    before,
    having,
    merged_pull,
    ok,
    parsed,
    repaired,
    runs_of,
)
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import (
    ABSENT,
    Answer,
    ArchiveCopy,
    FactOutcome,
    GitHubFacts,
    LifecycleStatus,
    Review,
    RunQuestion,
    WorkflowKind,
)
from tfpilot.core.repair import (
    is_degraded,
    learned_anything,
    longest_wait,
    next_version,
    plan_query,
    plan_repair,
    unanswered,
)
from tfpilot.core.request import parse_request

PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
CLEANUP, DRIFT = WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN


def plan_for(document, facts, now=NOW, **options):
    return plan_repair(parse_request(document), facts, now, **options)


def status_after(document, facts):
    return derive_status(parse_request(repaired(document, facts)), NOW)


# --- runs


def test_a_run_is_written_to_both_places_so_that_both_applications_agree():
    after = repaired(
        stuck_planning(), runs_of(plan=answer_run(101, html_url="https://run", created_at=before(hours=1)))
    )
    expected = {"runId": 101, "attempt": 1, "status": "completed", "conclusion": "success", "createdAt": ago(hours=1)}
    for stored in (after["github"]["workflows"]["plan"], after["planRun"]):
        assert expected.items() <= stored.items()
        assert stored["htmlUrl"] == stored["url"] == "https://run"


@pytest.mark.parametrize("kind", ["cleanup", "drift_plan"])
def test_cleanup_and_drift_runs_are_written_to_their_only_place(kind):
    after = repaired(request(), runs_of(**{kind: answer_run(5)}))
    assert after["github"]["workflows"][kind]["runId"] == 5
    assert after.keys() == {*request().keys(), "github"}


def test_facts_that_disagree_are_settled_with_what_github_says():
    document = having({"github.workflows.plan": run(101, "queued"), "planRun": run(101, "in_progress")})
    after = repaired(document, runs_of(plan=answer_run(101, conclusion="failure")))
    assert after["planRun"]["conclusion"] == after["github"]["workflows"]["plan"]["conclusion"] == "failure"
    assert after["planRun"]["status"] == after["github"]["workflows"]["plan"]["status"] == "completed"


def test_the_two_places_are_brought_together_though_github_says_nothing_new():
    document = having({"github.workflows.plan": run(101), "planRun": run(99, "queued")})
    assert repaired(document, runs_of(plan=answer_run(101)))["planRun"]["runId"] == 101


def test_an_older_answer_changes_no_conclusion():
    document = with_run(request(), "plan", **run(101, conclusion="failure"))
    after = repaired(document, runs_of(plan=answer_run(101, "in_progress", updated_at=before(minutes=1))))
    assert after["github"]["workflows"]["plan"]["conclusion"] == "failure"


def test_a_re_run_with_a_higher_attempt_replaces_a_concluded_one():
    document = with_run(with_pull(request()), "plan", **run(101, conclusion="failure"))
    facts = runs_of(plan=answer_run(101, "in_progress", attempt=2))
    after = repaired(document, facts)["github"]["workflows"]["plan"]
    assert (after["attempt"], after["status"], after["conclusion"]) == (2, "in_progress", None)
    assert status_after(document, facts) is LifecycleStatus.PLANNING


def test_an_answer_about_an_earlier_attempt_is_not_taken():
    document = with_run(request(), "plan", **run(101, "in_progress") | {"attempt": 2})
    after = repaired(document, runs_of(plan=answer_run(101, conclusion="failure")))
    assert after["github"]["workflows"]["plan"]["status"] == "in_progress"


def test_a_run_that_the_request_does_not_track_is_never_taken():
    document = with_run(request(), "plan", **run(101, "in_progress"))
    assert plan_for(document, runs_of(plan=answer_run(102))).changes == ()


def test_a_crossed_run_is_left_alone_and_said():
    document = with_run(request(), "apply", **run(101, "in_progress"))
    crossed = Answer(FactOutcome.CROSSED, detail="belongs to req_other")
    plan = plan_for(document, runs_of(apply=crossed))
    assert plan.changes == ()
    assert plan.crossed == ("apply: belongs to req_other",)


def test_a_discovered_run_fills_an_intent():
    document = having({"github.applyTriggeredAt": ago(minutes=9), "applyRun": {"status": "requested"}})
    after = repaired(document, runs_of(apply=answer_run(5, created_at=before(minutes=9))))
    assert after["applyRun"]["runId"] == after["github"]["workflows"]["apply"]["runId"] == 5


@pytest.mark.parametrize(("seconds", "taken"), [(5, True), (5.001, False)])
def test_a_discovered_run_from_before_the_dispatch_is_not_taken(seconds, taken):
    document = having({"github.applyTriggeredAt": ago(minutes=9)})
    plan = plan_for(document, runs_of(apply=answer_run(5, created_at=before(minutes=9, seconds=seconds))))
    assert bool(plan.changes) is taken


def test_a_discovered_run_from_before_the_revision_is_not_taken():
    revised = {
        "previousPrs": [6],
        "activePrNumber": 7,
        "github.pr": {"number": 7, "open": True, "createdAt": ago(hours=1)},
    }
    early = runs_of(plan=answer_run(5, created_at=before(hours=2)))
    assert plan_for(having(revised), early).changes == ()
    assert plan_for(having(revised), runs_of(plan=answer_run(5, created_at=before(hours=1)))).changes != ()


def test_the_old_run_is_replaced_whole_by_the_run_of_a_later_dispatch():
    old = run(4, conclusion="failure", createdAt=ago(hours=3), runStartedAt=ago(hours=3), headSha="01d")
    document = having({"applyRun": old, "github.workflows.apply": old, "github.applyTriggeredAt": ago(minutes=9)})
    after = repaired(document, runs_of(apply=answer_run(5, "queued", created_at=before(minutes=9))))
    for stored in (after["applyRun"], after["github"]["workflows"]["apply"]):
        assert (stored["runId"], stored["conclusion"], stored["runStartedAt"], stored["headSha"]) == (
            5,
            None,
            None,
            None,
        )


def test_fields_of_a_run_that_nobody_here_knows_stay():
    document = with_run(request(), "plan", **run(101, "queued"), message="add bucket", job={"steps": [1]})
    after = repaired(document, runs_of(plan=answer_run(101)))["github"]["workflows"]["plan"]
    assert (after["message"], after["job"]) == ("add bucket", {"steps": [1]})


@pytest.mark.parametrize("answer", [FORBIDDEN, TIMEOUT, RATE_LIMITED])
def test_a_fact_that_github_did_not_tell_keeps_its_stored_value(answer):
    document = with_run(with_pull(request()), "plan", **run(101, "in_progress"))
    after = repaired(document, GitHubFacts(pull=answer, reviews=answer, cleanup_pull=answer, runs={PLAN: answer}))
    assert after == document


# --- a run that GitHub does not have


def test_a_run_that_is_gone_is_remembered_once():
    document = stuck_planning()
    facts = GitHubFacts(pull=answer_pull(), runs={PLAN: NOT_FOUND})
    after = repaired(document, facts)
    assert after["github"]["unresolved"] == {"plan": {"runId": 101, "at": ago(minutes=0)}}
    assert plan_for(after, facts, NOW + timedelta(hours=1)).changes == ()


def test_a_404_is_not_believed_while_the_repository_answers_nothing_at_all():
    facts = GitHubFacts(pull=NOT_FOUND, reviews=FORBIDDEN, runs={PLAN: NOT_FOUND})
    assert plan_for(stuck_planning(), facts).changes == ()


@pytest.mark.parametrize(
    "seen", [GitHubFacts(cleanup_pull=NOT_FOUND), GitHubFacts(pull=Answer(FactOutcome.CROSSED, detail="of req_other"))]
)
def test_a_404_is_believed_where_something_shows_that_the_repository_is_seen(seen):
    facts = replace(seen, runs={PLAN: NOT_FOUND})
    assert [change.dotted for change in plan_for(stuck_planning(), facts).changes] == ["github.unresolved.plan"]


def test_a_run_that_was_only_looked_for_is_not_remembered_as_gone():
    document = having({"github.applyTriggeredAt": ago(hours=1)})
    plan = plan_for(document, GitHubFacts(cleanup_pull=ok(None), pull=answer_pull(), runs={APPLY: NOT_FOUND}))
    assert "github.unresolved.apply" not in [change.dotted for change in plan.changes]


def test_a_run_that_answers_again_is_forgotten_as_gone():
    document = having({"github.unresolved": {"plan": {"runId": 101, "at": ago(hours=1)}, "note": 1}}, stuck_planning())
    plan = plan_for(document, runs_of(plan=answer_run(101)))
    assert [change.after for change in plan.changes if change.dotted == "github.unresolved.plan"] == [ABSENT]
    assert repaired(document, runs_of(plan=answer_run(101)))["github"]["unresolved"] == {"note": 1}


# --- the pull request


def test_a_merge_is_written_to_both_places_and_as_the_merge_commit():
    after = repaired(with_pull(request()), GitHubFacts(pull=merged_pull(7, "5ea1")))
    assert after["mergedSha"] == "5ea1"
    for stored in (after["pr"], after["github"]["pr"]):
        assert (stored["merged"], stored["open"], stored["mergeCommitSha"]) == (True, False, "5ea1")
    assert status_after(with_pull(request()), GitHubFacts(pull=merged_pull())) is LifecycleStatus.MERGED


def test_a_merge_is_never_taken_back():
    merged = repaired(with_pull(request()), GitHubFacts(pull=merged_pull(7, "5ea1")))
    after = repaired(merged, GitHubFacts(pull=answer_pull(7)))
    assert (after["github"]["pr"]["merged"], after["github"]["pr"]["open"]) == (True, False)
    assert after["mergedSha"] == "5ea1"
    assert after == merged


def test_a_pull_request_can_be_closed_and_opened_again():
    closed = repaired(with_pull(request()), GitHubFacts(pull=answer_pull(7, open=False)))
    assert closed["github"]["pr"]["open"] is closed["pr"]["open"] is False
    assert repaired(closed, GitHubFacts(pull=answer_pull(7)))["github"]["pr"]["open"] is True


def test_an_answer_about_another_pull_request_is_not_taken():
    assert plan_for(with_pull(request(), 7), GitHubFacts(pull=merged_pull(8))).changes == ()


def test_what_github_leaves_out_is_not_written_over_what_is_known():
    document = with_pull(request(), headSha="c0de", createdAt=ago(hours=2))
    after = repaired(document, GitHubFacts(pull=answer_pull(7)))
    assert (after["github"]["pr"]["headSha"], after["pr"]["headSha"]) == ("c0de", "c0de")
    assert after["github"]["pr"]["createdAt"] == ago(hours=2)


def test_a_pull_request_found_by_its_branch_gets_its_number_stored():
    after = repaired(request(), GitHubFacts(pull=answer_pull(7, head_branch=f"request/{REQUEST_ID}")))
    assert (after["prNumber"], after["prUrl"]) == (7, "https://github.com/acme/infra/pull/7")
    assert parse_request(after).pr_number == 7


def test_the_copy_for_the_screen_is_kept_in_step_where_there_is_one():
    document = {**with_pull(request()), "pullRequest": {"number": 7, "open": True, "title": "Add bucket"}}
    after = repaired(document, GitHubFacts(pull=merged_pull()))
    assert after["pullRequest"] == {"number": 7, "open": False, "merged": True, "title": "Add bucket"}
    assert "pullRequest" not in repaired(with_pull(request()), GitHubFacts(pull=merged_pull()))


def test_the_new_pull_request_of_a_revision_inherits_no_merge_from_the_old_one():
    old = {"number": 6, "open": False, "merged": True, "mergedAt": ago(hours=9), "mergeCommitSha": "01d"}
    document = having({"previousPrs": [6], "activePrNumber": 7, "pr": old, "github.pr": old, "mergedSha": "01d"})
    after = repaired(document, GitHubFacts(pull=answer_pull(7, created_at=before(hours=1))))
    assert parse_request(after).pull.is_open
    assert derive_status(parse_request(after), NOW) is LifecycleStatus.PLANNING


@pytest.mark.parametrize("place", ["github.pr", "pr", "pullRequest"])
def test_no_place_keeps_the_merge_time_of_another_pull_request(place):
    old = {"number": 6, "merged": True, "mergedAt": ago(hours=9), "createdAt": ago(days=9), "label": "kept"}
    document = having({"activePrNumber": 7, place: old})
    after = repaired(document, GitHubFacts(pull=answer_pull(7)))
    assert parse_request(after).pull.merged is False
    assert parse_request(after).stored_pulls[place].created_at is None
    assert parse_request(after).pr_number == 7


def test_a_second_cleanup_pull_request_inherits_no_merge_from_the_first():
    document = having({"cleanupPr": {"number": 8, "merged": True, "mergedAt": ago(hours=9), "status": "closed"}})
    after = parse_request(repaired(document, cleanup())).cleanup_pull
    assert (after.number, after.merged, after.open) == (9, False, True)


def test_the_age_of_the_pull_request_is_stored_for_the_next_revision():
    after = repaired(with_pull(request()), GitHubFacts(pull=answer_pull(7, created_at=before(hours=1))))
    assert after["github"]["pr"]["createdAt"] == ago(hours=1)


# --- approval


def test_reviews_are_stored_per_reviewer_and_decide():
    document = with_pull(request())
    after = repaired(
        document, GitHubFacts(pull=answer_pull(7, author="maya-k"), reviews=answer_reviews(("ada", "APPROVED")))
    )
    assert after["approval"] == {
        "reviews": {"ada": {"state": "APPROVED", "submittedAt": ago(hours=2)}},
        "approved": True,
        "approvers": ["ada"],
    }


def test_a_later_objection_withdraws_a_stored_approval():
    document = having({"approval": {"approved": True, "approvers": ["ada"]}}, with_pull(request()))
    after = repaired(document, GitHubFacts(reviews=answer_reviews(("ada", "APPROVED"), ("ada", "CHANGES_REQUESTED"))))
    assert (after["approval"]["approved"], after["approval"]["approvers"]) == (False, [])


def test_the_author_is_known_from_the_pull_request():
    facts = GitHubFacts(pull=answer_pull(7, author="Ada"), reviews=answer_reviews(("ada", "APPROVED")))
    assert "approval" not in repaired(with_pull(request()), facts)


def test_reviews_of_another_pull_request_do_not_count():
    facts = GitHubFacts(pull=answer_pull(8), reviews=answer_reviews(("ada", "APPROVED")))
    assert plan_for(with_pull(request(), 7), facts).changes == ()


def test_reviews_of_a_pull_request_that_belongs_to_another_request_do_not_count():
    crossed = Answer(FactOutcome.CROSSED, detail="belongs to req_other")
    plan = plan_for(with_pull(request(), 7), GitHubFacts(pull=crossed, reviews=answer_reviews(("ada", "APPROVED"))))
    assert plan.changes == ()
    assert plan.crossed == ("pull: belongs to req_other",)


def test_a_review_of_an_earlier_revision_does_not_count_though_the_pull_request_cannot_be_read_now():
    reviews = {"ada": {"state": "APPROVED", "submittedAt": ago(hours=2)}}
    document = having(
        {"previousPrs": [6], "approval": {"approved": False, "approvers": [], "reviews": reviews}},
        with_pull(request(), createdAt=ago(hours=1)),
    )
    assert plan_for(document, GitHubFacts(pull=TIMEOUT, reviews=ok(()))).changes == ()


def test_fields_of_the_approval_that_nobody_here_knows_stay():
    document = having({"approval": {"approved": False, "policy": {"quorum": 2}, "reviews": {"ada": {"note": "x"}}}})
    after = repaired(document, GitHubFacts(reviews=answer_reviews(("ada", "APPROVED"))))
    assert after["approval"]["policy"] == {"quorum": 2}
    assert after["approval"]["reviews"]["ada"]["note"] == "x"


def test_a_reviewer_is_stored_once_whatever_the_case_of_the_login():
    document = having({"approval.reviews": {"Ada": {"state": "APPROVED", "submittedAt": ago(hours=9)}}})
    after = repaired(document, GitHubFacts(reviews=answer_reviews(("ada", "DISMISSED"))))
    assert after["approval"]["reviews"] == {"Ada": {"state": "DISMISSED", "submittedAt": ago(hours=2)}}


def test_a_review_without_a_time_is_stored_without_one():
    after = repaired(request(), GitHubFacts(reviews=ok((Review("ada", "APPROVED"),))))
    assert after["approval"]["reviews"] == {"ada": {"state": "APPROVED"}}


# --- cleanup


def cleanup(**fields):
    return GitHubFacts(cleanup_pull=answer_pull(9, head_branch=f"cleanup/{REQUEST_ID}", **fields))


def test_the_cleanup_pull_request_is_stored_apart_from_the_requests_own():
    after = repaired(with_pull(request(), 7), cleanup(created_at=before(minutes=9)))
    assert after["cleanupPr"] == {
        "number": 9,
        "url": "https://github.com/acme/infra/pull/9",
        "merged": False,
        "headBranch": f"cleanup/{REQUEST_ID}",
        "status": "open",
    }
    assert after["github"]["pr"] == with_pull(request(), 7)["github"]["pr"]
    assert parse_request(after).pr_number == 7


def test_a_merged_cleanup_is_never_taken_back():
    merged = repaired(request(), cleanup(merged=True, merged_at=before(minutes=1)))
    assert (merged["cleanupPr"]["merged"], merged["cleanupPr"]["status"]) == (True, "closed")
    assert repaired(merged, cleanup())["cleanupPr"] == merged["cleanupPr"]


def test_the_timeline_tells_once_that_the_cleanup_was_opened_and_merged():
    opened = repaired(request(), cleanup(created_at=before(minutes=9)))
    merged = repaired(opened, cleanup(created_at=before(minutes=9), merged=True, merged_at=before(minutes=1)))
    assert [(step["step"], step["at"]) for step in merged["timeline"]] == [
        ("Cleanup PR opened", ago(minutes=9)),
        ("Cleanup PR merged", ago(minutes=1)),
    ]
    again = cleanup(created_at=before(minutes=9), merged=True, merged_at=before(minutes=1))
    assert repaired(merged, again) == merged


def test_steps_that_the_web_app_wrote_are_kept_and_not_written_again():
    own = {"step": "Cleanup PR opened", "message": "https://github.com/old/infra/pull/9", "at": "earlier", "extra": 1}
    document = having({"timeline": [{"step": "Created"}, own, "a line", {"step": ["odd"]}]})
    assert repaired(document, cleanup())["timeline"] == document["timeline"]


def test_a_second_cleanup_pull_request_gets_its_own_steps():
    first = repaired(request(), cleanup())
    second = repaired(first, GitHubFacts(cleanup_pull=answer_pull(10)))
    assert [step["message"].rpartition("/")[2] for step in second["timeline"]] == ["9", "10"]


def test_something_that_is_no_timeline_stays_as_it_is():
    assert repaired(having({"timeline": {"odd": 1}}), cleanup())["timeline"] == {"odd": 1}


def test_a_step_of_unknown_time_is_told_at_the_time_of_the_repair():
    assert repaired(request(), cleanup())["timeline"][0]["at"] == ago(minutes=0)


# --- the archived copy


DESTROYED = with_run(with_pull(request()), "destroy", **run(5, "in_progress"))


def test_a_request_that_turns_out_destroyed_gets_its_final_copy():
    plan = plan_for(DESTROYED, runs_of(destroy=answer_run(5)))
    assert (plan.status_before, plan.status_after) == (LifecycleStatus.DESTROYING, LifecycleStatus.DESTROYED)
    assert plan.steps == (ArchiveCopy(REQUEST_ID),)


def test_a_destroyed_request_whose_copy_is_older_or_missing_gets_it_too():
    done = repaired(DESTROYED, runs_of(destroy=answer_run(5)))
    facts = runs_of(destroy=answer_run(5))
    assert plan_for(done, facts, archived=None).steps == (ArchiveCopy(REQUEST_ID),)
    assert plan_for(done, facts, archived=DESTROYED).steps == (ArchiveCopy(REQUEST_ID),)
    assert plan_for(done, facts, archived=done).steps == ()


@pytest.mark.parametrize("answer", [answer_run(5, conclusion="failure"), answer_run(5, "in_progress"), NOT_FOUND])
def test_a_request_that_is_not_destroyed_gets_no_copy(answer):
    assert plan_for(DESTROYED, runs_of(destroy=answer)).steps == ()


# --- the plan as a whole


def test_a_plan_tells_where_the_request_will_stand():
    plan = plan_for(stuck_planning(), runs_of(plan=answer_run(101)))
    assert (plan.status_before, plan.status_after) == (LifecycleStatus.PLANNING, LifecycleStatus.PLAN_READY)


def test_every_change_says_what_it_was_and_why():
    for change in plan_for(stuck_planning(), runs_of(plan=answer_run(101))).changes:
        assert change.before != change.after
        assert change.source


def test_a_time_in_another_spelling_is_no_change():
    document = with_run(request(), "plan", **run(101, createdAt="2026-03-02T12:00:00+01:00", attempt=1))
    after = repaired(document, runs_of(plan=answer_run(101, created_at=before(hours=1))))
    assert after["github"]["workflows"]["plan"]["createdAt"] == "2026-03-02T12:00:00+01:00"


def test_the_next_version_counts_up_and_is_dated():
    document = {**request(), "version": 7}
    changes = plan_for(document, GitHubFacts(pull=answer_pull())).changes
    after = next_version(document, changes, NOW)
    assert (after["version"], after["updatedAt"]) == (8, ago(minutes=0))
    assert document["version"] == 7


@pytest.mark.parametrize("version", [None, "seven", -1, {}])
def test_a_document_without_a_version_becomes_the_first(version):
    assert next_version({**request(), "version": version}, (), NOW)["version"] == 1


def test_planning_changes_nothing_by_itself():
    document = stuck_planning()
    plan_for(document, runs_of(plan=answer_run(101)))
    assert document == stuck_planning()


# --- what is asked


def questions(fields):
    return {question.kind: question for question in plan_query(parsed(fields), NOW).runs}


def test_without_a_repository_nothing_can_be_asked():
    assert plan_query(parsed({"targetRepo": None}), NOW) is None


def test_the_pull_request_is_asked_by_number_and_else_by_branch():
    assert plan_query(parsed({"prNumber": 7}), NOW).pr_number == 7
    assert plan_query(parsed({"branchName": "topic"}), NOW).branch == "topic"
    assert plan_query(parsed({"branchName": None}), NOW).branch == f"request/{REQUEST_ID}"
    assert plan_query(parsed({}), NOW).cleanup_branch == f"cleanup/{REQUEST_ID}"


def test_every_request_with_a_branch_or_pull_request_is_asked_for_its_plan():
    assert questions({}).keys() == {PLAN}
    assert questions({"branchName": None}).keys() == set()
    assert questions({"branchName": None, "prNumber": 7}).keys() == {PLAN}


def test_a_known_run_is_asked_by_its_id_from_whichever_place():
    assert questions({"planRun": {"runId": 5}})[PLAN] == RunQuestion(PLAN, run_id=5, or_newer=True)
    assert questions({"github.workflows.cleanup": {"runId": 6}})[CLEANUP].run_id == 6


@pytest.mark.parametrize("kind", [APPLY, DESTROY])
def test_a_dispatched_run_without_id_is_looked_for_from_its_dispatch_on(kind):
    question = questions({f"github.{kind.value}TriggeredAt": ago(minutes=9)})[kind]
    assert (question.run_id, question.not_before, question.ask_jobs) == (None, before(minutes=9), True)


def test_a_failed_run_that_was_dispatched_again_is_looked_for_anew():
    old = run(4, conclusion="failure", createdAt=ago(hours=3))
    question = questions({"applyRun": old, "applyTriggeredAt": ago(minutes=9)})[APPLY]
    assert (question.run_id, question.not_before) == (None, before(minutes=9))


def test_the_plan_of_a_revision_is_looked_for_from_its_pull_request_on():
    revised = {"previousPrs": [6], "activePrNumber": 7, "github.pr": {"number": 7, "createdAt": ago(hours=1)}}
    assert questions(revised)[PLAN].not_before == before(hours=1)


def test_cleanup_is_asked_for_beside_a_destroy_and_drift_beside_an_apply():
    assert questions({"destroyRun": run(5)}).keys() == {PLAN, DESTROY, CLEANUP}
    assert questions({"applyRun": run(5)}).keys() == {PLAN, APPLY, DRIFT}
    assert questions({"mergedSha": "5ea1"}).keys() == {PLAN}


def test_a_destroyed_request_is_not_asked_for_drift():
    assert questions({"applyRun": run(4), "destroyRun": run(5)}).keys() == {PLAN, APPLY, DESTROY, CLEANUP}


# --- what the answers amount to


def test_a_404_teaches_something_and_a_timeout_nothing():
    assert learned_anything(GitHubFacts(pull=NOT_FOUND))
    assert not learned_anything(GitHubFacts(pull=TIMEOUT, reviews=FORBIDDEN, runs={PLAN: RATE_LIMITED}))
    assert not learned_anything(GitHubFacts())


def test_an_answer_is_degraded_when_something_that_was_asked_could_not_be_learned():
    assert not is_degraded(GitHubFacts(pull=answer_pull(), runs={PLAN: NOT_FOUND}))
    assert is_degraded(GitHubFacts(pull=answer_pull(), runs={PLAN: FORBIDDEN}))


def test_the_longest_wait_that_github_asked_for_counts():
    longer = Answer(FactOutcome.RATE_LIMITED, retry_after=timedelta(minutes=9))
    assert longest_wait(GitHubFacts(pull=RATE_LIMITED, reviews=longer)) == timedelta(minutes=9)
    assert longest_wait(GitHubFacts(pull=TIMEOUT)) is None


def test_unasked_facts_all_have_the_same_outcome():
    query = plan_query(parsed({"planRun": {"runId": 5}}), NOW)
    facts = unanswered(query, FactOutcome.RATE_LIMITED, "wait", timedelta(minutes=1))
    asked = {name for name, answer in facts.answers().items() if answer.outcome is FactOutcome.RATE_LIMITED}
    assert asked == {"pull", "reviews", "cleanup_pull", "plan"}
    assert facts.calls == 0
