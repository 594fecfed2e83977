"""When GitHub fails: what HTTP and the command say, what is kept, and that nothing is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import REQUEST_ID
from tests.doors.door_setup import Door, Reality, Tfpilot, json_lines
from tfpilot.operations import gathering
from tfpilot.sandbox.github import Fault, FaultKind

pytestmark = pytest.mark.server

REPO_CALLS = "/repos/*"
PULL = "/repos/acme/infra/pulls/7"
REVIEWS = "*/pulls/7/reviews"
PLAN_RUNS = "*/actions/workflows/plan.yml/runs"
"""Where a repair learns of the plan run, and of one that a later push started."""
ASKED = ("pull", "reviews", "cleanup_pull", "plan")
NOT_ASKED = dict.fromkeys(("apply", "destroy", "cleanup", "drift_plan"), "not asked")
ALL_GOOD = {"pull": "ok", "reviews": "ok", "cleanup_pull": "not found", "plan": "ok", **NOT_ASKED}
WRONG_TYPES = (
    Fault(FaultKind.FIELDS, path=PULL, fields={"number": "seven"}),
    Fault(FaultKind.FIELDS, path=REVIEWS, fields={"*.user": ["tom-r"], "*.state": 3}),
    Fault(FaultKind.FIELDS, path=PLAN_RUNS, fields={"workflow_runs.*.id": {"n": 1}}),
    Fault(FaultKind.INSTEAD, path="/repos/acme/infra/pulls", instead="/repos/acme/infra"),
)


@pytest.fixture
def stuck(reality: Reality, door: Door) -> Reality:
    """A portal on a request whose plan GitHub knows to be over. Whose the token is was asked a moment ago."""
    reality.stuck_request()
    reality.serve_portal()
    assert door.get("/api/requests").json()["total"] == 1
    return reality


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync asks GitHub for at most a moment."""
    monkeypatch.setattr(gathering, "DEADLINE", timedelta(seconds=1))


def refused(answer: Any) -> str:
    """What a repair says that learned nothing: not a success, with what to do."""
    assert answer.status_code == 503, answer.text
    assert answer.json()["success"] is False
    assert answer.json()["hint"]
    return answer.json()["error"]


# GitHub fails altogether

MEMO = f"ops/checked/{REQUEST_ID}.json"
"""Remembers that GitHub was asked in vain, and nothing else is written."""
FAILURES = {
    "401": ((Fault(FaultKind.STATUS, path=REPO_CALLS, status=401, message="Bad credentials"),), "unauthorized"),
    "403": (
        (Fault(FaultKind.STATUS, path=REPO_CALLS, status=403, message="Resource not accessible"),),
        "forbidden",
    ),
    "404": ((Fault(FaultKind.STATUS, path=REPO_CALLS, status=404, message="Not Found"),), "forbidden"),
    "422": ((Fault(FaultKind.STATUS, path=REPO_CALLS, status=422, message="Unprocessable"),), "failed"),
    "HTML": ((Fault(FaultKind.HTML, path=REPO_CALLS),), "malformed"),
    "empty": ((Fault(FaultKind.EMPTY, path=REPO_CALLS),), "malformed"),
    "truncated": ((Fault(FaultKind.TRUNCATED, path=REPO_CALLS),), "malformed"),
    "wrong types": (WRONG_TYPES, "malformed"),
    "another object": ((Fault(FaultKind.INSTEAD, path=REPO_CALLS, instead="/user"),), "malformed"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_repair_that_learns_nothing_fails_by_every_door_names_each_fact_and_touches_nothing(
    name: str, door: Door, stuck: Reality, tfpilot: Tfpilot
):
    faults, outcome = FAILURES[name]
    before, keys = stuck.content(), stuck.keys()
    for fault in faults:
        stuck.world.faults.add(fault)
    for answer in (door.repair(), door.repair(dry_run=True)):
        error = refused(answer)
        assert all(f"{fact}: {outcome}" in error for fact in ASKED)
        assert "retry-after" not in answer.headers
    result = tfpilot("sync", REQUEST_ID, "--repair", "--json")
    assert result.exit_code == 1
    (told,) = json_lines(result)
    assert (told["id"], told["success"]) == (REQUEST_ID, False)
    assert f"plan: {outcome}" in told["error"]
    assert stuck.content() == before
    assert set(stuck.keys()) - set(keys) == {MEMO}
    stuck.world.faults.clear()
    assert door.repair().json()["request"]["status"] == "approved"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.PRIMARY_LIMIT, path=REPO_CALLS, retry_after_s=90),
        Fault(FaultKind.SECONDARY_LIMIT, path=REPO_CALLS, status=403, retry_after_s=90),
        Fault(FaultKind.SECONDARY_LIMIT, path=REPO_CALLS, status=429, retry_after_s=90),
    ],
    ids=["primary", "secondary 403", "secondary 429"],
)
@pytest.mark.usefixtures("hasty_retries")
def test_a_rate_limit_is_told_remembered_for_everybody_and_over_when_github_says(
    fault: Fault, door: Door, stuck: Reality, tfpilot: Tfpilot
):
    before = stuck.content()
    stuck.world.faults.add(fault)
    answer = door.repair()
    assert "rate limited" in refused(answer)
    assert 90 <= int(answer.headers["retry-after"]) <= 92
    assert 89_000 < answer.json()["retryAfterMs"] < 92_000
    assert stuck.keys("webhooks/github/ratelimit/") == ["webhooks/github/ratelimit/acme_infra.json"]

    stuck.world.faults.clear()
    stuck.world.clear_calls()
    again = door.repair()
    assert "rate limited" in refused(again)
    assert int(again.headers["retry-after"]) <= 92
    assert tfpilot("sync", REQUEST_ID, "--repair").exit_code == 1
    assert [call.path for call in stuck.world.calls if call.path.startswith("/repos/")] == []
    assert stuck.content() == before

    stuck.clock.advance(seconds=93)
    assert door.repair().json()["request"]["status"] == "approved"


def test_a_preview_under_a_rate_limit_remembers_nothing(door: Door, stuck: Reality):
    keys = stuck.keys()
    stuck.world.faults.add(Fault(FaultKind.SECONDARY_LIMIT, path=REPO_CALLS, retry_after_s=90))
    answer = door.repair(dry_run=True)
    assert "rate limited" in refused(answer)
    assert answer.headers["retry-after"]
    assert stuck.keys() == keys


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.DRIP])
def test_github_that_does_not_answer_in_time_is_told_as_such(
    kind: FaultKind, door: Door, stuck: Reality, impatient: None
):
    before = stuck.content()
    stuck.world.faults.add(Fault(kind, path=REPO_CALLS, delay_s=3 if kind is FaultKind.DRIP else 0))
    error = refused(door.repair())
    assert all(f"{fact}: timeout" in error for fact in ASKED)
    assert stuck.content() == before


@pytest.mark.parametrize(
    "fault",
    [Fault(FaultKind.DISCONNECT, path=REPO_CALLS), Fault(FaultKind.STATUS, path=REPO_CALLS, status=502)],
    ids=["disconnect", "502"],
)
@pytest.mark.usefixtures("hasty_retries")
def test_github_that_breaks_off_or_is_broken_is_unreachable(fault: Fault, door: Door, stuck: Reality):
    before = stuck.content()
    stuck.world.faults.add(fault)
    assert "plan: unreachable" in refused(door.repair())
    assert stuck.content() == before


@pytest.mark.usefixtures("hasty_retries")
def test_github_that_refuses_connections_is_told_by_http_and_command(
    door: Door, reality: Reality, tfpilot: Tfpilot, monkeypatch: pytest.MonkeyPatch
):
    reality.stuck_request()
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    portal = reality.serve_portal()
    before, keys = reality.content(), reality.keys()
    assert "could not be reached" in refused(door.repair())
    monkeypatch.setattr(portal.edges.identity, "login_of", lambda _token: "ops-lead")
    assert "plan: unreachable" in refused(door.repair())
    result = tfpilot("sync", REQUEST_ID, "--repair")
    assert result.exit_code == 1
    assert "could not be reached" in result.stderr
    assert (reality.content(), set(reality.keys()) - set(keys)) == (before, {MEMO})


def test_without_repair_github_that_is_down_degrades_the_answer_and_does_not_fail_it(door: Door, stuck: Reality):
    before = stuck.content()
    stuck.world.faults.add(Fault(FaultKind.STATUS, path=REPO_CALLS, status=403, message="no"))
    answer = door.post(f"/api/requests/{REQUEST_ID}/sync")
    told = answer.json()
    assert (answer.status_code, told["success"], told["request"]["status"]) == (200, True, "planning")
    assert told["sync"]["degraded"] is True
    assert told["sync"]["facts"] == {**dict.fromkeys(ASKED, "forbidden"), **NOT_ASKED}
    assert stuck.content() == before


# One fact fails, the others count

ONE_FACT = {
    "reviews 403": (Fault(FaultKind.STATUS, path=REVIEWS, status=403, message="no"), "reviews", "forbidden"),
    "reviews HTML": (Fault(FaultKind.HTML, path=REVIEWS), "reviews", "malformed"),
    "reviews of another": (
        Fault(FaultKind.FIELDS, path=REVIEWS, fields={"*.pull_request_url": "https://x/repos/acme/infra/pulls/8"}),
        "reviews",
        "malformed",
    ),
    "pull request 404": (Fault(FaultKind.STATUS, path=PULL, status=404, message="Not Found"), "pull", "not found"),
    "pull request of another repository": (
        Fault(FaultKind.FIELDS, path=PULL, fields={"base.repo.full_name": "acme/other"}),
        "pull",
        "malformed",
    ),
    "pull request of another number": (Fault(FaultKind.FIELDS, path=PULL, fields={"number": 8}), "pull", "malformed"),
    "cleanup list truncated": (
        Fault(FaultKind.TRUNCATED, path="/repos/acme/infra/pulls"),
        "cleanup_pull",
        "malformed",
    ),
}


@pytest.mark.parametrize("name", ONE_FACT)
def test_one_fact_that_fails_is_named_and_the_others_are_stored(
    name: str, door: Door, stuck: Reality, tfpilot: Tfpilot
):
    fault, fact, outcome = ONE_FACT[name]
    before = stuck.document()
    stuck.world.faults.add(fault)
    told = door.repair().json()
    assert told["success"] is True
    assert told["sync"]["facts"] == {**ALL_GOOD, fact: outcome}
    assert told["sync"].get("degraded", False) is (outcome != "not found")
    after = stuck.document()
    assert after["github"]["workflows"]["plan"]["conclusion"] == "success"
    assert {name: after[name] for name in before.keys() - {"github", "version", "updatedAt"}} == {
        name: value for name, value in before.items() if name not in {"github", "version", "updatedAt"}
    }
    stored_pull = after["github"]["pr"]
    assert (stored_pull["number"], stored_pull["merged"]) == (7, False)
    result = tfpilot("sync", REQUEST_ID, "--repair")
    assert (result.exit_code, f"{fact}: {outcome}" in result.stdout) == (0, True)


def test_one_fact_under_a_rate_limit_is_named_with_the_time_to_wait_and_the_others_are_stored(
    door: Door, stuck: Reality
):
    stuck.world.faults.add(Fault(FaultKind.SECONDARY_LIMIT, path=REVIEWS, retry_after_s=60))
    answer = door.repair()
    told = answer.json()["sync"]
    assert answer.status_code == 200
    assert told["facts"] == {**ALL_GOOD, "reviews": "rate limited"}
    assert (told["degraded"], told["retryAfterMs"]) == (True, 60_000)
    assert stuck.document()["github"]["workflows"]["plan"]["conclusion"] == "success"
    assert "rate limited" in refused(door.repair())


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.DRIP])
def test_one_fact_that_hangs_ends_at_the_deadline_and_the_others_are_stored(
    kind: FaultKind, door: Door, stuck: Reality, impatient: None
):
    stuck.world.faults.add(Fault(kind, path=REVIEWS, delay_s=0.05 if kind is FaultKind.DRIP else 0))
    told = door.repair().json()
    assert told["sync"]["facts"] == {**ALL_GOOD, "reviews": "timeout"}
    assert told["sync"]["degraded"] is True
    assert told["request"]["status"] == "plan_ready"
    assert stuck.document()["github"]["workflows"]["plan"]["conclusion"] == "success"


def test_a_run_of_another_request_is_never_taken_and_said(door: Door, stuck: Reality):
    before = stuck.document()
    stuck.world.faults.add(
        Fault(
            FaultKind.FIELDS,
            path=PLAN_RUNS,
            fields={
                "workflow_runs.*.head_branch": "request/req_dev_other_1",
                "workflow_runs.*.display_title": "req_dev_other_1",
            },
        )
    )
    told = door.repair().json()["sync"]
    assert told["facts"]["plan"] == "crossed"
    assert told["crossed"] == ["plan: belongs to req_dev_other_1"]
    assert stuck.document()["github"]["workflows"]["plan"] == before["github"]["workflows"]["plan"]


def test_a_run_that_github_no_longer_has_keeps_its_stored_fact(door: Door, stuck: Reality):
    before = stuck.document()["github"]["workflows"]["plan"]
    stuck.world.delete_run(before["runId"])
    told = door.repair().json()["sync"]
    assert told["facts"]["plan"] == "not found"
    after = stuck.document()["github"]
    assert after["workflows"]["plan"] == before
    assert after["unresolved"]["plan"]["runId"] == before["runId"]


def test_a_repair_of_a_request_with_known_runs_makes_at_most_eight_calls(door: Door, stuck: Reality):
    stuck.world.clear_calls()
    told = door.repair().json()["sync"]
    asked = [call for call in stuck.world.calls if call.path.startswith("/repos/")]
    assert told["calls"] == len(asked) <= 8


def test_nothing_of_githubs_odd_answers_or_of_the_token_is_passed_on(door: Door, stuck: Reality, caplog, capfd):
    caplog.set_level("DEBUG")
    stuck.world.faults.add(Fault(FaultKind.STATUS, path=REPO_CALLS, status=403, message="a body with pr1vate words"))
    answer = door.repair()
    said = [answer.text, *[record.getMessage() for record in caplog.records], *capfd.readouterr()]
    token = door.client.headers.get("authorization", "") or "ghp_opslead0123456789"
    assert not [text for text in said if "pr1vate" in text or token in text]


# The storage fails too


def test_while_the_store_refuses_the_credentials_nothing_is_200_or_empty(
    door: Door, reality: Reality, monkeypatch: pytest.MonkeyPatch
):
    reality.stuck_request()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    reality.serve_portal()
    for path in ("/api/requests", f"/api/requests/{REQUEST_ID}", f"/api/requests/{REQUEST_ID}/sync?repair=1"):
        answer = door.get(path)
        assert answer.status_code == 503, answer.text
        assert "SignatureDoesNotMatch" in answer.json()["error"]
    assert door.get("/readyz").status_code == 503
    assert door.get("/healthz").status_code == 200


def test_while_the_store_refuses_connections_nothing_is_200_or_empty(
    door: Door, reality: Reality, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    reality.serve_portal()
    for path in ("/api/requests", f"/api/requests/{REQUEST_ID}", f"/api/requests/{REQUEST_ID}/sync?repair=1"):
        answer = door.get(path)
        assert (answer.status_code, answer.json()["success"]) == (503, False)
        assert "127.0.0.1:9" in answer.text
    assert door.get("/readyz").status_code == 503
