"""How the portal signs in at GitHub: a token, or a GitHub App whose installation token all threads share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import jwt
from github.Auth import AppAuth, Auth

from tfpilot.adapters.github_client import GitHubClient, Reply
from tfpilot.adapters.github_errors import malformed, server_time
from tfpilot.adapters.github_transport import Allowance, Transport, current_allowance
from tfpilot.core.document import object_of, parse_time, text_of
from tfpilot.core.model import FactOutcome
from tfpilot.errors import ConfigError, GitHubError

_MARGIN: Final = timedelta(minutes=5)
"""A token is renewed this long before it ends: what was begun with it may still be under way."""
_REFUSED: Final = frozenset({FactOutcome.NOT_FOUND, FactOutcome.FORBIDDEN, FactOutcome.UNAUTHORIZED})


@dataclass(frozen=True, slots=True)
class AppCredential:
    """A GitHub App, by its id or client id, and where it is installed. `private_key` in PEM."""

    app_id: int | str
    installation_id: int
    private_key: str = field(repr=False)


class InstallationTokens(Auth):
    """The installation token of a GitHub App, fetched once for all threads and renewed before it ends."""

    def __init__(self, base_url: str, credential: AppCredential) -> None:
        """Raises ConfigError for a private key that cannot sign."""
        self._installation_id = credential.installation_id
        self._transport = Transport(retry=None)
        self._app = GitHubClient(base_url, _app_auth(credential), self._transport)
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0

    @property
    def token_type(self) -> str:
        return "token"

    @property
    def token(self) -> str:
        """A token that is good for some minutes at least. Raises GitHubError, never with an outcome that says that
        the thing asked for does not exist."""
        allowance = current_allowance()
        if not self._lock.acquire(timeout=allowance.seconds_left()):
            raise GitHubError("GitHub did not give the App a token in time", outcome=FactOutcome.TIMEOUT)
        try:
            if time.monotonic() >= self._renew_at:
                self._renew(allowance)
            return self._token
        finally:
            self._lock.release()

    def app_name(self, *, allowance: Allowance) -> str:
        """The login under which the App acts. Raises GitHubError."""
        reply = self._app.get("/app", what="the GitHub App", allowance=allowance)
        slug = text_of(object_of(reply.data).get("slug"))
        if slug is None:
            raise malformed("GitHub's answer about the App has no name")
        return f"{slug}[bot]"

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def _renew(self, allowance: Allowance) -> None:
        asked_at = time.monotonic()
        reply = self._ask(allowance)
        told = object_of(reply.data)
        token, expires_at = text_of(told.get("token")), parse_time(told.get("expires_at"))
        now_there = server_time(reply.headers)
        if token is None or expires_at is None or now_there is None:
            raise malformed("GitHub's answer to the App holds no token with an end")
        self._token = token
        # By GitHub's own clock: with ours some minutes wrong, every call would fetch a token.
        self._renew_at = asked_at + (expires_at - now_there - _MARGIN).total_seconds()

    def _ask(self, allowance: Allowance) -> Reply:
        try:
            return self._app.post(
                f"/app/installations/{self._installation_id}/access_tokens",
                what="a token of the GitHub App's installation",
                allowance=allowance,
                body={},
            )
        except GitHubError as error:
            if error.outcome in _REFUSED:
                raise self._gone(error) from error
            raise

    def _gone(self, error: GitHubError) -> GitHubError:
        return GitHubError(
            f"GitHub gives the App no token for installation {self._installation_id} ({error.outcome})",
            hint="Check that the App is installed and not suspended, and its private key.",
            outcome=FactOutcome.UNAUTHORIZED,
        )


def _app_auth(credential: AppCredential) -> AppAuth:
    auth = AppAuth(credential.app_id, credential.private_key)
    try:
        auth.create_jwt()
    except (jwt.PyJWTError, ValueError) as error:
        raise ConfigError(
            "The private key of the GitHub App cannot be used",
            hint="Set GITHUB_APP_PRIVATE_KEY or GITHUB_APP_PRIVATE_KEY_FILE to the whole PEM text.",
        ) from error
    return auth
