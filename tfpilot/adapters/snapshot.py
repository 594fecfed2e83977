"""All requests at a glance: listed, compared by ETag with what is known, and only what changed is read."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tfpilot.adapters.bulk import Bulk, Fetched
from tfpilot.adapters.keys import ACTIVE, ARCHIVED, active_key, archived_key
from tfpilot.adapters.local_cache import CacheReplacedError, cache_place
from tfpilot.adapters.s3 import Bucket, Listed
from tfpilot.adapters.single_flight import SingleFlight
from tfpilot.adapters.snapshot_cache import Entry, Read, SnapshotCache
from tfpilot.adapters.snapshot_rows import merge, row_of, rules_fingerprint, with_row
from tfpilot.core.document import MAX_DOCUMENT_BYTES, render_document
from tfpilot.core.model import RequestRow, Snapshot, Stored, Thresholds
from tfpilot.edges import Clock
from tfpilot.errors import StorageError

_READ_AT_ONCE: Final = 1000


class BucketSnapshots:
    """`Snapshots` of a bucket. May be used from several threads: one reading at a time, the others wait for it.

    `cache_path` names the sqlite file that lets a start show the last reading at once; None: a temporary one.
    Raises StorageError where that file cannot be used at all. Call `close` at the end.
    """

    def __init__(
        self, bucket: Bucket, bulk: Bulk, *, clock: Clock, thresholds: Thresholds, cache_path: Path | None = None
    ) -> None:
        self._bulk = bulk
        self._clock = clock
        self._thresholds = thresholds
        self._rules = rules_fingerprint(thresholds)
        self._resources = ExitStack()
        place = self._resources.enter_context(cache_place(cache_path, name="requests.sqlite"))
        cache = SnapshotCache(place, owner=f"{bucket.endpoint} {bucket.name}")
        self._cache = self._resources.enter_context(closing(cache))
        self._readings = SingleFlight(self._try_to_read)
        self._progress: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._noted: dict[str, Read] = {}
        self._entries = dict(self._cache.load(rules=self._rules))
        self._snapshot = self._last_reading()

    def current(self) -> Snapshot:
        return self._snapshot

    def refresh(self, *, older_than: timedelta = timedelta(0)) -> Snapshot:
        self._readings.ensure(lambda: self._is_recent(older_than))
        return self._snapshot

    def note(self, request_id: str, stored: Stored) -> None:
        content = render_document(stored.document)
        listed = Listed(active_key(request_id), stored.etag, len(content), self._clock())
        read = self._read_of(Fetched(listed, content))
        with self._lock:
            self._noted[listed.key] = read
            self._entries[listed.key] = Entry(stored.etag, read.row)
            if self._snapshot.read_at is not None:
                row = replace(read.row, has_archived_copy=archived_key(request_id) in self._entries)
                self._snapshot = _renewed(self._snapshot, with_row(self._snapshot.rows, row))

    def progress(self) -> tuple[int, int] | None:
        return self._progress

    def close(self) -> None:
        """Waits for the reading that is under way and gives the cache free."""
        self._readings.close()
        self._resources.close()

    def _last_reading(self) -> Snapshot:
        """What the cache holds, unless it has gaps: never completed, or rows that must be derived again first."""
        read_at = self._cache.find_read_at()
        if read_at is None or any(self._cache.outdated(rules=self._rules)):
            return Snapshot((), None, 0)
        return Snapshot(merge(_rows(self._entries)), read_at, 0)

    def _is_recent(self, older_than: timedelta) -> bool:
        read_at = self._snapshot.read_at
        return bool(older_than) and read_at is not None and self._clock() - read_at <= older_than

    def _try_to_read(self) -> bool:
        began = self._clock()
        self._progress = (0, 0)
        try:
            self._read(began)
        except StorageError as error:
            self._fail(error, began)
            return False
        finally:
            self._progress = None
        return True

    def _read(self, began: datetime) -> None:
        self._save_notes()
        self._derive_outdated()
        listed = self._list()
        with self._lock:
            changed = [each for each in listed.values() if self._is_new(each)]
        vanished = self._read_changed(changed)
        with self._lock:
            gone = [key for key in self._entries if (key not in listed or key in vanished) and key not in self._noted]
            for key in gone:
                del self._entries[key]
            rows = merge(_rows(self._entries))
            self._snapshot = replace(_renewed(self._snapshot, rows), read_at=began, error=None, tried_at=None)
        self._cache.finish(gone=gone, read_at=began)

    def _fail(self, error: StorageError, began: datetime) -> None:
        with self._lock:
            if isinstance(error, CacheReplacedError):
                self._entries.clear()
            explained = f"{error.message}. {error.hint}"
            self._snapshot = replace(self._snapshot, error=explained, tried_at=began)

    def _save_notes(self) -> None:
        """Keeps what was noted until now. What is noted from now on is newer than the listing, and wins over it."""
        with self._lock:
            noted, self._noted = self._noted, {}
        self._cache.save(noted.values(), rules=self._rules)

    def _derive_outdated(self) -> None:
        for batch in self._cache.outdated(rules=self._rules):
            self._take_in([self._read_of(fetched) for fetched in batch])

    def _list(self) -> Mapping[str, Listed]:
        # Active ones first: a request that is archived between the two listings is then in both, not in none.
        listed = {**self._bulk.list_all(ACTIVE), **self._bulk.list_all(ARCHIVED)}
        return {key: each for key, each in listed.items() if key not in (ACTIVE, ARCHIVED)}  # a console's "folders"

    def _is_new(self, listed: Listed) -> bool:
        known = self._entries.get(listed.key)
        return known is None or known.etag != listed.etag

    def _read_changed(self, changed: Sequence[Listed]) -> frozenset[str]:
        """Reads and takes in the objects, and answers the keys of those that were gone by then."""
        read: set[str] = set()
        self._progress = (0, len(changed))
        for start in range(0, len(changed), _READ_AT_ONCE):
            batch = []
            for fetched in self._bulk.read_all(changed[start : start + _READ_AT_ONCE], limit_bytes=MAX_DOCUMENT_BYTES):
                batch.append(self._read_of(fetched))
                self._progress = (len(read) + len(batch), len(changed))
            self._take_in(batch)
            read.update(each.fetched.listed.key for each in batch)
        return frozenset(each.key for each in changed) - read

    def _take_in(self, batch: Sequence[Read]) -> None:
        self._cache.save(batch, rules=self._rules)
        with self._lock:
            for each in batch:
                if each.fetched.listed.key not in self._noted:
                    self._entries[each.fetched.listed.key] = Entry(each.fetched.listed.etag, each.row)

    def _read_of(self, fetched: Fetched) -> Read:
        return Read(fetched, row_of(fetched, thresholds=self._thresholds))


def _rows(entries: Mapping[str, Entry]) -> dict[str, RequestRow]:
    return {key: entry.row for key, entry in entries.items()}


def _renewed(snapshot: Snapshot, rows: tuple[RequestRow, ...]) -> Snapshot:
    return snapshot if rows == snapshot.rows else replace(snapshot, rows=rows, number=snapshot.number + 1)
