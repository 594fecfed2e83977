"""What real Terraform did at the wrong moment: a reset, or an undo, that must not touch it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.doors.door_setup import wait_until
from tests.reality.conftest import NewCommands, NewDev, OpenPortal
from tests.reality.real_commands import succeeded, terraform_in
from tests.reality.real_dev import Contents, RealDev, fill_requests
from tests.terraform_cli import NOTHING_TO_DO, Terraform, plan_past_itself
from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_steps import ResetRecord
from tfpilot.core.terraform import LockMode
from tfpilot.errors import RefusedError
from tfpilot.operations.reset_views import get_receipt, list_resets

pytestmark = pytest.mark.server

SLOW = """
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "touch started; while [ ! -e over ]; do sleep 0.1; done" }
}
"""


@pytest.fixture(params=list(LockMode))
def dev(request: pytest.FixtureRequest, new_dev: NewDev) -> RealDev:
    return new_dev(request.param)


@pytest.fixture
def terraform(dev: RealDev, tmp_path: Path) -> Terraform:
    """Terraform, which has applied; and the requests that it was for."""
    terraform = terraform_in(dev, tmp_path / "infra")
    succeeded(terraform.init())
    succeeded(terraform.apply())
    fill_requests(dev)
    return terraform


@contextmanager
def applying(dev: RealDev, terraform: Terraform) -> Iterator[subprocess.Popen[str]]:
    """An apply in another process, in the middle of it until the block ends."""
    terraform_in(dev, terraform.directory, more=SLOW)
    process = terraform.start("apply", "-auto-approve", "-input=false", "-no-color")
    try:
        wait_until((terraform.directory / "started").exists, seconds=60)
        yield process
        (terraform.directory / "over").touch()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_a_live_apply_holds_the_lock_and_nothing_is_touched_by_a_plan_or_an_apply(
    dev: RealDev, terraform: Terraform, open_portal: OpenPortal, new_commands: NewCommands
) -> None:
    portal = open_portal(dev)
    reviewed = portal.plan()
    with applying(dev, terraform):
        held = dev.contents()
        with pytest.raises(RefusedError, match=r"No Terraform lock held: .*held by .*@"):
            portal.apply(reviewed)
        told = new_commands(dev).ask("plan", dev.target.name, code=1)
        assert "No Terraform lock held" in told["error"]
        assert dev.contents() == held
        assert dev.keys("ops/resets/") == []
        assert list_resets(portal.edges) == []
    terraform_in(dev, terraform.directory, more=SLOW)
    assert plan_past_itself(terraform, dev.free_locks).rc == NOTHING_TO_DO


def test_an_apply_that_takes_the_lock_after_the_guards_looked_is_refused_and_keeps_it(
    dev: RealDev, terraform: Terraform, open_portal: OpenPortal
) -> None:
    portal = open_portal(dev)
    reviewed = portal.plan()
    held: list[Contents] = []
    with ExitStack() as stack:

        def apply_first(_record: ResetRecord) -> None:
            stack.enter_context(applying(dev, terraform))
            held.append(dev.contents())

        with pytest.raises(RefusedError, match="went no further"):
            portal.apply(reviewed, on_begin=apply_first)
        ended = get_receipt(portal.edges, list_resets(portal.edges)[0].reset_id)
        assert (ended.stage, ended.done) == (Stage.REFUSED, ())
        assert [dev.contents()] == held
    assert plan_past_itself(terraform, dev.free_locks).rc == NOTHING_TO_DO


def test_a_state_that_terraform_wrote_after_the_review_is_refused_and_the_lock_given_back(
    dev: RealDev, terraform: Terraform, open_portal: OpenPortal
) -> None:
    portal = open_portal(dev)
    reviewed = portal.plan()
    succeeded(terraform_in(dev, terraform.directory, queue="orders").apply())
    changed = dev.contents()
    with pytest.raises(RefusedError, match=r"state dev/terraform\.tfstate changed"):
        portal.apply(reviewed)
    assert dev.contents() == changed
    assert get_receipt(portal.edges, list_resets(portal.edges)[0].reset_id).stage is Stage.REFUSED
    assert plan_past_itself(terraform, dev.free_locks).rc == NOTHING_TO_DO


def test_an_undo_after_somebody_applied_again_leaves_the_state_and_puts_back_the_rest(
    dev: RealDev, terraform: Terraform, open_portal: OpenPortal
) -> None:
    portal = open_portal(dev)
    before = dev.contents()
    ended = portal.apply(portal.plan())
    assert ended.receipt.stage is Stage.FINISHED
    succeeded(terraform_in(dev, terraform.directory, queue="orders").apply())
    dev.put_request("req_dev_s3_a", version=7)
    applied_again = dev.contents()
    receipt = portal.undo(ended.receipt.record.reset_id).receipt
    assert receipt.stage is Stage.UNDONE
    occupied = {key for key in applied_again if key[0] != dev.requests.name}
    occupied |= {(dev.requests.name, f"{folder}/req_dev_s3_a.json") for folder in ("requests", "history")}
    assert dev.contents() == {**before, **{place: applied_again[place] for place in occupied}}
    digest = {"dev/terraform.tfstate"} if dev.mode.has_table else set()
    assert {each.subject for each in receipt.kept} == {"dev/terraform.tfstate", "req_dev_s3_a"} | digest
    assert any("holds something else" in each.reason for each in receipt.kept)
    assert plan_past_itself(terraform, dev.free_locks).rc == NOTHING_TO_DO


def test_an_undo_while_somebody_applies_is_refused_and_touches_nothing(
    dev: RealDev, terraform: Terraform, open_portal: OpenPortal
) -> None:
    portal = open_portal(dev)
    ended = portal.apply(portal.plan())
    with applying(dev, terraform):
        held = dev.contents()
        with pytest.raises(RefusedError, match="went no further"):
            portal.undo(ended.receipt.record.reset_id)
        assert dev.contents() == held
    terraform_in(dev, terraform.directory, more=SLOW)
    assert plan_past_itself(terraform, dev.free_locks).rc == NOTHING_TO_DO
