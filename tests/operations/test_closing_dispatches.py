"""Dispatches whose run is not known: chosen by a person, or closed because no run exists."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW, ago, run, with_run
from tests.dispatch_setup import ADMIN, APPROVER, DEVELOPER, applied, destroyed, record_of, seen, told, triggered
from tests.operations.dispatching import claim, dispatched, owner_of, run_of, shows, states, web_app_stores
from tfpilot.core.dispatch import Choice, DispatchEnd
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import DispatchState, LifecycleStatus, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.errors import GitHubError, MissingRightError, RefusedError
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.open_dispatches import choose_run, confirm_no_run, find_candidates

DESTROY = WorkflowKind.DESTROY
FIRST, SECOND, THIRD = "req_dev_a", "req_dev_b", "req_dev_c"


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
