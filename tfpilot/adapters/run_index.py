"""The run index in the bucket, one run at a time: looking up, and claiming a run for a request."""

from __future__ import annotations

from typing import Final

from tfpilot.adapters.s3 import Bucket
from tfpilot.core.model import Claim, ClaimOutcome, RunIndexEntry, WorkflowKind
from tfpilot.core.run_index import MAX_ENTRY_BYTES, entry_key, names_its_key, parse_entry, render_entry
from tfpilot.errors import ConflictError, DocumentError, NotFoundError, StorageError

_MAX_TRIES: Final = 8


class S3RunIndex:
    """`RunIndex` on a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def find(self, kind: WorkflowKind, run_id: int) -> RunIndexEntry | None:
        try:
            return self._read(entry_key(kind, run_id))
        except NotFoundError:
            return None

    def claim(self, entry: RunIndexEntry) -> Claim:
        key = entry_key(entry.kind, entry.run_id)
        for _ in range(_MAX_TRIES):
            try:
                self._bucket.put(key, render_entry(entry), if_match=None)
            except ConflictError:
                claim = self._claim_of_other(key, entry.request_id)
                if claim is not None:
                    return claim
            else:
                return Claim(ClaimOutcome.NEW, entry.request_id)
        raise StorageError(f"{key} comes and goes all the time", "Try again in a minute.")

    def _claim_of_other(self, key: str, request_id: str) -> Claim | None:
        """What the entry in the way says; None where it is gone again."""
        try:
            stored = self._read(key)
        except NotFoundError:
            return None
        owner = stored.request_id if stored is not None else None
        return Claim(ClaimOutcome.OWN if owner == request_id else ClaimOutcome.TAKEN, owner)

    def _read(self, key: str) -> RunIndexEntry | None:
        """The entry, None where its body contradicts its key or is none. Raises NotFoundError or StorageError."""
        try:
            entry = parse_entry(self._bucket.read(key, limit_bytes=MAX_ENTRY_BYTES).content, key=key)
        except DocumentError:
            return None
        return entry if names_its_key(entry, key) else None
