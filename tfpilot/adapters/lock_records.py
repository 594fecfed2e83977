"""Terraform locks that were released by hand: `ops/backups/locks/`, an object for each, never changed or removed."""

from __future__ import annotations

from tfpilot.adapters.keys import LOCK_RECORDS, SUFFIX
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import render_document
from tfpilot.core.lock_release import LockRecord, record_fields


class S3LockRecords:
    """`LockRecords` on a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def add(self, record: LockRecord) -> str:
        key = f"{LOCK_RECORDS}{record.record_id}{SUFFIX}"
        self._bucket.put(key, render_document(record_fields(record)), if_match=None)
        return key
