"""An id for every HTTP request, on its answer and on every log line about it."""

from __future__ import annotations

import re
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars, get_contextvars

from tfpilot.http.starting import at_start

HEADER: Final = "X-Request-Id"

# In the log, `request_id` is a request for infrastructure.
_LOG_KEY: Final = "http_request_id"
_ACCEPTABLE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """Gives every request an id: the caller's own `X-Request-Id` where it can be one, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        request_id = _id_of(scope)

        def name_it(message: Message) -> None:
            MutableHeaders(scope=message)[HEADER] = request_id

        with bound_contextvars(**{_LOG_KEY: request_id}):
            await self._app(scope, receive, at_start(send, name_it))


def current_request_id() -> str | None:
    """The id of the HTTP request that is being answered; None outside of one."""
    return get_contextvars().get(_LOG_KEY)


def _id_of(scope: Scope) -> str:
    given = Headers(scope=scope).getlist(HEADER)
    return given[0] if len(given) == 1 and _ACCEPTABLE.fullmatch(given[0]) else uuid.uuid4().hex
