"""The doors as they are used: a server on loopback that is asked over HTTP, and commands."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import structlog
from starlette.applications import Starlette
from typer.testing import CliRunner, Result

from tests.adapters.github_setup import FILES, REPO
from tests.builders import NOW
from tests.doors.door_setup import (
    TOKENS,
    UNHURRIED,
    Door,
    Reality,
    Tfpilot,
    environment_of,
    served,
    use,
)
from tests.fakes import Clock, InMemory
from tfpilot import wiring
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.cli.app import commands
from tfpilot.http import guards, routes
from tfpilot.sandbox.github import World, serve


@pytest.fixture(autouse=True)
def no_instance_metadata(bare_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the AWS SDK ask the machine who it is."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def own_portal_and_logs() -> Iterator[None]:
    """Whatever a test did to the process's portal and logs is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("github", "botocore", "urllib3", "httpx")}
    yield
    wiring.use(None)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, earlier in levels.items():
        logging.getLogger(name).setLevel(earlier)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def door() -> Iterator[Door]:
    """The routes and middleware as the process serves them, on loopback. Whose portal answers is each test's matter."""
    app = Starlette(routes=routes, middleware=guards(UNHURRIED))
    # A new connection each: the server closes one on which something unexpected happened.
    unpooled = httpx.Limits(max_keepalive_connections=0)
    with served(app) as url, httpx.Client(limits=unpooled, timeout=30, verify=False) as client:
        yield Door(url, client)


@pytest.fixture
def memory() -> InMemory:
    """The process's portal, in memory, with everybody's token."""
    memory = InMemory()
    memory.identity.logins = dict(TOKENS)
    use(memory)
    return memory


@pytest.fixture
def reality(bucket_settings: BucketSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reality]:
    """A real bucket and GitHub's stand-in, and the settings that name them in the environment."""
    clock = Clock(NOW)
    monkeypatch.setattr(wiring, "_now", clock)
    world = World(clock=clock)
    for token, login in TOKENS.items():
        if login:
            world.add_user(login, token=token)
    world.add_repo(REPO, workflows={file: file for file in FILES.values()})
    with ExitStack() as stack:
        stand_in = stack.enter_context(serve(world))
        for name, value in environment_of(bucket_settings, stand_in.url).items():
            monkeypatch.setenv(name, value)
        yield Reality(Bucket(bucket_settings), world, clock, stand_in.url, stack)
        wiring.use(None)


@pytest.fixture
def tfpilot() -> Tfpilot:
    """`tfpilot("sync", ID)`: the command, run in this process."""

    def run(*arguments: str, given: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(commands, list(arguments), input=given)
        unexpected = result.exception
        if unexpected is not None and not isinstance(unexpected, SystemExit):
            raise unexpected
        return result

    return run
