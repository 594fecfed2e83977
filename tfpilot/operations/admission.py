"""Who may come in at all, and as what."""

from __future__ import annotations

from datetime import datetime

from tfpilot.core.model import Door, Operator
from tfpilot.core.roles import role_of
from tfpilot.core.sign_in import is_listed
from tfpilot.edges import Edges
from tfpilot.errors import GitHubError, MissingRightError


def admit(edges: Edges, login: str, *, door: Door, signed_in_at: datetime | None = None) -> Operator:
    """The operator with that login, empty for nobody in particular. Raises as `check_admitted`."""
    check_admitted(edges, login)
    return operator_with(edges, login, door=door, signed_in_at=signed_in_at)


def operator_with(edges: Edges, login: str, *, door: Door, signed_in_at: datetime | None = None) -> Operator:
    """The operator with that login, whoever may come in."""
    rights = edges.rights
    return Operator(login, role_of(login, admins=rights.admins, approvers=rights.approvers), door, signed_in_at)


def is_restricted(edges: Edges) -> bool:
    """Whether the settings say who may come in."""
    return bool(edges.rights.allowed_logins or edges.rights.allowed_orgs)


def check_admitted(edges: Edges, login: str) -> None:
    """Returns where the settings let that login in. Where they name nobody, nobody is.

    Raises MissingRightError, or GitHubError where the membership that would decide could not be asked.
    """
    rights = edges.rights
    if is_listed(login, rights.allowed_logins):
        return
    not_asked: GitHubError | None = None
    for org in sorted(rights.allowed_orgs) if login else ():
        try:
            if edges.membership.is_member(org, login):
                return
        except GitHubError as error:
            not_asked = error
    if not_asked is not None:
        raise GitHubError(
            f"Whether {login} may come in could not be asked: {not_asked.message}",
            not_asked.hint or "Try again in a minute.",
            outcome=not_asked.outcome,
            retry_after=not_asked.retry_after,
        )
    raise _not_admitted(login, orgs=sorted(rights.allowed_orgs))


def _not_admitted(login: str, *, orgs: list[str]) -> MissingRightError:
    if not login:
        return MissingRightError(
            "The sign-in names no login, and nobody comes in without one",
            "TFPILOT_LOGIN_CLAIM, or TFPILOT_PROXY_HEADER, says where the login is.",
        )
    membership = f", and is no member of {' or '.join(orgs)}" if orgs else ""
    return MissingRightError(
        f"The login {login} is not let in: it is not among TFPILOT_ALLOWED_LOGINS{membership}",
        "Whoever runs the portal sets TFPILOT_ALLOWED_LOGINS and TFPILOT_ALLOWED_ORGS.",
    )
