"""Runs of one concurrency group wait for each other as GitHub's do, without `cancel-in-progress`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tfpilot.sandbox.github import Change, Pace, Run, World

DISPATCHES = "/repos/acme/infra/actions/workflows/terraform.yml/dispatches"
Get = Callable[..., Any]


@pytest.fixture(autouse=True)
def one_at_a_time(world: World) -> None:
    """A workflow whose runs of one environment wait for each other."""
    world.add_workflow("acme/infra", "terraform.yml", concurrency="terraform-${{ inputs.environment }}")


def start(world: World, environment: str = "dev", file: str = "terraform.yml") -> Run:
    workflow = world.find_workflow(world.repo("acme/infra"), file)
    assert workflow is not None
    return world.dispatch(workflow, ref="main", inputs={"environment": environment}, actor="maya")


def states(world: World, *runs: Run) -> list[str]:
    latest = [world.run(run.id).latest for run in runs]
    return [attempt.conclusion or attempt.status for attempt in latest]


def test_one_run_goes_on_one_waits_and_the_newest_to_wait_pushes_out_the_one_that_did(world: World) -> None:
    first, second, third = (start(world) for _ in range(3))
    assert states(world, first, second, third) == ["queued", "cancelled", "pending"]


def test_the_run_that_goes_on_is_never_pushed_out(world: World) -> None:
    first = start(world)
    world.step()
    start(world)
    start(world)
    assert states(world, first) == ["in_progress"]


@pytest.mark.parametrize("conclusion", ["success", "failure", "cancelled"])
def test_the_run_that_waits_is_queued_when_the_one_before_it_is_over(world: World, clock: Any, conclusion: str) -> None:
    first, second = start(world), start(world)
    clock.advance(minutes=1)
    world.update_run(first.id, conclusion=conclusion)
    assert states(world, first, second) == [conclusion, "queued"]
    assert world.run(second.id).updated_at == clock.now


def test_a_run_that_stops_waiting_lets_nobody_pass(world: World) -> None:
    first, second = start(world), start(world)
    world.step()
    world.update_run(second.id, conclusion="cancelled")
    third = start(world)
    assert states(world, first, second, third) == ["in_progress", "cancelled", "pending"]


def test_other_environments_repositories_and_workflows_do_not_wait(world: World) -> None:
    world.add_repo("acme/other")
    world.add_workflow("acme/other", "terraform.yml", concurrency="terraform-${{ inputs.environment }}")
    elsewhere = world.find_workflow(world.repo("acme/other"), "terraform.yml")
    assert elsewhere is not None
    runs = (
        start(world, "dev"),
        start(world, "prod"),
        world.dispatch(elsewhere, ref="main", inputs={"environment": "dev"}, actor="maya"),
        start(world, file="destroy.yml"),
        start(world, file="destroy.yml"),
    )
    assert states(world, *runs) == ["queued"] * 5


def test_workflows_that_name_the_same_group_wait_for_each_other(world: World) -> None:
    world.add_workflow("acme/infra", "cleanup.yml", concurrency="terraform-dev")
    assert states(world, start(world), start(world, file="cleanup.yml")) == ["queued", "pending"]


def test_a_run_that_somebody_starts_again_waits_too(world: World) -> None:
    again = start(world)
    world.update_run(again.id, conclusion="failure")
    first, waiting = start(world), start(world)
    world.rerun(again.id)
    assert states(world, first, waiting, again) == ["queued", "cancelled", "pending"]


def test_a_step_moves_what_goes_on_and_lets_in_what_waits(world: World) -> None:
    first, second = start(world), start(world)
    seen = []
    for _ in range(4):
        world.step()
        seen.append(states(world, first, second))
    assert seen == [["in_progress", "pending"], ["success", "queued"], ["success", "in_progress"], ["success"] * 2]
    assert world.step() == ()


def test_at_a_pace_the_group_works_itself_off_as_calls_come_in(world: World, get: Get, clock: Any) -> None:
    world.pace = Pace(queued=timedelta(seconds=3), running=timedelta(seconds=10))
    first, second = start(world), start(world)
    clock.advance(seconds=14)
    assert [get(f"/actions/runs/{run.id}")["status"] for run in (first, second)] == ["completed", "queued"]
    clock.advance(seconds=12)
    done = get(f"/actions/runs/{second.id}")
    assert (done["conclusion"], done["updated_at"]) == ("success", "2026-11-20T10:00:26Z")


def test_a_long_silence_works_off_everything_at_once(world: World, get: Get, clock: Any) -> None:
    world.pace = Pace()
    runs = (start(world), start(world))
    clock.advance(hours=1)
    get("/actions/runs")
    assert states(world, *runs) == ["success", "success"]


def test_a_pushed_out_run_is_told_to_webhooks(world: World) -> None:
    changes: list[Change] = []
    world.subscribe(changes.append)
    runs = [start(world) for _ in range(3)]
    told = [(change.action, change.subject.id) for change in changes]
    first, second, third = (run.id for run in runs)
    assert told == [("requested", first), ("requested", second), ("completed", second), ("requested", third)]


def test_of_many_dispatched_at_once_one_goes_on_one_waits_and_the_others_are_cancelled(
    world: World, http: httpx.Client
) -> None:
    body = {"ref": "main", "inputs": {"environment": "dev"}}
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: http.post(DISPATCHES, json=body), range(64)))
    assert {answer.status_code for answer in answers} == {204}
    ends = sorted(states(world, *world.runs(world.repo("acme/infra"))))
    assert ends == ["cancelled"] * 62 + ["pending", "queued"]
