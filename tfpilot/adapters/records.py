"""Small JSON objects that several processes write: the newest stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tfpilot.adapters.s3 import Body, Bucket
from tfpilot.core.document import object_of, parse_json, render_document
from tfpilot.core.model import JsonObject
from tfpilot.errors import ConflictError, DocumentError, StorageError

MAX_RECORD_BYTES: Final = 256 * 1024
_MAX_TRIES: Final = 8


def parse_record(content: bytes, *, key: str) -> JsonObject:
    """The JSON object, an empty one where the content is none: a broken record says nothing."""
    try:
        return object_of(parse_json(content, what=key))
    except DocumentError:
        return {}


class Records:
    """JSON objects of a bucket, by key."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def find(self, key: str) -> JsonObject:
        """The record, an empty one where there is none or it cannot be read. Raises StorageError."""
        try:
            body = self._bucket.find(key, limit_bytes=MAX_RECORD_BYTES)
        except DocumentError:
            return {}
        return {} if body is None else parse_record(body.content, key=key)

    def put_newest(self, key: str, record: JsonObject, *, stays: Callable[[JsonObject], bool]) -> None:
        """Stores the record unless what is stored `stays`. A broken one is replaced. Raises StorageError."""
        for _ in range(_MAX_TRIES):
            body = self._find_to_replace(key)
            if body is not None and stays(parse_record(body.content, key=key)):
                return
            try:
                self._bucket.put(key, render_document(record), if_match=None if body is None else body.etag)
            except ConflictError:
                continue
            return
        raise StorageError(f"{key} is written by others all the time", "Try again in a minute.")

    def _find_to_replace(self, key: str) -> Body | None:
        try:
            return self._bucket.find(key, limit_bytes=MAX_RECORD_BYTES)
        except DocumentError as error:
            raise StorageError(error.message, f"{key} is a memo of the portal: delete it by hand.") from error
