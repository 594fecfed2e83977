"""How often a minute one caller may ask."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from datetime import timedelta
from typing import Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfpilot.http.answers import TooOftenError, error_answer
from tfpilot.http.bearer import token_in
from tfpilot.http.paths import WEBHOOK, is_api
from tfpilot.http.starting import at_start

_MOST_KNOWN: Final = 1024


class RateLimits:
    """Counts who asks `/api` and `/metrics`: each token that was let in by itself, everybody else by address.

    Unknown tokens count by address too: else a new one each time would be as good as no limit, and GitHub would be
    asked about every one. Of deliveries, only those with a bad signature are counted, and only such a one is refused:
    GitHub may come from the same address, behind a proxy, and does not deliver twice.
    """

    def __init__(self, app: ASGIApp, *, per_minute: int) -> None:
        self._app = app
        self._limit = RateLimitItemPerMinute(per_minute)
        self._windows = MovingWindowRateLimiter(MemoryStorage())
        self._let_in = _Newest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_counted(scope["path"]):
            await self._app(scope, receive, send)
        elif scope["path"] == WEBHOOK:
            await self._receive_delivery(scope, receive, send)
        else:
            await self._ask(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = _digest(scope)
        caller = ("token", token) if token in self._let_in else ("address", _address(scope))
        if not self._windows.hit(self._limit, *caller):
            await self._refuse(caller)(scope, receive, send)
            return

        def learn(message: Message) -> None:
            if token:
                self._learn(token, message["status"])

        await self._app(scope, receive, at_start(send, learn))

    def _learn(self, token: str, status: int) -> None:
        """A token that got something is known from now on, and one that GitHub does not know any more is not."""
        if status == 401:
            self._let_in.forget(token)
        elif 200 <= status < 300 and self._let_in.add(token):
            self._windows.hit(self._limit, "token", token)

    async def _receive_delivery(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = ("delivery", _address(scope))
        is_refused = False

        async def send_or_refuse(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and message["status"] == 401:
                is_refused = not self._windows.hit(self._limit, *caller)
                if is_refused:
                    await self._refuse(caller)(scope, receive, send)
            if not is_refused:
                await send(message)

        await self._app(scope, receive, send_or_refuse)

    def _refuse(self, caller: tuple[str, str]) -> ASGIApp:
        ends_at = self._windows.get_window_stats(self._limit, *caller).reset_time
        return error_answer(
            TooOftenError(
                f"That was more than {self._limit.amount:,} requests within a minute",
                "Ask less often, or raise TFPILOT_RATE_LIMIT_PER_MINUTE.",
                retry_after=timedelta(seconds=max(1.0, ends_at - time.time())),
            )
        )


class _Newest:
    """The tokens, as digests, that were let in last."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, token: str) -> bool:
        return token in self._known

    def add(self, token: str) -> bool:
        """Whether it is new."""
        is_new = token not in self._known
        self._known[token] = None
        self._known.move_to_end(token)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return is_new

    def forget(self, token: str) -> None:
        self._known.pop(token, None)


def _is_counted(path: str) -> bool:
    return is_api(path) or path == "/metrics"


def _digest(scope: Scope) -> str:
    """What a bearer token is remembered as; empty where there is none."""
    token = token_in(Headers(scope=scope))
    return hashlib.sha256(token.encode()).hexdigest() if token else ""


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
