"""Looking at an object that is stored as a request and is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tfpilot.core.diagnosis import unreadable
from tfpilot.core.document import check_request_id
from tfpilot.core.model import Finding
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError

SHOWN_CHARACTERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What is wrong with the object, and the beginning of its text; None where even that is too much to read.

    `size_bytes` is that of the whole object, None likewise. Bytes that are no text show as replacement characters.
    """

    request_id: str
    finding: Finding
    text: str | None
    size_bytes: int | None


def open_unreadable(edges: Edges, request_id: str, error: DocumentError) -> Quarantined:
    """The object that could not be read as a request because of `error`. Raises NotFoundError or StorageError."""
    finding = unreadable(error.message)
    try:
        content = edges.documents.get_bytes(check_request_id(request_id))
    except DocumentError:
        return Quarantined(request_id, finding, None, None)
    text = content[: SHOWN_CHARACTERS * 4].decode("utf-8", errors="replace")[:SHOWN_CHARACTERS]
    return Quarantined(request_id, finding, text, len(content))
