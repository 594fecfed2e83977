"""What tests of webhook deliveries do and look at."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.builders import NOW, REQUEST_ID
from tests.fakes import OUTAGE, InMemory
from tests.webhook_payloads import delivery
from tfpilot.core.model import DispatchRecord, RepoRef, WorkflowKind
from tfpilot.operations.deliveries import Receipt, receive

DESTROY = WorkflowKind.DESTROY
NAMELESS = {"display_title": "Terraform", "head_branch": "main"}
"""A run that names no request."""


def received(memory: InMemory, event: str, payload: Any, *, guid: str | None = None) -> Receipt:
    return receive(memory.edges, delivery(event, payload, guid=guid))


def record_of(memory: InMemory, guid: str) -> dict[str, Any] | None:
    content = memory.bucket.contents().get(f"ops/deliveries/{guid}.json")
    return json.loads(content) if content is not None else None


def keys(memory: InMemory, prefix: str) -> list[str]:
    return sorted(key for key in memory.bucket.contents() if key.startswith(prefix))


def breaks_at(memory: InMemory, number: int) -> Callable[[], None]:
    """Storage that fails for good at the write with that number from now on, counted from 1."""

    def come_between() -> None:
        nonlocal number
        number -= 1
        if number == 0:
            memory.bucket.outage = OUTAGE
            raise OUTAGE
        memory.bucket.interfere = come_between

    return come_between


def open_dispatch(memory: InMemory, kind: WorkflowKind = DESTROY, *, at_minutes: float = 11) -> None:
    record = DispatchRecord(
        request_id=REQUEST_ID,
        nonce="n1",
        kind=kind,
        repo=RepoRef("acme", "infra"),
        workflow_file=f"{kind.value}.yml",
        ref="main",
        inputs={},
        operator="ops-lead",
        triggered_at=NOW - timedelta(minutes=at_minutes),
    )
    memory.edges.dispatches.add(record)
