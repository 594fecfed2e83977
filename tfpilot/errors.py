"""Every failure an operator can meet: what happened, and what to do next."""

from __future__ import annotations

from datetime import timedelta


class TfPilotError(Exception):
    """A failure we expect. `message` states the fact with its ids, `hint` the next step."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(TfPilotError):
    """The portal is not configured, or a setting cannot be used."""


class MalformedIdError(TfPilotError):
    """What was given as an id cannot be one."""


class MalformedDeliveryError(TfPilotError):
    """A webhook delivery lacks what every delivery has, or is no JSON."""


class OversizedError(TfPilotError):
    """Somebody sent more than we take."""


class NotFoundError(TfPilotError):
    """The thing asked for does not exist, and storage said so."""


def unknown_request(request_id: str) -> NotFoundError:
    """The failure of asking for a request that is neither active nor archived."""
    return NotFoundError(
        f"There is no request {request_id}, neither active nor archived",
        "Check the id, or look for the request by PR number, run id, branch or sha.",
    )


class ArchivedError(TfPilotError):
    """The request exists only as an archived copy, which no operation writes."""


class DocumentError(TfPilotError):
    """A stored object cannot be read as what its key says it is."""


class ConflictError(TfPilotError):
    """Somebody else wrote first: read again and plan again."""


class RefusedError(TfPilotError):
    """A guard or a missing right said no. Nothing was done."""


class MissingRightError(RefusedError):
    """The operator's role, or a list of people, does not allow it."""


class FrozenError(RefusedError):
    """An admin has frozen the portal, or it is read-only: nobody writes."""


class SignInError(RefusedError):
    """A visitor's sign-in does not count, or not any more: signing in again helps."""


class ProxyError(RefusedError):
    """A visit did not come through the proxy that tells who it is."""


class SignatureError(TfPilotError):
    """A caller could not prove who it is."""


class UpstreamError(TfPilotError):
    """Something we depend on failed. `retry_after` is how long it asked us to wait, where it said so."""

    def __init__(self, message: str, hint: str = "", *, retry_after: timedelta | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class StorageError(UpstreamError):
    """The bucket did not answer, or answered something unusable."""


class GitHubError(UpstreamError):
    """GitHub did not answer, or answered something unusable. `outcome` is the word shown beside the fact."""

    def __init__(
        self, message: str, hint: str = "", *, outcome: str = "failed", retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message, hint, retry_after=retry_after)
        self.outcome = outcome


class RateLimitedError(GitHubError):
    """GitHub asked us to wait for `retry_after`."""

    def __init__(self, message: str, hint: str = "", *, retry_after: timedelta) -> None:
        super().__init__(message, hint, outcome="rate limited", retry_after=retry_after)
