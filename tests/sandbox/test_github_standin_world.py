"""The stand-in keeps state as GitHub does, whoever changes it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from github import Auth, Github
from github.GithubException import BadCredentialsException, RateLimitExceededException, UnknownObjectException
from github.Repository import Repository

from tfpilot.sandbox.github import Pace, RunDetails, StandIn, World, serve

Get = Callable[..., Any]


def test_a_merge_over_the_api_is_what_everybody_reads_next(world: World, http: httpx.Client, get: Get) -> None:
    world.add_pull("acme/infra", branch="request/req_1", author="noor")
    merged = http.put("/repos/acme/infra/pulls/1/merge").json()
    pull = get("/pulls/1")
    assert (pull["merged"], pull["merge_commit_sha"], pull["merged_by"]["login"]) == (True, merged["sha"], "maya")
    assert world.pull("acme/infra", 1).merged_at == world.now()
    assert http.put("/repos/acme/infra/pulls/1/merge").status_code == 405


def test_a_dismissed_review_says_so(world: World, http: httpx.Client, infra: Repository) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    review = infra.get_pull(1).create_review(event="APPROVE")
    assert (review.state, review.user.login) == ("APPROVED", "maya")
    review.dismiss("outdated")
    assert [known.state for known in infra.get_pull(1).get_reviews()] == ["DISMISSED"]


def test_a_rerun_keeps_id_and_creation_and_the_attempt_before_it(
    world: World, infra: Repository, get: Get, clock: Any
) -> None:
    run = world.add_run("acme/infra", "apply.yml", conclusion="failure")
    clock.advance(minutes=5)
    assert infra.get_workflow_run(run.id).rerun()
    now = get(f"/actions/runs/{run.id}")
    assert (now["run_attempt"], now["status"], now["conclusion"]) == (2, "queued", None)
    assert (now["created_at"], now["run_started_at"]) == ("2026-11-20T10:00:00Z", "2026-11-20T10:05:00Z")
    assert now["triggering_actor"]["login"] == "maya"
    before = get(f"/actions/runs/{run.id}/attempts/1")
    assert (before["conclusion"], before["updated_at"]) == ("failure", "2026-11-20T10:00:00Z")
    assert get(f"/actions/runs/{run.id}/attempts/2") == now


def test_a_run_that_moves_on_shows_when(world: World, get: Get, clock: Any) -> None:
    run = world.add_run("acme/infra", "plan.yml")
    clock.advance(seconds=90)
    world.update_run(run.id, conclusion="success")
    shown = get(f"/actions/runs/{run.id}")
    assert (shown["status"], shown["conclusion"]) == ("completed", "success")
    assert (shown["created_at"], shown["updated_at"]) == ("2026-11-20T10:00:00Z", "2026-11-20T10:01:30Z")


def test_a_renamed_repository_redirects_reads_and_writes(world: World, http: httpx.Client, infra: Repository) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    world.rename_repo("acme/infra", to="acme/platform")
    assert infra.get_pull(1).base.repo.full_name == "acme/platform"
    moved = http.get("/repos/acme/infra/pulls", params={"state": "all"})
    assert moved.status_code == 301
    assert http.get(moved.headers["location"]).json()[0]["number"] == 1
    assert httpx.URL(moved.headers["location"]).params["state"] == "all"
    assert http.put("/repos/acme/infra/pulls/1/merge").status_code == 307
    assert world.pull("acme/platform", 1).is_open


def test_names_of_repositories_ignore_case(http: httpx.Client) -> None:
    assert http.get("/repos/ACME/Infra").json()["full_name"] == "acme/infra"


@pytest.mark.parametrize("path", ["/repos/acme/other", "/repos/acme/infra/pulls/9", "/repos/acme/infra/nothing"])
def test_what_is_not_there_is_not_found(http: httpx.Client, path: str) -> None:
    assert (http.get(path).status_code, http.get(path).json()["message"]) == (404, "Not Found")


def test_a_deleted_run_is_not_found(world: World, infra: Repository) -> None:
    run = world.add_run("acme/infra", "plan.yml")
    world.delete_run(run.id)
    with pytest.raises(UnknownObjectException):
        infra.get_workflow_run(run.id).update()


def test_a_token_that_is_nobodys_gets_in_nowhere(stand_in: StandIn) -> None:
    with Github(base_url=stand_in.url, auth=Auth.Token("ghp_stolen"), retry=None) as github:
        visitor = github.get_user()
        with pytest.raises(BadCredentialsException):
            visitor.update()
    assert httpx.get(f"{stand_in.url}/user").json()["message"] == "Requires authentication"


def test_calls_are_counted_with_who_made_them(world: World, http: httpx.Client, clock: Any) -> None:
    http.get("/repos/acme/infra/pulls", params={"state": "all"})
    http.get("/user", headers={"authorization": "token ghp_stolen"})
    http.post("/graphql", json={"query": "{viewer{login}}"})
    assert [(call.method, call.path, call.query, call.login) for call in world.calls] == [
        ("GET", "/repos/acme/infra/pulls", "state=all", "maya"),
        ("GET", "/user", "", None),
        ("POST", "/graphql", "", "maya"),
    ]
    assert world.calls[0].at == clock.now
    world.clear_calls()
    assert world.calls == ()


def test_graphql_says_that_it_is_not_here(http: httpx.Client) -> None:
    answer = http.post("/graphql", json={"query": "{viewer{login}}"})
    assert (answer.status_code, answer.json()["message"]) == (501, "GraphQL is not answered here")


def test_every_answer_tells_the_time_and_what_is_left_of_the_hour(http: httpx.Client, clock: Any) -> None:
    first, second = http.get("/user"), http.get("/repos/acme/infra/pulls/404")
    assert first.headers["date"] == "Fri, 20 Nov 2026 10:00:00 GMT"
    assert [answer.headers["x-ratelimit-remaining"] for answer in (first, second)] == ["4999", "4998"]
    assert first.headers["x-ratelimit-reset"] == str(int((clock.now + timedelta(hours=1)).timestamp()))
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-resource"]) == ("5000", "core")


def test_the_used_up_hour_ends(world: World, http: httpx.Client, infra: Repository, clock: Any) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    world.quota.set_remaining("maya", 0)
    with pytest.raises(RateLimitExceededException):
        infra.get_pull(1).update()
    assert http.get("/rate_limit").json()["rate"]["remaining"] == 0
    clock.advance(hours=1)
    assert infra.get_pull(1).state == "open"


def test_what_has_not_changed_costs_nothing(world: World, http: httpx.Client) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    first = http.get("/repos/acme/infra/pulls/1")
    known = {"if-none-match": first.headers["etag"]}
    again = http.get("/repos/acme/infra/pulls/1", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
    world.close_pull("acme/infra", 1)
    assert http.get("/repos/acme/infra/pulls/1", headers=known).status_code == 200


def test_addresses_in_answers_are_the_ones_the_caller_used(stand_in: StandIn, http: httpx.Client) -> None:
    local = stand_in.url.replace("127.0.0.1", "localhost")
    assert http.get("/repos/acme/infra").json()["url"] == f"{stand_in.url}/repos/acme/infra"
    assert http.get(f"{local}/repos/acme/infra").json()["url"] == f"{local}/repos/acme/infra"


def test_a_dispatch_tells_its_run(world: World, infra: Repository) -> None:
    world.add_workflow("acme/infra", "cleanup.yml", name="Cleanup", run_name="cleanup ${{ inputs.request_id }}")
    run = infra.get_workflow("cleanup.yml").create_dispatch(
        "main", {"request_id": "req_1"}, throw=True, return_run_details=True
    )
    known = infra.get_workflow_run(run.id)
    assert (known.display_title, known.event, known.head_branch) == ("cleanup req_1", "workflow_dispatch", "main")
    assert (known.actor.login, known.status) == ("maya", "queued")


@pytest.mark.parametrize("details", [RunDetails.SUPPORTED, RunDetails.IGNORED])
def test_a_dispatch_without_details_is_found_in_the_list(
    world: World, http: httpx.Client, get: Get, details: RunDetails
) -> None:
    world.run_details = details
    asks = {"return_run_details": True} if details is RunDetails.IGNORED else {}
    answer = http.post("/repos/acme/infra/actions/workflows/plan.yml/dispatches", json={"ref": "main", **asks})
    assert (answer.status_code, answer.content) == (204, b"")
    assert [run["display_title"] for run in get("/actions/workflows/plan.yml/runs")["workflow_runs"]] == ["Plan"]


@pytest.mark.parametrize(
    "body",
    [
        {"ref": "main", "return_run_details": True},
        {},
        {"ref": "main", "inputs": {str(number): "x" for number in range(26)}},
        {"ref": "main", "inputs": ["x"]},
    ],
)
def test_a_refused_dispatch_starts_nothing(world: World, http: httpx.Client, body: dict[str, Any]) -> None:
    world.run_details = RunDetails.REFUSED
    answer = http.post("/repos/acme/infra/actions/workflows/plan.yml/dispatches", json=body)
    assert answer.status_code == 422
    assert world.runs(world.repo("acme/infra")) == ()


def test_a_dispatched_run_shows_up_late(world: World, infra: Repository, get: Get, clock: Any) -> None:
    world.dispatch_delay = timedelta(seconds=30)
    run = infra.get_workflow("plan.yml").create_dispatch("main", {}, throw=True, return_run_details=True)
    assert get("/actions/runs")["total_count"] == 0
    with pytest.raises(UnknownObjectException):
        infra.get_workflow_run(run.id).update()
    clock.advance(seconds=30)
    assert infra.get_workflow_run(run.id).status == "queued"


def test_dispatched_runs_finish_by_themselves_at_the_given_pace_and_no_others(
    world: World, get: Get, http: httpx.Client, clock: Any
) -> None:
    world.pace = Pace(queued=timedelta(seconds=3), running=timedelta(seconds=10))
    mine = world.dispatch(world.workflows(world.repo("acme/infra"))[0], ref="main", inputs={}, actor="maya")
    other = world.add_run("acme/infra", "plan.yml")
    seen = []
    for _ in range(3):
        seen.append(get(f"/actions/runs/{mine.id}")["status"])
        clock.advance(seconds=5)
    assert seen == ["queued", "in_progress", "in_progress"]
    done = get(f"/actions/runs/{mine.id}")
    assert (done["conclusion"], done["updated_at"]) == ("success", "2026-11-20T10:00:13Z")
    assert get(f"/actions/runs/{mine.id}/jobs")["jobs"][0]["conclusion"] == "success"
    assert world.run(other.id).latest.status == "queued"


def test_without_a_pace_nothing_moves_by_itself(world: World, get: Get, clock: Any) -> None:
    run = world.dispatch(world.workflows(world.repo("acme/infra"))[0], ref="main", inputs={}, actor="maya")
    clock.advance(days=1)
    assert get(f"/actions/runs/{run.id}")["status"] == "queued"


def test_two_worlds_that_were_told_the_same_answer_the_same(clock: Any) -> None:
    def told() -> tuple[Any, ...]:
        world = World(clock=clock)
        world.add_repo("acme/infra", workflows={"plan.yml": "Plan"})
        return (world.add_pull("acme/infra", branch="request/req_1"), world.add_run("acme/infra", "plan.yml"))

    assert told() == told()


def test_many_callers_at_once_lose_nothing(world: World, http: httpx.Client) -> None:
    path = "/repos/acme/infra/actions/workflows/plan.yml/dispatches"
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(http.post, path, json={"ref": "main", "return_run_details": True}) for _ in range(80)]
    ids = {call.result().json()["workflow_run_id"] for call in asked}
    assert len(ids) == len(world.runs(world.repo("acme/infra"))) == 80
    assert sorted(run.number for run in world.runs(world.repo("acme/infra"))) == list(range(1, 81))
    assert world.quota.budget("maya").used == 80


def test_the_port_is_free_again_at_the_end(world: World) -> None:
    with serve(world) as first:
        port = httpx.URL(first.url).port
    assert port is not None
    with serve(world, port=port) as second:
        assert second.url == first.url
        with pytest.raises(OSError, match="in use"), serve(world, port=port):
            pass
