"""A real DynamoDB server on this machine: ministack, on loopback only, for Terraform's lock tables.

Its conditional writes are atomic, which those of moto are not. What it holds goes when it stops.
"""

from __future__ import annotations

import importlib.util
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tfpilot.adapters.s3_errors import code_of
from tfpilot.errors import ConfigError
from tfpilot.sandbox.local_server import LOOPBACK, REGION, Command, LocalServer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HASH_KEY: Final = "LockID"
"""What Terraform's S3 backend calls the one key of a lock table."""

_PACKAGE: Final = "ministack"
_HEALTH: Final = "/_ministack/health"
_CONNECTIONS: Final = 32


class LocalDynamoDB(LocalServer):
    """A local DynamoDB server. Use it as a context manager.

    It takes any credentials, and keeps the tables of each region apart: use REGION.
    """

    title: ClassVar[str] = "DynamoDB server"

    def __init__(self, data_dir: Path | None = None) -> None:
        super().__init__(data_dir)
        self._mark = secrets.token_hex(16)

    def create_table(self, name: str) -> None:
        """A lock table as Terraform's S3 backend needs it, made where it did not exist."""
        try:
            self.connect().create_table(
                TableName=name,
                KeySchema=[{"AttributeName": HASH_KEY, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": HASH_KEY, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except ClientError as error:
            if code_of(error) != "ResourceInUseException":
                raise

    def connect(self) -> DynamoDBClient:
        """A new client of the running server, for any number of threads. It never asks twice by itself."""
        return boto3.client(
            "dynamodb",
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                connect_timeout=1,
                read_timeout=5,
                retries={"mode": "standard", "total_max_attempts": 1},
                max_pool_connections=_CONNECTIONS,
            ),
        )

    def _command(self, data_dir: Path, ports: Sequence[int]) -> Command:
        require_ministack()
        environment = {
            "BIND_HOST": LOOPBACK,
            "GATEWAY_PORT": str(ports[0]),
            "SERVICES": "dynamodb",
            "MINISTACK_REGION": REGION,
            "MINISTACK_EDITION": self._mark,  # which it tells whoever asks for its health
            # Off: two listeners of other services, and the containers that it would look for, and stop.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": f"unix://{data_dir}/no-docker",
            "HOME": str(data_dir),
            "TMPDIR": str(data_dir),
        }
        return Command([sys.executable, "-I", "-m", _PACKAGE], environment)

    def _probe(self) -> Callable[[], bool]:
        host = self.endpoint_url.removeprefix("http://")

        def tells_our_mark() -> bool:
            try:
                with closing(HTTPConnection(host, timeout=1)) as connection:
                    connection.request("GET", _HEALTH)
                    health = json.loads(connection.getresponse().read())
            except (OSError, HTTPException, ValueError):
                return False
            return isinstance(health, dict) and health.get("edition") == self._mark

        return tells_our_mark


def require_ministack() -> None:
    """Raises ConfigError where the server is not installed."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise ConfigError(
            f"The local DynamoDB server ({_PACKAGE}) is not installed",
            f"Install the package {_PACKAGE}: {sys.executable} -m pip install -r requirements.txt",
        )
