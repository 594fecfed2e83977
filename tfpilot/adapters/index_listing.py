"""The whole run index at a glance: listed without reading an object, and each object read once per version."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.index_cache import IndexCache, index_object
from tfpilot.adapters.local_cache import CacheReplacedError, cache_place
from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.single_flight import SingleFlight
from tfpilot.core.index_listing import NO_LISTING, IndexKeys, IndexListing, IndexObject, find_place, is_folder
from tfpilot.core.run_index import MAX_ENTRY_BYTES, PREFIX
from tfpilot.edges import Clock
from tfpilot.errors import StorageError

_READ_AT_ONCE: Final = 1000


class BucketIndexListings:
    """`IndexListings` of a bucket. May be used from several threads: one listing at a time, the others wait for it.

    `cache_path` names the sqlite file that lets a start show the last listing at once; None: a temporary one.
    Raises StorageError where that file cannot be used at all. Call `close` at the end.
    """

    def __init__(self, bucket: Bucket, bulk: Bulk, *, clock: Clock, cache_path: Path | None = None) -> None:
        self._bulk = bulk
        self._clock = clock
        self._resources = ExitStack()
        place = self._resources.enter_context(cache_place(cache_path, name="run-index.sqlite"))
        cache = IndexCache(place, owner=f"{bucket.endpoint} {bucket.name}")
        self._cache = self._resources.enter_context(closing(cache))
        self._listings = SingleFlight(self._try_to_list)
        self._readings = SingleFlight(self._try_to_read)
        self._progress: tuple[int, int] | None = None
        self._lock = threading.Lock()
        self._bodies_read_at: datetime | None = None
        self._listing = self._last_listing()

    def current(self) -> IndexListing:
        return self._listing

    def refresh(self, *, older_than: timedelta = timedelta(0)) -> IndexListing:
        self._listings.ensure(lambda: self._is_recent(self._listing.read_at, older_than))
        return self._listing

    def refresh_with_bodies(self, *, older_than: timedelta = timedelta(0)) -> IndexListing:
        self._readings.ensure(lambda: self._is_complete() and self._is_recent(self._bodies_read_at, older_than))
        return self._listing

    def objects(self) -> Iterator[IndexObject]:
        return self._cache.objects()

    def read(self, keys: Sequence[str]) -> Mapping[str, IndexObject]:
        known = self._cache.find(keys)
        asked = [listed for listed, read in known.values() if read is None]
        fetched = list(self._bulk.read_all(asked, limit_bytes=MAX_ENTRY_BYTES)) if asked else []
        if asked:
            self._cache.save(asked, fetched)
            self._publish_unread()
        found = {key: read for key, (_, read) in known.items() if read is not None}
        return found | {each.listed.key: index_object(each) for each in fetched}

    def progress(self) -> tuple[int, int] | None:
        return self._progress

    def close(self) -> None:
        """Waits for the reading that is under way and gives the cache free."""
        self._readings.close()
        self._listings.close()
        self._resources.close()

    def _last_listing(self) -> IndexListing:
        read_at = self._cache.find_read_at()
        return NO_LISTING if read_at is None else self._listed(read_at, number=0)

    def _is_complete(self) -> bool:
        """Whether everything that is listed was read: a newer listing may have found more."""
        return self._listing.bodies_missing == 0

    def _is_recent(self, read_at: datetime | None, older_than: timedelta) -> bool:
        """Whether that is young enough. After a failure it is not: whoever asks wants to know whether it is over."""
        if not older_than or read_at is None or self._listing.error is not None:
            return False
        return self._clock() - read_at <= older_than

    def _try_to_list(self) -> bool:
        began = self._clock()
        try:
            found = self._bulk.list_all(PREFIX)
            differs = self._cache.take_over((each for key, each in found.items() if not is_folder(key)), read_at=began)
            listing = self._listed(began, number=self._listing.number + differs)
        except StorageError as error:
            self._fail(error, began)
            return False
        with self._lock:
            self._listing = listing
        return True

    def _try_to_read(self) -> bool:
        if self.refresh().error is not None:
            return False
        began = self._listing.read_at or self._clock()
        try:
            self._read_unread()
        except StorageError as error:
            self._fail(error, began)
            return False
        finally:
            self._progress = None
        self._publish_unread()
        self._bodies_read_at = began
        return True

    def _read_unread(self) -> None:
        todo, done = self._cache.count_unread(), 0
        self._progress = (0, todo)
        while asked := self._cache.unread(_READ_AT_ONCE):
            self._cache.save(asked, self._bulk.read_all(asked, limit_bytes=MAX_ENTRY_BYTES))
            done += len(asked)
            self._progress = (done, max(done, todo))

    def _listed(self, read_at: datetime, *, number: int) -> IndexListing:
        """What the cache holds. Ages are as of the listing, counted once."""
        places = self._cache.places()
        found = [(find_place(key), modified) for key, modified in places]
        keys = IndexKeys((*place, modified) for place, modified in found if place is not None)
        odd = tuple(key for (key, _), (place, _) in zip(places, found, strict=True) if place is None)
        return IndexListing(keys, odd, keys.ages(read_at), self._cache.count_unread(), read_at, number)

    def _publish_unread(self) -> None:
        missing = self._cache.count_unread()
        with self._lock:
            self._listing = replace(self._listing, bodies_missing=missing)

    def _fail(self, error: StorageError, began: datetime) -> None:
        with self._lock:
            kept = self._listing
            if isinstance(error, CacheReplacedError):
                kept, self._bodies_read_at = replace(NO_LISTING, number=kept.number + 1), None
            self._listing = replace(kept, error=f"{error.message}. {error.hint}", tried_at=began)
