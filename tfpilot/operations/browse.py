"""Looking at requests: the list, and one request with all that is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from tfpilot.core.diagnosis import diagnose
from tfpilot.core.document import check_request_id
from tfpilot.core.intents import overwritten_changes
from tfpilot.core.lifecycle import explain, lacks_run, needs_repair
from tfpilot.core.listing import occupants, waiting_kinds
from tfpilot.core.model import (
    Checked,
    DiagnosisContext,
    Explanation,
    FactOutcome,
    Finding,
    LifecycleEvent,
    Request,
    RequestRow,
    Snapshot,
    Stored,
    StoredDispatch,
    WorkflowKind,
)
from tfpilot.core.request import parse_request
from tfpilot.core.run_index import LIFETIME
from tfpilot.core.selection import RequestFilter, Selection, select
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError, NotFoundError, StorageError, unknown_request

EVENTS_SHOWN: Final = 50
FRESH_ENOUGH: Final = timedelta(seconds=15)
"""How old a reading may be where a caller asks for data instead of looking at a page that shows its age."""


@dataclass(frozen=True, slots=True)
class RequestList:
    """A selection of requests with the reading it comes from."""

    selection: Selection
    snapshot: Snapshot
    at: datetime


@dataclass(frozen=True, slots=True)
class RequestView:
    """One request as an operator sees it.

    `archived`: the document is the copy in `history/`, nothing active exists; it has no findings, since nothing is
    going to be written to it. `has_archived_copy`: an active request that also has such a copy. `checked` tells when
    GitHub last answered. `records`: our own of its dispatches, the oldest first. `index_owners`: whom the run index
    names for each tracked run that is young enough to have an entry; `pull_owner` likewise for its pull request.
    """

    stored: Stored
    request: Request
    explanation: Explanation
    findings: tuple[Finding, ...]
    events: Sequence[LifecycleEvent]
    checked: Checked | None
    archived: bool
    has_archived_copy: bool
    needs_repair: bool
    at: datetime
    records: Sequence[StoredDispatch] = ()
    index_owners: Mapping[WorkflowKind, str | None] = field(default_factory=dict)
    pull_owner: str | None = None


def list_requests(edges: Edges, wanted: RequestFilter) -> RequestList:
    """The requests that match, from the last complete reading, at once. The reading tells its age and error.

    As of the last full five seconds, so that leafing through pages does not filter all requests again.
    """
    now = edges.clock()
    at = now - timedelta(seconds=now.second % 5, microseconds=now.microsecond)
    snapshot = edges.snapshots.current()
    return RequestList(_selected(_Question(snapshot.rows, wanted, at)), snapshot, at)


def list_fresh_requests(edges: Edges, wanted: RequestFilter) -> RequestList:
    """The requests that match, from a reading at most 15 s old. Raises StorageError where there is none."""
    snapshot = edges.snapshots.refresh(older_than=FRESH_ENOUGH)
    if snapshot.error is not None or snapshot.read_at is None:
        raise StorageError(
            f"The requests could not be listed: {snapshot.error or 'nothing was read yet'}",
            "Try again; `python -m tfpilot doctor` checks the bucket and the credentials.",
        )
    now = edges.clock()
    return RequestList(select(snapshot.rows, wanted, now), snapshot, now)


def open_request(edges: Edges, request_id: str) -> RequestView:
    """Everything known about one request, read now. Never asks GitHub.

    Raises MalformedIdError, NotFoundError, DocumentError or StorageError.
    """
    stored, archived = _read(edges, check_request_id(request_id))
    request = parse_request(stored.document)
    checked = None if archived else edges.checked.find(request_id)
    now = edges.clock()
    records = () if archived else edges.dispatches.list(request_id)
    owners = {} if archived else _index_owners(edges, request)
    context = DiagnosisContext() if archived else _context(edges, request, checked, records, owners)
    if not archived:
        edges.snapshots.note(request_id, stored)
    return RequestView(
        stored=stored,
        request=request,
        explanation=explain(request, now),
        findings=() if archived else diagnose(request, now, edges.thresholds, context),
        events=edges.events.list(request_id, limit=EVENTS_SHOWN),
        checked=checked,
        archived=archived,
        has_archived_copy=not archived and _has_archived_copy(edges, request_id),
        needs_repair=not archived and needs_repair(request, now, edges.thresholds),
        at=now,
        records=records,
        index_owners=owners,
        pull_owner=_pull_owner(edges, request),
    )


def _context(
    edges: Edges,
    request: Request,
    checked: Checked | None,
    records: Sequence[StoredDispatch],
    owners: Mapping[WorkflowKind, str | None],
) -> DiagnosisContext:
    """What others tell of the request: GitHub's last answer, the run index, our own records of dispatches and, where a
    run waits, the other requests of its environment."""
    overwritten = overwritten_changes(request.raw, [each.record for each in records])
    return replace(
        context_of(request, checked),
        index_owners=owners,
        overwritten=tuple(change.dotted for change in overwritten),
        blocking_runs=_blocking_runs(edges, request),
    )


def _index_owners(edges: Edges, request: Request) -> Mapping[WorkflowKind, str | None]:
    """Whom the run index names for each tracked run that is young enough to have an entry."""
    now, owners = edges.clock(), {}
    for kind, run in request.runs.items():
        if run.run_id is not None and run.created_at is not None and run.created_at + LIFETIME > now:
            entry = edges.run_index.find(kind, run.run_id)
            owners[kind] = entry.request_id if entry else None
    return owners


def _pull_owner(edges: Edges, request: Request) -> str | None:
    if request.repo is None or request.pr_number is None:
        return None
    return edges.pull_index.find(request.repo, request.pr_number)


def _blocking_runs(edges: Edges, request: Request) -> Mapping[WorkflowKind, str]:
    waiting = waiting_kinds(request)
    if not waiting or request.repo is None:
        return {}
    rows = edges.snapshots.refresh(older_than=FRESH_ENOUGH).rows
    occupant = occupants(row for row in rows if row.id != request.id).get((str(request.repo), request.environment))
    return {} if occupant is None else dict.fromkeys(waiting, occupant.occupies)


def context_of(request: Request, checked: Checked | None) -> DiagnosisContext:
    """What GitHub's last answer adds to the document, for a diagnosis.

    A dispatched run that was looked for after its trigger, in a list that reaches back to it, and is not there, does
    not exist.
    """
    if checked is None:
        return DiagnosisContext()
    not_found = {name for name, outcome in checked.facts.items() if outcome == FactOutcome.NOT_FOUND.value}
    return DiagnosisContext(
        jobs=checked.jobs,
        no_run_listed=frozenset(
            kind
            for kind, trigger in request.triggers.items()
            if kind.value in not_found
            and trigger.at is not None
            and trigger.at < checked.at
            and lacks_run(request, kind)
        ),
        pull_not_found="pull" in not_found,
        ambiguous=frozenset(
            kind for kind in WorkflowKind if checked.facts.get(kind.value) == FactOutcome.AMBIGUOUS.value
        ),
    )


class _Question:
    """One selection, told apart from others by the reading itself, not by comparing all its rows."""

    __slots__ = ("at", "rows", "wanted")

    def __init__(self, rows: tuple[RequestRow, ...], wanted: RequestFilter, at: datetime) -> None:
        self.rows = rows
        self.wanted = wanted
        self.at = at

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Question):
            return NotImplemented
        return self.rows is other.rows and self.wanted == other.wanted and self.at == other.at

    def __hash__(self) -> int:
        return hash((id(self.rows), self.wanted, self.at))


@lru_cache(maxsize=16)
def _selected(question: _Question) -> Selection:
    return select(question.rows, question.wanted, question.at)


def _read(edges: Edges, request_id: str) -> tuple[Stored, bool]:
    try:
        return edges.documents.get(request_id), False
    except NotFoundError as missing:
        archived = edges.documents.find_archived(request_id)
        if archived is None:
            raise unknown_request(request_id) from missing
        return archived, True


def _has_archived_copy(edges: Edges, request_id: str) -> bool:
    try:
        return edges.documents.find_archived(request_id) is not None
    except DocumentError:
        return True  # one that cannot be read
