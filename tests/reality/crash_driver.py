"""A process that resets, and dies of SIGKILL at the write it is told: `python -m tests.reality.crash_driver`.

The first line of its input is the dev environment; every further one is an order, carried out by a child of its own
and answered by a line. What takes long comes before the children: modules, and clients that are not used yet.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import obstore

from tests.reality.real_dev import Portal, RealDev, portal_on
from tests.reset_setup import ADMIN
from tfpilot.adapters import bulk
from tfpilot.core.reset_plan import StateMode
from tfpilot.errors import RefusedError
from tfpilot.operations.reset import Ended, resume_reset
from tfpilot.operations.reset_views import Choices

BEFORE: Final = "before"
AFTER: Final = "after"


@dataclass(frozen=True)
class Order:
    """What to do: `apply`, `resume` or `undo`; and at which write to die, `before` or `after` it. 0: not at all.

    `minutes`: how late it is by the clock of whoever does it, so that the lease of a dead process is over.
    """

    act: str
    state_mode: StateMode = StateMode.REMOVE
    kill_at: int = 0
    when: str = BEFORE
    minutes: int = 0

    def told(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Answer:
    """What came of an order. `stage` is empty where the child died, or where there was no reset to go on with."""

    died: bool = False
    stage: str = ""
    writes: tuple[str, ...] = ()
    refused: str = ""

    def told(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def heard(told: str) -> Answer:
        fields = json.loads(told)
        return Answer(**{**fields, "writes": tuple(fields["writes"])})


class Writes:
    """Counts the writes of this process, to S3 by either client and to DynamoDB, and ends it at one of them."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.names: list[str] = []

    def begins(self, name: str) -> int:
        """The number of a write that is about to be sent."""
        with self._lock:
            number = next(self._numbers)
            self.names.append(name)
        self._die_at(number, BEFORE)
        return number

    def ended(self, number: int) -> None:
        self._die_at(number, AFTER)

    def _die_at(self, number: int, when: str) -> None:
        if (number, when) == (self._order.kill_at, self._order.when):
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, dev: RealDev) -> None:
        """From now on every write of this process passes here."""
        for client, operations in (
            (dev.bucket.client, ("put_object", "delete_object")),
            (dev.tables, ("put_item", "delete_item")),
        ):
            for operation in operations:
                setattr(client, operation, self._watched(getattr(client, operation), operation))
        bulk.obstore = _WatchedObstore(self._watched(obstore.put, "put"))

    def _watched(self, write: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            number = self.begins(f"{name} {_key_of(args, options)}")
            answer = write(*args, **options)
            self.ended(number)
            return answer

        return watched


def _key_of(args: Sequence[Any], options: Mapping[str, Any]) -> str:
    """What is written: obstore is told by position, boto3 by name, and an item's key is its LockID."""
    key = args[1] if args else options.get("Key") or options["Item"]
    return key if isinstance(key, str) else key["LockID"]["S"]


class _WatchedObstore:
    """The module, but for the one function with which the portal writes."""

    def __init__(self, put: Callable[..., Any]) -> None:
        self.put = put

    def __getattr__(self, name: str) -> Any:
        return getattr(obstore, name)


def carry_out(dev: RealDev, order: Order) -> Answer:
    """Carries out an order in this process."""
    writes = Writes(order)
    writes.watch(dev)
    choices = Choices(state_mode=StateMode(order.state_mode))
    acts = {"apply": partial(_apply, choices=choices), "resume": _resume, "undo": _undo}
    late = timedelta(minutes=order.minutes)
    with portal_on(dev, clock=lambda: datetime.now(UTC) + late) as portal:
        portal.edges.reset_stores._client = dev.tables  # the one whose writes are counted
        try:
            ended = acts[order.act](portal)
        except RefusedError as refusal:
            return Answer(refused=refusal.message, writes=tuple(writes.names))
    return Answer(stage=ended.receipt.stage.value if ended else "", writes=tuple(writes.names))


def _apply(portal: Portal, *, choices: Choices) -> Ended:
    return portal.apply(portal.plan(choices), choices)


def _resume(portal: Portal) -> Ended | None:
    reset_id = _last_reset(portal)
    return None if reset_id is None else resume_reset(portal.edges, reset_id, operator=ADMIN)


def _undo(portal: Portal) -> Ended | None:
    reset_id = _last_reset(portal)
    return None if reset_id is None else portal.undo(reset_id)


def _last_reset(portal: Portal) -> str | None:
    return next((record.reset_id for record in portal.edges.reset_journal.list()), None)


def answer_in_child(dev: RealDev, order: Order) -> Answer:
    """What a child of its own came to."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(writing, carry_out(dev, order).told().encode())
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Answer(died=True)
    if status:
        raise ChildProcessError(f"{order} ended with {status}")
    return Answer.heard(told.decode())


def warm_up(dev: RealDev) -> None:
    """What an SDK learns from its first call each child would learn anew. No connection is left for them to share."""
    dev.bucket.find("ops/freeze.json", limit_bytes=1)
    dev.bucket.client.put_object(Bucket=dev.requests.name, Key="ops/warm", Body=b"")
    dev.bucket.client.delete_object(Bucket=dev.requests.name, Key="ops/warm")
    dev.tables.get_item(TableName=dev.table, Key={"LockID": {"S": "none"}})
    dev.bucket.client.close()
    dev.tables.close()


def main() -> None:
    dev = RealDev.heard(sys.stdin.readline())
    warm_up(dev)
    for line in sys.stdin:
        sys.stdout.write(answer_in_child(dev, Order(**json.loads(line))).told() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
