"""A dispatch whose answer is lost has happened all the same, and every POST is counted."""

from threading import Event
from typing import Any

import httpx
import pytest

from tfpilot.sandbox.github import Fault, FaultKind, World

DISPATCHES = "/repos/acme/infra/actions/workflows/destroy.yml/dispatches"


def dispatch(
    http: httpx.Client, request_id: str = "req_1", *, path: str = DISPATCHES, **options: Any
) -> httpx.Response:
    body = {"ref": "main", "inputs": {"request_id": request_id, "environment": "dev"}}
    return http.post(path, json=body, **options)


def started(world: World) -> int:
    return len(world.runs(world.repo("acme/infra")))


def test_a_server_error_after_the_run_was_started(world: World, http: httpx.Client) -> None:
    world.faults.add(Fault(FaultKind.STATUS, method="POST", status=502, acts=True, times=1))
    assert dispatch(http).status_code == 502
    assert started(world) == 1


def test_a_connection_that_breaks_after_the_run_was_started(world: World, http: httpx.Client) -> None:
    world.faults.add(Fault(FaultKind.DISCONNECT, method="POST", acts=True, times=1))
    with pytest.raises(httpx.RemoteProtocolError):
        dispatch(http)
    assert started(world) == 1


def test_a_run_that_is_started_after_the_caller_gave_up(world: World, http: httpx.Client) -> None:
    requested = Event()
    world.subscribe(lambda _: requested.set())
    world.faults.add(Fault(FaultKind.SLOW, method="POST", delay_s=0.3, times=1))
    with pytest.raises(httpx.ReadTimeout):
        dispatch(http, timeout=0.1)
    assert requested.wait(timeout=30)
    assert started(world) == 1


def test_every_post_is_counted_by_workflow_and_request_id(world: World, http: httpx.Client) -> None:
    destroy = world.find_workflow(world.repo("acme/infra"), "destroy.yml")
    assert destroy is not None
    dispatch(http, "req_1")
    dispatch(http, "req_1", path=DISPATCHES.replace("destroy.yml", str(destroy.id)))
    dispatch(http, "req_1", path=DISPATCHES.replace("destroy.yml", "apply.yml"))
    dispatch(http, "req_2")
    http.get("/repos/acme/infra/actions/runs")
    assert world.dispatches() == {("destroy.yml", "req_1"): 2, ("apply.yml", "req_1"): 1, ("destroy.yml", "req_2"): 1}


def test_a_post_that_started_nothing_is_counted_too(world: World, http: httpx.Client) -> None:
    world.faults.add(Fault(FaultKind.STATUS, method="POST", status=500, times=1))
    answers = [
        dispatch(http),
        http.post(DISPATCHES, json={"inputs": {"request_id": "req_1"}}),
        http.post(DISPATCHES, content=b"{"),
        http.post(DISPATCHES, json=["req_1"]),
    ]
    assert [answer.status_code for answer in answers] == [500, 422, 400, 400]
    assert world.dispatches() == {("destroy.yml", "req_1"): 2, ("destroy.yml", ""): 2}
    assert started(world) == 0


def test_a_dispatch_keeps_its_inputs_in_the_calls(world: World, http: httpx.Client) -> None:
    dispatch(http)
    assert world.calls[0].inputs == {"request_id": "req_1", "environment": "dev"}
