"""Every fault reaches the real client the way GitHub's own failures do."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import pytest
import requests
from github import Auth, Github
from github.GithubException import (
    BadAttributeException,
    BadCredentialsException,
    GithubException,
    RateLimitExceededException,
    UnknownObjectException,
)
from github.Repository import Repository

from tfpilot.sandbox.github import Fault, FaultKind, StandIn, World, serve


@pytest.fixture(autouse=True)
def pulls(world: World) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    world.add_pull("acme/infra", branch="request/req_2")


def title(infra: Repository) -> str:
    return infra.get_pull(1).title


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault(FaultKind.STATUS, status=401), BadCredentialsException),
        (Fault(FaultKind.STATUS, status=403), GithubException),
        (Fault(FaultKind.STATUS, status=404), UnknownObjectException),
        (Fault(FaultKind.STATUS, status=500), GithubException),
        (Fault(FaultKind.STATUS, status=502), GithubException),
        (Fault(FaultKind.PRIMARY_LIMIT), RateLimitExceededException),
        (Fault(FaultKind.SECONDARY_LIMIT), RateLimitExceededException),
        (Fault(FaultKind.SECONDARY_LIMIT, status=429), GithubException),
        (Fault(FaultKind.HANG), requests.ReadTimeout),
        (Fault(FaultKind.SLOW, delay_s=30), requests.ReadTimeout),
        (Fault(FaultKind.DISCONNECT), requests.ConnectionError),
        (Fault(FaultKind.EMPTY), TypeError),
        (Fault(FaultKind.TRUNCATED), json.JSONDecodeError),
        (Fault(FaultKind.FIELDS, fields={"title": 7}), BadAttributeException),
    ],
    ids=lambda given: f"{given.kind} {given.status}" if isinstance(given, Fault) else None,
)
def test_a_fault_is_what_the_client_meets(
    world: World, infra: Repository, fault: Fault, raised: type[Exception]
) -> None:
    world.faults.add(fault)
    with pytest.raises(raised):
        title(infra)
    world.faults.clear()
    assert title(infra) == "request/req_1"


def test_a_sign_in_page_reads_as_an_object_of_nothing(world: World, infra: Repository) -> None:
    world.faults.add(Fault(FaultKind.HTML))
    assert title(infra) is None


def test_another_objects_answer_has_another_number(world: World, infra: Repository) -> None:
    world.faults.add(Fault(FaultKind.INSTEAD, path="*/pulls/1", instead="/repos/acme/infra/pulls/2"))
    assert title(infra) == "request/req_2"


def test_null_where_github_has_a_value(world: World, infra: Repository) -> None:
    world.faults.add(Fault(FaultKind.FIELDS, fields={"head.sha": None, "user.login": "somebody"}))
    pull = infra.get_pull(1)
    assert (pull.head.sha, pull.user.login, pull.head.ref) == (None, "somebody", "request/req_1")


def test_fields_of_every_item_of_a_list(world: World, infra: Repository) -> None:
    world.faults.add(Fault(FaultKind.FIELDS, path="*/pulls", fields={"*.title": "x", "0.body": "first"}))
    assert [(pull.title, pull.body) for pull in infra.get_pulls()] == [("x", "first"), ("x", None)]


def test_a_dripping_answer_is_complete_in_the_end(world: World, http: httpx.Client) -> None:
    world.faults.add(Fault(FaultKind.DRIP, path="/rate_limit"))
    with http.stream("GET", "/rate_limit") as answer:
        parts = list(answer.iter_raw())
    assert json.loads(b"".join(parts))["rate"]["limit"] == 5000


def test_limits_say_how_long_to_wait(world: World, http: httpx.Client, clock: Any) -> None:
    world.faults.add(Fault(FaultKind.PRIMARY_LIMIT, times=1, retry_after_s=600))
    world.faults.add(Fault(FaultKind.SECONDARY_LIMIT, times=1, retry_after_s=30))
    world.faults.add(Fault(FaultKind.SECONDARY_LIMIT, times=1, retry_after_s=None))
    primary, secondary, silent = (http.get("/user") for _ in range(3))
    assert primary.headers["x-ratelimit-remaining"] == "0"
    assert primary.headers["x-ratelimit-reset"] == str(int(clock.now.timestamp()) + 600)
    assert (secondary.headers["retry-after"], secondary.headers["x-ratelimit-remaining"]) == ("30", "5000")
    assert "retry-after" not in silent.headers


def test_a_fault_can_say_its_own_words_and_headers(world: World, http: httpx.Client) -> None:
    world.faults.add(Fault(FaultKind.STATUS, status=410, message="Gone", headers={"x-github-sso": "required"}))
    answer = http.get("/user")
    assert (answer.status_code, answer.json()["message"]) == (410, "Gone")
    assert answer.headers["x-github-sso"] == "required"


def test_a_fault_meets_only_its_method_and_path_and_only_so_often(world: World, http: httpx.Client) -> None:
    world.faults.add(Fault(FaultKind.STATUS, method="GET", path="*/pulls/*", status=502, times=2))
    paths = ["/user", "/repos/acme/infra/pulls/1", "/repos/acme/infra/pulls/1/reviews", "/repos/acme/infra/pulls/1"]
    assert [http.get(path).status_code for path in paths] == [200, 502, 502, 200]


def test_the_first_fault_that_meets_a_call_happens(world: World, http: httpx.Client) -> None:
    world.faults.add(Fault(FaultKind.STATUS, status=502, times=1))
    world.faults.add(Fault(FaultKind.STATUS, status=404))
    assert [http.get("/user").status_code for _ in range(2)] == [502, 404]


@pytest.mark.parametrize(
    ("fault", "runs"),
    [
        pytest.param(Fault(FaultKind.HANG, method="POST", acts=True), 1, id="the run exists"),
        pytest.param(Fault(FaultKind.HANG, method="POST"), 0, id="nothing happened"),
    ],
)
def test_a_dispatch_without_an_answer_has_started_a_run_or_not(
    world: World, infra: Repository, fault: Fault, runs: int
) -> None:
    world.faults.add(fault)
    with pytest.raises(requests.ReadTimeout):
        infra.get_workflow("plan.yml").create_dispatch("main", {}, throw=True)
    assert len(world.runs(world.repo("acme/infra"))) == runs
    assert [call.method for call in world.calls] == ["POST"]


def test_the_stand_in_stops_while_a_call_hangs(world: World) -> None:
    world.faults.add(Fault(FaultKind.HANG, method="PUT", acts=True))
    merged = Event()
    world.subscribe(lambda change: merged.set())
    with ThreadPoolExecutor() as others:
        with serve(world) as stand_in:
            url, who = f"{stand_in.url}/repos/acme/infra/pulls/1/merge", {"authorization": "Bearer ghp_maya"}
            hanging = others.submit(httpx.put, url, headers=who, timeout=None)
            assert merged.wait(timeout=30)
        with pytest.raises(httpx.RemoteProtocolError):
            hanging.result()
    with pytest.raises(httpx.ConnectError):
        httpx.get(stand_in.url)


class TestTool:
    """`/_standin/faults`, for tests in a browser."""

    def put(self, stand_in: StandIn, fault: Any, key: str) -> httpx.Response:
        return httpx.post(f"{stand_in.url}/_standin/faults", json=fault, headers={"x-standin-key": key})

    def test_puts_faults_in_force_and_ends_them(self, stand_in: StandIn, http: httpx.Client, world: World) -> None:
        fault = {"kind": "status", "path": "/user", "status": 502, "message": "Unicorn"}
        assert self.put(stand_in, fault, stand_in.key).status_code == 204
        assert http.get("/user").json()["message"] == "Unicorn"
        ended = httpx.delete(f"{stand_in.url}/_standin/faults", headers={"x-standin-key": stand_in.key})
        assert (ended.status_code, http.get("/user").status_code) == (204, 200)
        assert [call.path for call in world.calls] == ["/user", "/user"]

    def test_needs_the_key(self, stand_in: StandIn, http: httpx.Client) -> None:
        assert self.put(stand_in, {"kind": "hang"}, "guessed").status_code == 403
        assert http.get("/user").status_code == 200

    @pytest.mark.parametrize("fault", [{}, {"kind": "gremlin"}, {"kind": "status", "colour": 1}, {"kind": 5}])
    def test_refuses_what_is_no_fault(self, stand_in: StandIn, fault: Any) -> None:
        assert self.put(stand_in, fault, stand_in.key).status_code == 422

    @pytest.mark.parametrize("body", [b"{", b"[]"])
    def test_refuses_what_is_no_object(self, stand_in: StandIn, body: bytes) -> None:
        headers = {"x-standin-key": stand_in.key}
        assert httpx.post(f"{stand_in.url}/_standin/faults", content=body, headers=headers).status_code == 400


def test_the_usual_client_does_not_repeat_a_post_it_was_not_told_to(world: World, stand_in: StandIn) -> None:
    world.faults.add(Fault(FaultKind.STATUS, method="POST", status=502))
    options = {"retry": None, "seconds_between_writes": None}
    with Github(base_url=stand_in.url, auth=Auth.Token("ghp_maya"), lazy=True, **options) as github:
        workflow = github.get_repo("acme/infra").get_workflow("plan.yml")
        with pytest.raises(GithubException):
            workflow.create_dispatch("main", {}, throw=True)
    assert len(world.calls) == 1
