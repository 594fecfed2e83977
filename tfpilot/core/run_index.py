"""The run index: which request a workflow run belongs to (SPEC §5). Keys and entries; index_audit.py compares them."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.document import (
    check_request_id,
    format_time,
    is_request_id,
    member_of,
    number_of,
    parse_json,
    parse_time,
)
from tfpilot.core.model import RunIndexEntry, WorkflowKind
from tfpilot.errors import DocumentError

PREFIX: Final = "webhooks/github/run-index/"
LIFETIME: Final = timedelta(days=90)
MAX_ENTRY_BYTES: Final = 64 * 1024

_KEY: Final = re.compile(rf"{re.escape(PREFIX)}(?P<kind>[^/]+)/run-(?P<run_id>[1-9]\d{{0,17}})\.json")
_KINDS: Final = frozenset(kind.value for kind in WorkflowKind)
_FIELDS: Final = ("kind", "runId", "requestId", "createdAt", "expiresAt")


def entry_key(kind: WorkflowKind, run_id: int) -> str:
    """Where the entry of a run is."""
    return f"{PREFIX}{kind.value}/run-{run_id}.json"


def find_kind_and_run(key: str) -> tuple[str, int] | None:
    """The kind, known or not, and the run id in a key; None where the key is not an entry's."""
    match = _KEY.fullmatch(key)
    return None if match is None else (match["kind"], int(match["run_id"]))


def is_kind(text: str) -> bool:
    """Whether the text names a kind of workflow that the index has."""
    return text in _KINDS


def new_entry(kind: WorkflowKind, run_id: int, request_id: str, *, created_at: datetime) -> RunIndexEntry:
    """The entry of a run that was created then. Raises MalformedIdError for what cannot be a request id."""
    return RunIndexEntry(kind, run_id, check_request_id(request_id), created_at, created_at + LIFETIME)


def is_expired(entry: RunIndexEntry, now: datetime) -> bool:
    """Whether the entry's time is over."""
    return now > entry.expires_at


def entry_fields(entry: RunIndexEntry) -> dict[str, object]:
    """Exactly the five fields of an entry, as they are stored."""
    values = (
        entry.kind.value,
        entry.run_id,
        entry.request_id,
        format_time(entry.created_at),
        format_time(entry.expires_at),
    )
    return dict(zip(_FIELDS, values, strict=True))


def render_entry(entry: RunIndexEntry) -> bytes:
    """The bytes to store: JSON on one line."""
    return json.dumps(entry_fields(entry), separators=(",", ":")).encode()


def parse_entry(content: bytes, *, key: str) -> RunIndexEntry:
    """The entry in `content`, whether or not it is the one that its key promises.

    Raises DocumentError where it is not JSON or not an entry. Fields that entries do not have are ignored.
    """
    stored = parse_json(content, what=key)
    if not isinstance(stored, dict):
        raise DocumentError(f"{key} holds no JSON object", _HINT)
    kind, run_id = member_of(WorkflowKind, stored.get("kind")), number_of(stored.get("runId"))
    request_id = stored.get("requestId")
    created_at, expires_at = parse_time(stored.get("createdAt")), parse_time(stored.get("expiresAt"))
    if (
        kind is None
        or run_id is None
        or not isinstance(request_id, str)
        or not is_request_id(request_id)
        or created_at is None
        or expires_at is None
    ):
        wrong = [name for name, ok in _checked(stored).items() if not ok]
        raise DocumentError(f"{key} is not an entry of the run index: {', '.join(wrong)} cannot be used", _HINT)
    return RunIndexEntry(kind, run_id, request_id, created_at, expires_at)


_HINT: Final = (
    "The audit on the page Run index, or `python -m tfpilot run-index audit`, says what can be done about it."
)


def names_its_key(entry: RunIndexEntry, key: str) -> bool:
    """Whether the body says the same kind and run as the key."""
    return key == entry_key(entry.kind, entry.run_id)


def _checked(stored: dict[str, object]) -> dict[str, bool]:
    return {
        "kind": member_of(WorkflowKind, stored.get("kind")) is not None,
        "runId": number_of(stored.get("runId")) is not None,
        "requestId": isinstance(stored.get("requestId"), str) and is_request_id(str(stored["requestId"])),
        "createdAt": parse_time(stored.get("createdAt")) is not None,
        "expiresAt": parse_time(stored.get("expiresAt")) is not None,
    }
