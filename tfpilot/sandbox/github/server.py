"""Serving a world on loopback, beside whatever else the process does."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tfpilot.sandbox.github.app import build_app
from tfpilot.sandbox.github.world import World

BACKLOG = 128


@dataclass(frozen=True, slots=True)
class StandIn:
    """A served world: `url` is GitHub's API for a client, `key` opens `/_standin/faults`."""

    url: str
    key: str
    world: World


@contextmanager
def serve(world: World, *, port: int = 0) -> Iterator[StandIn]:
    """Serves the world on 127.0.0.1 until the block ends; port 0 takes a free one. Raises OSError for a taken one.

    Calls that still wait for an answer at the end are cut off. Works in a thread, so also within an ASGI lifespan.
    """
    key = secrets.token_urlsafe(16)
    # Only with the protocol named does asyncio switch off Nagle, which costs 40 ms per answer.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
        server = uvicorn.Server(_config(world, key))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="github-stand-in")
        thread.start()
        try:
            yield StandIn(f"http://127.0.0.1:{listener.getsockname()[1]}", key, world)
        finally:
            server.force_exit = server.should_exit = True
            thread.join()


class _Connection(H11Protocol):
    """A connection that a fault can close: the application finds it in its state as `transport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def _config(world: World, key: str) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(world, key=key),
        http=_Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
    )
