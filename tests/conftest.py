"""What tests of every layer share: real S3 and DynamoDB servers on loopback, and edges in memory."""

from __future__ import annotations

import asyncio
import copy
import os
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from tests.fakes import InMemory
from tfpilot.adapters.github_transport import CappedRetry
from tfpilot.adapters.lock_table import LockTable
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.errors import ConfigError
from tfpilot.sandbox.lock_table import LocalDynamoDB, require_ministack
from tfpilot.sandbox.storage import LocalS3, find_weed

BUCKETS_AHEAD: Final = 8


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: "tests/reality/" not in item.nodeid)


@pytest.fixture(scope="session", autouse=True)
def prompt_servers() -> Iterator[None]:
    """uvicorn looks ten times a second whether it is to end, and then waits as long again: for most tests with a server
    of their own, longer than the test."""

    def sleep(seconds: float) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(min(seconds, 0.01))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
        yield


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of this machine, no `.env`, and a working directory of its own."""
    for name in list(os.environ):
        if name.startswith(("TFPILOT_", "GITHUB_", "AWS_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def hasty_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What GitHub is asked again, it is asked again at once; a wait that it names is still waited."""
    monkeypatch.setattr(CappedRetry, "get_backoff_time", lambda _retry: 0.0)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[LocalS3]:
    """One real S3 server for the whole run. Where it is not installed, tests are skipped; in CI they fail."""
    _need(find_weed)
    with LocalS3() as server:
        yield server


@pytest.fixture(scope="session")
def lock_server() -> Iterator[LocalDynamoDB]:
    """One real DynamoDB server for the whole run, as `s3_server`. A test makes a table of its own in it."""
    _need(require_ministack)
    with LocalDynamoDB() as server:
        yield server


def _need(installed: Callable[[], object]) -> None:
    try:
        installed()
    except ConfigError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{error.message}. {error.hint}")


@pytest.fixture(scope="session")
def s3_client(s3_server: LocalS3) -> Bucket:
    """The one client of the run: making one costs more time than most tests do."""
    return Bucket(s3_server.settings("none"))


@pytest.fixture(scope="session")
def new_bucket(s3_client: Bucket) -> Iterator[Callable[[], str]]:
    """Names a new, empty bucket on each call. They are made ahead, since the server makes the first write into one wait
    for longer than most tests last."""
    client = s3_client.client

    def make() -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=name)
        client.put_object(Bucket=name, Key="first", Body=b"x")
        client.delete_object(Bucket=name, Key="first")
        return name

    with ThreadPoolExecutor(BUCKETS_AHEAD) as pool:
        ahead = deque(pool.submit(make) for _ in range(BUCKETS_AHEAD))

        def take() -> str:
            ahead.append(pool.submit(make))
            return ahead.popleft().result()

        yield take


@pytest.fixture
def bucket_settings(s3_server: LocalS3, s3_client: Bucket, new_bucket: Callable[[], str]) -> Iterator[BucketSettings]:
    """A new, empty bucket on the real server. It goes with the test: the server has room for some 70 at a time."""
    settings = s3_server.settings(new_bucket())
    yield settings
    s3_client.client.delete_bucket(Bucket=settings.name)  # this server takes along what is in it


@pytest.fixture
def state_bucket(s3_server: LocalS3, s3_client: Bucket) -> Iterator[Bucket]:
    """A new, empty bucket for Terraform's states, which keeps versions and says that it is of dev."""
    name = s3_server.create_bucket(f"tfstate-{uuid.uuid4().hex[:12]}").name
    client = s3_client.client
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "tfpilot:environment", "Value": "dev"}]})
    yield s3_client.sibling(name)
    client.delete_bucket(Bucket=name)


@pytest.fixture
def lock_table(lock_server: LocalDynamoDB) -> LockTable:
    """A new, empty lock table."""
    name = f"locks-{uuid.uuid4().hex[:12]}"
    lock_server.create_table(name)
    return LockTable(lock_server.connect(), name)


@pytest.fixture
def bucket(s3_client: Bucket, bucket_settings: BucketSettings) -> Bucket:
    """A new, empty bucket on the real server, as the adapters use it."""
    new = copy.copy(s3_client)
    new.name = bucket_settings.name
    return new


@pytest.fixture
def memory() -> InMemory:
    """All edges in memory, with nothing stored."""
    return InMemory()
