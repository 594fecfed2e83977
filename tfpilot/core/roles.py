"""Who may do what (SPEC §8)."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from tfpilot.core.model import Operator, Role
from tfpilot.errors import MissingRightError


class Right(StrEnum):
    """What an operation needs, by the words a refusal uses."""

    READ = "read"
    SYNC = "sync and repair"


_RANK: Final = {Role.VIEWER: 0, Role.DEVELOPER: 1, Role.APPROVER: 2, Role.ADMIN: 3}
_SYSTEM_RIGHTS: Final = frozenset({Right.READ, Right.SYNC})


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
    environment: str,
    dev_environments: Collection[str],
    prod_allowed: Collection[str] = frozenset(),
) -> None:
    """Returns where the operator may do it in that environment; raises MissingRightError naming the missing right.

    Every environment outside `dev_environments` is prod. A non-empty `prod_allowed` restricts prod writes to its
    members, admins included; the portal itself is exempt.
    """
    if right is Right.READ or operator.role is Role.SYSTEM:
        _check_system(operator, right)
        return
    is_prod = environment not in dev_environments
    needed = Role.APPROVER if is_prod else Role.DEVELOPER
    where = f"in {environment or 'an unknown environment'}{', which counts as prod' if is_prod else ''}"
    if _RANK[operator.role] < _RANK[needed]:
        raise MissingRightError(
            f"{operator.login or 'Nobody'} is a {operator.role.value} and may not {right.value} {where}",
            f"It takes the role {needed.value}. An admin grants it in the portal's settings.",
        )
    if is_prod and prod_allowed and operator.login.casefold() not in {login.casefold() for login in prod_allowed}:
        raise MissingRightError(
            f"{operator.login} is not among those who may write {where}",
            "TFPILOT_PROD_ALLOWED_USERS names who may.",
        )


def _check_system(operator: Operator, right: Right) -> None:
    if operator.role is Role.SYSTEM and right not in _SYSTEM_RIGHTS:
        raise MissingRightError(f"The portal itself may not {right.value}", "A person must do it.")


def _logins(listed: str) -> frozenset[str]:
    return frozenset(name for name in (part.strip().casefold() for part in listed.split(",")) if name)
