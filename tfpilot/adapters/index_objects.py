"""Single objects of the run index, as fixes read, write and remove them."""

from __future__ import annotations

from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.versions import read_versions
from tfpilot.core.index_listing import IndexObject, VersionHistory
from tfpilot.core.run_index import MAX_ENTRY_BYTES, PREFIX
from tfpilot.errors import DocumentError, RefusedError


class S3IndexObjects:
    """`IndexObjects` on a bucket. Refuses every key outside the run index."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def find(self, key: str) -> IndexObject | None:
        try:
            body = self._bucket.find(_checked(key), limit_bytes=MAX_ENTRY_BYTES)
        except DocumentError:
            return IndexObject(key, "", None)
        return None if body is None else IndexObject(key, body.etag, body.content)

    def put(self, key: str, content: bytes, *, if_match: str | None) -> str:
        return self._bucket.put(_checked(key), content, if_match=if_match)

    def delete(self, key: str, *, if_match: str) -> None:
        self._bucket.delete(_checked(key), if_match=if_match)

    def history(self) -> VersionHistory:
        return read_versions(self._bucket, PREFIX, limit_bytes=MAX_ENTRY_BYTES)


def _checked(key: str) -> str:
    if not key.startswith(PREFIX):
        raise RefusedError(f"{key} is not in the run index", "Nothing was changed. Plan the fix again.")
    return key
