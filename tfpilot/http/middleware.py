"""What every HTTP answer carries, the pages' own included."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfpilot.errors import TfPilotError
from tfpilot.http.answers import error_answer
from tfpilot.http.starting import at_start

INLINE_SCRIPT: Final = "sha256-THxz9J9+wf7rhwR2YkXJoSZ13UCmYyC+3lNDv2+8ugA="
"""The one script within Streamlit's page, by what it says: no other can be put in."""

_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        # Streamlit compiles WebAssembly as its page starts; no text is ever run as a script, not even for charts.
        f"script-src 'self' '{INLINE_SCRIPT}' 'wasm-unsafe-eval'",
        # Streamlit makes its styles as the page is drawn.
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        # The page's own WebSocket is 'self', too.
        "connect-src 'self'",
        "worker-src 'self'",
        "frame-src 'none'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_TLS_HEADERS: Final = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}


class SecurityHeaders:
    """Keeps other sites from framing the portal, strange scripts from running in it, and browsers from guessing types.

    Behind TLS, browsers are told to stay there, and to send cookies nowhere else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        is_secure = _is_secure(scope)

        def add_headers(message: Message) -> None:
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            for name, value in (_HEADERS | _TLS_HEADERS if is_secure else _HEADERS).items():
                headers.setdefault(name, value)
            if is_secure:
                message["headers"] = [_secured(*header) for header in message["headers"]]

        await self._app(scope, receive, at_start(send, add_headers))


def _is_secure(scope: Scope) -> bool:
    """Whether the browser speaks TLS, with us or with the proxy in between. A caller who pretends it fools itself."""
    forwarded = Headers(scope=scope).get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return scope.get("scheme") in {"https", "wss"} or forwarded == "https"


def _secured(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """The header; a cookie only for TLS."""
    if name.lower() != b"set-cookie":
        return name, value
    attributes = [part.strip().lower() for part in value.split(b";")[1:]]
    return name, value if b"secure" in attributes else value + b"; Secure"


class UnexpectedFailures:
    """Answers what nobody expected in JSON too, and lets it reach the server's log whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            if not has_begun:
                await error_answer(_UNEXPECTED)(scope, receive, send)
            raise


_UNEXPECTED: Final = TfPilotError("Something went wrong that should not", "The portal's log says what it was.")
