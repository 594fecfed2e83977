"""A server of the sandbox in a process of its own: on loopback only, ready when it is started, gone when we are."""

from __future__ import annotations

import secrets
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from tfpilot.errors import ConfigError
from tfpilot.sandbox import tether

REGION: Final = "eu-west-2"
LOOPBACK: Final = "127.0.0.1"

_MAX_STARTS: Final = 3
_READY_SECONDS: Final = 30
_STOP_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.05
_SHOWN_LOG_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: the full path of a program with its arguments, and the whole environment it gets."""

    line: Sequence[str]
    environment: Mapping[str, str]


class LocalServer(ABC):
    """A server that runs as long as the context lasts; `endpoint_url` and `pid` are set while it does.

    Without `data_dir` what it writes goes when it stops. Start it from a thread that lives as long as the server
    should: the server ends with that thread.
    """

    title: ClassVar[str]
    """What it is to a person: "S3 server"."""
    port_count: ClassVar[int] = 1

    def __init__(self, data_dir: Path | None = None) -> None:
        self.access_key = f"local{secrets.token_hex(8)}"
        self.secret_key = secrets.token_hex(24)
        self.endpoint_url = ""
        self.pid = 0
        self._given_dir = data_dir
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when the server answers. Raises ConfigError, with the end of the server's log, where it does not."""
        with ExitStack() as stack:
            data_dir = self._given_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tfpilot-")))
            data_dir.mkdir(parents=True, exist_ok=True)
            stack.callback(_end, self._start_server(data_dir))
            self._running = stack.pop_all()

    def stop(self) -> None:
        """Ends the server and waits for it. Does nothing where it is not running."""
        self._running.close()

    @abstractmethod
    def _command(self, data_dir: Path, ports: Sequence[int]) -> Command:
        """How to run the server on these ports, the first of which is its endpoint's."""

    @abstractmethod
    def _probe(self) -> Callable[[], bool]:
        """What says whether it is this very server that answers at `endpoint_url`, and not another one."""

    def _start_server(self, data_dir: Path) -> subprocess.Popen[bytes]:
        # A port that was free a moment ago may be taken by now: the server then ends, and others are tried.
        for _ in range(_MAX_STARTS):
            ports = _free_ports(self.port_count)
            self.endpoint_url = f"http://{LOOPBACK}:{ports[0]}"
            process = _spawn(self._command(data_dir, ports), data_dir)
            if _comes_up(process, self._probe()):
                self.pid = process.pid
                return process
            _end(process)
        raise ConfigError(
            f"The local {self.title} did not start ({_MAX_STARTS} tries)",
            f"The end of {_log_of(data_dir)}:\n{_tail(_log_of(data_dir))}",
        )


def _spawn(command: Command, data_dir: Path) -> subprocess.Popen[bytes]:
    with _log_of(data_dir).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - no shell takes part: the command is a list
            tether.command_line(command.line),
            env=command.environment,
            cwd=data_dir,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _comes_up(process: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if is_ready():
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in bound]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _log_of(data_dir: Path) -> Path:
    return data_dir / "server.log"


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN_LOG_LINES:])
