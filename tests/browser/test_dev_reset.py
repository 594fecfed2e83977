"""Dev reset as a person works with it: the whole wizard and back, a reload in the middle, a portal that is killed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    RunningPortal,
    find_free_port,
    settle,
    start_portal,
    stop_portal,
    wait_until_it_answers,
)

pytestmark = pytest.mark.browser

TARGET = "payments-dev"
STATES = "tfpilot-tfstate-payments-dev"
LEASE = f"ops/leases/reset-{TARGET}.json"
MANY = 200


def keys_under(portal: RunningPortal, bucket: str, prefix: str) -> list[str]:
    pages = portal.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def contents(portal: RunningPortal) -> Mapping[str, str]:
    """The ETag of everything that a reset may touch."""
    places = [(portal.bucket, prefix) for prefix in ("requests/", "history/", "webhooks/github/run-index/")]
    found = {}
    for bucket, prefix in (*places, (STATES, "")):
        pages = portal.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found.update({each["Key"]: each["ETag"] for page in pages for each in page.get("Contents", [])})
    return {key: etag for key, etag in found.items() if not key.startswith("tfpilot-ops-backup/")}


@pytest.fixture
def many_requests(portal: RunningPortal) -> Iterator[None]:
    """So many requests of the target that its reset takes a while; they are gone afterwards."""
    key = next(key for key in keys_under(portal, portal.bucket, "requests/") if "payments" in body_of(portal, key))
    model = json.loads(body_of(portal, key))

    def put(number: int) -> None:
        portal.store({**model, "id": f"req_dev_many_{number}", "targetEnvPath": "envs/dev", "github": {}})

    def remove(number: int) -> None:
        portal.s3.delete_object(Bucket=portal.bucket, Key=f"requests/req_dev_many_{number}.json")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(MANY)))
        yield
        list(pool.map(remove, range(MANY)))


def body_of(portal: RunningPortal, key: str) -> str:
    content: bytes = portal.s3.get_object(Bucket=portal.bucket, Key=key)["Body"].read()
    return content.decode(errors="replace")


@pytest.fixture
def start_another(portal: RunningPortal, tmp_path: Path) -> Iterator[Callable[[], tuple[str, Any]]]:
    """Starts another portal on the same sandbox; answers where it is, and its process."""
    started: list[Any] = []

    def start() -> tuple[str, Any]:
        port, log = find_free_port(), tmp_path / f"portal-{len(started)}.log"
        settings = {**portal.environment, "TFPILOT_CACHE_DIR": str(tmp_path / f"cache-{len(started)}")}
        process = start_portal(port, log, **settings)
        started.append(process)
        url = f"http://localhost:{port}"
        wait_until_it_answers(f"{url}/readyz", process, log)
        return url, process

    yield start
    for process in started:
        stop_portal(process)


def go_to_confirm(page: Page, url: str) -> None:
    page.goto(f"{url}/dev_reset?target={TARGET}")
    expect(page.get_by_text("10 of 10 passed")).to_be_visible()
    reason = page.get_by_label("Reason, kept with the reset")
    reason.fill("state broken after provider upgrade")
    reason.press("Enter")
    page.get_by_role("button", name="Make the plan").click()
    expect(page.get_by_text("nothing has been changed")).to_be_visible()
    page.get_by_role("button", name="Go on to confirm").click()
    expect(page.get_by_text(re.compile("unchanged, "))).to_be_visible()


def acknowledge(page: Page) -> None:
    for sentence in ("destroyed or abandoned", "listed know about it"):
        page.get_by_test_id("stCheckbox").filter(has_text=sentence).locator("label").click()
        settle(page)


def type_phrase(page: Page, verb: str, typed: str | None = None) -> None:
    """Types what the page asks for, or something else."""
    phrase = page.locator("label code").filter(has_text=re.compile(f"^{verb} {TARGET} ")).inner_text()
    box = page.get_by_label(re.compile(f"^Type `?{verb} "))
    box.fill(typed or phrase)
    box.press("Enter")
    settle(page)


def undo(page: Page) -> None:
    type_phrase(page, "undo")
    page.get_by_role("button", name="Undo this reset").click()
    expect(page.get_by_text(f"Reset of {TARGET} was undone")).to_be_visible()


def test_the_whole_wizard_with_a_wrong_phrase_a_reload_and_an_undo(page: Page, portal: RunningPortal):
    before = contents(portal)
    go_to_confirm(page, portal.url)
    fire = page.get_by_role("button", name=f"Reset {TARGET}")
    expect(fire).to_be_disabled()
    acknowledge(page)
    type_phrase(page, "reset", f"reset {TARGET}")
    fire.click()
    expect(page.get_by_text("What was typed is not the phrase of this plan")).to_be_visible()
    assert contents(portal) == before

    type_phrase(page, "reset")
    fire.dblclick()
    page.wait_for_url(re.compile(r"reset=rst_"))
    page.reload()
    expect(page.get_by_text(f"Reset of {TARGET} finished")).to_be_visible()
    assert [key for key in contents(portal) if key in before and key.endswith(".tfstate")] == []
    assert len(keys_under(portal, portal.bucket, "ops/resets/rst_")) > 0

    colleague = page.context.new_page()
    colleague.goto(page.url)
    expect(colleague.get_by_text(f"Reset of {TARGET} finished")).to_be_visible()
    colleague.close()

    page.get_by_role("button", name="Preview undo").click()
    expect(page.get_by_text("2 of 2 states as the reset left it")).to_be_visible()
    undo(page)
    assert contents(portal) == before


def test_a_portal_that_is_killed_in_the_middle_loses_nothing(
    page: Page, portal: RunningPortal, many_requests: None, start_another: Callable[[], tuple[str, Any]]
):
    before = contents(portal)
    url, process = start_another()
    go_to_confirm(page, url)
    acknowledge(page)
    type_phrase(page, "reset")
    page.get_by_role("button", name=f"Reset {TARGET}").click()
    wait_for_requests(portal)
    process.kill()
    process.wait()
    held = contents(portal)
    assert [key for key in held if key.startswith("requests/req_dev_many_")] != []
    assert [key for key in held if key.endswith(".tflock")] != []

    url, _ = start_another()
    page.goto(f"{url}/dev_reset?target={TARGET}")
    expect(page.get_by_text(f"A reset of {TARGET} is running")).to_be_visible()
    let_its_hold_end(portal)
    page.reload()
    expect(page.get_by_text(f"A reset of {TARGET} was interrupted")).to_be_visible()
    page.get_by_role("button", name="See it, or undo it").click()
    expect(page.get_by_text("Terraform's lock still has this reset's name in it")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Resume: ")).click()
    expect(page.get_by_text(f"Reset of {TARGET} finished")).to_be_visible()
    left = contents(portal)
    assert not [
        key for key in left if key.startswith("requests/req_dev_many_") or key.endswith((".tflock", ".tfstate"))
    ]
    undo(page)
    assert contents(portal) == before


def wait_for_requests(portal: RunningPortal) -> None:
    """Waits until the first request is copied."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        listed = portal.s3.list_objects_v2(Bucket=portal.bucket, Prefix="history/req_dev_many_", MaxKeys=1)
        if listed.get("KeyCount", 0):
            return
    pytest.fail("no reset came to its requests")


def resets(portal: RunningPortal) -> list[str]:
    listed = portal.s3.list_objects_v2(Bucket=portal.bucket, Prefix="ops/resets/rst_", Delimiter="/")
    return [each["Prefix"].split("/")[2] for each in listed.get("CommonPrefixes", [])]


def let_its_hold_end(portal: RunningPortal) -> None:
    """What a minute does to the hold of a process that is gone."""
    lease = json.loads(body_of(portal, LEASE))
    lease["until"] = (
        (datetime.now(UTC) - timedelta(seconds=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    portal.s3.put_object(Bucket=portal.bucket, Key=LEASE, Body=json.dumps(lease).encode())


def test_the_steps_have_no_accessibility_findings_in_either_theme(page: Page, portal: RunningPortal):
    page.goto(f"{portal.url}/dev_reset?target=orders-dev")
    expect(page.get_by_text("9 of 10 passed")).to_be_visible()
    expect(page.get_by_role("link", name="see the lock")).to_have_attribute(
        "href", re.compile(r"locks\?lock=orders-dev")
    )
    check_accessible(page)
    go_to_confirm(page, portal.url)
    check_accessible(page)
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_text("nothing has been changed")).to_be_visible()
    check_accessible(page)
    page.goto(f"{portal.url}/dev_reset?reset={resets(portal)[0]}")
    expect(page.get_by_text(f"Reset of {TARGET} was undone")).to_be_visible()
    check_accessible(page)


def check_accessible(page: Page) -> None:
    """Streamlit's own colour of a chosen segment is left out: it is the theme's primary one, made for white on it."""
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        settle(page)
        segments = {"exclude": [["[data-testid=stButtonGroup]"]]}
        found = Axe().run(page, context=segments, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
        told = [(each["id"], [node["html"][:160] for node in each["nodes"]][:3]) for each in found]
        assert not told, scheme
