"""Dev environments on the real servers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.github_setup import FILES, REPO
from tests.doors.door_setup import TOKENS
from tests.reality.real_commands import Commands
from tests.reality.real_dev import Portal, RealDev, portal_on
from tfpilot.core.terraform import LockMode
from tfpilot.sandbox.github import World, serve
from tfpilot.sandbox.lock_table import LocalDynamoDB
from tfpilot.sandbox.storage import LocalS3

NewDev = Callable[..., RealDev]
OpenPortal = Callable[[RealDev], Portal]
NewCommands = Callable[[RealDev], Commands]


@pytest.fixture
def new_dev(s3_server: LocalS3, new_bucket: Callable[[], str], lock_server: LocalDynamoDB) -> Iterator[NewDev]:
    """Makes dev environments in which nothing stands yet: two buckets, which go with the test, and a table each."""
    made: list[RealDev] = []

    def make(mode: LockMode, **fields: Any) -> RealDev:
        table = f"locks-{uuid.uuid4().hex[:12]}"
        lock_server.create_table(table)
        requests = s3_server.settings(new_bucket())
        made.append(RealDev(requests, new_bucket(), table, lock_server.endpoint_url, mode, **fields))
        return made[-1]

    yield make
    for dev in made:
        for name in (dev.requests.name, dev.state_bucket):
            dev.bucket.client.delete_bucket(Bucket=name)  # this server takes along what is in it


@pytest.fixture
def open_portal() -> Iterator[OpenPortal]:
    """The portal's operations on a dev environment, until the test ends."""
    with ExitStack() as stack:
        yield lambda dev: stack.enter_context(portal_on(dev))


@pytest.fixture
def new_commands(tmp_path: Path) -> Iterator[NewCommands]:
    """Makes the commands of a dev environment; GitHub is its stand-in, which has the repository and no runs."""
    world = World()
    for token, login in TOKENS.items():
        world.add_user(login or "somebody", token=token)
    world.add_repo(REPO, workflows={file: file for file in FILES.values()})
    with serve(world) as stand_in:
        yield lambda dev: Commands(dev, stand_in.url, tmp_path / "commands")
