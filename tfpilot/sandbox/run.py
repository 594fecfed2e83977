"""The whole sandbox: real S3 and DynamoDB servers, the GitHub stand-in, and the seeded world in all of them."""

from __future__ import annotations

import os
import secrets
import shlex
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.sandbox.github import Hook, Pace, StandIn, World, posting_to, serve
from tfpilot.sandbox.lock_table import LocalDynamoDB
from tfpilot.sandbox.seed import plant
from tfpilot.sandbox.seeded.states import TARGETS, compose_states
from tfpilot.sandbox.state_seed import plant_states
from tfpilot.sandbox.storage import LocalS3

BUCKET: Final = "tfpilot-requests"
ADMIN: Final = "ops-lead"
APPROVER: Final = "appr-ines"
DEVELOPER: Final = "dev-dana"
PORTAL: Final = "tfpilot-portal"
ENVIRONMENT_FILE: Final = "sandbox.env"
TARGETS_FILE: Final = "reset-targets.toml"

_DELETED_AT_ONCE: Final = 1000
_TICK_SECONDS: Final = 1.0


def token_of(login: str) -> str:
    """The fixed token of one of the sandbox's people: it opens nothing beyond this machine."""
    return f"sandbox-{login}"


class Sandbox:
    """A portal's surroundings on this machine, on loopback only. Use it as a context manager; what is below is set
    while it runs.

    `bucket` is reached with credentials of its own, `github_url` is the stand-in's API, `github_token` the portal's,
    `bearer_token` the one of the admin `ops-lead` for `/api`; `standin_key` opens the stand-in's `/_standin/faults`.
    `environment_file` holds `environment()` for a shell, readable by this user alone.

    `reset_targets_file` names the dev environments that may be reset. Their states are on the same S3 server, their
    lock tables at `dynamodb_endpoint`, which takes the bucket's credentials as it takes any.

    `webhook_secret` signs the stand-in's webhooks, which go to `webhook_url`; without one nowhere. Time passes in the
    stand-in: what is dispatched runs and ends by itself.

    Whatever an earlier run left in `data_dir` is emptied; without one, everything is temporary. Start it from a thread
    that lives as long as it should: its servers end with that thread.
    """

    bucket: BucketSettings
    github_url: str
    github_token: str
    bearer_token: str
    standin_key: str
    world: World
    environment_file: Path
    reset_targets_file: Path
    dynamodb_endpoint: str

    def __init__(self, data_dir: Path | None = None, *, webhook_url: str | None = None) -> None:
        self._given_dir = data_dir
        self._webhook_url = webhook_url
        self.webhook_secret = secrets.token_hex(16)
        self.audit_key = secrets.token_hex(32)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        """Raises ConfigError where a server does not start, StorageError where it fails."""
        with ExitStack() as stack:
            self._start(stack)
            self._running = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def environment(self) -> Mapping[str, str]:
        """What another process needs to work on this sandbox, as its admin."""
        return {
            "TFPILOT_SANDBOX": "0",
            "TFPILOT_REQUESTS_BUCKET": self.bucket.name,
            "TFPILOT_CACHE_DIR": str(self.environment_file.parent / "cache"),
            "TFPILOT_ADMINS": ADMIN,
            "TFPILOT_APPROVERS": APPROVER,
            "TFPILOT_RESET_TARGETS": str(self.reset_targets_file),
            "AWS_ENDPOINT_URL_S3": self.bucket.endpoint_url or "",
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb_endpoint,
            "AWS_ACCESS_KEY_ID": self.bucket.access_key or "",
            "AWS_SECRET_ACCESS_KEY": self.bucket.secret_key or "",
            "AWS_DEFAULT_REGION": self.bucket.region or "",
            "GITHUB_API_URL": self.github_url,
            "GITHUB_TOKEN": self.bearer_token,
            "GITHUB_WEBHOOK_SECRET": self.webhook_secret,
            "TFPILOT_AUDIT_KEY": self.audit_key,
        }

    def _start(self, stack: ExitStack) -> None:
        directory = self._directory(stack)
        locks = stack.enter_context(LocalDynamoDB(directory / "dynamodb"))
        self.dynamodb_endpoint = locks.endpoint_url
        server = stack.enter_context(LocalS3(directory / "s3"))
        self.bucket = server.create_bucket(BUCKET)
        bucket = Bucket(self.bucket)
        empty(bucket)
        self.world = self._populated_world()
        now = self.world.now()
        plant(self.world, self.bucket, now=now)
        plant_states(compose_states(self.world, now=now), server=server, client=bucket.client, locks=locks)
        self._write_targets(stack, directory)
        if self._webhook_url is not None:
            # From now on: what the stories lost stays lost.
            Hook(self.world, stack.enter_context(posting_to(self._webhook_url)), secret=self.webhook_secret)
        stack.enter_context(_passing_time(self.world))
        self._connect(stack.enter_context(serve(self.world)))
        self._write_environment(stack, directory)

    def _directory(self, stack: ExitStack) -> Path:
        if self._given_dir is None:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tfpilot-sandbox-")))
        self._given_dir.mkdir(parents=True, exist_ok=True)
        return self._given_dir.resolve()

    def _populated_world(self) -> World:
        self.github_token = f"sandbox-portal-{secrets.token_hex(16)}"
        self.bearer_token = token_of(ADMIN)
        world = World(pace=Pace())
        world.add_user(PORTAL, token=self.github_token)
        for login in (ADMIN, APPROVER, DEVELOPER):
            world.add_user(login, token=token_of(login))
        return world

    def _connect(self, stand_in: StandIn) -> None:
        self.github_url = stand_in.url
        self.standin_key = stand_in.key

    def _write_targets(self, stack: ExitStack, directory: Path) -> None:
        self.reset_targets_file = directory / TARGETS_FILE
        stack.callback(self.reset_targets_file.unlink, missing_ok=True)
        self.reset_targets_file.write_text(TARGETS)

    def _write_environment(self, stack: ExitStack, directory: Path) -> None:
        self.environment_file = directory / ENVIRONMENT_FILE
        self.environment_file.unlink(missing_ok=True)
        stack.callback(self.environment_file.unlink, missing_ok=True)
        descriptor = os.open(self.environment_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in self.environment().items())


@contextmanager
def _passing_time(world: World) -> Iterator[None]:
    """Moves runs on while nobody asks about them, as they do on GitHub."""
    over = threading.Event()

    def pass_time() -> None:
        while not over.wait(_TICK_SECONDS):
            world.simulate(world.now())

    thread = threading.Thread(target=pass_time, name="github-time", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def empty(bucket: Bucket) -> None:
    """Deletes every object of a bucket that is the sandbox's own. Raises StorageError."""
    keys = list(bucket.list_all(""))
    for start in range(0, len(keys), _DELETED_AT_ONCE):
        batch = keys[start : start + _DELETED_AT_ONCE]
        try:
            bucket.client.delete_objects(
                Bucket=bucket.name, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
            )
        except (ClientError, BotoCoreError) as error:
            raise bucket.failed(error, "empty") from error
