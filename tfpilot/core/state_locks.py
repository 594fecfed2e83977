"""Terraform locks that are held: what they say, which run may hold them, and whether that run still lives.

A lock names no run. What tells it is the time it was taken and the repository: a run that had begun by then and was not
over yet. That is a strong hint only where the lock was taken on a runner of GitHub's, so a lock taken elsewhere is
never called live or dead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tfpilot.core.correlation import named_requests, request_of_branch
from tfpilot.core.lease import Lease
from tfpilot.core.model import WorkflowKind, WorkflowRun
from tfpilot.core.reset_steps import OPERATION, Place, ResetRecord, Store
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import LockInfo, LockMode, MalformedLock, StoredLock

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""How far the clocks of a runner and of GitHub may be apart."""

TERRAFORM_KINDS: Final = frozenset({
    WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY, WorkflowKind.DRIFT_PLAN,
})  # fmt: skip
"""The kinds of workflow that run Terraform: a cleanup only edits files."""

_RUNNER_USERS: Final = frozenset({"runner", "runneradmin"})
_RUNNER_HOST: Final = re.compile(r"(?:fv-az|runnervm).*", re.IGNORECASE)
_SHOWN: Final = 5


class LockVerdict(StrEnum):
    """Whether whoever took a lock still works, in the order in which a person looks at locks: worst first."""

    DEAD = "dead"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class SeenPlace:
    """One place of a state's lock as it was read; `stored` None: free."""

    place: Place
    stored: StoredLock | None


@dataclass(frozen=True, slots=True)
class LockReading:
    """Every place of one state's lock, as they were at one instant."""

    target: str
    object_key: str
    places: tuple[SeenPlace, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class HeldPart:
    """A place that a lock occupies, with what a removal on condition needs."""

    place: Place
    stored: StoredLock


@dataclass(frozen=True, slots=True)
class HeldStateLock:
    """One lock of one state, in the order in which Terraform takes its places: with the mode `both` it has two.

    `other` is the place that lacks it, where it is half a lock, and says what is there instead.
    """

    target: str
    object_key: str
    mode: LockMode
    parts: tuple[HeldPart, ...]
    other: SeenPlace | None = None

    @property
    def lock(self) -> LockInfo | MalformedLock:
        return self.parts[0].stored.lock

    @property
    def created(self) -> datetime | None:
        """Since when it is held, where it says so."""
        return self.lock.created if isinstance(self.lock, LockInfo) else None

    @property
    def handle(self) -> str:
        """What a person types to release it: its id, of a malformed one the key or LockID of its place."""
        return self.lock.id if isinstance(self.lock, LockInfo) else self.parts[0].place.key


@dataclass(frozen=True, slots=True)
class HolderRun:
    """A run that may hold a lock. `request_id` and `environment` are empty where nobody knows whose it is."""

    run: WorkflowRun
    request_id: str = ""
    environment: str = ""

    @property
    def told(self) -> str:
        """The run by its number and workflow file."""
        return f"run {self.run.fact.run_id} of {self.run.file or 'a workflow without a file'}"


@dataclass(frozen=True, slots=True)
class RunsAsked:
    """What GitHub lists of a repository. `problem`: why it listed nothing. `complete`: none is left out."""

    runs: tuple[WorkflowRun, ...] = ()
    complete: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class JobsAsked:
    """The jobs of a run that are at work, each with its step. `problem`: why GitHub did not say."""

    running: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class OwnReset:
    """The reset of ours that a lock says it belongs to. `record` None: no reset that is known has its id, or none could
    be read, which `problem` tells. `at_work` is who carries it out right now."""

    record: ResetRecord | None
    at_work: Lease | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class JudgedLock:
    """A lock with its verdict, the sentences that lead to it, and the runs that may hold it.

    `refusal`: why it cannot be released here, empty where it can. `reset_id`: the reset of ours that holds it.
    """

    lock: HeldStateLock
    verdict: LockVerdict
    evidence: tuple[str, ...]
    runs: tuple[HolderRun, ...] = ()
    reset_id: str = ""
    refusal: str = ""


def held_locks(target: ResetTarget, reading: LockReading) -> tuple[HeldStateLock, ...]:
    """The locks of one state: none, one, or two where its places hold different ones."""
    held = [HeldPart(seen.place, seen.stored) for seen in reading.places if seen.stored is not None]
    is_one = len({part.stored.mark for part in held}) == 1
    groups = [tuple(held)] if is_one else [(part,) for part in held]
    return tuple(
        HeldStateLock(target.name, reading.object_key, target.lock_mode, parts, _other(reading, parts))
        for parts in groups
    )


def same_places(first: LockReading, second: LockReading) -> bool:
    """Whether both readings are of one state and found the same there, version by version."""
    return (first.target, first.object_key, first.places) == (second.target, second.object_key, second.places)


def is_runner(who: str) -> bool:
    """Whether a lock's `Who` is a runner of GitHub's, by its user or its host's name."""
    user, _, host = who.rpartition("@")
    return user.rpartition("\\")[2].casefold() in _RUNNER_USERS or _RUNNER_HOST.fullmatch(host) is not None


def is_of_reset(lock: HeldStateLock) -> bool:
    """Whether a lock says that a dev reset of the portal took it."""
    return isinstance(lock.lock, LockInfo) and lock.lock.operation == OPERATION


def runs_at(created: datetime, runs: Iterable[WorkflowRun]) -> tuple[WorkflowRun, ...]:
    """The runs that were under way at that instant, as far as anybody can tell from their times."""
    return tuple(run for run in runs if _began_by(run, created) and not _was_over(run, created))


def in_environment(runs: Iterable[HolderRun], environment: str) -> tuple[HolderRun, ...]:
    """Without the runs of requests that are known to be of another environment."""
    wanted = environment.casefold()
    return tuple(run for run in runs if run.environment.strip().casefold() in {"", wanted})


def named_owner(run: WorkflowRun) -> str:
    """The request that a run's branch names, else the one that its title names; empty where neither says one."""
    named = named_requests(run.title)
    return request_of_branch(run.branch) or (named[0] if len(named) == 1 else "")


def judge(
    lock: HeldStateLock, runs: Sequence[HolderRun], asked: RunsAsked, jobs: JobsAsked, *, repo: str
) -> JudgedLock:
    """The verdict on a lock that no reset of ours holds. `runs` were under way when it was taken; `jobs` are those of
    the run, where there is exactly one."""
    info = lock.lock
    if isinstance(info, MalformedLock):
        reason = f"{info.reason}; Terraform cannot release it"
        return JudgedLock(lock, LockVerdict.MALFORMED, (reason, *_half(lock)))
    if info.created is None or not is_runner(info.who):
        return JudgedLock(lock, LockVerdict.UNKNOWN, (*_by_hand(info, runs, asked), *_half(lock)))
    verdict, told = _runners(runs, asked, jobs, repo=repo)
    refusal = _live(runs) if verdict is LockVerdict.LIVE else ""
    return JudgedLock(lock, verdict, (*told, *_half(lock)), tuple(runs), refusal=refusal)


def judge_own(lock: HeldStateLock, own: OwnReset) -> JudgedLock | None:
    """The verdict on a lock that says a reset of ours took it; None where no reset of ours has that id.

    Such a lock is the reset's to give back, so it cannot be released beside it.
    """
    if own.problem:
        told = f"It says that a dev reset took it, and the resets could not be read: {own.problem}"
        return _not_ours_to_release(lock, LockVerdict.UNKNOWN, told, refusal=told)
    if own.record is None:
        return None
    reset_id = own.record.reset_id
    if own.at_work is not None:
        told = f"Reset {reset_id} is being worked on by {own.at_work.operator}: {own.at_work.doing}"
        refusal = f"reset {reset_id} holds it and is at work"
        return _not_ours_to_release(lock, LockVerdict.LIVE, told, refusal=refusal, reset_id=reset_id)
    told = f"Reset {reset_id} of {own.record.operator} holds it, and nobody works on it: resume or undo it"
    refusal = f"reset {reset_id} holds it: resume or undo that reset, which gives the lock back"
    return _not_ours_to_release(lock, LockVerdict.UNKNOWN, told, refusal=refusal, reset_id=reset_id)


def worst_first(locks: Collection[JudgedLock]) -> tuple[JudgedLock, ...]:
    """By verdict, then those held longest, then by place. One that does not say since when is the oldest."""
    order = {verdict: number for number, verdict in enumerate(LockVerdict)}

    def rank(each: JudgedLock) -> tuple[int, float, str, str, str]:
        since = each.lock.created.timestamp() if each.lock.created else 0.0
        return (order[each.verdict], since, each.lock.target, each.lock.object_key, each.lock.handle)

    return tuple(sorted(locks, key=rank))


def _other(reading: LockReading, parts: tuple[HeldPart, ...]) -> SeenPlace | None:
    taken = {part.place for part in parts}
    return next((seen for seen in reading.places if seen.place not in taken), None)


def _half(lock: HeldStateLock) -> tuple[str, ...]:
    if lock.other is None:
        return ()
    names = {Store.STATE_BUCKET: "lockfile", Store.LOCK_TABLE: "lock item"}
    there, missing = names[lock.parts[0].place.store], names[lock.other.place.store]
    if lock.other.stored is None:
        return (f"Half a lock: the {there} is held, the {missing} is not",)
    return (f"Half a lock: the {there} is held, the {missing} is held by another lock",)


def _began_by(run: WorkflowRun, at: datetime) -> bool:
    """A run that was started again counts from its creation: an earlier attempt may have taken the lock."""
    fact = run.fact
    again = fact.attempt is not None and fact.attempt > 1
    began = fact.created_at if again else fact.run_started_at or fact.created_at
    return began is None or began <= at + CLOCK_TOLERANCE


def _was_over(run: WorkflowRun, at: datetime) -> bool:
    fact = run.fact
    return fact.status == "completed" and fact.updated_at is not None and fact.updated_at < at - CLOCK_TOLERANCE


def _runners(
    runs: Sequence[HolderRun], asked: RunsAsked, jobs: JobsAsked, *, repo: str
) -> tuple[LockVerdict, tuple[str, ...]]:
    if asked.problem:
        return LockVerdict.UNKNOWN, (f"GitHub did not say which runs there were: {asked.problem}",)
    if runs and all(_is_active(each.run) for each in runs):
        return LockVerdict.LIVE, tuple(_active_told(each, jobs if len(runs) == 1 else JobsAsked()) for each in runs)
    if not asked.complete:
        return LockVerdict.UNKNOWN, ("GitHub's list of runs does not reach back to when the lock was taken",)
    if not runs:
        return LockVerdict.UNKNOWN, (f"Taken by a runner, but no run of {repo} was under way then",)
    if len(runs) > 1:
        listed = ", ".join(f"{each.told} ({_state(each.run)})" for each in runs[:_SHOWN])
        more = f" and {len(runs) - _SHOWN} more" if len(runs) > _SHOWN else ""
        return LockVerdict.UNKNOWN, (f"{len(runs)} runs were under way when it was taken: {listed}{more}",)
    return _over(runs[0], jobs)


def _live(runs: Sequence[HolderRun]) -> str:
    if len(runs) == 1:
        return f"{runs[0].told} holds it and is not over"
    return f"one of {len(runs)} runs holds it, and none of them is over"


def _over(holder: HolderRun, jobs: JobsAsked) -> tuple[LockVerdict, tuple[str, ...]]:
    ended = holder.run.fact.updated_at
    when = f" at {ended:%Y-%m-%d %H:%M} UTC" if ended else ""
    told = f"GitHub: {holder.told} is over ({_state(holder.run)}){when}"
    if jobs.problem:
        return LockVerdict.UNKNOWN, (f"{told}, but not whether a job of it still runs: {jobs.problem}",)
    if jobs.running:
        return LockVerdict.LIVE, (f"{told}, and yet at work: {'; '.join(jobs.running)}",)
    return LockVerdict.DEAD, (f"{told}, no job is running",)


def _by_hand(info: LockInfo, runs: Sequence[HolderRun], asked: RunsAsked) -> tuple[str, ...]:
    if info.created is None:
        return (f"It does not say since when it is held, so no run can be told: ask {_person(info.who)}",)
    if not runs:
        told = f"Taken by hand, no run to ask about: ask {_person(info.who)}"
        return (told, f"GitHub did not say which runs there were: {asked.problem}") if asked.problem else (told,)
    listed = ", ".join(f"{each.told} ({_state(each.run)})" for each in runs[:_SHOWN])
    return (
        f"Taken by hand, as far as its holder's name tells: ask {_person(info.who)}",
        f"Under way when it was taken, should it be a runner of yours: {listed}",
    )


def _person(who: str) -> str:
    return who.rpartition("@")[0] or who or "whoever works there"


def _active_told(holder: HolderRun, jobs: JobsAsked) -> str:
    doing = f", {'; '.join(jobs.running)}" if jobs.running else ""
    return f"GitHub: {holder.told} is {_state(holder.run)}{doing}"


def _is_active(run: WorkflowRun) -> bool:
    """Whatever is not over may write: also a status that nobody knows."""
    return run.fact.status != "completed"


def _state(run: WorkflowRun) -> str:
    return run.fact.conclusion or run.fact.status or "no status"


def _not_ours_to_release(
    lock: HeldStateLock, verdict: LockVerdict, told: str, *, refusal: str, reset_id: str = ""
) -> JudgedLock:
    return JudgedLock(lock, verdict, (told, *_half(lock)), reset_id=reset_id, refusal=refusal)
