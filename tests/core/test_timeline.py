"""What the timeline of a request shows, and what it leaves out."""

from __future__ import annotations

from datetime import timedelta

from tests.builders import NOW, ago, request, run, stuck_planning, with_pull, with_run
from tfpilot.core.document import parse_time
from tfpilot.core.model import (
    Answer,
    FactOutcome,
    GitHubFacts,
    LifecycleEvent,
    PullFact,
    RepoRef,
    Review,
    RunFact,
    Thresholds,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.request import parse_request
from tfpilot.core.timeline import Lane, Tone, draw_timeline

PLAN_ENDED = NOW - timedelta(minutes=57)


def drawn(document, *, events=(), facts=None):
    return draw_timeline(parse_request(document), NOW, Thresholds(), events=events, facts=facts)


def github_says(**fields):
    fact = RunFact(run_id=101, status="completed", created_at=NOW - timedelta(hours=1), **fields)
    return GitHubFacts(
        runs={WorkflowKind.PLAN: Answer(FactOutcome.OK, WorkflowRun(fact, RepoRef("acme", "infra")))},
    )


def texts(timeline, lane):
    return [moment.text for moment in timeline.moments if moment.lane is lane and moment.text]


def test_a_request_that_was_only_created_shows_that_and_no_other_lane():
    timeline = drawn(request())
    assert timeline.lanes == [Lane.REQUEST]
    assert texts(timeline, Lane.REQUEST) == ["request created · maya-k"]


def test_an_active_stored_run_is_unconfirmed_until_now():
    (span,) = drawn(stuck_planning()).spans
    assert (span.lane, span.tone, span.ended) == (Lane.PLAN, Tone.UNCONFIRMED, NOW)
    assert span.text == "stored: in progress since 11:00"


def test_what_github_knows_better_comes_first_and_the_stored_belief_after_it():
    timeline = drawn(stuck_planning(), facts=github_says(conclusion="success", updated_at=PLAN_ENDED))
    told, stored = timeline.spans
    assert (told.tone, told.ended, told.text) == (Tone.SUCCEEDED, PLAN_ENDED, "")
    assert (stored.tone, stored.began, stored.ended) == (Tone.UNCONFIRMED, PLAN_ENDED, NOW)
    assert stored.text == "stored: in progress since 11:00 · GitHub: success at 11:03"


def test_a_run_that_github_confirms_as_active_is_not_unconfirmed():
    fact = RunFact(run_id=101, status="in_progress", created_at=NOW - timedelta(hours=1))
    facts = GitHubFacts(
        runs={WorkflowKind.PLAN: Answer(FactOutcome.OK, WorkflowRun(fact, RepoRef("acme", "infra")))},
    )
    assert [span.tone for span in drawn(stuck_planning(), facts=facts).spans] == [Tone.ACTIVE]


def test_a_concluded_stored_run_ends_where_it_was_last_updated():
    document = with_run(
        request(), "apply", **run(7, conclusion="failure", createdAt=ago(minutes=50), updatedAt=ago(minutes=40))
    )
    (span,) = drawn(document).spans
    assert (span.tone, span.ended, span.text) == (Tone.FAILED, parse_time(ago(minutes=40)), "failure")


def test_a_skipped_run_ended_without_having_failed():
    document = with_run(request(), "destroy", **run(7, conclusion="skipped", createdAt=ago(minutes=5)))
    assert [span.tone for span in drawn(document).spans] == [Tone.ENDED]


def test_a_run_without_any_time_is_not_drawn_at_an_invented_one():
    assert drawn(with_run(request(), "plan", runId=7, status="queued")).spans == ()


def test_the_stuck_threshold_stands_15_minutes_after_the_plan_began():
    (threshold,) = drawn(stuck_planning()).thresholds
    assert (threshold.lane, threshold.at) == (Lane.PLAN, parse_time(ago(minutes=45)))


def test_a_destroy_in_flight_has_its_threshold_on_its_own_lane():
    document = {**request(), "github": {"destroyTriggeredAt": ago(minutes=3)}}
    assert [threshold.lane for threshold in drawn(document).thresholds] == [Lane.DESTROY]


def test_an_open_pull_request_lasts_until_now_and_a_merged_one_until_its_merge():
    opened = with_pull(request(), createdAt=ago(minutes=50))
    merged = with_pull(request(), createdAt=ago(minutes=50), open=False, merged=True, mergedAt=ago(minutes=10))
    assert drawn(opened).spans[0].ended == NOW
    assert drawn(merged).spans[0].ended == parse_time(ago(minutes=10))
    assert texts(drawn(merged), Lane.PULL) == ["#7 opened", "#7 merged"]


def test_a_merge_that_only_github_knows_is_marked_as_news():
    facts = GitHubFacts(pull=Answer(FactOutcome.OK, PullFact(number=7, open=False, merged=True, merged_at=NOW)))
    assert texts(drawn(with_pull(request()), facts=facts), Lane.PULL) == ["#7 merged · only GitHub knows"]


def test_a_review_that_is_not_stored_is_marked_as_news():
    facts = GitHubFacts(reviews=Answer(FactOutcome.OK, (Review("ines-r", "APPROVED", NOW),)))
    assert texts(drawn(request(), facts=facts), Lane.REVIEWS) == ["approved by ines-r · only GitHub knows"]


def test_stored_reviews_are_shown_without_asking_github():
    approval = {"approved": True, "reviews": {"ines-r": {"state": "approved", "submittedAt": ago(minutes=5)}}}
    assert texts(drawn(request(approval=approval)), Lane.REVIEWS) == ["approved by ines-r"]


def test_only_the_newest_things_this_portal_did_are_shown():
    events = [
        LifecycleEvent(NOW - timedelta(minutes=minute), "req_a", "request_synced", f"person-{minute}", "ops-portal")
        for minute in range(5)
    ] + [LifecycleEvent(NOW, "req_a", "plan_dispatched", "maya-k", "web-app")]
    assert texts(drawn(request(), events=events), Lane.PORTAL) == [
        "request synced · person-2",
        "request synced · person-1",
        "request synced · person-0",
    ]


def test_it_runs_until_now_only_while_something_goes_on():
    ended = with_run(request(), "plan", **run(7, createdAt=ago(minutes=50), updatedAt=ago(minutes=40)))
    assert drawn(stuck_planning()).is_running
    assert not drawn(ended).is_running
