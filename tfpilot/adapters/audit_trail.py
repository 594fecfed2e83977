"""Every replica's audit records, read back: `ops/audit/records/<day>/<chain>/<first number>.json`, and the heads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final

from tfpilot.adapters.audit_log import MAX_BATCH_BYTES, NO_KEY
from tfpilot.adapters.keys import AUDIT_HEADS, AUDIT_RECORDS, SUFFIX, audit_day_prefix
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.audit import Anchor, AuditRecord, StoredChains, parse_anchor, parse_batch
from tfpilot.core.document import object_of, parse_json
from tfpilot.errors import DocumentError

AT_ONCE: Final = 16


class S3AuditTrail:
    """`AuditTrail` on a bucket. `keys`: those that may have sealed a record; none set means the one for that."""

    def __init__(self, bucket: Bucket, *, keys: Sequence[bytes]) -> None:
        self._bucket = bucket
        self.keys: Sequence[bytes] = tuple(keys) or (NO_KEY,)
        self.has_key = bool(keys)

    def read(self, *, since: datetime, until: datetime) -> Sequence[AuditRecord]:
        # A batch is kept under the day of its first record, which may be the day before.
        day, last = since.astimezone(UTC).date() - timedelta(days=1), until.astimezone(UTC).date()
        keys: list[str] = []
        while day <= last:
            keys += self._bucket.list_all(audit_day_prefix(day))
            day += timedelta(days=1)
        records = (record for batch in self._batches(keys) for record in batch[1] or ())
        return [record for record in records if since <= record.event.at <= until]

    def chains(self) -> StoredChains:
        found: dict[str, dict[int, AuditRecord | None]] = {}
        for key, records in self._batches(self._bucket.list_all(AUDIT_RECORDS)):
            chain, number = _place_of(key)
            stored = found.setdefault(chain, {})
            if records is None:
                stored.setdefault(number, None)
                continue
            for offset, record in enumerate(records):
                stored.setdefault(number + offset, record)
        return StoredChains(found, tuple(self._heads()))

    def _heads(self) -> Iterator[Anchor]:
        for key in self._bucket.list_all(AUDIT_HEADS):
            body = self._bucket.find(key, limit_bytes=MAX_BATCH_BYTES)
            if body is None:
                continue
            try:
                anchor = parse_anchor(object_of(parse_json(body.content, what=key)), where=key)
            except DocumentError:
                anchor = None
            # A head that cannot be read anchors nothing, and that it is there says that there was a chain.
            yield anchor or Anchor(key.removeprefix(AUDIT_HEADS).removesuffix(SUFFIX), 1, "", key)

    def _batches(self, keys: Iterable[str]) -> Iterator[tuple[str, Sequence[AuditRecord] | None]]:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="audit") as pool:
            yield from pool.map(self._batch, keys)

    def _batch(self, key: str) -> tuple[str, Sequence[AuditRecord] | None]:
        """The records of one object; None where it cannot be read as such."""
        try:
            body = self._bucket.find(key, limit_bytes=MAX_BATCH_BYTES)
            return key, None if body is None else parse_batch(object_of(parse_json(body.content, what=key)), key=key)
        except DocumentError:
            return key, None


def _place_of(key: str) -> tuple[str, int]:
    """The chain and the first number by a key; 0 where the key tells none, which no chain has."""
    chain, _, name = key.removeprefix(AUDIT_RECORDS).partition("/")[2].rpartition("/")
    number = name.removesuffix(SUFFIX)
    return chain or key, int(number) if number.isascii() and number.isdigit() else 0
