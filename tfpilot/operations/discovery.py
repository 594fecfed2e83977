"""Finding the run of a dispatch whose id GitHub did not tell, and making it the request's by claiming it (SPEC §6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.dispatch import OTHERS_FORGOTTEN_AFTER, Choice, RunChoice, choose_run
from tfpilot.core.facts import TRIGGER_TOLERANCE
from tfpilot.core.intents import is_still_open, replaced_run_ids, started_changes
from tfpilot.core.lifecycle import lacks_run
from tfpilot.core.listing import tracked_runs
from tfpilot.core.model import (
    Claim,
    DispatchRecord,
    DispatchState,
    FieldChange,
    Request,
    RequestRow,
    RunIndexEntry,
    RunListing,
    Snapshot,
    StoredDispatch,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.run_index import new_entry
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, StorageError
from tfpilot.operations.rewrite import rewrite

LIST_DEADLINE: Final = timedelta(seconds=10)
_MOST_LOST_CLAIMS: Final = 20
_NOTHING_STARTED: Final = frozenset({DispatchState.REFUSED, DispatchState.CLOSED})


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: the run of that request's open dispatch. `record` is ours of it, None where the web app
    dispatched. `file` and `ref` are where it was dispatched."""

    request: Request
    kind: WorkflowKind
    record: DispatchRecord | None
    file: str
    ref: str

    @property
    def since(self) -> datetime | None:
        """When it was dispatched, by GitHub's clock where that is known; None where no time is."""
        if self.record is not None:
            return self.record.posted_at or self.record.triggered_at
        trigger = self.request.triggers.get(self.kind)
        return trigger.at if trigger else None


def search_for(edges: Edges, request: Request, kind: WorkflowKind) -> Search:
    """The search for the run of the request's open dispatch of that kind. Raises StorageError."""
    stored = find_open_record(edges.dispatches.list(request.id), kind)
    record = stored.record if stored else None
    base = request.base_branch or edges.rules.base_branch
    ref = request.branch if kind is WorkflowKind.PLAN else base
    return Search(
        request=request,
        kind=kind,
        record=record,
        file=record.workflow_file if record else edges.rules.workflow_files[kind],
        ref=record.ref if record else ref or "",
    )


def find_open_record(records: Iterable[StoredDispatch], kind: WorkflowKind) -> StoredDispatch | None:
    """Our latest record of a dispatch of that kind that may have started something, if its run is not known; None
    otherwise."""
    standing = [each for each in records if each.record.kind is kind and each.record.state not in _NOTHING_STARTED]
    latest = max(standing, key=lambda each: each.record.triggered_at, default=None)
    return latest if latest is not None and latest.record.state is DispatchState.OPEN else None


def find_record(edges: Edges, request_id: str, nonce: str) -> StoredDispatch | None:
    """Our record of that dispatch as it is stored now. Raises StorageError."""
    return next((each for each in edges.dispatches.list(request_id) if each.record.nonce == nonce), None)


def discover(edges: Edges, search: Search) -> RunChoice:
    """The run that the dispatch started, claimed for the request, or why it cannot be told.

    Raises GitHubError, and StorageError where the index or the other requests cannot be read: that is no "unclaimed".
    """
    lost: set[int] = set()
    while len(lost) <= _MOST_LOST_CLAIMS:
        found = look(edges, search, without=lost)
        if found.run is None:
            return found
        claim = claim_run(edges, search.request.id, search.kind, found.run)
        if claim.holds:
            return found
        run_id = found.run.fact.run_id or 0
        if claim.owner is None:
            raise StorageError(
                f"Whose {search.kind.value} run {run_id} is cannot be told: its entry in the run index is unreadable",
                "Audit the run index: it offers to remove the entry.",
            )
        lost.add(run_id)
    raise StorageError(f"Other requests claim every {search.kind.value} run", "Try again in a minute.")


def look(edges: Edges, search: Search, *, without: Iterable[int] = ()) -> RunChoice:
    """What `discover` would find now, claiming nothing. Raises as it does."""
    since = search.since
    if since is None or search.request.repo is None:
        return RunChoice(Choice.INCOMPLETE, reason="when or where it was dispatched is not known")
    listing = list_since(edges, search)
    # Read after the list: whoever had an open dispatch by then and has none now has claimed or tracks its run.
    rows = _fresh_rows(edges)
    return choose_run(
        search.request.id,
        listing,
        ref=search.ref,
        since=since,
        login=edges.workflows.me().login if search.record is not None else None,
        owner_of=_owner_of(edges, search, rows, frozenset(without) | _earlier_runs(search)),
        others_open=_others_open(edges, search, rows, earliest=since - OTHERS_FORGOTTEN_AFTER),
    )


def list_since(edges: Edges, search: Search) -> RunListing:
    """The runs of the workflow since the dispatch, newest first; none where its time or place is not known.

    Raises GitHubError.
    """
    if search.since is None or search.request.repo is None:
        return RunListing((), complete=False)
    since = search.since - TRIGGER_TOLERANCE
    return edges.workflows.list_runs(search.request.repo, search.file, since=since, deadline=LIST_DEADLINE)


def claim_run(edges: Edges, request_id: str, kind: WorkflowKind, run: WorkflowRun) -> Claim:
    """Claims a run as GitHub describes it. Raises StorageError."""
    return edges.run_index.claim(entry_for(edges, request_id, kind, run))


def entry_for(edges: Edges, request_id: str, kind: WorkflowKind, run: WorkflowRun) -> RunIndexEntry:
    """The entry that gives the request a run as GitHub describes it."""
    return new_entry(kind, run.fact.run_id or 0, request_id, created_at=run.fact.created_at or edges.clock())


def adopt(
    edges: Edges, search: Search, *, run_id: int, html_url: str | None, settled_by: str
) -> tuple[tuple[FieldChange, ...], tuple[str, ...]]:
    """Stores a claimed run in the request and in our record. Answers what was changed in the request, and what went
    wrong beside it: nothing is changed where another writer put something else in the place of the intent.

    Raises StorageError or ConflictError where the request could not be written: the claim stands, and the next sync
    goes on from it.
    """

    def decide(request: Request) -> tuple[FieldChange, ...]:
        is_open = _is_still_searched(request, search) and not _is_settled_otherwise(edges, search.record, run_id)
        return started_changes(request.raw, search.kind, run_id=run_id, html_url=html_url) if is_open else ()

    # Our record first: where the request cannot be written, it tells the next repair.
    notices = settle_record(edges, search.record, run_id=run_id, settled_by=settled_by)
    done = rewrite(edges, search.request.id, decide)
    tracked = done.request.runs.get(search.kind)
    if tracked is None or tracked.run_id != run_id:
        notices += (f"Another writer changed the {search.kind.value} meanwhile, so run {run_id} was not stored in it",)
    return done.changes, notices


def settle_known(edges: Edges, request: Request, records: Iterable[StoredDispatch]) -> tuple[str, ...]:
    """Brings our open records up to date whose run the request knows by now, from a webhook or a repair; what went
    wrong, for a person."""
    notices: tuple[str, ...] = ()
    for each in records:
        run = request.runs.get(each.record.kind)
        if (
            each.record.state is DispatchState.OPEN
            and run is not None
            and run.run_id is not None
            and run.run_id not in replaced_run_ids(each.record)
            and _began_by(each.record, run.created_at)
        ):
            notices += settle_record(edges, each.record, run_id=run.run_id, settled_by="sync")
    return notices


def settle_record(
    edges: Edges,
    record: DispatchRecord | None,
    *,
    settled_by: str,
    state: DispatchState = DispatchState.STARTED,
    run_id: int | None = None,
    detail: str = "",
) -> tuple[str, ...]:
    """Writes into our open record how the dispatch ended; answers what went wrong, for a person."""
    if record is None:
        return ()
    try:
        stored = find_record(edges, record.request_id, record.nonce)
        if stored is not None and stored.record.state is DispatchState.OPEN:
            ended = replace(stored.record, state=state, run_id=run_id, settled_by=settled_by, detail=detail)
            edges.dispatches.put(replace(ended, settled_at=edges.clock()), if_match=stored.etag)
    except (StorageError, ConflictError) as error:
        return (f"Our record of the dispatch was not brought up to date: {error.message}",)
    return ()


def _fresh_rows(edges: Edges) -> tuple[RequestRow, ...]:
    """All requests as they are now. Raises StorageError: what cannot be read may hold the run that we want."""
    snapshot: Snapshot = edges.snapshots.refresh()
    if snapshot.error is not None:
        raise StorageError(f"Whose run it is cannot be told: {snapshot.error}", "Try again when storage answers.")
    return snapshot.rows


def _is_still_searched(request: Request, search: Search) -> bool:
    """Whether the request still waits for the run of that very dispatch, and of no later one."""
    if search.record is not None:
        return is_still_open(request.raw, search.record)
    kind = search.kind
    return lacks_run(request, kind) and request.triggers.get(kind) == search.request.triggers.get(kind)


def _is_settled_otherwise(edges: Edges, record: DispatchRecord | None, run_id: int) -> bool:
    """Whether our record gives the dispatch another run by now: a person chose while it was looked for, and only one of
    the two may be stored."""
    stored = find_record(edges, record.request_id, record.nonce) if record is not None else None
    return stored is not None and stored.record.run_id not in (None, run_id)


def _earlier_runs(search: Search) -> frozenset[int]:
    """The request's runs of that kind from before the dispatch: created within the tolerance, one may look as if it
    were the one that is looked for."""
    before = replaced_run_ids(search.record) if search.record is not None else frozenset()
    if not lacks_run(search.request, search.kind):
        return before
    return before | {each.run_id for each in tracked_runs(search.request) if each.kind is search.kind}


def _owner_of(
    edges: Edges, search: Search, rows: Iterable[RequestRow], without: frozenset[int]
) -> Callable[[WorkflowRun], str | None]:
    """Which request has a run, by the documents, the index and our records; None where none does."""
    tracked = {
        run.run_id: row.id
        for row in rows
        if row.id != search.request.id
        for run in row.tracked
        if run.kind is search.kind
    }

    recorded: list[Mapping[int, str]] = []

    def owner_of(run: WorkflowRun) -> str | None:
        run_id = run.fact.run_id or 0
        if run_id in without:
            return "somebody else"
        if run_id in tracked:
            return tracked[run_id]
        entry = edges.run_index.find(search.kind, run_id)
        if entry is not None:
            return entry.request_id
        if not recorded:
            recorded.append(_recorded_owners(edges, search))
        return recorded[0].get(run_id)

    return owner_of


def _recorded_owners(edges: Edges, search: Search) -> Mapping[int, str]:
    """Which other request a run was dispatched for, by our records: they know it where the index could not be written
    and another writer took the run out of the document."""
    return {
        record.run_id: record.request_id
        for record in (each.record for each in edges.dispatches.list_started())
        if record.run_id is not None and record.kind is search.kind and record.request_id != search.request.id
    }


def _others_open(edges: Edges, search: Search, rows: Iterable[RequestRow], *, earliest: datetime) -> frozenset[str]:
    """The other requests with an open dispatch in the same repository, workflow and ref, by their documents or by our
    records, which nobody else overwrites."""
    others = {row.id: row for row in rows if row.id != search.request.id and not row.archived}
    repo = str(search.request.repo).casefold()
    by_document = {
        row.id
        for row in others.values()
        # A plan runs on its request's own branch, where no other request has one.
        if search.kind is not WorkflowKind.PLAN and row.repo.casefold() == repo
        for intent in row.intents
        if intent.kind is search.kind and (intent.at is None or intent.at > earliest)
    }
    by_record = {
        record.request_id
        for record in (each.record for each in edges.dispatches.list_open())
        if record.request_id != search.request.id
        and record.kind is search.kind
        and (str(record.repo).casefold(), record.ref) == (repo, search.ref)
        and record.triggered_at > earliest
        and not _knows_its_run(others.get(record.request_id), record)
    }
    return frozenset(by_document | by_record)


def _knows_its_run(row: RequestRow | None, record: DispatchRecord) -> bool:
    """Whether the request learned the run of our record from elsewhere."""
    tracked = row.tracked if row is not None else ()
    earlier = replaced_run_ids(record)
    return any(
        run.current and run.kind is record.kind and run.run_id not in earlier and _began_by(record, run.created_at)
        for run in tracked
    )


def _began_by(record: DispatchRecord, created_at: datetime | None) -> bool:
    return created_at is not None and created_at >= (record.posted_at or record.triggered_at) - TRIGGER_TOLERANCE
