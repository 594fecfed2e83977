"""JSON answers, and how each failure looks from outside: a status code, an `error` and a `hint`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from starlette.responses import Response

from tfpilot.core.answers import degraded_answer
from tfpilot.errors import (
    ArchivedError,
    ConfigError,
    ConflictError,
    DocumentError,
    MalformedDeliveryError,
    MalformedIdError,
    MissingRightError,
    NotFoundError,
    OversizedError,
    RefusedError,
    SignatureError,
    TfPilotError,
    UpstreamError,
)
from tfpilot.http.request_ids import current_request_id
from tfpilot.log import masked


class BadRequestError(TfPilotError):
    """The request's own parameters cannot be used."""


class TooOftenError(TfPilotError):
    """The caller asked more often than one may."""

    def __init__(self, message: str, hint: str, *, retry_after: timedelta) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


_STATUS: Final[tuple[tuple[type[TfPilotError], int], ...]] = (
    (BadRequestError, 400),
    (MalformedIdError, 400),
    (MalformedDeliveryError, 400),
    (SignatureError, 401),
    (MissingRightError, 403),
    (NotFoundError, 404),
    (ArchivedError, 409),
    (ConflictError, 409),
    (RefusedError, 409),
    (OversizedError, 413),
    (DocumentError, 422),
    (UpstreamError, 503),
    (ConfigError, 503),
    (TooOftenError, 429),
)


def json_answer(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The content as ASCII JSON: what is no legal UTF-8 in a document stays an escape."""
    body = json.dumps(content, allow_nan=False).encode("ascii")
    no_store = {"Cache-Control": "no-store", **(headers or {})}
    return Response(body, status_code=status, headers=no_store, media_type="application/json")


def error_answer(error: TfPilotError) -> Response:
    """What went wrong and what to do, with the status code of that kind of failure."""
    content, headers = error_content(error), dict[str, str]()
    if isinstance(error, (UpstreamError, TooOftenError)) and error.retry_after is not None:
        content |= degraded_answer(degraded=False, retry_after=error.retry_after)
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    if isinstance(error, SignatureError):
        headers["WWW-Authenticate"] = 'Bearer realm="tfpilot"'
    return json_answer(content, status_of(error), headers)


def error_content(error: TfPilotError) -> dict[str, Any]:
    """What every failure says: what happened, what to do, and the id under which the log knows the request."""
    told = {"success": False, "error": masked(error.message), "hint": masked(error.hint) or _hint_of(error)}
    request_id = current_request_id()
    return told if request_id is None else {**told, "requestId": request_id}


def _hint_of(error: TfPilotError) -> str:
    """What to do by this door about a failure that leaves it open."""
    return "GET /api/requests lists what there is." if isinstance(error, NotFoundError) else "Try again in a moment."


def status_of(error: TfPilotError) -> int:
    """The status code of a failure; 500 for a kind nobody decided on."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
