"""The questions to GitHub about one request, and whether an answer is about what was asked.

Each question answers with an Answer and never raises GitHubError, so that one that fails leaves the others alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, Final, Generic, ParamSpec, TypeVar

from tfpilot.adapters.github_client import PER_PAGE, GitHubClient, Reply, path_of
from tfpilot.adapters.github_errors import malformed
from tfpilot.adapters.github_values import (
    has_started,
    items_of,
    pull_of,
    repo_of,
    review_of,
    run_of,
)
from tfpilot.core.correlation import find_other_owner, names_request
from tfpilot.core.dispatch import age_order
from tfpilot.core.model import (
    NOT_ASKED,
    Answer,
    FactOutcome,
    FactsQuery,
    JobsFact,
    PullFact,
    RepoRef,
    Review,
    RunQuestion,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.errors import GitHubError

if TYPE_CHECKING:
    from datetime import datetime

    from tfpilot.adapters.github_transport import Allowance

P = ParamSpec("P")
T = TypeVar("T")

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""GitHub's `created_at` has whole seconds, and has been seen a second before the dispatch that caused the run."""
ASKED_JOBS_AFTER: Final = frozenset({"cancelled", "timed_out"})
"""The conclusions that leave open whether anything ran."""

_MOST_RUN_PAGES: Final = 10
"""How many runs are looked through for one that names the request: 1,000."""
_MOST_PAGES: Final = 30
"""A list that never ends must not use up the hour's quota."""
_NEXT_PAGE: Final = re.compile(r'<[^>]*>\s*;[^,]*\brel="?next"?')


@dataclass(frozen=True, slots=True)
class _Told(Generic[T]):
    """What GitHub told, and what to say about the repository that told it."""

    value: T
    note: str


def _answered(ask: Callable[Concatenate[Questions, P], Answer[T]]) -> Callable[Concatenate[Questions, P], Answer[T]]:
    """A question whose GitHubError becomes the answer that tells it."""

    @wraps(ask)
    def asked(questions: Questions, /, *args: P.args, **kwargs: P.kwargs) -> Answer[T]:
        try:
            return ask(questions, *args, **kwargs)
        except GitHubError as error:
            return Answer(FactOutcome(error.outcome), detail=error.message, retry_after=error.retry_after)

    return asked


@dataclass(frozen=True, slots=True)
class Questions:
    """What GitHub is asked about one request, within one allowance."""

    client: GitHubClient
    query: FactsQuery
    workflow_files: Mapping[WorkflowKind, str]
    allowance: Allowance

    @_answered
    def pull(self) -> Answer[PullFact]:
        """The request's pull request: by its number, else the newest of its branch."""
        if self.query.pr_number is not None:
            return self._pull_by_number(self.query.pr_number)
        if self.query.branch is None:
            return NOT_ASKED
        return self._newest(self._pulls_of(self.query.branch), branch=self.query.branch)

    @_answered
    def cleanup_pull(self) -> Answer[PullFact]:
        """The cleanup pull request: an open one, else the newest."""
        if self.query.cleanup_branch is None:
            return NOT_ASKED
        found = self._pulls_of(self.query.cleanup_branch)
        still_open = [told for told in found if told.value.open]
        return self._newest(still_open or found, branch=self.query.cleanup_branch)

    @_answered
    def reviews(self, number: int) -> Answer[tuple[Review, ...]]:
        """All reviews of a pull request, in GitHub's order: the oldest first."""
        what = f"reviews of pull request {number} of {self.query.repo}"
        found = []
        for reply in self._pages("pulls", number, "reviews", what=what):
            for item in items_of(reply.data):
                review, repo, of = review_of(item)
                if of != number:
                    raise malformed(f"GitHub answered with a review of pull request {of} when asked for {number}")
                self._note(repo, reply)
                found.append(review)
        return Answer(FactOutcome.OK, tuple(found))

    @_answered
    def run(self, question: RunQuestion) -> Answer[WorkflowRun]:
        """A workflow run by its id, else the newest one that names the request."""
        if question.run_id is None:
            return self._run_by_name(question)
        if question.or_newer:
            return self._run_or_newer(question, question.run_id)
        return self._run_by_id(question.kind, question.run_id)

    @_answered
    def jobs(self, run: Answer[WorkflowRun]) -> Answer[JobsFact]:
        """Whether a job of the answered attempt had started; asked only where the conclusion leaves it open."""
        if run.value is None or run.value.fact.conclusion not in ASKED_JOBS_AFTER or run.value.fact.run_id is None:
            return NOT_ASKED
        run_id, attempt = run.value.fact.run_id, run.value.fact.attempt or 1
        what = f"jobs of run {run_id} of {self.query.repo}"
        started = any(
            has_started(job, run_id=run_id)
            for reply in self._pages("actions", "runs", run_id, "attempts", attempt, "jobs", what=what)
            for job in items_of(reply.data, "jobs")
        )
        return Answer(FactOutcome.OK, JobsFact(run_id=run_id, attempt=attempt, started=started))

    def _pull_by_number(self, number: int) -> Answer[PullFact]:
        reply = self._get("pulls", number, what=f"pull request {number} of {self.query.repo}")
        pull, repo = pull_of(reply.data)
        if pull.number != number:
            raise malformed(f"GitHub answered with pull request {pull.number} when asked for {number}")
        return self._whose(_Told(pull, self._note(repo, reply)), branch=pull.head_branch, title=pull.title)

    def _pulls_of(self, branch: str) -> list[_Told[PullFact]]:
        """Every pull request of the branch, open or not, in any order."""
        known_owner = self.client.owners.find(self.query.repo)
        reply = self._list_pulls(known_owner or self.query.repo.owner, branch)
        if reply.redirected and not reply.data and known_owner is None:
            # The filter names the owner, so that nothing matches it where the repository moved to another one.
            owner = repo_of(self._get(what=f"repository {self.query.repo}").data).owner
            self.client.owners.note(self.query.repo, owner)
            if owner.casefold() != self.query.repo.owner.casefold():
                reply = self._list_pulls(owner, branch)
        listed = [pull_of(item) for item in items_of(reply.data)]
        found = [_Told(pull, self._note(repo, reply)) for pull, repo in listed if pull.head_branch == branch]
        if listed and not found:
            raise malformed(f"GitHub listed pull requests of other branches when asked for {branch}")
        return found

    def _list_pulls(self, owner: str, branch: str) -> Reply:
        try:
            return self._get(
                "pulls",
                what=f"pull requests of {self.query.repo}",
                parameters={"state": "all", "head": f"{owner}:{branch}", "per_page": PER_PAGE},
            )
        except GitHubError as error:
            raise _about_repository(error, self.query.repo) from error

    def _newest(self, found: list[_Told[PullFact]], *, branch: str) -> Answer[PullFact]:
        if not found:
            return Answer(FactOutcome.NOT_FOUND, detail=f"{self.query.repo} has no pull request of {branch}")
        newest = max(found, key=lambda told: told.value.number or 0)
        return self._whose(newest, branch=branch, title=newest.value.title)

    def _run_by_id(self, kind: WorkflowKind, run_id: int) -> Answer[WorkflowRun]:
        reply = self._get("actions", "runs", run_id, what=f"run {run_id} of {self.query.repo}")
        run = run_of(reply.data)
        if run.fact.run_id != run_id:
            raise malformed(f"GitHub answered with run {run.fact.run_id} when asked for {run_id}")
        return self._believed(run, kind, reply)

    def _run_by_name(self, question: RunQuestion) -> Answer[WorkflowRun]:
        """The newest run since the dispatch that names the request, read on until the list reaches back to it."""
        file = self.workflow_files[question.kind]
        read, outcome = 0, FactOutcome.FAILED
        for reply, runs in self._run_pages(file):
            read += len(runs)
            named = [run for run in runs if self._is_named_by(run) and _is_since(run, question)]
            if named:
                return self._believed(max(named, key=age_order), question.kind, reply)
            if _reaches_back(runs, question):
                outcome = FactOutcome.NOT_FOUND
                break
        return Answer(outcome, detail=f"no run names this request among the newest {read} of {file}")

    def _run_pages(self, file: str) -> Iterator[tuple[Reply, list[WorkflowRun]]]:
        """The runs of a workflow, newest first, a page at a time."""
        for page in range(1, _MOST_RUN_PAGES + 1):
            yield self._page_of_runs(file, page)

    def _run_or_newer(self, question: RunQuestion, run_id: int) -> Answer[WorkflowRun]:
        """The newest of the request's runs of that kind, the known one included: the list tells of it too."""
        try:
            reply, runs = self._page_of_runs(self.workflow_files[question.kind], 1)
        except GitHubError as error:
            if error.outcome != FactOutcome.NOT_FOUND:
                raise
            return self._run_by_id(question.kind, run_id)  # the workflow file is gone, its runs may still be there
        known = [run for run in runs if run.fact.run_id == run_id]
        newer = [run for run in runs if self._is_followed(run, question.kind) and _is_after(run, question.not_before)]
        if not known and not newer:
            return self._run_by_id(question.kind, run_id)
        return self._believed(max([*newer, *known], key=age_order), question.kind, reply)

    def _page_of_runs(self, file: str, page: int) -> tuple[Reply, list[WorkflowRun]]:
        reply = self._get(
            *("actions", "workflows", file, "runs"),
            what=f"workflow {file} of {self.query.repo}",
            parameters={"per_page": PER_PAGE, "page": page},
        )
        return reply, [run_of(item) for item in items_of(reply.data, "workflow_runs")]

    def _is_followed(self, run: WorkflowRun, kind: WorkflowKind) -> bool:
        """A plan is the request's where it ran on its branch, other runs where they name it."""
        return run.branch == self.query.branch if kind is WorkflowKind.PLAN else self._is_named_by(run)

    def _is_named_by(self, run: WorkflowRun) -> bool:
        request_id = self.query.request_id
        if find_other_owner(branch=run.branch, title=run.title, request_id=request_id) is not None:
            return False
        return names_request(run.branch, request_id) or names_request(run.title, request_id)

    def _believed(self, run: WorkflowRun, kind: WorkflowKind, reply: Reply) -> Answer[WorkflowRun]:
        note = self._note(run.repo, reply)
        file = (run.path or "").partition("@")[0].rpartition("/")[2]
        if file != self.workflow_files[kind]:
            raise malformed(f"run {run.fact.run_id} is of {file}, and {kind} runs are of {self.workflow_files[kind]}")
        return self._whose(_Told(run, note), branch=run.branch, title=run.title)

    def _whose(self, told: _Told[T], *, branch: str | None, title: str | None) -> Answer[T]:
        other = find_other_owner(branch=branch, title=title, request_id=self.query.request_id)
        if other is not None:
            return Answer(FactOutcome.CROSSED, detail=f"belongs to {other}")
        return Answer(FactOutcome.OK, told.value, detail=told.note)

    def _note(self, repo: RepoRef, reply: Reply) -> str:
        """What to say about the repository that answered: nothing, or its new name. Raises GitHubError (malformed)
        where it is another one without a redirect."""
        if str(repo).casefold() == str(self.query.repo).casefold():
            return ""
        if not reply.redirected:
            raise malformed(f"GitHub answered from {repo} when asked about {self.query.repo}")
        return f"now {repo}"

    def _pages(self, *path: str | int, what: str) -> Iterator[Reply]:
        for page in range(1, _MOST_PAGES + 1):
            reply = self._get(*path, what=what, parameters={"per_page": PER_PAGE, "page": page})
            yield reply
            if _NEXT_PAGE.search(reply.headers.get("link", "")) is None:
                return
        raise malformed(f"GitHub has more than {_MOST_PAGES} pages of {what}")

    def _get(self, *path: str | int, what: str, parameters: Mapping[str, str | int] | None = None) -> Reply:
        return self.client.get(
            path_of(self.query.repo, *path), what=what, allowance=self.allowance, parameters=parameters
        )


def _about_repository(error: GitHubError, repo: RepoRef) -> GitHubError:
    """A list of pull requests exists wherever the repository does: its 404 is about what the token may see."""
    if error.outcome != FactOutcome.NOT_FOUND:
        return error
    return GitHubError(
        f"There is no repository {repo}, or the token may not see it",
        hint="Give the token access to the repository.",
        outcome=FactOutcome.FORBIDDEN,
    )


def _is_since(run: WorkflowRun, question: RunQuestion) -> bool:
    if question.not_before is None:
        return True
    return run.fact.created_at is not None and run.fact.created_at >= question.not_before - CLOCK_TOLERANCE


def _is_after(run: WorkflowRun, since: datetime | None) -> bool:
    return since is not None and run.fact.created_at is not None and run.fact.created_at > since


def _reaches_back(runs: list[WorkflowRun], question: RunQuestion) -> bool:
    """Whether the list holds every run since the dispatch that is asked about: only then does it say there is none."""
    if len(runs) < PER_PAGE or question.not_before is None:
        return True
    return any(run.fact.created_at and run.fact.created_at < question.not_before - CLOCK_TOLERANCE for run in runs)
