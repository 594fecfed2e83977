from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from github import Auth, Github
from github.Repository import Repository

from tfpilot.sandbox.github import StandIn, World, serve

TOKEN = "ghp_maya"


@dataclass
class HandClock:
    """A clock that moves when it is told to."""

    now: datetime = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **length: float) -> datetime:
        self.now += timedelta(**length)
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def world(clock: HandClock) -> World:
    """One repository with a workflow for each kind of work, and maya, who can sign in."""
    world = World(clock=clock)
    world.add_user("maya", token=TOKEN)
    world.add_repo("acme/infra", workflows={"plan.yml": "Plan", "apply.yml": "Apply", "destroy.yml": "Destroy"})
    return world


@pytest.fixture
def stand_in(world: World) -> Iterator[StandIn]:
    with serve(world) as served:
        yield served


@pytest.fixture
def http(stand_in: StandIn) -> Iterator[httpx.Client]:
    """Plain HTTP as maya."""
    with httpx.Client(base_url=stand_in.url, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        yield client


@pytest.fixture
def get(http: httpx.Client) -> Callable[..., Any]:
    """The JSON of a path under acme/infra, which must answer 200."""

    def fetch(path: str, **query: Any) -> Any:
        answer = http.get(f"/repos/acme/infra{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return fetch


@pytest.fixture
def infra(stand_in: StandIn) -> Iterator[Repository]:
    """acme/infra as the real client sees it, which neither retries nor waits."""
    options = {"seconds_between_requests": None, "seconds_between_writes": None, "retry": None, "timeout": 1}
    with Github(base_url=stand_in.url, auth=Auth.Token(TOKEN), lazy=True, **options) as github:
        yield github.get_repo("acme/infra")
