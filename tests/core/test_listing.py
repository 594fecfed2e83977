"""Rows of the list: they change with time exactly as the requests themselves do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago
from tests.core.saying import THRESHOLDS, before, parsed
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.listing import summarise, unreadable_row
from tfpilot.core.model import LifecycleStatus

A_MOMENT = timedelta(milliseconds=1)


def row(fields, **options):
    return summarise(parsed(fields), thresholds=THRESHOLDS, **options)


def test_a_row_turns_failed_at_the_same_instant_as_the_request():
    destroying = {"github.destroyTriggeredAt": ago(minutes=15)}
    for now in (before(minutes=9), NOW, NOW + A_MOMENT, NOW + timedelta(days=1)):
        assert row(destroying).status_at(now) is derive_status(parsed(destroying), now)
    assert row(destroying).status_at(NOW) is LifecycleStatus.DESTROYING
    assert row(destroying).status_at(NOW + A_MOMENT) is LifecycleStatus.FAILED


def test_a_destroy_that_an_apply_superseded_never_turns_a_row_failed():
    fields = {
        "github.destroyTriggeredAt": ago(hours=2),
        "applyRun": {"runId": 5, "conclusion": "success", "createdAt": ago(hours=1)},
    }
    assert row(fields).status_at(NOW) is LifecycleStatus.APPLIED


def test_a_row_is_stuck_strictly_after_the_threshold():
    fields = {"planRun": {"runId": 5, "status": "queued", "createdAt": ago(minutes=15)}}
    assert not row(fields).is_stuck_at(NOW)
    assert row(fields).is_stuck_at(NOW + A_MOMENT)


def test_a_destroy_whose_trigger_cannot_be_read_is_stuck_from_the_start():
    fields = {"github.destroyTriggeredAt": "soon"}
    assert row(fields).is_stuck_at(NOW)
    assert row(fields).status_at(NOW) is LifecycleStatus.FAILED


def test_an_archived_copy_is_never_stuck():
    fields = {"planRun": {"runId": 5, "status": "queued", "createdAt": ago(hours=9)}}
    assert not row(fields, archived=True).is_stuck_at(NOW)


def test_drift_is_judged_at_the_time_of_looking():
    fields = {"github.destroyTriggeredAt": ago(minutes=15), "status": "destroying"}
    assert not row(fields).has_drift_at(NOW)
    assert row(fields).has_drift_at(NOW + A_MOMENT)


def test_a_row_holds_what_a_table_shows():
    fields = {"prNumber": 7, "github.pr": {"number": 7, "url": "https://github.com/acme/infra/pull/7"}, "version": 3}
    shown = row(fields, has_archived_copy=True)
    assert (shown.id, shown.environment, shown.project, shown.module) == (REQUEST_ID, "dev", "core", "s3-bucket")
    assert (shown.repo, shown.pr_number, shown.pr_url) == ("acme/infra", 7, "https://github.com/acme/infra/pull/7")
    assert (shown.created_by, shown.version, shown.updated_at) == ("maya-k", 3, before(hours=1))
    assert (shown.archived, shown.has_archived_copy, shown.error) == (False, True, None)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil", " https://x", "", 7])
def test_only_a_web_address_becomes_a_link(url):
    assert row({"prNumber": 7, "github.pr": {"number": 7, "url": url}}).pr_url == ""


def test_a_request_without_an_update_time_is_dated_by_its_arrival():
    assert row({"updatedAt": None}).updated_at == before(hours=1)
    assert row({"updatedAt": "soon", "receivedAt": None}).updated_at is None


@pytest.mark.parametrize("part", [REQUEST_ID, "#7", "request/req_dev", "101", "102", "c0de", "5ea1", "beef"])
def test_a_request_is_found_by_id_number_branch_run_and_sha(part):
    fields = {
        "github.pr": {"number": 7, "headSha": "BEEF"},
        "github.workflows.plan": {"runId": 101, "headSha": "C0DE"},
        "planRun": {"runId": 102},
        "mergedSha": "5EA1",
    }
    assert part in row(fields).search


def test_an_unreadable_object_is_a_row_with_its_error():
    shown = unreadable_row("Req_Odd", "not JSON", updated_at=NOW)
    assert (shown.id, shown.error, shown.status_at(NOW), shown.search) == ("Req_Odd", "not JSON", None, "req_odd")
    assert not shown.is_stuck_at(NOW)
    assert not shown.has_drift_at(NOW)
