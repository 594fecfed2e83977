"""Starting and stopping with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool

from tfpilot import wiring


@asynccontextmanager
async def lifespan(_app: object) -> AsyncIterator[None]:
    """Begins to build the portal, without keeping the first answer waiting for it, and takes it down at the end."""
    wiring.start()
    try:
        yield
    finally:
        await run_in_threadpool(wiring.stop)
