"""Lifecycle events of requests: one object each, named by its millisecond as the web app does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from tfpilot.adapters.bulk import Bulk, Fetched
from tfpilot.adapters.keys import SUFFIX, events_prefix
from tfpilot.adapters.records import MAX_RECORD_BYTES, parse_record
from tfpilot.core.document import format_time, object_of, parse_time, render_document, text_of
from tfpilot.core.model import JsonObject, LifecycleEvent
from tfpilot.errors import ConflictError, StorageError

_MAX_TRIES: Final = 100
_MILLISECOND: Final = timedelta(milliseconds=1)


class S3Events:
    """`Events` on a bucket."""

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk

    def append(self, event: LifecycleEvent) -> None:
        prefix = events_prefix(event.request_id)
        for later in range(_MAX_TRIES):
            moved = replace(event, at=event.at + later * _MILLISECOND)
            try:
                self._bulk.create(f"{prefix}{format_time(moved.at)}{SUFFIX}", _render(moved))
            except ConflictError:
                continue
            return
        raise StorageError(
            f"{event.request_id} has {_MAX_TRIES} events at {format_time(event.at)}", "Try again in a moment."
        )

    def list(self, request_id: str, *, limit: int) -> Sequence[LifecycleEvent]:
        prefix = events_prefix(request_id)
        timed = ((_time_of(key, prefix), listed) for key, listed in self._bulk.list_all(prefix).items())
        newest = sorted(
            ((at, listed) for at, listed in timed if at is not None), key=lambda pair: pair[0], reverse=True
        )
        fetched = self._bulk.read_all([listed for _, listed in newest[:limit]], limit_bytes=MAX_RECORD_BYTES)
        return list(_readable(fetched, request_id))


def parse_event(record: JsonObject, *, request_id: str) -> LifecycleEvent | None:
    """The event in a stored record, None where it is none of this request."""
    at, event = parse_time(record.get("timestamp")), text_of(record.get("event"))
    if at is None or event is None or record.get("requestId") != request_id:
        return None
    return LifecycleEvent(
        at=at,
        request_id=request_id,
        event=event,
        actor=text_of(record.get("actor")) or "",
        source=text_of(record.get("source")) or "",
        data=object_of(record.get("data")),
    )


def _render(event: LifecycleEvent) -> bytes:
    return render_document(
        {
            "timestamp": format_time(event.at),
            "requestId": event.request_id,
            "event": event.event,
            "actor": event.actor,
            "source": event.source,
            "data": dict(event.data),
        }
    )


def _readable(fetched: Iterator[Fetched], request_id: str) -> Iterator[LifecycleEvent]:
    for item in fetched:
        record = parse_record(item.content or b"", key=item.listed.key)
        event = parse_event(record, request_id=request_id)
        if event is not None:
            yield event


def _time_of(key: str, prefix: str) -> datetime | None:
    return parse_time(key.removeprefix(prefix).removesuffix(SUFFIX))
