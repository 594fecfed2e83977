"""What tests of dispatches do, let others do in between, and look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.builders import NOW, REQUEST_ID
from tests.dispatch_setup import ADMIN, DESTROY_FILE, applied, destroyed, unknown
from tests.fakes import InMemory
from tfpilot.adapters.keys import active_key
from tfpilot.core.dispatch import DispatchEnd, DispatchResult
from tfpilot.core.document import render_document
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import DispatchState, JsonObject, LifecycleStatus, Operator, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.core.run_index import new_entry
from tfpilot.errors import ConflictError, RefusedError, StorageError
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.open_dispatches import look_for_run
from tfpilot.operations.rewrite import read_request

DESTROY = WorkflowKind.DESTROY
STEPS = range(1, 9)
"""The conditional writes of a dispatch, counted from 1, as `at_write` counts them."""


def destroy(memory: InMemory, operator: Operator = ADMIN, request_id: str = REQUEST_ID) -> DispatchResult:
    return dispatch(memory.edges, request_id, DESTROY, operator=operator)


def records(memory: InMemory, request_id: str = REQUEST_ID):
    return [each.record for each in memory.edges.dispatches.list(request_id)]


def states(memory: InMemory, request_id: str = REQUEST_ID) -> list[DispatchState]:
    return [each.state for each in records(memory, request_id)]


def events(memory: InMemory) -> list[str]:
    return [each.event for each in reversed(memory.edges.events.list(REQUEST_ID, limit=20))]


def status(memory: InMemory) -> LifecycleStatus:
    return derive_status(parse_request(memory.stored(REQUEST_ID)), memory.clock())


def content(memory: InMemory) -> dict[str, Any]:
    """The document without what every write moves."""
    return stored_without_version(memory.stored(REQUEST_ID))


def stored_without_version(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in {"version", "updatedAt"}}


def at_write(memory: InMemory, number: int, happens: Callable[[], object]) -> None:
    """`happens` right before that conditional write, the first being number 1."""

    def arm(left: int) -> None:
        memory.bucket.interfere = happens if left == 1 else (lambda: arm(left - 1))

    arm(number)


def web_app_stores(memory: InMemory, document: dict[str, Any]) -> None:
    """Over whatever is there, as the web app does with what it read before."""
    memory.bucket.write(active_key(document["id"]), render_document(document))


class Broken:
    """An index that cannot be reached."""

    def find(self, *_args: Any) -> None:
        raise StorageError("The index is away")

    claim = find


def ends(act: Callable[[], object]) -> object:
    """What it answers, or the failure it ends with."""
    try:
        return act()
    except (RefusedError, ConflictError, StorageError) as failure:
        return failure


def cleanable(**fields: Any) -> dict[str, Any]:
    return destroyed(targetFiles=["a.tf"], targetEnvPath="envs/dev", **fields)


def dispatched(memory: InMemory, *request_ids: str, document: JsonObject | None = None) -> None:
    """A destroy of each was sent at this time, and GitHub told nothing."""
    answer, memory.workflows.answer = memory.workflows.answer, unknown
    for request_id in request_ids:
        memory.store({**(document or applied()), "id": request_id})
    shown, memory.workflows.runs[DESTROY_FILE] = memory.workflows.runs.get(DESTROY_FILE, []), []
    for request_id in request_ids:
        assert dispatch(memory.edges, request_id, DESTROY, operator=ADMIN).end is DispatchEnd.UNKNOWN
    memory.workflows.answer, memory.workflows.runs[DESTROY_FILE] = answer, shown


def look(memory: InMemory, request_id: str) -> DispatchResult:
    return look_for_run(memory.edges, read_request(memory.edges, request_id), DESTROY, operator=ADMIN)


def run_of(memory: InMemory, request_id: str) -> int | None:
    fact = parse_request(memory.stored(request_id)).runs.get(DESTROY)
    return fact.run_id if fact else None


def owner_of(memory: InMemory, run_id: int) -> str | None:
    entry = memory.edges.run_index.find(DESTROY, run_id)
    return entry.request_id if entry else None


def shows(memory: InMemory, *runs: Any) -> None:
    memory.workflows.runs[DESTROY_FILE] = list(runs)


def claim(memory: InMemory, run_id: int, request_id: str) -> None:
    memory.edges.run_index.claim(new_entry(DESTROY, run_id, request_id, created_at=NOW))
