"""Query parameters of the routes, read strictly: what cannot be used is refused, not ignored."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Final

from starlette.datastructures import QueryParams

from tfpilot.core.document import parse_time
from tfpilot.core.model import LifecycleStatus, RequestRow, SyncMode
from tfpilot.core.selection import RequestFilter
from tfpilot.http.answers import BadRequestError

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
_FLAGS: Final = {"1": True, "true": True, "0": False, "false": False, "": False}
_MAX_TEXT: Final = 200


def flag(query: QueryParams, name: str) -> bool:
    """Whether `name` is set to 1 or true. Raises BadRequestError for anything but 1, true, 0, false."""
    value = query.get(name, "").lower()
    if value not in _FLAGS:
        raise BadRequestError(f"{name} is neither 1 nor 0", f"Use {name}=1, or leave it out.")
    return _FLAGS[value]


def sync_mode(query: QueryParams) -> SyncMode:
    """REPAIR for `repair=1` or `hydrate=1`, which mean the same, else AUTO."""
    return SyncMode.REPAIR if flag(query, "repair") or flag(query, "hydrate") else SyncMode.AUTO


def request_filter(query: QueryParams) -> RequestFilter:
    """The filter in `status`, `environment` (each may be repeated or comma-separated) and `q`."""
    text = query.get("q", "")
    if len(text) > _MAX_TEXT:
        raise BadRequestError(f"q has {len(text)} characters", f"Search with at most {_MAX_TEXT}.")
    return RequestFilter(
        statuses=frozenset(_status(name) for name in _listed(query, "status")),
        environments=frozenset(_listed(query, "environment")),
        text=text,
        stuck=flag(query, "stuck"),
        drift=flag(query, "drift"),
        archived=flag(query, "archived"),
    )


def limit(query: QueryParams) -> int:
    """How many to answer: 1 to 500, 50 by default."""
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_LIMIT)) and 1 <= int(text) <= MAX_LIMIT):
        raise BadRequestError("limit is not a number of requests", f"Use 1 to {MAX_LIMIT}.")
    return int(text)


def cursor_of(row: RequestRow) -> str:
    """Where the next page begins: after this row. It stays right when rows before it come or go."""
    # In full: rows that changed within the same millisecond are told apart by what a shorter form leaves out.
    at = row.updated_at.isoformat() if row.updated_at else ""
    return base64.urlsafe_b64encode(f"{at} {row.id}".encode()).decode("ascii")


def after(query: QueryParams) -> tuple[datetime | None, str] | None:
    """The row in `cursor`, as (time of its last change, id); None for the first page."""
    text = query.get("cursor", "")
    if not text:
        return None
    try:
        at, _, request_id = base64.urlsafe_b64decode(text.encode("ascii")).decode("utf-8").partition(" ")
    except (binascii.Error, UnicodeError) as error:
        raise BadRequestError("cursor is not one of ours", "Use nextCursor of the page before, unchanged.") from error
    time = parse_time(at)
    if not request_id or (time is None) != (at == ""):
        raise BadRequestError("cursor is not one of ours", "Use nextCursor of the page before, unchanged.")
    return time, request_id


def _listed(query: QueryParams, name: str) -> list[str]:
    return [part for value in query.getlist(name) for part in value.split(",") if part]


def _status(name: str) -> LifecycleStatus:
    try:
        return LifecycleStatus(name)
    except ValueError as error:
        known = ", ".join(status.value for status in LifecycleStatus)
        raise BadRequestError(f"{name[:_MAX_TEXT]!r} is not a status", f"Use one of {known}.") from error
