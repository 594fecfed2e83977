"""Sign-ins that their owners have ended: `ops/signouts/<key>.json`, so that all replicas know."""

from __future__ import annotations

import re
import threading
from datetime import datetime
from typing import Final

from tfpilot.adapters.keys import SIGN_OUTS, SUFFIX
from tfpilot.adapters.records import MAX_RECORD_BYTES
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import format_time, render_document
from tfpilot.errors import ConflictError, DocumentError, MalformedIdError

_KEY: Final = re.compile(r"[0-9a-f]{64}")


class S3SignOuts:
    """`SignOuts` on a bucket: ended while the object is there, whatever it says."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = threading.Lock()
        self._here: set[str] = set()

    def add(self, key: str, *, at: datetime) -> None:
        place = _place(key)
        self._note(key)
        try:
            self._bucket.put(place, render_document({"at": format_time(at)}), if_match=None)
        except ConflictError:
            return  # it was ended before

    def has(self, key: str) -> bool:
        if self.has_here(key):
            return True
        try:
            is_stored = self._bucket.find(_place(key), limit_bytes=MAX_RECORD_BYTES) is not None
        except DocumentError:  # too large for one of ours, and there all the same
            is_stored = True
        if is_stored:
            self._note(key)
        return is_stored

    def has_here(self, key: str) -> bool:
        with self._lock:
            return key in self._here

    def _note(self, key: str) -> None:
        with self._lock:
            self._here.add(key)


def _place(key: str) -> str:
    if _KEY.fullmatch(key) is None:
        raise MalformedIdError("This cannot be the key of a sign-in", "It has 64 hexadecimal digits.")
    return f"{SIGN_OUTS}{key}{SUFFIX}"
