"""What a person must do before a plan is carried out: type its phrase, acknowledge, perhaps have it approved."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from tfpilot.core.model import Operator, Role
from tfpilot.core.reset_plan import ResetPlan, StateMode, people_of
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.errors import MissingRightError, RefusedError

LONGEST_REASON: Final = 300
_SHOWN_DIGITS: Final = 6


class Acknowledgement(StrEnum):
    """What a person says before every reset."""

    RESOURCES = "resources"
    PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class Approval:
    """A second admin's yes to exactly one digest."""

    digest: str
    login: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """Somebody's question to a second admin: what the plan with this digest is of, so that it can be read again."""

    digest: str
    target: str
    state_mode: StateMode
    with_index: bool
    asked_by: str
    reason: str
    at: datetime


def phrase_of(plan: ResetPlan) -> str:
    """What must be typed."""
    return f"reset {plan.target.name} {digest_of(plan)[:_SHOWN_DIGITS]}"


def sentence_of(plan: ResetPlan, acknowledgement: Acknowledgement) -> str:
    """What is acknowledged, with its numbers."""
    if acknowledgement is Acknowledgement.RESOURCES:
        count = plan.resource_count
        return f"The {count:,} cloud {'resource is' if count == 1 else 'resources are'} destroyed or abandoned"
    count = len(people_of(plan))
    return f"The {count:,} {'person listed knows' if count == 1 else 'people listed know'} about it"


def check_confirmed(plan: ResetPlan, *, typed: str, acknowledged: Collection[Acknowledgement]) -> None:
    """Raises RefusedError unless the phrase was typed exactly and everything was acknowledged."""
    _check_typed(phrase_of(plan), typed, of=f"this plan for {plan.target.name}")
    missing = [each for each in Acknowledgement if each not in acknowledged]
    if missing:
        sentences = "; ".join(sentence_of(plan, each) for each in missing)
        raise RefusedError(f"Not acknowledged: {sentences}", "Nothing was done. Acknowledge it, if it is so.")


def undo_phrase_of(plan: ResetPlan) -> str:
    """What must be typed before an undo."""
    return f"undo {plan.target.name} {digest_of(plan)[:_SHOWN_DIGITS]}"


def check_undo_confirmed(plan: ResetPlan, *, typed: str) -> None:
    """Raises RefusedError unless the phrase of the undo was typed exactly."""
    _check_typed(undo_phrase_of(plan), typed, of=f"the undo of the reset of {plan.target.name}")


def check_reason(reason: str) -> None:
    """Raises RefusedError unless somebody gave a reason that can be stored, shown and put into Terraform's lock."""
    if not reason.strip():
        raise RefusedError("No reason was given", "Say why: whoever comes next reads it in the receipt.")
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise RefusedError(
            f"The reason is longer than {LONGEST_REASON} characters, or has some that cannot be shown",
            "Say it in one line.",
        )


def check_digest(plan: ResetPlan, reviewed: str) -> None:
    """Raises RefusedError where the plan is not the one that was reviewed, by its whole digest."""
    if digest_of(plan) != reviewed:
        raise RefusedError(
            f"The plan for {plan.target.name} is another one than the one that was reviewed",
            "Nothing was done. Review the new plan.",
        )


def approve(plan: ResetPlan, operator: Operator, *, planned_by: str, now: datetime) -> Approval:
    """The approval of this plan by a second admin. Raises where the operator is no admin, or made the plan."""
    if operator.role is not Role.ADMIN:
        raise MissingRightError(
            f"{operator.login or 'Nobody'} is {operator.role.value} and may not approve a reset", "Ask an admin."
        )
    if operator.login.casefold() == planned_by.casefold():
        raise RefusedError(f"{operator.login} made this plan", "A second admin approves it.")
    return Approval(digest_of(plan), operator.login, now)


def check_approved(plan: ResetPlan, approval: Approval | None, *, operator: Operator) -> None:
    """Raises RefusedError unless somebody else than the operator approved exactly this digest."""
    if approval is None or approval.digest != digest_of(plan):
        raise RefusedError(
            f"No second admin approved this plan for {plan.target.name}",
            "Ask one to approve it; an approval is for one digest only.",
        )
    if approval.login.casefold() == operator.login.casefold():
        raise RefusedError(f"{operator.login} approved this plan and cannot carry it out, too", "Let another admin.")


def _check_typed(expected: str, typed: str, *, of: str) -> None:
    if not hmac.compare_digest(typed.strip().encode(errors="replace"), expected.encode()):
        raise RefusedError(f"What was typed is not the phrase of {of}", f"Type exactly: {expected}")
