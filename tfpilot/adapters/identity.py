"""Who a bearer token belongs to, asked of GitHub and remembered for a minute."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Final

from github.Auth import Token

from tfpilot.adapters.github_client import GitHubClient
from tfpilot.adapters.github_transport import Allowance, Transport, read_retry
from tfpilot.adapters.github_values import login_of
from tfpilot.adapters.remembered import Remembered
from tfpilot.core.model import FactOutcome
from tfpilot.errors import GitHubError, SignatureError

REMEMBERED_FOR: Final = timedelta(seconds=60)
DEADLINE: Final = timedelta(seconds=10)

_MOST_REMEMBERED: Final = 1024
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,1024}")


class GitHubIdentity:
    """Asks GitHub whose a token is. For any number of threads; `close` when done.

    A refused token is remembered too: GitHub blocks who keeps asking with bad ones.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._transport = Transport(retry=read_retry())
        self._known: Remembered[bytes, str] = Remembered()

    def login_of(self, token: str) -> str:
        """The GitHub login of a token. Raises SignatureError (not valid) or GitHubError."""
        if _TOKEN.fullmatch(token) is None:
            raise _not_valid()
        key = hashlib.sha256(token.encode()).digest()
        login = self._known.find(key)
        if login is None:
            login = self._ask(token)
            self._known.put(key, login, lasting=REMEMBERED_FOR, at_most=_MOST_REMEMBERED)
        if not login:
            raise _not_valid()
        return login

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def _ask(self, token: str) -> str:
        """The login, empty where GitHub does not know the token."""
        client = GitHubClient(self._base_url, Token(token), self._transport)
        try:
            reply = client.get("/user", what="user of the token", allowance=Allowance(DEADLINE))
        except GitHubError as error:
            if error.outcome == FactOutcome.UNAUTHORIZED:
                return ""
            raise
        return login_of(reply.data)


def _not_valid() -> SignatureError:
    return SignatureError("GitHub does not know this token", hint="Send a GitHub token that is valid now.")
