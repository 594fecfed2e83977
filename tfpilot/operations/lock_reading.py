"""Reading Terraform locks, and finding out which run, request or reset each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from tfpilot.core.model import RepoRef, RequestRow, WorkflowKind, WorkflowRun
from tfpilot.core.reset_steps import ResetRecord, lock_places, seen_lock_places
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.state_locks import (
    TERRAFORM_KINDS,
    HeldStateLock,
    HolderRun,
    JobsAsked,
    JudgedLock,
    LockReading,
    OwnReset,
    RunsAsked,
    SeenPlace,
    in_environment,
    is_of_reset,
    is_runner,
    judge,
    judge_own,
    named_owner,
    runs_at,
)
from tfpilot.core.terraform import LockInfo
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError, GitHubError, StorageError, TfPilotError
from tfpilot.operations.browse import FRESH_ENOUGH
from tfpilot.operations.reset_lease import lease_name

GITHUB_DEADLINE: Final = timedelta(seconds=20)


def read_places(edges: Edges, target: ResetTarget, object_key: str) -> LockReading:
    """Every place of one state's lock as it is now. Raises StorageError, or DocumentError for what cannot be told."""
    store = edges.reset_stores.of(target)
    seen = (SeenPlace(place, store.find_lock(place)) for place in seen_lock_places(target, object_key))
    named = lock_places(target, object_key)
    places = tuple(each for each in seen if each.place in named or each.stored is not None)
    return LockReading(target.name, object_key, places, edges.clock())


@dataclass(slots=True)
class Judge:
    """Finds the verdicts on the locks of one look. Each repository's runs are listed once, and only where a lock needs
    it; so are the requests and the resets. `notices` tell what could not be learned beside the verdicts."""

    edges: Edges
    notices: list[str] = field(default_factory=list)
    _rows: tuple[RequestRow, ...] | None = None
    _resets: Sequence[ResetRecord] | TfPilotError | None = None

    def verdicts(self, held: Sequence[tuple[ResetTarget, HeldStateLock]]) -> tuple[JudgedLock, ...]:
        """One verdict per lock, in the order of the locks. What is not answered is an unknown verdict that says so."""
        own = [self._as_own(target, lock) for target, lock in held]
        foreign = [pair for pair, judged in zip(held, own, strict=True) if judged is None]
        asked = {repo: self._ask_runs(repo, locks) for repo, locks in _by_repo(foreign).items()}
        return tuple(
            judged or self._judged(target, lock, asked.get(target.repo, RunsAsked()))
            for (target, lock), judged in zip(held, own, strict=True)
        )

    def _as_own(self, target: ResetTarget, lock: HeldStateLock) -> JudgedLock | None:
        if not is_of_reset(lock):
            return None
        try:
            record = next((each for each in self._all_resets() if _took(each, target, lock)), None)
            at_work = self.edges.leases.find(lease_name(target), now=self.edges.clock()) if record else None
        except (StorageError, DocumentError) as error:
            return judge_own(lock, OwnReset(None, problem=error.message))
        return judge_own(lock, OwnReset(record, at_work))

    def _judged(self, target: ResetTarget, lock: HeldStateLock, asked: RunsAsked) -> JudgedLock:
        found = runs_at(lock.created, self._of_terraform(asked.runs)) if lock.created else ()
        runs = in_environment([self._owned(run) for run in found], target.environment)
        jobs = self._ask_jobs(target.repo, lock, runs)
        return judge(lock, runs, asked, jobs, repo=str(target.repo))

    def _ask_runs(self, repo: RepoRef, locks: Iterable[HeldStateLock]) -> RunsAsked:
        oldest = min(lock.created for lock in locks if lock.created is not None)
        try:
            listing = self.edges.workflows.runs_since(repo, oldest, deadline=GITHUB_DEADLINE)
        except GitHubError as error:
            return RunsAsked(complete=False, problem=error.message)
        return RunsAsked(listing.runs, listing.complete)

    def _ask_jobs(self, repo: RepoRef, lock: HeldStateLock, runs: Sequence[HolderRun]) -> JobsAsked:
        """Of the one run that may hold a lock from a runner; of none else, since it would change no verdict."""
        run_id = runs[0].run.fact.run_id if len(runs) == 1 else None
        if run_id is None or not isinstance(lock.lock, LockInfo) or not is_runner(lock.lock.who):
            return JobsAsked()
        try:
            return JobsAsked(tuple(self.edges.workflows.running_jobs(repo, run_id, deadline=GITHUB_DEADLINE)))
        except GitHubError as error:
            return JobsAsked(problem=error.message)

    def _of_terraform(self, runs: Iterable[WorkflowRun]) -> tuple[WorkflowRun, ...]:
        return tuple(run for run in runs if TERRAFORM_KINDS.intersection(self._kinds(run)))

    def _kinds(self, run: WorkflowRun) -> Sequence[WorkflowKind]:
        files = self.edges.rules.workflow_files
        return [kind for kind in WorkflowKind if files.get(kind) == run.file]

    def _owned(self, run: WorkflowRun) -> HolderRun:
        """The run with its request: the one that tracks it, else by the run index, else by its branch or title."""
        rows = self._all_rows()
        tracking = (row.id for row in rows if any(each.run_id == run.fact.run_id for each in row.tracked))
        request_id = next(tracking, "") or self._indexed(run) or named_owner(run)
        row = next((row for row in rows if row.id == request_id and row.error is None), None)
        return HolderRun(run, request_id, row.environment if row else "")

    def _indexed(self, run: WorkflowRun) -> str:
        if run.fact.run_id is None:
            return ""
        try:
            found = (self.edges.run_index.find(kind, run.fact.run_id) for kind in self._kinds(run))
            return next((entry.request_id for entry in found if entry is not None), "")
        except StorageError as error:
            self.notices.append(f"Whose run {run.fact.run_id} is could not be looked up: {error.message}")
            return ""

    def _all_rows(self) -> tuple[RequestRow, ...]:
        if self._rows is None:
            snapshot = self.edges.snapshots.refresh(older_than=FRESH_ENOUGH)
            if snapshot.error is not None:
                self.notices.append(f"The requests are as of an earlier reading: {snapshot.error}")
            self._rows = tuple(sorted(snapshot.rows, key=lambda row: row.archived))
        return self._rows

    def _all_resets(self) -> Sequence[ResetRecord]:
        if self._resets is None:
            try:
                self._resets = self.edges.reset_journal.list()
            except (StorageError, DocumentError) as error:
                self._resets = error
        if isinstance(self._resets, TfPilotError):
            raise self._resets
        return self._resets


def _took(record: ResetRecord, target: ResetTarget, lock: HeldStateLock) -> bool:
    return record.lock_id == lock.handle and record.target == target.name


def _by_repo(held: Iterable[tuple[ResetTarget, HeldStateLock]]) -> Mapping[RepoRef, Sequence[HeldStateLock]]:
    """The locks that name a time, by repository: only to those can a run belong."""
    found: dict[RepoRef, list[HeldStateLock]] = {}
    for target, lock in held:
        if lock.created is not None:
            found.setdefault(target.repo, []).append(lock)
    return found
