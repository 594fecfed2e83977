"""A storm of webhooks on a real bucket whose storage fails now and then: repeated, out of order, some lost."""

from __future__ import annotations

import itertools
import os
import random
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.adapters.github_setup import FILES, REPO
from tests.builders import request, with_pull
from tests.core.saying import having
from tests.doors.door_setup import Reality
from tests.webhook_payloads import SECRET
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.deliveries import S3Deliveries
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.events import S3Events
from tfpilot.adapters.run_index import S3RunIndex
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.delivery import Delivery
from tfpilot.core.document import format_time
from tfpilot.core.model import WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.core.sweep import SweepScope
from tfpilot.edges import Edges
from tfpilot.errors import StorageError
from tfpilot.operations.deliveries import Disposition, receive
from tfpilot.operations.sweep import sweep
from tfpilot.sandbox.github import Hook

pytestmark = pytest.mark.server

REQUESTS = int(os.environ.get("TFPILOT_STORM_REQUESTS", "8"))
"""Each makes some 18 deliveries; `make soak` sends more than 5,000."""
SENDERS = 12
FAILS, REPEATED, REORDERED, LOST = 0.03, 0.2, 0.2, 0.1
IDS = tuple(f"req_dev_s3_storm{number}" for number in range(REQUESTS))


class FailingBucket(Bucket):
    """A bucket where some writes fail before they happened, and some after it."""

    def arm(self, chance: random.Random) -> None:
        self._chance = chance
        self._drawing = threading.Lock()

    def put(self, key: str, content: bytes, *, if_match: str | None) -> str:
        with self._drawing:
            before, after = self._chance.random() < FAILS, self._chance.random() < FAILS
        if before:
            raise StorageError(f"Could not write {key}: no answer in time")
        etag = super().put(key, content, if_match=if_match)
        if after:
            raise StorageError(f"Could not write {key}: the answer was lost")
        return etag


def failing(edges: Edges, reality: Reality, chance: random.Random) -> Edges:
    """The same edges on storage that fails now and then, while the time goes on."""
    milliseconds = itertools.count(1)
    bucket = FailingBucket.__new__(FailingBucket)
    bucket.__dict__.update(reality.bucket.__dict__)
    bucket.arm(chance)
    bulk = Bulk(bucket)
    return replace(
        edges,
        documents=S3Documents(bucket),
        events=S3Events(bulk),
        deliveries=S3Deliveries(bucket, bulk),
        run_index=S3RunIndex(bucket),
        clock=lambda: reality.clock() + timedelta(milliseconds=next(milliseconds)),
    )


def live_through(reality: Reality, request_id: str, number: int) -> None:
    """From the pull request to the apply, with a plan that failed first, a re-run, an objection and a drift check;
    every other request is destroyed instead. What the web app stores when it dispatches is stored."""
    world, clock = reality.world, reality.clock
    triggers: dict[str, str] = {}

    def later() -> Any:
        clock.advance(seconds=2)
        return clock()

    def ran(kind: WorkflowKind, conclusion: str, *, branch: str) -> int:
        run = world.add_run(REPO, FILES[kind], branch=branch, title=f"{kind} {request_id}", status="queued", at=later())
        triggers[f"github.{kind}TriggeredAt"] = format_time(run.created_at)
        world.update_run(run.id, status="in_progress", at=later())
        world.update_run(run.id, conclusion=conclusion, at=later())
        return run.id

    branch = f"request/{request_id}"
    world.add_pull(REPO, branch=branch, title=f"Infra request {request_id}", number=number)
    plan = ran(WorkflowKind.PLAN, "failure", branch=branch)
    world.rerun(plan, at=later())
    world.update_run(plan, conclusion="success", at=later())
    world.close_pull(REPO, number, at=later())
    world.reopen_pull(REPO, number, at=later())
    world.add_review(REPO, number, login="ada", state="CHANGES_REQUESTED", at=later())
    world.add_review(REPO, number, login="tom-r", state="APPROVED", at=later())
    world.add_review(REPO, number, login="ada", state="APPROVED", at=later())
    world.merge_pull(REPO, number, at=later())
    ran(WorkflowKind.APPLY, "success", branch="main")
    del triggers["github.planTriggeredAt"]  # a push started it
    ran(last_kind(number), "success", branch="main")
    triggers.pop("github.drift_planTriggeredAt", None)  # somebody else did
    files = {"targetFiles": [f"envs/dev/{request_id}.tf"], "targetEnvPath": "envs/dev"}
    reality.store(having({**triggers, **files}, with_pull(request(request_id), number)))


def last_kind(number: int) -> WorkflowKind:
    """What became of an applied request in the end."""
    return WorkflowKind.DESTROY if number % 2 else WorkflowKind.DRIFT_PLAN


def stormy(deliveries: Sequence[Delivery], chance: random.Random) -> list[Delivery]:
    """Some lost, some repeated, some much later than they should be."""
    kept = [each for each in deliveries if chance.random() >= LOST]
    repeated = [*kept, *(each for each in kept if chance.random() < REPEATED)]
    places = [index + (chance.random() * 40 if chance.random() < REORDERED else 0) for index in range(len(repeated))]
    return [each for _, each in sorted(zip(places, repeated, strict=True), key=lambda pair: pair[0])]


def sent(edges: Edges, deliveries: Sequence[Delivery], answers: Callable[[Delivery], None]) -> None:
    def send(delivery: Delivery) -> None:
        try:
            receive(edges, delivery)
        except StorageError:
            return
        answers(delivery)

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, deliveries))


def test_nothing_that_was_answered_is_lost_and_one_sweep_brings_what_was_not(
    reality: Reality, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GITHUB_WEBHOOK_SECRET", SECRET)
    edges, chance = reality.serve_portal().edges, random.Random(7)
    told: list[Delivery] = []

    def note(hooked: Any) -> None:
        headers = hooked.headers
        told.append(Delivery(headers["X-GitHub-Delivery"], hooked.event, headers["X-Hub-Signature-256"], hooked.body))

    Hook(reality.world, note, secret=SECRET)
    for number, request_id in enumerate(IDS, 1):
        live_through(reality, request_id, number)
    reality.clock.advance(minutes=1)
    assert len(told) == REQUESTS * 18

    answered: list[Delivery] = []
    sent(failing(edges, reality, chance), stormy(told, chance), answered.append)
    assert len(answered) > len(told) / 2

    for delivery in answered:
        again = receive(edges, replace(delivery, guid=str(uuid.uuid4())))
        assert again.disposition is Disposition.IGNORED, again

    reality.clock.advance(hours=1)
    failures = [outcome for outcome in sweep(edges, SweepScope.ALL) if outcome.error is not None]
    assert failures == []
    for number, request_id in enumerate(IDS, 1):
        assert_as_github_has_it(reality, edges, request_id, number)


def assert_as_github_has_it(reality: Reality, edges: Edges, request_id: str, number: int) -> None:
    stored = parse_request(reality.document(request_id))
    by_github = {
        WorkflowKind.PLAN: ("success", 2),
        WorkflowKind.APPLY: ("success", 1),
        last_kind(number): ("success", 1),
    }
    assert {kind: (stored.runs[kind].conclusion, stored.runs[kind].attempt) for kind in by_github} == by_github
    assert (stored.approval.approved, sorted(stored.approval.approvers)) == (True, ["ada", "tom-r"])
    assert stored.pull is not None
    assert stored.pull.merged
    entries = {kind: edges.run_index.find(kind, fact.run_id or 0) for kind, fact in stored.runs.items()}
    owners = {kind: entry and entry.request_id for kind, entry in entries.items()}
    assert owners == dict.fromkeys(stored.runs, request_id), stored.runs
    cleanups = reality.world.dispatches()[FILES[WorkflowKind.CLEANUP], request_id]
    assert cleanups == (1 if last_kind(number) is WorkflowKind.DESTROY else 0)
