"""Dispatches whose run is not known: looked for, chosen by a person, or closed because no run exists."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, ago, run, with_run
from tests.dispatch_setup import (
    ADMIN,
    APPROVER,
    DESTROY_FILE,
    DEVELOPER,
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
from tests.fakes import OUTAGE, InMemory
from tfpilot.adapters.keys import active_key
from tfpilot.core.dispatch import Choice, DispatchEnd, DispatchResult
from tfpilot.core.document import render_document
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import DispatchState, JsonObject, LifecycleStatus, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.core.run_index import entry_key, new_entry
from tfpilot.errors import ConflictError, GitHubError, MissingRightError, RefusedError, StorageError
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.open_dispatches import choose_run, confirm_no_run, find_candidates, look_for_run
from tfpilot.operations.request_lock import clear_lock
from tfpilot.operations.rewrite import read_request

DESTROY = WorkflowKind.DESTROY
FIRST, SECOND, THIRD = "req_dev_a", "req_dev_b", "req_dev_c"


def dispatched(memory: InMemory, *request_ids: str, document: JsonObject | None = None) -> None:
    """A destroy of each was sent at this time, and GitHub told nothing."""
    answer, memory.workflows.answer = memory.workflows.answer, unknown
    for request_id in request_ids:
        memory.store({**(document or applied()), "id": request_id})
    shown, memory.workflows.runs[DESTROY_FILE] = memory.workflows.runs.get(DESTROY_FILE, []), []
    for request_id in request_ids:
        assert dispatch(memory.edges, request_id, DESTROY, operator=ADMIN).end is DispatchEnd.UNKNOWN
    memory.workflows.answer, memory.workflows.runs[DESTROY_FILE] = answer, shown


def look(memory: InMemory, request_id: str) -> DispatchResult:
    return look_for_run(memory.edges, read_request(memory.edges, request_id), DESTROY, operator=ADMIN)


def run_of(memory: InMemory, request_id: str) -> int | None:
    fact = parse_request(memory.stored(request_id)).runs.get(DESTROY)
    return fact.run_id if fact else None


def owner_of(memory: InMemory, run_id: int) -> str | None:
    entry = memory.edges.run_index.find(DESTROY, run_id)
    return entry.request_id if entry else None


def states(memory: InMemory, request_id: str) -> list[DispatchState]:
    return [each.record.state for each in memory.edges.dispatches.list(request_id)]


def shows(memory: InMemory, *runs: Any) -> None:
    memory.workflows.runs[DESTROY_FILE] = list(runs)


def web_app_stores(memory: InMemory, document: JsonObject) -> None:
    memory.bucket.write(active_key(document["id"]), render_document(document))


def claim(memory: InMemory, run_id: int, request_id: str) -> None:
    memory.edges.run_index.claim(new_entry(DESTROY, run_id, request_id, created_at=NOW))


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


# Chosen by a person


def test_only_an_approver_or_admin_chooses(memory):
    dispatched(memory, FIRST, SECOND)
    shows(memory, seen(7))
    with pytest.raises(MissingRightError, match="choose among ambiguous runs"):
        choose_run(memory.edges, FIRST, DESTROY, 7, operator=DEVELOPER)
    assert owner_of(memory, 7) is None


@pytest.mark.parametrize(
    "runs",
    [
        (),
        (seen(7, seconds=-6),),
        (seen(7, title=f"Destroy {THIRD}"),),
        (seen(7, actor="tom-r"),),
        (seen(7, branch="release"),),
    ],
)
def test_what_is_no_candidate_cannot_be_chosen(memory, runs):
    dispatched(memory, FIRST, SECOND)
    shows(memory, *runs)
    with pytest.raises(RefusedError, match=f"Run 7 is no candidate for the destroy of {FIRST}"):
        choose_run(memory.edges, FIRST, DESTROY, 7, operator=APPROVER)
    assert owner_of(memory, 7) is None


def test_a_run_that_another_request_got_meanwhile_cannot_be_chosen(memory):
    dispatched(memory, FIRST, SECOND)
    shows(memory, seen(7))
    memory.bucket.interfere = lambda: claim(memory, 7, SECOND)
    with pytest.raises(RefusedError, match=f"Run 7 belongs to {SECOND}"):
        choose_run(memory.edges, FIRST, DESTROY, 7, operator=APPROVER)
    assert run_of(memory, FIRST) is None


def test_two_persons_who_choose_the_same_run_for_two_requests_do_not_both_get_it(memory):
    dispatched(memory, FIRST, SECOND)
    shows(memory, seen(7), seen(8))
    choose_run(memory.edges, FIRST, DESTROY, 7, operator=APPROVER)
    with pytest.raises(RefusedError):
        choose_run(memory.edges, SECOND, DESTROY, 7, operator=ADMIN)
    assert (run_of(memory, FIRST), run_of(memory, SECOND)) == (7, None)


def test_a_person_who_chooses_while_the_run_is_found_does_not_leave_two_answers(memory):
    """The request held the run that a person chose, our record the one that was found, and a repair put that back."""
    dispatched(memory, FIRST, SECOND)
    shows(memory, seen(7), seen(8))
    [ours] = memory.edges.dispatches.list(FIRST)

    def is_found() -> None:
        claim(memory, 7, FIRST)
        memory.edges.dispatches.put(replace(ours.record, state=DispatchState.STARTED, run_id=7), if_match=ours.etag)

    memory.bucket.interfere = is_found
    result = choose_run(memory.edges, FIRST, DESTROY, 8, operator=APPROVER)
    assert (run_of(memory, FIRST), [each.record.run_id for each in memory.edges.dispatches.list(FIRST)]) == (None, [7])
    assert any("run 8 was not stored" in notice for notice in result.notices)


def test_a_person_can_choose_for_a_dispatch_of_the_web_app(memory):
    memory.store(triggered(with_run(applied(FIRST), "destroy", status="requested"), "destroyTriggeredAt", ago()))
    shows(memory, seen(7, actor="web-app"))
    assert choose_run(memory.edges, FIRST, DESTROY, 7, operator=APPROVER).run_id == 7
    assert run_of(memory, FIRST) == 7


def test_without_an_open_dispatch_there_is_nothing_to_choose_show_or_close(memory):
    memory.store(applied(FIRST))
    for ask in (
        lambda: choose_run(memory.edges, FIRST, DESTROY, 7, operator=ADMIN),
        lambda: find_candidates(memory.edges, FIRST, DESTROY),
        lambda: confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN),
    ):
        with pytest.raises(RefusedError, match=f"{FIRST} has no open destroy dispatch"):
            ask()


def test_looking_at_candidates_claims_nothing(memory):
    dispatched(memory, FIRST)
    shows(memory, seen(7))
    writes = len(memory.bucket.writes)
    assert find_candidates(memory.edges, FIRST, DESTROY).outcome is Choice.FOUND
    assert len(memory.bucket.writes) == writes


# Closed because no run exists


@pytest.mark.parametrize(("minutes", "closes"), [(10, False), (10.001, True)])
def test_a_person_closes_a_dispatch_without_a_run_after_ten_minutes(memory, minutes, closes):
    dispatched(memory, FIRST)
    memory.clock.now = NOW + timedelta(minutes=minutes)
    if not closes:
        with pytest.raises(RefusedError, match="less than ten minutes ago"):
            confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN)
        return
    confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN)
    document = memory.stored(FIRST)
    assert derive_status(parse_request(document), memory.clock()) is LifecycleStatus.APPLIED
    assert "destroyTriggeredAt" not in document["github"]
    assert states(memory, FIRST) == [DispatchState.CLOSED]
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).end is DispatchEnd.STARTED
    assert len(memory.workflows.orders) == 2


@pytest.mark.parametrize("runs", [(seen(7),), (seen(7, title=FIRST),)])
def test_a_dispatch_whose_run_may_exist_is_not_closed(memory, runs):
    dispatched(memory, FIRST, SECOND)
    shows(memory, *runs)
    memory.clock.advance(minutes=11)
    with pytest.raises(RefusedError, match=f"A run of the destroy of {FIRST} may exist"):
        confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN)
    assert states(memory, FIRST) == [DispatchState.OPEN]


def test_a_list_that_does_not_reach_back_or_does_not_come_closes_nothing(memory):
    dispatched(memory, FIRST)
    memory.clock.advance(minutes=11)
    memory.workflows.is_complete = False
    with pytest.raises(RefusedError, match="may exist"):
        confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN)
    memory.workflows.listing_error = GitHubError("GitHub did not answer in time")
    with pytest.raises(GitHubError):
        confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN)
    assert states(memory, FIRST) == [DispatchState.OPEN]


def test_closing_takes_the_right_to_that_dispatch(memory):
    dispatched(memory, FIRST)
    memory.clock.advance(minutes=11)
    with pytest.raises(MissingRightError, match="dispatch destroy and cleanup"):
        confirm_no_run(memory.edges, FIRST, DESTROY, operator=APPROVER)


def test_closing_brings_back_the_failed_destroy_before(memory):
    failed = destroyed(conclusion="failure")
    memory.github.answers[FIRST] = told(DESTROY, run_id=6, status="completed", conclusion="failure")
    dispatched(memory, FIRST, document=failed)
    memory.clock.advance(minutes=11)
    confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN)
    fact = parse_request(memory.stored(FIRST)).runs[DESTROY]
    assert (fact.run_id, fact.conclusion) == (6, "failure")


def test_a_run_that_a_webhook_stores_at_the_last_moment_stays_whole(memory):
    failed = destroyed(conclusion="failure")
    memory.github.answers[FIRST] = told(DESTROY, run_id=6, status="completed", conclusion="failure")
    dispatched(memory, FIRST, document=failed)
    memory.clock.advance(minutes=11)
    document = memory.stored(FIRST)
    arrived = with_run(document, "destroy", **run(7, "in_progress", createdAt=ago(seconds=0)))
    memory.bucket.interfere = lambda: web_app_stores(memory, arrived)
    assert confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN) == ()
    assert memory.stored(FIRST) == arrived


def test_a_dispatch_of_the_web_app_is_closed_too(memory):
    memory.store(triggered(with_run(applied(FIRST), "destroy", status="requested"), "destroyTriggeredAt", ago()))
    memory.clock.advance(minutes=11)
    changes = confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN)
    assert {each.dotted for each in changes} == {"github.destroyTriggeredAt", "github.workflows.destroy.status"}
    assert derive_status(parse_request(memory.stored(FIRST)), memory.clock()) is LifecycleStatus.APPLIED


def test_an_intent_that_was_never_stored_in_the_document_is_closed_in_our_records(memory):
    memory.store(applied(FIRST))
    memory.edges.dispatches.add(record_of(request_id=FIRST))
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).end is DispatchEnd.UNKNOWN
    memory.clock.advance(minutes=11)
    assert confirm_no_run(memory.edges, FIRST, DESTROY, operator=ADMIN) == ()
    assert states(memory, FIRST) == [DispatchState.CLOSED]
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).end is DispatchEnd.STARTED


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


# Clearing a lock


def held(**fields: Any) -> dict[str, Any]:
    return applied(FIRST, lock={"holder": "web-app", "operation": "apply", **fields})


def test_a_lock_whose_time_is_over_can_be_cleared(memory):
    memory.store(held(expiresAt=ago(seconds=1)))
    assert [each.dotted for each in clear_lock(memory.edges, FIRST, operator=APPROVER).changes] == ["lock"]
    assert "lock" not in memory.stored(FIRST)


def test_a_lock_that_is_held_is_not_cleared(memory):
    memory.store(held(expiresAt=ago(seconds=-1)))
    with pytest.raises(RefusedError, match=f"{FIRST} is locked by web-app"):
        clear_lock(memory.edges, FIRST, operator=ADMIN)
    assert "lock" in memory.stored(FIRST)


def test_clearing_a_lock_takes_an_approver(memory):
    memory.store(held(expiresAt=ago(seconds=1)))
    with pytest.raises(MissingRightError, match="clear a request lock"):
        clear_lock(memory.edges, FIRST, operator=DEVELOPER)


def test_without_a_lock_nothing_is_written(memory):
    memory.store(applied(FIRST))
    assert clear_lock(memory.edges, FIRST, operator=APPROVER).changes == ()
    assert memory.bucket.writes == []


def test_a_lock_that_somebody_took_meanwhile_is_not_cleared(memory):
    memory.store(held(expiresAt=ago(seconds=1)))
    taken = held(expiresAt=ago(seconds=-60))
    memory.bucket.interfere = lambda: web_app_stores(memory, taken)
    with pytest.raises(RefusedError):
        clear_lock(memory.edges, FIRST, operator=APPROVER)
    assert memory.stored(FIRST)["lock"] == taken["lock"]


def test_a_stale_destroy_of_the_web_app_without_a_run_is_not_sent_again(memory):
    memory.store(destroying(FIRST, minutes=20, status="requested"))
    assert dispatch(memory.edges, FIRST, DESTROY, operator=ADMIN).end is DispatchEnd.UNKNOWN
    assert memory.workflows.orders == []
