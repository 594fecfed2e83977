"""What the listing of the run index promises, wherever it comes from, and what it costs at the wire."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.conftest import Store, seed, store_of
from tests.adapters.faulty_s3 import FaultyS3
from tests.builders import NOW, request
from tests.fakes import OUTAGE, Clock, MemoryBucket, MemoryBulk, MemoryIndexListings
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.index_listing import BucketIndexListings
from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.snapshot import BucketSnapshots
from tfpilot.core.document import render_document
from tfpilot.core.index_listing import AGE_BINS, IndexKeys
from tfpilot.core.model import Thresholds, WorkflowKind
from tfpilot.core.run_index import PREFIX, entry_key, new_entry, render_entry

PLAN, DESTROY = WorkflowKind.PLAN, WorkflowKind.DESTROY


@dataclass(frozen=True)
class Shelf:
    """Listings of a store."""

    store: Store
    listings: Any

    def put(self, request_id: str, *run_ids: int, kind: WorkflowKind = PLAN) -> None:
        for run_id in run_ids:
            self.store.write(entry_key(kind, run_id), content_of(request_id, run_id, kind))

    def bodies(self) -> dict[str, bytes | None]:
        assert self.listings.refresh_with_bodies().error is None
        return {found.key: found.content for found in self.listings.objects()}


def content_of(request_id: str, run_id: int, kind: WorkflowKind = PLAN) -> bytes:
    return render_entry(new_entry(kind, run_id, request_id, created_at=NOW))


@pytest.fixture(params=["memory", "cached", pytest.param("real", marks=pytest.mark.server)])
def shelf(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Shelf]:
    """Each test with this runs on the fake, on the cache over a bucket in memory, and on the real server."""
    store = store_of(request, clock)
    if request.param == "memory":
        yield Shelf(store, MemoryIndexListings(store.bucket, clock=clock))
        return
    with closing(BucketIndexListings(store.bucket, store.bulk, clock=clock)) as listings:
        yield Shelf(store, listings)


def test_before_the_first_listing_nothing_is_known(shelf: Shelf):
    current = shelf.listings.current()
    assert (current.objects, current.read_at, current.error) == (0, None, None)


def test_an_empty_index_is_a_complete_listing_of_nothing(shelf: Shelf):
    listing = shelf.listings.refresh()
    assert (listing.objects, listing.read_at, listing.error, listing.bodies_missing) == (0, NOW, None, 0)


def test_keys_alone_tell_kind_run_and_age_the_newest_run_first(shelf: Shelf):
    shelf.put("req_a", 5, 40)
    shelf.put("req_b", 7, kind=DESTROY)
    keys = shelf.listings.refresh().keys
    assert [(line.kind, line.run_id) for line in keys.page(start=0, limit=9)] == [(PLAN, 40), (DESTROY, 7), (PLAN, 5)]
    assert [line.run_id for line in keys.page(PLAN, start=1, limit=9)] == [5]
    assert (keys.count(), keys.count(PLAN), keys.count(DESTROY)) == (3, 2, 1)
    assert all(abs(line.modified - datetime.now(UTC)) < timedelta(days=36500) for line in keys.page(start=0, limit=9))


def test_what_is_no_entry_is_listed_by_its_key(shelf: Shelf):
    shelf.put("req_a", 1)
    shelf.store.write(f"{PREFIX}deploy/run-1.json", b"{}")
    shelf.store.write(f"{PREFIX}plan/notes.txt", b"x")
    listing = shelf.listings.refresh()
    assert sorted(listing.odd_keys) == [f"{PREFIX}deploy/run-1.json", f"{PREFIX}plan/notes.txt"]
    assert (len(listing.keys), listing.objects) == (1, 3)


def test_a_listing_says_how_many_bodies_are_missing_until_they_are_read(shelf: Shelf):
    shelf.put("req_a", 1, 2)
    assert shelf.listings.refresh().bodies_missing == 2
    assert shelf.listings.refresh_with_bodies().bodies_missing == 0
    shelf.put("req_a", 3)
    assert shelf.listings.refresh().bodies_missing == 1


def test_bodies_are_what_is_stored_now_also_after_changes(shelf: Shelf):
    shelf.put("req_a", 1, 2, 3)
    shelf.bodies()
    shelf.put("req_b", 2)
    shelf.put("req_a", 4)
    shelf.store.delete(entry_key(PLAN, 3))
    assert shelf.bodies() == {
        entry_key(PLAN, 1): content_of("req_a", 1),
        entry_key(PLAN, 2): content_of("req_b", 2),
        entry_key(PLAN, 4): content_of("req_a", 4),
    }


def test_a_listing_that_finds_nothing_new_keeps_its_number_and_gets_younger(shelf: Shelf, clock: Clock):
    shelf.put("req_a", 1)
    before = shelf.listings.refresh()
    clock.advance(minutes=1)
    after = shelf.listings.refresh()
    assert (after.number, after.read_at) == (before.number, NOW + timedelta(minutes=1))
    shelf.put("req_b", 1)
    assert shelf.listings.refresh().number > after.number


def test_a_few_bodies_are_read_for_what_is_on_screen_and_no_others(shelf: Shelf):
    shelf.put("req_a", 1, 2, 3)
    shelf.listings.refresh()
    wanted = [entry_key(PLAN, 1), entry_key(PLAN, 3), entry_key(PLAN, 9)]
    found = shelf.listings.read(wanted)
    assert {key: each.content for key, each in found.items()} == {
        entry_key(PLAN, 1): content_of("req_a", 1),
        entry_key(PLAN, 3): content_of("req_a", 3),
    }
    assert shelf.listings.current().bodies_missing == 1


def test_an_entry_that_went_since_it_was_listed_is_left_out(shelf: Shelf):
    shelf.put("req_a", 1)
    shelf.listings.refresh()
    shelf.store.delete(entry_key(PLAN, 1))
    assert shelf.listings.read([entry_key(PLAN, 1)]) == {}


def test_what_is_too_large_for_an_entry_is_not_read_and_hides_no_other(shelf: Shelf):
    shelf.put("req_a", 1)
    shelf.store.write(entry_key(PLAN, 2), b" " * 65_537)
    assert shelf.bodies() == {entry_key(PLAN, 1): content_of("req_a", 1), entry_key(PLAN, 2): None}


def test_a_young_listing_is_given_again_and_an_old_one_is_not(shelf: Shelf, clock: Clock):
    shelf.listings.refresh_with_bodies()
    shelf.put("req_a", 1)
    clock.advance(seconds=60)
    assert shelf.listings.refresh(older_than=timedelta(seconds=60)).objects == 0
    assert shelf.listings.refresh_with_bodies(older_than=timedelta(seconds=60)).objects == 0
    clock.advance(seconds=1)
    assert shelf.listings.refresh_with_bodies(older_than=timedelta(seconds=60)).objects == 1


def test_a_young_reading_is_not_enough_where_a_listing_since_found_more(shelf: Shelf):
    shelf.listings.refresh_with_bodies()
    shelf.put("req_a", 1)
    shelf.listings.refresh()
    assert shelf.listings.refresh_with_bodies(older_than=timedelta(hours=1)).bodies_missing == 0
    assert len(list(shelf.listings.objects())) == 1


@pytest.fixture
def memory_bucket(clock: Clock) -> MemoryBucket:
    bucket = MemoryBucket(clock)
    for run_id in (1, 2, 3):
        bucket.write(entry_key(PLAN, run_id), content_of("req_a", run_id))
    return bucket


@pytest.mark.parametrize("refresh", ["refresh", "refresh_with_bodies"])
def test_an_outage_keeps_the_last_listing_and_says_what_to_check(
    memory_bucket: MemoryBucket, clock: Clock, refresh: str
):
    with opened(memory_bucket, clock) as listings:
        good = listings.refresh_with_bodies()
        memory_bucket.outage = OUTAGE
        clock.advance(minutes=1)
        bad = getattr(listings, refresh)()
        assert (bad.objects, bad.read_at) == (good.objects, good.read_at)
        assert bad.error == "Could not read in bucket memory: no answer in time. Check the bucket."
        assert bad.tried_at == NOW + timedelta(minutes=1)
        memory_bucket.outage = None
        assert getattr(listings, refresh)().error is None


def test_a_start_shows_the_last_listing_at_once_and_reads_no_body_again(
    memory_bucket: MemoryBucket, clock: Clock, tmp_path: Path
):
    cache = tmp_path / "cache" / "run-index.sqlite"
    with opened(memory_bucket, clock, cache) as listings:
        listings.refresh_with_bodies()
    bulk = CountingBulk(memory_bucket)
    with closing(BucketIndexListings(memory_bucket, bulk, clock=clock, cache_path=cache)) as listings:
        assert (listings.current().objects, listings.current().read_at) == (3, NOW)
        assert listings.refresh_with_bodies().bodies_missing == 0
        assert len(list(listings.objects())) == 3
    assert bulk.read == 0


def test_a_broken_cache_is_made_anew_and_filled_again(memory_bucket: MemoryBucket, clock: Clock, tmp_path: Path):
    cache = tmp_path / "run-index.sqlite"
    cache.write_bytes(b"not a database at all" * 100)
    with opened(memory_bucket, clock, cache) as listings:
        assert listings.current().read_at is None
        assert listings.refresh_with_bodies().objects == 3
    assert cache.with_name("run-index.sqlite.old").exists()


def test_the_cache_of_the_requests_is_not_taken_for_the_run_indexs(
    memory_bucket: MemoryBucket, clock: Clock, tmp_path: Path
):
    cache = tmp_path / "mixed.sqlite"
    bulk = MemoryBulk(memory_bucket)
    with closing(BucketSnapshots(memory_bucket, bulk, clock=clock, thresholds=Thresholds(), cache_path=cache)) as other:
        other.refresh()
    with opened(memory_bucket, clock, cache) as listings:
        assert listings.refresh_with_bodies().objects == 3


def test_many_who_want_the_bodies_at_once_get_them_from_one_reading(memory_bucket: MemoryBucket, clock: Clock):
    bulk = CountingBulk(memory_bucket)
    together = threading.Barrier(12)
    with closing(BucketIndexListings(memory_bucket, bulk, clock=clock)) as listings:

        def ask(_: int) -> int:
            together.wait()
            return listings.refresh_with_bodies(older_than=timedelta(minutes=1)).objects

        with ThreadPoolExecutor(12) as pool:
            assert set(pool.map(ask, range(12))) == {3}
    assert (bulk.listed, bulk.read) == (1, 3)


def test_progress_is_told_while_bodies_are_read_and_not_afterwards(memory_bucket: MemoryBucket, clock: Clock):
    seen: list[object] = []
    bulk = CountingBulk(memory_bucket, on_read=lambda: seen.append(listings.progress()))
    with closing(BucketIndexListings(memory_bucket, bulk, clock=clock)) as listings:
        listings.refresh_with_bodies()
        assert (seen[0], listings.progress()) == ((0, 3), None)


# At the wire


@pytest.mark.server
@pytest.mark.parametrize("entries", [1, 1001])
def test_a_warm_audit_costs_one_list_call_per_thousand_keys_and_reads_nothing(
    entries: int, door: FaultyS3, behind_door: Bucket, clock: Clock
):
    straight = {entry_key(PLAN, run_id): content_of("req_a", run_id) for run_id in range(1, entries + 1)}
    documents = {f"requests/req_{number}.json": render_document(request(f"req_{number}")) for number in range(3)}
    seed(behind_door, straight | documents | {"history/req_old.json": render_document(request("req_old"))})
    bulk = Bulk(behind_door)
    with (
        closing(BucketSnapshots(behind_door, bulk, clock=clock, thresholds=Thresholds())) as snapshots,
        closing(BucketIndexListings(behind_door, bulk, clock=clock)) as listings,
    ):
        for refresh in (snapshots.refresh, listings.refresh_with_bodies):
            refresh()
        door.counts.clear()
        for refresh in (snapshots.refresh, listings.refresh_with_bodies):
            assert refresh().error is None
        assert len(list(listings.objects())) == entries
    assert dict(door.counts) == {"LIST": math.ceil(entries / 1000) + 1 + 1}


@pytest.mark.server
def test_only_what_changed_is_read_again(door: FaultyS3, behind_door: Bucket, clock: Clock, bucket: Bucket):
    seed(behind_door, {entry_key(PLAN, run_id): content_of("req_a", run_id) for run_id in range(1, 31)})
    with closing(BucketIndexListings(behind_door, Bulk(behind_door), clock=clock)) as listings:
        listings.refresh_with_bodies()
        seed(bucket, {entry_key(PLAN, run_id): content_of("req_b", run_id) for run_id in (3, 31)})
        door.counts.clear()
        assert listings.refresh_with_bodies().bodies_missing == 0
    assert dict(door.counts) == {"LIST": 1, "GET": 2}


# The keys in memory


@given(
    lines=st.lists(
        st.tuples(st.sampled_from(WorkflowKind), st.integers(1, 10**17), st.integers(0, 2**33)),
        max_size=40,
        unique_by=lambda line: line[:2],
    ),
    start=st.integers(0, 50),
    limit=st.integers(0, 50),
)
def test_pages_are_parts_of_all_entries_in_order(lines: list[tuple[WorkflowKind, int, int]], start: int, limit: int):
    keys = IndexKeys(lines)
    whole = [(line.kind, line.run_id, int(line.modified.timestamp())) for line in keys.page(start=0, limit=len(lines))]
    assert sorted(whole) == sorted(lines)
    assert [run_id for _, run_id, _ in whole] == sorted((run_id for _, run_id, _ in lines), reverse=True)
    page = [(line.kind, line.run_id) for line in keys.page(start=start, limit=limit)]
    assert page == [line[:2] for line in whole][start : start + limit]
    for kind in WorkflowKind:
        of_kind = [line[:2] for line in whole if line[0] is kind]
        assert [(line.kind, line.run_id) for line in keys.page(kind, start=0, limit=50)] == of_kind


def test_ages_are_counted_in_bins_of_ten_days_and_the_last_has_no_end():
    days = (0, 9, 10, 89, 90, 5000)
    stored = [(PLAN, run_id, int((NOW - timedelta(days=age)).timestamp())) for run_id, age in enumerate(days, 1)]
    counted = IndexKeys(stored).ages(NOW)[PLAN]
    assert {number: count for number, count in enumerate(counted) if count} == {0: 2, 1: 1, 8: 1, 9: 1, AGE_BINS - 1: 1}


class CountingBulk(MemoryBulk):
    """Counts the listings and the objects that are read."""

    def __init__(self, bucket: MemoryBucket, *, on_read: Callable[[], object] = lambda: None) -> None:
        super().__init__(bucket)
        self.listed = self.read = 0
        self._on_read = on_read

    def list_all(self, prefix: str) -> Any:
        self.listed += 1
        return super().list_all(prefix)

    def read_all(self, listed: Any, *, limit_bytes: int) -> Any:
        self._on_read()
        self.read += len(listed)
        return super().read_all(listed, limit_bytes=limit_bytes)


def opened(bucket: Any, clock: Clock, cache: Path | None = None) -> Any:
    return closing(BucketIndexListings(bucket, MemoryBulk(bucket), clock=clock, cache_path=cache))
