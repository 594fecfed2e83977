"""GitHub Actions for dispatching: who we are, starting a workflow with one POST, and listing its runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from github.GithubException import GithubException

from tfpilot.adapters.github import GitHubEdge
from tfpilot.adapters.github_client import PER_PAGE, Reply, path_of
from tfpilot.adapters.github_errors import malformed, server_time
from tfpilot.adapters.github_transport import Allowance, MovedError
from tfpilot.adapters.github_values import items_of, run_of, running_job
from tfpilot.core.dispatch import DispatchAnswer, DispatchOrder, DispatchOutcome, age_order
from tfpilot.core.model import RepoRef, RunListing, WorkflowRun
from tfpilot.core.reset_guards import RunsSeen
from tfpilot.edges import Myself
from tfpilot.errors import GitHubError

if TYPE_CHECKING:
    from tfpilot.adapters.github_client import GitHubClient

WHOAMI_DEADLINE: Final = timedelta(seconds=10)
_MOST_PAGES: Final = 10
_MOST_PAGES_OF_ALL: Final = 60
_LONGEST_RUN: Final = timedelta(days=35)
"""After that GitHub cancels a run, also one that waits for a person."""
_MOST_POSTS: Final = 3
"""One that can start a run, after those that were refused for the field and for the repository's old name."""
_DETAILS: Final = "return_run_details"


class GitHubWorkflows:
    """`Workflows` on the portal's own GitHub client. For any number of threads."""

    def __init__(self, github: GitHubEdge) -> None:
        self._github = github
        self._lock = threading.Lock()
        self._login: str | None = None
        self._knows_details = True

    @property
    def _client(self) -> GitHubClient:
        return self._github.client

    def me(self) -> Myself:
        with self._lock:
            login = self._login
        if login is None:
            login = self._github.whoami(deadline=WHOAMI_DEADLINE).login
            with self._lock:
                self._login = login
        return Myself(login, self._github.clock_ahead)

    def dispatch(self, order: DispatchOrder, *, deadline: timedelta) -> DispatchAnswer:
        allowance = Allowance(deadline)
        posts = 0
        while True:
            posts += 1
            with_details, began = self._knows_details, self._github_time()
            try:
                return _answered(self._post(order, allowance, with_details=with_details), began)
            except GitHubError as error:
                if posts == _MOST_POSTS or not self._may_post_again(error, with_details=with_details):
                    return _failed(error, began)

    def _may_post_again(self, failure: GitHubError, *, with_details: bool) -> bool:
        """Whether the POST started nothing for a reason that is known now: the next is the first one that can start a
        run. The server does not know the field and refused it, or told where the repository is now."""
        if with_details and _is_about_details(failure):
            self._knows_details = False
            return True
        return isinstance(failure, MovedError)

    def list_runs(self, repo: RepoRef, workflow_file: str, *, since: datetime, deadline: timedelta) -> RunListing:
        return self._list(
            path_of(repo, "actions", "workflows", workflow_file, "runs"),
            what=f"workflow {workflow_file} of {repo}",
            since=since,
            allowance=Allowance(deadline),
            most_pages=_MOST_PAGES,
        )

    def active_runs(self, repo: RepoRef, *, deadline: timedelta) -> RunsSeen:
        """By the list of all runs: a workflow file that the repository has not is no reason not to know."""
        listing = self.runs_since(repo, self._github_time(), deadline=deadline)
        active = tuple(
            f"{run.file} run {run.fact.run_id} ({run.fact.status or 'no status'})"
            for run in listing.runs
            if run.fact.status != "completed"
        )
        # Where none of the known workflows ever ran, the repository's own ones have other names.
        is_known = not listing.runs or any(run.file in self._github.workflow_files for run in listing.runs)
        return RunsSeen(active, listing.complete and is_known, len(self._github.workflow_files))

    def runs_since(self, repo: RepoRef, at: datetime, *, deadline: timedelta) -> RunListing:
        listing = self._list(
            path_of(repo, "actions", "runs"),
            what=f"runs of {repo}",
            since=at - _LONGEST_RUN,
            allowance=Allowance(deadline),
            most_pages=_MOST_PAGES_OF_ALL,
        )
        known = self._github.workflow_files
        return RunListing(tuple(run for run in listing.runs if run.file in known), listing.complete)

    def running_jobs(self, repo: RepoRef, run_id: int, *, deadline: timedelta) -> Sequence[str]:
        allowance = Allowance(deadline)
        path = path_of(repo, "actions", "runs", run_id, "jobs")
        running: list[str] = []
        for page in range(1, _MOST_PAGES + 1):
            what = f"jobs of run {run_id} of {repo}"
            parameters: dict[str, str | int] = {"filter": "all", "per_page": PER_PAGE, "page": page}
            reply = self._client.get(path, what=what, allowance=allowance, parameters=parameters)
            jobs = items_of(reply.data, "jobs")
            running += [told for job in jobs if (told := running_job(job, run_id=run_id)) is not None]
            if len(jobs) < PER_PAGE:
                return running
        raise malformed(f"Run {run_id} of {repo} has more jobs than GitHub allows")

    def _list(self, path: str, *, what: str, since: datetime, allowance: Allowance, most_pages: int) -> RunListing:
        found: dict[int, WorkflowRun] = {}
        complete = False
        for page in range(1, most_pages + 1):
            reply = self._client.get(
                path, what=what, allowance=allowance, parameters={"per_page": PER_PAGE, "page": page}
            )
            runs = [run_of(item) for item in items_of(reply.data, "workflow_runs")]
            # A run that starts meanwhile moves the others to later pages: some are seen twice.
            found |= {run.fact.run_id: run for run in runs if run.fact.run_id is not None}
            if len(runs) < PER_PAGE or all(_is_before(run, since) for run in runs):
                complete = True
                break
        newest_first = sorted(found.values(), key=age_order, reverse=True)
        return RunListing(tuple(newest_first), complete)

    def _post(self, order: DispatchOrder, allowance: Allowance, *, with_details: bool) -> Reply:
        body: dict[str, Any] = {"ref": order.ref, "inputs": dict(order.inputs)}
        if with_details:
            body[_DETAILS] = True
        return self._client.post(
            path_of(order.repo, "actions", "workflows", order.workflow_file, "dispatches"),
            what=f"dispatch of {order.workflow_file} in {order.repo}",
            allowance=allowance,
            body=body,
        )

    def _github_time(self) -> datetime:
        return datetime.now(UTC) + self._github.clock_ahead


def _answered(reply: Reply, began: datetime) -> DispatchAnswer:
    # A slow answer comes long after the run: what looks for it from the time of the answer on would miss it.
    at = min(server_time(reply.headers) or began, began)
    run_id = reply.data.get("workflow_run_id") if isinstance(reply.data, Mapping) else None
    if type(run_id) is not int or run_id < 1:
        return DispatchAnswer(DispatchOutcome.UNKNOWN, at, detail="GitHub took the dispatch and named no run")
    url = reply.data.get("html_url")
    return DispatchAnswer(
        DispatchOutcome.STARTED, at, run_id=run_id, html_url=url if isinstance(url, str) and url else None
    )


def _failed(error: GitHubError, began: datetime) -> DispatchAnswer:
    """A refusal started nothing; whatever else went wrong may have come after the start."""
    status = error.__cause__.status if isinstance(error.__cause__, GithubException) else 0
    is_refused = (400 <= status < 500 and status != 408) or isinstance(error, MovedError)
    outcome = DispatchOutcome.REFUSED if is_refused else DispatchOutcome.UNKNOWN
    told = _message(error) if is_refused else ""
    return DispatchAnswer(outcome, began, detail=f"{error.message}{f': {told}' if told else ''}")


def _is_before(run: WorkflowRun, since: datetime) -> bool:
    return run.fact.created_at is not None and run.fact.created_at < since


def _is_about_details(error: GitHubError) -> bool:
    cause = error.__cause__
    return isinstance(cause, GithubException) and cause.status in {400, 422} and _DETAILS in _message(error)


def _message(error: GitHubError) -> str:
    """What GitHub itself said, one short line."""
    cause = error.__cause__
    data = cause.data if isinstance(cause, GithubException) else None
    told = data.get("message") if isinstance(data, dict) else None
    return " ".join(told.split())[:300] if isinstance(told, str) else ""
