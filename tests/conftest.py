"""What tests of every layer share: real S3 and DynamoDB servers on loopback, and edges in memory."""

from __future__ import annotations

import copy
import os
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.fakes import InMemory
from tfpilot.adapters.lock_table import LockTable
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.errors import ConfigError
from tfpilot.sandbox.lock_table import LocalDynamoDB, require_ministack
from tfpilot.sandbox.storage import LocalS3, find_weed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


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


@pytest.fixture
def bucket_settings(s3_server: LocalS3, s3_client: Bucket) -> Iterator[BucketSettings]:
    """A new, empty bucket on the real server. It goes with the test: the server has room for some 70 at a time."""
    settings = s3_server.create_bucket(f"test-{uuid.uuid4().hex[:12]}")
    yield settings
    _remove(s3_client.client, settings.name)


@pytest.fixture
def state_bucket(s3_server: LocalS3, s3_client: Bucket) -> Iterator[Bucket]:
    """A new, empty bucket for Terraform's states, which keeps versions and says that it is of dev."""
    name = s3_server.create_bucket(f"tfstate-{uuid.uuid4().hex[:12]}").name
    client = s3_client.client
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "tfpilot:environment", "Value": "dev"}]})
    yield s3_client.sibling(name)
    _remove(client, name)


@pytest.fixture
def lock_table(lock_server: LocalDynamoDB) -> LockTable:
    """A new, empty lock table."""
    name = f"locks-{uuid.uuid4().hex[:12]}"
    lock_server.create_table(name)
    return LockTable(lock_server.connect(), name)


def _remove(client: S3Client, bucket: str) -> None:
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            client.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
    client.delete_bucket(Bucket=bucket)


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
