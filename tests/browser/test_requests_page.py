"""The list of requests in a real browser: its place in the URL, hostile text, and who can use it."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import RunningPortal, settle, start_portal, stop_portal, wait_until_it_answers

pytestmark = pytest.mark.browser

HOSTILE = "req_dev_s3_hostile"
EVIL = "<img src=x onerror=alert(1)> [a](javascript:alert(1)) ![b](https://evil.test/x.png) https://evil.test"
EVIL += " www.evil.test $e=mc^2$ :red[c] :material/delete: :smile: me@evil.test **bold**"


def test_filters_survive_a_reload_and_the_browsers_back(page: Page, portal: RunningPortal):
    page.goto(portal.url)
    page.get_by_role("button", name="prod", exact=True).click()
    expect(page).to_have_url(re.compile("env=prod"))
    page.get_by_role("button", name=re.compile(r"^Failed \d+")).click()
    expect(page).to_have_url(re.compile("status=failed"))
    counted = page.get_by_text(re.compile(r"^1 to \d+ of \d+"))
    shown = counted.inner_text()
    page.reload()
    expect(counted).to_have_text(shown)
    page.go_back()
    expect(page).not_to_have_url(re.compile("status=failed"))
    expect(counted).not_to_have_text(shown)


def test_a_filter_stays_set_when_its_count_changes(page: Page, portal: RunningPortal):
    page.goto(portal.url)
    page.get_by_role("button", name=re.compile(r"^Request created \d+")).click()
    counted = page.get_by_text(re.compile(r"^1 to \d+ of \d+"))
    expect(page).to_have_url(re.compile("status=request_created"))
    settle(page)
    before = int(counted.inner_text().split()[4].rstrip(","))
    portal.store({"id": "req_dev_s3_brandnew", "version": 1})
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("button", name=f"Request created {before + 1}")).to_be_visible()
    expect(counted).to_have_text(re.compile(rf"of {before + 1},"))
    expect(page).to_have_url(re.compile("status=request_created"))


def test_looking_for_a_pull_request_number_opens_its_request(page: Page, portal: RunningPortal):
    page.goto(portal.url)
    settle(page)
    search = page.get_by_role("textbox", name="Find a request")
    search.fill("#412")
    search.press("Enter")
    expect(page.get_by_role("heading", name="req_dev_ec2_c5vy9j")).to_be_visible()


def test_markup_in_a_document_stays_text(page: Page, portal: RunningPortal):
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    portal.store(
        {
            "id": HOSTILE,
            "version": 1,
            "project": EVIL,
            "environment": EVIL,
            "module": EVIL,
            "branchName": EVIL,
            "status": EVIL,
            "config": {"tags": {"tfpilot:created_by": EVIL}},
            "prUrl": "javascript:alert(1)",
            "pr": {"number": 3, "url": "javascript:alert(1)", "open": True, "title": EVIL},
            "planRun": {"runId": 5, "status": EVIL, "conclusion": EVIL, "url": "javascript:alert(1)"},
        }
    )
    page.goto(f"{portal.url}/request?id={HOSTILE}")
    expect(page.get_by_text("[a](javascript:alert(1))").first).to_be_visible()
    settle(page)
    main = page.get_by_test_id("stMain")
    assert (
        main.locator(
            "a[href*='evil'], a[href^='javascript'], a[href^='mailto'], img, .katex, strong:text('bold')"
        ).count()
        == 0
    )
    assert not [url for url in fetched if "evil" in url]


def test_a_link_to_a_request_as_the_first_visit_stands_in_the_frame(page: Page, tmp_path, free_port):
    log = tmp_path / "portal.log"
    process = start_portal(free_port, log)
    try:
        url = f"http://localhost:{free_port}"
        wait_until_it_answers(f"{url}/healthz", process, log)
        page.goto(f"{url}/request?id=req_dev_s3_abc123")
        expect(page.get_by_text("The portal is not configured")).to_be_visible()
        expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)
    finally:
        stop_portal(process)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/request?id=req_dev_ec2_f6jq4n"])
def test_the_page_has_no_accessibility_findings(page: Page, portal: RunningPortal, path: str, scheme: str):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{portal.url}{path}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    settle(page)
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
    told = [(each["id"], [node["html"][:160] for node in each["nodes"]][:3]) for each in found]
    assert not told
