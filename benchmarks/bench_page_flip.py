"""The portal with many requests in a real browser: its start, and what turning a page costs the server and the wire."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.measure import cpu_seconds_of, show_table, store_requests
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.sandbox.github import World, serve
from tfpilot.sandbox.storage import LocalS3

REQUESTS: Final = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
FLIPS: Final = 20
ROOT: Final = Path(__file__).parents[1]
TOKEN: Final = "ghp_benchmark"
WAIT_MS: Final = 15 * 60 * 1000
"""The very first reading of 100,000 requests takes minutes."""

SETTLED: Final = '[data-testid="stApp"][data-test-script-state="notRunning"]'


@dataclass(frozen=True, slots=True)
class Flip:
    """What one turn of the page took: CPU of the server process, and bytes the browser received."""

    cpu_ms: float
    received_bytes: int


@dataclass
class Received:
    """Counts the bytes of WebSocket messages that reach a page, as they are after decompression."""

    total: int = 0

    def watch(self, page: Page) -> None:
        page.on("websocket", lambda socket: socket.on("framereceived", self._add))

    def _add(self, payload: bytes | str) -> None:
        self.total += len(payload)


@dataclass(frozen=True, slots=True)
class Server:
    """A running `streamlit run`."""

    pid: int
    url: str
    started_at: float
    first_answer_seconds: float


@contextmanager
def running(script: str, environment: Mapping[str, str]) -> Iterator[Server]:
    """The script served by Streamlit, from its first answer until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inherited = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "streamlit", "run", script, f"--server.port={port}", "--logger.level=error"]
    started_at = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env={**inherited, **environment}, stdout=subprocess.DEVNULL)
    try:
        url = f"http://localhost:{port}"
        _wait_for_answer(url)
        yield Server(process.pid, url, started_at, time.perf_counter() - started_at)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_for_answer(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.02)
    raise RuntimeError(f"{url} did not answer within a minute")


def open_page(browser: Browser, server: Server, *, until: str) -> tuple[Page, Received, float]:
    """A new tab on the server, once it shows the table and that text; and how long after the start that was."""
    page, received = browser.new_page(viewport={"width": 1440, "height": 900}), Received()
    page.set_default_timeout(WAIT_MS)
    received.watch(page)
    page.goto(server.url)
    page.get_by_text(until).wait_for()
    page.get_by_test_id("data-grid-canvas").wait_for()
    full_page_seconds = time.perf_counter() - server.started_at
    page.wait_for_selector(SETTLED)
    return page, received, full_page_seconds


def flips_of(page: Page, received: Received, server: Server, *, flip: Callable[[int], None]) -> list[Flip]:
    """What each of some flips took. Reading the bucket again, every 15 s, is part of the few it falls into."""
    flips = []
    for number in range(FLIPS):
        cpu, received_bytes = cpu_seconds_of(server.pid), received.total
        flip(number)
        page.wait_for_selector(SETTLED)
        flips.append(Flip((cpu_seconds_of(server.pid) - cpu) * 1000, received.total - received_bytes))
    return flips


def turn_pages(page: Page) -> Callable[[int], None]:
    """Goes one page further in the portal's table each time."""

    def flip(number: int) -> None:
        page.get_by_role("button", name="Next page").click()
        first = 25 * (number + 1) + 1
        page.get_by_text(f"{first:,} to {first + 24:,} of {REQUESTS:,}").wait_for()

    return flip


def choose_environments(page: Page) -> Callable[[int], None]:
    """Filters the peer's table by another environment each time."""

    def flip(number: int) -> None:
        name = ("dev", "stage", "prod")[number % 3]
        page.get_by_role("button", name=name).click()
        page.get_by_text(f"requests of {name}").wait_for()

    return flip


def portal_environment(bucket: BucketSettings, github_url: str, cache: Path) -> Mapping[str, str]:
    return {
        "TFPILOT_REQUESTS_BUCKET": bucket.name,
        "TFPILOT_CACHE_DIR": str(cache),
        "TFPILOT_LOG_LEVEL": "ERROR",
        "AWS_ENDPOINT_URL_S3": bucket.endpoint_url or "",
        "AWS_ACCESS_KEY_ID": bucket.access_key or "",
        "AWS_SECRET_ACCESS_KEY": bucket.secret_key or "",
        "GITHUB_API_URL": github_url,
        "GITHUB_TOKEN": TOKEN,
    }


def measure_portal(browser: Browser, name: str, environment: Mapping[str, str]) -> Sequence[object]:
    """One line: a start of the portal, its first page, and some flips."""
    with running("app.py", environment) as server:
        page, received, seconds = open_page(browser, server, until=f"1 to 25 of {REQUESTS:,}")
        line = _line(name, server, seconds, received, flips_of(page, received, server, flip=turn_pages(page)))
        page.close()
    return line


def measure_peer(browser: Browser) -> Sequence[object]:
    with running("benchmarks/peer_whole_table.py", {"REQUESTS": str(REQUESTS)}) as server:
        page, received, seconds = open_page(browser, server, until=f"{REQUESTS} requests of all environments")
        flips = flips_of(page, received, server, flip=choose_environments(page))
        line = _line("whole table with st.dataframe", server, seconds, received, flips)
        page.close()
    return line


def _line(name: str, server: Server, seconds: float, received: Received, flips: Sequence[Flip]) -> Sequence[object]:
    first_bytes = received.total - sum(flip.received_bytes for flip in flips)
    return (
        name,
        server.first_answer_seconds,
        seconds,
        first_bytes / 1000,
        median(flip.cpu_ms for flip in flips),
        max(flip.cpu_ms for flip in flips),
        median(flip.received_bytes for flip in flips) / 1000,
    )


def main() -> None:
    with ExitStack() as stack:
        bucket = stack.enter_context(LocalS3()).create_bucket("benchmark")
        store_requests(Bucket(bucket), range(REQUESTS))
        world = World()
        world.add_user("maya", token=TOKEN)
        github = stack.enter_context(serve(world))
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        environment = portal_environment(bucket, github.url, cache)
        with_collection = {**environment, "STREAMLIT_RUNNER_POST_SCRIPT_GC": "true"}
        lines = [
            measure_portal(browser, "tfpilot, nothing in the cache", environment),
            measure_portal(browser, "tfpilot, started again", environment),
            measure_portal(browser, "tfpilot, Streamlit's own postScriptGC", with_collection),
            measure_peer(browser),
        ]
        browser.close()
    show_table(
        f"{REQUESTS:,} requests: start and {FLIPS} page flips",
        ("server", "first answer s", "full page s", "first page kB", "CPU ms/flip", "worst CPU ms", "kB/flip"),
        lines,
    )


if __name__ == "__main__":
    main()
