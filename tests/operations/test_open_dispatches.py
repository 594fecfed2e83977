"""Dispatches whose run is not known: looked for, and what our records say of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, ago, run, with_run
from tests.dispatch_setup import (
    ADMIN,
    APPROVER,
    REPO,
    applied,
    destroyed,
    destroying,
    planned,
    record_of,
    seen,
    told,
    triggered,
    unknown,
)
from tests.fakes import OUTAGE
from tests.operations.dispatching import claim, dispatched, look, owner_of, run_of, shows, states, web_app_stores
from tfpilot.core.dispatch import DispatchEnd
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import DispatchState, LifecycleStatus, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.core.run_index import entry_key
from tfpilot.errors import ConflictError, GitHubError, RefusedError, StorageError
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.open_dispatches import choose_run, find_candidates, look_for_run
from tfpilot.operations.rewrite import read_request

DESTROY = WorkflowKind.DESTROY
FIRST, SECOND, THIRD = "req_dev_a", "req_dev_b", "req_dev_c"


# Looked for


def test_a_run_that_names_its_request_is_found_among_many_open_dispatches(memory):
    dispatched(memory, FIRST, SECOND)
    shows(memory, seen(2, title=f"Destroy {FIRST}"), seen(1, title=f"Destroy {SECOND}"))
    assert [look(memory, each).run_id for each in (FIRST, SECOND)] == [2, 1]
    assert (run_of(memory, FIRST), run_of(memory, SECOND)) == (2, 1)
    assert (owner_of(memory, 2), owner_of(memory, 1)) == (FIRST, SECOND)
    assert states(memory, FIRST) == [DispatchState.STARTED]


def test_a_run_that_names_nobody_is_taken_by_the_only_open_dispatch(memory):
    dispatched(memory, FIRST)
    shows(memory, seen(7))
    result = look(memory, FIRST)
    assert (result.end, result.run_id, result.notices) == (DispatchEnd.FOUND, 7, ())
    assert (run_of(memory, FIRST), owner_of(memory, 7)) == (7, FIRST)


def test_two_open_dispatches_share_no_run_and_guess_none(memory):
    dispatched(memory, FIRST, SECOND)
    shows(memory, seen(8, seconds=1), seen(7))
    for request_id in (FIRST, SECOND):
        result = look(memory, request_id)
        assert (result.end, [each.fact.run_id for each in result.candidates]) == (DispatchEnd.AMBIGUOUS, [7, 8])
        assert run_of(memory, request_id) is None
    assert (owner_of(memory, 7), owner_of(memory, 8)) == (None, None)


def test_once_a_person_chose_for_one_the_other_is_found_by_itself(memory):
    dispatched(memory, FIRST, SECOND)
    shows(memory, seen(8, seconds=1), seen(7))
    assert [each.fact.run_id for each in find_candidates(memory.edges, FIRST, DESTROY).candidates] == [7, 8]
    chosen = choose_run(memory.edges, FIRST, DESTROY, 8, operator=APPROVER)
    assert (chosen.end, chosen.run_id) == (DispatchEnd.FOUND, 8)
    assert look(memory, SECOND).run_id == 7
    assert (run_of(memory, FIRST), run_of(memory, SECOND)) == (8, 7)


@pytest.mark.parametrize(("hours", "end"), [(23.9, DispatchEnd.AMBIGUOUS), (24.1, DispatchEnd.FOUND)])
@pytest.mark.parametrize("is_ours", [True, False])
def test_another_open_dispatch_counts_for_a_day(memory, hours, end, is_ours):
    if is_ours:
        dispatched(memory, SECOND)
    else:
        memory.store(triggered(applied(SECOND), "destroyTriggeredAt", ago(seconds=0)))
    memory.clock.advance(hours=hours)
    dispatched(memory, FIRST)
    # The answers of the stand-in come from NOW: the dispatch was at that time of the clock.
    for each in memory.edges.dispatches.list(FIRST):
        memory.edges.dispatches.put(replace(each.record, posted_at=memory.clock()), if_match=each.etag)
    shows(memory, seen(7, at=memory.clock()))
    assert look(memory, FIRST).end is end


@pytest.mark.parametrize(
    "other",
    [
        triggered(applied(SECOND, targetRepo="elsewhere"), "destroyTriggeredAt", ago(seconds=0)),
        triggered(applied(SECOND), "applyTriggeredAt", ago(seconds=0)),
        triggered(with_run(applied(SECOND), "destroy", **run(3, "in_progress")), "destroyTriggeredAt", ago(seconds=0)),
    ],
)
def test_a_dispatch_elsewhere_of_another_kind_or_with_a_known_run_is_in_nobodys_way(memory, other):
    dispatched(memory, FIRST)
    memory.store(other)
    shows(memory, seen(7))
    assert look(memory, FIRST).run_id == 7


def test_the_repository_is_compared_without_case(memory):
    dispatched(memory, FIRST)
    memory.store(triggered(applied(SECOND, targetOwner="ACME"), "destroyTriggeredAt", ago(seconds=0)))
    shows(memory, seen(7))
    assert look(memory, FIRST).end is DispatchEnd.AMBIGUOUS


def test_an_open_dispatch_that_the_web_app_overwrote_still_counts_by_our_record(memory):
    dispatched(memory, FIRST, SECOND)
    web_app_stores(memory, applied(SECOND))
    shows(memory, seen(7))
    assert look(memory, FIRST).end is DispatchEnd.AMBIGUOUS
    assert SECOND in look(memory, FIRST).reason


def test_an_earlier_run_that_the_web_app_put_back_does_not_pass_for_the_open_dispatchs_run(memory):
    failed = with_run(applied(), "destroy", **run(6, conclusion="failure", createdAt=ago(seconds=3)))
    memory.github.answers[SECOND] = told(DESTROY, run_id=6, status="completed", conclusion="failure")
    dispatched(memory, SECOND, document=failed)
    web_app_stores(memory, {**failed, "id": SECOND})
    dispatched(memory, FIRST)
    shows(memory, seen(7))
    assert look(memory, FIRST).end is DispatchEnd.AMBIGUOUS
    assert dispatch(memory.edges, SECOND, DESTROY, operator=ADMIN).end is DispatchEnd.AMBIGUOUS
    assert len(memory.workflows.orders) == 2


def test_a_run_that_another_request_tracks_or_has_is_left_to_it(memory):
    dispatched(memory, FIRST)
    memory.store(with_run(applied(SECOND), "destroy", **run(7, "in_progress")))
    claim(memory, 8, THIRD)
    shows(memory, seen(9, seconds=2), seen(8, seconds=1), seen(7))
    assert look(memory, FIRST).run_id == 9


def test_a_run_that_was_claimed_for_the_request_before_is_found_though_others_are_open(memory):
    dispatched(memory, FIRST, SECOND)
    claim(memory, 8, FIRST)
    shows(memory, seen(8, seconds=1), seen(7))
    assert look(memory, FIRST).run_id == 8
    assert look(memory, SECOND).run_id == 7


def test_a_claim_that_somebody_else_wins_at_the_last_moment_leads_to_the_next_run(memory):
    dispatched(memory, FIRST)
    shows(memory, seen(8, seconds=1), seen(7))
    memory.bucket.interfere = lambda: claim(memory, 7, SECOND)
    assert look(memory, FIRST).run_id == 8
    assert (owner_of(memory, 7), owner_of(memory, 8)) == (SECOND, FIRST)


def test_an_unreadable_index_entry_is_unknown_and_never_unclaimed(memory):
    dispatched(memory, FIRST)
    memory.bucket.write(entry_key(DESTROY, 7), b"{")
    shows(memory, seen(8, seconds=1), seen(7))
    result = look(memory, FIRST)
    assert (result.end, run_of(memory, FIRST)) == (DispatchEnd.UNKNOWN, None)
    assert "its entry in the run index is unreadable" in result.reason
    assert owner_of(memory, 8) is None


@pytest.mark.parametrize("broken", ["find", "claim"])
def test_an_index_that_does_not_answer_is_unknown_and_never_unclaimed(memory, broken):
    dispatched(memory, FIRST)
    shows(memory, seen(7))

    def away(*_args: Any):
        raise StorageError("The index is away")

    edges = memory.edges
    setattr(edges.run_index, broken, away)
    result = look_for_run(edges, read_request(edges, FIRST), DESTROY, operator=ADMIN)
    assert (result.end, result.reason) == (DispatchEnd.UNKNOWN, "The index is away")
    assert run_of(memory, FIRST) is None


def test_requests_that_cannot_be_read_are_unknown(memory):
    dispatched(memory, FIRST)
    shows(memory, seen(7))
    edges = memory.edges
    request = read_request(edges, FIRST)
    refresh = memory.snapshots.refresh
    memory.snapshots.refresh = lambda **_: replace(refresh(), error="no answer. Check the bucket.")
    result = look_for_run(edges, request, DESTROY, operator=ADMIN)
    assert (result.end, owner_of(memory, 7)) == (DispatchEnd.UNKNOWN, None)
    assert result.reason == "Whose run it is cannot be told: no answer. Check the bucket."


def test_our_own_records_that_cannot_be_read_are_unknown(memory):
    dispatched(memory, FIRST)
    request = read_request(memory.edges, FIRST)
    memory.bucket.outage = OUTAGE
    assert look_for_run(memory.edges, request, DESTROY, operator=ADMIN).end is DispatchEnd.UNKNOWN


def test_a_list_that_github_does_not_give_is_unknown(memory):
    dispatched(memory, FIRST)
    memory.workflows.listing_error = GitHubError("GitHub did not answer in time")
    result = look(memory, FIRST)
    assert (result.end, result.reason) == (DispatchEnd.UNKNOWN, "GitHub did not answer in time")


def test_a_list_that_does_not_reach_back_takes_nothing(memory):
    dispatched(memory, FIRST)
    shows(memory, seen(7))
    memory.workflows.is_complete = False
    assert look(memory, FIRST).end is DispatchEnd.AMBIGUOUS
    assert owner_of(memory, 7) is None


@pytest.mark.parametrize(("title", "run_id"), [("Destroy", None), (f"Destroy {FIRST}", 7)])
def test_a_dispatch_of_the_web_app_is_found_by_name_alone(memory, title, run_id):
    memory.store(triggered(with_run(applied(FIRST), "destroy", status="requested"), "destroyTriggeredAt", ago()))
    shows(memory, seen(7, title=title, actor="web-app"))
    result = dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN)
    assert (result.run_id, run_of(memory, FIRST)) == (run_id, run_id)
    assert memory.workflows.orders == []


def test_a_run_of_the_web_apps_dispatch_is_stored_without_the_result_of_the_run_before(memory):
    failed = destroyed(FIRST, conclusion="failure")
    memory.store(triggered({**failed, "destroyRun": run(6, conclusion="failure")}, "destroyTriggeredAt", ago()))
    shows(memory, seen(7, title=FIRST), seen(6, seconds=-3, title=FIRST))
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).run_id == 7
    fact = parse_request(memory.stored(FIRST)).runs[DESTROY]
    assert (fact.run_id, fact.conclusion) == (7, None)
    assert derive_status(parse_request(memory.stored(FIRST)), NOW) is LifecycleStatus.DESTROYING


def test_a_dispatch_without_a_known_time_is_never_matched(memory):
    memory.store(triggered(applied(FIRST), "destroyTriggeredAt", "some time ago"))
    shows(memory, seen(7, title=FIRST))
    request = read_request(memory.edges, FIRST)
    result = look_for_run(memory.edges, request, DESTROY, operator=ADMIN)
    assert (result.end, result.reason) == (DispatchEnd.UNKNOWN, "when or where it was dispatched is not known")


def test_a_plan_is_looked_for_on_its_own_branch(memory):
    memory.store(planned(FIRST), planned(SECOND))
    memory.workflows.answer = unknown
    for request_id in (FIRST, SECOND):
        dispatch(memory.edges, request_id, WorkflowKind.PLAN, operator=ADMIN)
    shown = [seen(7, branch=f"request/{FIRST}", title="Plan"), seen(8, branch=f"request/{SECOND}", title="Plan")]
    memory.workflows.runs["plan.yml"] = shown
    for request_id, run_id in ((FIRST, 7), (SECOND, 8)):
        request = read_request(memory.edges, request_id)
        assert look_for_run(memory.edges, request, WorkflowKind.PLAN, operator=ADMIN).run_id == run_id


def test_a_run_that_cannot_be_stored_now_is_in_our_record_and_its_claim_stands(memory, monkeypatch):
    dispatched(memory, FIRST)
    shows(memory, seen(7))
    edges = memory.edges

    def away(*_args: Any, **_options: Any):
        raise ConflictError("somebody else wrote")

    monkeypatch.setattr(edges.documents, "put", away)
    result = look_for_run(edges, read_request(edges, FIRST), DESTROY, operator=ADMIN)
    assert (result.end, result.run_id) == (DispatchEnd.FOUND, 7)
    assert result.notices[0].startswith("The run was not stored, a repair does it")
    assert (run_of(memory, FIRST), owner_of(memory, 7), states(memory, FIRST)) == (None, FIRST, [DispatchState.STARTED])
    memory.clock.advance(minutes=1)
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).run_id == 7
    assert len(memory.workflows.orders) == 1


def test_a_stale_destroy_of_the_web_app_without_a_run_is_not_sent_again(memory):
    memory.store(destroying(FIRST, minutes=20, status="requested"))
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).end is DispatchEnd.UNKNOWN
    assert memory.workflows.orders == []


# Our records


def test_a_refused_record_that_came_later_hides_no_open_one(memory):
    dispatched(memory, FIRST)
    memory.edges.dispatches.add(
        record_of(request_id=FIRST, nonce="ff", at=NOW + timedelta(seconds=1), state=DispatchState.REFUSED)
    )
    web_app_stores(memory, applied(FIRST))
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).end is DispatchEnd.UNKNOWN
    assert len(memory.workflows.orders) == 1


def test_a_record_is_settled_by_the_run_that_a_webhook_stored(memory):
    dispatched(memory, FIRST)
    web_app_stores(memory, with_run(memory.stored(FIRST), "destroy", **run(7, "in_progress", createdAt=ago(seconds=1))))
    with pytest.raises(RefusedError, match="a destroy run is not over"):
        dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN)
    [record] = [each.record for each in memory.edges.dispatches.list(FIRST)]
    assert (record.state, record.run_id, record.settled_by) == (DispatchState.STARTED, 7, "sync")


def test_a_late_webhook_about_the_run_before_opens_no_way_to_a_second_destroy(memory):
    failed = with_run(applied(), "destroy", **run(6, conclusion="startup_failure", createdAt=ago(seconds=3)))
    memory.github.answers[FIRST] = told(DESTROY, run_id=6, status="completed", conclusion="startup_failure")
    dispatched(memory, FIRST, document=failed)
    late = run(6, conclusion="startup_failure", createdAt=ago(seconds=3))
    web_app_stores(memory, with_run(memory.stored(FIRST), "destroy", **late))
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).end is DispatchEnd.UNKNOWN
    shows(memory, seen(7), seen(6, seconds=-3))
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).run_id == 7
    with pytest.raises(RefusedError, match="has overwritten a dispatch"):
        dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN)
    assert len(memory.workflows.orders) == 1


def test_records_in_another_repository_or_on_another_ref_are_in_nobodys_way(memory):
    dispatched(memory, FIRST)
    elsewhere = replace(record_of(request_id=SECOND), repo=replace(REPO, name="other"))
    memory.edges.dispatches.add(elsewhere)
    memory.edges.dispatches.add(replace(record_of(request_id=THIRD), ref="release"))
    shows(memory, seen(7))
    assert look(memory, FIRST).run_id == 7


# What webhooks said before


def test_what_fails_in_replaying_a_webhook_is_told_and_the_run_stays(memory, monkeypatch):
    dispatched(memory, FIRST)
    shows(memory, seen(7))
    edges = memory.edges

    def away(*_args: Any):
        raise StorageError("Deliveries are away")

    monkeypatch.setattr(edges.deliveries, "list_parked", away)
    result = look_for_run(edges, read_request(edges, FIRST), DESTROY, operator=ADMIN)
    assert (result.end, run_of(memory, FIRST)) == (DispatchEnd.FOUND, 7)
    assert result.notices == ("What webhooks said of run 7 was not taken in: Deliveries are away",)
