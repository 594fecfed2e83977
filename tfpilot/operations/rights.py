"""Whether the operator may do it, by the rights that the edges carry."""

from __future__ import annotations

from tfpilot.core.model import Operator, Request, WorkflowKind
from tfpilot.core.roles import Right, check_right
from tfpilot.edges import Edges


def check_may(edges: Edges, operator: Operator, right: Right, *, environment: str | None) -> None:
    """Returns where the operator may do it in that environment (None: no environment's matter).

    Raises MissingRightError, which names the missing right.
    """
    check_right(
        operator,
        right,
        environment=environment,
        dev_environments=edges.rights.dev_environments,
        prod_allowed=edges.rights.prod_allowed,
    )


def check_may_dispatch(edges: Edges, request: Request, kind: WorkflowKind, *, operator: Operator) -> None:
    """Returns where the operator may dispatch that kind for the request. Raises MissingRightError."""
    if kind is WorkflowKind.DESTROY:
        _check_may_destroy(edges, operator, environment=request.environment)
        return
    right = Right.DISPATCH_REMOVAL if kind is WorkflowKind.CLEANUP else Right.DISPATCH
    check_may(edges, operator, right, environment=request.environment)


def _check_may_destroy(edges: Edges, operator: Operator, *, environment: str) -> None:
    """As `check_may`; in prod a list of its own restricts who may destroy."""
    check_may(edges, operator, Right.DISPATCH_REMOVAL, environment=environment)
    check_right(
        operator,
        Right.DISPATCH_REMOVAL,
        environment=environment,
        dev_environments=edges.rights.dev_environments,
        prod_allowed=edges.rights.destroy_prod_allowed,
        allowed_by="TFPILOT_DESTROY_PROD_ALLOWED_USERS",
    )
