"""The places of a reset in memory, with the promises of the real ones: tests/adapters/test_reset_store.py runs both."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.document import MAX_DOCUMENT_BYTES
from tfpilot.core.model import JsonObject
from tfpilot.core.reset_plan import ReadObject, sha256_of
from tfpilot.core.reset_steps import Found, Place, Store
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import StoredLock, digest_id, md5_of, parse_lock
from tfpilot.errors import ConflictError, DocumentError, StorageError


class MemoryResetStores:
    """Every target's places. `objects` are those of all state buckets and `items` those of all lock tables: an item is
    its Info or Digest, None where it has none. `outage` set: everything but the requests bucket raises it."""

    def __init__(self, requests: Any) -> None:
        self.requests = requests
        self.objects: dict[tuple[str, str], bytes] = {}
        self.items: dict[tuple[str, str], str | None] = {}
        self.bucket_tags: dict[str, dict[str, str]] = {}
        self.versionings: dict[str, Versioning] = {}
        self.outage: StorageError | None = None
        self.lock = threading.RLock()

    def of(self, target: ResetTarget) -> MemoryResetStore:
        return MemoryResetStore(self, target)

    def put_state(self, target: ResetTarget, object_key: str, content: bytes) -> None:
        """As Terraform writes a state: with its digest where there is a table."""
        self.objects[target.bucket, object_key] = content
        if target.lock_mode.has_table:
            self.items[target.lock_table, digest_id(target.bucket, object_key)] = md5_of(content)


class MemoryResetStore:
    """`ResetStore` in memory."""

    def __init__(self, stores: MemoryResetStores, target: ResetTarget) -> None:
        self._stores = stores
        self._target = target

    def find(self, place: Place) -> Found | None:
        if place.is_lock:
            lock = self.find_lock(place)
            return None if lock is None else Found(lock.mark, lock.version or "")
        if place.store is Store.LOCK_TABLE:
            digest = self._digest(place.key)
            return None if digest is None else Found(digest, digest)
        read = self.read(place)
        return None if read is None else Found(sha256_of(read.content), read.etag)

    def read(self, place: Place, *, version_id: str | None = None) -> ReadObject | None:
        if version_id is not None:
            return None
        if place.store is Store.REQUESTS_BUCKET:
            body = self._stores.requests.find(place.key, limit_bytes=MAX_DOCUMENT_BYTES)
            return None if body is None else ReadObject(place.key, body.content, body.etag)
        self._check()
        content = self._stores.objects.get((self._target.bucket, place.key))
        return None if content is None else ReadObject(place.key, content, md5_of(content))

    def read_all(self, keys: Sequence[str]) -> Mapping[str, ReadObject]:
        read = (self.read(Place(Store.REQUESTS_BUCKET, key)) for key in keys)
        return {each.key: each for each in read if each is not None}

    def find_lock(self, place: Place) -> StoredLock | None:
        self._check()
        if place.store is Store.LOCK_TABLE:
            id_ = (self._target.lock_table, place.key)
            items = self._stores.items
            return StoredLock(parse_lock(items[id_]), items[id_]) if id_ in items else None
        content = self._stores.objects.get((self._target.bucket, place.key))
        return None if content is None else StoredLock(parse_lock(content), md5_of(content))

    def find_lock_item(self, place: Place) -> JsonObject | None:
        self._check()
        id_ = (self._target.lock_table, place.key)
        if id_ not in self._stores.items:
            return None
        info = self._stores.items[id_]
        return {"LockID": {"S": place.key}, **({} if info is None else {"Info": {"S": info}})}

    def find_digest(self, object_key: str) -> str | None:
        return self._digest(digest_id(self._target.bucket, object_key))

    def write(
        self, place: Place, content: bytes, *, over: Found | None, encrypted_like: ReadObject | None = None
    ) -> Found:
        if place.store is Store.REQUESTS_BUCKET:
            etag = self._stores.requests.put(place.key, content, if_match=over.etag if over else None)
            return Found(sha256_of(content), etag)
        self._check()
        with self._stores.lock:
            self._check_stands(place, over)
            if place.store is Store.LOCK_TABLE:
                self._stores.items[self._target.lock_table, place.key] = content.decode()
                return Found(content.decode(), content.decode())
            self._stores.objects[self._target.bucket, place.key] = content
            return Found(sha256_of(content), md5_of(content))

    def remove(self, place: Place, *, found: Found) -> None:
        if place.store is Store.REQUESTS_BUCKET:
            self._stores.requests.delete(place.key, if_match=found.etag)
            return
        self._check()
        with self._stores.lock:
            self._check_stands(place, found)
            self._remove(place)

    def remove_lock(self, place: Place, lock: StoredLock) -> None:
        with self._stores.lock:
            if self.find_lock(place) != lock:
                raise _conflict(place)
            self._remove(place)

    def tags(self) -> Mapping[str, str]:
        self._check()
        return self._stores.bucket_tags.get(self._target.bucket, {})

    def versioning(self) -> Versioning:
        self._check()
        return self._stores.versionings.get(self._target.bucket, Versioning.NEVER)

    def _remove(self, place: Place) -> None:
        if place.store is Store.LOCK_TABLE:
            del self._stores.items[self._target.lock_table, place.key]
        else:
            del self._stores.objects[self._target.bucket, place.key]

    def _digest(self, lock_id: str) -> str | None:
        self._check()
        id_ = (self._target.lock_table, lock_id)
        if id_ in self._stores.items and not self._stores.items[id_]:
            raise DocumentError(f"The digest item {lock_id} has no Digest")
        return self._stores.items.get(id_)

    def _check_stands(self, place: Place, over: Found | None) -> None:
        stands = self.find(place)
        if (stands.etag if stands else None) != (over.etag if over else None):
            raise _conflict(place)

    def _check(self) -> None:
        if self._stores.outage is not None:
            raise self._stores.outage


def _conflict(place: Place) -> ConflictError:
    return ConflictError(f"{place} was changed by somebody else meanwhile", "Look at it again.")
