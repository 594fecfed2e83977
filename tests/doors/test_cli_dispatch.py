"""`dispatch` and `requests unlock`: what they print, and when they exit 0, 1 and 2."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.adapters.github_setup import FILES, REPO
from tests.builders import REQUEST_ID
from tests.dispatch_setup import applied, merged
from tests.doors.door_setup import ADMIN, DEVELOPER, Reality, Tfpilot, json_lines, token_of
from tfpilot import wiring
from tfpilot.core.document import format_time
from tfpilot.core.model import WorkflowKind
from tfpilot.sandbox.github import Fault, FaultKind, RunDetails

DESTROY = WorkflowKind.DESTROY
OTHER = "req_dev_other"


@pytest.fixture
def ready(reality: Reality, monkeypatch: pytest.MonkeyPatch) -> Reality:
    """One applied request; nobody waits between two looks at GitHub's lists."""
    reality.clock.now = datetime.now(UTC)  # the edge compares GitHub's clock with the machine's own
    monkeypatch.setattr(wiring, "_sleep", lambda _duration: None)
    reality.store(applied())
    return reality


@pytest.fixture
def ambiguous(ready: Reality, tfpilot: Tfpilot) -> list[int]:
    """The runs of two destroys that GitHub told nothing about, the request's own first."""
    ready.world.run_details = RunDetails.IGNORED
    ready.world.lists = type(ready.world.lists)(late_calls=100)
    ready.store(applied(OTHER))
    for request_id in (REQUEST_ID, OTHER):
        assert tfpilot("dispatch", "destroy", request_id).exit_code == 1
    ready.world.lists = type(ready.world.lists)()
    return sorted(run.id for run in ready.world.runs(ready.world.repo(REPO)))


def at(reality: Reality, **ahead: float) -> str:
    return format_time(reality.clock() + timedelta(**ahead))


def destroy_in(reality: Reality, request_id: str = REQUEST_ID) -> dict[str, Any]:
    return reality.document(request_id)["github"]["workflows"]["destroy"]


def test_a_started_run_is_named_with_its_address_and_exits_0(ready: Reality, tfpilot: Tfpilot):
    result = tfpilot("dispatch", "destroy", REQUEST_ID)
    [run] = ready.world.runs(ready.world.repo(REPO))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"{REQUEST_ID}: destroy run {run.id}, started"
    assert result.stdout.splitlines()[1].endswith(f"/actions/runs/{run.id}")
    assert destroy_in(ready)["runId"] == run.id


def test_json_says_the_same_for_machines(ready: Reality, tfpilot: Tfpilot):
    result = tfpilot("dispatch", "destroy", REQUEST_ID, "--json")
    [told] = json_lines(result)
    [run] = ready.world.runs(ready.world.repo(REPO))
    assert result.exit_code == 0
    assert {name: told[name] for name in ("id", "success", "kind", "end", "runId", "candidates", "notices")} == {
        "id": REQUEST_ID,
        "success": True,
        "kind": "destroy",
        "end": "started",
        "runId": run.id,
        "candidates": [],
        "notices": [],
    }


@pytest.mark.parametrize("kind", ["plan", "apply", "cleanup", "drift_plan"])
def test_what_is_not_eligible_exits_1_and_says_why(ready: Reality, tfpilot: Tfpilot, kind):
    ready.store(merged() if kind == "drift_plan" else applied())
    before = ready.content()
    result = tfpilot("dispatch", kind, REQUEST_ID, "--json")
    [told] = json_lines(result)
    assert (result.exit_code, told["success"]) == (1, False)
    assert told["error"].startswith(f"No {kind} was dispatched for {REQUEST_ID}: ")
    assert told["hint"]
    assert (ready.content(), ready.world.dispatches().total()) == (before, 0)


def test_a_developer_is_told_which_right_is_missing(ready: Reality, tfpilot: Tfpilot, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", token_of(DEVELOPER))
    result = tfpilot("dispatch", "destroy", REQUEST_ID)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{DEVELOPER} is a developer and may not dispatch destroy and cleanup" in result.stderr
    assert ready.world.dispatches().total() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("destroy",),
        ("explode", REQUEST_ID),
        ("destroy", "../etc"),
        ("destroy", REQUEST_ID, "--choose", "0"),
        ("destroy", REQUEST_ID, "--choose", "x"),
        ("destroy", REQUEST_ID, "--choose", "7", "--candidates"),
        ("destroy", REQUEST_ID, "--candidates", "--confirm-no-run"),
    ],
)
def test_misuse_exits_2_and_sends_nothing(ready: Reality, tfpilot: Tfpilot, arguments):
    assert tfpilot("dispatch", *arguments).exit_code == 2
    assert ready.world.dispatches().total() == 0


def test_an_unknown_request_exits_1(ready: Reality, tfpilot: Tfpilot):
    result = tfpilot("dispatch", "destroy", "req_nobody")
    assert result.exit_code == 1
    assert "There is no request req_nobody" in result.stderr


def test_a_refusal_by_github_is_told_with_what_it_said(ready: Reality, tfpilot: Tfpilot):
    ready.world.faults.add(Fault(FaultKind.STATUS, path="*/dispatches", status=422, message="No ref found for: main"))
    result = tfpilot("dispatch", "destroy", REQUEST_ID)
    assert result.exit_code == 1
    assert "No ref found for: main" in result.stderr
    assert "destroyTriggeredAt" not in ready.document()["github"]
    assert "lock" not in ready.document()


def test_an_ambiguous_dispatch_lists_its_candidates_and_a_person_chooses(
    ready: Reality, tfpilot: Tfpilot, ambiguous: list[int]
):
    own, other = ambiguous
    again = tfpilot("dispatch", "destroy", REQUEST_ID)
    assert (again.exit_code, f"run {own}" in again.stdout, f"run {other}" in again.stdout) == (1, True, True)
    assert "a person must choose the run" in again.stdout
    shown = tfpilot("dispatch", "destroy", REQUEST_ID, "--candidates", "--json")
    [told] = json_lines(shown)
    assert (shown.exit_code, told["outcome"]) == (1, "ambiguous")
    assert [each["runId"] for each in told["candidates"]] == [own, other]
    assert {each["actor"] for each in told["candidates"]} == {ADMIN}
    assert "a person" not in tfpilot("dispatch", "destroy", REQUEST_ID, "--candidates").stdout
    chosen = tfpilot("dispatch", "destroy", REQUEST_ID, "--choose", str(own))
    assert (chosen.exit_code, destroy_in(ready)["runId"]) == (0, own)
    assert "found, nothing new was started" in chosen.stdout
    found = tfpilot("dispatch", "destroy", OTHER, "--json")
    [told] = json_lines(found)
    assert (found.exit_code, told["end"], told["runId"]) == (0, "found", other)
    assert ready.world.dispatches() == {(FILES[DESTROY], REQUEST_ID): 1, (FILES[DESTROY], OTHER): 1}


def test_a_run_that_is_no_candidate_cannot_be_chosen(ready: Reality, tfpilot: Tfpilot, ambiguous: list[int]):
    result = tfpilot("dispatch", "destroy", REQUEST_ID, "--choose", str(max(ambiguous) + 1))
    assert result.exit_code == 1
    assert "is no candidate" in result.stderr
    assert "runId" not in destroy_in(ready)


def test_a_dispatch_that_started_nothing_is_closed_after_ten_minutes(ready: Reality, tfpilot: Tfpilot):
    ready.world.faults.add(Fault(FaultKind.STATUS, path="*/dispatches", status=502, times=1))
    unknown = tfpilot("dispatch", "destroy", REQUEST_ID, "--json")
    [told] = json_lines(unknown)
    assert (unknown.exit_code, told["end"], told["success"]) == (1, "unknown", False)
    early = tfpilot("dispatch", "destroy", REQUEST_ID, "--confirm-no-run")
    assert (early.exit_code, "less than ten minutes ago" in early.stderr) == (1, True)
    ready.clock.advance(minutes=11)
    closed = tfpilot("dispatch", "destroy", REQUEST_ID, "--confirm-no-run")
    assert closed.exit_code == 0
    assert f"{REQUEST_ID}: the open destroy dispatch was closed" in closed.stdout
    assert "destroyTriggeredAt" not in ready.document()["github"]


def test_without_an_open_dispatch_there_are_no_candidates(ready: Reality, tfpilot: Tfpilot):
    result = tfpilot("dispatch", "destroy", REQUEST_ID, "--candidates")
    assert result.exit_code == 1
    assert f"{REQUEST_ID} has no open destroy dispatch" in result.stderr


# requests unlock


def locked(reality: Reality, **ahead: float) -> None:
    reality.store(applied(lock={"holder": "web-app", "operation": "apply", "expiresAt": at(reality, **ahead)}))


def test_a_lock_whose_time_is_over_is_cleared(ready: Reality, tfpilot: Tfpilot):
    locked(ready, minutes=-1)
    result = tfpilot("requests", "unlock", REQUEST_ID)
    assert (result.exit_code, "lock" in ready.document()) == (0, False)
    assert f"{REQUEST_ID}: the lock was cleared" in result.stdout
    again = tfpilot("requests", "unlock", REQUEST_ID, "--json")
    assert json_lines(again) == [{"id": REQUEST_ID, "success": True, "changes": []}]


def test_a_lock_that_is_held_stays_and_exits_1(ready: Reality, tfpilot: Tfpilot):
    locked(ready, minutes=1)
    result = tfpilot("requests", "unlock", REQUEST_ID)
    assert (result.exit_code, "lock" in ready.document()) == (1, True)
    assert f"{REQUEST_ID} is locked by web-app for apply" in result.stderr


def test_what_cannot_be_an_id_is_misuse(ready: Reality, tfpilot: Tfpilot):
    assert tfpilot("requests", "unlock", "../x").exit_code == 2
