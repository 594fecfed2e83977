"""The portal on its sandbox as a process of its own, and a Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from playwright.sync_api import Page, Playwright, expect

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
PATIENCE_MS = 20_000
STOP_SECONDS = 20
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"]'


@dataclass(frozen=True)
class RunningPortal:
    """A portal on its sandbox: where it answers, the bucket behind it, the lock tables, the stand-in for GitHub with a
    token, and what another portal needs to work on the same sandbox."""

    url: str
    s3: Any
    tables: Any
    bucket: str
    github_url: str
    github_token: str
    environment: Mapping[str, str]

    def stored(self, request_id: str) -> tuple[dict[str, Any], str]:
        """The document as it is stored now, and its ETag."""
        answer = self.s3.get_object(Bucket=self.bucket, Key=f"requests/{request_id}.json")
        return json.loads(answer["Body"].read()), answer["ETag"]

    def store(self, document: Mapping[str, Any]) -> None:
        """Writes a document as the web app does: without a condition."""
        key = f"requests/{document['id']}.json"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=json.dumps(document).encode())

    def ask_nothing_by_itself(self, request_id: str) -> None:
        """From now on, for five minutes, opening the request does not heal it: GitHub was asked a moment ago."""
        memo = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "facts": {"pull": "ok"}, "jobs": {}}
        key = f"ops/checked/{request_id}.json"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=json.dumps(memo).encode())

    def runs(self, document: Mapping[str, Any], workflow_file: str) -> list[dict[str, Any]]:
        """The runs of a workflow in the request's repository, newest first, as GitHub lists them."""
        place = f"repos/{document['targetOwner']}/{document['targetRepo']}/actions/workflows/{workflow_file}/runs"
        asked = urllib.request.Request(
            f"{self.github_url}/{place}?per_page=100", headers={"Authorization": f"Bearer {self.github_token}"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)["workflow_runs"]

    def events(self, request_id: str) -> list[str]:
        """The keys of the request's history."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"logs/{request_id}/")
        return [entry["Key"] for entry in listed.get("Contents", [])]


def start_portal(port: int, log: Path, **settings: str) -> subprocess.Popen[bytes]:
    """`streamlit run app.py` as its own process, with nothing configured but `settings`."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("TFPILOT_", "AWS_", "GITHUB_"))
    }
    command = [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={port}"]
    with log.open("wb") as out:
        return subprocess.Popen(command, cwd=ROOT, env=inherited | settings, stdout=out, stderr=subprocess.STDOUT)


def stop_portal(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits for a 200; a process that ended, or says nothing for a minute, fails with its log."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer:\n{log.read_text()[-4000:]}")


@pytest.fixture
def free_port() -> int:
    return find_free_port()


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPortal]:
    """One portal on its sandbox for all tests."""
    home = tmp_path_factory.mktemp("sandbox")
    log, port = home / "portal.log", find_free_port()
    process = start_portal(port, log, TFPILOT_SANDBOX="1", TFPILOT_SANDBOX_DIR=str(home / "data"))
    try:
        url = f"http://localhost:{port}"
        wait_until_it_answers(f"{url}/readyz", process, log)
        yield _running(url, _environment(home / "data" / "sandbox.env"))
    finally:
        stop_portal(process)


def _running(url: str, environment: Mapping[str, str]) -> RunningPortal:
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
    s3 = session.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL_S3"])
    tables = session.client("dynamodb", endpoint_url=environment["AWS_ENDPOINT_URL_DYNAMODB"])
    bucket, github, token = (
        environment[name] for name in ("TFPILOT_REQUESTS_BUCKET", "GITHUB_API_URL", "GITHUB_TOKEN")
    )
    return RunningPortal(url, s3, tables, bucket, github.rstrip("/"), token, environment)


def _environment(file: Path) -> dict[str, str]:
    lines = (line.removeprefix("export ") for line in file.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name: shlex.split(value)[0] if value else "" for name, _, value in pairs}


@pytest.fixture(scope="session")
def browser_type_launch_args(playwright: Playwright, browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's Chromium, else Playwright's. With neither, tests are skipped; in CI they fail."""
    executable = shutil.which("chromium") or playwright.chromium.executable_path
    if not Path(executable).exists():
        message = "There is no Chromium. Install Debian's chromium package, or run: playwright install chromium"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    args = ["--no-sandbox", "--disable-dev-shm-usage"]
    return {**browser_type_launch_args, "executable_path": executable, "args": args}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "viewport": {"width": 1440, "height": 900}}


@pytest.fixture
def page(page: Page) -> Page:
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    return page


def settle(page: Page) -> None:
    """Waits until the page's script has come to its end."""
    page.wait_for_selector(SETTLED)


def choose_row(page: Page, number: int) -> None:
    """Clicks the row of the table with that number, from 1: its cells are drawn, not elements."""
    table = page.get_by_test_id("stDataFrame")
    table.get_by_test_id("data-grid-canvas").wait_for()
    settle(page)
    table.click(position={"x": 16, "y": 32 * number + 16})
