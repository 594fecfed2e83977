"""By which names the portal answers: what another site's name leads here must not act in an operator's browser."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfpilot.http.answers import BadRequestError, error_answer

_OPEN: Final = frozenset({"/healthz", "/readyz"})
"""Probes come by address, and learn nothing that is not for everybody."""

_REFUSAL: Final = BadRequestError(
    "The portal does not answer by this name",
    "Ask for it by a name that TFPILOT_ALLOWED_HOSTS allows, or add this one there.",
)


class AllowedHosts:
    """Refuses pages, routes and the WebSocket under any other name. Starlette judges; the answer is ours."""

    def __init__(self, app: ASGIApp, *, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = sorted(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_asked = scope["type"] in {"http", "websocket"} and scope["path"] not in _OPEN
        if not is_asked or await self._is_allowed(scope, receive):
            await self._app(scope, receive, send)
        else:
            await error_answer(_REFUSAL)(scope, receive, send)

    async def _is_allowed(self, scope: Scope, receive: Receive) -> bool:
        is_allowed = False

        async def let_in(_scope: Scope, _receive: Receive, _send: Send) -> None:
            nonlocal is_allowed
            is_allowed = True

        async def say_nothing(_message: Message) -> None:
            """Its own refusal is plain text."""

        judge = TrustedHostMiddleware(let_in, allowed_hosts=self._allowed, www_redirect=False)
        await judge(scope, receive, say_nothing)
        return is_allowed
