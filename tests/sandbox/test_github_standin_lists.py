"""Lists of the stand-in page, filter and end as GitHub's do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from github.Repository import Repository

from tfpilot.sandbox.github import Lists, World

Get = Callable[..., Any]


def run_ids(listed: Any) -> list[int]:
    return [run["id"] for run in listed["workflow_runs"]]


def test_the_real_client_pages_through_all_reviews(world: World, infra: Repository) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    for number in range(65):
        world.add_review("acme/infra", 1, login=f"reviewer{number}", state="COMMENTED")
    world.clear_calls()
    assert [review.user.login for review in infra.get_pull(1).get_reviews()] == [f"reviewer{n}" for n in range(65)]
    assert [call.path for call in world.calls] == [
        "/repos/acme/infra/pulls/1/reviews",
        "/repos/acme/infra/pulls/1/reviews",
        "/repos/acme/infra/pulls/1/reviews",
    ]


@pytest.mark.parametrize(("per_page", "expected"), [({}, 30), ({"per_page": 100}, 100), ({"per_page": 500}, 100)])
def test_a_page_has_thirty_items_and_never_more_than_a_hundred(
    world: World, get: Get, per_page: dict[str, int], expected: int
) -> None:
    for _ in range(101):
        world.add_run("acme/infra", "plan.yml")
    assert len(get("/actions/runs", **per_page)["workflow_runs"]) == expected


def test_links_lead_to_the_pages_around_and_keep_the_filters(world: World, http: httpx.Client) -> None:
    for _ in range(3):
        world.add_pull("acme/infra", branch="request/req_1")
    links = http.get("/repos/acme/infra/pulls", params={"per_page": 1, "page": 2, "state": "all"}).links
    assert {rel: httpx.URL(link["url"]).params["page"] for rel, link in links.items()} == {
        "prev": "1",
        "first": "1",
        "next": "3",
        "last": "3",
    }
    assert httpx.URL(links["next"]["url"]).params["state"] == "all"
    assert http.get(links["next"]["url"]).json()[0]["number"] == 1


def test_pull_requests_are_found_by_owner_and_branch(world: World, infra: Repository) -> None:
    world.add_pull("acme/infra", branch="cleanup/req_1")
    world.close_pull("acme/infra", 1)
    world.add_pull("acme/infra", branch="cleanup/req_2")
    world.add_pull("acme/infra", branch="cleanup/req_1")
    found = infra.get_pulls(state="all", head="acme:cleanup/req_1")
    assert [(pull.number, pull.state) for pull in found] == [(3, "open"), (1, "closed")]
    assert not list(infra.get_pulls(state="all", head="somebody:cleanup/req_1"))


def test_a_branch_without_its_owner_filters_nothing(world: World, infra: Repository) -> None:
    world.add_pull("acme/infra", branch="cleanup/req_1")
    world.add_pull("acme/infra", branch="cleanup/req_2")
    assert [pull.number for pull in infra.get_pulls(state="all", head="cleanup/req_1")] == [2, 1]


def test_pull_requests_are_filtered_and_sorted(world: World, get: Get, clock: Any) -> None:
    for base in ("main", "main", "next"):
        world.add_pull("acme/infra", branch="request/req_1", base=base)
        clock.advance(minutes=1)
    world.close_pull("acme/infra", 1)
    assert [pull["number"] for pull in get("/pulls")] == [3, 2]
    assert [pull["number"] for pull in get("/pulls", state="closed")] == [1]
    assert [pull["number"] for pull in get("/pulls", state="all", base="main")] == [2, 1]
    assert [pull["number"] for pull in get("/pulls", state="all", direction="asc")] == [1, 2, 3]
    assert [pull["number"] for pull in get("/pulls", state="all", sort="updated", direction="desc")] == [1, 3, 2]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [3, 2, 1]),
        ({"branch": "request/req_1"}, [1]),
        ({"event": "workflow_dispatch"}, [2]),
        ({"actor": "NOOR"}, [3]),
        ({"status": "in_progress"}, [3]),
        ({"status": "failure"}, [2]),
        ({"status": "completed"}, [2, 1]),
        ({"head_sha": "c" * 40}, [3]),
        ({"check_suite_id": "2"}, [2]),
        ({"created": ">=2026-11-20T10:05:00Z"}, [3, 2]),
        ({"created": ">2026-11-20T10:05:00Z"}, [3]),
        ({"created": "<2026-11-20T10:05:00Z"}, [1]),
        ({"created": "<=2026-11-20T10:05:00Z"}, [2, 1]),
        ({"created": "2026-11-20T10:00:00Z..2026-11-20T10:05:00Z"}, [2, 1]),
        ({"created": "2026-11-20T10:05:00+00:00..*"}, [3, 2]),
        ({"created": "2026-11-20"}, [3, 2, 1]),
        ({"created": "2026-11-19"}, []),
        ({"event": "workflow_dispatch", "branch": "request/req_1"}, []),
    ],
)
def test_runs_are_filtered_and_come_newest_first(
    world: World, get: Get, clock: Any, query: dict[str, str], expected: list[int]
) -> None:
    world.add_run("acme/infra", "plan.yml", run_id=1, branch="request/req_1", conclusion="success")
    clock.advance(minutes=5)
    world.add_run("acme/infra", "plan.yml", run_id=2, event="workflow_dispatch", conclusion="failure")
    clock.advance(minutes=5)
    world.add_run("acme/infra", "plan.yml", run_id=3, status="in_progress", actor="noor", head_sha="c" * 40)
    world.add_run("acme/infra", "apply.yml", run_id=4)
    listed = get("/actions/workflows/plan.yml/runs", **query)
    assert run_ids(listed) == expected
    assert listed["total_count"] == len(expected)


def test_a_time_that_is_none_is_refused(http: httpx.Client) -> None:
    assert http.get("/repos/acme/infra/actions/runs", params={"created": ">=yesterday"}).status_code == 422


def test_a_filtered_list_of_runs_ends_after_a_thousand_whatever_its_total_says(world: World, get: Get) -> None:
    for _ in range(1001):
        world.add_run("acme/infra", "plan.yml", branch="main")
    pages = {"per_page": 100, "page": 11}
    filtered = get("/actions/workflows/plan.yml/runs", branch="main", **pages)
    assert (run_ids(filtered), filtered["total_count"]) == ([], 1001)
    assert len(run_ids(get("/actions/workflows/plan.yml/runs", **pages))) == 1


def test_a_run_shows_only_open_pull_requests_and_none_where_they_are_not_wanted(world: World, get: Get) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    run = world.add_run("acme/infra", "plan.yml", branch="request/req_1")
    assert [pull["number"] for pull in get(f"/actions/runs/{run.id}")["pull_requests"]] == [1]
    assert get("/actions/runs", exclude_pull_requests="true")["workflow_runs"][0]["pull_requests"] == []
    world.merge_pull("acme/infra", 1)
    assert get(f"/actions/runs/{run.id}")["pull_requests"] == []


def test_jobs_are_those_of_the_latest_attempt_unless_all_are_wanted(world: World, get: Get) -> None:
    run = world.add_run("acme/infra", "plan.yml", conclusion="failure")
    world.add_job(run.id, name="first", conclusion="failure")
    world.rerun(run.id)
    world.add_job(run.id, name="second", status="in_progress")
    path = f"/actions/runs/{run.id}"

    def names(listed: Any) -> list[str]:
        return [job["name"] for job in listed["jobs"]]

    assert names(get(f"{path}/jobs")) == ["second"]
    assert names(get(f"{path}/jobs", filter="all")) == ["first", "second"]
    assert names(get(f"{path}/attempts/1/jobs")) == ["first"]


def test_a_pending_review_is_seen_by_its_author_alone(world: World, get: Get) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    world.add_review("acme/infra", 1, login="maya", state="PENDING")
    world.add_review("acme/infra", 1, login="noor", state="PENDING")
    assert [review["user"]["login"] for review in get("/pulls/1/reviews")] == ["maya"]


class TestLateLists:
    """Lists that are behind, and out of order within a second."""

    def start(self, world: World, count: int) -> list[int]:
        workflow = world.find_workflow(world.repo("acme/infra"), "plan.yml")
        assert workflow is not None
        return [world.dispatch(workflow, ref="main", inputs={}, actor="maya").id for _ in range(count)]

    def test_a_dispatched_run_is_in_no_list_before_so_many_were_asked_for(self, world: World, get: Get) -> None:
        world.lists = Lists(late_calls=2)
        world.add_run("acme/infra", "plan.yml", run_id=1)
        (late,) = self.start(world, 1)
        assert [run_ids(get("/actions/workflows/plan.yml/runs")) for _ in range(3)] == [[1], [1], [late, 1]]

    def test_a_dispatched_run_is_in_no_list_before_so_much_time_has_passed(
        self, world: World, get: Get, clock: Any
    ) -> None:
        world.lists = Lists(late=timedelta(seconds=20))
        (late,) = self.start(world, 1)
        clock.advance(seconds=19)
        assert run_ids(get("/actions/runs")) == []
        clock.advance(seconds=1)
        assert run_ids(get("/actions/runs")) == [late]

    def test_a_run_that_is_in_no_list_yet_is_there_by_its_id(self, world: World, get: Get) -> None:
        world.lists = Lists(late=timedelta(seconds=20))
        (late,) = self.start(world, 1)
        assert get(f"/actions/runs/{late}")["status"] == "queued"

    def test_with_a_seed_a_later_run_may_be_seen_first(self, world: World, get: Get) -> None:
        world.lists = Lists(late_calls=10, seed=4)
        started = self.start(world, 8)
        seen: list[int] = []
        for _ in range(11):
            seen += sorted(set(run_ids(get("/actions/runs"))) - set(seen))
        assert sorted(seen) == started
        assert seen != started

    def test_with_a_seed_runs_of_one_second_come_in_any_order_but_later_ones_before_them(
        self, world: World, get: Get, clock: Any
    ) -> None:
        world.lists = Lists(seed=4)
        first = self.start(world, 6)
        clock.advance(seconds=1)
        second = self.start(world, 6)
        listed = run_ids(get("/actions/runs"))
        assert (set(listed[:6]), set(listed[6:])) == (set(second), set(first))
        assert listed != sorted(listed, reverse=True)
        assert run_ids(get("/actions/runs")) == listed
