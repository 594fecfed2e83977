"""A lock item with all that somebody put into it, read for a record."""

from __future__ import annotations

import json

import pytest

from tests.fakes import InMemory
from tests.lock_setup import KEY, hold, lock_text, targets
from tfpilot.adapters.lock_table import LockTable
from tfpilot.core.reset_steps import lock_places
from tfpilot.core.terraform import LockMode
from tfpilot.sandbox.lock_table import LocalDynamoDB


@pytest.mark.server
def test_every_attribute_of_an_item_is_told_in_dynamodbs_json(
    lock_server: LocalDynamoDB, lock_table: LockTable
) -> None:
    item = {
        "LockID": {"S": "bucket/key"},
        "Info": {"S": "{}"},
        "raw": {"B": b"\xff\x00"},
        "list": {"L": [{"N": "1"}, {"M": {"inner": {"B": b"a"}}}]},
    }
    lock_server.connect().put_item(TableName=lock_table.name, Item=item)
    found = lock_table.find_item("bucket/key")
    assert json.loads(json.dumps(found)) == {
        "LockID": {"S": "bucket/key"},
        "Info": {"S": "{}"},
        "raw": {"B": "/wA="},
        "list": {"L": [{"N": "1"}, {"M": {"inner": {"B": "YQ=="}}}]},
    }
    assert lock_table.find_item("bucket/other") is None


@pytest.mark.parametrize("text", [lock_text(), None])
def test_the_fake_tells_an_item_alike(memory: InMemory, text: str | None) -> None:
    [chosen] = targets(memory, LockMode.DYNAMODB)
    store, [place] = memory.reset_stores.of(chosen), lock_places(chosen, KEY)
    assert store.find_lock_item(place) is None
    hold(memory, chosen, text)
    assert store.find_lock_item(place) == {"LockID": {"S": place.key}, **({"Info": {"S": text}} if text else {})}
