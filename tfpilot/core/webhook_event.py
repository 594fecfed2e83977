"""What a webhook says, read leniently: fields may be missing, and one of another type reads as absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tfpilot.core.correlation import named_requests, request_of_branch
from tfpilot.core.document import flag_of, number_of, object_of, parse_time, text_of
from tfpilot.core.model import JsonObject, PullFact, RepoRef, Review, RunFact, WorkflowKind, WorkflowRun
from tfpilot.core.run_guard import requests_named_by

WORKFLOW_RUN: Final = "workflow_run"
PULL_REQUEST: Final = "pull_request"
REVIEW: Final = "pull_request_review"
PING: Final = "ping"
HANDLED_EVENTS: Final = frozenset({WORKFLOW_RUN, PULL_REQUEST, REVIEW, PING})

NOWHERE: Final = RepoRef("", "")
"""The repository of an event that names none: no request's."""

_WORKFLOWS: Final = ".github/workflows/"
_BY_NAME: Final = (WorkflowKind.APPLY, WorkflowKind.DESTROY, WorkflowKind.CLEANUP, WorkflowKind.PLAN)
"""The order in which a workflow's name is searched for the name of a kind."""
_DELETED_USER: Final = "ghost"


@dataclass(frozen=True, slots=True)
class Event:
    """One webhook. `run`, `pull` and `review` are set where the event is about one.

    `kind` is the run's, None where its workflow is none of ours. `named` are the request ids that its branch and texts
    hold, in the order in which they count. `pull_numbers`: the pull request, or those that GitHub says a run is for.
    """

    name: str
    repo: RepoRef
    sender: str
    run: WorkflowRun | None = None
    kind: WorkflowKind | None = None
    pull: PullFact | None = None
    review: Review | None = None
    named: tuple[str, ...] = ()
    pull_numbers: tuple[int, ...] = ()

    @property
    def run_id(self) -> int | None:
        return self.run.fact.run_id if self.run else None


def parse_event(name: str, payload: object, *, workflow_files: Mapping[WorkflowKind, str]) -> Event:
    """The event in a payload, old or new. Never fails: what cannot be read is absent."""
    fields = object_of(payload)
    repo = _repo(object_of(fields.get("repository"))) or NOWHERE
    sender = text_of(object_of(fields.get("sender")).get("login")) or "github"
    if name == WORKFLOW_RUN:
        return _run_event(fields, repo, sender, workflow_files)
    if name in (PULL_REQUEST, REVIEW):
        return _pull_event(name, fields, repo, sender)
    return Event(name, repo, sender)


def kind_of_run(path: str | None, name: str | None, workflow_files: Mapping[WorkflowKind, str]) -> WorkflowKind | None:
    """The kind of a run: by its workflow file, and only without one by the workflow's name. A title says nothing."""
    if path is not None:
        file = path.partition("@")[0].removeprefix(_WORKFLOWS)
        return next((kind for kind, ours in workflow_files.items() if file == ours), None)
    words = (name or "").lower()
    if "drift" in words and "plan" in words:
        return WorkflowKind.DRIFT_PLAN
    return next((kind for kind in _BY_NAME if kind.value in words), None)


def _run_event(fields: JsonObject, repo: RepoRef, sender: str, workflow_files: Mapping[WorkflowKind, str]) -> Event:
    stored, workflow = object_of(fields.get("workflow_run")), object_of(fields.get("workflow"))
    run = _run(stored, workflow, repo)
    return Event(
        WORKFLOW_RUN,
        run.repo,
        sender,
        run=run,
        kind=kind_of_run(run.path, run.name, workflow_files),
        named=requests_named_by(run),
        pull_numbers=_numbers(stored.get("pull_requests")),
    )


def _run(stored: JsonObject, workflow: JsonObject, repo: RepoRef) -> WorkflowRun:
    """The run. One of a fork names nobody: its branch and title are a stranger's."""
    html_url, is_ours = text_of(stored.get("html_url")), not _is_of_fork(stored)
    return WorkflowRun(
        fact=RunFact(
            run_id=number_of(stored.get("id")),
            attempt=number_of(stored.get("run_attempt")) or 1,
            status=text_of(stored.get("status")),
            conclusion=text_of(stored.get("conclusion")),
            head_sha=text_of(stored.get("head_sha")),
            created_at=parse_time(stored.get("created_at")),
            run_started_at=parse_time(stored.get("run_started_at")),
            updated_at=parse_time(stored.get("updated_at")),
            url=html_url,
            html_url=html_url,
        ),
        repo=_repo(object_of(stored.get("repository"))) or repo,
        path=text_of(stored.get("path")) or text_of(workflow.get("path")),
        name=text_of(stored.get("name")) or text_of(workflow.get("name")),
        title=text_of(stored.get("display_title")) if is_ours else None,
        branch=text_of(stored.get("head_branch")) if is_ours else None,
        event=text_of(stored.get("event")),
        actor=text_of(object_of(stored.get("actor")).get("login")),
    )


def _is_of_fork(run: JsonObject) -> bool:
    head, base = _repo(object_of(run.get("head_repository"))), _repo(object_of(run.get("repository")))
    return head is not None and base is not None and str(head).casefold() != str(base).casefold()


def _pull_event(name: str, fields: JsonObject, repo: RepoRef, sender: str) -> Event:
    stored = object_of(fields.get("pull_request"))
    base = _repo(object_of(object_of(stored.get("base")).get("repo"))) or repo
    pull = _pull(stored, number_of(fields.get("number")), is_fork=_comes_from_fork(stored, base))
    by_branch = request_of_branch(pull.head_branch)
    named = ([by_branch] if by_branch else []) + list(named_requests(pull.title))
    return Event(
        name,
        base,
        sender,
        pull=pull,
        review=_review(object_of(fields.get("review"))) if name == REVIEW else None,
        named=tuple(dict.fromkeys(named)),
        pull_numbers=(pull.number,) if pull.number else (),
    )


def _pull(stored: JsonObject, number: int | None, *, is_fork: bool) -> PullFact:
    """The pull request. Before the merge, `merge_commit_sha` is a trial merge, so it counts as not known."""
    head, merged_at = object_of(stored.get("head")), parse_time(stored.get("merged_at"))
    merged = True if merged_at is not None else flag_of(stored.get("merged"))
    return PullFact(
        number=number_of(stored.get("number")) or number,
        url=text_of(stored.get("html_url")),
        open={"open": True, "closed": False}.get(text_of(stored.get("state")) or ""),
        merged=merged,
        merged_at=merged_at,
        merge_commit_sha=text_of(stored.get("merge_commit_sha")) if merged else None,
        head_sha=text_of(head.get("sha")),
        head_branch=None if is_fork else text_of(head.get("ref")),
        title=None if is_fork else text_of(stored.get("title")),
        author=text_of(object_of(stored.get("user")).get("login")),
        created_at=parse_time(stored.get("created_at")),
        updated_at=parse_time(stored.get("updated_at")),
    )


def _comes_from_fork(pull: JsonObject, base: RepoRef) -> bool:
    """Whether the branch is in another repository: anybody may name one there as they like. A deleted one is null."""
    head = object_of(pull.get("head"))
    if "repo" not in head:
        return False
    repo = _repo(object_of(head["repo"]))
    return repo is None or str(repo).casefold() != str(base).casefold()


def _review(stored: JsonObject) -> Review:
    """The review; its state in upper case, as the API gives it. Webhooks write it in lower case."""
    return Review(
        login=text_of(object_of(stored.get("user")).get("login")) or _DELETED_USER,
        state=(text_of(stored.get("state")) or "").upper(),
        submitted_at=parse_time(stored.get("submitted_at")),
    )


def _repo(stored: JsonObject) -> RepoRef | None:
    owner, slash, name = (text_of(stored.get("full_name")) or "").partition("/")
    return RepoRef(owner, name) if owner and slash and name and "/" not in name else None


def _numbers(pulls: object) -> tuple[int, ...]:
    listed = pulls if isinstance(pulls, list) else []
    numbers = (number_of(object_of(pull).get("number")) for pull in listed)
    return tuple(number for number in numbers if number is not None)
