"""Everything that the guards of a reset look at, looked up now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from tfpilot.core.model import Operator
from tfpilot.core.reset_guards import (
    Check,
    GuardEvidence,
    Reading,
    check_deny_terms,
    check_environment,
    check_place,
    check_role,
    check_writing,
    run_guards,
)
from tfpilot.core.reset_target import ResetTarget
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError, GitHubError, StorageError
from tfpilot.operations.reset_reading import ScopeReading, read_locks
from tfpilot.operations.rights import frozen_reason

RUNS_DEADLINE: Final = timedelta(seconds=60)
"""How long all pages of a repository's runs may take."""

T = TypeVar("T")


def check_guards(
    edges: Edges,
    target: ResetTarget,
    *,
    operator: Operator,
    reading: Reading[ScopeReading],
    own_lock_id: str = "",
    accepts_no_versioning: bool = False,
    accepts_most_requests: bool = False,
) -> tuple[Check, ...]:
    """One check per guard, in the order of the checklist. Never raises: what cannot be looked up says so."""
    store = edges.reset_stores.of(target)
    found = reading.value
    evidence = GuardEvidence(
        operator=operator,
        allowed_environments=edges.rights.dev_environments,
        added_deny_terms=edges.resets.deny_terms,
        tags=look_up(store.tags),
        in_flight=Reading(None if found is None else found.in_flight, reading.problem),
        runs=look_up(lambda: edges.workflows.active_runs(target.repo, deadline=RUNS_DEADLINE)),
        locks=look_up(lambda: read_locks(edges, target)),
        versioning=look_up(store.versioning),
        counts=Reading(None if found is None else found.counts, reading.problem),
        read_only=edges.rights.read_only,
        frozen=look_up(partial(frozen_reason, edges)),
        own_lock_id=own_lock_id,
        accepts_no_versioning=accepts_no_versioning,
        accepts_most_requests=accepts_most_requests,
    )
    return run_guards(target, evidence)


def check_guards_of_undo(edges: Edges, target: ResetTarget, *, operator: Operator) -> tuple[Check, ...]:
    """The checks of `UNDO_GUARDS`, in their order. Never raises."""
    return (
        check_role(operator),
        check_environment(target, edges.rights.dev_environments),
        check_deny_terms(target, edges.resets.deny_terms),
        check_place(target, look_up(edges.reset_stores.of(target).tags)),
        check_writing(read_only=edges.rights.read_only, frozen=look_up(partial(frozen_reason, edges))),
    )


def look_up(ask: Callable[[], T]) -> Reading[T]:
    """What was found, or why nothing was."""
    try:
        return Reading(ask())
    except (StorageError, GitHubError, DocumentError) as error:
        return Reading(None, error.message)
