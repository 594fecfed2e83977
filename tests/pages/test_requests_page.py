"""The list of requests: what it shows, how it is filtered, and what it says when there is nothing to show."""

from __future__ import annotations

import re

import pytest

from tests.builders import ago, request, run, stuck_planning, with_pull, with_run
from tests.fakes import OUTAGE
from tfpilot.core.model import Answer, FactOutcome, GitHubFacts

APPLIED = with_run(request("req_dev_s3_done", status="applied"), "apply", **run(5, updatedAt=ago(hours=2)))
DRIFTING = request("req_prod_ec2_drift", status="applied", environment="prod", updatedAt=ago(hours=3))


@pytest.fixture
def world(memory):
    """Three requests and an object that is none, read once."""
    memory.store(stuck_planning("req_dev_rds_stuck"), APPLIED, DRIFTING)
    memory.bucket.write("requests/req_dev_s3_broken.json", b"{not json")
    memory.snapshots.refresh()
    return memory


def test_the_newest_change_comes_first_and_nothing_is_left_out(tab, world):
    tab.open_list()
    assert tab.requests == ["req_dev_s3_broken", "req_dev_rds_stuck", "req_dev_s3_done", "req_prod_ec2_drift"]
    assert "1 to 4 of 4, newest change first" in tab.text


def test_an_object_that_is_no_request_is_a_row_with_its_error(tab, world):
    row = tab.open_list().table("Request").iloc[0]
    assert list(row["Status"]) == ["✕ Unreadable"]
    assert "not JSON" in row["Error"]


def test_a_row_tells_status_marks_and_age(tab, world):
    table = tab.open_list().table("Request").set_index("Request")
    assert list(table.loc["req_dev_rds_stuck", "Status"]) == ["◔ Planning"]
    assert list(table.loc["req_dev_rds_stuck", "Marks"]) == ["⚠ Stuck"]
    assert list(table.loc["req_prod_ec2_drift", "Marks"]) == ["≠ Drift"]
    assert table.loc["req_prod_ec2_drift", "Updated"] == "3 h"
    assert table.loc["req_dev_rds_stuck", "PR"] == "https://github.com/acme/infra/pull/7"


def test_a_filter_shows_as_many_rows_as_its_count_says(tab, world):
    tab.open_list()
    (marks,) = [pills for pills in tab.at.button_group if pills.key == "requests_marks"]
    assert marks.options == ["Stuck 1", "Drift 1", "Archived 0"]
    marks.set_value(["stuck"])
    assert tab.look().requests == ["req_dev_rds_stuck"]


def test_filters_stand_in_the_url(tab, world):
    tab.open_list()
    tab.at.text_input(key="requests_text").set_value("drift")
    tab.at.button_group(key="requests_environments").set_value(["prod"])
    tab.look()
    assert tab.at.query_params["q"] == "drift"
    assert tab.at.query_params["env"] == "prod"


def test_a_link_brings_the_filters_back(tab, world):
    tab.open_list(status=["planning", "applied"], env="dev")
    assert tab.requests == ["req_dev_rds_stuck", "req_dev_s3_done"]
    assert tab.at.button_group(key="requests_environments").value == ["dev"]


def test_what_a_link_cannot_mean_is_left_out_of_the_filters(tab, world):
    tab.open_list(status="exploded", page="-3", show="everything", panel="?")
    assert len(tab.requests) == 4


def test_a_link_that_is_opened_in_the_same_tab_counts_over_the_filters_that_were_set(tab, world):
    tab.open_list(show="stuck")
    tab.at.query_params.clear()
    tab.open_list(show="drift")
    assert tab.requests == ["req_prod_ec2_drift"]


def test_nothing_matching_says_so_and_offers_to_clear_the_filters(tab, world):
    tab.open_list(q="nothing-has-this-name")
    assert "No request matches these filters" in tab.text
    assert len(tab.click("Clear the filters").requests) == 4


def test_a_page_holds_25_rows_and_the_url_says_which_one(tab, memory):
    memory.store(*(request(f"req_dev_s3_n{number:03}", updatedAt=ago(minutes=number)) for number in range(60)))
    memory.snapshots.refresh()
    tab.open_list(page="3")
    assert tab.requests == [f"req_dev_s3_n{number:03}" for number in range(50, 60)]
    assert "51 to 60 of 60" in tab.text
    assert tab.at.query_params["page"] == "3"


def test_turning_a_page_keeps_the_filters_and_a_filter_goes_back_to_the_first_page(tab, memory):
    memory.store(*(request(f"req_dev_s3_n{number:03}", updatedAt=ago(minutes=number)) for number in range(60)))
    memory.snapshots.refresh()
    tab.open_list(env="dev")
    tab.at.pagination[0].set_value(2)
    assert tab.look().requests[0] == "req_dev_s3_n025"
    tab.at.text_input(key="requests_text").set_value("n0")
    assert tab.look().requests[0] == "req_dev_s3_n000"
    assert "page" not in tab.at.query_params


def test_a_page_beyond_the_last_shows_the_last(tab, world):
    assert len(tab.open_list(page="99").requests) == 4


def test_the_selected_request_is_told_beside_the_list(tab, world):
    tab.open_list(request="req_dev_rds_stuck")
    assert "Rule 11: the stored plan run is still active" in tab.text
    assert "STUCK_PLANNING" in tab.text
    assert tab.has_button("Preview repair")


def test_a_selection_is_kept_by_id_when_rows_move(tab, world):
    tab.open_list()
    tab.at.session_state[tab.at.dataframe[0].key] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    tab.look()
    assert tab.at.query_params["request"] == "req_dev_rds_stuck"
    world.store(request("req_dev_s3_newer", updatedAt=ago(minutes=1)))
    world.snapshots.refresh()
    tab.look()
    assert tab.requests.index("req_dev_rds_stuck") == 2
    assert tab.at.query_params["request"] == "req_dev_rds_stuck"


def test_preview_repair_beside_the_list_leads_to_the_preview_and_writes_nothing(tab, world):
    before = world.bucket.contents()["requests/req_dev_rds_stuck.json"]
    world.github.answers["req_dev_rds_stuck"] = GitHubFacts(reviews=Answer(FactOutcome.OK, ()))
    tab.open_list(request="req_dev_rds_stuck").click("Preview repair")
    assert tab.at.title[0].value == "req_dev_rds_stuck"
    assert "Repair preview" in tab.text
    assert world.bucket.contents()["requests/req_dev_rds_stuck.json"] == before


def test_an_unreadable_object_can_be_selected_too(tab, world):
    tab.open_list(request="req_dev_s3_broken")
    assert "UNREADABLE" in tab.text
    assert not tab.has_button("Preview repair")


def test_a_selected_request_that_is_gone_says_so_and_the_list_stays(tab, world):
    tab.open_list(request="req_dev_s3_gone")
    assert "There is no such request" in tab.text
    assert len(tab.requests) == 4


def test_when_storage_is_down_the_last_reading_stays_with_its_age(tab, world):
    tab.open_list()
    world.bucket.outage = OUTAGE
    world.clock.advance(minutes=4)
    tab.click("Refresh")
    assert "Storage cannot be reached" in tab.text
    assert "last complete reading, from 12:00 UTC, 4 min old" in tab.text
    assert len(tab.requests) == 4


def test_when_storage_answers_again_the_error_goes(tab, world):
    world.bucket.outage = OUTAGE
    world.snapshots.refresh()
    tab.open_list()
    world.bucket.outage = None
    tab.click("Try again")
    assert "Storage cannot be reached" not in tab.text


def test_when_storage_never_answered_there_is_an_error_and_no_empty_table(tab, memory):
    memory.bucket.outage = OUTAGE
    memory.snapshots.refresh()
    tab.open_list()
    assert "Storage cannot be reached" in tab.text
    assert "No requests" not in tab.text
    assert not tab.has_table("Request")


def test_during_the_first_reading_it_says_so_and_shows_no_table(tab, memory):
    tab.open_list()
    assert "for the first time" in tab.text
    assert not tab.has_table("Request")


def test_an_empty_bucket_is_named_and_told_from_a_failure(tab, memory):
    memory.snapshots.refresh()
    tab.open_list()
    assert "No requests in this bucket yet" in tab.text
    assert "tfpilot-requests" in tab.text


def test_a_reading_that_ended_since_is_shown_on_the_next_look(tab, memory):
    tab.open_list()
    memory.store(request())
    memory.snapshots.refresh()
    assert tab.look().requests == ["req_dev_s3_abc123"]


def test_looking_for_what_only_one_request_has_opens_it(tab, world):
    tab.open_list()
    tab.at.text_input(key="shell_find").set_value("101")
    tab.look()
    assert tab.at.title[0].value == "req_dev_rds_stuck"


def test_looking_for_what_several_requests_have_shows_them(tab, world):
    tab.open_list()
    tab.at.text_input(key="shell_find").set_value("req_dev")
    tab.look()
    assert tab.at.title[0].value == "Requests"
    assert tab.requests == ["req_dev_s3_broken", "req_dev_rds_stuck", "req_dev_s3_done"]
    assert tab.at.query_params["q"] == "req_dev"


def test_looking_for_an_id_that_begins_another_opens_exactly_that_one(tab, memory):
    memory.store(request("req_dev_s3_a"), request("req_dev_s3_a_b"))
    memory.snapshots.refresh()
    tab.open_list()
    tab.at.text_input(key="shell_find").set_value("req_dev_s3_a")
    tab.look()
    assert tab.at.title[0].value == "req_dev_s3_a"


def test_markup_in_stored_fields_is_shown_as_text(tab, memory):
    hostile = "<img src=x onerror=alert(1)> [x](javascript:alert(1)) :red[y] $z$"
    memory.store(with_pull(request(project=hostile, environment=hostile), url="javascript:alert(1)"))
    memory.snapshots.refresh()
    tab.open_list(request="req_dev_s3_abc123")
    shown = " ".join(element.value for element in tab.at.markdown)
    assert "img" in shown
    for markup in ("<img", "[x]", "](", ":red", "$z"):
        assert not re.search(rf"(?<!\\){re.escape(markup)}", shown), markup
    assert tab.table("Request").iloc[0]["PR"] == ""


def test_the_sidebar_tells_where_one_is_and_as_whom(tab, world):
    world.github.quota = (4812, 5000)
    tab.open_list()
    assert "tfpilot-requests · eu-west-2" in tab.text
    assert "GitHub 4,812 of 5,000 left" in tab.text
    assert "local · admin" in tab.text
    assert "Sandbox" not in tab.text
