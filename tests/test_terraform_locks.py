"""Real Terraform and the locks it leaves behind: shown as it took them, and released so that it works again."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.core.reset_world import target
from tests.fakes import InMemory
from tests.lock_setup import KEY, edges_on
from tests.terraform_cli import FAILED, TO_CHANGE, plan_past_itself
from tests.test_terraform_cli import SLOW, Place, wait_for
from tfpilot.adapters.lock_table import LockTable
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.core.lock_release import APART
from tfpilot.core.model import Operator, Role
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.state_locks import LockVerdict
from tfpilot.core.terraform import LockInfo, LockMode, lock_id, lockfile_key
from tfpilot.edges import Edges
from tfpilot.operations.locks import first_reading, get_lock, release_lock
from tfpilot.sandbox.lock_table import LocalDynamoDB

pytestmark = pytest.mark.server

ADMIN = Operator("ops-lead", Role.ADMIN)


@pytest.fixture
def place(tmp_path: Path, bucket: Bucket, bucket_settings: BucketSettings, lock_table: LockTable,
          lock_server: LocalDynamoDB) -> Place:  # fmt: skip
    return Place(tmp_path, bucket, bucket_settings, lock_server, lock_table.name)


def edges_of(memory: InMemory, place: Place, mode: LockMode) -> tuple[Edges, ResetTarget]:
    table = place.table if mode.has_table else ""
    chosen = replace(target(mode), bucket=place.bucket.name, lock_table=table)
    return edges_on(memory, place.bucket, LockTable(place.locks.connect(), place.table), chosen), chosen


def release(memory: InMemory, edges: Edges, chosen: ResetTarget, typed: str) -> None:
    first = first_reading(edges, chosen.name, KEY)
    memory.clock.advance(seconds=APART.total_seconds())
    assert release_lock(edges, chosen.name, KEY, first=first, typed=typed, reason="killed", operator=ADMIN).is_free


@pytest.mark.parametrize("mode", LockMode)
def test_the_lock_of_an_apply_that_was_killed_is_shown_whole_and_after_its_release_terraform_plans(
    place: Place, memory: InMemory, mode: LockMode
) -> None:
    terraform = place.configure(mode, SLOW)
    assert terraform.init().rc == 0
    kill_when_it_works(place.directory, terraform.start("apply", "-auto-approve", "-input=false", "-no-color"))
    assert terraform.plan().rc == FAILED
    edges, chosen = edges_of(memory, place, mode)
    [judged] = get_lock(edges, chosen.name, KEY).locks
    assert isinstance(judged.lock.lock, LockInfo)
    assert (judged.verdict, judged.lock.other) == (LockVerdict.UNKNOWN, None)
    assert judged.lock.created is not None
    release(memory, edges, chosen, judged.lock.handle)
    planned = plan_past_itself(terraform, lambda: free(place))
    assert planned.rc == TO_CHANGE, planned.output


def test_a_lock_item_that_terraform_cannot_release_is_released_by_its_key(place: Place, memory: InMemory) -> None:
    terraform = place.configure(LockMode.DYNAMODB)
    assert terraform.init().rc == 0
    name = lock_id(place.bucket.name, KEY)
    place.locks.connect().put_item(TableName=place.table, Item={"LockID": {"S": name}})
    assert terraform.plan().rc == FAILED
    assert terraform.run("force-unlock", "-force", "any-id").rc == FAILED
    edges, chosen = edges_of(memory, place, LockMode.DYNAMODB)
    [judged] = get_lock(edges, chosen.name, KEY).locks
    assert judged.verdict is LockVerdict.MALFORMED
    release(memory, edges, chosen, name)
    planned = plan_past_itself(terraform, lambda: free(place))
    assert planned.rc == TO_CHANGE, planned.output


def test_half_a_lock_blocks_terraform_until_it_is_released(place: Place, memory: InMemory) -> None:
    terraform = place.configure(LockMode.BOTH, SLOW)
    assert terraform.init().rc == 0
    kill_when_it_works(place.directory, terraform.start("apply", "-auto-approve", "-input=false", "-no-color"))
    place.bucket.client.delete_object(Bucket=place.bucket.name, Key=lockfile_key(KEY))
    assert terraform.plan().rc == FAILED
    edges, chosen = edges_of(memory, place, LockMode.BOTH)
    [judged] = get_lock(edges, chosen.name, KEY).locks
    assert judged.lock.other is not None
    release(memory, edges, chosen, judged.lock.handle)
    planned = plan_past_itself(terraform, lambda: free(place))
    assert planned.rc == TO_CHANGE, planned.output


def free(place: Place) -> None:
    """Nobody holds the lock any more."""
    place.bucket.client.delete_object(Bucket=place.bucket.name, Key=lockfile_key(KEY))
    name = lock_id(place.bucket.name, KEY)
    place.locks.connect().delete_item(TableName=place.table, Key={"LockID": {"S": name}})


def kill_when_it_works(directory: Path, applying) -> None:
    try:
        wait_for(directory / "started")
    finally:
        os.killpg(applying.pid, signal.SIGKILL)
        applying.communicate()
