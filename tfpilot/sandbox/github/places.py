"""Who and where: accounts, repositories and their workflow files."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from tfpilot.sandbox.github.state import Repo, User, Workflow

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Places:
    """The part of the world that requests happen in. What nobody added raises LookupError; `find_…` answer None."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._ids: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1001))
        self._users: dict[str, User] = {}
        self._repos: dict[int, Repo] = {}
        self._names: dict[str, int] = {}
        self._workflows: dict[int, Workflow] = {}
        self._members: defaultdict[str, set[str]] = defaultdict(set)

    def now(self) -> datetime:
        """The time by this world's clock, in whole seconds."""
        return self._clock().replace(microsecond=0)

    def add_user(self, login: str, *, token: str = "") -> User:
        """An account; with a token it can sign in. An existing account gets this token."""
        with self._lock:
            known = self._users.get(login.lower())
            user = replace(known, token=token) if known else User(next(self._ids["user"]), login, token)
            self._users[login.lower()] = user
            return user

    def user(self, login: str) -> User:
        """The account of a login; one that was only ever mentioned exists without a token."""
        with self._lock:
            return self._users.get(login.lower()) or self.add_user(login)

    def add_member(self, org: str, login: str) -> None:
        """Makes the account a member of the organisation, which exists from then on."""
        with self._lock:
            self._members[org.lower()].add(self.user(login).login.lower())

    def remove_member(self, org: str, login: str) -> None:
        with self._lock:
            self._members[org.lower()].discard(login.lower())

    def is_member(self, org: str, login: str) -> bool:
        with self._lock:
            return login.lower() in self._members.get(org.lower(), ())

    def find_user_by_token(self, token: str) -> User | None:
        with self._lock:
            return next((user for user in self._users.values() if token and user.token == token), None)

    def add_repo(
        self,
        full_name: str,
        *,
        default_branch: str = "main",
        workflows: Mapping[str, str] | None = None,
        at: datetime | None = None,
    ) -> Repo:
        """A repository with its workflows, given as file name → name."""
        with self._lock:
            repo = Repo(next(self._ids["repo"]), full_name, default_branch, at or self.now())
            self._repos[repo.id] = repo
            self._names[full_name.lower()] = repo.id
            for file, name in (workflows or {}).items():
                self.add_workflow(full_name, file, name=name)
            return repo

    def rename_repo(self, full_name: str, *, to: str) -> Repo:
        """The repository under its new name; the old one redirects to it from now on."""
        with self._lock:
            repo = replace(self.repo(full_name), full_name=to)
            self._repos[repo.id] = repo
            self._names[to.lower()] = repo.id
            return repo

    def repo(self, name_or_id: str | int) -> Repo:
        """The repository by id, by its name, or by one it once had."""
        with self._lock:
            return self._repos[name_or_id if isinstance(name_or_id, int) else self._names[name_or_id.lower()]]

    def find_repo(self, name_or_id: str | int) -> Repo | None:
        try:
            return self.repo(name_or_id)
        except LookupError:
            return None

    def add_workflow(
        self, full_name: str, file: str, *, name: str = "", run_name: str = "", concurrency: str = ""
    ) -> Workflow:
        """A workflow file; `run_name` and `concurrency` are what it says about the titles of its dispatched runs and
        about the group in which they wait for each other: `destroy-${{ inputs.environment }}`."""
        with self._lock:
            repo = self.repo(full_name)
            workflow = Workflow(
                next(self._ids["workflow"]), repo.id, file, name or file, run_name, repo.created_at, concurrency
            )
            self._workflows[workflow.id] = workflow
            return workflow

    def workflow(self, workflow_id: int) -> Workflow:
        with self._lock:
            return self._workflows[workflow_id]

    def workflows(self, repo: Repo) -> tuple[Workflow, ...]:
        """The workflows of a repository, oldest first."""
        with self._lock:
            return tuple(workflow for workflow in self._workflows.values() if workflow.repo_id == repo.id)

    def find_workflow(self, repo: Repo, file_or_id: str) -> Workflow | None:
        return next((flow for flow in self.workflows(repo) if file_or_id in {flow.file, str(flow.id)}), None)
