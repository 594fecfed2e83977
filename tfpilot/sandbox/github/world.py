"""What GitHub knows, and what people and workflows do there."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from tfpilot.sandbox.github.faults import FaultBook
from tfpilot.sandbox.github.groups import entered, let_in
from tfpilot.sandbox.github.lateness import listed
from tfpilot.sandbox.github.places import Clock, Places, utc_now
from tfpilot.sandbox.github.quota import Quota
from tfpilot.sandbox.github.state import (
    COMPLETED,
    IN_PROGRESS,
    QUEUED,
    REVIEW_STATES,
    Attempt,
    Call,
    Job,
    Lists,
    Pace,
    Pull,
    Repo,
    Review,
    Run,
    RunDetails,
    Workflow,
)

Subject = TypeVar("Subject", Pull, Review, Run)


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened that GitHub tells its webhooks: `subject` as it is now, and the login that did it."""

    event: str
    action: str
    subject: Pull | Review | Run
    sender: str


Listener = Callable[[Change], None]


class World(Places):
    """Everything the stand-in answers from. Safe to use from any thread; ids come from counters, times from `clock`.

    Methods that name a thing nobody added raise LookupError; `find_…` answer None. `at` is when something happened,
    by default now. `run_details` and `dispatch_delay` say how dispatches are answered and after how long their run can
    be seen; `lists`, how late and out of order lists of runs are. With a `pace`, dispatched runs and re-runs finish by
    themselves as calls come in; `step` moves them on by hand.
    """

    def __init__(
        self,
        *,
        clock: Clock = utc_now,
        rate_limit: int = 5000,
        run_details: RunDetails = RunDetails.SUPPORTED,
        dispatch_delay: timedelta = timedelta(0),
        lists: Lists | None = None,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(clock=clock)
        self.run_details = run_details
        self.dispatch_delay = dispatch_delay
        self.lists = lists or Lists()
        self.pace = pace
        self.faults = FaultBook()
        self.quota = Quota(rate_limit, clock=self.now)
        self._pacing = threading.Lock()
        self._listeners: list[Listener] = []
        self._calls: list[Call] = []
        self._pulls: dict[tuple[int, int], Pull] = {}
        self._reviews: dict[int, Review] = {}
        self._runs: dict[int, Run] = {}
        self._jobs: dict[int, Job] = {}
        self._lists_asked: Counter[int] = Counter()

    def subscribe(self, listener: Listener) -> None:
        """Every change from now on is told to `listener`, in the thread that made it."""
        self._listeners.append(listener)

    def add_pull(
        self,
        full_name: str,
        *,
        branch: str,
        title: str = "",
        base: str = "",
        author: str = "octocat",
        number: int | None = None,
        head_sha: str = "",
        at: datetime | None = None,
    ) -> Pull:
        """An open pull request; its number is the next one unless given."""
        at = at or self.now()
        with self._lock:
            repo = self.repo(full_name)
            pull = Pull(
                id=next(self._ids["pull"]),
                repo_id=repo.id,
                number=number or 1 + max((known.number for known in self.pulls(repo)), default=0),
                title=title or branch,
                branch=branch,
                base=base or repo.default_branch,
                author=author,
                head_sha=head_sha or fake_sha(f"{repo.id}:{branch}"),
                base_sha=fake_sha(f"{repo.id}:{base or repo.default_branch}"),
                created_at=at,
                updated_at=at,
            )
            if (repo.id, pull.number) in self._pulls:
                raise ValueError(f"{full_name} has a pull request {pull.number} already")
            self._pulls[repo.id, pull.number] = pull
        return self._tell("pull_request", "opened", pull, author)

    def merge_pull(
        self, full_name: str, number: int, *, by: str = "octocat", sha: str = "", at: datetime | None = None
    ) -> Pull:
        """The pull request, merged as `sha`."""
        return self._change_pull(
            full_name,
            number,
            lambda pull: pull.merged(at or self.now(), by=by, sha=sha or fake_sha(f"merge:{pull.id}")),
            action="closed",
            sender=by,
        )

    def close_pull(self, full_name: str, number: int, *, by: str = "octocat", at: datetime | None = None) -> Pull:
        """The pull request, closed without a merge."""
        return self._change_pull(
            full_name, number, lambda pull: pull.closed(at or self.now()), action="closed", sender=by
        )

    def reopen_pull(self, full_name: str, number: int, *, by: str = "octocat", at: datetime | None = None) -> Pull:
        """The pull request, open again."""
        return self._change_pull(
            full_name, number, lambda pull: pull.reopened(at or self.now()), action="reopened", sender=by
        )

    def pull(self, full_name: str, number: int) -> Pull:
        with self._lock:
            return self._pulls[self.repo(full_name).id, number]

    def find_pull(self, repo: Repo, number: int) -> Pull | None:
        with self._lock:
            return self._pulls.get((repo.id, number))

    def pulls(self, repo: Repo) -> tuple[Pull, ...]:
        """The pull requests of a repository, in the order they were added."""
        with self._lock:
            return tuple(pull for pull in self._pulls.values() if pull.repo_id == repo.id)

    def add_review(
        self, full_name: str, number: int, *, login: str, state: str, body: str = "", at: datetime | None = None
    ) -> Review:
        """A review in one of REVIEW_STATES; a PENDING one is not submitted yet."""
        if state not in REVIEW_STATES:
            raise ValueError(f"{state} is no state of a review")
        with self._lock:
            pull = self.pull(full_name, number)
            submitted_at = None if state == "PENDING" else at or self.now()
            review = Review(
                next(self._ids["review"]), pull.repo_id, number, login, state, body, pull.head_sha, submitted_at
            )
            self._reviews[review.id] = review
            self._pulls[pull.repo_id, number] = replace(pull, updated_at=submitted_at or pull.updated_at)
        return review if submitted_at is None else self._tell("pull_request_review", "submitted", review, login)

    def dismiss_review(self, review_id: int, *, by: str = "octocat") -> Review:
        """The review, which counts no longer."""
        with self._lock:
            review = replace(self._reviews[review_id], state="DISMISSED")
            self._reviews[review_id] = review
        return self._tell("pull_request_review", "dismissed", review, by)

    def reviews(self, pull: Pull) -> tuple[Review, ...]:
        """The reviews of a pull request, oldest first, those not submitted included."""
        with self._lock:
            return tuple(
                review
                for review in self._reviews.values()
                if (review.repo_id, review.pull_number) == (pull.repo_id, pull.number)
            )

    def add_run(
        self,
        full_name: str,
        file: str,
        *,
        branch: str = "",
        status: str = QUEUED,
        conclusion: str | None = None,
        event: str = "pull_request",
        title: str = "",
        actor: str = "octocat",
        head_sha: str = "",
        run_id: int | None = None,
        at: datetime | None = None,
        started_at: datetime | None = None,
        updated_at: datetime | None = None,
        visible_at: datetime | None = None,
        is_dispatched: bool = False,
        inputs: Mapping[str, object] | None = None,
    ) -> Run:
        """A run of a workflow file, created `at`. A conclusion means that it is completed.

        Where its workflow has a concurrency group, a queued one waits behind another, and a third pushes it out.
        """
        at = at or self.now()
        with self._lock:
            repo = self.repo(full_name)
            workflow = self.find_workflow(repo, file)
            if workflow is None:
                raise LookupError(f"{full_name} has no workflow {file}")
            run = Run(
                id=run_id or next(id_ for id_ in self._ids["run"] if id_ not in self._runs),
                repo_id=repo.id,
                workflow_id=workflow.id,
                number=1 + sum(known.workflow_id == workflow.id for known in self._runs.values()),
                branch=branch or repo.default_branch,
                head_sha=head_sha or fake_sha(f"{repo.id}:{branch or repo.default_branch}"),
                event=event,
                actor=actor,
                title=title or workflow.name,
                created_at=at,
                visible_at=visible_at or at,
                attempts=(
                    Attempt(1, _status(status, conclusion), conclusion, actor, started_at or at, updated_at or at),
                ),
                is_dispatched=is_dispatched,
                group=_filled_in(workflow.concurrency, inputs or {}),
                lists_before=self._lists_asked[repo.id],
            )
            if run.id in self._runs:
                raise ValueError(f"run {run.id} exists already")
            run, *pushed_out = self._keep(entered(run, self._runs.values(), at))
        return self._tell_started(run, pushed_out, actor)

    def update_run(
        self, run_id: int, *, status: str = COMPLETED, conclusion: str | None = None, at: datetime | None = None
    ) -> Run:
        """The run with its latest attempt in another state; `updated_at` moves."""
        with self._lock:
            state = _status(status, conclusion)
            at = at or self.now()
            run = self._runs[run_id].updated(at, status=state, conclusion=conclusion)
            self._keep([run, *let_in(run, self._runs.values(), at)])
        return self._tell("workflow_run", _run_action(run), run, run.actor)

    def rerun(self, run_id: int, *, actor: str = "octocat", at: datetime | None = None) -> Run:
        """The run, queued once more as its next attempt."""
        with self._lock:
            at = at or self.now()
            again = self._runs[run_id].started_again(at, actor=actor)
            run, *pushed_out = self._keep(entered(again, self._runs.values(), at))
        return self._tell_started(run, pushed_out, actor)

    def delete_run(self, run_id: int) -> None:
        """The run is gone, as after its retention."""
        with self._lock:
            del self._runs[run_id]

    def dispatch(self, workflow: Workflow, *, ref: str, inputs: Mapping[str, object], actor: str) -> Run:
        """A run that `actor` dispatched, to be seen after `dispatch_delay`."""
        return self.add_run(
            self.repo(workflow.repo_id).full_name,
            workflow.file,
            branch=ref.removeprefix("refs/heads/"),
            event="workflow_dispatch",
            title=_filled_in(workflow.run_name, inputs),
            actor=actor,
            visible_at=self.now() + self.dispatch_delay,
            is_dispatched=True,
            inputs=inputs,
        )

    def run(self, run_id: int) -> Run:
        with self._lock:
            return self._runs[run_id]

    def find_run(self, repo: Repo, run_id: int) -> Run | None:
        """The run, None where the repository has none that can be seen yet."""
        with self._lock:
            run = self._runs.get(run_id)
        return run if run is not None and run.repo_id == repo.id and run.visible_at <= self.now() else None

    def runs(self, repo: Repo) -> tuple[Run, ...]:
        """The runs of a repository that can be seen, newest first."""
        now = self.now()
        with self._lock:
            seen = [run for run in self._runs.values() if run.repo_id == repo.id and run.visible_at <= now]
        return tuple(sorted(seen, key=lambda run: (run.created_at, run.id), reverse=True))

    def list_runs(self, repo: Repo) -> tuple[Run, ...]:
        """The runs that a list shows which is asked for now, and counted: as `runs`, but as late and out of order as
        `lists` says."""
        with self._lock:
            self._lists_asked[repo.id] += 1
            return listed(self.runs(repo), self.lists, now=self.now(), asked=self._lists_asked[repo.id])

    def add_job(
        self,
        run_id: int,
        *,
        name: str = "terraform",
        status: str = QUEUED,
        conclusion: str | None = None,
        is_started: bool = True,
        attempt: int | None = None,
    ) -> Job:
        """A job of the run's latest attempt, or of a given one. `is_started` False: no runner ever took it."""
        with self._lock:
            run = self._runs[run_id]
            of = run.latest if attempt is None else run.attempts[attempt - 1]
            state = _status(status, conclusion)
            job = Job(
                id=next(self._ids["job"]),
                run_id=run_id,
                attempt=of.number,
                name=name,
                status=state,
                conclusion=conclusion,
                created_at=of.started_at,
                started_at=of.started_at if is_started and state != QUEUED else None,
                completed_at=of.updated_at if state == COMPLETED else None,
            )
            self._jobs[job.id] = job
            return job

    def jobs(self, run: Run) -> tuple[Job, ...]:
        """The jobs of all attempts of a run, in the order they were added."""
        with self._lock:
            return tuple(job for job in self._jobs.values() if job.run_id == run.id)

    def simulate(self, now: datetime) -> None:
        """Moves dispatched runs and re-runs on to where `pace` has them at `now`; nothing without a pace."""
        if self.pace is None or not self._pacing.acquire(blocking=False):
            return
        try:
            moved = self._moving()
            while moved:  # a run that is over lets in another, whose time may have come too
                moved = [run for run in self._moving() if self._move_on(run, now, self.pace)]
        finally:
            self._pacing.release()

    def step(self, *, conclusion: str = "success", at: datetime | None = None) -> tuple[Run, ...]:
        """Every dispatched run and re-run that goes on, one step further: from queued to in progress, from there to the
        conclusion. What waits in a concurrency group is queued once the way is free, and moves with the next step."""
        going = self._moving()
        return tuple(
            self.update_run(run.id, status=IN_PROGRESS, at=at)
            if run.latest.status == QUEUED
            else self.update_run(run.id, conclusion=conclusion, at=at)
            for run in going
        )

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every REST call that arrived, oldest first, those that a fault met included."""
        with self._lock:
            return tuple(self._calls)

    def record_call(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)

    def dispatches(self) -> Counter[tuple[str, str]]:
        """How many POSTs arrived that dispatch a workflow, by its file and the input `request_id`; those that were
        refused, or that a fault met, included."""
        return Counter(
            (self._file_of(call.path.split("/")[-2]), str(call.inputs.get("request_id", "")))
            for call in self.calls
            if call.is_dispatch
        )

    def clear_calls(self) -> None:
        with self._lock:
            self._calls.clear()

    def _change_pull(
        self, full_name: str, number: int, change: Callable[[Pull], Pull], *, action: str, sender: str
    ) -> Pull:
        with self._lock:
            pull = change(self.pull(full_name, number))
            self._pulls[pull.repo_id, number] = pull
        return self._tell("pull_request", action, pull, sender)

    def _keep(self, runs: Iterable[Run]) -> tuple[Run, ...]:
        kept = tuple(runs)
        self._runs.update({run.id: run for run in kept})
        return kept

    def _moving(self) -> list[Run]:
        """The runs that go on by themselves now, as they are."""
        with self._lock:
            return [
                run
                for run in self._runs.values()
                if run.latest.status in {QUEUED, IN_PROGRESS} and (run.is_dispatched or len(run.attempts) > 1)
            ]

    def _move_on(self, run: Run, now: datetime, pace: Pace) -> bool:
        """Whether the run is somewhere else now."""
        attempt = run.latest
        begins, ends = attempt.updated_at + pace.queued, attempt.updated_at + pace.running
        if attempt.status == QUEUED and now >= begins:
            self.update_run(run.id, status=IN_PROGRESS, at=begins)
            return True
        if attempt.status == IN_PROGRESS and now >= ends:
            self.update_run(run.id, conclusion="success", at=ends)
            self.add_job(run.id, conclusion="success")
            return True
        return False

    def _file_of(self, workflow: str) -> str:
        """The file of a workflow that an address names by its file or its id."""
        with self._lock:
            return next((known.file for known in self._workflows.values() if str(known.id) == workflow), workflow)

    def _tell_started(self, run: Run, pushed_out: Iterable[Run], actor: str) -> Run:
        for other in pushed_out:
            self._tell("workflow_run", "completed", other, other.actor)
        return self._tell("workflow_run", "requested", run, actor)

    def _tell(self, event: str, action: str, subject: Subject, sender: str) -> Subject:
        for listener in self._listeners:
            listener(Change(event, action, subject, sender))
        return subject


def fake_sha(seed: str) -> str:
    """Forty hexadecimal digits, the same for the same seed."""
    return hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()


def _status(status: str, conclusion: str | None) -> str:
    return status if conclusion is None else COMPLETED


def _run_action(run: Run) -> str:
    return run.latest.status if run.latest.status in {COMPLETED, IN_PROGRESS} else "requested"


def _filled_in(run_name: str, inputs: Mapping[str, object]) -> str:
    return re.sub(r"\$\{\{\s*inputs\.(\w+)\s*\}\}", lambda match: str(inputs.get(match[1], "")), run_name)
