"""Whether the operator may do it, and whether anybody may write now, by what the edges carry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from tfpilot.core.freeze import check_writing
from tfpilot.core.model import Operator, Request, WorkflowKind
from tfpilot.core.roles import Right, check_right
from tfpilot.edges import Edges
from tfpilot.errors import RefusedError, StorageError, TfPilotError

SHOWN_FREEZE_AGE: Final = timedelta(seconds=5)
"""How old a look at the freeze may be where a page only says what would be refused."""
_WRITES_NOTHING: Final = frozenset({Right.READ, Right.FREEZE, Right.EXPORT_AUDIT})
"""Rights whose use a freeze does not stop: reading, lifting it, and the audit."""


def check_may(edges: Edges, operator: Operator, right: Right, *, environment: str | None) -> None:
    """Returns where the operator may do it in that environment (None: no environment's matter), and the portal writes.

    Raises MissingRightError, which names the missing right, FrozenError, or StorageError where it cannot be told
    whether the portal is frozen.
    """
    check_role(edges, operator, right, environment=environment)
    if right not in _WRITES_NOTHING:
        check_thawed(edges)


def check_role(edges: Edges, operator: Operator, right: Right, *, environment: str | None) -> None:
    """Returns where the operator's role and the lists of people allow it. Raises MissingRightError."""
    check_right(
        operator,
        right,
        environment=environment,
        dev_environments=edges.rights.dev_environments,
        prod_allowed=edges.rights.prod_allowed,
    )


def check_thawed(edges: Edges, *, max_age: timedelta = timedelta(0)) -> None:
    """Returns where the portal is neither frozen nor read-only. Raises FrozenError or StorageError."""
    check_writing(frozen=None, read_only=edges.rights.read_only)
    check_writing(frozen=edges.freeze.find(max_age=max_age), read_only=False)


def find_refusal(edges: Edges, operator: Operator, right: Right, *, environment: str | None) -> TfPilotError | None:
    """What `check_may` would say to it, for a page to show; None where it may be done."""
    return _refusal_of(lambda: _check_shown(edges, operator, right, environment=environment))


def find_refusal_to_dispatch(
    edges: Edges, request: Request, kind: WorkflowKind, *, operator: Operator
) -> TfPilotError | None:
    """What `check_may_dispatch` would say to it, for a page to show; None where it may be done."""

    def check() -> None:
        _check_shown(edges, operator, right_to_dispatch(kind), environment=request.environment)
        if kind is WorkflowKind.DESTROY:
            _check_may_destroy_prod(edges, operator, environment=request.environment)

    return _refusal_of(check)


def why_not_write(edges: Edges) -> TfPilotError | None:
    """Why nobody may write, for a page to show; None where the portal writes."""
    return _refusal_of(lambda: check_thawed(edges, max_age=SHOWN_FREEZE_AGE))


def _check_shown(edges: Edges, operator: Operator, right: Right, *, environment: str | None) -> None:
    check_role(edges, operator, right, environment=environment)
    if right not in _WRITES_NOTHING:
        check_thawed(edges, max_age=SHOWN_FREEZE_AGE)


def _refusal_of(check: Callable[[], None]) -> TfPilotError | None:
    try:
        check()
    except (RefusedError, StorageError) as refusal:
        return refusal
    return None


def frozen_reason(edges: Edges) -> str:
    """Why the portal is frozen, empty where it is not. Raises StorageError."""
    notice = edges.freeze.find()
    return notice.reason if notice is not None else ""


def check_may_dispatch(edges: Edges, request: Request, kind: WorkflowKind, *, operator: Operator) -> None:
    """Returns where the operator may dispatch that kind for the request. Raises as `check_may`."""
    if kind is WorkflowKind.DESTROY:
        check_may(edges, operator, Right.DISPATCH_REMOVAL, environment=request.environment)
        _check_may_destroy_prod(edges, operator, environment=request.environment)
        return
    check_may(edges, operator, right_to_dispatch(kind), environment=request.environment)


def right_to_dispatch(kind: WorkflowKind) -> Right:
    """What dispatching that kind takes."""
    return Right.DISPATCH_REMOVAL if kind in {WorkflowKind.DESTROY, WorkflowKind.CLEANUP} else Right.DISPATCH


def _check_may_destroy_prod(edges: Edges, operator: Operator, *, environment: str) -> None:
    """In prod a list of its own restricts who may destroy."""
    check_right(
        operator,
        Right.DISPATCH_REMOVAL,
        environment=environment,
        dev_environments=edges.rights.dev_environments,
        prod_allowed=edges.rights.destroy_prod_allowed,
        allowed_by="TFPILOT_DESTROY_PROD_ALLOWED_USERS",
    )
