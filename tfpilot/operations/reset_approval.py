"""A second admin's approval of exactly one plan."""

from __future__ import annotations

from tfpilot.core.deeds import Deed
from tfpilot.core.model import Operator
from tfpilot.core.reset_confirm import Approval, ApprovalRequest, approve, check_reason
from tfpilot.core.reset_plan import ResetPlan
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.roles import Right
from tfpilot.core.sign_in import check_fresh
from tfpilot.edges import Edges
from tfpilot.errors import NotFoundError, RefusedError
from tfpilot.operations.acting import act
from tfpilot.operations.reset import plan_reset
from tfpilot.operations.reset_views import Choices
from tfpilot.operations.rights import check_may


def ask_for_approval(edges: Edges, plan: ResetPlan, *, operator: Operator, reason: str) -> ApprovalRequest:
    """Asks a second admin for this digest. Asking again changes nothing. Raises MissingRightError or StorageError."""
    with act(edges, operator, Deed.ASK_FOR_APPROVAL, plan.target.name) as deed:
        check_may(edges, operator, Right.RESET, environment=plan.target.environment)
        check_reason(reason)
        request = _asked(edges, plan, operator=operator, reason=reason)
        deed.begin(digest=request.digest, reason=reason)
        edges.reset_journal.ask_for_approval(request)
    return edges.reset_journal.find_request(request.digest) or request


def _asked(edges: Edges, plan: ResetPlan, *, operator: Operator, reason: str) -> ApprovalRequest:
    return ApprovalRequest(
        digest=digest_of(plan),
        target=plan.target.name,
        state_mode=plan.state_mode,
        with_index=plan.with_index,
        asked_by=operator.login,
        reason=reason,
        at=edges.clock(),
    )


def find_approval(edges: Edges, digest: str) -> tuple[ApprovalRequest | None, Approval | None]:
    """What a second admin was asked about a digest, and what one said; each None where nobody did.

    Raises MalformedIdError or StorageError.
    """
    return edges.reset_journal.find_request(digest), edges.reset_journal.find_approval(digest)


def plan_to_approve(
    edges: Edges, digest: str, choices: Choices, *, operator: Operator
) -> tuple[ApprovalRequest, ResetPlan]:
    """What a second admin was asked, and the plan as it is read now: the same digest, or it cannot be approved.

    `choices`: only what is accepted counts; the rest is as it was asked. Raises MalformedIdError, NotFoundError
    (nobody asked), RefusedError (it is another plan by now, or a guard says no), StorageError or DocumentError.
    """
    request = edges.reset_journal.find_request(digest)
    if request is None:
        raise NotFoundError(f"Nobody asked for an approval of {digest[:12]}…", "The page Dev reset asks, at Confirm.")
    asked = Choices(
        state_mode=request.state_mode,
        with_index=request.with_index,
        accepts_no_versioning=choices.accepts_no_versioning,
        accepts_most_requests=choices.accepts_most_requests,
    )
    plan = plan_reset(edges, request.target, asked, operator=operator)
    if digest_of(plan) != digest:
        raise RefusedError(
            f"What is there now of {request.target} is not what {request.asked_by} planned", "Ask for a new plan."
        )
    return request, plan


def approve_plan(edges: Edges, digest: str, choices: Choices, *, operator: Operator) -> Approval:
    """The operator's approval, as a second admin. Raises as `plan_to_approve`, and MissingRightError; RefusedError
    also where the operator's sign-in is not fresh."""
    request, plan = plan_to_approve(edges, digest, choices, operator=operator)
    with act(edges, operator, Deed.APPROVE_RESET, plan.target.name) as deed:
        check_may(edges, operator, Right.APPROVE_RESET, environment=plan.target.environment)
        check_fresh(operator, edges.clock())
        approval = approve(plan, operator, planned_by=request.asked_by, now=edges.clock())
        deed.begin(digest=digest, askedBy=request.asked_by)
        edges.reset_journal.approve(approval)
    return approval
