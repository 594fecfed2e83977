"""The things GitHub knows, as values; a change is a new value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

PENDING = "pending"
"""Behind another run of its concurrency group."""
QUEUED = "queued"
IN_PROGRESS = "in_progress"
COMPLETED = "completed"
REVIEW_STATES = frozenset({"APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"})


class RunDetails(StrEnum):
    """What a dispatch that asks for the details of its run is answered with."""

    SUPPORTED = "supported"
    IGNORED = "ignored"
    """An older server: 204, and no word about the run."""
    REFUSED = "refused"
    """A server that knows the field no more than any other wrong one: 422, and nothing started."""


@dataclass(frozen=True, slots=True)
class User:
    """An account. `token` empty: it exists, and cannot sign in."""

    id: int
    login: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository; `full_name` is `owner/name`."""

    id: int
    full_name: str
    default_branch: str
    created_at: datetime

    @property
    def owner(self) -> str:
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow file. `run_name` titles its dispatched runs, `${{ inputs.X }}` filled in; empty: they bear `name`.

    `concurrency` names the group of its runs in the same way; empty: they run whenever they are started.
    """

    id: int
    repo_id: int
    file: str
    name: str
    run_name: str
    created_at: datetime
    concurrency: str = ""

    @property
    def path(self) -> str:
        return f".github/workflows/{self.file}"


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request. `closed_at` is set for merged ones too, as on GitHub."""

    id: int
    repo_id: int
    number: int
    title: str
    branch: str
    base: str
    author: str
    head_sha: str
    base_sha: str
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    merged_by: str = ""
    merge_commit_sha: str | None = None

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    def closed(self, at: datetime) -> Pull:
        return replace(self, closed_at=at, updated_at=at)

    def merged(self, at: datetime, *, by: str, sha: str) -> Pull:
        return replace(self.closed(at), merged_at=at, merged_by=by, merge_commit_sha=sha)

    def reopened(self, at: datetime) -> Pull:
        return replace(self, closed_at=None, updated_at=at)


@dataclass(frozen=True, slots=True)
class Review:
    """One review; `state` upper-case. A PENDING one is not submitted, and only its author sees it."""

    id: int
    repo_id: int
    pull_number: int
    login: str
    state: str
    body: str
    commit_id: str
    submitted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a run. `actor` started it."""

    number: int
    status: str
    conclusion: str | None
    actor: str
    started_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow run with all its attempts, oldest first. Nobody can see it before `visible_at`.

    `group`: its concurrency group within the repository. `lists_before`: how many lists of runs had been asked for in
    the repository when it was made.
    """

    id: int
    repo_id: int
    workflow_id: int
    number: int
    branch: str
    head_sha: str
    event: str
    actor: str
    title: str
    created_at: datetime
    visible_at: datetime
    attempts: tuple[Attempt, ...]
    is_dispatched: bool = False
    group: str = ""
    lists_before: int = 0

    @property
    def latest(self) -> Attempt:
        return self.attempts[-1]

    @property
    def updated_at(self) -> datetime:
        return self.latest.updated_at

    def find_attempt(self, number: int) -> Attempt | None:
        return next((attempt for attempt in self.attempts if attempt.number == number), None)

    def updated(self, at: datetime, *, status: str, conclusion: str | None) -> Run:
        """The same run, its latest attempt in another state."""
        latest = replace(self.latest, status=status, conclusion=conclusion, updated_at=at)
        return replace(self, attempts=(*self.attempts[:-1], latest))

    def started_again(self, at: datetime, *, actor: str) -> Run:
        """The same run with one attempt more; id and creation stay, as on GitHub."""
        attempt = Attempt(self.latest.number + 1, QUEUED, None, actor, at, at)
        return replace(self, attempts=(*self.attempts, attempt))


@dataclass(frozen=True, slots=True)
class Job:
    """One job of one attempt. `started_at` None: no runner ever took it."""

    id: int
    run_id: int
    attempt: int
    name: str
    status: str
    conclusion: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Call:
    """One REST call as it arrived. `login` is None where its token is nobody's. `inputs`: those of a dispatch."""

    method: str
    path: str
    query: str
    at: datetime
    login: str | None
    inputs: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_dispatch(self) -> bool:
        """Whether the call asks for a workflow to be started."""
        return self.method == "POST" and self.path.endswith("/dispatches")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long dispatched runs and re-runs stay queued, and then run, before they succeed by themselves."""

    queued: timedelta = timedelta(seconds=3)
    running: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Lists:
    """How far lists of runs are behind and out of order; what is asked for by its id is always there.

    A dispatched run is in no list until `late` has passed and `late_calls` lists of its repository were asked for. With
    a `seed` each run is late by a part of that which is its own, and runs of the same second come in any order, the
    same for the same seed.
    """

    late: timedelta = timedelta(0)
    late_calls: int = 0
    seed: int | None = None
