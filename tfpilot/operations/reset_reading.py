"""Reading everything that a reset is about, as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tfpilot.core.document import parse_document
from tfpilot.core.model import Request, RequestRow
from tfpilot.core.request import parse_request
from tfpilot.core.reset_guards import Counts, InFlight, SeenLock, why_in_flight
from tfpilot.core.reset_plan import (
    PlannedEntry,
    PlannedState,
    ReadObject,
    ResetPlan,
    StateMode,
    make_plan,
    plan_entry,
    plan_request,
    plan_state,
)
from tfpilot.core.reset_plan_document import ACTIVE, HISTORY
from tfpilot.core.reset_steps import Place, Store, seen_lock_places
from tfpilot.core.reset_target import ResetTarget, Scope, StateTarget, scope_of
from tfpilot.core.terraform import LockInfo, lock_id
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError, StorageError

_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class ScopeReading:
    """The requests of a target as they are stored now, and what else is under way in its environment and repository.

    `documents` are the objects of those in scope, by id.
    """

    scope: Scope
    documents: Mapping[str, ReadObject]
    counts: Counts
    in_flight: tuple[InFlight, ...]


def read_scope(edges: Edges, target: ResetTarget) -> ScopeReading:
    """Reads the list of requests anew, and every document that may belong to the target.

    Raises StorageError, or DocumentError where one grew beyond what is read.
    """
    snapshot = edges.snapshots.refresh()
    if snapshot.error is not None:
        raise StorageError("The requests could not be read", snapshot.error)
    active = [row for row in snapshot.rows if not row.archived]
    nearby = [row for row in active if row.error is None and _may_belong(target, row)]
    read = edges.reset_stores.of(target).read_all([_active_key(row.id) for row in nearby])
    requests, unreadable = [], [row.id for row in active if row.error is not None]
    for row in nearby:
        found = read.get(_active_key(row.id))
        if found is None:
            continue  # it left meanwhile
        try:
            requests.append(_parsed(found, row.id))
        except DocumentError:
            unreadable.append(row.id)
    scope = scope_of(target, requests, unreadable=unreadable)
    return ScopeReading(
        scope=scope,
        documents={request_id: read[_active_key(request_id)] for request_id in scope.request_ids},
        counts=Counts(len(scope.request_ids), len(active)),
        in_flight=tuple(_in_flight(edges, nearby)),
    )


def read_plan(
    edges: Edges,
    target: ResetTarget,
    *,
    state_mode: StateMode,
    with_index: bool,
    own_lock_id: str = "",
    reading: ScopeReading | None = None,
) -> ResetPlan:
    """What a reset would do to what is there now. Terraform locks with `own_lock_id` are the reset's own.

    Raises StorageError, or DocumentError where something cannot be read, or a state cannot be emptied.
    """
    reading = reading or read_scope(edges, target)
    store = edges.reset_stores.of(target)
    ids = reading.scope.request_ids
    archived = store.read_all([_archived_key(request_id) for request_id in ids])
    return make_plan(
        target,
        state_mode=state_mode,
        with_index=with_index,
        states=[_read_state(edges, target, state, state_mode, own_lock_id) for state in target.states],
        requests=[
            plan_request(
                reading.documents[request_id], request_id=request_id, archived=archived.get(_archived_key(request_id))
            )
            for request_id in ids
        ],
        entries=_read_entries(edges, frozenset(ids)) if with_index else (),
        undecided=reading.scope.undecided,
        now=edges.clock(),
    )


def read_locks(edges: Edges, target: ResetTarget) -> tuple[SeenLock, ...]:
    """The Terraform locks that are held on the target's states. Raises StorageError or DocumentError."""
    store = edges.reset_stores.of(target)
    places = [place for state in target.states for place in seen_lock_places(target, state.object_key)]
    found = ((place, store.find_lock(place)) for place in places)
    return tuple(SeenLock(place.key, lock.lock) for place, lock in found if lock is not None)


def _read_state(
    edges: Edges, target: ResetTarget, state: StateTarget, mode: StateMode, own_lock_id: str
) -> PlannedState:
    store = edges.reset_stores.of(target)
    locks = (store.find_lock(place) for place in seen_lock_places(target, state.object_key))
    return plan_state(
        object_key=state.object_key,
        env_path=state.env_path,
        lock_id=lock_id(target.bucket, state.object_key),
        mode=mode,
        read=store.read(Place(Store.STATE_BUCKET, state.object_key)),
        digest=store.find_digest(state.object_key) if target.lock_mode.has_table else None,
        locks=[
            lock.mark
            for lock in locks
            if lock is not None and not (isinstance(lock.lock, LockInfo) and lock.lock.id == own_lock_id)
        ],
    )


def _read_entries(edges: Edges, request_ids: frozenset[str]) -> list[PlannedEntry]:
    listing = edges.index_listings.refresh_with_bodies()
    if listing.error is not None:
        raise StorageError("The run index could not be read", listing.error)
    read = (
        ReadObject(each.key, each.content, each.etag)
        for each in edges.index_listings.objects()
        if each.content is not None
    )
    planned = (plan_entry(each, request_ids=request_ids) for each in read)
    return [entry for entry in planned if entry is not None]


def _in_flight(edges: Edges, nearby: Iterable[RequestRow]) -> Iterable[InFlight]:
    now = edges.clock()
    for row in nearby:
        reason = why_in_flight(row, now)
        if reason is not None:
            yield InFlight(row.id, reason)


def _may_belong(target: ResetTarget, row: RequestRow) -> bool:
    """Whether environment and repository do not say that it certainly is another's; the document decides."""
    environment, repo = row.environment.strip().casefold(), row.repo.casefold()
    return environment in {"", target.environment.casefold()} and repo in {"", str(target.repo).casefold()}


def _parsed(read: ReadObject, request_id: str) -> Request:
    return parse_request(parse_document(read.content, request_id=request_id))


def _active_key(request_id: str) -> str:
    return f"{ACTIVE}{request_id}{_SUFFIX}"


def _archived_key(request_id: str) -> str:
    return f"{HISTORY}{request_id}{_SUFFIX}"
