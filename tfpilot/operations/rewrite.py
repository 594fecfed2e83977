"""Changing one active request under the version that was read; a lost race is read and decided again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tfpilot.core.changes import find_obstacle
from tfpilot.core.document import check_request_id
from tfpilot.core.model import FieldChange, Request, Stored
from tfpilot.core.repair import next_version
from tfpilot.core.request import parse_request
from tfpilot.edges import Edges
from tfpilot.errors import ArchivedError, ConflictError, NotFoundError, RefusedError, unknown_request

MAX_TRIES: Final = 25
"""Lost races before a write gives up. Each one means that another writer got through."""

Decide = Callable[[Request], Sequence[FieldChange]]
"""What to change in a request as it stands now; raises RefusedError where it may not be changed."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The request as it is stored now, and what was changed: nothing where it was as wanted already."""

    stored: Stored
    request: Request
    changes: tuple[FieldChange, ...]


def read_active(edges: Edges, request_id: str) -> Stored:
    """The active document. Raises NotFoundError, ArchivedError (only an archived copy exists), DocumentError or
    StorageError."""
    try:
        return edges.documents.get(request_id)
    except NotFoundError as missing:
        if edges.documents.find_archived(request_id) is None:
            raise unknown_request(request_id) from missing
        raise ArchivedError(
            f"{request_id} is archived: it has a copy in history/ and no active document",
            "Read it on its page; nothing writes an archived request.",
        ) from missing


def read_request(edges: Edges, request_id: str) -> Request:
    """The active request. Raises MalformedIdError, else as `read_active`."""
    return parse_request(read_active(edges, check_request_id(request_id)).document)


def rewrite(edges: Edges, request_id: str, decide: Decide) -> Rewritten:
    """Stores what `decide` wants of the request as it stands, deciding again after each lost race.

    Raises as `read_active`, RefusedError (also where a field would overwrite what stands in its way), and
    ConflictError where others won every race.
    """
    for _ in range(MAX_TRIES):
        stored = read_active(edges, request_id)
        request = parse_request(stored.document)
        changes = tuple(decide(request))
        if not changes:
            return Rewritten(stored, request, ())
        check_unobstructed(request, changes)
        document = next_version(stored.document, changes, edges.clock())
        try:
            etag = edges.documents.put(request_id, document, if_match=stored.etag)
        except ConflictError:
            continue
        written = Stored(document, etag)
        edges.snapshots.note(request_id, written)
        return Rewritten(written, parse_request(document), changes)
    raise ConflictError(
        f"Other writers changed {request_id} {MAX_TRIES} times meanwhile. Nothing was changed.",
        "Try again in a moment.",
    )


def check_unobstructed(request: Request, changes: Sequence[FieldChange]) -> None:
    """Returns where every field has its place. Raises RefusedError where writing one would lose something."""
    obstacle = next((found for change in changes if (found := find_obstacle(request.raw, change)) is not None), None)
    if obstacle is not None:
        raise RefusedError(f"{request.id} cannot be written: {obstacle}", "Correct the document by hand first.")
