"""What can go wrong in talking to GitHub, as our errors. No message holds a token or what a body said."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parsedate_to_datetime
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any, Final

import requests
from github.GithubException import (
    BadAttributeException,
    GithubException,
    RateLimitExceededException,
    UnknownObjectException,
)
from requests.exceptions import RetryError
from urllib3.exceptions import DecodeError, HTTPError, MaxRetryError, ReadTimeoutError

from tfpilot.core.model import FactOutcome
from tfpilot.errors import GitHubError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

GITHUB_FAILURES: Final = (
    GithubException,
    BadAttributeException,
    requests.RequestException,
    HTTPError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    RuntimeError,
)
"""All that PyGithub and the libraries below it raise for what they cannot use. To be caught around PyGithub only."""

_DEFAULT_WAIT: Final = timedelta(seconds=60)
"""GitHub's advice where it names no time."""
_LONGEST_WAIT: Final = timedelta(days=1)
_SIGNS_OF_A_LIMIT: Final = ("rate limit", "abuse", "again later", "wait a few minutes", "too many requests")


def translated(error: Exception, *, what: str) -> GitHubError:
    """The error of ours for one of GITHUB_FAILURES, raised while asking for `what`."""
    if isinstance(error, GithubException):
        return _refused(error, what=what)
    if isinstance(error, RetryError):
        return _unreachable(f"GitHub keeps failing when asked for {what}")
    if _is_timeout(error):
        return GitHubError(f"GitHub did not answer in time when asked for {what}", outcome=FactOutcome.TIMEOUT)
    if isinstance(error, requests.ConnectionError | HTTPError) and not _is_broken_off(error):
        return _unreachable(f"GitHub could not be reached for {what}")
    return malformed(f"GitHub's answer about {what} cannot be read")


def malformed(message: str) -> GitHubError:
    """The error for an answer that is not what GitHub's description promises."""
    return GitHubError(
        message,
        hint="Something may have answered in GitHub's place: check GITHUB_API_URL and the proxies on the way.",
        outcome=FactOutcome.MALFORMED,
    )


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """The answer's `Date`, None where there is no readable one."""
    try:
        return parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, OverflowError):
        return None


def _unreachable(message: str, *, retry_after: timedelta | None = None) -> GitHubError:
    return GitHubError(message, hint="Try again later.", outcome=FactOutcome.UNREACHABLE, retry_after=retry_after)


def _refused(error: GithubException, *, what: str) -> GitHubError:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if _is_rate_limit(error, headers):
        message = f"GitHub limits our requests: {what} was not answered"
        return RateLimitedError(message, hint="Try again later.", retry_after=_wait(headers))
    if error.status >= 500:
        return _unreachable(f"GitHub answered {error.status} when asked for {what}", retry_after=_named_wait(headers))
    told = {401: _unauthorized, 403: _forbidden, 404: _missing}.get(error.status)
    if told is not None:
        return told(error, headers, what)
    return GitHubError(f"GitHub answered {error.status} when asked for {what}")


def _unauthorized(_error: GithubException, _headers: Mapping[str, str], what: str) -> GitHubError:
    return GitHubError(
        f"GitHub does not accept the token (401, asked for {what})",
        hint="Renew the token.",
        outcome=FactOutcome.UNAUTHORIZED,
    )


def _missing(error: GithubException, _headers: Mapping[str, str], what: str) -> GitHubError:
    if not isinstance(error, UnknownObjectException):
        return malformed(f"404 for {what}, but not in GitHub's words")
    return GitHubError(f"GitHub has no {what}, or the token may not see it", outcome=FactOutcome.NOT_FOUND)


def _forbidden(_error: GithubException, headers: Mapping[str, str], what: str) -> GitHubError:
    needed = headers.get("x-accepted-github-permissions")
    needs = f"; it needs {needed}" if needed else ""
    return GitHubError(
        f"GitHub does not let the token read {what} (403{needs})",
        hint="Give the token the permissions Metadata, Pull requests and Actions: read.",
        outcome=FactOutcome.FORBIDDEN,
    )


def _is_rate_limit(error: GithubException, headers: Mapping[str, str]) -> bool:
    if error.status == 429:
        return True
    if error.status != 403:
        return False
    if isinstance(error, RateLimitExceededException) or "retry-after" in headers:
        return True
    return headers.get("x-ratelimit-remaining") == "0" or any(
        sign in _message(error).lower() for sign in _SIGNS_OF_A_LIMIT
    )


def _message(error: GithubException) -> str:
    told: Any = error.data.get("message") if isinstance(error.data, dict) else error.message
    return told if isinstance(told, str) else ""


def _wait(headers: Mapping[str, str]) -> timedelta:
    return _named_wait(headers) or _until_reset(headers) or _DEFAULT_WAIT


def _named_wait(headers: Mapping[str, str]) -> timedelta | None:
    seconds = headers.get("retry-after", "")
    return _bounded(int(seconds)) if _is_count(seconds) else None


def _until_reset(headers: Mapping[str, str]) -> timedelta | None:
    """By GitHub's own clock, so that a wrong one here does no harm."""
    now, reset = server_time(headers), headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") != "0" or now is None or not _is_count(reset):
        return None
    return _bounded(int(reset) - now.timestamp() + 1)


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= 12


def _bounded(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 1.0), _LONGEST_WAIT.total_seconds()))


def _is_timeout(error: Exception) -> bool:
    """Requests hides the timeout of a read, and the last of several retried ones, in a ConnectionError."""
    if isinstance(error, requests.ReadTimeout | ReadTimeoutError):
        return True
    inner = error.args[0] if error.args else None
    return isinstance(inner, MaxRetryError) and isinstance(inner.reason, ReadTimeoutError)


def _is_broken_off(error: Exception) -> bool:
    inner = error.args[1] if len(error.args) > 1 else None
    return isinstance(error, DecodeError) or isinstance(inner, IncompleteRead)
