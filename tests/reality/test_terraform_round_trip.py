"""Real Terraform, a reset by our command, and an undo: in every lock mode, in the default and in a named workspace."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.doors.door_setup import wait_until
from tests.reality.conftest import NewCommands, NewDev
from tests.reality.real_commands import REASON, apply_arguments, reset_ids, succeeded, terraform_in
from tests.reality.real_dev import DEFAULT_STATE, NAMED_STATE, RealDev
from tests.terraform_cli import FAILED, NOTHING_TO_DO, TO_CHANGE, plan_past_itself
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.reset_steps import Place, Store, lock_places
from tfpilot.core.reset_target import StateTarget
from tfpilot.core.terraform import LockMode, lockfile_key

pytestmark = pytest.mark.server


class Trip(NamedTuple):
    """Where the lock is, which workspace the state is of, and what becomes of it."""

    mode: LockMode
    state: StateTarget
    state_mode: StateMode

    def __str__(self) -> str:
        return f"{self.mode.value}-{self.state.workspace}-{self.state_mode.value}"


TRIPS = [
    *(Trip(mode, state, StateMode.REMOVE) for mode in LockMode for state in (DEFAULT_STATE, NAMED_STATE)),
    Trip(LockMode.BOTH, DEFAULT_STATE, StateMode.EMPTY),
]


@pytest.mark.parametrize("trip", TRIPS, ids=str)
def test_apply_reset_and_undo_with_real_terraform(
    new_dev: NewDev, new_commands: NewCommands, tmp_path: Path, trip: Trip
) -> None:
    dev = new_dev(trip.mode, states=(trip.state,))
    dev.mark_place()
    dev.put_request("req_dev_s3_a", number=101)
    dev.put_bystanders(2)
    terraform = terraform_in(dev, tmp_path / "infra")
    succeeded(terraform.init())
    succeeded(terraform.apply())
    before = dev.contents()

    commands = new_commands(dev)
    chosen = ("--state", trip.state_mode.value)
    plan = commands.ask("plan", dev.target.name, *chosen)
    with commands.held(*apply_arguments(plan), *chosen) as held:
        wait_until(lambda: holds_a_lock(dev), seconds=60)
        blocked = terraform.plan()
        told = held.end()
    [reset_id] = reset_ids(dev)
    assert blocked.rc == FAILED
    assert "Error acquiring the state lock" in blocked.output
    assert "ops-lead@tfpilot-ops" in blocked.output
    assert f"Reset {reset_id} of payments-dev: {REASON}" in " ".join(blocked.output.split())
    assert f"{reset_id} of payments-dev by ops-lead: finished" in told

    fresh = terraform_in(dev, tmp_path / "fresh")
    succeeded(fresh.init())
    planned = plan_past_itself(fresh, dev.free_locks)
    assert planned.rc == TO_CHANGE, planned.output
    assert "2 to add, 0 to change, 0 to destroy" in planned.output
    assert commands.undo(reset_id)["stage"] == "undone"
    restored = plan_past_itself(fresh, dev.free_locks)
    assert restored.rc == NOTHING_TO_DO, restored.output
    assert dev.contents() == before


def holds_a_lock(dev: RealDev) -> bool:
    first = lock_places(dev.target, dev.states[0].object_key)[0]
    if first == Place(Store.STATE_BUCKET, lockfile_key(dev.states[0].object_key)):
        return first.key in dev.state.list_all("")
    return first.key in dev.items()
