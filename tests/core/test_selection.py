"""Filters, the counts beside them, and pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import NOW, ago
from tests.core.saying import THRESHOLDS, parsed
from tfpilot.core.listing import summarise, unreadable_row
from tfpilot.core.model import LifecycleStatus
from tfpilot.core.selection import RequestFilter, page_of, select

SUCCESS = {"runId": 5, "status": "completed", "conclusion": "success"}
STUCK = {"prNumber": 12, "planRun": {"runId": 7, "status": "queued", "createdAt": ago(hours=1)}}


def row(request_id, fields, *, archived=False):
    return summarise(parsed({"id": request_id, **fields}), thresholds=THRESHOLDS, archived=archived)


ROWS = (
    row("req_new", {}),
    row("req_stuck", STUCK),
    row("req_stuck_drift", {**STUCK, "status": "applied"}),
    row("req_applied", {"applyRun": SUCCESS}),
    row("req_prod", {"applyRun": SUCCESS, "environment": "prod", "status": "merged"}),
    row("req_stale", {"github.destroyTriggeredAt": ago(hours=1)}),
    row("req_gone", {"destroyRun": SUCCESS}, archived=True),
    row("req_gone_drift", {"destroyRun": SUCCESS, "status": "applied"}, archived=True),
    unreadable_row("req_odd", "not JSON", updated_at=NOW),
)


def ids(**wanted):
    return [found.id for found in select(ROWS, RequestFilter(**wanted), NOW).rows]


def test_without_a_filter_all_active_requests_come_in_the_given_order():
    assert ids() == [found.id for found in ROWS if not found.archived]
    assert [found.id for found in select(reversed(ROWS), RequestFilter(), NOW).rows] == list(reversed(ids()))


def test_each_filter_shows_what_it_says():
    assert ids(statuses=frozenset({LifecycleStatus.APPLIED})) == ["req_applied", "req_prod"]
    assert ids(statuses=frozenset({LifecycleStatus.FAILED})) == ["req_stale"]
    assert ids(environments=frozenset({"prod"})) == ["req_prod"]
    assert ids(stuck=True) == ["req_stuck", "req_stuck_drift", "req_stale"]
    assert ids(drift=True) == ["req_stuck_drift", "req_prod"]
    assert ids(stuck=True, drift=True) == ["req_stuck_drift"]
    assert ids(archived=True) == ["req_gone", "req_gone_drift"]


def test_an_unreadable_object_is_shown_unless_a_status_or_environment_is_asked_for():
    assert "req_odd" in ids()
    assert ids(text="odd") == ["req_odd"]
    assert "req_odd" not in ids(environments=frozenset({"dev"}))
    assert "req_odd" not in ids(statuses=frozenset(LifecycleStatus))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("REQ_STUCK", ["req_stuck", "req_stuck_drift"]),
        ("  applied  ", ["req_applied"]),
        ("#12", ["req_stuck", "req_stuck_drift"]),
        ("#1", []),
        ("# 12", []),
        ("no such thing", []),
    ],
)
def test_a_search_ignores_case_and_blanks_and_takes_a_number_exactly(text, found):
    assert ids(text=text) == found


FILTERS = [
    RequestFilter(),
    RequestFilter(stuck=True),
    RequestFilter(drift=True),
    RequestFilter(archived=True),
    RequestFilter(archived=True, drift=True),
    RequestFilter(environments=frozenset({"prod"})),
    RequestFilter(statuses=frozenset({LifecycleStatus.PLANNING})),
    RequestFilter(statuses=frozenset({LifecycleStatus.DESTROYED})),
    RequestFilter(text="drift", stuck=True),
    RequestFilter(text="req_s"),
]


@pytest.mark.parametrize("wanted", FILTERS)
def test_every_count_is_what_a_click_on_it_shows(wanted):
    def shown(**clicked):
        return len(select(ROWS, replace(wanted, **clicked), NOW).rows)

    selection = select(ROWS, wanted, NOW)
    for status, count in selection.by_status.items():
        assert count == shown(statuses=frozenset({status}))
    assert selection.stuck == shown(stuck=True)
    assert selection.drift == shown(drift=True)
    assert selection.archived == shown(archived=True)


def test_every_status_and_environment_can_be_chosen():
    selection = select(ROWS, RequestFilter(environments=frozenset({"prod"})), NOW)
    assert list(selection.by_status) == list(LifecycleStatus)
    assert selection.environments == ["dev", "prod"]
    assert select(ROWS, RequestFilter(), NOW).unreadable == 1


@pytest.mark.parametrize(
    ("number", "expected"),
    [(1, (range(10), 1)), (3, (range(20, 25), 3)), (0, (range(10), 1)), (-5, (range(10), 1)), (99, (range(20, 25), 3))],
)
def test_a_page_beyond_the_ends_is_the_nearest_one(number, expected):
    assert page_of(range(25), number=number, size=10) == (*expected, 3)


def test_an_empty_list_has_one_empty_page():
    assert page_of((), number=4, size=10) == ((), 1, 1)


def test_a_full_last_page_is_not_followed_by_an_empty_one():
    assert page_of(range(20), number=3, size=10) == (range(10, 20), 2, 2)
