"""Stores that must keep the same promises, and a door to the real one that can be broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import obstore
import pytest

from tests.adapters.faulty_s3 import FaultyS3
from tests.fakes import Clock, MemoryBucket, MemoryBulk, MemorySnapshots
from tfpilot.adapters.bulk import Bulk, connect
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.adapters.snapshot import BucketSnapshots
from tfpilot.core.model import Thresholds


@dataclass(frozen=True)
class Store:
    """A bucket, in memory or real, and what somebody else does in it without any condition."""

    bucket: Any
    bulk: Any
    write: Callable[[str, bytes], object]
    delete: Callable[[str], object]


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, clock: Clock) -> Store:
    """Each test with this runs twice: in memory and on the real server."""
    return store_of(request, clock)


def store_of(request: pytest.FixtureRequest, clock: Clock) -> Store:
    """The store that a fixture's parameter names: a new bucket on the real server, else one in memory."""
    if request.param == "real":
        return real_store(request.getfixturevalue("bucket"))
    memory = MemoryBucket(clock)
    return Store(memory, MemoryBulk(memory), memory.write, memory.delete)


def real_store(bucket: Bucket) -> Store:
    def write(key: str, content: bytes) -> None:
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=content)

    def delete(key: str) -> None:
        bucket.client.delete_object(Bucket=bucket.name, Key=key)

    return Store(bucket, Bulk(bucket), write, delete)


@dataclass(frozen=True)
class View:
    """Snapshots of a store."""

    store: Store
    snapshots: Any


@pytest.fixture(params=["memory", "cached", pytest.param("real", marks=pytest.mark.server)])
def view(request: pytest.FixtureRequest, clock: Clock) -> Iterator[View]:
    """Each test with this runs on the fake, on the cache over a bucket in memory, and on the real server."""
    store = store_of(request, clock)
    if request.param == "memory":
        yield View(store, MemorySnapshots(store.bucket, clock=clock))
        return
    with closing(BucketSnapshots(store.bucket, store.bulk, clock=clock, thresholds=Thresholds())) as snapshots:
        yield View(store, snapshots)


def seed(bucket: Bucket, objects: Mapping[str, bytes]) -> None:
    """Writes many objects quickly, without conditions."""
    store = connect(bucket)
    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(lambda pair: obstore.put(store, *pair), objects.items()))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(bucket_settings: BucketSettings) -> Iterator[FaultyS3]:
    """A door to a new, empty bucket on the real server."""
    with FaultyS3(bucket_settings.endpoint_url or "") as opened:
        yield opened


@pytest.fixture
def behind_door(door: FaultyS3, bucket_settings: BucketSettings) -> Bucket:
    """The bucket as it is seen through the door."""
    return Bucket(replace(bucket_settings, endpoint_url=door.url))
