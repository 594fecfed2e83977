"""Clearing a request's own lock, once its time is over."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import ago
from tests.dispatch_setup import ADMIN, APPROVER, DEVELOPER, applied
from tests.operations.dispatching import web_app_stores
from tfpilot.errors import MissingRightError, RefusedError
from tfpilot.operations.request_lock import clear_lock

FIRST = "req_dev_a"


def held(**fields: Any) -> dict[str, Any]:
    return applied(FIRST, lock={"holder": "web-app", "operation": "apply", **fields})


def test_a_lock_whose_time_is_over_can_be_cleared(memory):
    memory.store(held(expiresAt=ago(seconds=1)))
    assert [each.dotted for each in clear_lock(memory.edges, FIRST, operator=APPROVER).changes] == ["lock"]
    assert "lock" not in memory.stored(FIRST)


def test_a_lock_that_is_held_is_not_cleared(memory):
    memory.store(held(expiresAt=ago(seconds=-1)))
    with pytest.raises(RefusedError, match=f"{FIRST} is locked by web-app"):
        clear_lock(memory.edges, FIRST, operator=ADMIN)
    assert "lock" in memory.stored(FIRST)


def test_clearing_a_lock_takes_an_approver(memory):
    memory.store(held(expiresAt=ago(seconds=1)))
    with pytest.raises(MissingRightError, match="clear a request lock"):
        clear_lock(memory.edges, FIRST, operator=DEVELOPER)


def test_without_a_lock_nothing_is_written(memory):
    memory.store(applied(FIRST))
    assert clear_lock(memory.edges, FIRST, operator=APPROVER).changes == ()
    assert memory.bucket.writes == []


def test_a_lock_that_somebody_took_meanwhile_is_not_cleared(memory):
    memory.store(held(expiresAt=ago(seconds=1)))
    taken = held(expiresAt=ago(seconds=-60))
    memory.bucket.interfere = lambda: web_app_stores(memory, taken)
    with pytest.raises(RefusedError):
        clear_lock(memory.edges, FIRST, operator=APPROVER)
    assert memory.stored(FIRST)["lock"] == taken["lock"]
