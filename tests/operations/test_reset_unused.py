"""An undo after Terraform looked at a workspace that the reset had emptied, and so put an empty state there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.reset_world import NAMED
from tests.fakes import InMemory
from tests.reset_setup import DevEnvironment, dev_environment
from tfpilot.core.reset_journal import Stage
from tfpilot.core.terraform import LockMode, digest_id
from tfpilot.operations.reset_views import preview_undo


@pytest.fixture(params=list(LockMode))
def dev(request: pytest.FixtureRequest, memory: InMemory) -> DevEnvironment:
    return dev_environment(memory, request.param)


def made_by_terraform(**fields: Any) -> bytes:
    """As `terraform init` leaves it in a workspace that has no state."""
    state = {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 1,
        "lineage": "7d50ea07-9f1b-aec3-f61e-29c942302f4c",
        "outputs": {},
        "resources": [],
        "check_results": None,
    }
    return json.dumps({**state, **fields}, indent=2).encode()


def test_an_empty_state_that_terraform_made_by_itself_gives_way_with_its_digest(dev: DevEnvironment):
    before = dev.contents()
    ended = dev.apply(dev.plan())
    dev.memory.reset_stores.put_state(dev.target, NAMED.object_key, made_by_terraform())
    assert all(line.is_free for line in preview_undo(dev.memory.edges, ended.receipt.record.reset_id))
    undone = dev.undo(ended).receipt
    assert (undone.stage, undone.kept) == (Stage.UNDONE, ())
    assert dev.contents() == before


@pytest.mark.parametrize(
    "fields",
    [
        {"serial": 2},
        {"outputs": {"url": {"value": "https://example.test", "type": "string"}}},
        {"resources": [{"mode": "managed", "type": "terraform_data", "name": "r", "instances": [{}]}]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_state_that_somebody_used_stays_with_its_digest(dev: DevEnvironment, fields: dict[str, Any]):
    ended = dev.apply(dev.plan())
    stores = dev.memory.reset_stores
    stores.put_state(dev.target, NAMED.object_key, made_by_terraform(**fields))
    objects, items = dict(stores.objects), dict(stores.items)
    lines = preview_undo(dev.memory.edges, ended.receipt.record.reset_id)
    assert NAMED.object_key in {line.step.subject for line in lines if not line.is_free}
    undone = dev.undo(ended).receipt
    assert NAMED.object_key in {each.subject for each in undone.kept}
    assert stores.objects.items() >= objects.items()
    assert stores.items.items() >= items.items()


def test_an_empty_state_with_a_digest_of_something_else_stays(memory: InMemory):
    dev = dev_environment(memory, LockMode.BOTH)
    ended = dev.apply(dev.plan())
    stores = dev.memory.reset_stores
    stores.put_state(dev.target, NAMED.object_key, made_by_terraform())
    digest = (dev.target.lock_table, digest_id(dev.target.bucket, NAMED.object_key))
    stores.items[digest] = "0" * 32
    assert NAMED.object_key in {each.subject for each in dev.undo(ended).receipt.kept}
    assert stores.objects[dev.target.bucket, NAMED.object_key] == made_by_terraform()
    assert stores.items[digest] == "0" * 32
