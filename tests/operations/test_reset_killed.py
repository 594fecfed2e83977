"""A reset whose process died, on edges in memory; tests/reality kills real ones anywhere."""

from __future__ import annotations

import pytest

from tests.core.reset_world import REQUESTS, KilledError
from tests.fakes import InMemory
from tests.reset_setup import ADMIN, DevEnvironment, dev_environment
from tfpilot.core.reset_confirm import undo_phrase_of
from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_steps import ResetRecord
from tfpilot.operations.reset import resume_reset, undo_reset
from tfpilot.operations.reset_views import list_resets, read_reset


@pytest.fixture
def dev(memory: InMemory) -> DevEnvironment:
    return dev_environment(memory)


def reset_id_of(dev: DevEnvironment) -> str:
    return list_resets(dev.memory.edges)[0].reset_id


def test_a_reset_that_ended_before_its_first_change_is_undone_and_the_target_is_free_for_another(
    dev: DevEnvironment,
) -> None:
    before = dev.contents()

    def die(_record: ResetRecord) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        dev.apply(dev.plan(), on_begin=die)
    typed = undo_phrase_of(read_reset(dev.memory.edges, reset_id_of(dev)).plan)
    undone = undo_reset(dev.memory.edges, reset_id_of(dev), typed=typed, operator=ADMIN)
    assert undone.receipt.stage is Stage.UNDONE
    assert dev.contents() == before
    dev.memory.clock.advance(seconds=1)
    assert dev.apply(dev.plan()).receipt.stage is Stage.FINISHED


def test_a_reset_that_died_after_it_replaced_a_copy_in_history_goes_on_from_the_backup_of_it(
    dev: DevEnvironment,
) -> None:
    bucket, older = dev.memory.bucket, REQUESTS[2]

    def die_when_replaced() -> None:
        contents = bucket.contents()
        if contents[f"history/{older}.json"] == contents[f"requests/{older}.json"]:
            raise KilledError
        bucket.interfere = die_when_replaced

    plan = dev.plan()
    bucket.interfere = die_when_replaced
    with pytest.raises(KilledError):
        dev.apply(plan)
    dev.memory.clock.advance(minutes=5)
    ended = resume_reset(dev.memory.edges, reset_id_of(dev), operator=ADMIN)
    assert ended.receipt.kept == ()
    assert not [key for key in dev.contents() if key in {f"requests/{each}.json" for each in REQUESTS}]
