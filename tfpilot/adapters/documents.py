"""Request documents in the bucket, active and archived."""

from __future__ import annotations

from tfpilot.adapters.keys import active_key, archived_key, backup_key
from tfpilot.adapters.s3 import Body, Bucket, check_size
from tfpilot.core.document import MAX_DOCUMENT_BYTES, parse_document, render_document
from tfpilot.core.model import JsonObject, Stored
from tfpilot.errors import ConflictError


class S3Documents:
    """`Documents` on a bucket. Every method raises MalformedIdError for what cannot be a request id."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def get(self, request_id: str) -> Stored:
        return _stored(self._bucket.read(active_key(request_id), limit_bytes=MAX_DOCUMENT_BYTES), request_id)

    def get_bytes(self, request_id: str) -> bytes:
        return self._bucket.read(active_key(request_id), limit_bytes=MAX_DOCUMENT_BYTES).content

    def put(self, request_id: str, document: JsonObject, *, if_match: str) -> str:
        return self._put(active_key(request_id), document, if_match=if_match)

    def find_archived(self, request_id: str) -> Stored | None:
        body = self._bucket.find(archived_key(request_id), limit_bytes=MAX_DOCUMENT_BYTES)
        return None if body is None else _stored(body, request_id)

    def put_archived(self, request_id: str, document: JsonObject, *, if_match: str | None) -> str:
        return self._put(archived_key(request_id), document, if_match=if_match)

    def keep_archived(self, request_id: str, stored: Stored) -> str:
        key = backup_key(request_id, stored.etag)
        try:
            self._bucket.put(key, render_document(stored.document), if_match=None)
        except ConflictError:
            return key  # this version was kept before
        return key

    def _put(self, key: str, document: JsonObject, *, if_match: str | None) -> str:
        """Stores what can be read again: a compact document grows when it is written with indents."""
        content = render_document(document)
        check_size(key, len(content), limit_bytes=MAX_DOCUMENT_BYTES)
        return self._bucket.put(key, content, if_match=if_match)


def _stored(body: Body, request_id: str) -> Stored:
    return Stored(parse_document(body.content, request_id=request_id), body.etag)
