"""The places of a reset's target: states and lockfiles, lock and digest items, requests and index entries."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.lifecycle import read_versioning
from tfpilot.adapters.lock_table import DIGEST, INFO, Item, LockTable, connect_tables
from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.s3_errors import code_of
from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.document import MAX_DOCUMENT_BYTES
from tfpilot.core.model import JsonObject
from tfpilot.core.reset_plan import ReadObject, sha256_of
from tfpilot.core.reset_steps import Found, Place, Store
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import StoredLock, digest_id, parse_lock
from tfpilot.errors import DocumentError, StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_STATE_BYTES: Final = 256 * 1024 * 1024
_MAX_LOCK_BYTES: Final = 64 * 1024
_NO_TAGS: Final = "NoSuchTagSet"


class S3ResetStore:
    """`ResetStore` of one target."""

    def __init__(self, requests: Bucket, bulk: Bulk, state: Bucket, table: LockTable | None) -> None:
        self._requests = requests
        self._bulk = bulk
        self._state = state
        self._table = table

    def find(self, place: Place) -> Found | None:
        if place.is_lock:
            lock = self.find_lock(place)
            return None if lock is None else Found(lock.mark, lock.version or "")
        if place.store is Store.LOCK_TABLE:
            digest = self._find_digest(place.key)
            return None if digest is None else Found(digest, digest)
        read = self.read(place)
        return None if read is None else Found(sha256_of(read.content), read.etag, read.version_id)

    def read(self, place: Place, *, version_id: str | None = None) -> ReadObject | None:
        if place.store is Store.STATE_BUCKET:
            return self._state.find_version(place.key, limit_bytes=MAX_STATE_BYTES, version_id=version_id)
        if version_id is not None:
            return self._requests.find_version(place.key, limit_bytes=MAX_DOCUMENT_BYTES, version_id=version_id)
        return self._bulk.find(place.key, limit_bytes=MAX_DOCUMENT_BYTES)

    def read_all(self, keys: Sequence[str]) -> Mapping[str, ReadObject]:
        found = self._bulk.find_all(keys, limit_bytes=MAX_DOCUMENT_BYTES)
        return {read.key: read for read in found if read is not None}

    def find_lock(self, place: Place) -> StoredLock | None:
        if place.store is Store.LOCK_TABLE:
            item = self._lock_table.find(place.key, INFO)
            return None if item is None else StoredLock(parse_lock(item.text), item.text)
        read = self._state.find_version(place.key, limit_bytes=_MAX_LOCK_BYTES)
        return None if read is None else StoredLock(parse_lock(read.content), read.etag)

    def find_lock_item(self, place: Place) -> JsonObject | None:
        return self._lock_table.find_item(place.key)

    def find_digest(self, object_key: str) -> str | None:
        return self._find_digest(digest_id(self._state.name, object_key))

    def write(
        self, place: Place, content: bytes, *, over: Found | None, encrypted_like: ReadObject | None = None
    ) -> Found:
        if place.store is Store.LOCK_TABLE:
            text = content.decode()
            self._lock_table.put(place.key, _attribute(place), text, over=over.etag if over else None)
            return Found(text, text)
        if place.store is Store.REQUESTS_BUCKET and over is None:
            written = self._bulk.create(place.key, content)
        else:
            written = self._bucket(place).write(
                place.key, content, if_match=over.etag if over else None, encrypted_like=encrypted_like
            )
        return Found(sha256_of(content), written.etag, written.version_id)

    def remove(self, place: Place, *, found: Found) -> None:
        if place.store is Store.LOCK_TABLE:
            self._lock_table.remove(Item(place.key, found.etag), _attribute(place))
        else:
            self._bucket(place).delete(place.key, if_match=found.etag)

    def remove_lock(self, place: Place, lock: StoredLock) -> None:
        if place.store is Store.LOCK_TABLE:
            self._lock_table.remove(Item(place.key, lock.version), INFO)
        else:
            self._state.delete(place.key, if_match=lock.version or "")

    def tags(self) -> Mapping[str, str]:
        try:
            answer = self._state.client.get_bucket_tagging(Bucket=self._state.name)
        except ClientError as error:
            if code_of(error) == _NO_TAGS:
                return {}
            raise self._state.failed(error, "read the tags") from error
        except BotoCoreError as error:
            raise self._state.failed(error, "read the tags") from error
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def versioning(self) -> Versioning:
        return read_versioning(self._state)

    def _find_digest(self, lock_id: str) -> str | None:
        item = self._lock_table.find(lock_id, DIGEST)
        if item is not None and not item.text:
            raise DocumentError(
                f"The digest item {lock_id} in table {self._lock_table.name} has no Digest",
                "Terraform cannot use it either. Look at the item, and remove it by hand if nobody needs it.",
            )
        return None if item is None else item.text

    def _bucket(self, place: Place) -> Bucket:
        return self._state if place.store is Store.STATE_BUCKET else self._requests

    @property
    def _lock_table(self) -> LockTable:
        if self._table is None:
            raise StorageError("The target has no lock table", "Its lock_mode says that lockfiles are the lock.")
        return self._table


class S3ResetStores:
    """`ResetStores`: by one client of S3 and one of DynamoDB."""

    def __init__(self, requests: Bucket, bulk: Bulk, *, dynamodb_endpoint: str | None = None) -> None:
        self._requests = requests
        self._bulk = bulk
        self._endpoint = dynamodb_endpoint
        self._client: DynamoDBClient | None = None
        self._lock = threading.Lock()

    def of(self, target: ResetTarget) -> S3ResetStore:
        table = LockTable(self._tables(), target.lock_table) if target.lock_mode.has_table else None
        return S3ResetStore(self._requests, self._bulk, self._requests.sibling(target.bucket), table)

    def _tables(self) -> DynamoDBClient:
        with self._lock:
            if self._client is None:
                self._client = connect_tables(self._requests.session, endpoint_url=self._endpoint)
            return self._client


def _attribute(place: Place) -> str:
    return INFO if place.is_lock else DIGEST
