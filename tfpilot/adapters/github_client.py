"""GitHub's REST API for one credential: PyGithub's Requester under one deadline, one Requester per thread.

PyGithub's objects are left out on purpose: they ask GitHub again for every attribute an answer lacks, and a sign-in
page with status 200 reads as an object full of None.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tfpilot.adapters.github_errors import GITHUB_FAILURES, malformed, translated
from tfpilot.adapters.github_moves import Remembered
from tfpilot.adapters.github_transport import READ_SECONDS, Allowance, Call, PooledRequester, Transport, calling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from github.Auth import Auth

    from tfpilot.core.model import RepoRef

API_VERSION: Final = "2022-11-28"
"""Later versions leave out `merge_commit_sha`."""
PER_PAGE: Final = 100
"""GitHub's most."""

_NAME: Final = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON answer. `redirected`: GitHub sent us on from where we asked, as it does for a renamed repository."""

    data: Any
    headers: Mapping[str, str]
    redirected: bool
    status: int


class GitHubClient:
    """Asks one GitHub server with one credential, from any number of threads."""

    def __init__(self, base_url: str, auth: Auth, transport: Transport) -> None:
        self._base_url = base_url
        self._auth = auth
        self._transport = transport
        self._local = threading.local()
        self.owners: Remembered[RepoRef, str] = Remembered()
        """Who owns a repository that was renamed or transferred."""

    def get(
        self, path: str, *, what: str, allowance: Allowance, parameters: Mapping[str, str | int] | None = None
    ) -> Reply:
        """The answer to a read. `what` names it in errors. Raises GitHubError."""
        return self._send("GET", path, what=what, allowance=allowance, parameters=parameters)

    def post(self, path: str, *, what: str, allowance: Allowance, body: Mapping[str, Any]) -> Reply:
        """The answer to one POST, which is sent once whatever happens. Raises GitHubError."""
        return self._send("POST", path, what=what, allowance=allowance, body=body)

    def _send(
        self,
        verb: str,
        path: str,
        *,
        what: str,
        allowance: Allowance,
        parameters: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Reply:
        call = Call(self._transport, allowance)
        with calling(call):
            try:
                headers, data = self._requester().requestJsonAndCheck(
                    verb, path, None if parameters is None else dict(parameters), input=body
                )
            except GITHUB_FAILURES as error:
                raise translated(error, what=what) from error
        return Reply(data, headers, call.redirected, call.status)

    def _requester(self) -> PooledRequester:
        """This thread's own: two threads on one would now and then get each other's answers."""
        found: PooledRequester | None = getattr(self._local, "requester", None)
        if found is None:
            found = self._local.requester = PooledRequester(
                auth=self._auth,
                base_url=self._base_url,
                timeout=int(READ_SECONDS),
                user_agent="tfpilot-ops",
                per_page=PER_PAGE,
                verify=True,
                retry=None,  # the transport's
                pool_size=None,
                seconds_between_requests=0.05,
                seconds_between_writes=None,
                lazy=True,
                api_version=API_VERSION,
            )
        return found


def path_of(repo: RepoRef, *rest: str | int) -> str:
    """The API path of something in a repository. Raises GitHubError for a name that no repository can have: it would
    lead elsewhere."""
    for name in (repo.owner, repo.name):
        if _NAME.fullmatch(name) is None:
            raise malformed(f"{str(repo)[:200]!r} cannot be a repository's name")
    return "/".join(("/repos", repo.owner, repo.name, *(quote(str(part), safe="") for part in rest)))
