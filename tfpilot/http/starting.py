"""What is done as an answer begins, before it is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import Message, Send

_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})


def at_start(send: Send, do: Callable[[Message], None]) -> Send:
    """As `send`; `do` is given the message with which an answer begins, and may change it."""

    async def send_after(message: Message) -> None:
        if message["type"] in _STARTS:
            do(message)
        await send(message)

    return send_after
