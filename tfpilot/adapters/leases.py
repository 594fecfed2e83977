"""Leases: one small object each (`ops/leases/<name>.json`), taken by creating it and given back by removing it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Final

from tfpilot.adapters.keys import LEASES, SUFFIX
from tfpilot.adapters.records import MAX_RECORD_BYTES, parse_record
from tfpilot.adapters.s3 import Body, Bucket
from tfpilot.core.document import render_document
from tfpilot.core.lease import HeldLease, Lease, lease_fields, parse_lease
from tfpilot.errors import ConflictError, StorageError

_NAME: Final = re.compile(r"[a-z0-9-]{1,100}")
_MAX_TRIES: Final = 4


class S3Leases:
    """`Leases` on a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def take(self, lease: Lease, *, now: datetime) -> HeldLease:
        key = _key(lease.name)
        for _ in range(_MAX_TRIES):
            stored = self._read(key)
            found = None if stored is None else parse_lease(parse_record(stored.content, key=key))
            if found is not None and found.until > now:
                raise ConflictError(
                    f"{found.operator or found.holder} is at it: {found.doing}",
                    f"Wait until it has ended. If that process is gone, its hold ends at {found.until:%H:%M:%S} UTC.",
                )
            try:
                return self._put(lease, if_match=None if stored is None else stored.etag)
            except ConflictError:
                continue  # somebody else was quicker: look who
        raise StorageError(f"{key} is written by others all the time", "Try again in a minute.")

    def renew(self, held: HeldLease, *, until: datetime) -> HeldLease:
        return self._put(replace(held.lease, until=until), if_match=held.etag)

    def release(self, held: HeldLease) -> None:
        try:
            self._bucket.delete(_key(held.lease.name), if_match=held.etag)
        except ConflictError:
            return  # somebody took it over, or an answer was lost: it is not ours any more

    def find(self, name: str, *, now: datetime) -> Lease | None:
        stored = self._read(_key(name))
        lease = None if stored is None else parse_lease(parse_record(stored.content, key=name))
        return lease if lease is not None and lease.until > now else None

    def _read(self, key: str) -> Body | None:
        return self._bucket.find(key, limit_bytes=MAX_RECORD_BYTES)

    def _put(self, lease: Lease, *, if_match: str | None) -> HeldLease:
        etag = self._bucket.put(_key(lease.name), render_document(lease_fields(lease)), if_match=if_match)
        return HeldLease(lease, etag)


def _key(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError("a lease is named by the portal itself")
    return f"{LEASES}{name}{SUFFIX}"
