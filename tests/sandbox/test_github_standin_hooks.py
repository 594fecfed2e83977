"""Webhooks leave the stand-in signed, once, or are lost when they are told to."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tfpilot.sandbox.github import Delivery, Hook, World, posting_to

SECRET = "s3cret"


@pytest.fixture
def told() -> list[Delivery]:
    return []


@pytest.fixture
def hook(world: World, told: list[Delivery]) -> Hook:
    return Hook(world, told.append, secret=SECRET)


@pytest.fixture
def received() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """The address of a receiver, and the headers and bodies that arrive there."""
    arrived: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            arrived.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_line: Any) -> None:
            """Nothing: what arrived is what the test looks at."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api/github/webhook", arrived
        server.shutdown()
        thread.join()


def is_signed(headers: Any, body: bytes) -> bool:
    expected = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return bool(headers["x-hub-signature-256"] == f"sha256={expected}")


def test_a_merge_is_told_with_the_pull_request_as_it_is_now(world: World, hook: Hook, told: list[Delivery]) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    world.merge_pull("acme/infra", 1, by="maya")
    merged = told[-1].payload
    assert (merged["action"], merged["number"], merged["pull_request"]["merged"]) == ("closed", 1, True)
    assert (merged["sender"]["login"], merged["repository"]["full_name"]) == ("maya", "acme/infra")


def test_review_states_are_told_in_lower_case(world: World, hook: Hook, told: list[Delivery]) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    world.add_review("acme/infra", 1, login="maya", state="CHANGES_REQUESTED")
    assert told[-1].payload["review"]["state"] == "changes_requested"
    assert world.reviews(world.pull("acme/infra", 1))[0].state == "CHANGES_REQUESTED"


def test_a_pending_review_is_told_to_nobody(world: World, hook: Hook, told: list[Delivery]) -> None:
    world.add_pull("acme/infra", branch="request/req_1")
    world.add_review("acme/infra", 1, login="maya", state="PENDING")
    assert [delivery.event for delivery in told] == ["pull_request"]


def test_a_rerun_is_told_as_the_next_attempt_of_the_same_run(world: World, hook: Hook, told: list[Delivery]) -> None:
    run = world.add_run("acme/infra", "plan.yml", conclusion="failure")
    world.rerun(run.id, actor="maya")
    shown = told[-1].payload["workflow_run"]
    assert (told[-1].payload["action"], shown["id"], shown["run_attempt"]) == ("requested", run.id, 2)


def test_deliveries_are_posted_signed_and_numbered(
    world: World, received: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    url, arrived = received
    with posting_to(url) as sink:
        Hook(world, sink, secret=SECRET)
        world.add_pull("acme/infra", branch="request/req_1")
        world.close_pull("acme/infra", 1)
    assert [json.loads(body)["action"] for _, body in arrived] == ["opened", "closed"]
    assert all(is_signed(headers, body) for headers, body in arrived)
    assert {headers["x-github-event"] for headers, _ in arrived} == {"pull_request"}
    assert len({headers["x-github-delivery"] for headers, _ in arrived}) == 2


def test_dropped_deliveries_never_arrive_and_later_ones_do(world: World, hook: Hook, told: list[Delivery]) -> None:
    hook.drop = True
    world.add_pull("acme/infra", branch="request/req_1")
    hook.drop = False
    world.close_pull("acme/infra", 1)
    assert [delivery.payload["action"] for delivery in told] == ["closed"]


def test_a_receiver_that_is_gone_loses_the_delivery_and_nothing_else(world: World) -> None:
    with posting_to("http://127.0.0.1:9/") as sink:
        Hook(world, sink, secret=SECRET)
        world.add_pull("acme/infra", branch="request/req_1")
    assert world.pull("acme/infra", 1).is_open
