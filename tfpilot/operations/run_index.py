"""The run index: whose a run is, claiming a run, and browsing what is there (SPEC §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.document import number_of
from tfpilot.core.index_listing import IndexLine, IndexListing, find_entry
from tfpilot.core.model import Claim, RunIndexEntry, WorkflowKind
from tfpilot.core.run_index import is_kind, new_entry
from tfpilot.edges import Edges
from tfpilot.errors import MalformedIdError, NotFoundError, RefusedError, StorageError

FRESH_ENOUGH: Final = timedelta(seconds=60)
"""How old a listing may be where a caller asks for data instead of looking at a page that shows its age."""

_MAX_RUN_ID_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class IndexPage:
    """Some entries, the newest run first, of all `total`, with the listing they come from. `at`: as of when."""

    lines: Sequence[IndexLine]
    total: int
    listing: IndexListing
    at: datetime


def put_run_index(
    edges: Edges, kind: WorkflowKind, run_id: int, request_id: str, *, created_at: datetime | None = None
) -> Claim:
    """Claims the run for the request; the same request again is fine. `created_at` is the run's own time, else now.

    Raises RefusedError, naming the owner, where the run has another one; MalformedIdError or StorageError.
    """
    claim = edges.run_index.claim(
        new_entry(kind, _checked_run_id(run_id), request_id, created_at=created_at or edges.clock())
    )
    if not claim.holds:
        owner = f"belongs to request {claim.owner}" if claim.owner else "has an entry that cannot be read"
        raise RefusedError(
            f"{kind.value} run {run_id} {owner}, so {request_id} does not get it",
            "Nothing was changed. `python -m tfpilot run-index audit` says what is known about the run.",
        )
    return claim


def index_run(
    edges: Edges, kind: WorkflowKind, run_id: int, request_id: str, *, created_at: datetime | None = None
) -> str:
    """As `put_run_index`, for what must go on whatever becomes of the index: an empty text, else what went wrong.

    The audit finds the entry that is missing then.
    """
    try:
        put_run_index(edges, kind, run_id, request_id, created_at=created_at)
    except (RefusedError, StorageError) as error:
        return f"The run index was not written: {error.message}"
    return ""


def get_request_id_by_run_id(edges: Edges, kind: WorkflowKind, run_id: int) -> str | None:
    """The request that a run belongs to, by one GET; None where there is no entry, or its body contradicts its key.

    Raises MalformedIdError or StorageError.
    """
    entry = edges.run_index.find(kind, _checked_run_id(run_id))
    return None if entry is None else entry.request_id


def put_destroy_run_index(edges: Edges, run_id: int, request_id: str, *, created_at: datetime | None = None) -> Claim:
    """`put_run_index` of a destroy."""
    return put_run_index(edges, WorkflowKind.DESTROY, run_id, request_id, created_at=created_at)


def get_request_id_by_destroy_run_id_indexed(edges: Edges, run_id: int) -> str | None:
    """`get_request_id_by_run_id` of a destroy."""
    return get_request_id_by_run_id(edges, WorkflowKind.DESTROY, run_id)


def look_up(edges: Edges, kind: str, run_id: str) -> RunIndexEntry:
    """The entry of a run by what a person typed, by one GET.

    Raises MalformedIdError (no such kind, no run id), NotFoundError or StorageError.
    """
    wanted, number = check_kind(kind), check_run_id(run_id)
    entry = edges.run_index.find(wanted, number)
    if entry is None:
        raise NotFoundError(
            f"The run index has no entry that can be used for {wanted.value} run {number}",
            "`python -m tfpilot run-index audit` says whether one is missing or cannot be read.",
        )
    return entry


def look_up_run(edges: Edges, run_id: str) -> Sequence[RunIndexEntry]:
    """The entries of a run whose kind is not known, by one GET per kind; almost always at most one.

    Raises MalformedIdError or StorageError.
    """
    number = check_run_id(run_id)
    found = (edges.run_index.find(kind, number) for kind in WorkflowKind)
    return [entry for entry in found if entry is not None]


def browse_index(edges: Edges, kind: WorkflowKind | None = None, *, start: int = 0, limit: int) -> IndexPage:
    """A page of entries from the last complete listing, at once. The listing tells its age and error."""
    return _page(edges, edges.index_listings.current(), kind, start=start, limit=limit)


def browse_fresh_index(edges: Edges, kind: WorkflowKind | None = None, *, start: int = 0, limit: int) -> IndexPage:
    """A page of entries from a listing at most a minute old. Raises StorageError where there is none."""
    listing = edges.index_listings.refresh(older_than=FRESH_ENOUGH)
    check_listed(listing)
    return _page(edges, listing, kind, start=start, limit=limit)


def refresh_index(edges: Edges, *, older_than: timedelta = FRESH_ENOUGH) -> IndexListing:
    """A listing begun not longer ago than that; on failure the last good one with `error` set. Reads no entry."""
    return edges.index_listings.refresh(older_than=older_than)


def read_lines(edges: Edges, lines: Sequence[IndexLine]) -> Sequence[RunIndexEntry | None]:
    """The entries of these few lines, in their order; None for one that is gone or cannot be used.

    Each is read once per version, all that are needed at the same time. Raises StorageError.
    """
    found = edges.index_listings.read([line.key for line in lines])
    return [find_entry(found[line.key].content, key=line.key) if line.key in found else None for line in lines]


def check_listed(listing: IndexListing) -> None:
    """Returns where the listing is a good one. Raises StorageError."""
    if listing.error is not None or listing.read_at is None:
        raise StorageError(
            f"The run index could not be read: {listing.error or 'nothing was read yet'}",
            "Try again; `python -m tfpilot doctor` checks the bucket and the credentials.",
        )


def check_kind(text: str) -> WorkflowKind:
    """The kind of that name. Raises MalformedIdError."""
    if not is_kind(text):
        raise MalformedIdError(f"{text[:40]!r} is not a kind of workflow", f"Use one of {', '.join(WorkflowKind)}.")
    return WorkflowKind(text)


def check_run_id(text: str) -> int:
    """The run id in the text. Raises MalformedIdError."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_RUN_ID_DIGITS and not digits.startswith("0")):
        raise MalformedIdError(f"{text[:40]!r} is not a run id", "A run id is a number, the last part of a run's URL.")
    return int(digits)


def _page(edges: Edges, listing: IndexListing, kind: WorkflowKind | None, *, start: int, limit: int) -> IndexPage:
    lines = listing.keys.page(kind, start=start, limit=limit)
    return IndexPage(lines, listing.keys.count(kind), listing, edges.clock())


def _checked_run_id(run_id: int) -> int:
    if number_of(run_id) is None or len(str(run_id)) > _MAX_RUN_ID_DIGITS:
        raise MalformedIdError(f"{run_id!r} is not a run id", "A run id is a whole number above 0.")
    return run_id
