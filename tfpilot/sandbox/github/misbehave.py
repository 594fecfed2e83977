"""Where calls are counted, and where answers go wrong when they are told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfpilot.sandbox.github.damage import find_replacement, needs_right_answer, spoiled
from tfpilot.sandbox.github.faults import Fault, FaultKind
from tfpilot.sandbox.github.state import Call
from tfpilot.sandbox.github.wire import find_caller
from tfpilot.sandbox.github.world import World

TOOLS: Final = "/_standin/"


class Misbehaviour:
    """The application with the world's faults in front of it. It counts every call, those a fault meets included."""

    def __init__(self, app: ASGIApp, world: World) -> None:
        self._app = app
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(TOOLS):
            await self._app(scope, receive, send)
            return
        call = self._call(scope)
        if call.is_dispatch:
            body, receive = await _read_ahead(receive)
            call = replace(call, inputs=_inputs_in(body))
        self._world.record_call(call)
        fault = self._world.faults.take(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._go_wrong(fault, call.login or "", scope, receive, send)
        except asyncio.CancelledError:
            # The server stops. The caller is cut off, not told of an error that nobody had.
            await _cut_off(scope, receive)

    def _call(self, scope: Scope) -> Call:
        caller = find_caller(self._world, HTTPConnection(scope))
        query = scope["query_string"].decode("latin-1")
        return Call(scope["method"], scope["path"], query, self._world.now(), caller.login if caller else None)

    async def _go_wrong(self, fault: Fault, login: str, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(fault.delay_s)
        right = await self._right_answer(fault, scope, receive) if needs_right_answer(fault) else Response()
        if fault.kind is FaultKind.DISCONNECT:
            await _cut_off(scope, receive)
        elif fault.kind is FaultKind.HANG:
            await _caller_gone(receive)
        else:
            answer = find_replacement(fault, self._world, login=login) or spoiled(fault, right)
            answer.headers.update(fault.headers)
            await answer(scope, receive, _dripping(send, fault.delay_s) if fault.kind is FaultKind.DRIP else send)

    async def _right_answer(self, fault: Fault, scope: Scope, receive: Receive) -> Response:
        other = {"path": fault.instead, "raw_path": fault.instead.encode()} if fault.instead else {}
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        await self._app({**scope, **other}, receive, keep)
        start, *parts = sent
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
        return Response(b"".join(part["body"] for part in parts), status_code=start["status"], headers=headers)


async def _read_ahead(receive: Receive) -> tuple[bytes, Receive]:
    """The whole body, and a `receive` that still has it to give. What follows the body comes from the first one."""
    parts, is_over = [], False
    while not is_over:
        message = await receive()
        parts.append(message.get("body", b""))
        is_over = not message.get("more_body", False)
    body = b"".join(parts)
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return given.pop() if given else await receive()

    return body, again


def _inputs_in(body: bytes) -> Mapping[str, object]:
    """The inputs that a dispatch carries, none where its body is not what it should be."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    inputs = parsed.get("inputs") if isinstance(parsed, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _dripping(send: Send, delay_s: float) -> Send:
    async def drip(message: Message) -> None:
        body = message.get("body", b"")
        for at in range(len(body)):
            await send({"type": message["type"], "body": body[at : at + 1], "more_body": True})
            await asyncio.sleep(delay_s)
        await send({**message, "body": b""} if body else message)

    return drip


async def _cut_off(scope: Scope, receive: Receive) -> None:
    scope["state"]["transport"].close()
    await _caller_gone(receive)


async def _caller_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
