"""How much a caller of a route may send."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfpilot.core.delivery import check_size
from tfpilot.errors import OversizedError
from tfpilot.http.answers import error_answer
from tfpilot.http.paths import WEBHOOK, is_api

MAX_BODY_BYTES: Final = 64 * 1024

_LONGEST_NUMBER: Final = 18


class BodyLimits:
    """Refuses what is larger than a route takes, by what the caller says it will send and by what comes.

    The webhook has its own limit, and counts by itself what comes. Streamlit limits what pages are sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_api(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            receive = await _within_limit(scope, receive)
        except OversizedError as error:
            await error_answer(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def _within_limit(scope: Scope, receive: Receive) -> Receive:
    """The body for the route: of any but the webhook it is read by now. Raises OversizedError."""
    headers = Headers(scope=scope)
    announced = _number(headers.get("content-length", ""))
    if scope["path"] == WEBHOOK:
        check_size(announced)
        return receive
    _check(announced)
    if announced == 0 and "transfer-encoding" not in headers:
        return receive
    return _replayed(await _read(receive), receive)


async def _read(receive: Receive) -> list[Message]:
    """The messages of the whole body, or of what came before the caller left."""
    messages: list[Message] = []
    size_bytes = 0
    while True:
        message = await receive()
        messages.append(message)
        size_bytes += len(message.get("body", b""))
        _check(size_bytes)
        if not message.get("more_body", False):
            return messages


def _replayed(messages: list[Message], receive: Receive) -> Receive:
    kept = iter(messages)

    async def replay() -> Message:
        message = next(kept, None)
        return await receive() if message is None else message

    return replay


def _check(size_bytes: int) -> None:
    if size_bytes > MAX_BODY_BYTES:
        raise OversizedError(
            f"The body has more than {MAX_BODY_BYTES:,} bytes", "Send none: the query says all there is to say."
        )


def _number(text: str) -> int:
    """The length that is announced; 0 where that is no number, and a very large one where it is too long to read."""
    if not (text.isascii() and text.isdigit()):
        return 0
    return int(text) if len(text) <= _LONGEST_NUMBER else 10**_LONGEST_NUMBER
