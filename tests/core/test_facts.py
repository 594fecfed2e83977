"""How the two places of a run fact and of a pull request become one (SPEC §1)."""

from __future__ import annotations

import pytest

from tests.builders import ago
from tests.core.saying import before, having, parsed
from tfpilot.core.model import PullFact, RunFact, WorkflowKind
from tfpilot.core.request import parse_request

PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY


def plan_of(canonical, legacy, **fields):
    return parsed({"github.workflows.plan": canonical, "planRun": legacy, **fields}).runs.get(PLAN)


@pytest.mark.parametrize("nothing", [None, "", {}, {"runId": None, "status": "", "conclusion": None}])
def test_an_empty_place_is_no_fact_and_the_other_place_counts(nothing):
    known = {"runId": 5, "status": "queued"}
    assert plan_of(nothing, known) == RunFact(run_id=5, status="queued")
    assert plan_of(known, nothing) == RunFact(run_id=5, status="queued")
    assert plan_of(nothing, nothing) is None


@pytest.mark.parametrize("kind", ["plan", "apply", "destroy"])
def test_each_kind_is_read_from_its_legacy_place_when_only_that_is_there(kind):
    assert parsed({f"{kind}Run": {"runId": 5}}).runs == {WorkflowKind(kind): RunFact(run_id=5)}


@pytest.mark.parametrize("kind", ["cleanup", "drift_plan"])
def test_cleanup_and_drift_runs_have_only_the_canonical_place(kind):
    assert parsed({f"github.workflows.{kind}": {"runId": 5}}).runs == {WorkflowKind(kind): RunFact(run_id=5)}
    assert parsed({f"{kind}Run": {"runId": 5}}).runs == {}


def test_with_different_run_ids_the_canonical_place_wins_whatever_the_other_says():
    legacy = {"runId": 6, "attempt": 9, "status": "completed", "conclusion": "success", "updatedAt": ago(minutes=1)}
    assert plan_of({"runId": 5, "status": "queued"}, legacy) == RunFact(run_id=5, status="queued")


def test_with_one_run_id_the_higher_attempt_wins_over_a_conclusion_and_a_later_time():
    legacy = {"runId": 5, "attempt": 2, "status": "in_progress", "updatedAt": ago(hours=2)}
    canonical = {"runId": 5, "status": "completed", "conclusion": "failure", "updatedAt": ago(hours=1)}
    fact = plan_of(canonical, legacy)
    assert (fact.attempt, fact.status, fact.conclusion) == (2, "in_progress", None)


def test_a_missing_attempt_counts_as_the_first():
    canonical = {"runId": 5, "attempt": 1, "status": "in_progress"}
    fact = plan_of(canonical, {"runId": 5, "status": "completed", "conclusion": "success"})
    assert fact.conclusion == "success"


def test_with_one_attempt_a_conclusion_wins_over_none_though_it_was_updated_earlier():
    canonical = {"runId": 5, "status": "queued", "updatedAt": ago(minutes=1)}
    legacy = {"runId": 5, "status": "completed", "conclusion": "failure", "updatedAt": ago(hours=1)}
    assert plan_of(canonical, legacy).conclusion == "failure"


def test_with_two_conclusions_the_later_update_wins():
    older = {"runId": 5, "status": "completed", "conclusion": "failure", "updatedAt": ago(minutes=2)}
    newer = {"runId": 5, "status": "completed", "conclusion": "success", "updatedAt": ago(minutes=1)}
    assert plan_of(older, newer).conclusion == "success"
    assert plan_of(newer, older).conclusion == "success"


def test_a_missing_update_time_is_the_oldest():
    timeless = {"runId": 5, "status": "queued"}
    assert plan_of(timeless, {"runId": 5, "status": "in_progress", "updatedAt": ago(days=900)}).status == "in_progress"


def test_with_everything_equal_the_canonical_place_wins():
    both = {"runId": 5, "updatedAt": ago(minutes=1)}
    assert plan_of({**both, "status": "queued"}, {**both, "status": "in_progress"}).status == "queued"


def test_descriptive_fields_are_filled_from_the_other_place():
    canonical = {"runId": 5, "status": "completed", "conclusion": "success"}
    described = {"headSha": "c0de", "createdAt": ago(hours=1), "url": "https://a", "htmlUrl": "https://b"}
    fact = plan_of(canonical, {"runId": 5, "status": "queued", **described})
    assert (fact.head_sha, fact.created_at, fact.url, fact.html_url) == (
        "c0de",
        before(hours=1),
        "https://a",
        "https://b",
    )


def test_status_conclusion_and_update_time_are_never_filled_from_the_other_place():
    canonical = {"runId": 5, "attempt": 2, "headSha": "c0de"}
    fact = plan_of(canonical, {"runId": 5, "status": "completed", "conclusion": "success", "updatedAt": ago(hours=1)})
    assert (fact.status, fact.conclusion, fact.updated_at) == (None, None, None)


def test_a_fact_with_and_one_without_id_are_one():
    fact = plan_of({"status": "requested"}, {"runId": 5, "status": "completed", "conclusion": "success"})
    assert (fact.run_id, fact.conclusion) == (5, "success")


# --- a later trigger starts a newer attempt


def apply_of(run, triggered_at, **fields):
    trigger = {"github.applyTriggeredAt": triggered_at}
    return parsed({"github.workflows.apply": run, **trigger, **fields}).runs[APPLY]


CREATED = "2026-03-02T10:00:00.000Z"
CONCLUDED = {"runId": 5, "status": "completed", "conclusion": "failure", "createdAt": CREATED}


@pytest.mark.parametrize("triggered_at", ["2026-03-02T09:00:00.000Z", "2026-03-02T10:00:05.000Z"])
def test_a_trigger_up_to_five_seconds_after_a_concluded_run_belongs_to_it(triggered_at):
    assert apply_of(CONCLUDED, triggered_at).run_id == 5


@pytest.mark.parametrize("intent", [None, {"status": "requested"}])
def test_a_trigger_more_than_five_seconds_after_a_concluded_run_starts_an_attempt_without_id(intent):
    fact = apply_of(CONCLUDED, "2026-03-02T10:00:05.001Z", applyRun=intent)
    assert (fact.run_id, fact.status, fact.conclusion) == (None, "requested", None)


def test_the_stored_intent_is_the_newer_attempt_where_there_is_one():
    intent = {"status": "queued", "createdAt": "2026-03-02T10:09:00.000Z"}
    fact = apply_of(CONCLUDED, "2026-03-02T10:10:00.000Z", applyRun=intent)
    assert (fact.status, fact.created_at) == ("queued", before(hours=1, minutes=51))


def test_without_a_creation_time_the_update_time_of_the_concluded_run_counts():
    run = {"runId": 5, "status": "completed", "conclusion": "failure", "updatedAt": CREATED}
    assert apply_of(run, "2026-03-02T10:00:05.000Z").run_id == 5
    assert apply_of(run, "2026-03-02T10:00:05.001Z").run_id is None


def test_the_creation_time_counts_before_the_update_time():
    run = {**CONCLUDED, "updatedAt": "2026-03-02T11:00:00.000Z"}
    assert apply_of(run, "2026-03-02T10:30:00.000Z").run_id is None


def test_without_any_time_of_the_run_a_trigger_starts_nothing():
    assert apply_of({"runId": 5, "status": "completed", "conclusion": "failure"}, CREATED).run_id == 5


def test_a_run_that_is_not_over_is_not_followed_by_a_newer_attempt():
    run = {"runId": 5, "status": "in_progress", "createdAt": CREATED}
    assert apply_of(run, "2026-03-02T11:00:00.000Z").run_id == 5


def test_the_later_of_both_trigger_places_counts():
    fact = apply_of(CONCLUDED, "2026-03-02T09:59:00.000Z", applyTriggeredAt="2026-03-02T10:01:00.000Z")
    assert fact.run_id is None


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_an_empty_trigger_is_none_and_not_an_unreadable_one(nothing):
    request = parsed({"github.destroyTriggeredAt": nothing, "github.applyTriggeredAt": nothing})
    assert request.triggers == {}


@pytest.mark.parametrize("garbage", ["yesterday", 1772445600, [], "2026-03-02", "2026-03-02T10:00:00"])
def test_a_trigger_that_is_no_time_is_there_and_not_readable(garbage):
    assert parsed({"github.destroyTriggeredAt": garbage}).triggers[DESTROY].at is None


def test_a_readable_trigger_beats_an_unreadable_one():
    request = parsed({"github.applyTriggeredAt": "soon", "applyTriggeredAt": CREATED})
    assert (request.triggers[APPLY].path, request.triggers[APPLY].at) == ("applyTriggeredAt", before(hours=2))


# --- pull requests


def test_a_merged_place_beats_one_that_is_not_and_was_updated_later():
    fields = {
        "github.pr": {"number": 7, "open": True, "merged": False, "updatedAt": ago(minutes=1)},
        "pr": {"number": 7, "merged": True, "open": False, "mergeCommitSha": "5ea1", "updatedAt": ago(hours=1)},
    }
    request = parsed(fields)
    assert (request.pull.merged, request.pull.open, request.pull.merge_commit_sha) == (True, False, "5ea1")


def test_a_merge_time_is_a_merge_though_the_flag_is_missing():
    assert parsed({"prNumber": 7, "pr": {"mergedAt": ago(hours=1)}}).pull.merged is True


def test_a_pull_request_with_another_number_is_skipped():
    fields = {"activePrNumber": 8, "pr": {"number": 7, "merged": True}, "github.pr": {"number": 8, "open": True}}
    request = parsed(fields)
    assert (request.pull.number, request.pull.is_open, request.pull.merged) == (8, True, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"activePrNumber": 1, "github.pr.number": 2, "pr.number": 3, "prNumber": 4, "prUrl": "https://x/pull/5"},
        {"github.pr.number": 1, "pr.number": 2, "prNumber": 3, "prUrl": "https://x/pull/4"},
        {"pr.number": 1, "prNumber": 2, "prUrl": "https://x/pull/3"},
        {"prNumber": 1, "prUrl": "https://x/pull/2"},
        {"prUrl": "https://x/pull/1"},
        {"prUrl": "https://x/pull/1/files?w=1"},
        {"activePrNumber": "9", "github.pr.number": 0, "pr.number": True, "prNumber": -4, "prUrl": "https://x/pull/1"},
    ],
)
def test_the_pull_request_number_comes_from_the_first_place_that_holds_one(fields):
    assert parsed(fields).pr_number == 1


@pytest.mark.parametrize("url", ["https://x/pull/", "https://x/pulls/1", "https://x/pull/1x", 7, "/pull/" * 200_000])
def test_a_link_without_a_number_names_no_pull_request(url):
    assert parsed({"prUrl": url}).pr_number is None


# --- revisions: a pull request that replaced earlier ones

REVISED = {"previousPrs": [6], "activePrNumber": 7, "github.pr": {"number": 7, "open": True, "createdAt": CREATED}}
EARLIER, SAME_TIME = "2026-03-02T09:59:59.999Z", CREATED


def test_after_a_revision_a_merge_commit_counts_only_with_a_merged_pull_request():
    assert parsed({**REVISED, "mergedSha": "5ea1"}).merged_sha is None
    assert parsed({**REVISED, "mergedSha": "5ea1", "github.pr.merged": True}).merged_sha == "5ea1"


@pytest.mark.parametrize("previous", [None, [], "6"])
def test_without_an_earlier_pull_request_the_merge_commit_counts_by_itself(previous):
    assert parsed({**REVISED, "previousPrs": previous, "mergedSha": "5ea1"}).merged_sha == "5ea1"


@pytest.mark.parametrize("kind", [PLAN, APPLY])
def test_after_a_revision_an_earlier_plan_or_apply_does_not_count(kind):
    path = f"github.workflows.{kind.value}"
    run = {"runId": 5, "status": "completed", "conclusion": "success"}
    assert kind not in parsed({**REVISED, path: {**run, "createdAt": EARLIER}}).runs
    assert kind in parsed({**REVISED, path: {**run, "createdAt": SAME_TIME}}).runs


def test_after_a_revision_a_run_of_unknown_age_counts():
    assert APPLY in parsed({**REVISED, "applyRun": {"runId": 5}}).runs


def test_while_the_age_of_the_pull_request_is_unknown_every_run_counts():
    fields = {**REVISED, "github.pr": {"number": 7, "open": True}, "applyRun": {"runId": 5, "createdAt": EARLIER}}
    assert APPLY in parsed(fields).runs


def test_after_a_revision_an_earlier_destroy_still_counts():
    assert DESTROY in parsed({**REVISED, "destroyRun": {"runId": 5, "createdAt": EARLIER}}).runs


def test_an_apply_that_was_tried_again_before_the_revision_does_not_count_as_running():
    run = {"runId": 5, "status": "completed", "conclusion": "failure", "createdAt": "2026-03-02T09:00:00.000Z"}
    fields = {**REVISED, "applyRun": run, "github.applyTriggeredAt": "2026-03-02T09:30:00.000Z"}
    request = parsed(fields)
    assert APPLY not in request.runs
    assert APPLY not in request.triggers


def test_every_known_field_of_a_run_is_read():
    stored = {
        "runId": 5,
        "attempt": 3,
        "status": "completed",
        "conclusion": "cancelled",
        "headSha": "c0de",
        "createdAt": ago(minutes=3),
        "runStartedAt": ago(minutes=2),
        "updatedAt": ago(minutes=1),
        "url": "https://a",
        "htmlUrl": "https://b",
    }
    times = (before(minutes=3), before(minutes=2), before(minutes=1))
    expected = RunFact(5, 3, "completed", "cancelled", "c0de", *times, "https://a", "https://b")
    assert parsed({"github.workflows.drift_plan": stored}).runs[WorkflowKind.DRIFT_PLAN] == expected


@pytest.mark.parametrize("strange", ["5", True, -1, 0, 2**63, 1.5, [5]])
def test_what_is_no_run_id_reads_as_none(strange):
    assert parsed({"planRun": {"runId": strange, "status": "queued"}}).runs[PLAN].run_id is None


def test_a_run_id_that_javascript_wrote_as_a_float_is_that_number():
    assert parsed({"planRun": {"runId": 7310000101.0}}).runs[PLAN].run_id == 7310000101


def test_an_unknown_status_is_kept_as_it_is():
    assert plan_of({"runId": 5, "status": "meditating"}, None).status == "meditating"


def test_only_a_true_flag_approves():
    for value in ("true", 1, None, {"yes": True}):
        assert parsed({"approval": {"approved": value}}).approval.approved is False
    assert parsed({"approval": {"approved": True, "approvers": ["ada", 3, ""]}}).approval.approvers == ("ada",)


def test_the_state_of_a_pull_request_is_read_where_the_flag_is_missing():
    assert parsed({"prNumber": 7, "pr": {"state": "closed"}}).pull == PullFact(open=False)
    assert parsed({"prNumber": 7, "pr": {"status": "open"}}).pull == PullFact(open=True)
    assert parsed({"prNumber": 7, "pr": {"status": "pending"}}).pull is None


def test_a_request_of_wrong_types_reads_as_an_empty_one():
    request = parse_request({name: [1] for name in having({"github": {}, "approval": {}, "lock": {}, "pr": {}})})
    assert (request.id, request.version, request.repo, request.runs, request.pull) == ("", 0, None, {}, None)
