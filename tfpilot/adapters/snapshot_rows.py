"""What the objects under `requests/` and `history/` are in a list of requests."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tfpilot import core
from tfpilot.adapters.bulk import Fetched
from tfpilot.adapters.keys import ACTIVE, ARCHIVED, SUFFIX
from tfpilot.adapters.s3 import check_size
from tfpilot.core.document import MAX_DOCUMENT_BYTES, check_request_id, parse_document
from tfpilot.core.listing import newest_first, summarise, unreadable_row
from tfpilot.core.model import RequestRow, Thresholds
from tfpilot.core.request import parse_request
from tfpilot.errors import DocumentError, MalformedIdError


def rules_fingerprint(thresholds: Thresholds) -> str:
    """Changes whenever a row may come out differently: with the code of the core and with the thresholds."""
    digest = hashlib.sha256(repr(thresholds).encode())
    for folder in core.__path__:
        for source in sorted(Path(folder).glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def row_of(fetched: Fetched, *, thresholds: Thresholds) -> RequestRow:
    """The row of an object. What is no request is a row too: its id, or without one its key, and what is wrong."""
    key, modified = fetched.listed.key, fetched.listed.modified
    archived = key.startswith(ARCHIVED)
    try:
        request_id = _id_in(key, prefix=ARCHIVED if archived else ACTIVE)
    except MalformedIdError as error:
        return unreadable_row(key, error.message, updated_at=modified, archived=archived)
    try:
        document = parse_document(_content(fetched), request_id=request_id)
    except DocumentError as error:
        return unreadable_row(request_id, error.message, updated_at=modified, archived=archived)
    return _showable(summarise(parse_request(document), thresholds=thresholds, archived=archived))


def merge(rows: Mapping[str, RequestRow]) -> tuple[RequestRow, ...]:
    """One row per request from the rows of all keys, newest change first: the active one stands for both twins."""
    active = {row.id: row for row in rows.values() if not row.archived}
    archived = {row.id: row for row in rows.values() if row.archived}
    twins = {each: replace(active[each], has_archived_copy=True) for each in active.keys() & archived.keys()}
    return tuple(sorted((archived | active | twins).values(), key=_order))


def with_row(rows: tuple[RequestRow, ...], row: RequestRow) -> tuple[RequestRow, ...]:
    """The rows in the same order, with this one in place of the row of the same request."""
    others = [other for other in rows if other.id != row.id]
    bisect.insort(others, row, key=_order)
    return tuple(others)


def _showable(row: RequestRow) -> RequestRow:
    """The row without halves of surrogate pairs: legal in JSON as escapes, and in no text that is stored or shown."""
    texts = {each.name: text for each in fields(row) if type(text := getattr(row, each.name)) is str}
    try:
        "".join(texts.values()).encode()
    except UnicodeEncodeError:
        shown: dict[str, Any] = {name: text.encode(errors="replace").decode() for name, text in texts.items()}
        return replace(row, **shown)
    return row


def _order(row: RequestRow) -> tuple[float, str]:
    return newest_first(row.updated_at, row.id)


def _id_in(key: str, *, prefix: str) -> str:
    name = key.removeprefix(prefix)
    if not name.endswith(SUFFIX):
        raise MalformedIdError(f"{key!r} is not named as a request: {prefix}<id>{SUFFIX}")
    return check_request_id(name.removesuffix(SUFFIX))


def _content(fetched: Fetched) -> bytes:
    if fetched.refused is not None:
        raise DocumentError(f"S3 does not give {fetched.listed.key}: {fetched.refused}")
    check_size(fetched.listed.key, fetched.listed.size, limit_bytes=MAX_DOCUMENT_BYTES)
    return fetched.content or b""
