"""What reading the bucket costs, what survives a restart or an outage, and what happens at the same time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.adapters.conftest import seed
from tests.adapters.faulty_s3 import FaultyS3
from tests.builders import NOW, request, stuck_planning
from tests.fakes import OUTAGE, Clock, MemoryBucket, MemoryBulk
from tfpilot.adapters.bulk import Bulk, Fetched
from tfpilot.adapters.renewal import Renewal
from tfpilot.adapters.s3 import Bucket, BucketSettings, Listed
from tfpilot.adapters.snapshot import BucketSnapshots
from tfpilot.core.document import render_document
from tfpilot.core.model import Stored, Thresholds
from tfpilot.errors import StorageError


@pytest.fixture
def memory_bucket(clock: Clock) -> MemoryBucket:
    bucket = MemoryBucket(clock)
    for number in range(3):
        write(bucket, f"req_{number}")
    return bucket


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "requests.sqlite"


def test_an_outage_keeps_the_last_rows_and_says_what_to_check(memory_bucket: MemoryBucket, clock: Clock) -> None:
    with opened(memory_bucket, clock) as snapshots:
        good = snapshots.refresh()
        memory_bucket.outage = OUTAGE
        clock.advance(minutes=1)
        bad = snapshots.refresh()
        assert (bad.rows, bad.read_at, bad.number) == (good.rows, good.read_at, good.number)
        assert bad.error == "Could not read in bucket memory: no answer in time. Check the bucket."
        assert bad.tried_at == NOW + timedelta(minutes=1)
        memory_bucket.outage = None
        assert snapshots.refresh().error is None


def test_an_outage_from_the_start_is_an_error_and_not_an_empty_list(memory_bucket: MemoryBucket, clock: Clock) -> None:
    memory_bucket.outage = OUTAGE
    with opened(memory_bucket, clock) as snapshots:
        snapshot = snapshots.refresh()
    assert snapshot.read_at is None
    assert snapshot.error is not None


def test_a_restart_shows_the_last_reading_at_once(memory_bucket: MemoryBucket, clock: Clock, cache: Path) -> None:
    with opened(memory_bucket, clock, cache) as snapshots:
        before = snapshots.refresh()
    clock.advance(hours=1)
    memory_bucket.outage = OUTAGE
    with opened(memory_bucket, clock, cache) as snapshots:
        assert snapshots.current().rows == before.rows
        assert snapshots.current().read_at == NOW


def test_what_was_noted_is_remembered_over_a_restart(memory_bucket: MemoryBucket, clock: Clock, cache: Path) -> None:
    with opened(memory_bucket, clock, cache) as snapshots:
        snapshots.refresh()
        etag = write(memory_bucket, "req_0", project="repaired")
        snapshots.note("req_0", Stored(request("req_0", project="repaired"), etag))
        snapshots.refresh()
    with opened(memory_bucket, clock, cache) as snapshots:
        assert {row.id: row.project for row in snapshots.current().rows}["req_0"] == "repaired"


def test_a_reading_that_was_cut_off_does_not_pose_as_complete_after_a_restart(
    memory_bucket: MemoryBucket, clock: Clock, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfpilot.adapters.snapshot._READ_AT_ONCE", 1)
    broken = StopsAfter(memory_bucket, reads=2)
    with closing(snapshots_of(memory_bucket, broken, clock, cache)) as snapshots:
        assert snapshots.refresh().error
    with opened(memory_bucket, clock, cache) as snapshots:
        assert (snapshots.current().rows, snapshots.current().read_at) == ((), None)
        assert len(snapshots.refresh().rows) == 3


def test_other_thresholds_change_the_rows_without_reading_the_bucket_again(
    memory_bucket: MemoryBucket, clock: Clock, cache: Path
) -> None:
    memory_bucket.write("requests/req_stuck.json", render_document(stuck_planning("req_stuck")))
    with opened(memory_bucket, clock, cache) as snapshots:
        before = {row.id: row.stuck_at for row in snapshots.refresh().rows}
    bulk = CountingBulk(memory_bucket)
    patient = Thresholds(planning=timedelta(hours=5))
    with closing(snapshots_of(memory_bucket, bulk, clock, cache, patient)) as snapshots:
        assert snapshots.current().read_at is None
        after = {row.id: row.stuck_at for row in snapshots.refresh().rows}
    assert bulk.read == []
    assert after["req_stuck"] == before["req_stuck"] + timedelta(hours=4, minutes=45)
    assert set(after) == set(before)


@pytest.mark.parametrize("content", [b"not a database, but some text of some length" * 50, b""])
def test_a_broken_cache_is_set_aside_and_made_anew(
    memory_bucket: MemoryBucket, clock: Clock, cache: Path, content: bytes
) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    with opened(memory_bucket, clock, cache) as snapshots:
        assert len(snapshots.refresh().rows) == 3


def test_somebody_elses_database_is_set_aside_and_not_destroyed(
    memory_bucket: MemoryBucket, clock: Clock, cache: Path
) -> None:
    cache.parent.mkdir()
    with closing(sqlite3.connect(cache)) as db, db:
        db.execute("CREATE TABLE treasure (gold TEXT)")
    with opened(memory_bucket, clock, cache) as snapshots:
        assert len(snapshots.refresh().rows) == 3
    with closing(sqlite3.connect(cache.with_name("requests.sqlite.old"))) as db:
        assert db.execute("SELECT count(*) FROM treasure").fetchone() == (0,)


def test_the_cache_of_another_bucket_is_never_shown(memory_bucket: MemoryBucket, clock: Clock, cache: Path) -> None:
    with opened(memory_bucket, clock, cache) as snapshots:
        snapshots.refresh()
    other = MemoryBucket(clock)
    other.name = "other"
    with opened(other, clock, cache) as snapshots:
        assert snapshots.current().rows == ()
        assert snapshots.refresh().rows == ()


def test_a_cache_that_breaks_while_in_use_costs_one_reading(
    memory_bucket: MemoryBucket, clock: Clock, cache: Path
) -> None:
    with opened(memory_bucket, clock, cache) as snapshots:
        snapshots.refresh()
        destroy(cache)
        write(memory_bucket, "req_3")
        failed = snapshots.refresh()
        assert "made anew" in (failed.error or "")
        assert len(failed.rows) == 3
        assert len(snapshots.refresh().rows) == 4
    with opened(memory_bucket, clock, cache) as snapshots:
        assert len(snapshots.current().rows) == 4


def test_a_cache_that_cannot_be_written_is_named(memory_bucket: MemoryBucket, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"requests\.sqlite") as caught:
        opened(memory_bucket, clock, tmp_path / "file" / "requests.sqlite")
    assert "TFPILOT_CACHE_DIR" in caught.value.hint


def test_what_is_noted_during_a_reading_is_not_undone_by_it(memory_bucket: MemoryBucket, clock: Clock) -> None:
    bulk = PausingBulk(memory_bucket)
    with closing(snapshots_of(memory_bucket, bulk, clock)) as snapshots:
        snapshots.refresh()
        with bulk.paused_after_listing(snapshots):
            repaired, created = request("req_0", project="repaired"), request("req_new")
            snapshots.note("req_0", Stored(repaired, write(memory_bucket, "req_0", project="repaired")))
            snapshots.note("req_new", Stored(created, write(memory_bucket, "req_new")))
        rows = {row.id: row.project for row in snapshots.current().rows}
        assert rows["req_0"] == "repaired"
        assert "req_new" in rows
        memory_bucket.delete("requests/req_new.json")
        assert "req_new" not in {row.id for row in snapshots.refresh().rows}


def test_what_is_noted_while_an_older_version_is_read_stays(memory_bucket: MemoryBucket, clock: Clock) -> None:
    def repair() -> None:
        etag = write(memory_bucket, "req_0", project="repaired")
        snapshots.note("req_0", Stored(request("req_0", project="repaired"), etag))

    with closing(snapshots_of(memory_bucket, CountingBulk(memory_bucket, after_read=repair), clock)) as snapshots:
        rows = {row.id: row.project for row in snapshots.refresh().rows}
    assert rows == {"req_0": "repaired", "req_1": "core", "req_2": "core"}


def test_who_asks_during_a_reading_gets_one_that_began_later(memory_bucket: MemoryBucket, clock: Clock) -> None:
    bulk = PausingBulk(memory_bucket)
    with closing(snapshots_of(memory_bucket, bulk, clock)) as snapshots:
        answers: list[int] = []
        askers = [threading.Thread(target=lambda: answers.append(len(snapshots.refresh().rows))) for _ in range(8)]
        with bulk.paused_after_listing(snapshots):
            write(memory_bucket, "req_new")
            for asker in askers:
                asker.start()
        for asker in askers:
            asker.join()
    assert answers == [4] * 8


def test_the_current_rows_are_given_while_a_reading_is_under_way(memory_bucket: MemoryBucket, clock: Clock) -> None:
    bulk = PausingBulk(memory_bucket)
    with closing(snapshots_of(memory_bucket, bulk, clock)) as snapshots:
        assert snapshots.progress() is None
        with bulk.paused_after_listing(snapshots):
            assert snapshots.current().rows == ()
            assert snapshots.progress() == (0, 0)
        assert snapshots.progress() is None


def test_the_first_reading_tells_how_far_it_is(memory_bucket: MemoryBucket, clock: Clock) -> None:
    seen: list[tuple[int, int] | None] = []
    bulk = CountingBulk(memory_bucket, after_read=lambda: seen.append(snapshots.progress()))
    with closing(snapshots_of(memory_bucket, bulk, clock)) as snapshots:
        snapshots.refresh()
    assert seen == [(0, 3), (1, 3), (2, 3)]


def test_a_renewal_reads_by_itself_until_it_is_stopped(memory_bucket: MemoryBucket, clock: Clock) -> None:
    bulk = CountingBulk(memory_bucket)
    with closing(snapshots_of(memory_bucket, bulk, clock)) as snapshots:
        renewal = Renewal(snapshots, interval=timedelta(hours=1))
        renewal.start()
        assert bulk.was_used.wait(30)
        renewal.stop()
        assert len(snapshots.current().rows) == 3


def test_after_closing_nothing_is_read_any_more(memory_bucket: MemoryBucket, clock: Clock) -> None:
    snapshots = snapshots_of(memory_bucket, MemoryBulk(memory_bucket), clock)
    snapshots.refresh()
    snapshots.close()
    write(memory_bucket, "req_3")
    assert len(snapshots.refresh().rows) == 3


@pytest.mark.server
def test_a_warm_reading_costs_one_listing_per_thousand_and_reads_only_what_changed(
    door: FaultyS3, behind_door: Bucket, bucket: Bucket, clock: Clock, cache: Path
) -> None:
    seed(bucket, documents(1500))
    with closing(snapshots_of(behind_door, Bulk(behind_door), clock, cache)) as snapshots:
        assert counted(door, snapshots) == {"LIST": 3, "GET": 1500}
        assert counted(door, snapshots) == {"LIST": 3}
        seed(bucket, documents(15, project="changed"))
        assert counted(door, snapshots) == {"LIST": 3, "GET": 15}
    with closing(snapshots_of(behind_door, Bulk(behind_door), clock, cache)) as snapshots:
        assert len(snapshots.current().rows) == 1500
        assert counted(door, snapshots) == {"LIST": 3}


@pytest.mark.server
def test_an_object_that_is_too_large_is_never_read(
    door: FaultyS3, behind_door: Bucket, bucket: Bucket, clock: Clock
) -> None:
    seed(bucket, {"requests/req_huge.json": b" " * 6_000_000})
    with closing(snapshots_of(behind_door, Bulk(behind_door), clock)) as snapshots:
        assert counted(door, snapshots) == {"LIST": 2}
        assert "6,000,000 bytes" in (snapshots.current().rows[0].error or "")


@pytest.mark.server
def test_an_object_that_the_store_refuses_to_give_is_a_row_until_it_gives_it(
    door: FaultyS3, behind_door: Bucket, bucket: Bucket, clock: Clock
) -> None:
    seed(bucket, {"requests/req_a.json": render_document(request("req_a"))})
    with closing(snapshots_of(behind_door, Bulk(behind_door), clock)) as snapshots:
        door.refuse("GET", 403, "InvalidObjectState")
        [row] = snapshots.refresh().rows
        assert "InvalidObjectState" in (row.error or "")
        [row] = snapshots.refresh().rows
        assert row.error is None


@pytest.mark.server
def test_credentials_that_end_during_a_reading_are_an_outage_and_no_quarantine(
    door: FaultyS3, behind_door: Bucket, bucket: Bucket, clock: Clock
) -> None:
    seed(bucket, {"requests/req_a.json": render_document(request("req_a"))})
    with closing(snapshots_of(behind_door, Bulk(behind_door), clock)) as snapshots:
        door.refuse("GET", 403, "ExpiredToken")
        snapshot = snapshots.refresh()
        assert snapshot.rows == ()
        assert "ExpiredToken" in (snapshot.error or "")


@pytest.mark.server
def test_a_server_that_cannot_be_reached_is_an_error_with_its_address(
    bucket_settings: BucketSettings, clock: Clock
) -> None:
    away = Bucket(replace(bucket_settings, endpoint_url="http://127.0.0.1:1"))
    with closing(snapshots_of(away, Bulk(away), clock)) as snapshots:
        assert "http://127.0.0.1:1" in (snapshots.refresh().error or "")


class CountingBulk(MemoryBulk):
    """Tells which objects were read, and calls `after_read` after each, before anybody gets it."""

    def __init__(self, bucket: MemoryBucket, after_read: Callable[[], object] = lambda: None) -> None:
        super().__init__(bucket)
        self.read: list[str] = []
        self.was_used = threading.Event()
        self._after_read = after_read

    def read_all(self, listed: list[Listed], *, limit_bytes: int) -> Iterator[Fetched]:
        self.was_used.set()
        for each in listed:
            self.read.append(each.key)
            fetched = list(super().read_all([each], limit_bytes=limit_bytes))
            self._after_read()
            yield from fetched


class StopsAfter(MemoryBulk):
    """The store goes away after some reads."""

    def __init__(self, bucket: MemoryBucket, *, reads: int) -> None:
        super().__init__(bucket)
        self._left = reads

    def read_all(self, listed: list[Listed], *, limit_bytes: int) -> Iterator[Fetched]:
        if self._left == 0:
            raise OUTAGE
        self._left -= 1
        return super().read_all(listed, limit_bytes=limit_bytes)


class PausingBulk(MemoryBulk):
    """Holds a reading between its listing and what follows."""

    def __init__(self, bucket: MemoryBucket) -> None:
        super().__init__(bucket)
        self._listed = threading.Event()
        self._go_on = threading.Event()
        self._go_on.set()

    def list_all(self, prefix: str) -> Mapping[str, Listed]:
        found = super().list_all(prefix)
        if prefix == "requests/":
            self._listed.set()
            assert self._go_on.wait(30)
        return found

    def paused_after_listing(self, snapshots: BucketSnapshots) -> AbstractContextManager[None]:
        return _Paused(snapshots, self._listed, self._go_on)


class _Paused(AbstractContextManager[None]):
    def __init__(self, snapshots: BucketSnapshots, listed: threading.Event, go_on: threading.Event) -> None:
        self._reader = threading.Thread(target=snapshots.refresh)
        self._listed, self._go_on = listed, go_on

    def __enter__(self) -> None:
        self._listed.clear()
        self._go_on.clear()
        self._reader.start()
        assert self._listed.wait(30)

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        self._reader.join()


def opened(bucket: MemoryBucket, clock: Clock, cache: Path | None = None) -> closing[BucketSnapshots]:
    return closing(snapshots_of(bucket, MemoryBulk(bucket), clock, cache))


def snapshots_of(
    bucket: object, bulk: object, clock: Clock, cache: Path | None = None, thresholds: Thresholds | None = None
) -> BucketSnapshots:
    return BucketSnapshots(bucket, bulk, clock=clock, thresholds=thresholds or Thresholds(), cache_path=cache)


def write(bucket: MemoryBucket, request_id: str, **fields: str) -> str:
    return bucket.write(f"requests/{request_id}.json", render_document(request(request_id, **fields)))


def documents(count: int, **fields: str) -> dict[str, bytes]:
    ids = [f"req_{number}" for number in range(count)]
    return {f"requests/{each}.json": render_document(request(each, **fields)) for each in ids}


def counted(door: FaultyS3, snapshots: BucketSnapshots) -> dict[str, int]:
    """The requests that one reading costs."""
    door.counts.clear()
    assert snapshots.refresh().error is None
    return dict(door.counts)


def destroy(cache: Path) -> None:
    """Overwrites the pages of an open database, as a failing disk would."""
    with closing(sqlite3.connect(cache)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with cache.open("r+b") as file:
        file.seek(0)
        file.write(b"x" * cache.stat().st_size)
