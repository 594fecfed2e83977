"""What a click on the page Dev reset begins, outside the script: one function per verb of an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from tfpilot.core.model import Operator
from tfpilot.core.reset_confirm import Approval, ApprovalRequest
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import MissingRightError
from tfpilot.operations.reset import Confirmation, Ended, apply_reset, ask_to_stop, plan_reset, resume_reset, undo_reset
from tfpilot.operations.reset_approval import approve_plan, ask_for_approval
from tfpilot.operations.reset_views import Choices
from tfpilot.operations.rights import check_role
from tfpilot.ui.reset_deeds import Deed, DeedVerb, deeds_of
from tfpilot.ui.reset_desk import ResetDesk, Verb
from tfpilot.ui.reset_made import MadePlan, made_of
from tfpilot.ui.reset_seen import SeenReset

_LOG: Final = structlog.get_logger("tfpilot.reset")


def why_not(edges: Edges, operator: Operator, environment: str, right: Right = Right.RESET) -> str:
    """Why the operator may not do it, for a person; empty where they may. A freeze is told by the guards."""
    try:
        check_role(edges, operator, right, environment=environment)
    except MissingRightError as error:
        return f"{error.message}. {error.hint}"
    return ""


def begin_plan(
    edges: Edges, desk: ResetDesk, operator: Operator, *, target: str, choices: Choices, reason: str
) -> None:
    """A plan of what is there now."""

    def work() -> MadePlan:
        return made_of(plan_reset(edges, target, choices, operator=operator), choices, reason=reason)

    desk.begin(Verb.PLAN, (target, choices, reason, operator), work)


def begin_reset(
    edges: Edges, desk: ResetDesk, operator: Operator, *, made: MadePlan, confirmation: Confirmation
) -> None:
    """Carries out the plan that was confirmed, or is refused."""

    def work(deed: Deed) -> Ended:
        return apply_reset(edges, made.plan, made.choices, confirmation, operator=operator, on_begin=deed.begun)

    _begin(edges, desk, Deed(DeedVerb.APPLY, made.target, made.digest, operator), work)


def begin_resume(edges: Edges, desk: ResetDesk, operator: Operator, *, reset_id: str, target: str, digest: str) -> None:
    """Goes on with a reset, or with its undo."""

    def work(_deed: Deed) -> Ended:
        return resume_reset(edges, reset_id, operator=operator)

    _begin(edges, desk, Deed(DeedVerb.RESUME, target, digest, operator, reset_id), work)


def begin_undo(edges: Edges, desk: ResetDesk, operator: Operator, *, seen: SeenReset, typed: str) -> None:
    """Puts back what the reset changed."""

    def work(_deed: Deed) -> Ended:
        return undo_reset(edges, seen.reset_id, typed=typed, operator=operator)

    _begin(edges, desk, Deed(DeedVerb.UNDO, seen.target, seen.digest, operator, seen.reset_id), work)


def begin_stop(edges: Edges, desk: ResetDesk, operator: Operator, *, reset_id: str) -> None:
    """Asks whoever carries the reset out to stop after the present step."""

    def work() -> None:
        ask_to_stop(edges, reset_id, operator=operator)
        _LOG.info("reset asked to stop", reset=reset_id, operator=operator.login)

    desk.begin(Verb.STOP, (reset_id, operator), work)


def begin_ask(edges: Edges, desk: ResetDesk, operator: Operator, *, made: MadePlan) -> None:
    """Asks a second admin for exactly this digest."""

    def work() -> ApprovalRequest:
        asked = ask_for_approval(edges, made.plan, operator=operator, reason=made.reason)
        _LOG.info("reset approval asked", target=made.target, digest=made.digest, operator=operator.login)
        return asked

    desk.begin(Verb.ASK, (made.digest, operator), work)


def begin_approve(edges: Edges, desk: ResetDesk, operator: Operator, *, digest: str, choices: Choices) -> None:
    """A second admin's yes to exactly this digest."""

    def work() -> Approval:
        approval = approve_plan(edges, digest, choices, operator=operator)
        _LOG.info("reset approved", digest=digest, operator=operator.login)
        return approval

    desk.begin(Verb.APPROVE, (digest, choices, operator), work)


def _begin(edges: Edges, desk: ResetDesk, deed: Deed, work: Callable[[Deed], Ended]) -> None:
    if desk.is_busy:
        return
    desk.outcome = desk.failed = None
    desk.deed = deeds_of(edges).begin(edges, deed, work)
