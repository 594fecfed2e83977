"""Reading all requests of a bucket, the first time and again: the portal's snapshot beside boto3, s5cmd and aws s3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import boto3
from botocore.config import Config

from benchmarks.call_counter import CallCounter
from benchmarks.measure import Cost, measured, show_table, store_requests
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.adapters.snapshot import BucketSnapshots
from tfpilot.core.model import Thresholds
from tfpilot.sandbox.storage import LocalS3

REQUESTS: Final = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000

Row = tuple[str, str, Cost | None]


@contextmanager
def portal_on(settings: BucketSettings, folder: Path) -> Iterator[BucketSnapshots]:
    """The portal's snapshots with their cache in `folder`."""
    bucket, cache = Bucket(settings), folder / "requests.sqlite"
    with closing(
        BucketSnapshots(
            bucket, Bulk(bucket), clock=lambda: datetime.now(UTC), thresholds=Thresholds(), cache_path=cache
        )
    ) as snapshots:
        yield snapshots


def read_with_tfpilot(settings: BucketSettings, folder: Path) -> Cost:
    """One reading by a process that just started, with whatever an earlier one left in its cache."""
    with measured() as cost, portal_on(settings, folder) as snapshots:
        snapshot = snapshots.refresh()
    if snapshot.error is not None or len(snapshot.rows) != REQUESTS:
        raise RuntimeError(f"The snapshot is not complete: {len(snapshot.rows)} rows, error {snapshot.error}")
    return cost


def read_with_boto3(settings: BucketSettings, threads: int) -> Cost:
    """List, then get everything: boto3 has no notion of what is known already."""
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        config=Config(max_pool_connections=threads, s3={"addressing_style": "path"}),
    )

    def read(key: str) -> bytes:
        return client.get_object(Bucket=settings.name, Key=key)["Body"].read()

    with measured() as cost, ThreadPoolExecutor(threads) as pool:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=settings.name, Prefix="requests/")
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        bodies = list(pool.map(read, keys))
    if len(bodies) != REQUESTS:
        raise RuntimeError(f"boto3 read {len(bodies)} of {REQUESTS} requests")
    return cost


def sync_with(program: str, settings: BucketSettings, folder: Path) -> Cost | None:
    """One run of a command that mirrors the bucket to a folder; None where it is not installed."""
    if shutil.which(program) is None:
        return None
    source, target = f"s3://{settings.name}/requests/", str(folder)
    endpoint = ["--endpoint-url", settings.endpoint_url or ""]
    sync = ["s3", "sync", "--quiet", source, target] if program == "aws" else ["sync", f"{source}*", target]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder.parent),
        "AWS_ACCESS_KEY_ID": settings.access_key or "",
        "AWS_SECRET_ACCESS_KEY": settings.secret_key or "",
        "AWS_REGION": settings.region or "",
    }
    with measured() as cost:
        subprocess.run([program, *endpoint, *sync], env=environment, check=True, stdout=subprocess.DEVNULL)
    return cost


def change_some(bucket: Bucket, *, version: int) -> None:
    """Somebody writes one request in a hundred."""
    store_requests(bucket, range(version, REQUESTS, 100), version=version)


def read_again_and_again(name: str, read: Callable[[], Cost | None], *, change: Callable[[], None]) -> list[Row]:
    """The first reading, one of a bucket in which nothing changed, and one after some changes."""
    rows: list[Row] = [(name, "first", read()), (name, "nothing changed", read())]
    change()
    return [*rows, (name, "1 % changed", read())]


def count_calls(settings: BucketSettings, folder: Path, *, change: Callable[[], None]) -> list[tuple[str, int, int]]:
    """What the portal's readings send to the server, counted on the wire in a run of its own."""
    rows = []
    with CallCounter(settings) as calls:
        for what in ("first", "nothing changed", "1 % changed"):
            if what == "1 % changed":
                change()
            calls.counts.clear()
            read_with_tfpilot(calls.settings, folder)
            rows.append((what, calls.counts["LIST"], calls.counts["GET"]))
    return rows


def main() -> None:
    with LocalS3() as server, tempfile.TemporaryDirectory() as name:
        settings, folder = server.create_bucket("benchmark"), Path(name)
        bucket = Bucket(settings)
        store_requests(bucket, range(REQUESTS))
        readers: dict[str, Callable[[], Cost | None]] = {
            "tfpilot": lambda: read_with_tfpilot(settings, folder),
            "s5cmd sync": lambda: sync_with("s5cmd", settings, folder / "s5cmd"),
            "aws s3 sync": lambda: sync_with("aws", settings, folder / "aws"),
        }
        rows: list[Row] = []
        for version, (reader, read) in enumerate(readers.items(), 2):
            rows += read_again_and_again(reader, read, change=partial(change_some, bucket, version=version))
        rows += [(f"boto3, {count} threads", "every", read_with_boto3(settings, count)) for count in (16, 64)]
        counted = count_calls(settings, folder / "counted", change=partial(change_some, bucket, version=9))
    show_table(
        f"Reading {REQUESTS:,} requests of 3 kB from SeaweedFS",
        ("reader", "reading", "seconds", "client CPU s"),
        [
            (reader, what, cost.wall_seconds, cost.cpu_seconds) if cost else (reader, what, "not installed", "")
            for reader, what, cost in rows
        ],
    )
    show_table("Calls that one reading by tfpilot makes", ("reading", "LIST", "GET"), counted)


if __name__ == "__main__":
    main()
