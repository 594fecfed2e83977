"""Who may be dispatched, what GitHub is asked, and which run a dispatch became."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.dispatch_setup import (
    LOGIN,
    applied,
    destroyed,
    destroying,
    merged,
    planned,
    seen,
    triggered,
)
from tfpilot.core.dispatch import Choice, RunChoice, check_destroy_is_over, choose_run, eligibility, order_for
from tfpilot.core.model import RunFact, RunListing, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.errors import RefusedError

PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
CLEANUP, DRIFT = WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN
FILES = {kind: f"{kind.value.replace('_', '-')}.yml" for kind in WorkflowKind}
OTHER = "req_dev_other"


def refusal(document: dict[str, Any], kind: WorkflowKind) -> str | None:
    return eligibility(parse_request(document), kind, NOW).refusal


def with_cleanup_pull(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**document, "cleanupPr": {"number": 9, "status": "open", "merged": False, **fields}}


def reapplied(**destroy: Any) -> dict[str, Any]:
    """Applied again after a destroy."""
    document = with_run(destroyed(), "destroy", **{**run(6, createdAt=ago(minutes=20)), **destroy})
    return with_run(document, "apply", **run(7, createdAt=ago(minutes=10)))


# Who may be dispatched


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (PLAN, planned()),
        (PLAN, with_pull(request())),
        (PLAN, with_run(with_pull(request()), "plan", **run(1, conclusion="failure", createdAt=ago(hours=1)))),
        (APPLY, merged()),
        (APPLY, {**request(), "mergedSha": "c0ffee"}),
        (APPLY, applied(conclusion="failure")),
        (APPLY, applied(conclusion="cancelled")),
        (APPLY, destroyed()),
        (APPLY, destroyed(conclusion="failure")),
        (APPLY, with_cleanup_pull(destroyed())),
        (DESTROY, applied()),
        (DESTROY, with_run(applied(), "plan", **run(1, conclusion="failure"))),
        (DESTROY, with_run(applied(), "plan", **run(1, "in_progress", createdAt=ago(hours=1)))),
        (DESTROY, applied(conclusion="failure")),
        (DESTROY, applied(conclusion="timed_out")),
        (DESTROY, reapplied()),
        (CLEANUP, destroyed()),
        (CLEANUP, with_cleanup_pull(destroyed())),
        (DRIFT, applied()),
        (DRIFT, reapplied()),
    ],
)
def test_a_workflow_whose_time_has_come_may_be_dispatched(kind, document):
    fit = eligibility(parse_request(document), kind, NOW)
    assert (fit.refusal, fit.asks_github, fit.lacks_run) == (None, False, False)


@pytest.mark.parametrize(
    ("kind", "document", "why"),
    [
        (PLAN, request(targetRepo=None), "no target repository is known"),
        (PLAN, request(), "the PR is not open"),
        (PLAN, with_pull(request(), open=False), "the PR is not open"),
        (PLAN, merged(), "the PR is not open"),
        (PLAN, with_pull(request(branchName=None)), "no branch is stored"),
        (PLAN, with_run(with_pull(request()), "plan", **run(1, "in_progress")), "a plan run is not over"),
        (APPLY, planned(), "the PR is not merged"),
        (APPLY, with_pull(request(), open=False), "the PR is not merged"),
        (APPLY, applied(), "the request is applied already"),
        (APPLY, with_run(merged(), "apply", **run(5, "queued")), "an apply run is not over"),
        (APPLY, with_run(merged(), "apply", runId=5, status="something new"), "an apply run is not over"),
        (APPLY, with_run(merged(), "apply", runId=5, status="completed"), "an apply run is not over"),
        (APPLY, with_cleanup_pull(destroyed(), merged=True), "the request was destroyed and its cleanup PR is merged"),
        (
            APPLY,
            with_cleanup_pull(with_run(reapplied(), "apply", **run(7, conclusion="failure")), merged=True),
            "the request was destroyed and its cleanup PR is merged",
        ),
        (DESTROY, merged(), "the request is not applied"),
        (DESTROY, planned(), "the request is not applied"),
        (DESTROY, applied(conclusion="skipped"), "the request is not applied"),
        (DESTROY, applied(conclusion="something new"), "the request is not applied"),
        (DESTROY, destroyed(), "the request is destroyed already"),
        (
            DESTROY,
            destroyed(conclusion="action_required"),
            "a destroy run waits for a person's approval on GitHub",
        ),
        (
            DESTROY,
            destroyed(conclusion="something new"),
            "the last destroy ended with something new, which this portal does not know",
        ),
        (DESTROY, destroying(runId=6), "a destroy run is not over"),
        (DESTROY, destroying(runId=6, status="waiting"), "a destroy run waits for a person's approval on GitHub"),
        (DESTROY, reapplied(status="in_progress", conclusion=None), "a destroy run is not over"),
        (CLEANUP, applied(), "the request is not destroyed"),
        (CLEANUP, destroyed(conclusion="failure"), "the request is not destroyed"),
        (CLEANUP, reapplied(), "the request is not destroyed"),
        (CLEANUP, with_cleanup_pull(destroyed(), merged=True), "the cleanup PR is merged already"),
        (CLEANUP, with_run(destroyed(), "cleanup", **run(8, "in_progress")), "a cleanup run is not over"),
        (DRIFT, merged(), "the request is not applied"),
        (DRIFT, destroyed(), "the request is not applied"),
        (DRIFT, applied(conclusion="failure"), "the request is not applied"),
    ],
)
def test_a_workflow_whose_time_has_not_come_is_refused_with_the_reason(kind, document, why):
    assert refusal(document, kind) == why


@pytest.mark.parametrize("kind", [kind for kind in WorkflowKind if kind is not APPLY])
def test_nothing_is_dispatched_while_an_apply_runs(kind):
    assert refusal(with_run(planned(), "apply", **run(5, "in_progress")), kind) == "an apply run is not over"


@pytest.mark.parametrize("kind", list(WorkflowKind))
def test_nothing_is_dispatched_while_an_apply_waits_for_a_person(kind):
    document = applied(conclusion="action_required")
    assert refusal(document, kind) == "an apply run waits for a person's approval on GitHub"


@pytest.mark.parametrize("kind", [kind for kind in WorkflowKind if kind is not DESTROY])
@pytest.mark.parametrize("minutes", [5, 16])
def test_nothing_else_is_dispatched_while_a_destroy_runs_even_if_it_is_stale(kind, minutes):
    assert refusal(destroying(minutes=minutes, runId=6), kind) == "a destroy run is not over"
    assert refusal(destroying(minutes=minutes, status="requested"), kind) == (
        f"a destroy was dispatched at {ago(minutes=minutes)} and its run is not known yet"
    )


@pytest.mark.parametrize("kind", list(WorkflowKind))
def test_an_intent_without_a_run_blocks_every_further_dispatch_of_its_kind(kind):
    fields = {PLAN: "planTriggeredAt", APPLY: "applyTriggeredAt", DESTROY: "destroyTriggeredAt"}
    fields |= {CLEANUP: "cleanupTriggeredAt", DRIFT: "driftPlanTriggeredAt"}
    ready = {PLAN: planned(), APPLY: merged(), DESTROY: applied(), CLEANUP: destroyed(), DRIFT: applied()}
    fit = eligibility(parse_request(triggered(ready[kind], fields[kind], ago(seconds=1))), kind, NOW)
    assert fit.lacks_run
    assert fit.refusal is not None
    assert f"was dispatched at {ago(seconds=1)} and its run is not known yet" in fit.refusal


def test_a_destroy_that_an_apply_came_after_and_that_has_no_run_blocks_no_drift_check():
    document = with_run(destroying(minutes=20, status="requested"), "apply", **run(7, createdAt=ago(minutes=10)))
    assert refusal(document, DRIFT) is None
    assert eligibility(parse_request(document), DESTROY, NOW).lacks_run


# A destroy after a destroy


@pytest.mark.parametrize("conclusion", ["failure", "cancelled", "timed_out", "startup_failure", "stale", "skipped"])
def test_a_destroy_that_failed_or_did_nothing_may_follow_itself_once_github_says_so(conclusion):
    document = destroyed(conclusion=conclusion)
    fit = eligibility(parse_request(document), DESTROY, NOW)
    assert (fit.refusal, fit.asks_github) == (None, True)
    check_destroy_is_over(parse_request(document), RunFact(run_id=6, status="completed", conclusion=conclusion))


def test_fifteen_minutes_alone_never_make_a_destroy_dispatchable_but_github_may_be_asked_then():
    at_the_limit = eligibility(parse_request(destroying(minutes=15, runId=6)), DESTROY, NOW)
    assert (at_the_limit.refusal, at_the_limit.asks_github) == ("a destroy run is not over", False)
    stale = eligibility(parse_request(destroying(minutes=15.1, runId=6)), DESTROY, NOW)
    assert (stale.refusal, stale.asks_github) == (None, True)
    with pytest.raises(RefusedError, match="so it may still run"):
        check_destroy_is_over(parse_request(destroying(minutes=15.1, runId=6)), None)


def test_a_stale_destroy_without_a_run_still_waits_for_its_run():
    fit = eligibility(parse_request(destroying(minutes=20, status="requested")), DESTROY, NOW)
    assert (fit.lacks_run, fit.asks_github) == (True, True)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (None, "so it may still run"),
        (RunFact(run_id=6, status="in_progress"), "so it may still run"),
        (RunFact(run_id=7, status="completed", conclusion="failure"), "so it may still run"),
        (RunFact(run_id=6, status="completed", conclusion="success"), "the request is destroyed already"),
        (RunFact(run_id=6, status="completed", conclusion="action_required"), "waits for a person's approval"),
        (RunFact(run_id=6, status="completed", conclusion="odd"), "ended with odd, which this portal does not know"),
    ],
)
def test_a_stored_failure_is_not_enough_where_github_says_something_else(told, why):
    with pytest.raises(RefusedError, match=why):
        check_destroy_is_over(parse_request(destroyed(conclusion="failure")), told)


def test_a_document_without_result_is_not_over_whatever_an_older_answer_said():
    told = RunFact(run_id=6, status="completed", conclusion="failure")
    with pytest.raises(RefusedError, match="so it may still run"):
        check_destroy_is_over(parse_request(destroying(runId=6, attempt=2)), told)


def test_a_request_that_was_never_destroyed_has_no_destroy_to_ask_about():
    check_destroy_is_over(parse_request(applied()), None)
    check_destroy_is_over(parse_request(reapplied()), None)


# What GitHub is asked


def order(document: dict[str, Any], kind: WorkflowKind, *, dry_run=(), is_prod: bool = False, base: str = "main"):
    return order_for(
        parse_request(document),
        kind,
        workflow_files=FILES,
        base_branch=base,
        dry_run_kinds=dry_run,
        is_prod=is_prod,
    )


def cleanable(**fields: Any) -> dict[str, Any]:
    return destroyed(targetFiles=["envs/dev/s3.tf", "envs/dev/s3.auto.tfvars"], targetEnvPath="envs/dev", **fields)


@pytest.mark.parametrize("kind", [APPLY, DESTROY, DRIFT])
def test_a_workflow_is_dispatched_on_the_base_branch_with_the_request_and_its_environment(kind):
    asked = order(applied(), kind)
    assert (str(asked.repo), asked.workflow_file, asked.ref) == ("acme/infra", FILES[kind], "main")
    assert asked.inputs == {"request_id": REQUEST_ID, "environment": "dev"}


@pytest.mark.parametrize("branch", [f"request/{REQUEST_ID}", f"update/{REQUEST_ID}/rev-3"])
@pytest.mark.parametrize("prefix", ["", "refs/heads/"])
def test_a_plan_is_dispatched_on_the_requests_own_branch(branch, prefix):
    assert order(planned(branchName=prefix + branch), PLAN).ref == branch


@pytest.mark.parametrize(
    "branch",
    ["main", f"request/{OTHER}", f"cleanup/{REQUEST_ID}", f"refs/heads/cleanup/{REQUEST_ID}", "", "request/../main"],
)
def test_a_plan_on_any_other_branch_is_refused(branch):
    with pytest.raises(RefusedError, match="which is not its own"):
        order(planned(branchName=branch), PLAN)


def test_a_request_that_is_merged_elsewhere_is_not_dispatched_there():
    with pytest.raises(RefusedError, match="merged into 'release'"):
        order(applied(targetBase="release"), DESTROY)
    assert order(applied(targetBase="release"), DESTROY, base="release").ref == "release"
    assert order(applied(targetBase=None), DESTROY).ref == "main"


@pytest.mark.parametrize("owner", ["acme/x", "acme?x=1", "..", "acme x"])
def test_what_cannot_be_a_repository_is_refused(owner):
    with pytest.raises(RefusedError, match="cannot be the repository"):
        order(applied(targetOwner=owner), DESTROY)


def test_a_request_without_repository_or_environment_is_refused():
    with pytest.raises(RefusedError, match="names no target repository"):
        order(applied(targetOwner=None), DESTROY)
    with pytest.raises(RefusedError, match="names no environment"):
        order(applied(environment=None), DESTROY)


def test_dry_run_is_sent_only_where_the_workflow_has_it():
    assert order(applied(), DESTROY, dry_run={DESTROY}).inputs["dry_run"] == "false"
    assert "dry_run" not in order(applied(), APPLY, dry_run={DESTROY}).inputs


def test_a_cleanup_names_its_files_and_merges_by_itself_outside_prod_only():
    asked = order(cleanable(), CLEANUP)
    assert asked.inputs == {
        "request_id": REQUEST_ID,
        "environment": "dev",
        "target_base": "main",
        "cleanup_paths": "envs/dev/s3.tf,envs/dev/s3.auto.tfvars",
        "target_env_path": "envs/dev",
        "auto_merge": "true",
    }
    assert order(cleanable(), CLEANUP, is_prod=True).inputs["auto_merge"] == "false"


@pytest.mark.parametrize(
    "fields",
    [
        {"targetFiles": []},
        {"targetFiles": None},
        {"targetFiles": "envs/dev/s3.tf"},
        {"targetFiles": ["envs/dev/s3.tf,main.tf"]},
        {"targetFiles": ["envs/dev/s3.tf", "../../etc/passwd"]},
        {"targetFiles": ["/etc/passwd"]},
        {"targetFiles": ["-rf"]},
        {"targetFiles": ["envs/dev/s3.tf; rm -rf ."]},
        {"targetFiles": ["envs/dev/s3.tf\n"]},
        {"targetFiles": ["envs//s3.tf"]},
        {"targetFiles": [7]},
        {"targetEnvPath": None},
        {"targetEnvPath": ""},
        {"targetEnvPath": "envs/../.."},
        {"targetEnvPath": "$(id)"},
    ],
)
def test_a_cleanup_whose_files_are_no_paths_is_refused(fields):
    with pytest.raises(RefusedError, match="cannot be cleaned up"):
        order({**cleanable(), **fields}, CLEANUP)


# Which run a dispatch became


def choice(
    *runs: Any,
    owners: dict[int, str] | None = None,
    others: tuple[str, ...] = (),
    complete: bool = True,
    login: str | None = LOGIN,
) -> RunChoice:
    known = owners or {}
    return choose_run(
        REQUEST_ID,
        RunListing(tuple(runs), complete),
        ref="main",
        since=NOW,
        login=login,
        owner_of=lambda each: known.get(each.fact.run_id or 0),
        others_open=others,
    )


def found(chosen: RunChoice) -> int | None:
    assert (chosen.run is not None) == (chosen.outcome is Choice.FOUND)
    return chosen.run.fact.run_id if chosen.run else None


def test_a_run_that_names_the_request_wins_even_while_others_are_open_and_the_list_ends_early():
    runs = (seen(1), seen(2, seconds=3, title=f"Destroy {REQUEST_ID}", actor="somebody"))
    assert found(choice(*runs, others=(OTHER,), complete=False)) == 2


def test_of_two_runs_that_name_the_request_ours_is_taken_and_then_the_earliest():
    title = f"Destroy {REQUEST_ID}"
    by_hand, ours, later = seen(1, title=title, actor="tom-r"), seen(2, title=title), seen(3, seconds=1, title=title)
    assert found(choice(by_hand, ours, later)) == 2
    assert found(choice(by_hand, ours, later, login=None)) == 1


@pytest.mark.parametrize(("seconds", "expected"), [(-5, 1), (-5.001, None), (0, 1), (60, 1)])
def test_a_run_may_be_five_seconds_older_than_the_dispatch_and_no_more(seconds, expected):
    assert found(choice(seen(1, seconds=seconds))) == expected
    assert found(choice(seen(1, seconds=seconds, title=REQUEST_ID))) == expected


def test_a_run_without_a_creation_time_is_nobodys():
    assert choice(replace(seen(1), fact=RunFact(run_id=1))).outcome is Choice.NONE


@pytest.mark.parametrize(
    "strange",
    [
        seen(1, actor="tom-r"),
        seen(1, actor=f"{LOGIN}-2"),
        seen(1, event="push"),
        seen(1, branch="release"),
        seen(1, branch=f"request/{OTHER}"),
        seen(1, title=f"Destroy {OTHER}"),
        seen(1, branch="release", title=REQUEST_ID),
    ],
)
def test_a_run_of_somebody_else_or_elsewhere_is_never_taken(strange):
    assert choice(strange).outcome is Choice.NONE


def test_our_own_login_is_compared_without_case():
    assert found(choice(seen(1, actor=LOGIN.upper()))) == 1


def test_the_earliest_run_that_nobody_has_is_taken():
    runs = (seen(3, seconds=9), seen(2, seconds=1), seen(1))
    assert found(choice(*runs)) == 1
    assert found(choice(*runs, owners={1: OTHER})) == 2
    assert found(choice(*runs, owners={1: OTHER, 2: OTHER})) == 3
    assert choice(*runs, owners={1: OTHER, 2: OTHER, 3: OTHER}).outcome is Choice.NONE


def test_a_run_that_the_index_gives_to_the_request_already_is_found_whoever_else_is_open():
    assert found(choice(seen(1), seen(2, seconds=1), owners={2: REQUEST_ID}, others=(OTHER,))) == 2


def test_a_run_that_names_the_request_and_belongs_to_another_is_left_alone():
    assert choice(seen(1, title=REQUEST_ID), owners={1: OTHER}).outcome is Choice.NONE


def test_while_another_dispatch_is_open_a_person_chooses_among_what_nobody_has():
    chosen = choice(seen(2, seconds=1), seen(1), seen(3), owners={3: OTHER}, others=("req_b", "req_a"))
    assert chosen.outcome is Choice.AMBIGUOUS
    assert [each.fact.run_id for each in chosen.candidates] == [1, 2]
    assert chosen.reason == "no run names its request, and req_a, req_b may be waiting for the same one"


def test_in_a_list_that_does_not_reach_back_nothing_is_taken_and_nothing_is_denied():
    chosen = choice(seen(1), complete=False)
    assert (chosen.outcome, len(chosen.candidates)) == (Choice.AMBIGUOUS, 1)
    assert choice(complete=False).outcome is Choice.INCOMPLETE
    assert choice().outcome is Choice.NONE


def test_what_the_web_app_dispatched_is_told_by_name_alone():
    chosen = choice(seen(1, actor="web-app"), login=None)
    assert chosen.outcome is Choice.AMBIGUOUS
    assert chosen.reason == "another application dispatched it, and no run names the request"
    assert found(choice(seen(1, actor="web-app", title=REQUEST_ID), login=None)) == 1


RUNS = st.builds(
    seen,
    st.integers(1, 40),
    seconds=st.integers(-8, 8),
    title=st.sampled_from(["Destroy", f"Destroy {REQUEST_ID}", f"Destroy {OTHER}"]),
    actor=st.sampled_from([LOGIN, "tom-r"]),
    branch=st.sampled_from(["main", "main", "release"]),
    event=st.sampled_from(["workflow_dispatch", "workflow_dispatch", "push"]),
)
OWNERS = st.dictionaries(st.integers(1, 40), st.sampled_from([REQUEST_ID, OTHER]), max_size=8)


@given(st.lists(RUNS, max_size=8, unique_by=lambda each: each.fact.run_id), OWNERS, st.booleans(), st.data())
def test_the_order_in_which_runs_are_listed_changes_nothing(runs, owners, is_alone, data):
    others = () if is_alone else (OTHER,)
    shuffled = data.draw(st.permutations(runs))
    assert choice(*runs, owners=owners, others=others) == choice(*shuffled, owners=owners, others=others)


@given(st.lists(RUNS, max_size=8, unique_by=lambda each: each.fact.run_id), OWNERS, st.booleans(), st.booleans())
def test_a_chosen_run_is_never_anothers_never_too_old_and_never_guessed_among_open_dispatches(
    runs, owners, is_alone, complete
):
    chosen = choice(*runs, owners=owners, others=() if is_alone else (OTHER,), complete=complete)
    for each in (*chosen.candidates, *([chosen.run] if chosen.run else [])):
        assert owners.get(each.fact.run_id or 0) != OTHER
        assert each.fact.created_at is not None
        assert each.fact.created_at >= NOW - timedelta(seconds=5)
        assert (each.branch, OTHER in (each.title or "")) == ("main", False)
    if chosen.run is not None and not (is_alone and complete):
        names_it = REQUEST_ID in (chosen.run.title or "")
        assert names_it or owners.get(chosen.run.fact.run_id or 0) == REQUEST_ID
