"""Webhook deliveries of the seeded world: those that the web app says it saw, and one that this portal could not
store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from tfpilot.adapters.deliveries import kept_key, render_kept
from tfpilot.adapters.keys import SUFFIX, WEB_APP_DELIVERIES
from tfpilot.core.delivery import KeptDelivery, Place
from tfpilot.core.document import format_time, parse_time
from tfpilot.sandbox.github import Delivery

_SEEN: Final = 12
_GUID: Final = "X-GitHub-Delivery"


def seen_by_web_app(told: Sequence[Delivery]) -> Mapping[str, bytes]:
    """The records of the last deliveries, by key, as the web app writes them: also of those it failed to store."""
    return {
        f"{WEB_APP_DELIVERIES}{delivery.headers[_GUID]}{SUFFIX}": json.dumps(
            {"deliveryId": delivery.headers[_GUID], "event": delivery.event, "receivedAt": happened_at(delivery)},
            indent=2,
        ).encode()
        for delivery in told[-_SEEN:]
    }


def dead_letter(told: Sequence[Delivery], *, run_id: int) -> Mapping[str, bytes]:
    """The last delivery about that run, by key: it came while storage failed, so it waits to be replayed."""
    about = [each for each in told if (each.payload.get("workflow_run") or {}).get("id") == run_id]
    delivery = about[-1]
    received_at = parse_time(happened_at(delivery))
    if received_at is None:
        raise ValueError(f"the delivery about run {run_id} tells no time")
    kept = KeptDelivery(
        guid=delivery.headers[_GUID],
        event=delivery.event,
        body=delivery.body,
        received_at=received_at,
        why="Could not write the request in bucket tfpilot-requests: ServiceUnavailable",
        place=Place.DEAD_LETTER,
    )
    return {kept_key(kept): json.dumps(render_kept(kept), indent=2).encode()}


def happened_at(delivery: Delivery) -> str:
    """When GitHub says that the thing changed, in the form of stored times."""
    subjects = (delivery.payload.get(name) for name in ("workflow_run", "review", "pull_request"))
    subject = next(each for each in subjects if each)
    at = parse_time(subject.get("updated_at") or subject.get("submitted_at"))
    return format_time(at) if at else ""
