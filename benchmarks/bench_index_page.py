"""The page of the run index with many entries and findings: what drawing it again costs the server."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

from playwright.sync_api import Page, sync_playwright

from benchmarks.bench_page_flip import SETTLED, WAIT_MS, portal_environment, running
from benchmarks.measure import cpu_seconds_of, show_table
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.model import WorkflowKind
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.sandbox.github import World, serve
from tfpilot.sandbox.storage import LocalS3

ENTRIES: Final = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
FLIPS: Final = 20


def store_entries(bucket: Bucket) -> None:
    """Entries of requests that are nowhere: an audit finds as many orphans."""
    created = datetime.now(UTC) - timedelta(days=40)
    for number in range(1, ENTRIES + 1):
        entry = new_entry(WorkflowKind.PLAN, number, f"req_dev_s3_n{number}", created_at=created)
        bucket.put(entry_key(entry.kind, number), render_entry(entry), if_match=None)


def flips_of(page: Page, pid: int, *, pager: int) -> list[float]:
    """CPU milliseconds of the server for each of some turns to the next page, with the pager of that number."""
    costs = []
    for _ in range(FLIPS):
        before = cpu_seconds_of(pid)
        page.get_by_role("button", name="Next page").nth(pager).click()
        page.wait_for_timeout(400)
        page.wait_for_selector(SETTLED)
        costs.append((cpu_seconds_of(pid) - before) * 1000)
    return costs


def main() -> None:
    with ExitStack() as stack:
        bucket = stack.enter_context(LocalS3()).create_bucket("benchmark")
        store_entries(Bucket(bucket))
        world = World()
        world.add_user("maya", token="ghp_benchmark")
        github = stack.enter_context(serve(world))
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        server = stack.enter_context(running("app.py", portal_environment(bucket, github.url, cache)))
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{server.url}/run_index")
        page.get_by_role("button", name="Run audit").click()
        page.get_by_text(f"{ENTRIES:,} findings").wait_for()
        page.get_by_role("radio", name="ORPHAN").or_(page.get_by_text("Select findings")).first.wait_for()
        page.goto(f"{server.url}/run_index?code=ORPHAN")
        page.get_by_text(f"1 to 10 of {ENTRIES:,}").wait_for()
        lines = []
        for name, pager in (("pages of findings", 0), ("pages of entries", 1)):
            costs = flips_of(page, server.pid, pager=pager)
            lines.append((name, median(costs), max(costs)))
        browser.close()
    show_table(
        f"{ENTRIES:,} entries, as many findings: {FLIPS} page flips", ("what", "CPU ms/flip", "worst CPU ms"), lines
    )


if __name__ == "__main__":
    main()
