"""Webhook deliveries in the bucket: those that were handled, those that are kept until they are, and those that the
web app says it saw."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tfpilot.adapters.bulk import Bulk, Fetched
from tfpilot.adapters.keys import DEAD_LETTERS, DELIVERIES, PARKED, SUFFIX, WEB_APP_DELIVERIES, parked_prefix
from tfpilot.adapters.records import MAX_RECORD_BYTES, Records, parse_record
from tfpilot.adapters.s3 import Bucket, Listed
from tfpilot.core.delivery import MAX_BODY_BYTES, HandledDelivery, KeptDelivery, Place, SeenDelivery, StoredDelivery
from tfpilot.core.document import format_time, member_of, number_of, parse_time, render_document, text_of
from tfpilot.core.model import JsonObject, WorkflowKind
from tfpilot.errors import ConflictError

MAX_KEPT_BYTES: Final = 2 * MAX_BODY_BYTES
"""A kept body is stored as base64, a third larger than it came."""


class S3Deliveries:
    """`Deliveries` on a bucket."""

    def __init__(self, bucket: Bucket, bulk: Bulk) -> None:
        self._bucket = bucket
        self._bulk = bulk
        self._records = Records(bucket)

    def find(self, guid: str) -> HandledDelivery | None:
        return parse_handled(self._records.find(f"{DELIVERIES}{guid}{SUFFIX}"), guid=guid)

    def add(self, delivery: HandledDelivery) -> None:
        key = f"{DELIVERIES}{delivery.guid}{SUFFIX}"
        try:
            self._bucket.put(key, render_document(render_handled(delivery)), if_match=None)
        except ConflictError:
            return  # the same delivery came twice at once, and changes nothing the second time

    def recent(self, *, limit: int) -> Sequence[HandledDelivery]:
        found = (parse_handled(record, guid=guid) for guid, record in self._newest(DELIVERIES, limit))
        return [delivery for delivery in found if delivery is not None]

    def seen_by_web_app(self, *, limit: int) -> Sequence[SeenDelivery]:
        return [
            SeenDelivery(guid, text_of(record.get("event")) or "unknown", parse_time(record.get("receivedAt")))
            for guid, record in self._newest(WEB_APP_DELIVERIES, limit)
        ]

    def keep(self, delivery: KeptDelivery) -> None:
        try:
            self._bucket.put(kept_key(delivery), render_document(render_kept(delivery)), if_match=None)
        except ConflictError:
            return  # kept before, whole: why it failed the first time tells more than why it failed again

    def list_kept(self, place: Place, *, limit: int) -> Sequence[StoredDelivery]:
        prefix = DEAD_LETTERS if place is Place.DEAD_LETTER else PARKED
        return self._stored(_newest_first(self._bulk.list_all(prefix))[:limit])

    def list_parked(self, kind: WorkflowKind, run_id: int) -> Sequence[StoredDelivery]:
        listed = _newest_first(self._bulk.list_all(parked_prefix(kind, run_id)))
        return sorted(self._stored(listed), key=lambda each: (each.delivery.received_at, each.delivery.guid))

    def find_kept(self, guid: str) -> StoredDelivery | None:
        name = f"/{guid}{SUFFIX}"
        for prefix in (DEAD_LETTERS, PARKED):
            found = self._stored([each for key, each in self._bulk.list_all(prefix).items() if key.endswith(name)])
            if found:
                return found[0]
        return None

    def remove_kept(self, stored: StoredDelivery) -> None:
        try:
            self._bucket.delete(kept_key(stored.delivery), if_match=stored.etag)
        except ConflictError:
            return  # somebody else handled it at the same time

    def _newest(self, prefix: str, limit: int) -> Iterator[tuple[str, JsonObject]]:
        """The newest records with their guids, by when they were written."""
        listed = _newest_first(self._bulk.list_all(prefix))[:limit]
        for fetched in self._bulk.read_all(listed, limit_bytes=MAX_RECORD_BYTES):
            key = fetched.listed.key
            yield _guid_in(key), parse_record(fetched.content or b"", key=key)

    def _stored(self, listed: Sequence[Listed]) -> Sequence[StoredDelivery]:
        fetched = self._bulk.read_all(listed, limit_bytes=MAX_KEPT_BYTES)
        found = ((_kept_in(each), each.listed.etag) for each in fetched)
        return [StoredDelivery(delivery, etag) for delivery, etag in found if delivery is not None]


def kept_key(delivery: KeptDelivery) -> str:
    """Where a kept delivery is."""
    if delivery.place is Place.PARKED and delivery.kind is not None and delivery.run_id is not None:
        return f"{parked_prefix(delivery.kind, delivery.run_id)}{delivery.guid}{SUFFIX}"
    return f"{DEAD_LETTERS}{delivery.guid}{SUFFIX}"


def render_kept(delivery: KeptDelivery) -> JsonObject:
    """The kept delivery as it is stored, its body byte by byte."""
    waits_for = {"kind": delivery.kind and delivery.kind.value, "runId": delivery.run_id}
    return {
        "deliveryId": delivery.guid,
        "event": delivery.event,
        "receivedAt": format_time(delivery.received_at),
        "why": delivery.why,
        **{name: value for name, value in waits_for.items() if value is not None},
        "bodyBase64": base64.b64encode(delivery.body).decode("ascii"),
    }


def render_handled(delivery: HandledDelivery) -> JsonObject:
    """Our record of a handled delivery as it is stored."""
    optional: Mapping[str, Any] = {
        "requestId": delivery.request_id,
        "kind": delivery.kind and delivery.kind.value,
        "runId": delivery.run_id,
        "repo": delivery.repo or None,
        "sender": delivery.sender or None,
    }
    return {
        "deliveryId": delivery.guid,
        "event": delivery.event,
        "receivedAt": format_time(delivery.received_at),
        "applied": delivery.applied,
        "reason": delivery.reason,
        **{name: value for name, value in optional.items() if value is not None},
    }


def parse_handled(record: JsonObject, *, guid: str) -> HandledDelivery | None:
    """Our record of that delivery; None where it is none. Unreadable means not handled: it is handled again."""
    received_at = parse_time(record.get("receivedAt"))
    if received_at is None or record.get("deliveryId") != guid:
        return None
    return HandledDelivery(
        guid=guid,
        event=text_of(record.get("event")) or "unknown",
        received_at=received_at,
        applied=record.get("applied") is True,
        reason=text_of(record.get("reason")) or "",
        request_id=text_of(record.get("requestId")),
        kind=member_of(WorkflowKind, record.get("kind")),
        run_id=number_of(record.get("runId")),
        repo=text_of(record.get("repo")) or "",
        sender=text_of(record.get("sender")) or "",
    )


def _kept_in(fetched: Fetched) -> KeptDelivery | None:
    """The kept delivery in an object; None where it is none, or not the one that its key promises."""
    key = fetched.listed.key
    try:
        record = parse_record(fetched.content or b"", key=key)
        body = base64.b64decode(text_of(record.get("bodyBase64")) or "", validate=True)
    except ValueError:  # no base64, which a text that is not ASCII cannot be either
        return None
    received_at, guid = parse_time(record.get("receivedAt")), text_of(record.get("deliveryId"))
    if received_at is None or guid is None:
        return None
    delivery = KeptDelivery(
        place=Place.PARKED if key.startswith(PARKED) else Place.DEAD_LETTER,
        guid=guid,
        event=text_of(record.get("event")) or "unknown",
        body=body,
        received_at=received_at,
        why=text_of(record.get("why")) or "",
        kind=member_of(WorkflowKind, record.get("kind")),
        run_id=number_of(record.get("runId")),
    )
    return delivery if kept_key(delivery) == key else None


def _newest_first(listed: Mapping[str, Listed]) -> list[Listed]:
    return sorted(listed.values(), key=lambda each: (each.modified, each.key), reverse=True)


def _guid_in(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(SUFFIX)
