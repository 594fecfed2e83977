"""Whether an admin has frozen the portal."""

from __future__ import annotations

from typing import Final

from tfpilot.adapters.records import MAX_RECORD_BYTES
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import object_of, parse_json, text_of
from tfpilot.errors import DocumentError, StorageError

FREEZE: Final = "ops/freeze.json"
_NO_REASON: Final = "no reason was given"


class S3Freeze:
    """`Freeze` on a bucket: frozen while the object is there."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def reason(self) -> str:
        try:
            body = self._bucket.find(FREEZE, limit_bytes=MAX_RECORD_BYTES)
            if body is None:
                return ""
            return text_of(object_of(parse_json(body.content, what=FREEZE)).get("reason")) or _NO_REASON
        except DocumentError as error:
            raise StorageError(error.message, f"Look at {FREEZE}: while it is there, nothing is reset.") from error
