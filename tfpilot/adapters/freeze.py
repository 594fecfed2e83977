"""Whether an admin has frozen the portal: frozen while `ops/freeze.json` is there."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Final

from tfpilot.adapters.records import MAX_RECORD_BYTES
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import object_of, parse_json, render_document
from tfpilot.core.freeze import FreezeNotice, notice_fields, parse_notice
from tfpilot.errors import ConflictError, DocumentError, StorageError

FREEZE: Final = "ops/freeze.json"
_NOW: Final = timedelta(0)


class S3Freeze:
    """`Freeze` on a bucket. For any number of threads."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = threading.Lock()
        self._last: tuple[float, FreezeNotice | None] | None = None

    def find(self, *, max_age: timedelta = _NOW) -> FreezeNotice | None:
        with self._lock:
            last = self._last
        if last is not None and time.monotonic() - last[0] < max_age.total_seconds():
            return last[1]
        asked = time.monotonic()
        stored = self._stored()
        return self._remember(asked, None if stored is None else stored[0])

    def put(self, notice: FreezeNotice) -> None:
        try:
            self._bucket.put(FREEZE, render_document(notice_fields(notice)), if_match=None)
        except ConflictError as error:
            raise ConflictError("The portal is frozen already", "Look who froze it, and why.") from error
        self._remember(time.monotonic(), notice)

    def lift(self) -> FreezeNotice | None:
        try:
            stored = self._stored()
        except StorageError as unreadable:
            if not isinstance(unreadable.__cause__, DocumentError):
                raise
            raise StorageError(unreadable.message, f"Remove {FREEZE} from the bucket by hand.") from unreadable
        if stored is None:
            return self._remember(time.monotonic(), None)
        notice, etag = stored
        self._bucket.delete(FREEZE, if_match=etag)
        self._remember(time.monotonic(), None)
        return notice

    def _stored(self) -> tuple[FreezeNotice, str] | None:
        """The freeze and its ETag."""
        try:
            body = self._bucket.find(FREEZE, limit_bytes=MAX_RECORD_BYTES)
            return None if body is None else (parse_notice(object_of(parse_json(body.content, what=FREEZE))), body.etag)
        except DocumentError as error:
            raise StorageError(error.message, f"Look at {FREEZE}: while it is there, nothing is written.") from error

    def _remember(self, asked: float, notice: FreezeNotice | None) -> FreezeNotice | None:
        with self._lock:
            if self._last is None or self._last[0] <= asked:
                self._last = (asked, notice)
        return notice
