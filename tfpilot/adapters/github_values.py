"""GitHub's JSON as our values. What lacks a key field, or has one of a wrong type, is a GitHubError (malformed)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tfpilot.adapters.github_errors import malformed
from tfpilot.core.document import parse_time
from tfpilot.core.model import JsonObject, PullFact, RepoRef, Review, RunFact, WorkflowRun

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")

_DELETED_USER: Final = "ghost"
"""How GitHub shows a reviewer whose account is gone; the API gives null."""
_PULL_URL: Final = re.compile(r"/repos/(?P<owner>[^/]+)/(?P<name>[^/]+)/pulls/(?P<number>\d{1,15})\Z")
_NOT_YET: Final = frozenset({"queued", "waiting", "pending", "requested"})
_NEVER: Final = frozenset({None, "cancelled", "skipped"})


def pull_of(data: object) -> tuple[PullFact, RepoRef]:
    """A pull request, from a list or alone, and the repository it would change.

    Merged means that `merged_at` is set: lists have no `merged`. Before the merge, `merge_commit_sha` is a trial merge
    that will never be on the base branch, so it counts as not known.
    """
    pull = _Fields(data, "a pull request")
    head, base = pull.inner("head"), pull.inner("base")
    merged_at = pull.find_time("merged_at")
    fact = PullFact(
        number=pull.count("number"),
        url=pull.find_text("html_url"),
        open=pull.one_of("state", "open", "closed") == "open",
        merged=merged_at is not None,
        merged_at=merged_at,
        merge_commit_sha=pull.find_text("merge_commit_sha") if merged_at else None,
        head_sha=head.find_text("sha"),
        head_branch=head.text("ref"),
        title=pull.find_text("title"),
        author=pull.find_login("user"),
        created_at=pull.find_time("created_at"),
        updated_at=pull.find_time("updated_at"),
    )
    return fact, base.inner("repo").repo("full_name")


def review_of(data: object) -> tuple[Review, RepoRef, int]:
    """A review, and the repository and number of the pull request it is about."""
    review = _Fields(data, "a review")
    about = _PULL_URL.search(review.text("pull_request_url"))
    if about is None:
        raise malformed("GitHub's answer is not a review: pull_request_url leads nowhere")
    value = Review(
        login=review.find_login("user") or _DELETED_USER,
        state=review.text("state").upper(),
        submitted_at=review.find_time("submitted_at"),
    )
    return value, RepoRef(about["owner"], about["name"]), int(about["number"])


def run_of(data: object) -> WorkflowRun:
    """A workflow run. Statuses and conclusions are kept as they are, also ones that nobody knows."""
    run = _Fields(data, "a workflow run")
    html_url = run.find_text("html_url")
    return WorkflowRun(
        fact=RunFact(
            run_id=run.count("id"),
            attempt=run.find_count("run_attempt"),
            status=run.find_text("status"),
            conclusion=run.find_text("conclusion"),
            head_sha=run.find_text("head_sha"),
            created_at=run.find_time("created_at"),
            run_started_at=run.find_time("run_started_at"),
            updated_at=run.find_time("updated_at"),
            url=html_url,  # documents hold the page's address under both names
            html_url=html_url,
        ),
        repo=run.inner("repository").repo("full_name"),
        path=run.text("path"),
        name=run.find_text("name"),
        title=run.find_text("display_title"),
        branch=run.find_text("head_branch"),
        event=run.find_text("event"),
        actor=run.find_login("actor"),
    )


def has_started(data: object, *, run_id: int) -> bool:
    """Whether a job of the run ever ran. Every job has a `started_at`, also one that was cancelled while it waited;
    what only a started one has is a runner, a step, or another end than cancelled or skipped."""
    job = _Fields(data, "a job")
    if job.count("run_id") != run_id:
        raise malformed(f"GitHub answered with a job of another run than {run_id}")
    if job.find_text("runner_name") or job.items("steps"):
        return True
    conclusion = job.find_text("conclusion")
    return conclusion not in _NEVER or (conclusion is None and job.text("status") not in _NOT_YET)


def running_job(data: object, *, run_id: int) -> str | None:
    """A job that is at work, by its name and the step it is at; None for one that waits or is over."""
    job = _Fields(data, "a job")
    if job.count("run_id") != run_id:
        raise malformed(f"GitHub answered with a job of another run than {run_id}")
    if job.text("status") in {"completed", *_NOT_YET}:
        return None
    steps = (_Fields(step, "a step of a job") for step in job.items("steps"))
    step = next((step.find_text("name") for step in steps if step.find_text("status") == "in_progress"), None)
    return f"job {job.text('name')}, step “{step}”" if step else f"job {job.text('name')}"


def repo_of(data: object) -> RepoRef:
    """The present name of a repository."""
    return _Fields(data, "a repository").repo("full_name")


def login_of(data: object) -> str:
    """The login of a user."""
    return _Fields(data, "a user").text("login")


def items_of(data: object, key: str | None = None) -> list[Any]:
    """The list that an answer is, or holds under `key`."""
    listed = data if key is None else _Fields(data, "a list").raw.get(key)
    if not isinstance(listed, list):
        raise malformed("GitHub's answer is not the list that was asked for")
    return listed


class _Fields:
    """One JSON object, read field by field."""

    def __init__(self, data: object, what: str) -> None:
        if not isinstance(data, dict):
            raise malformed(f"GitHub's answer is not {what}")
        self.raw: JsonObject = data
        self._what = what

    def inner(self, key: str) -> _Fields:
        return _Fields(self.raw.get(key), f"{self._what} with {key}")

    def find_text(self, key: str) -> str | None:
        value = self.raw.get(key)
        if value is not None and not isinstance(value, str):
            raise self._odd(key)
        return value or None

    def text(self, key: str) -> str:
        return self._needed(key, self.find_text(key))

    def one_of(self, key: str, *known: str) -> str:
        value = self.text(key)
        if value not in known:
            raise self._odd(key)
        return value

    def find_count(self, key: str) -> int | None:
        value = self.raw.get(key)
        if value is not None and (type(value) is not int or value < 1):
            raise self._odd(key)
        return value

    def count(self, key: str) -> int:
        return self._needed(key, self.find_count(key))

    def find_time(self, key: str) -> datetime | None:
        value = self.raw.get(key)
        at = parse_time(value)
        if value is not None and at is None:
            raise self._odd(key)
        return at

    def find_login(self, key: str) -> str | None:
        return None if self.raw.get(key) is None else self.inner(key).text("login")

    def items(self, key: str) -> list[Any]:
        value = self.raw.get(key)
        return [] if value is None else items_of(value)

    def repo(self, key: str) -> RepoRef:
        owner, slash, name = self.text(key).partition("/")
        if not (owner and slash and name) or "/" in name:
            raise self._odd(key)
        return RepoRef(owner, name)

    def _needed(self, key: str, value: T | None) -> T:
        if value is None:
            raise self._odd(key)
        return value

    def _odd(self, key: str) -> Exception:
        return malformed(f"GitHub's answer is not {self._what}: {key} is missing or of another type")
