"""A wire to an S3 server that counts what is asked over it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from tfpilot.adapters.s3 import BucketSettings

_REQUEST_LINE: Final = re.compile(rb"^(GET|PUT|HEAD|POST|DELETE) (\S+) HTTP/1\.1\r$", re.MULTILINE)
_CHUNK_BYTES: Final = 65536


class CallCounter:
    """`settings` lead to the same bucket over the wire; `counts` holds LIST, GET, PUT, … as they came by.

    Counts request lines that are not cut by a read of 64 kB: fit for requests without large bodies.
    """

    def __init__(self, settings: BucketSettings) -> None:
        self.counts: Counter[str] = Counter()
        self.settings = settings
        self._target = urlsplit(settings.endpoint_url or "")
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        listening: Future[asyncio.Server] = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        )
        self._server = listening.result()
        port = self._server.sockets[0].getsockname()[1]
        self.settings = replace(self.settings, endpoint_url=f"http://127.0.0.1:{port}")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._open))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._open |= {writer, downstream}
        await asyncio.gather(self._pass(reader, downstream, count=True), self._pass(upstream, writer, count=False))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, count: bool) -> None:
        while chunk := await source.read(_CHUNK_BYTES):
            if count:
                self._count(chunk)
            sink.write(chunk)
            await sink.drain()
        sink.close()

    def _count(self, chunk: bytes) -> None:
        for method, target in _REQUEST_LINE.findall(chunk):
            self.counts["LIST" if b"list-type=2" in target else method.decode()] += 1
