"""`POST /api/github/webhook` over HTTP: signed or refused, handled once, and lost never."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.builders import REQUEST_ID, ago, request, run, with_pull, with_run
from tests.core.saying import having
from tests.doors.door_setup import Door, Reality, use, wait_until
from tests.fakes import OUTAGE, InMemory
from tests.webhook_payloads import SECRET, merged_payload, review_payload, run_payload, sign
from tfpilot.core.document import render_document
from tfpilot.edges import GitHubRules
from tfpilot.http import webhook

PATH = "/api/github/webhook"
EXAMPLES = sorted((Path(__file__).parents[1] / "data" / "webhooks").glob("*.json"))
MEGABYTE = 1024 * 1024


def post(door: Door, event: str, payload: Any, *, guid: str | None = None, **headers: str | None) -> httpx.Response:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    sent = {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": guid or str(uuid.uuid4()),
        "X-Hub-Signature-256": sign(body),
        "Content-Type": "application/json",
        **headers,
    }
    named = {name: value for name, value in sent.items() if value is not None}
    return door.client.post(f"{door.url}{PATH}", content=body, headers=named)


def test_a_delivery_needs_no_bearer_and_is_told_what_became_of_it(door: Door, memory: InMemory):
    memory.store(with_run(with_pull(request()), "plan", **run(101, "queued")))
    answer = post(door, "workflow_run", run_payload())
    assert answer.status_code == 200
    told = answer.json()
    assert (told["success"], told["decision"], told["requestId"], told["kind"]) == (True, "applied", REQUEST_ID, "plan")
    assert memory.stored(REQUEST_ID)["planRun"]["conclusion"] == "success"


def test_the_same_delivery_again_is_a_duplicate(door: Door, memory: InMemory):
    memory.store(with_pull(request()))
    assert post(door, "pull_request", merged_payload(), guid="guid-1").status_code == 200
    again = post(door, "pull_request", merged_payload(), guid="guid-1")
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert memory.stored(REQUEST_ID)["version"] == 2


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_githubs_own_examples_are_accepted(door: Door, memory: InMemory, example: Path):
    event = example.name.partition(".")[0]
    answer = post(door, event, example.read_bytes(), guid="guid-1")
    assert answer.status_code == (200 if event == "ping" else 202)
    assert post(door, event, example.read_bytes(), guid="guid-1").json()["duplicate"] is True


def test_events_that_are_not_handled_are_answered_202_and_leave_nothing(door: Door, memory: InMemory):
    assert post(door, "push", {"ref": "refs/heads/main"}).status_code == 202
    assert memory.bucket.contents() == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Hub-Signature-256": None}, 401),
        ({"X-Hub-Signature-256": "sha256=" + "0" * 64}, 401),
        ({"X-Hub-Signature-256": None, "X-Hub-Signature": "sha1=" + "0" * 40}, 401),
        ({"X-Hub-Signature-256": None, "Authorization": "Bearer ghp_opslead0123456789"}, 401),
        ({"X-GitHub-Delivery": None}, 400),
        ({"X-GitHub-Delivery": "../../requests/x"}, 400),
        ({"X-GitHub-Event": None}, 400),
    ],
)
def test_a_forged_unsigned_or_incomplete_delivery_changes_nothing(door, memory, headers, status):
    memory.store(with_pull(request()))
    before = memory.bucket.contents()
    kept = {name: value for name, value in headers.items() if name != "X-GitHub-Event"}
    event = "" if "X-GitHub-Event" in headers else "pull_request"
    answer = post(door, event, merged_payload(), **kept)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert answer.json()["hint"]
    assert memory.bucket.contents() == before


def test_a_signature_of_bytes_that_are_no_text_is_refused_as_any_other(door: Door, memory: InMemory):
    body = b"{}"
    headers = [(b"X-GitHub-Event", b"ping"), (b"X-GitHub-Delivery", b"g-1"), (b"X-Hub-Signature-256", b"sha256=\xe9")]
    assert door.client.post(f"{door.url}{PATH}", content=body, headers=headers).status_code == 401


def test_an_oversized_delivery_changes_nothing_whether_or_not_it_says_how_large_it_is(door: Door, memory: InMemory):
    large = b'"' + b"x" * (5 * MEGABYTE) + b'"'
    assert post(door, "ping", large).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * MEGABYTE

    with httpx.Client(timeout=30, verify=False) as client:
        try:
            answer = client.post(f"{door.url}{PATH}", content=pieces(), headers={"X-GitHub-Event": "ping"})
        except httpx.TransportError:
            pass  # the server hung up before everything was sent
        else:
            assert answer.status_code == 413
    assert memory.bucket.contents() == {}


def test_what_is_no_json_is_refused(door: Door, memory: InMemory):
    answer = post(door, "ping", b"payload=%7B%7D")
    assert (answer.status_code, "application/json" in answer.json()["hint"]) == (400, True)


def test_without_a_secret_the_door_stays_shut(door: Door, memory: InMemory):
    memory.rules = GitHubRules(workflow_files=memory.rules.workflow_files)
    use(memory)
    answer = post(door, "ping", {})
    assert (answer.status_code, "GITHUB_WEBHOOK_SECRET" in answer.json()["hint"]) == (503, True)


def test_while_storage_is_down_github_is_told_that_nothing_was_handled(door: Door, memory: InMemory):
    memory.store(with_pull(request()))
    memory.bucket.outage = OUTAGE
    assert post(door, "pull_request", merged_payload(), guid="guid-1").status_code == 503
    memory.bucket.outage = None
    assert post(door, "pull_request", merged_payload(), guid="guid-1").json()["decision"] == "applied"


def test_a_get_is_no_delivery(door: Door, memory: InMemory):
    assert door.get(PATH).status_code == 404


def test_a_delivery_that_takes_too_long_is_answered_503_in_time_and_handled_all_the_same(door, memory, monkeypatch):
    monkeypatch.setattr(webhook, "ANSWER_WITHIN_SECONDS", 0.05)
    memory.store(with_pull(request()))
    may_go_on = threading.Event()
    memory.bucket.interfere = lambda: may_go_on.wait(30)
    answer = post(door, "pull_request", merged_payload(), guid="guid-1")
    assert (answer.status_code, answer.json()["error"]) == (503, "The delivery is still being handled")
    may_go_on.set()
    wait_until(lambda: "ops/deliveries/guid-1.json" in memory.bucket.contents())
    assert memory.stored(REQUEST_ID)["mergedSha"] == "5ea1"


def test_github_does_not_wait_for_the_cleanup_after_a_destroy(door: Door, memory: InMemory):
    placed = request(targetFiles=["envs/dev/s3.tf"], targetEnvPath="envs/dev")
    running = with_run(placed, "destroy", **run(101, "queued"))
    memory.store(having({"github.destroyTriggeredAt": ago(minutes=11)}, running))
    may_go_on, start = threading.Event(), memory.workflows.answer

    def slowly(order):
        may_go_on.wait(30)
        return start(order)

    memory.workflows.answer = slowly
    answer = post(door, "workflow_run", run_payload(kind="destroy"))
    assert (answer.status_code, answer.json()["decision"]) == (200, "applied")
    may_go_on.set()
    wait_until(lambda: memory.stored(REQUEST_ID)["github"].get("cleanupDispatchStatus") == "dispatched")


def test_the_secret_and_the_body_never_reach_the_log(door: Door, memory: InMemory, capfd):
    post(door, "pull_request", {**merged_payload(), "token": "ghp_in_a_body_0123456789"})
    post(door, "pull_request", merged_payload(), **{"X-Hub-Signature-256": "sha256=beef"})
    told = capfd.readouterr()
    assert SECRET not in told.err + told.out
    assert "ghp_in_a_body" not in told.err + told.out


# --- on the real server


@pytest.fixture
def real(reality: Reality, monkeypatch: pytest.MonkeyPatch) -> Reality:
    """A real portal that believes webhooks, and takes the time that a busy machine needs."""
    monkeypatch.setattr(webhook, "ANSWER_WITHIN_SECONDS", 60)
    monkeypatch.setenv("GITHUB_WEBHOOK_SECRET", SECRET)
    reality.serve_portal()
    return reality


@pytest.mark.server
def test_of_24_deliveries_at_once_about_one_request_none_is_lost(door: Door, real: Reality):
    """Version check by GET then PUT: of 24 concurrent webhook events, 12 were lost, all answered 200."""
    real.store(with_pull(request()))
    reviews = [("pull_request_review", review_payload("approved", f"reviewer-{number}")) for number in range(20)]
    runs = [("workflow_run", run_payload(100 + number, kind)) for number, kind in enumerate(("plan", "apply"))]
    others = [("pull_request", merged_payload()), ("workflow_run", run_payload(300, "drift_plan"))]
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda told: post(door, *told), [*reviews, *runs, *others]))
    assert [answer.status_code for answer in answers] == [200] * 24
    stored = real.document()
    assert len(stored["approval"]["reviews"]) == len(stored["approval"]["approvers"]) == 20
    assert {kind: fact["runId"] for kind, fact in stored["github"]["workflows"].items()} == {
        "plan": 100,
        "apply": 101,
        "drift_plan": 300,
    }
    assert (stored["mergedSha"], stored["version"]) == ("5ea1", 25)
    assert len(real.keys(f"logs/{REQUEST_ID}/")) == 24
    assert len(real.keys("ops/deliveries/")) == 24
    assert real.keys("webhooks/github/run-index/") == [
        "webhooks/github/run-index/apply/run-101.json",
        "webhooks/github/run-index/drift_plan/run-300.json",
        "webhooks/github/run-index/plan/run-100.json",
    ]


@pytest.mark.server
def test_one_delivery_that_comes_24_times_at_once_is_applied_once(door: Door, real: Reality):
    real.store(with_pull(request()))
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: post(door, "pull_request", merged_payload(), guid="guid-1"), range(24)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert sum(answer.json().get("decision") == "applied" for answer in answers) == 1
    assert (real.document()["version"], len(real.keys(f"logs/{REQUEST_ID}/"))) == (2, 1)


@pytest.mark.server
def test_a_run_that_names_two_requests_at_once_gets_one_owner(door: Door, real: Reality):
    ids = [f"req_dev_s3_r{number}" for number in range(8)]
    real.store(*(request(each) for each in ids))
    payloads = [run_payload(101, "apply", display_title=f"Apply {each}") for each in ids]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda payload: post(door, "workflow_run", payload), payloads))
    assert all(answer.status_code in (200, 202) for answer in answers)
    owners = [each for each in ids if "applyRun" in real.document(each)]
    assert len(owners) == 1
    entry = json.loads(real.read("webhooks/github/run-index/apply/run-101.json") or b"")
    assert entry["requestId"] == owners[0]


@pytest.mark.server
def test_a_run_that_waits_and_its_claim_at_the_same_moment_always_meet(door: Door, real: Reality):
    for number in range(4):
        request_id, run_id = f"req_dev_s3_w{number}", 500 + number
        real.store({**having({"github.destroyTriggeredAt": ago(minutes=11)}), "id": request_id})
        entry = {
            "kind": "destroy",
            "runId": run_id,
            "requestId": request_id,
            "createdAt": ago(minutes=10),
            "expiresAt": "2026-05-31T11:50:00.000Z",
        }
        nameless = run_payload(run_id, "destroy", display_title="Terraform", head_branch="main")
        key = f"webhooks/github/run-index/destroy/run-{run_id}.json"
        with ThreadPoolExecutor(2) as pool:
            answered = pool.submit(post, door, "workflow_run", nameless)
            pool.submit(real.write, key, render_document(entry)).result()
            decision = answered.result().json()["decision"]
        waits = real.keys(f"ops/parked/destroy/run-{run_id}/")
        stored = real.document(request_id)
        assert (decision, bool(waits), "destroyRun" in stored) in {("applied", False, True), ("parked", True, False)}
