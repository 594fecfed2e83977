"""A webhook delivery as it comes in: what must hold before anybody reads it, and what is kept of it (SPEC §6)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from tfpilot.core.document import object_of, parse_json
from tfpilot.core.model import JsonObject, WorkflowKind
from tfpilot.errors import ConfigError, DocumentError, MalformedDeliveryError, OversizedError, SignatureError

MAX_BODY_BYTES: Final = 5 * 1024 * 1024

_GUID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_EVENT: Final = re.compile(r"[a-z][a-z_]{0,63}")
_SIGNATURE_PREFIX: Final = b"sha256="


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery with the headers that count; None where the sender left one out."""

    guid: str | None
    event: str | None
    signature: str | None
    body: bytes


class Place(StrEnum):
    """Where a delivery is kept that could not be handled: after a failure, or until its run has a request."""

    DEAD_LETTER = "dead letter"
    PARKED = "parked"


@dataclass(frozen=True, slots=True)
class KeptDelivery:
    """A delivery whose signature was good and that is not handled yet, whole, so that it can be handled later.

    `kind` and `run_id` say what a parked one waits for. `why` is for a person.
    """

    place: Place
    guid: str
    event: str
    body: bytes
    received_at: datetime
    why: str
    kind: WorkflowKind | None = None
    run_id: int | None = None


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A kept delivery as it was read, with the ETag that removing it needs."""

    delivery: KeptDelivery
    etag: str


@dataclass(frozen=True, slots=True)
class HandledDelivery:
    """Our record of a delivery that was handled: what was decided and why, about which request, if any."""

    guid: str
    event: str
    received_at: datetime
    applied: bool
    reason: str
    request_id: str | None = None
    kind: WorkflowKind | None = None
    run_id: int | None = None
    repo: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class SeenDelivery:
    """A delivery that the web app says it saw. It says so of ones that it failed to store, too."""

    guid: str
    event: str
    received_at: datetime | None


def check_signature(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Returns where one of the secrets signed the body as it was sent, byte by byte.

    Raises ConfigError without any secret, SignatureError for a missing or wrong signature.
    """
    if not secrets:
        raise ConfigError(
            "No webhook secret is configured, so no delivery can be believed",
            "Set GITHUB_WEBHOOK_SECRET to the secret of the webhook at GitHub.",
        )
    given = (delivery.signature or "").encode("utf-8", errors="replace")
    # All of them are tried, so that the time does not tell which one it is.
    fits = [hmac.compare_digest(given, _signature(secret, delivery.body)) for secret in secrets]
    if not any(fits):
        raise SignatureError(
            "The delivery is not signed by the webhook's secret" if given else "The delivery is not signed",
            "Compare GITHUB_WEBHOOK_SECRET with the secret of the webhook at GitHub; X-Hub-Signature-256 must be sent.",
        )


def check_size(size_bytes: int) -> None:
    """Raises OversizedError for a body that is larger than we take."""
    if size_bytes > MAX_BODY_BYTES:
        raise OversizedError(
            f"The delivery has more than {MAX_BODY_BYTES:,} bytes", "Nothing was read. Repair the request instead."
        )


def check_guid(delivery: Delivery) -> str:
    """The delivery's id. Raises MalformedDeliveryError where it has none, or one that cannot be an id."""
    if delivery.guid is None or _GUID.fullmatch(delivery.guid) is None:
        raise MalformedDeliveryError(
            "X-GitHub-Delivery is missing" if not delivery.guid else "X-GitHub-Delivery is no delivery id",
            "Send the delivery as GitHub does, with its id in X-GitHub-Delivery.",
        )
    return delivery.guid


def check_event(delivery: Delivery) -> str:
    """The event's name. Raises MalformedDeliveryError where there is none."""
    if delivery.event is None or _EVENT.fullmatch(delivery.event) is None:
        raise MalformedDeliveryError("X-GitHub-Event is missing or is no name of an event", "Send it as GitHub does.")
    return delivery.event


def parse_payload(body: bytes) -> JsonObject:
    """The payload; an empty object where it is JSON of another type. Raises MalformedDeliveryError where it is none."""
    try:
        return object_of(parse_json(body, what="The delivery"))
    except DocumentError as error:
        raise MalformedDeliveryError(error.message, "Set the webhook's content type to application/json.") from error


def _signature(secret: str, body: bytes) -> bytes:
    return _SIGNATURE_PREFIX + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()
