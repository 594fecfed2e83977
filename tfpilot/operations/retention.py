"""Looking at the lifecycle rules of the run index, and installing the portal's own (SPEC §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tfpilot.core.bucket_rules import StoredLifecycle, differences
from tfpilot.core.deeds import Deed
from tfpilot.core.model import Operator, WorkflowKind
from tfpilot.core.retention import (
    Coverage,
    LifecyclePlan,
    Removal,
    StoredDays,
    check_unchanged,
    count_stored_days,
    coverage_of,
    plan_rule,
    simulate,
    versioning_notices,
)
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, StorageError
from tfpilot.operations.acting import act
from tfpilot.operations.rights import check_may

READ_BACK_AFTER: Final = (timedelta(0), timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=4))
"""A bucket's configuration may be read as it was for a moment after it was written."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How the run index is removed in time. `removals`: what the portal's rule would remove of what is stored now."""

    stored: StoredLifecycle
    coverage: Coverage
    removals: Mapping[WorkflowKind, Removal]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """What stands now, and whether anything was written for it."""

    stored: StoredLifecycle
    coverage: Coverage
    written: bool


def read_stored_days(edges: Edges) -> StoredDays:
    """On which days the entries of the run index were stored, by a listing made now. Raises StorageError."""
    listing = edges.index_listings.refresh()
    if listing.error is not None:
        raise StorageError(f"The run index cannot be listed: {listing.error}", "Try again in a minute.")
    return count_stored_days(listing.keys)


def show_retention(edges: Edges, stored_days: StoredDays) -> Retention:
    """The bucket's rules as far as they are about the run index, and what a rule of 90 days would remove of those
    entries. Raises StorageError."""
    stored = edges.lifecycle.read()
    coverage = coverage_of(stored.configuration)
    unknown = [f"The portal does not know {path}, and does not say what it does" for path in stored.unknown]
    return Retention(
        stored=stored,
        coverage=coverage,
        removals=simulate(stored_days, edges.clock()),
        notices=(*unknown, *versioning_notices(stored)),
    )


def plan_retention(edges: Edges, *, noncurrent_days: int | None = None) -> LifecyclePlan:
    """The plan to have the run index removed in time; it writes nothing. Raises RefusedError or StorageError."""
    return plan_rule(edges.lifecycle.read(), noncurrent_days=noncurrent_days)


def apply_retention(edges: Edges, plan: LifecyclePlan, *, operator: Operator) -> Applied:
    """Writes what the plan says, where the bucket is still as the plan found it, and reads it back.

    S3 knows no condition on this write: what somebody else writes between the last look and ours is lost, and what they
    write after it is told. Raises MissingRightError, RefusedError (changed since), ConflictError (what stands now is
    not what was written) or StorageError.
    """
    with act(edges, operator, Deed.SET_RETENTION, "run index") as deed:
        check_may(edges, operator, Right.SET_RETENTION, environment=None)
        stored = edges.lifecycle.read()
        check_unchanged(plan, stored)
        if plan.after is None:
            return Applied(stored, coverage_of(stored.configuration), written=False)
        deed.begin()
        edges.lifecycle.put(plan.after)
        stands = _read_back(edges, plan)
    return Applied(stands, coverage_of(stands.configuration), written=True)


def _read_back(edges: Edges, plan: LifecyclePlan) -> StoredLifecycle:
    wanted = plan.after or {}
    differs: tuple[str, ...] = ()
    for wait in READ_BACK_AFTER:
        edges.sleep(wait)
        stored = edges.lifecycle.read()
        differs = (*differences(wanted, stored.configuration), *(f"{path} is there too" for path in stored.unknown))
        if not differs:
            return stored
    raise ConflictError(
        f"The bucket's lifecycle configuration is not what was written: {'; '.join(differs)}",
        "Somebody else may have written it at the same time. Look at `run-index lifecycle show`, and at the rules with "
        "those who manage the bucket.",
    )
