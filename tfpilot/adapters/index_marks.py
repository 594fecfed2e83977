"""Which findings of the run index are ignored: `ops/marks/run-index/`, an object for each finding."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.keys import INDEX_MARKS, SUFFIX
from tfpilot.adapters.records import MAX_RECORD_BYTES, Records, parse_record
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import flag_of, parse_time, text_of
from tfpilot.core.index_fixes import IndexMark
from tfpilot.core.index_report import mark_answer
from tfpilot.core.model import JsonObject


class S3IndexMarks:
    """`IndexMarks` on a bucket. A mark is read once per process and version."""

    def __init__(self, bucket: Bucket, bulk: Bulk) -> None:
        self._records = Records(bucket)
        self._bulk = bulk
        self._lock = threading.Lock()
        self._read: dict[tuple[str, str], IndexMark | None] = {}

    def put(self, mark: IndexMark) -> None:
        def is_newer(stored: JsonObject) -> bool:
            other = parse_mark(stored)
            return other is not None and other.at > mark.at

        self._records.put_newest(mark_key(mark.code, mark.key), mark_answer(mark), stays=is_newer)

    def list(self) -> Sequence[IndexMark]:
        listed = self._bulk.list_all(INDEX_MARKS).values()
        with self._lock:
            new = [each for each in listed if (each.key, each.etag) not in self._read]
        fetched = self._bulk.read_all(new, limit_bytes=MAX_RECORD_BYTES) if new else ()
        read = {
            (each.listed.key, each.listed.etag): parse_mark(parse_record(each.content or b"", key=each.listed.key))
            for each in fetched
        }
        with self._lock:
            self._read = {(each.key, each.etag): self._read.get((each.key, each.etag)) for each in listed} | read
            marks = [mark for mark in self._read.values() if mark is not None]
        return sorted(marks, key=lambda mark: (mark.at, mark.code, mark.key), reverse=True)


def mark_key(code: str, key: str) -> str:
    """Where the mark about a finding is: a finding is told apart by its code and key."""
    return f"{INDEX_MARKS}{hashlib.sha256(f'{code} {key}'.encode()).hexdigest()[:32]}{SUFFIX}"


def parse_mark(stored: JsonObject) -> IndexMark | None:
    """The mark in a stored object; None where it is none."""
    code, key, at = text_of(stored.get("code")), text_of(stored.get("key")), parse_time(stored.get("at"))
    ignored = flag_of(stored.get("ignored"))
    if code is None or key is None or at is None or ignored is None:
        return None
    return IndexMark(code, key, ignored, text_of(stored.get("reason")) or "", text_of(stored.get("by")) or "", at)
