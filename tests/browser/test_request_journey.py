"""The main job, as a person does it: find a stuck request, see why, preview its repair, repair it, see it move."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import RunningPortal, choose_row, settle

pytestmark = pytest.mark.browser

STUCK = "req_dev_ec2_c5vy9j"
ALSO_STUCK = "req_dev_s3_h4kz8w"


def test_a_stuck_request_is_found_understood_and_repaired(page: Page, portal: RunningPortal):
    portal.ask_nothing_by_itself(STUCK)
    before, etag = portal.stored(STUCK)

    page.goto(portal.url)
    page.get_by_role("button", name=re.compile(r"^Stuck \d+")).click()
    page.get_by_label("Search", exact=True).fill(STUCK)
    page.get_by_label("Search", exact=True).press("Enter")
    expect(page.get_by_text("1 to 1 of 1, newest change first")).to_be_visible()
    choose_row(page, 1)
    expect(page.get_by_text("the stored plan run is still active")).to_be_visible()
    expect(page).to_have_url(re.compile(rf"show=stuck.*request={STUCK}"))

    page.get_by_role("button", name="Preview repair").click()
    expect(page.get_by_role("heading", name=STUCK)).to_be_visible()
    expect(page.get_by_text("Nothing is written yet")).to_be_visible()
    expect(page.get_by_role("cell", name="github.workflows.plan.conclusion")).to_be_visible()
    assert portal.stored(STUCK) == (before, etag)

    page.get_by_role("button", name=re.compile(r"^Repair: write \d+ fields")).click()
    expect(page.get_by_text("Approved, because")).to_be_visible()
    expect(page.get_by_text("What was written")).to_be_visible()
    after, _ = portal.stored(STUCK)
    assert after["version"] == before["version"] + 1
    assert after["github"]["workflows"]["plan"]["conclusion"] == "success"
    assert after["planRun"]["conclusion"] == "success"


def test_two_clicks_on_repair_write_once(page: Page, portal: RunningPortal):
    portal.ask_nothing_by_itself(ALSO_STUCK)
    before, _ = portal.stored(ALSO_STUCK)
    lines = len(portal.events(ALSO_STUCK))
    page.goto(f"{portal.url}/request?id={ALSO_STUCK}")
    page.get_by_role("button", name="Preview repair").click()
    repair = page.get_by_role("button", name=re.compile(r"^Repair: write"))
    expect(repair).to_be_enabled()
    repair.dblclick()
    expect(page.get_by_text("What was written")).to_be_visible()
    settle(page)
    after, _ = portal.stored(ALSO_STUCK)
    assert after["version"] == before["version"] + 1
    assert len(portal.events(ALSO_STUCK)) == lines + 1
