"""Destroying a request as a person does it: confirm with its id, see it run, and the cleanup follow once."""

from __future__ import annotations

import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import RunningPortal, settle
from tests.doors.door_setup import wait_until

pytestmark = pytest.mark.browser

APPLIED = "req_dev_ecr_r5fz9h"
ALSO_APPLIED = "req_staging_s3_j7bn4f"
OPEN = "req_dev_iam_d8sv4q"
RUN_MS = 60_000
TYPE_ID = "Type the id of the request to confirm"


def confirm_destroy(page: Page, request_id: str) -> None:
    page.get_by_role("button", name="Destroy", exact=True).click()
    expect(page.get_by_text("This cannot be undone.")).to_be_visible()
    page.get_by_role("textbox", name=TYPE_ID).fill(request_id)


def test_an_applied_request_is_destroyed_and_cleaned_up_once(page: Page, portal: RunningPortal):
    portal.ask_nothing_by_itself(APPLIED)
    before, _ = portal.stored(APPLIED)
    destroys, cleanups = (len(portal.runs(before, f"{kind}.yml")) for kind in ("destroy", "cleanup"))

    page.goto(f"{portal.url}/request?id={APPLIED}")
    confirm_destroy(page, APPLIED)
    page.get_by_role("button", name=f"Destroy {APPLIED}").dblclick()
    expect(page.get_by_text("GitHub started run")).to_be_visible()
    expect(page.get_by_text("Destroying, because")).to_be_visible()
    expect(page.get_by_role("button", name="Destroy", exact=True)).to_be_disabled()

    (run, *earlier) = portal.runs(before, "destroy.yml")
    assert len(earlier) == destroys
    started, _ = portal.stored(APPLIED)
    assert started["destroyRun"]["runId"] == started["github"]["workflows"]["destroy"]["runId"] == run["id"]
    assert owner_of(portal, "destroy", run["id"]) == APPLIED

    expect(page.get_by_text("Destroyed, because")).to_be_visible(timeout=RUN_MS)
    wait_until(lambda: len(portal.runs(before, "cleanup.yml")) > cleanups, seconds=RUN_MS / 1000)
    wait_until(lambda: cleanup_conclusion(portal) == "success", seconds=RUN_MS / 1000)
    page.get_by_role("tab", name="Related").click()
    expect(page.get_by_role("cell", name="started").first).to_be_visible()

    (cleanup, *earlier) = portal.runs(before, "cleanup.yml")
    assert len(earlier) == cleanups
    assert len(portal.runs(before, "destroy.yml")) == destroys + 1
    after, _ = portal.stored(APPLIED)
    assert after["github"]["workflows"]["destroy"]["conclusion"] == "success"
    assert after["github"]["cleanupTriggeredForDestroyRunId"] == run["id"]
    assert after["github"]["workflows"]["cleanup"]["runId"] == cleanup["id"]
    assert owner_of(portal, "cleanup", cleanup["id"]) == APPLIED


def test_a_wrong_id_starts_nothing(page: Page, portal: RunningPortal):
    portal.ask_nothing_by_itself(ALSO_APPLIED)
    before, etag = portal.stored(ALSO_APPLIED)
    runs = len(portal.runs(before, "destroy.yml"))
    page.goto(f"{portal.url}/request?id={ALSO_APPLIED}")
    confirm_destroy(page, ALSO_APPLIED)
    page.get_by_role("textbox", name=TYPE_ID).fill(APPLIED)
    page.get_by_role("button", name=f"Destroy {ALSO_APPLIED}").click()
    expect(page.get_by_text("What was typed is not the id of this request. Nothing was started.")).to_be_visible()
    assert portal.stored(ALSO_APPLIED) == (before, etag)
    assert len(portal.runs(before, "destroy.yml")) == runs


def test_the_menu_closes_when_something_is_chosen_from_it(page: Page, portal: RunningPortal):
    portal.ask_nothing_by_itself(ALSO_APPLIED)
    page.goto(f"{portal.url}/request?id={ALSO_APPLIED}")
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="Drift check").click()
    expect(page.get_by_text("It changes nothing: there is nothing to undo.")).to_be_visible()
    expect(page.get_by_role("button", name="Drift check", exact=True)).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_new_parts_have_no_accessibility_findings(page: Page, portal: RunningPortal, scheme: str):
    portal.ask_nothing_by_itself(ALSO_APPLIED)
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{portal.url}/request?id={ALSO_APPLIED}")
    confirm_destroy(page, ALSO_APPLIED)
    page.get_by_role("tab", name="Related").click()
    expect(page.get_by_text("Dispatched with this portal")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="More").click()
    expect(page.get_by_role("button", name="Drift check")).to_be_visible()
    assert_accessible(page)
    portal.ask_nothing_by_itself(OPEN)
    page.goto(f"{portal.url}/request?id={OPEN}")
    expect(page.get_by_role("button", name="Look for the run")).to_be_visible()
    assert_accessible(page)


def cleanup_conclusion(portal: RunningPortal) -> str | None:
    """What is stored of the cleanup run's end."""
    stored, _ = portal.stored(APPLIED)
    cleanup: dict[str, str] = stored["github"]["workflows"].get("cleanup", {})
    return cleanup.get("conclusion")


def assert_accessible(page: Page) -> None:
    settle(page)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    assert not [(each["id"], [node["html"][:160] for node in each["nodes"]][:3]) for each in found]


def owner_of(portal: RunningPortal, kind: str, run_id: int) -> str:
    key = f"webhooks/github/run-index/{kind}/run-{run_id}.json"
    return str(json.loads(portal.s3.get_object(Bucket=portal.bucket, Key=key)["Body"].read())["requestId"])
