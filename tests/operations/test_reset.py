"""A reset from plan to undo, on edges in memory."""

from __future__ import annotations

import pytest

from tests.core.reset_world import REQUESTS
from tests.fakes import InMemory
from tests.reset_setup import DevEnvironment, dev_environment
from tfpilot.core.reset_journal import Stage
from tfpilot.core.terraform import LockMode


@pytest.fixture(params=list(LockMode))
def dev(request: pytest.FixtureRequest, memory: InMemory) -> DevEnvironment:
    return dev_environment(memory, request.param)


def test_a_reset_removes_states_requests_and_entries_and_an_undo_puts_back_every_byte(dev: DevEnvironment) -> None:
    before = dev.contents()
    ended = dev.apply(dev.plan())
    assert ended.receipt.stage is Stage.FINISHED
    left = dev.contents()
    assert {key for key in left if isinstance(key, tuple)} == set()
    assert not [key for key in left if key in {f"requests/{each}.json" for each in REQUESTS}]
    assert not [key for key in left if isinstance(key, str) and key.startswith("webhooks/")]
    undone = dev.undo(ended)
    assert undone.receipt.stage is Stage.UNDONE
    assert dev.contents() == before
