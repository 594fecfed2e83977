"""Who belongs to a GitHub organisation, asked with the portal's own credential and remembered for five minutes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from tfpilot.adapters.github_client import GitHubClient
from tfpilot.adapters.github_errors import malformed
from tfpilot.adapters.github_transport import Allowance
from tfpilot.adapters.remembered import Remembered
from tfpilot.core.model import FactOutcome
from tfpilot.errors import GitHubError

REMEMBERED_FOR: Final = timedelta(minutes=5)
DEADLINE: Final = timedelta(seconds=10)

_MOST_REMEMBERED: Final = 4096
_NO_CONTENT: Final = 204
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


class GitHubMembership:
    """`Membership` of the organisations that the portal's credential can see."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._known: Remembered[tuple[str, str], bool] = Remembered()

    def is_member(self, org: str, login: str) -> bool:
        if _NAME.fullmatch(login) is None:  # no login of GitHub; in an address it would lead elsewhere
            return False
        question = (org.lower(), login.lower())
        known = self._known.find(question)
        if known is None:
            known = self._ask(*question)
            self._known.put(question, known, lasting=REMEMBERED_FOR, at_most=_MOST_REMEMBERED)
        return known

    def _ask(self, org: str, login: str) -> bool:
        what = f"membership in {org}"
        try:
            reply = self._client.get(f"/orgs/{org}/members/{login}", what=what, allowance=Allowance(DEADLINE))
        except GitHubError as error:
            if error.outcome == FactOutcome.NOT_FOUND:
                return False
            raise
        if reply.status != _NO_CONTENT:
            raise malformed(f"GitHub's answer about {what} is not one of its own")
        return not reply.redirected  # to whoever is no member itself, GitHub tells only who shows it in public
