"""Who may do what (SPEC §8)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final

from tfpilot.core.model import Operator, Role
from tfpilot.errors import MissingRightError


class Right(StrEnum):
    """What an operation needs, by the words a refusal uses."""

    READ = "read"
    SYNC = "sync and repair"
    DISPATCH = "dispatch plan, apply and drift check"
    DISPATCH_REMOVAL = "dispatch destroy and cleanup"
    CLEAN_UP_AFTER_DESTROY = "dispatch the cleanup after a destroy"
    CHOOSE_RUN = "choose among ambiguous runs"
    CLEAR_LOCK = "clear a request lock"
    BACKFILL_INDEX = "backfill the run index"
    FIX_INDEX = "fix or ignore findings of the run index"
    REPLAY = "replay deliveries"
    SET_RETENTION = "install the lifecycle rule"
    RESET = "reset a dev environment"
    APPROVE_RESET = "approve a reset"
    RELEASE_STATE_LOCK = "release a Terraform lock"
    FREEZE = "freeze the portal, and lift that"
    EXPORT_AUDIT = "export the audit"


_RANK: Final = {Role.VIEWER: 0, Role.DEVELOPER: 1, Role.APPROVER: 2, Role.ADMIN: 3}
_NEEDED: Final[Mapping[Right, Role]] = {
    Right.READ: Role.VIEWER,
    Right.SYNC: Role.DEVELOPER,
    Right.BACKFILL_INDEX: Role.DEVELOPER,
    Right.DISPATCH: Role.APPROVER,
    Right.CHOOSE_RUN: Role.APPROVER,
    Right.CLEAR_LOCK: Role.APPROVER,
    Right.FIX_INDEX: Role.APPROVER,
    Right.REPLAY: Role.APPROVER,
    Right.DISPATCH_REMOVAL: Role.ADMIN,
    Right.CLEAN_UP_AFTER_DESTROY: Role.ADMIN,
    Right.SET_RETENTION: Role.ADMIN,
    Right.RESET: Role.ADMIN,
    Right.APPROVE_RESET: Role.ADMIN,
    Right.RELEASE_STATE_LOCK: Role.ADMIN,
    Right.FREEZE: Role.ADMIN,
    Right.EXPORT_AUDIT: Role.APPROVER,
}
"""The least role that may do it outside prod; prod takes an approver at least."""
_SYSTEM_RIGHTS: Final = frozenset({Right.READ, Right.SYNC, Right.BACKFILL_INDEX, Right.CLEAN_UP_AFTER_DESTROY})


def role_of(login: str | None, *, admins: str, approvers: str) -> Role:
    """The role of a GitHub login, by comma-separated lists; case does not matter. None or empty: nobody, a viewer."""
    if not login:
        return Role.VIEWER
    person = login.casefold()
    if person in _logins(admins):
        return Role.ADMIN
    return Role.APPROVER if person in _logins(approvers) else Role.DEVELOPER


def check_right(
    operator: Operator,
    right: Right,
    *,
    environment: str | None,
    dev_environments: Collection[str],
    prod_allowed: Collection[str] = frozenset(),
    allowed_by: str = "TFPILOT_PROD_ALLOWED_USERS",
) -> None:
    """Returns where the operator may do it in that environment; raises MissingRightError naming the missing right.

    Every environment outside `dev_environments` is prod; None is no environment's matter. A non-empty `prod_allowed`,
    the setting `allowed_by`, restricts prod writes to its members, admins included; the portal itself is exempt.
    """
    if right is Right.READ or operator.role is Role.SYSTEM:
        _check_system(operator, right)
        return
    is_prod = environment is not None and environment not in dev_environments
    needed = max(_NEEDED[right], Role.APPROVER if is_prod else Role.VIEWER, key=lambda role: _RANK[role])
    where = _where(environment, is_prod=is_prod)
    if _RANK[operator.role] < _RANK[needed]:
        raise MissingRightError(
            f"{operator.login or 'Nobody'} is {_article(operator.role)} and may not {right.value}{where}",
            f"It takes the role {needed.value}. An admin grants it in the portal's settings.",
        )
    if is_prod and prod_allowed and operator.login.casefold() not in {login.casefold() for login in prod_allowed}:
        raise MissingRightError(
            f"{operator.login} is not among those who may {right.value}{where}",
            f"{allowed_by} names who may.",
        )


def _article(role: Role) -> str:
    return f"{'an' if role.value[0] in 'aeiou' else 'a'} {role.value}"


def _where(environment: str | None, *, is_prod: bool) -> str:
    if environment is None:
        return ""
    return f" in {environment or 'an unknown environment'}{', which counts as prod' if is_prod else ''}"


def _check_system(operator: Operator, right: Right) -> None:
    if operator.role is Role.SYSTEM and right not in _SYSTEM_RIGHTS:
        raise MissingRightError(f"The portal itself may not {right.value}", "A person must do it.")


def _logins(listed: str) -> frozenset[str]:
    return frozenset(name for name in (part.strip().casefold() for part in listed.split(",")) if name)
