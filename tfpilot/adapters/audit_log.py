"""This process's chain of audit records: `ops/audit/records/<day>/<chain>/<first number>.json`, and its head.

Records that are appended at the same time are stored in one object. An object is never written again: its key is taken
by whoever writes it first, and a chain has one writer.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Final

import structlog

from tfpilot.adapters.keys import audit_batch_key, audit_head_key
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.audit import (
    Anchor,
    AuditEvent,
    AuditRecord,
    Part,
    anchor_fields,
    anchor_of,
    next_record,
    parse_batch,
    render_batch,
)
from tfpilot.core.document import format_time, object_of, parse_json, render_document
from tfpilot.errors import ConflictError, DocumentError, StorageError

MAX_BATCH: Final = 200
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
NO_KEY: Final = b"no key is set"
"""What seals where TFPILOT_AUDIT_KEY is not set: it shows accidents, and no forgery."""
ANCHOR_EVERY: Final = 32
"""How many records may stand behind the head before it moves on, where none of them is an outcome."""

_LOG: Final = structlog.get_logger("tfpilot.audit")


def new_chain(now: datetime) -> str:
    """A name that no other chain has, and that tells when it began."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


class S3AuditLog:
    """`AuditLog` on a bucket. For any number of threads of one process."""

    def __init__(self, bucket: Bucket, *, chain: str, key: bytes) -> None:
        self.chain = chain
        self._bucket = bucket
        self._key = key
        self._waiting: deque[tuple[AuditEvent, Future[AuditRecord]]] = deque()
        self._writer = threading.Lock()
        self._last: AuditRecord | None = None
        self._head: tuple[int, str] | None = None
        """The number that the head object names, and its ETag."""

    def append(self, event: AuditEvent) -> AuditRecord:
        stored: Future[AuditRecord] = Future()
        self._waiting.append((event, stored))
        with self._writer:  # whoever comes first stores what the others wait for, too
            if not stored.done():
                self._store_waiting()
        return stored.result()

    def anchor(self) -> Anchor | None:
        with self._writer:
            return self._anchor()

    def _store_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
        try:
            records = self._stored([event for event, _ in batch])
        except StorageError as error:
            for _, stored in batch:
                stored.set_exception(error)
            return
        for record, (_, stored) in zip(records, batch, strict=True):
            stored.set_result(record)
        self._anchor_if_due(records)

    def _stored(self, events: list[AuditEvent]) -> list[AuditRecord]:
        """The events as the chain's next records. A batch before, whose answer was lost, may turn out to be stored."""
        for _ in range(2):
            records, after = [], self._last
            for event in events:
                after = next_record(event, chain=self.chain, after=after, key=self._key)
                records.append(after)
            key = audit_batch_key(self.chain, records[0].number, events[0].at)
            try:
                self._bucket.put(key, render_document(render_batch(records)), if_match=None)
            except ConflictError:
                self._adopt(key)
            else:
                self._last = records[-1]
                return records
        raise StorageError(f"The audit chain {self.chain} is written by somebody else", "Restart the portal.")

    def _adopt(self, key: str) -> None:
        """Takes what stands there for ours, which was stored though nobody said so."""
        try:
            body = self._bucket.read(key, limit_bytes=MAX_BATCH_BYTES)
            found = parse_batch(object_of(parse_json(body.content, what=key)), key=key)
        except DocumentError as error:
            raise StorageError(error.message, "Restart the portal: it begins a new audit chain.") from error
        before = self._last.seal if self._last is not None else ""
        if not found or found[0].chain != self.chain or found[0].before != before:
            raise StorageError(f"{key} is not of this process", "Restart the portal: it begins a new audit chain.")
        self._last = found[-1]

    def _anchor_if_due(self, records: list[AuditRecord]) -> None:
        """The head moves on with every outcome: what could be cut off without a trace is what has only begun."""
        behind = records[-1].number - (self._head[0] if self._head is not None else 0)
        if behind < ANCHOR_EVERY and all(record.event.part is Part.INTENT for record in records):
            return
        try:
            self._anchor()
        except StorageError as error:
            _LOG.error("audit head not moved", chain=self.chain, number=records[-1].number, error=error.message)

    def _anchor(self) -> Anchor | None:
        last = self._last
        if last is None:
            return None
        key = audit_head_key(self.chain)
        anchor = anchor_of(last, where=key)
        if self._head is None or self._head[0] < last.number:
            content = render_document({**anchor_fields(anchor), "at": format_time(last.event.at)})
            etag = self._head[1] if self._head is not None else None
            try:
                self._head = (last.number, self._bucket.put(key, content, if_match=etag))
            except ConflictError:  # a put before, whose answer was lost: whatever stands there is replaced
                body = self._bucket.find(key, limit_bytes=MAX_BATCH_BYTES)
                etag = body.etag if body is not None else None
                self._head = (last.number, self._put_head(key, content, etag))
            _LOG.info("audit anchored", chain=self.chain, number=last.number, seal=last.seal)
        return anchor

    def _put_head(self, key: str, content: bytes, etag: str | None) -> str:
        try:
            return self._bucket.put(key, content, if_match=etag)
        except ConflictError as error:
            raise StorageError(f"{key} is written by somebody else", "Restart the portal.") from error
