"""Which requests a sweep asks GitHub about."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, REQUEST_ID, ago, request, run, stuck_planning, with_pull, with_run
from tests.core.saying import THRESHOLDS
from tests.core.strategies import documents
from tfpilot.core.lifecycle import is_due, needs_repair
from tfpilot.core.listing import summarise, unreadable_row
from tfpilot.core.request import parse_request
from tfpilot.core.sweep import SweepScope, select_for_sweep


def row_of(document, **about):
    return summarise(parse_request(document), thresholds=THRESHOLDS, **about)


def planned(request_id: str):
    """A request that waits for its merge: nothing is wrong with it, and GitHub may know better."""
    return with_run(with_pull(request(request_id)), "plan", **run(101, createdAt=ago(minutes=50)))


def applied(request_id: str):
    return with_run(with_run(with_pull(request(request_id)), "plan", **run(101)), "apply", **run(102))


STUCK, WAITING, APPLIED = "req_dev_s3_stuck", "req_dev_s3_waiting", "req_dev_s3_applied"
ROWS = (row_of(planned(WAITING)), row_of(applied(APPLIED)), row_of(stuck_planning(STUCK)))


def test_a_bare_sweep_takes_what_needs_repair_first_and_then_what_github_may_know_better():
    assert select_for_sweep(ROWS, SweepScope.DUE, NOW) == (STUCK, WAITING)


def test_a_sweep_of_the_stuck_takes_what_needs_repair_alone():
    assert select_for_sweep(ROWS, SweepScope.STUCK, NOW) == (STUCK,)


def test_a_sweep_of_all_takes_every_request_once():
    assert select_for_sweep(ROWS, SweepScope.ALL, NOW) == (STUCK, WAITING, APPLIED)


def test_no_sweep_takes_what_nothing_writes():
    rows = (
        row_of(stuck_planning(REQUEST_ID), archived=True),
        unreadable_row("req_dev_s3_broken", "not JSON", updated_at=NOW),
    )
    assert [select_for_sweep(rows, scope, NOW) for scope in SweepScope] == [(), (), ()]


@given(documents(), st.integers(-200, 200).map(lambda minutes: NOW + timedelta(minutes=minutes)))
def test_a_row_needs_repair_exactly_when_its_request_does(document, now):
    row, parsed = row_of(document), parse_request(document)
    assert row.needs_repair_at(now) == needs_repair(parsed, now, THRESHOLDS)


@given(documents(), st.integers(-200, 200).map(lambda minutes: NOW + timedelta(minutes=minutes)))
def test_no_request_is_ever_due_that_a_bare_sweep_would_leave_out(document, now):
    row, parsed = row_of(document), parse_request(document)
    if is_due(parsed, now, None):
        assert row.is_unsettled
