"""`sweep`: what it prints, and its exit codes."""

from __future__ import annotations

from tests.builders import REQUEST_ID
from tests.doors.door_setup import Reality, Tfpilot, json_lines
from tfpilot.sandbox.github import Fault, FaultKind


def test_a_sweep_says_what_it_wrote_and_counts(reality: Reality, tfpilot: Tfpilot):
    reality.stuck_request()
    result = tfpilot("sweep")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{REQUEST_ID}: planning → approved")
    assert result.stdout.splitlines()[-1] == "1 request: 1 written, 0 unchanged, 0 failed"


def test_a_second_sweep_of_everything_writes_nothing(reality: Reality, tfpilot: Tfpilot):
    reality.stuck_request()
    tfpilot("sweep")
    *_, last = json_lines(tfpilot("sweep", "--all", "--json"))
    assert last == {"sweep": "all", "requests": 1, "written": 0, "unchanged": 1, "failed": 0}


def test_a_request_that_cannot_be_swept_makes_the_command_fail(reality: Reality, tfpilot: Tfpilot):
    reality.stuck_request()
    reality.world.faults.add(Fault(FaultKind.STATUS, path="*", status=403))
    result = tfpilot("sweep", "--all")
    assert result.exit_code == 1
    assert REQUEST_ID in result.stderr


def test_two_scopes_at_once_are_misuse(reality: Reality, tfpilot: Tfpilot):
    assert tfpilot("sweep", "--stuck", "--all").exit_code == 2
