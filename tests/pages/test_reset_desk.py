"""What a tab and a process keep in mind of a reset that is under way."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from tests.fakes import InMemory
from tests.reset_setup import ADMIN, SECOND, DevEnvironment, dev_environment
from tfpilot.errors import RefusedError
from tfpilot.operations.reset import Ended
from tfpilot.operations.reset_views import list_resets
from tfpilot.ui import reset_acts
from tfpilot.ui.reset_deeds import Deed, DeedVerb, deeds_of
from tfpilot.ui.reset_desk import ResetDesk, Verb


@pytest.fixture
def dev(memory: InMemory) -> DevEnvironment:
    return dev_environment(memory)


def test_the_tab_that_began_a_reset_can_ask_it_to_stop(dev: DevEnvironment):
    edges = dev.memory.edges
    reset_id = dev.apply(dev.plan()).receipt.record.reset_id
    desk = ResetDesk()
    desk.deed = Deed(DeedVerb.APPLY, dev.target.name, "digest", ADMIN, reset_id)
    desk.deed.work = Future()
    reset_acts.begin_stop(edges, desk, ADMIN, reset_id=reset_id)
    assert desk.errand is not None
    desk.errand.work.result(10)
    stop = edges.reset_journal.find_stop(reset_id)
    assert stop is not None
    assert stop.by == ADMIN.login


def test_a_second_errand_waits_for_the_first(dev: DevEnvironment):
    desk, go_on = ResetDesk(), threading.Event()
    desk.begin(Verb.ASK, "first", lambda: go_on.wait(10))
    first = desk.errand
    desk.begin(Verb.STOP, "second", lambda: None)
    assert desk.errand is first
    go_on.set()


def test_one_target_has_one_deed_at_a_time_in_a_process(dev: DevEnvironment):
    edges, go_on = dev.memory.edges, threading.Event()
    deeds, plan = deeds_of(edges), dev.plan()

    def work(_deed: Deed) -> Ended:
        assert go_on.wait(10)
        return dev.apply(plan)

    mine = deeds.begin(edges, Deed(DeedVerb.APPLY, dev.target.name, "a", ADMIN), work)
    theirs = deeds.begin(edges, Deed(DeedVerb.APPLY, dev.target.name, "b", SECOND), work)
    assert theirs is mine
    go_on.set()
    mine.work.result(10)
    assert len(list_resets(edges)) == 1
    assert (mine.is_over, mine.error) == (True, None)


def test_a_failure_is_kept_until_the_next_deed(dev: DevEnvironment):
    edges = dev.memory.edges

    def refuse(_deed: Deed) -> Ended:
        raise RefusedError("No")

    deed = deeds_of(edges).begin(edges, Deed(DeedVerb.UNDO, dev.target.name, "a", ADMIN, "rst_1"), refuse)
    assert isinstance(deed.work.exception(10), RefusedError)
    kept = deeds_of(edges).of(dev.target.name)
    assert kept is deed
    assert isinstance(kept.error, RefusedError)
    assert kept.ended_at == edges.clock()
