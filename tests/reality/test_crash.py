"""A reset that is killed anywhere, on real stores: resume ends complete, undo ends with every byte as before.

Between two writes nothing changes, so a kill after one write is a kill before the next. `make crash` tries both, and
everything that is tried at some places only, at all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.core.reset_world import state_bytes
from tests.reality.conftest import NewDev
from tests.reality.crash_driver import AFTER, BEFORE, Answer, Order
from tests.reality.real_commands import succeeded, terraform_in
from tests.reality.real_dev import Contents, RealDev, fill_requests, fill_small
from tests.terraform_cli import FAILED, NOTHING_TO_DO, TO_CHANGE, Terraform, plan_past_itself
from tfpilot.adapters.lock_table import DIGEST
from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.reset_steps import Phase
from tfpilot.core.run_index import PREFIX as INDEX_PREFIX
from tfpilot.core.terraform import LockMode, digest_id, md5_of
from tfpilot.core.terraform_state import empty_state

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
LANES = 3
"""How many dev environments are killed side by side."""
EVERYTHING = os.environ.get("TFPILOT_CRASH_EVERYTHING") == "1"
STRIDE = 1 if EVERYTHING else 8
CASES = [(mode, StateMode.REMOVE) for mode in LockMode] + [(LockMode.BOTH, StateMode.EMPTY)] * EVERYTHING
LEASE = timedelta(minutes=20)
"""So long that no process renews it in the middle: every reset makes the same writes, however busy the machine is."""
MINUTES_BETWEEN = 30
"""Longer than the lease of a process that died."""
UNTIL_IT_IS_KNOWN = 3
"""The lease, the plan and the record: before the third write nobody can know of the reset, and nothing was changed."""

Try = Callable[["Lane"], None]


@dataclass
class Lane:
    """A dev environment, and the process whose children reset it."""

    dev: RealDev
    before: Contents
    driver: subprocess.Popen[str]
    state_mode: StateMode = StateMode.REMOVE
    minutes: int = 0

    def order(self, act: str, *, kill_at: int = 0, when: str = AFTER) -> Answer:
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(Order(act, self.state_mode, kill_at, when, self.minutes).told() + "\n")
        self.driver.stdin.flush()
        told = self.driver.stdout.readline()
        assert told, f"the driver ended with {self.driver.wait()}"
        self.minutes += MINUTES_BETWEEN
        return Answer.heard(told)

    def kill(self, act: str, number: int, when: str = AFTER) -> None:
        """Has it die at that write. Whatever was done by then, Terraform would take the state, or its absence."""
        answer = self.order(act, kill_at=number, when=when)
        assert answer.died, f"{act} lived on {when} write {number}: {answer}"
        assert self.dev.checksum_errors() == []

    def begin_anew(self) -> None:
        self.dev.put_back(self.before)
        self.minutes = 0


@contextmanager
def driven(dev: RealDev, before: Contents, state_mode: StateMode = StateMode.REMOVE) -> Iterator[Lane]:
    """A lane, and its process until the block ends."""
    line = [sys.executable, "-m", "tests.reality.crash_driver"]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdin is not None
        driver.stdin.write(replace(dev, lease_for=LEASE).told() + "\n")
        driver.stdin.flush()
        yield Lane(dev, before, driver, state_mode)


@pytest.fixture(params=CASES, ids="-".join)
def lanes(request: pytest.FixtureRequest, new_dev: NewDev) -> Iterator[list[Lane]]:
    mode, state_mode = request.param
    with ExitStack() as stack:
        devs = [new_dev(mode) for _ in range(LANES)]
        yield [stack.enter_context(driven(dev, fill_small(dev), state_mode)) for dev in devs]


def test_killed_between_any_two_writes_it_is_completed_by_resume_and_taken_back_by_undo(lanes: list[Lane]) -> None:
    writes = writes_of(lanes[0], "apply")
    points = [(number, AFTER) for number in range(1, len(writes) + 1)]
    points += [(number, BEFORE) for number in (range(1, len(writes) + 1) if EVERYTHING else [1])]
    run_all(lanes, [partial(kill_and, act, number, when) for number, when in points for act in ("resume", "undo")])


def kill_and(act: str, number: int, when: str, lane: Lane) -> None:
    told = f"{act} after a kill {when} write {number}"
    lane.kill("apply", number, when)
    answer = lane.order(act)
    if number < UNTIL_IT_IS_KNOWN or (number, when) == (UNTIL_IT_IS_KNOWN, BEFORE):
        assert answer == Answer(), told
        assert lane.dev.contents() == lane.before, told
    else:
        check_after(act, answer, lane, told)
    lane.begin_anew()


def test_whoever_is_killed_while_resuming_or_undoing_is_followed_by_another(lanes: list[Lane]) -> None:
    half = writes_of(lanes[0], "apply")
    for act in ("resume", "undo"):
        lanes[0].kill("apply", middle_of(half))
        writes = writes_of(lanes[0], act)
        points = [(number, AFTER) for number in range(1, len(writes) + 1, STRIDE)]
        points += [(number, BEFORE) for number in range(1, len(writes) + 1, STRIDE) if EVERYTHING]
        run_all(lanes, [partial(kill_twice_and, act, middle_of(half), number, when) for number, when in points])


def kill_twice_and(act: str, first: int, second: int, when: str, lane: Lane) -> None:
    """Requests are moved side by side, so what is left to write after the first kill differs by the few writes of the
    other request. Whoever has less to write than was counted comes to its end, which is looked at like any other."""
    lane.kill("apply", first)
    answer = lane.order(act, kill_at=second, when=when)
    if answer.died:
        assert lane.dev.checksum_errors() == []
        answer = lane.order(act)
    else:
        assert len(answer.writes) < second, f"{act} lived on {when} write {second}: {answer}"
    check_after(act, answer, lane, f"{act} after a kill {when} write {second} of another")
    lane.begin_anew()


def middle_of(writes: Sequence[str]) -> int:
    """The write by which the first request leaves `requests/`: states, digests and copies are behind."""
    return next(number for number, name in enumerate(writes, 1) if name.startswith("delete_object requests/"))


def writes_of(lane: Lane, act: str) -> Sequence[str]:
    """The writes of one that lives."""
    answer = lane.order(act)
    assert answer.stage == (Stage.UNDONE if act == "undo" else Stage.FINISHED), answer
    lane.begin_anew()
    return answer.writes


def check_after(act: str, answer: Answer, lane: Lane, told: str) -> None:
    assert answer.stage == (Stage.UNDONE if act == "undo" else Stage.FINISHED), f"{told}: {answer}"
    assert lane.dev.contents() == (lane.before if act == "undo" else what_is_left(lane)), told
    receipts = [key for key in lane.dev.keys("ops/resets/") if "/receipts/" in key]
    assert {key.rpartition(".")[2] for key in receipts} == {"md", "json"}, told


def what_is_left(lane: Lane) -> Contents:
    """States, digests, locks and entries are gone; the requests are in history, the others' where they were.

    Where states were to be emptied, those are there, with their digests.
    """
    dev, before = lane.dev, lane.before
    moved = {
        (dev.requests.name, f"history/{request_id}.json"): before[dev.requests.name, f"requests/{request_id}.json"]
        for request_id in ("req_dev_s3_a", "req_dev_s3_b")
    }
    bystander = (dev.requests.name, "requests/req_dev_other_0.json")
    emptied: Contents = {}
    if lane.state_mode is StateMode.EMPTY:
        content = empty_state(state_bytes())
        emptied[dev.state_bucket, dev.states[0].object_key] = content
        digest = digest_id(dev.state_bucket, dev.states[0].object_key)
        emptied[dev.table, digest] = json.dumps({DIGEST: {"S": md5_of(content)}})
    return {**moved, bystander: before[bystander], **emptied}


def run_all(lanes: Sequence[Lane], tries: Sequence[Try]) -> None:
    """Each in the next lane that is free; the first that fails ends all of it."""
    free: SimpleQueue[Lane] = SimpleQueue()
    for lane in lanes:
        free.put(lane)

    def run(attempt: Try) -> None:
        lane = free.get()
        attempt(lane)
        free.put(lane)

    pool = ThreadPoolExecutor(len(lanes))
    try:
        for done in [pool.submit(run, attempt) for attempt in tries]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)


# What real Terraform says


@pytest.mark.parametrize("mode", list(LockMode))
def test_terraform_is_blocked_after_a_kill_in_any_phase_and_plans_as_it_should_after_resume_and_undo(
    new_dev: NewDev, tmp_path: Path, mode: LockMode
) -> None:
    dev = new_dev(mode)
    terraform = terraform_in(dev, tmp_path)
    succeeded(terraform.init())
    succeeded(terraform.apply())
    with driven(dev, fill_requests(dev)) as lane:
        kills = kills_by_phase(lane, writes_of(lane, "apply"))
        assert set(kills) == {phase for phase in Phase if phase is not Phase.DIGEST or mode.has_table}
        for phase, number in kills.items():
            told = f"killed in {phase}, at write {number}"
            lane.kill("apply", number)
            check_blocked(terraform, dev, is_released=phase is Phase.UNLOCK and mode is not LockMode.BOTH, told=told)
            check_after("resume", lane.order("resume"), lane, told)
            check_plan(terraform, dev, TO_CHANGE, told)
            check_after("undo", lane.order("undo"), lane, told)
            check_plan(terraform, dev, NOTHING_TO_DO, told)
            lane.begin_anew()
            if EVERYTHING:
                lane.kill("apply", number)
                check_after("undo", lane.order("undo"), lane, told)
                check_plan(terraform, dev, NOTHING_TO_DO, told)
                lane.begin_anew()


def kills_by_phase(lane: Lane, writes: Sequence[str]) -> dict[Phase, int]:
    """A write of each phase, after which the reset is not over and its lock is held, or half of it."""
    dev, state = lane.dev, lane.dev.states[0].object_key
    item = f"{dev.state_bucket}/{state}"
    locks = [n for n, name in enumerate(writes, 1) if name in {f"put_object {state}.tflock", f"put_item {item}"}]
    starts = {
        Phase.BACKUP: "put_object tfpilot-ops-backup/",
        Phase.DIGEST: f"delete_item {item}-md5\n",
        Phase.STATE: f"delete_object {state}\n",
        Phase.REQUESTS: "delete_object requests/",
        Phase.INDEX: f"delete_object {INDEX_PREFIX}",
        Phase.UNLOCK: f"delete_item {item}\n" if dev.mode.has_table else f"delete_object {state}.tflock\n",
    }
    found = {
        phase: next((n for n, name in enumerate(writes, 1) if f"{name}\n".startswith(start)), 0)
        for phase, start in starts.items()
    }
    # After the lock its result is written, then the comparison's intent.
    return {Phase.LOCK: locks[-1], Phase.COMPARE: locks[-1] + 2, **{p: n for p, n in found.items() if n}}


def check_blocked(terraform: Terraform, dev: RealDev, *, is_released: bool, told: str) -> None:
    if is_released:
        check_plan(terraform, dev, TO_CHANGE, told)
        return
    blocked = terraform.plan()
    assert blocked.rc == FAILED, f"{told}: {blocked.output}"
    assert "Error acquiring the state lock" in blocked.output, told
    assert "ops-lead@tfpilot-ops" in blocked.output, told


def check_plan(terraform: Terraform, dev: RealDev, code: int, told: str) -> None:
    planned = plan_past_itself(terraform, dev.free_locks)
    assert planned.rc == code, f"{told}: {planned.output}"
