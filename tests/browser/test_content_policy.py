"""The content policy in a real browser: every page works under it, and what a page did not bring does not run."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import RunningPortal, settle

pytestmark = pytest.mark.browser

REQUEST = "req_dev_ec2_c5vy9j"
PAGES = {
    "requests": "/",
    "request": f"/request?id={REQUEST}",
    "run index": "/run_index",
    "locks": "/locks",
    "dev reset": "/dev_reset",
}
NOTE_VIOLATIONS = """
    window.__violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
        window.__violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""


@pytest.fixture
def watched(page: Page) -> Page:
    """A page that notes what the policy kept from it, and what a script failed with."""
    page.add_init_script(NOTE_VIOLATIONS)
    return page


def violations(page: Page) -> list[str]:
    return page.evaluate("window.__violations")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing_that_the_policy_keeps_from_it(name: str, watched: Page, portal: RunningPortal):
    failures: list[str] = []

    def note(failure: Error) -> None:
        failures.append(failure.message)

    watched.on("pageerror", note)
    watched.goto(f"{portal.url}{PAGES[name]}")
    settle(watched)
    expect(watched.get_by_role("heading").first).to_be_visible()
    assert (violations(watched), failures) == ([], [])


def test_tables_charts_and_downloads_work_under_the_policy(watched: Page, portal: RunningPortal):
    watched.goto(portal.url)
    watched.get_by_test_id("data-grid-canvas").first.wait_for()
    with watched.expect_download() as download:
        watched.locator(".st-key-requests_csv button").click()
    assert download.value.failure() is None
    watched.goto(f"{portal.url}{PAGES['request']}")
    watched.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first.wait_for()
    assert violations(watched) == []


def test_what_a_page_did_not_bring_neither_runs_nor_leaves(watched: Page, portal: RunningPortal):
    watched.goto(portal.url)
    settle(watched)
    watched.evaluate(
        """async () => {
            const script = document.createElement("script");
            script.textContent = "window.__owned = 1";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<b onclick='window.__owned = 2'>x</b>");
            document.body.lastElementChild.click();
            setTimeout(() => window.eval("window.__owned = 3"), 0);
            await fetch("http://127.0.0.2:9/", {mode: "no-cors"}).catch(() => 0);
            await new Promise((done) => {
                const image = new Image();
                image.onerror = image.onload = done;
                image.src = "http://127.0.0.2:9/pixel.png";
            });
            const frame = document.createElement("iframe");
            frame.src = "http://127.0.0.2:9/";
            document.body.append(frame);
            for (let tries = 0; tries < 500 && window.__violations.length < 6; tries++)
                await new Promise((done) => setTimeout(done, 10));
        }"""
    )
    kept = {line.split()[0] for line in violations(watched)}
    assert kept == {"script-src", "script-src-elem", "script-src-attr", "connect-src", "img-src", "frame-src"}
    assert watched.evaluate("window.__owned") is None
