"""Terraform's locks as a person works with them: see who holds what, and release the one whose run is over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS, RunningPortal, settle
from tfpilot.core.lock_release import APART

pytestmark = pytest.mark.browser

TABLE, LOCK_ITEM = "tfpilot-locks-dev", "tfpilot-tfstate-orders-dev/dev/terraform.tfstate"
WAITS_MS = (APART + timedelta(milliseconds=PATIENCE_MS)) / timedelta(milliseconds=1)


def item(portal: RunningPortal, lock_id: str = LOCK_ITEM) -> str | None:
    """What the lock item says; None where there is none."""
    found = portal.tables.get_item(TableName=TABLE, Key={"LockID": {"S": lock_id}}, ConsistentRead=True).get("Item")
    return None if found is None else found["Info"]["S"]


@pytest.fixture
def stood(portal: RunningPortal) -> Iterator[str]:
    """What the lock item says before the test; afterwards it stands there again, as others expect it."""
    before = item(portal)
    assert before is not None
    yield before
    portal.tables.put_item(TableName=TABLE, Item={"LockID": {"S": LOCK_ITEM}, "Info": {"S": before}})


def test_locks_are_listed_with_their_verdict_and_lead_to_run_and_request(page: Page, portal: RunningPortal):
    page.goto(f"{portal.url}/locks")
    expect(page.get_by_role("cell", name="Malformed")).to_be_visible()
    expect(page.get_by_role("cell", name=re.compile("ask lena"))).to_be_visible()
    row = page.get_by_role("row").filter(has_text="ledger-dev").filter(has_text="laptop-17")
    expect(row).to_contain_text("no run")
    expect(page.get_by_text(re.compile(r"Data ([5-9]|\d\d) s old"))).to_be_visible()
    page.keyboard.press("u")
    expect(page.get_by_text(re.compile(r"Data [0-4] s old"))).to_be_visible()


def test_a_link_opens_the_malformed_lock_and_says_what_to_type(page: Page, portal: RunningPortal):
    page.goto(f"{portal.url}/locks?lock=ledger-dev/dev/reporting/terraform.tfstate")
    expect(page.get_by_text("Type the key of its place")).to_be_visible()
    expect(page.get_by_text(re.compile(r"Second reading in \d+ s"))).to_be_visible()
    expect(page.get_by_role("button", name="Release this lock")).to_be_disabled()
    settle(page)
    page.reload()
    expect(page.get_by_text("Type the key of its place")).to_be_visible()


def test_the_lock_of_a_run_that_is_over_is_released_with_both_readings_its_id_and_a_reason(
    page: Page, portal: RunningPortal, stood: str
):
    lock_id = json.loads(stood)["ID"]
    page.goto(f"{portal.url}/locks")
    row = page.get_by_role("row").filter(has_text="orders-dev")
    expect(row).to_contain_text("no job is running")
    request = row.get_by_role("link", name=re.compile("^req_"))
    expect(request).to_have_attribute("href", re.compile(r"request\?id=req_"))

    page.get_by_text("Release the lock of orders-dev").click()
    expect(page).to_have_url(re.compile("lock=orders-dev"))
    fire = page.get_by_role("button", name="Release this lock")
    expect(fire).to_be_disabled()
    page.get_by_label("Type the lock id to release it").fill(lock_id)
    page.get_by_label("Reason").fill("The runner is gone")
    page.get_by_label("Reason").press("Enter")
    expect(fire).to_be_enabled(timeout=WAITS_MS)
    assert item(portal) == stood

    fire.dblclick()
    expect(page.get_by_text("The lock was released")).to_be_visible()
    assert item(portal) is None
    expect(page.get_by_role("row").filter(has_text="orders-dev").filter(has_text="no job")).to_have_count(0)
    listed = portal.s3.list_objects_v2(Bucket=portal.bucket, Prefix="ops/backups/locks/")["Contents"]
    [kept] = [json.loads(portal.s3.get_object(Bucket=portal.bucket, Key=each["Key"])["Body"].read()) for each in listed]
    assert kept["places"][0]["item"]["Info"]["S"] == stood
    assert kept["reason"] == "The runner is gone"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/locks", "/locks?lock=ledger-dev/dev/terraform.tfstate"])
def test_the_page_has_no_accessibility_findings(page: Page, portal: RunningPortal, path: str, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{portal.url}{path}")
    expect(page.get_by_role("cell", name="Malformed")).to_be_visible()
    if "lock=" in path:
        expect(page.get_by_text(re.compile(r"Second reading in \d+ s"))).to_be_visible()
    settle(page)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    told = [(each["id"], [node["html"][:160] for node in each["nodes"]][:3]) for each in found]
    assert not told
