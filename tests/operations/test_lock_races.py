"""Sixteen threads on real stores: some release a lock by hand while others take it as Terraform does."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from tests.core.reset_world import target
from tests.fakes import InMemory
from tests.lock_setup import HOURS_AGO, KEY, edges_on, github_run, lock_text
from tfpilot.adapters.lock_table import INFO, Item, LockTable
from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.s3_errors import code_of
from tfpilot.core.lock_release import APART, PartOutcome
from tfpilot.core.model import Operator, Role
from tfpilot.core.reset_steps import Place, Store, lock_places
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import LockInfo, LockMode
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, RefusedError
from tfpilot.operations.locks import first_reading, release_lock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.server

THREADS = 16
ROUNDS = 5
TRIES = 30
ADMIN = Operator("ops-lead", Role.ADMIN)


@dataclass
class Terraform:
    """The stores of one target as Terraform works with them: it takes a lock only where nothing stands."""

    s3: S3Client
    table: LockTable
    chosen: ResetTarget
    held: list[str] = field(default_factory=list)

    def take(self) -> str | None:
        """Takes every place of the lock under a new id, as Terraform does; gives back what it took where it cannot."""
        lock_id, taken = str(uuid.uuid4()), list[Place]()
        for place in lock_places(self.chosen, KEY):
            if not self._put(place, lock_text(lock=lock_id, since=HOURS_AGO)):
                for each in taken:
                    self.give_back(each, lock_id)
                return None
            taken.append(place)
        self.held.append(lock_id)
        return lock_id

    def give_back(self, place: Place, lock_id: str) -> None:
        """Removes our own lock; Terraform does so without a condition, so that it must still be ours."""
        assert self.holder(place) == lock_id, "somebody removed a lock that was not released by hand"
        if place.store is Store.LOCK_TABLE:
            self.table.remove(item_at(self.table, place), INFO)
        else:
            self.s3.delete_object(Bucket=self.chosen.bucket, Key=place.key)

    def holder(self, place: Place) -> str | None:
        """Whose lock stands there."""
        if place.store is Store.LOCK_TABLE:
            item = self.table.find(place.key, INFO)
            return None if item is None else json.loads(item.text or "")["ID"]
        try:
            body = self.s3.get_object(Bucket=self.chosen.bucket, Key=place.key)["Body"].read()
        except ClientError as error:
            if code_of(error) != "NoSuchKey":
                raise
            return None
        return json.loads(body)["ID"]

    def _put(self, place: Place, text: str) -> bool:
        try:
            if place.store is Store.LOCK_TABLE:
                self.table.put(place.key, INFO, text, over=None)
            else:
                self.s3.put_object(Bucket=self.chosen.bucket, Key=place.key, Body=text.encode(), IfNoneMatch="*")
        except ConflictError:
            return False
        except ClientError as error:
            if code_of(error) not in {"PreconditionFailed", "ConditionalRequestConflict"}:
                raise
            return False
        return True


def item_at(table: LockTable, place: Place) -> Item:
    item = table.find(place.key, INFO)
    assert item is not None
    return item


@pytest.mark.parametrize("mode", list(LockMode))
def test_of_sixteen_who_release_and_retake_a_lock_only_the_released_one_is_ever_removed(
    bucket: Bucket, lock_table: LockTable, memory: InMemory, mode: LockMode
) -> None:
    table = lock_table.name if mode.has_table else ""
    chosen = replace(target(mode), bucket=bucket.name, lock_table=table)
    terraform = Terraform(bucket.client, lock_table, chosen)
    github_run(memory)
    edges = edges_on(memory, bucket, lock_table, chosen)
    removed: Counter[tuple[str, Place]] = Counter()
    current = terraform.take()
    for _ in range(ROUNDS):
        assert current is not None
        winner = race(edges, terraform, chosen, lock_id=current, removed=removed, memory=memory)
        assert {terraform.holder(place) for place in lock_places(chosen, KEY)} == {winner}
        current = winner
    released = terraform.held[:-1]
    assert len(released) == ROUNDS
    assert removed == {(lock_id, place): 1 for lock_id in released for place in lock_places(chosen, KEY)}


def race(
    edges: Edges,
    terraform: Terraform,
    chosen: ResetTarget,
    *,
    lock_id: str,
    removed: Counter[tuple[str, Place]],
    memory: InMemory,
) -> str:
    """Half of the threads release the lock, half retake it; who has it then."""
    first = first_reading(edges, chosen.name, KEY)
    memory.clock.advance(seconds=APART.total_seconds())
    together, counting = threading.Barrier(THREADS, timeout=30), threading.Lock()

    def release() -> None:
        together.wait()
        try:
            done = release_lock(edges, chosen.name, KEY, first=first, typed=lock_id, reason="race", operator=ADMIN)
        except RefusedError:
            return  # somebody released it before, or has retaken it
        assert isinstance(done.record.judged.lock.lock, LockInfo)
        with counting:
            removed.update((lock_id, each.place) for each in done.parts if each.outcome is PartOutcome.REMOVED)

    def retake() -> str | None:
        together.wait()
        return next((taken for _ in range(TRIES) if (taken := terraform.take())), None)

    with ThreadPoolExecutor(THREADS) as pool:
        works = [pool.submit(release if number % 2 else retake) for number in range(THREADS)]
        taken = [work.result() for work in works]
    winners = [each for each in taken if each]
    assert len(winners) <= 1, "two hold one lock"
    return winners[0] if winners else terraform.take() or pytest.fail("nobody can take the lock that was released")
