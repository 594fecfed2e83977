"""Routes that ask for a bearer token, which alone tells who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Final

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from tfpilot import wiring
from tfpilot.core.model import Door, Operator
from tfpilot.errors import SignatureError, TfPilotError
from tfpilot.http.answers import error_answer, json_answer
from tfpilot.operations.admission import admit, is_restricted, operator_with
from tfpilot.wiring import Portal

_LOG: Final = structlog.get_logger("tfpilot.http")

Answer = Callable[[Portal, HttpRequest, Operator], Mapping[str, Any]]


def with_bearer(answer: Answer) -> Callable[[HttpRequest], Awaitable[Response]]:
    """The route of an operation: who asks is told by the bearer token alone, and every failure is JSON."""

    @wraps(answer)
    async def route(request: HttpRequest) -> Response:
        try:
            return json_answer(await run_in_threadpool(_answered, answer, request))
        except TfPilotError as error:
            _LOG.info("refused", path=request.url.path[:200], error=error.message)
            return error_answer(error)

    return route


def _answered(answer: Answer, request: HttpRequest) -> Mapping[str, Any]:
    portal = wiring.portal()
    return answer(portal, request, _operator(portal, request))


def token_in(headers: Headers) -> str:
    """The bearer token among the headers; empty where there is none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _operator(portal: Portal, request: HttpRequest) -> Operator:
    """Who sends the request. Raises SignatureError without a token that GitHub knows, MissingRightError for somebody
    whom the settings do not let in."""
    token = token_in(request.headers)
    if not token:
        raise SignatureError(
            "This needs a bearer token", "Send `Authorization: Bearer <GitHub token>`; a cookie does not count."
        )
    enter = admit if is_restricted(portal.edges) else operator_with
    return enter(portal.edges, portal.edges.identity.login_of(token), door=Door.HTTP)
