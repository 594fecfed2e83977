"""The run index as a person works with it: look up a run, audit, backfill what is missing, take it back, ignore."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from axe_playwright_python.sync_playwright import Axe
from botocore.exceptions import ClientError
from playwright.sync_api import Page, expect

from tests.browser.conftest import RunningPortal, settle
from tfpilot.core.document import format_time
from tfpilot.core.model import WorkflowKind
from tfpilot.core.run_index import entry_key, new_entry, render_entry

pytestmark = pytest.mark.browser

TRACKED, FOUND, STRAY = "req_dev_s3_idxmissing", "req_dev_s3_idxfound", "README-of-the-journey.txt"
MISSING_RUN, FOUND_RUN = 4100000101, 4100000102


def put_world(portal: RunningPortal) -> None:
    """A request whose plan run has no entry, one whose run has it, and an object that is no entry."""
    created = datetime.now(UTC) - timedelta(hours=1)
    for request_id, run_id in ((TRACKED, MISSING_RUN), (FOUND, FOUND_RUN)):
        plan = {"runId": run_id, "status": "completed", "conclusion": "success", "createdAt": format_time(created)}
        portal.store({"id": request_id, "version": 1, "environment": "dev", "github": {"workflows": {"plan": plan}}})
    entry = render_entry(new_entry(WorkflowKind.PLAN, FOUND_RUN, FOUND, created_at=created))
    portal.s3.put_object(Bucket=portal.bucket, Key=entry_key(WorkflowKind.PLAN, FOUND_RUN), Body=entry)
    portal.s3.put_object(Bucket=portal.bucket, Key=f"webhooks/github/run-index/{STRAY}", Body=b"hello")


def stored_entry(portal: RunningPortal) -> dict[str, object] | None:
    try:
        answer = portal.s3.get_object(Bucket=portal.bucket, Key=entry_key(WorkflowKind.PLAN, MISSING_RUN))
    except ClientError:
        return None
    found: dict[str, object] = json.loads(answer["Body"].read())
    return found


def choose_code(page: Page, code: str) -> None:
    page.get_by_role("radio", name=re.compile(rf"^{code} \d+")).click()
    expect(page).to_have_url(re.compile(f"code={code}"))
    settle(page)


def tick(page: Page, number: int) -> None:
    """Ticks the row of the table of findings with that number, from 1: its cells are drawn, not elements."""
    table = page.get_by_test_id("stDataFrame").first
    table.get_by_test_id("data-grid-canvas").wait_for()
    settle(page)
    table.click(position={"x": 16, "y": 32 * number + 16})


def row_of(page: Page, told: str) -> int:
    """Which row of the findings says that, by what the table tells those who do not see it."""
    table = page.locator("[data-testid=stDataFrameResizable][aria-label^='Findings']")
    rows = (table.get_attribute("aria-label") or "").partition(": ")[2].split("; ")
    return next(number for number, row in enumerate(rows, 1) if told in row)


def test_a_missing_entry_is_found_written_and_taken_back(page: Page, portal: RunningPortal):
    put_world(portal)
    page.goto(f"{portal.url}/run_index")
    page.get_by_role("button", name="Run audit").click()
    expect(page.get_by_text(re.compile(r"\d+ requests.* · \d+ findings"))).to_be_visible()
    settle(page)
    page.get_by_label("Run id").fill(str(FOUND_RUN))
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_text("names the run that the request tracks")).to_be_visible()
    expect(page.get_by_role("link", name=FOUND)).to_be_visible()

    choose_code(page, "MISSING")
    tick(page, row_of(page, str(MISSING_RUN)))
    evidence = page.get_by_role("listitem").filter(has_text=f"request {TRACKED} tracks it as its plan run")
    expect(evidence).to_be_visible()
    page.get_by_role("button", name="Plan fix of 1").click()
    expect(page.get_by_text("Nothing is written yet")).to_be_visible()
    assert stored_entry(portal) is None

    page.get_by_role("button", name="Apply 1 fix").dblclick()
    expect(page.get_by_text("1 entry fixed.")).to_be_visible()
    written = stored_entry(portal)
    assert written is not None
    assert written["requestId"] == TRACKED

    page.get_by_role("button", name="Undo this fix").first.click()
    expect(page.get_by_text("1 entry taken back.")).to_be_visible()
    assert stored_entry(portal) is None


def test_a_finding_is_ignored_with_a_reason(page: Page, portal: RunningPortal):
    put_world(portal)
    page.goto(f"{portal.url}/run_index")
    page.get_by_role("button", name="Run audit").click()
    choose_code(page, "STRAY_KEY")
    tick(page, row_of(page, STRAY))
    page.get_by_label("Reason").first.fill("Written by hand, nobody reads it")
    page.get_by_role("button", name="Ignore 1").click()
    page.get_by_text(re.compile(r"findings? ignored, with a reason")).click()
    expect(page.get_by_role("cell", name="Written by hand, nobody reads it")).to_be_visible()
    listed = portal.s3.list_objects_v2(Bucket=portal.bucket, Prefix="ops/marks/run-index/")
    bodies = [portal.s3.get_object(Bucket=portal.bucket, Key=each["Key"])["Body"].read() for each in listed["Contents"]]
    assert any(b"Written by hand" in body for body in bodies)


def test_the_view_survives_a_reload(page: Page, portal: RunningPortal):
    page.goto(f"{portal.url}/run_index")
    page.get_by_role("radio", name=re.compile(r"^apply \d+")).click()
    expect(page).to_have_url(re.compile("kind=apply"))
    counted = page.get_by_text(re.compile(r"^1 to \d+ of \d+$"))
    shown = counted.inner_text()
    page.reload()
    expect(counted).to_have_text(shown)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/run_index", "/run_index?tab=deliveries"])
def test_the_page_has_no_accessibility_findings(page: Page, portal: RunningPortal, path: str, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{portal.url}{path}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    run_audit = page.get_by_role("button", name="Run audit")
    run_audit.click()
    expect(run_audit).to_be_enabled()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    settle(page)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    told = [(each["id"], [node["html"][:160] for node in each["nodes"]][:3]) for each in found]
    assert not told
