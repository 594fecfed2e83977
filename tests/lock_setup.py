"""Terraform locks that somebody holds, in memory or on real stores, and the runs at GitHub they may belong to."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.builders import NOW
from tests.core.reset_world import NAMED, PLAIN, target
from tests.fakes import InMemory
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.lock_records import S3LockRecords
from tfpilot.adapters.lock_table import LockTable
from tfpilot.adapters.reset_store import S3ResetStore
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import format_time
from tfpilot.core.model import RepoRef, RunFact, WorkflowKind, WorkflowRun
from tfpilot.core.reset_steps import Place, Store, lock_places
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import LockMode, lock_id
from tfpilot.edges import Edges

KEY, OTHER_KEY = PLAIN.object_key, NAMED.object_key
LOCK = "6b0f3c1e-52a7-4c1d-9f0e-8d1c0c7a41b2"
RUNNER = "runner@fv-az812-44"
REPO = RepoRef("acme", "infra")
HOURS_AGO = NOW - timedelta(hours=3)


def targets(memory: InMemory, *modes: LockMode) -> tuple[ResetTarget, ...]:
    """Configures a target per mode, each with two free states, in buckets and tables of their own."""
    made = tuple(
        replace(
            target(mode),
            name=f"{mode.value}-dev",
            bucket=f"tfstate-{mode.value}",
            lock_table=f"locks-{mode.value}" if mode.has_table else "",
        )
        for mode in modes
    )
    memory.resets = replace(memory.resets, targets=made)
    return made


def lock_text(held_by: str = RUNNER, *, lock: str = LOCK, since: datetime = HOURS_AGO, **fields: Any) -> str:
    """What Terraform stores, in its order of the fields."""
    stored = {
        "ID": lock,
        "Operation": "OperationTypeApply",
        "Info": "",
        "Who": held_by,
        "Version": "1.15.5",
        "Created": format_time(since),
        "Path": f"tfstate/{KEY}",
        **fields,
    }
    return json.dumps(stored)


def hold(
    memory: InMemory,
    chosen: ResetTarget,
    text: str | None = "",
    *,
    key: str = KEY,
    only: Collection[Store] = frozenset(Store),
) -> None:
    """Puts a lock, by default a runner's, into every place of a state's lock; None: an item without Info."""
    said = lock_text() if text == "" else text
    for place in lock_places(chosen, key):
        if place.store in only:
            put(memory, chosen, place, said)


def put(memory: InMemory, chosen: ResetTarget, place: Place, text: str | None) -> None:
    if place.store is Store.LOCK_TABLE:
        memory.reset_stores.items[chosen.lock_table, place.key] = text
    else:
        memory.reset_stores.objects[chosen.bucket, place.key] = (text or "").encode()


def locks_held(memory: InMemory) -> dict[tuple[str, str], Any]:
    """Everything that stands in a place of a lock."""
    return {**memory.reset_stores.objects, **memory.reset_stores.items}


def github_run(
    memory: InMemory,
    run_id: int = 7310002977,
    *,
    kind: WorkflowKind = WorkflowKind.APPLY,
    conclusion: str | None = "cancelled",
    began: datetime = HOURS_AGO - timedelta(minutes=1),
    ended: datetime = HOURS_AGO + timedelta(minutes=5),
    **fields: Any,
) -> WorkflowRun:
    """A run that GitHub lists; without a conclusion it is in progress."""
    fact = RunFact(
        run_id=run_id,
        status="completed" if conclusion else "in_progress",
        conclusion=conclusion,
        created_at=began,
        updated_at=ended,
        html_url=f"https://github.com/{REPO}/actions/runs/{run_id}",
    )
    file = memory.rules.workflow_files[kind]
    run = WorkflowRun(fact, fields.pop("repo", REPO), path=f".github/workflows/{file}", **fields)
    memory.workflows.runs.setdefault(file, []).append(run)
    return run


def item_of(chosen: ResetTarget, key: str = KEY) -> tuple[str, str]:
    """Where the lock item of a state is."""
    return chosen.lock_table, lock_id(chosen.bucket, key)


def edges_on(memory: InMemory, bucket: Bucket, table: LockTable, chosen: ResetTarget) -> Edges:
    """Edges whose locks and records are on real stores; GitHub and the clock stay in memory."""
    memory.resets = replace(memory.resets, targets=(chosen,))

    class Stores:
        def of(self, asked: ResetTarget) -> S3ResetStore:
            return S3ResetStore(bucket, Bulk(bucket), bucket.sibling(asked.bucket), table)

    return replace(memory.edges, reset_stores=Stores(), lock_records=S3LockRecords(bucket))
