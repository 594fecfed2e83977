"""A door to the real S3 server that counts what passes, and breaks it on demand."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit

Answer = tuple[int, list[tuple[str, str]], bytes]

_HOP_BY_HOP = frozenset({"transfer-encoding", "connection"})


class FaultyS3:
    """An HTTP proxy on loopback. `counts` tells the requests by kind: GET, LIST, VERSIONS, PUT, DELETE, HEAD."""

    def __init__(self, target_url: str) -> None:
        self.target = urlsplit(target_url)
        self.counts: Counter[str] = Counter()
        self._faults: dict[str, deque[Callable[[Callable[[], Answer]], Answer]]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def lose_answer(self, kind: str) -> None:
        """The next such request is carried out, and answered as if it had failed."""

        def forward_and_fail(forward: Callable[[], Answer]) -> Answer:
            forward()
            return refusal(500, "InternalError")

        self._add(kind, forward_and_fail)

    def refuse(self, kind: str, status: int, code: str) -> None:
        """The next such request is not carried out."""
        self._add(kind, lambda _: refusal(status, code))

    def interfere(self, kind: str, action: Callable[[], object]) -> None:
        """Just before the next such request is carried out, `action` happens."""

        def act_and_forward(forward: Callable[[], Answer]) -> Answer:
            action()
            return forward()

        self._add(kind, act_and_forward)

    def rewrite(self, kind: str, change: Callable[[Answer], Answer]) -> None:
        """The next such request is carried out, and `change` makes of its answer what is answered."""
        self._add(kind, lambda forward: change(forward()))

    def hang(self, kind: str, until: threading.Event) -> None:
        """The next such request is carried out only after `until`."""
        self.interfere(kind, lambda: until.wait(30))

    def take(self, kind: str) -> Callable[[Callable[[], Answer]], Answer]:
        with self._lock:
            self.counts[kind] += 1
            waiting = self._faults.get(kind)
            return waiting.popleft() if waiting else lambda forward: forward()

    def _add(self, kind: str, fault: Callable[[Callable[[], Answer]], Answer]) -> None:
        with self._lock:
            self._faults.setdefault(kind, deque()).append(fault)


def refusal(status: int, code: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>On demand</Message></Error>".encode()
    return status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], body


def _kind_of(path: str) -> str:
    kinds = {"list-type=2": "LIST", "?versions": "VERSIONS"}
    return next((kind for mark, kind in kinds.items() if mark in path), "GET")


def _handler_for(door: FaultyS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass(_kind_of(self.path))

        def do_PUT(self) -> None:
            self._pass(self.command)

        def do_DELETE(self) -> None:
            self._pass(self.command)

        def do_HEAD(self) -> None:
            self._pass(self.command)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def _pass(self, kind: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = door.take(kind)(lambda: _forward(door.target, self, body))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked did not wait
                self._answer(status, headers, b"" if self.command == "HEAD" else content)

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    return Handler


def _forward(target: SplitResult, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
    connection = HTTPConnection(target.hostname or "", target.port)
    try:
        kept = {name: value for name, value in handler.headers.items() if name.lower() != "expect"}
        connection.request(handler.command, handler.path, body, kept)
        answer = connection.getresponse()
        content = answer.read()
        kept_headers = [pair for pair in answer.getheaders() if pair[0].lower() not in _HOP_BY_HOP]
        if "content-length" not in {name.lower() for name, _ in kept_headers}:
            kept_headers.append(("Content-Length", str(len(content))))
        return answer.status, kept_headers, content
    finally:
        connection.close()
