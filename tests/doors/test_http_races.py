"""Clicks that come twice, a portal that starts and stops under load, and what is left of it afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from tests.builders import REQUEST_ID, stuck_planning
from tests.doors.door_setup import UNHURRIED, Door, Reality, plan_succeeded, served, wait_until
from tests.fakes import InMemory
from tfpilot import wiring
from tfpilot.errors import ConfigError
from tfpilot.http import guards, lifespan, routes

PORTAL_THREADS = ("portal", "snapshot-renewal", "github_")


def at_once(count: int, act: Callable[[], Any]) -> list[Any]:
    """What `act` answers to that many callers who begin at the same moment."""
    barrier = threading.Barrier(count)

    def run() -> Any:
        barrier.wait()
        return act()

    with ThreadPoolExecutor(count) as pool:
        return [each.result() for each in [pool.submit(run) for _ in range(count)]]


class EveryThirdError(ConfigError):
    """Every third try to build a portal fails."""


def portal_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(PORTAL_THREADS)]


def test_a_click_that_comes_twice_acts_once(door: Door, memory: InMemory):
    memory.store(stuck_planning())
    both_asked = threading.Barrier(2)

    def answer_both_at_once(query):
        both_asked.wait(10)
        return plan_succeeded(query)

    memory.github.answers[REQUEST_ID] = answer_both_at_once
    told = [answer.json() for answer in at_once(2, door.repair)]
    assert sorted(each["sync"]["written"] for each in told) == [False, True]
    assert {each["request"]["status"] for each in told} == {"plan_ready"}
    assert memory.stored(REQUEST_ID)["version"] == 2
    assert len(memory.edges.events.list(REQUEST_ID, limit=9)) == 1


@pytest.mark.server
def test_many_identical_repairs_at_once_on_a_real_bucket_write_once(door: Door, reality: Reality):
    reality.stuck_request()
    reality.serve_portal()
    answers = at_once(12, door.repair)
    assert [answer.status_code for answer in answers] == [200] * 12
    assert sum(answer.json()["sync"]["written"] for answer in answers) == 1
    assert reality.document()["version"] == 2
    assert reality.document()["github"]["workflows"]["plan"]["conclusion"] == "success"
    assert len(reality.keys(f"logs/{REQUEST_ID}/")) == 1


# The process's portal


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, memory: InMemory) -> list[str]:
    """How often a portal was built and taken down, in order. The portal is one in memory."""
    ready = wiring.portal()
    wiring.use(None)
    happened: list[str] = []

    def build(stack, *_: object, **__: object):
        happened.append("up")
        stack.callback(happened.append, "down")
        return ready

    monkeypatch.setattr(wiring, "build", build)
    return happened


def test_everybody_who_asks_at_once_gets_the_same_portal_which_is_built_once(built: list[str]):
    assert len({id(portal) for portal in at_once(16, wiring.portal)}) == 1
    assert built == ["up"]


def test_stopping_takes_the_portal_down_and_waits_for_it(built: list[str]):
    wiring.portal()
    wiring.stop()
    assert built == ["up", "down"]
    assert portal_threads() == []


def test_stopping_twice_or_without_a_portal_does_nothing(built: list[str]):
    wiring.stop()
    wiring.portal()
    at_once(4, wiring.stop)
    assert built == ["up", "down"]


def test_everybody_who_waits_for_a_portal_that_cannot_be_built_is_told_why(monkeypatch: pytest.MonkeyPatch):
    may_fail = threading.Event()

    def build(*_: object, **__: object):
        may_fail.wait(10)
        raise ConfigError("cannot be", "Change it.")

    monkeypatch.setattr(wiring, "build", build)

    def ask() -> str:
        with pytest.raises(ConfigError) as caught:
            wiring.portal()
        return caught.value.message

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask) for _ in range(8)]
        may_fail.set()
        assert [each.result(timeout=10) for each in waiting] == ["cannot be"] * 8
    wait_until(lambda: portal_threads() == [])


def test_asking_starting_and_stopping_in_any_order_never_hangs_and_leaves_nothing_behind(
    built: list[str], monkeypatch: pytest.MonkeyPatch
):
    good, count, lock = wiring.build, 0, threading.Lock()

    def build(*arguments: Any, **options: Any):
        nonlocal count
        with lock:
            count += 1
            fails = count % 3 == 0
        if fails:
            raise EveryThirdError("every third fails", "Try again.")
        return good(*arguments, **options)

    monkeypatch.setattr(wiring, "build", build)

    def ask() -> None:
        with suppress(EveryThirdError):
            wiring.portal()

    acts = [ask, wiring.start, wiring.stop, wiring.why_not_ready]
    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(acts[number % 4]) for number in range(400)]:
            each.result(timeout=30)
    wiring.stop()
    wait_until(lambda: portal_threads() == [])
    assert built.count("up") == built.count("down")


def test_a_portal_that_is_put_in_place_takes_the_earlier_one_down(built: list[str], memory: InMemory):
    replacement = wiring.portal()
    wiring.use(replacement)
    assert built == ["up", "down"]
    assert wiring.portal() is replacement


# With the server


def test_the_server_answers_health_at_once_while_the_portal_is_still_being_built(
    built: list[str], monkeypatch: pytest.MonkeyPatch
):
    good, may_begin = wiring.build, threading.Event()

    def build(*arguments: Any, **options: Any):
        may_begin.wait(30)
        return good(*arguments, **options)

    monkeypatch.setattr(wiring, "build", build)
    app = Starlette(routes=routes, middleware=guards(UNHURRIED), lifespan=lifespan)
    with served(app) as url, httpx.Client(verify=False) as client:
        assert client.get(f"{url}/healthz").status_code == 200
        ready = client.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()["reason"]) == (503, "the portal is starting")
        may_begin.set()
        wait_until(lambda: built == ["up"])
    assert built == ["up", "down"]


def test_a_server_whose_portal_cannot_be_built_starts_says_why_and_stops(capfd):
    app = Starlette(routes=routes, middleware=guards(UNHURRIED), lifespan=lifespan)
    with served(app) as url, httpx.Client(verify=False) as client:
        wait_until(lambda: "Nothing is configured" in client.get(f"{url}/readyz").text)
        assert client.get(f"{url}/api/requests").status_code == 503
    assert portal_threads() == []
    assert "portal cannot be built" in capfd.readouterr().err


@pytest.mark.server
def test_a_real_portal_becomes_ready_and_leaves_no_thread_behind(reality: Reality):
    reality.stuck_request()
    app = Starlette(routes=routes, middleware=guards(UNHURRIED), lifespan=lifespan)
    with served(app) as url, httpx.Client(verify=False) as client:
        wait_until(lambda: client.get(f"{url}/readyz").status_code == 200)
        assert Door(url, client).get("/api/requests").json()["total"] == 1
        assert Door(url, client).repair().json()["request"]["status"] == "approved"
    wait_until(lambda: portal_threads() == [])


@pytest.mark.server
def test_in_the_sandbox_its_own_bearer_repairs_as_an_admin_whatever_token_is_set(
    door: Door, s3_server: object, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TFPILOT_SANDBOX", "1")
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_of_the_real_github")
    bearer = wiring.portal().place.bearer
    stuck = door.get("/api/requests?stuck=1&limit=500", token=bearer).json()["requests"]
    assert {row["environment"] for row in stuck} > {"dev"}
    in_prod = next(row for row in stuck if row["environment"] == "prod")
    assert door.repair(in_prod["id"], token=bearer).json()["success"] is True
    assert door.get("/api/requests", token="ghp_of_the_real_github").status_code == 401
