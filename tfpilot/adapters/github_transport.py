"""HTTP to GitHub below PyGithub: one connection pool for all threads, one deadline per piece of work, every request
counted.

PyGithub alone follows a 301 by its path only, which loses `head=` and `per_page=`; waits without end for the answer to
a 202; lets a dripping body take as long as it likes; and sleeps for as long as a `Retry-After` says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from github.GithubException import RateLimitExceededExceedsMaxWait, RateLimitExceededException
from github.GithubRetry import GithubRetry
from github.Requester import HTTPRequestsConnectionClass, HTTPSRequestsConnectionClass, Requester
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3.exceptions import InvalidHeader, MaxRetryError

from tfpilot.adapters.github_errors import server_time
from tfpilot.adapters.github_moves import Moves
from tfpilot.core.model import FactOutcome
from tfpilot.errors import GitHubError

if TYPE_CHECKING:
    from types import TracebackType

    from requests import PreparedRequest, Response
    from urllib3 import Retry
    from urllib3.connectionpool import ConnectionPool
    from urllib3.response import HTTPResponse

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 15.0
"""For the wait for one piece of an answer; GitHub itself gives up after 10 s."""
POOL_SIZE: Final = 32

_MOST_REDIRECTS: Final = 3
_MOST_BODY_BYTES: Final = 32 * 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_CLOCK_NOISE: Final = timedelta(seconds=2)
_WAITABLE: Final = frozenset({403, 429})


class Allowance:
    """How long one piece of work may talk to GitHub, and how many requests it has sent. Its threads share it."""

    def __init__(self, timeout: timedelta) -> None:
        self._ends = time.monotonic() + timeout.total_seconds()
        self._lock = threading.Lock()
        self._calls = 0

    @property
    def calls(self) -> int:
        return self._calls

    def seconds_left(self) -> float:
        """What is left, never below 0."""
        return max(0.0, self._ends - time.monotonic())

    def check_time(self) -> float:
        """The seconds that are left. Raises GitHubError (timeout) where none are."""
        left = self.seconds_left()
        if left <= 0:
            raise GitHubError("GitHub did not answer in time", outcome=FactOutcome.TIMEOUT)
        return left

    def spend(self) -> float:
        """Counts a request that is about to be sent; the seconds it may take. Raises as `check_time`."""
        left = self.check_time()
        with self._lock:
            self._calls += 1
        return left


class Quota:
    """(remaining, limit) of the hourly quota as of the last answer in any thread; None before the first."""

    def __init__(self) -> None:
        self.latest: tuple[int, int] | None = None

    def note(self, headers: Mapping[str, str]) -> None:
        """Takes in what one answer says. Quotas other than the REST one are left out."""
        remaining, limit = headers.get("x-ratelimit-remaining", ""), headers.get("x-ratelimit-limit", "")
        is_rest = headers.get("x-ratelimit-resource", "core") == "core"
        if is_rest and remaining.isdecimal() and limit.isdecimal():
            self.latest = (int(remaining), int(limit))


class Clock:
    """How far GitHub's clock is ahead of this machine's, as of the last answer in any thread."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def note(self, headers: Mapping[str, str]) -> None:
        """Takes in the time of one answer. It has whole seconds and was on its way for a while: less than two seconds
        of difference are none."""
        told = server_time(headers)
        if told is not None:
            ahead = told - datetime.now(UTC)
            self.ahead = ahead if abs(ahead) >= _CLOCK_NOISE else timedelta(0)


@dataclass(slots=True)
class Call:
    """One question to GitHub on its way: the pool it uses, the allowance it spends, whether it was redirected, and the
    status of the last answer."""

    transport: Transport
    allowance: Allowance
    redirected: bool = False
    status: int = 0


_CURRENT: Final[ContextVar[Call]] = ContextVar("github_call")


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Within, everything that PyGithub sends from this thread belongs to `call`."""
    before = _CURRENT.set(call)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def current_allowance() -> Allowance:
    """The allowance of the call that this thread is making. Only within `calling`."""
    return _CURRENT.get().allowance


class CappedRetry(GithubRetry):
    """PyGithub's retry for reads, made to keep deadlines: no wait longer than the work may take, no retry uncounted,
    and a rate limit that outlasts the retries is still a rate limit."""

    def get_retry_after(self, response: HTTPResponse) -> float | None:  # type: ignore[override]  # as GithubRetry has it
        """The seconds that GitHub asks us to wait, None where it asks nothing.

        Raises RateLimitExceededExceedsMaxWait for more than `max_rate_limit_wait` or than what is left of the deadline.
        """
        try:
            wait = super().get_retry_after(response)
        except InvalidHeader:
            wait = self.secondary_rate_wait
        most = min(current_allowance().seconds_left(), self.max_rate_limit_wait or 0.0)
        if wait is not None and wait > most:
            raise RateLimitExceededExceedsMaxWait(response.status, None, dict(response.headers), wait=wait)
        return wait

    def increment(  # type: ignore[override]  # as GithubRetry has it
        self,
        method: str | None = None,
        url: str | None = None,
        response: HTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Retry:
        """The retry that follows a failed one, already counted. Raises what GithubRetry raises where none follows."""
        try:
            following = super().increment(method, url, response, error, _pool, _stacktrace)
        except MaxRetryError as exhausted:
            if response is not None and response.status in _WAITABLE:
                raise RateLimitExceededException(response.status, None, dict(response.headers)) from exhausted
            raise
        current_allowance().spend()
        return following


def read_retry() -> CappedRetry:
    """The retry policy of reads: three more tries, waits of a few seconds at most, never for a POST.

    `max_rate_limit_wait` below `secondary_rate_wait` means: a secondary limit is told at once.
    """
    return CappedRetry(
        total=3, backoff_factor=0.5, max_rate_limit_wait=5, secondary_rate_wait=10, allowed_methods={"GET", "HEAD"}
    )


class Transport(HTTPAdapter):
    """The connection pool to one server, for any number of threads. Sends only within `calling`."""

    def __init__(self, *, retry: Retry | None) -> None:
        super().__init__(pool_connections=1, pool_maxsize=POOL_SIZE, max_retries=0 if retry is None else retry)
        self.quota = Quota()
        self.clock = Clock()
        self.moves = Moves()

    @override
    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """The whole answer; a redirect of a read within the same server is followed, with its query.

        Raises GitHubError where the deadline passes on the way, or the answer leads elsewhere or is too large.
        """
        call = _CURRENT.get()
        request = self._moved(request, call)
        for _ in range(_MOST_REDIRECTS + 1):
            seconds_left = call.allowance.spend()
            kwargs["timeout"] = (min(CONNECT_SECONDS, seconds_left), min(READ_SECONDS, seconds_left))
            response = super().send(request, *args, **kwargs)
            _read_whole(response, call.allowance)
            call.status = response.status_code
            if not response.is_redirect:
                return self._checked(response)
            following = _followed(request, response)
            self.moves.note(request.url or "", following.url or "")
            if request.method != "GET":
                raise MovedError(
                    "GitHub has it somewhere else now, and did not do what was asked",
                    hint="Try again: the new place is known now.",
                    outcome=FactOutcome.MALFORMED,
                )
            request, call.redirected = following, True
        raise GitHubError("GitHub redirects in circles", outcome=FactOutcome.MALFORMED)

    def _moved(self, request: PreparedRequest, call: Call) -> PreparedRequest:
        """The question at the place that GitHub redirected to before."""
        place = self.moves.find(request.url or "")
        if place is None:
            return request
        moved = request.copy()
        moved.url, call.redirected = place, True
        return moved

    def _checked(self, response: Response) -> Response:
        self.quota.note(response.headers)
        self.clock.note(response.headers)
        response.encoding = "utf-8"  # JSON always is; where no charset is named, requests would guess
        if response.status_code == 202:
            raise GitHubError("GitHub is still preparing the answer", outcome=FactOutcome.UNREACHABLE)
        return response


class MovedError(GitHubError):
    """GitHub redirects a write, which was not carried out: nothing but a read is sent twice. Where to is remembered."""


def _read_whole(response: Response, allowance: Allowance) -> None:
    """Reads the body piece by piece, so that one that drips ends at the deadline too."""
    pieces = []
    size = 0
    with closing(response.raw) as raw:
        while piece := raw.read1(_CHUNK_BYTES, decode_content=True):
            allowance.check_time()
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_BODY_BYTES:
                raise GitHubError(
                    f"GitHub's answer is larger than {_MOST_BODY_BYTES} bytes", outcome=FactOutcome.MALFORMED
                )
    response.raw = BytesIO(b"".join(pieces))


def _followed(request: PreparedRequest, response: Response) -> PreparedRequest:
    asked, target = urlsplit(request.url or ""), urlsplit(urljoin(request.url or "", response.headers["location"]))
    if (target.scheme, target.netloc) != (asked.scheme, asked.netloc):
        raise GitHubError(
            "GitHub redirects to another server",
            hint="Check GITHUB_API_URL, and what stands between the portal and GitHub.",
            outcome=FactOutcome.MALFORMED,
        )
    following = request.copy()
    following.url = target._replace(query=target.query or asked.query).geturl()
    return following


class _SharedPool:
    """PyGithub makes one connection object per request here and closes the last: the pool must outlive them."""

    protocol: str
    session: Any

    @override
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session.mount(f"{self.protocol}://", _CURRENT.get().transport)

    def close(self) -> None:
        """Leaves the shared pool open."""


class _HttpConnection(_SharedPool, HTTPRequestsConnectionClass):
    pass


class _HttpsConnection(_SharedPool, HTTPSRequestsConnectionClass):
    pass


class PooledRequester(Requester):
    """PyGithub's Requester on the pool of the current call. Not for two threads at once, as every Requester."""


# Called on the subclass, this leaves every other PyGithub client of the process as it is.
PooledRequester.injectConnectionClasses(_HttpConnection, _HttpsConnection)
