"""Auditing the run index: the calls and the time of a first and of a warm audit, and room for half a million entries.

`python -m benchmarks.bench_index_audit [ENTRIES] [REQUESTS] [ENTRIES_WITHOUT_A_SERVER]`
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import obstore

from benchmarks.call_counter import CallCounter
from benchmarks.measure import NOW, Cost, measured, show_table, store_requests
from tfpilot.adapters.bulk import Bulk, Fetched, connect
from tfpilot.adapters.index_listing import BucketIndexListings
from tfpilot.adapters.s3 import Bucket, BucketSettings, Listed
from tfpilot.adapters.snapshot import BucketSnapshots
from tfpilot.core.index_audit import IndexAudit, audit
from tfpilot.core.model import Thresholds, WorkflowKind
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.sandbox.storage import LocalS3

ENTRIES: Final = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
REQUESTS: Final = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
HALF_A_MILLION: Final = int(sys.argv[3]) if len(sys.argv) > 3 else 500_000

_KINDS: Final = tuple(WorkflowKind)


def entry_of(number: int) -> tuple[str, bytes]:
    """One of a lot of entries, of all kinds and of ages up to 100 days, and its key."""
    kind, request = _KINDS[number % 5], f"req_{('dev', 'stage', 'prod')[number % 3]}_s3_{number % REQUESTS:06d}"
    entry = new_entry(kind, 10_000 + number, request, created_at=NOW - timedelta(minutes=7 * number % 144_000))
    return entry_key(kind, entry.run_id), render_entry(entry)


class Auditor:
    """Requests and entries of a bucket, with their caches in `folder`."""

    def __init__(self, settings: BucketSettings, folder: Path) -> None:
        bucket = Bucket(settings)
        bulk = Bulk(bucket)
        self._snapshots = BucketSnapshots(
            bucket, bulk, clock=lambda: NOW, thresholds=Thresholds(), cache_path=folder / "requests.sqlite"
        )
        self._listings = BucketIndexListings(bucket, bulk, clock=lambda: NOW, cache_path=folder / "run-index.sqlite")

    def audit(self) -> IndexAudit:
        """One audit, of readings made now."""
        rows = self._snapshots.refresh().rows
        listing = self._listings.refresh_with_bodies()
        if listing.error is not None or len(rows) != REQUESTS or listing.objects != ENTRIES:
            raise RuntimeError(f"The readings are not complete: {len(rows)}, {listing.objects}, {listing.error}")
        return audit(self._listings.objects(), rows, now=NOW)

    def close(self) -> None:
        self._snapshots.close()
        self._listings.close()


def audited(settings: BucketSettings, folder: Path) -> tuple[Cost, int]:
    """The cost of an audit by a process that just started, and how much it found."""
    with measured() as cost, closing(Auditor(settings, folder)) as auditor:
        found = len(auditor.audit().findings)
    return cost, found


def seed(bucket: Bucket) -> None:
    store = connect(bucket)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: obstore.put(store, *entry_of(number)), range(ENTRIES)))
    store_requests(bucket, range(REQUESTS))


class Shelf:
    """Half a million entries without a server: what is left is our own cost."""

    def list_all(self, _prefix: str) -> Mapping[str, Listed]:
        found = (entry_of(number) for number in range(HALF_A_MILLION))
        return {key: Listed(key, f"{number:032x}", len(body), NOW) for number, (key, body) in enumerate(found)}

    def read_all(self, listed: Sequence[Listed], *, limit_bytes: int) -> Iterator[Fetched]:
        for each in listed:
            yield Fetched(each, entry_of(int(each.etag, 16))[1][:limit_bytes])


class NoBucket:
    """The name of a bucket that nobody asks."""

    name = "none"
    endpoint = "none:"


@contextmanager
def listings_of(folder: Path) -> Iterator[BucketIndexListings]:
    cache = folder / "large.sqlite"
    made = BucketIndexListings(NoBucket(), Shelf(), clock=lambda: NOW, cache_path=cache)  # type: ignore[arg-type]
    with closing(made) as listings:
        yield listings


def large(folder: Path) -> list[tuple[str, float, float, int]]:
    """The first and the second listing with bodies, an audit and a page of so many entries."""
    rows: list[tuple[str, float, float, int]] = []
    with listings_of(folder) as listings:
        for what in ("listing and reading, first", "listing, nothing changed"):
            with measured() as cost:
                listings.refresh_with_bodies()
            rows.append((what, cost.wall_seconds, cost.cpu_seconds, _peak_mb()))
        with measured() as cost:
            found = audit(listings.objects(), (), now=NOW)
        rows.append((f"audit, {len(found.findings):,} findings", cost.wall_seconds, cost.cpu_seconds, _peak_mb()))
        with measured() as cost:
            listings.current().keys.page(WorkflowKind.PLAN, start=HALF_A_MILLION // 10, limit=50)
        rows.append(("a page of 50", cost.wall_seconds, cost.cpu_seconds, _peak_mb()))
    return rows


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    with LocalS3() as server, tempfile.TemporaryDirectory() as name:
        settings, folder = server.create_bucket("benchmark"), Path(name)
        seed(Bucket(settings))
        costs = [(what, *audited(settings, folder)) for what in ("first", "warm", "warm again")]
        counted = []
        with CallCounter(settings) as calls:
            for what in ("first", "warm"):
                calls.counts.clear()
                audited(calls.settings, folder / "counted")
                counted.append((what, calls.counts["LIST"], calls.counts["GET"]))
    show_table(
        f"Auditing {ENTRIES:,} entries and {REQUESTS:,} requests on SeaweedFS, by a process that just started",
        ("audit", "seconds", "client CPU s", "findings"),
        [(what, cost.wall_seconds, cost.cpu_seconds, found) for what, cost, found in costs],
    )
    show_table("Calls that one audit makes", ("audit", "LIST", "GET"), counted)
    with tempfile.TemporaryDirectory() as name:
        rows = large(Path(name))
    show_table(
        f"{HALF_A_MILLION:,} entries without a server", ("what", "seconds", "CPU s", "peak MB of the process"), rows
    )


if __name__ == "__main__":
    main()
