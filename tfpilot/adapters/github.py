"""GitHub as a repair reads it: every fact about one request in its own task, all under one deadline."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from github.Auth import Auth, Token

from tfpilot.adapters.github_auth import AppCredential, InstallationTokens
from tfpilot.adapters.github_client import GitHubClient
from tfpilot.adapters.github_errors import server_time
from tfpilot.adapters.github_facts import Questions
from tfpilot.adapters.github_gather import gather
from tfpilot.adapters.github_transport import POOL_SIZE, Allowance, Transport, read_retry
from tfpilot.adapters.github_values import login_of
from tfpilot.core.model import FactsQuery, GitHubFacts, WorkflowKind


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """A personal access token."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GitHubSettings:
    """Where GitHub's REST API is, who asks, and the workflow file of each kind (`plan.yml`)."""

    base_url: str
    credential: TokenCredential | AppCredential
    workflow_files: Mapping[WorkflowKind, str]


@dataclass(frozen=True, slots=True)
class Whoami:
    """Who the portal is at GitHub, and what GitHub said along with it.

    `scopes` of a classic token, None for others. `quota` is (remaining, limit), None where GitHub limits nothing.
    `at` is GitHub's own time of the answer, None where it told none.
    """

    login: str
    scopes: tuple[str, ...] | None
    quota: tuple[int, int] | None
    at: datetime | None


class GitHubEdge:
    """GitHub over REST. For any number of threads; `close` when done."""

    def __init__(self, settings: GitHubSettings) -> None:
        """Raises ConfigError for an App's private key that cannot be used."""
        self._files = settings.workflow_files
        self._transport = Transport(retry=read_retry())
        self._auth = _auth(settings)
        self.client = GitHubClient(settings.base_url, self._auth, self._transport)
        self._pool = ThreadPoolExecutor(POOL_SIZE, thread_name_prefix="github")

    def facts_for(self, query: FactsQuery, *, deadline: timedelta) -> GitHubFacts:
        """Everything GitHub answers about one request within `deadline`, each fact on its own.

        Never raises GitHubError: what could not be learned is an answer with that outcome.
        """
        allowance = Allowance(deadline)
        return gather(self._pool, Questions(self.client, query, self._files, allowance))

    def budget(self) -> tuple[int, int] | None:
        """(remaining, limit) of the hourly quota as of the last answer; None before the first. Makes no call."""
        return self._transport.quota.latest

    @property
    def workflow_files(self) -> frozenset[str]:
        """The names of the workflow files that the portal knows."""
        return frozenset(self._files.values())

    @property
    def clock_ahead(self) -> timedelta:
        """How far GitHub's clock is ahead of this machine's, by its last answer; 0 before the first."""
        return self._transport.clock.ahead

    def whoami(self, *, deadline: timedelta) -> Whoami:
        """Who the portal is at GitHub. Raises GitHubError."""
        allowance = Allowance(deadline)
        if isinstance(self._auth, InstallationTokens):
            reply = self.client.get("/rate_limit", what="rate limit", allowance=allowance)
            login = self._auth.app_name(allowance=allowance)
        else:
            reply = self.client.get("/user", what="user of the token", allowance=allowance)
            login = login_of(reply.data)
        scopes = reply.headers.get("x-oauth-scopes")
        return Whoami(
            login=login,
            scopes=None if scopes is None else tuple(scope.strip() for scope in scopes.split(",") if scope.strip()),
            quota=self.budget(),
            at=server_time(reply.headers),
        )

    def close(self) -> None:
        """Drops what is still to be asked, and the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._transport.close()
        if isinstance(self._auth, InstallationTokens):
            self._auth.close()


def _auth(settings: GitHubSettings) -> Auth:
    if isinstance(settings.credential, AppCredential):
        return InstallationTokens(settings.base_url, settings.credential)
    return Token(settings.credential.token)
