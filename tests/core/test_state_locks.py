"""Locks that are held: one or half, which run may hold them, and the verdict with its evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.builders import NOW
from tests.core.reset_world import PLAIN, dev_world, read_plan, record, target
from tfpilot.core.lease import Lease
from tfpilot.core.model import RepoRef, RunFact, WorkflowRun
from tfpilot.core.reset_steps import OPERATION, lock_places
from tfpilot.core.state_locks import (
    CLOCK_TOLERANCE,
    HeldStateLock,
    HolderRun,
    JobsAsked,
    JudgedLock,
    LockReading,
    LockVerdict,
    OwnReset,
    RunsAsked,
    SeenPlace,
    held_locks,
    in_environment,
    is_of_reset,
    is_runner,
    judge,
    judge_own,
    named_owner,
    runs_at,
    same_places,
    worst_first,
)
from tfpilot.core.terraform import LockInfo, LockMode, MalformedLock, StoredLock

REPO = RepoRef("acme", "infra")
SECOND = timedelta(seconds=1)
RUNNER = "runner@fv-az812-44"
KEY = PLAIN.object_key
NO_RUNS, NO_JOBS = RunsAsked(), JobsAsked()


def info(
    lock_id: str = "6b0f3c1e", *, who: str = RUNNER, created: datetime | None = NOW, operation: str = ""
) -> LockInfo:
    return LockInfo(lock_id, operation or "OperationTypeApply", "", who, "1.15.5", created, f"tfstate-dev/{KEY}")


def stored(lock: LockInfo | MalformedLock, version: str = "v1") -> StoredLock:
    return StoredLock(lock, version)


def reading(mode: LockMode, *found: StoredLock | None, at: datetime = NOW) -> LockReading:
    places = lock_places(target(mode), KEY)
    return LockReading("payments-dev", KEY, tuple(map(SeenPlace, places, found)), at)


def held(lock: LockInfo | MalformedLock) -> HeldStateLock:
    [found] = held_locks(target(LockMode.LOCKFILE), reading(LockMode.LOCKFILE, stored(lock)))
    return found


def run(run_id: int = 731, status: str = "in_progress", conclusion: str | None = None, **fields: Any) -> WorkflowRun:
    times = {"created_at": NOW - 60 * SECOND, "updated_at": NOW + 60 * SECOND, **fields}
    fact = RunFact(run_id=run_id, status=status, conclusion=conclusion, **times)
    return WorkflowRun(fact, REPO, path=".github/workflows/apply.yml")


def over(run_id: int = 731, conclusion: str = "cancelled", **fields: Any) -> WorkflowRun:
    return run(run_id, "completed", conclusion, **fields)


def verdict(
    lock: LockInfo | MalformedLock,
    *runs: WorkflowRun,
    asked: RunsAsked = NO_RUNS,
    jobs: JobsAsked = NO_JOBS,
) -> JudgedLock:
    return judge(held(lock), [HolderRun(each) for each in runs], asked, jobs, repo="acme/infra")


# One lock or two, whole or half


@pytest.mark.parametrize("mode", [LockMode.DYNAMODB, LockMode.LOCKFILE])
def test_a_lock_in_the_one_place_of_its_mode_is_whole(mode: LockMode) -> None:
    [found] = held_locks(target(mode), reading(mode, stored(info())))
    assert (len(found.parts), found.other, found.handle) == (1, None, "6b0f3c1e")


@pytest.mark.parametrize("mode", list(LockMode))
def test_a_free_state_has_no_lock(mode: LockMode) -> None:
    free = [None] * len(lock_places(target(mode), KEY))
    assert held_locks(target(mode), reading(mode, *free)) == ()


def test_lockfile_and_item_with_the_same_id_are_one_lock_with_two_places() -> None:
    both = reading(LockMode.BOTH, stored(info(), "etag"), stored(info(), "text"))
    [found] = held_locks(target(), both)
    assert [part.place for part in found.parts] == list(lock_places(target(), KEY))
    assert found.other is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((stored(info()), None), "Half a lock: the lockfile is held, the lock item is not"),
        ((None, stored(info())), "Half a lock: the lock item is held, the lockfile is not"),
    ],
)
def test_half_a_lock_says_which_side_is_missing(found: tuple[StoredLock | None, ...], said: str) -> None:
    [lock] = held_locks(target(), reading(LockMode.BOTH, *found))
    assert said in judge(lock, [], NO_RUNS, NO_JOBS, repo="acme/infra").evidence


def test_two_different_locks_of_one_state_are_two_halves() -> None:
    found = held_locks(target(), reading(LockMode.BOTH, stored(info("a")), stored(info("b"))))
    assert [lock.handle for lock in found] == ["a", "b"]
    judged = judge(found[0], [], NO_RUNS, NO_JOBS, repo="acme/infra")
    assert "the lock item is held by another lock" in judged.evidence[-1]


def test_a_malformed_lock_is_typed_by_the_key_of_its_place() -> None:
    [file] = held_locks(target(), reading(LockMode.BOTH, stored(MalformedLock("The lock is empty", "")), None))
    [item] = held_locks(target(), reading(LockMode.BOTH, None, StoredLock(MalformedLock("no Info", None), None)))
    assert (file.handle, item.handle) == (f"{KEY}.tflock", f"tfstate-dev/{KEY}")


def test_readings_are_equal_where_every_place_is_as_it_was_and_only_then() -> None:
    first = reading(LockMode.BOTH, stored(info()), None)
    assert same_places(first, replace(first, at=NOW + SECOND))
    assert not same_places(first, reading(LockMode.BOTH, stored(info(), "v2"), None))
    assert not same_places(first, reading(LockMode.BOTH, stored(info()), stored(info())))
    assert not same_places(first, replace(first, object_key="other"))
    assert not same_places(first, replace(first, target="other"))


# Who took it


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("runner@fv-az812-44", True),
        ("root@fv-az812-44", True),
        ("runner@runnervmabc", True),
        ("runner@arc-set-x7k2p-runner-8fj2", True),
        ("fv-az1\\runneradmin@fv-az1", True),
        ("lena@laptop-17", False),
        ("root@3f2a9c1b77de", False),
        ("runners@laptop", False),
        ("lena@my-fv-az", False),
        ("", False),
    ],
)
def test_a_runner_is_told_by_its_user_or_its_host(who: str, expected) -> None:
    assert is_runner(who) is expected


# Which runs were under way


@pytest.mark.parametrize(
    ("began", "expected"), [(CLOCK_TOLERANCE, True), (CLOCK_TOLERANCE + timedelta(milliseconds=1), False)]
)
def test_a_run_that_began_later_took_nothing(began: timedelta, expected) -> None:
    for fields in ({"created_at": NOW + began}, {"run_started_at": NOW + began}):
        assert bool(runs_at(NOW, [run(**fields)])) is expected


@pytest.mark.parametrize(
    ("ended", "expected"), [(CLOCK_TOLERANCE, True), (CLOCK_TOLERANCE + timedelta(milliseconds=1), False)]
)
def test_a_run_that_was_over_before_took_nothing(ended: timedelta, expected) -> None:
    assert bool(runs_at(NOW, [over(updated_at=NOW - ended)])) is expected


def test_a_run_that_is_not_over_is_not_excluded_by_its_last_change() -> None:
    assert runs_at(NOW, [run(updated_at=NOW - 3600 * SECOND)])


def test_a_run_that_was_started_again_may_have_taken_it_in_its_first_attempt() -> None:
    again = {"created_at": NOW - SECOND, "run_started_at": NOW + 3600 * SECOND}
    assert runs_at(NOW, [run(attempt=2, **again)])
    assert not runs_at(NOW, [run(attempt=1, **again)])


def test_a_run_without_times_cannot_be_excluded() -> None:
    assert runs_at(NOW, [run(created_at=None), over(updated_at=None)])


def test_runs_of_requests_of_other_environments_are_left_out() -> None:
    runs = [HolderRun(run(number), environment=name) for number, name in enumerate(["dev", "", "DEV ", "prod"], 1)]
    assert [each.run.fact.run_id for each in in_environment(runs, "dev")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("branch", "title", "owner"),
    [
        ("request/req_a", "apply req_b", "req_a"),
        ("main", "apply req_b", "req_b"),
        ("main", "req_a and req_b", ""),
        ("main", None, ""),
    ],
)
def test_a_run_is_told_by_its_branch_then_by_the_one_id_in_its_title(
    branch: str, title: str | None, owner: str
) -> None:
    assert named_owner(replace(run(), branch=branch, title=title)) == owner


# Verdicts


def test_an_active_run_makes_it_live_and_refuses_a_release() -> None:
    judged = verdict(info(), run(), jobs=JobsAsked(("job terraform, step “terraform apply”",)))
    assert judged.verdict is LockVerdict.LIVE
    assert judged.evidence == ("GitHub: run 731 of apply.yml is in_progress, job terraform, step “terraform apply”",)
    assert judged.refusal == "run 731 of apply.yml holds it and is not over"


@pytest.mark.parametrize("status", ["queued", "waiting", "pending", "requested", "something_new"])
def test_whatever_is_not_over_is_live(status: str) -> None:
    assert verdict(info(), run(status=status)).verdict is LockVerdict.LIVE


def test_it_is_live_where_every_run_that_may_hold_it_is_active() -> None:
    both = verdict(info(), run(1), run(2))
    assert (both.verdict, both.refusal) == (LockVerdict.LIVE, "one of 2 runs holds it, and none of them is over")
    assert verdict(info(), run(1), asked=RunsAsked(complete=False)).verdict is LockVerdict.LIVE


def test_the_one_run_that_is_over_makes_it_dead() -> None:
    judged = verdict(info(), over())
    assert (judged.verdict, judged.refusal) == (LockVerdict.DEAD, "")
    assert judged.evidence == (
        "GitHub: run 731 of apply.yml is over (cancelled) at 2026-03-02 12:01 UTC, no job is running",
    )
    assert [each.run.fact.run_id for each in judged.runs] == [731]


def test_a_run_that_is_over_with_a_job_at_work_is_live() -> None:
    judged = verdict(info(), over(), jobs=JobsAsked(("job terraform",)))
    assert judged.verdict is LockVerdict.LIVE
    assert judged.refusal


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (verdict(info(), over(), jobs=JobsAsked(problem="no answer")), "not whether a job of it still runs: no answer"),
        (verdict(info(), over(1), over(2)), "2 runs were under way when it was taken: run 1 of apply.yml (cancelled)"),
        (verdict(info(), over(1), run(2)), "run 2 of apply.yml (in_progress)"),
        (verdict(info()), "no run of acme/infra was under way then"),
        (verdict(info(), asked=RunsAsked(complete=False, problem="no answer")), "GitHub did not say which runs"),
        (verdict(info(), over(), asked=RunsAsked(complete=False)), "does not reach back"),
        (verdict(info(created=None), over()), "does not say since when"),
        (verdict(info(who="lena@laptop-17")), "Taken by hand, no run to ask about: ask lena"),
        (verdict(info(who="")), "ask whoever works there"),
    ],
)
def test_it_is_unknown_and_may_be_released_where_no_one_run_can_be_told(judged: JudgedLock, said: str) -> None:
    assert judged.verdict is LockVerdict.UNKNOWN
    assert said in judged.evidence[0]
    assert not judged.refusal


@pytest.mark.parametrize("under_way", [run(), over()])
def test_a_persons_lock_is_never_live_or_dead_and_names_what_ran_then(under_way: WorkflowRun) -> None:
    judged = verdict(info(who="lena@laptop-17"), under_way)
    assert (judged.verdict, judged.runs) == (LockVerdict.UNKNOWN, ())
    assert "ask lena" in judged.evidence[0]
    assert "run 731 of apply.yml" in judged.evidence[1]


def test_many_runs_are_counted_and_few_are_named() -> None:
    assert verdict(info(), *(over(number) for number in range(1, 9))).evidence[0].endswith("and 3 more")


def test_a_malformed_lock_says_what_is_wrong() -> None:
    judged = verdict(MalformedLock("The lock item has no Info", None))
    assert judged.verdict is LockVerdict.MALFORMED
    assert judged.evidence == ("The lock item has no Info; Terraform cannot release it",)


# A reset of ours

OURS = held(info(operation=OPERATION))
RECORD = record(read_plan(dev_world()))


def test_a_lock_of_a_reset_is_told_by_its_operation() -> None:
    assert is_of_reset(OURS)
    assert not is_of_reset(held(info()))
    assert not is_of_reset(held(MalformedLock("The lock is empty", "")))


def test_a_reset_at_work_is_live() -> None:
    lease = Lease("reset-payments-dev", "x", "ops-lead", "resetting payments-dev", NOW)
    judged = judge_own(OURS, OwnReset(RECORD, lease))
    assert judged is not None
    assert (judged.verdict, judged.reset_id) == (LockVerdict.LIVE, RECORD.reset_id)
    assert "at work" in judged.refusal


def test_a_reset_that_nobody_works_on_is_unknown_and_must_be_resumed_or_undone() -> None:
    judged = judge_own(OURS, OwnReset(RECORD))
    assert judged is not None
    assert (judged.verdict, judged.reset_id) == (LockVerdict.UNKNOWN, RECORD.reset_id)
    assert "resume or undo" in judged.refusal


def test_a_reset_that_cannot_be_looked_up_keeps_its_lock() -> None:
    judged = judge_own(OURS, OwnReset(None, problem="no answer in time"))
    assert judged is not None
    assert "no answer in time" in judged.refusal


def test_a_lock_of_no_reset_of_ours_is_judged_as_any_other() -> None:
    assert judge_own(OURS, OwnReset(None)) is None


# Order


def test_the_worst_come_first_then_those_held_longest() -> None:
    def one(lock_id: str, chosen: LockVerdict, created: datetime | None) -> JudgedLock:
        return JudgedLock(held(info(lock_id, created=created)), chosen, ())

    locks = [
        one("live", LockVerdict.LIVE, NOW),
        one("dead-new", LockVerdict.DEAD, NOW),
        one("unknown", LockVerdict.UNKNOWN, NOW),
        one("dead-old", LockVerdict.DEAD, NOW - SECOND),
        one("dead-timeless", LockVerdict.DEAD, None),
        one("malformed", LockVerdict.MALFORMED, None),
    ]
    ordered = ["dead-timeless", "dead-old", "dead-new", "malformed", "unknown", "live"]
    assert [each.lock.handle for each in worst_first(locks)] == ordered
