"""One request's story: every step happens on GitHub at its time, and is stored as far as the web app hears of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from tfpilot.adapters.keys import SUFFIX, active_key, archived_key, checked_key, events_prefix
from tfpilot.adapters.memos import render_memo
from tfpilot.core.document import format_time
from tfpilot.core.model import (
    Checked,
    DispatchRecord,
    DispatchState,
    FactOutcome,
    JobsFact,
    JsonObject,
    RepoRef,
    WorkflowKind,
)
from tfpilot.core.run_index import entry_key
from tfpilot.sandbox.github import Pull, Review, Run
from tfpilot.sandbox.github.world import fake_sha
from tfpilot.sandbox.seeded import documents
from tfpilot.sandbox.seeded.stage import BOT, ORGANISATION, WORKFLOW_FILES, Infra, Stage

WEB_APP: Final = "web app"
_INTERRUPTED: Final = frozenset({"cancelled", "timed_out"})
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Plot:
    """A request, who made it, how long before now, and what became of it."""

    request_id: str
    infra: Infra
    creator: str
    begins: timedelta
    tell: Callable[[Tale], object]


class Tale:
    """The request while its story is told. `at` is where the story is; `document` is what the web app has stored."""

    def __init__(self, stage: Stage, plot: Plot) -> None:
        self.stage = stage
        self.request_id = plot.request_id
        self.infra = plot.infra
        self.at = stage.now - plot.begins
        self.document = documents.new_document(plot.request_id, plot.infra, creator=plot.creator, at=self.at)
        self._hears = True
        self._is_archived_only = False
        self._pull: Pull | None = None
        self._cleanup: Pull | None = None
        self._jobs: dict[WorkflowKind, JobsFact] = {}
        self._outcomes: dict[str, FactOutcome] = {}
        self._note("request_created", plot.creator)

    @property
    def environment(self) -> str:
        return str(self.document["environment"])

    def after(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Self:
        """Time passes. Raises ValueError where the story would lead beyond now."""
        self.at += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if self.at > self.stage.now:
            raise ValueError(f"the story of {self.request_id} does not fit into its time")
        return self

    def lose_webhooks(self) -> Self:
        """From here on GitHub's news do not reach the web app."""
        self._hears = False
        return self

    def push(self, branch: str = "") -> Self:
        """The web app pushed the request's branch."""
        self.document["branchName"] = branch or f"request/{self.request_id}"
        self.document["commitSha"] = self._sha("commit")
        self._stored()
        return self

    def open_pull(self, *, number: int | None = None, branch: str = "") -> Self:
        """The web app pushed a branch and opened the pull request."""
        self.push(branch)
        self._pull = self.stage.world.add_pull(
            self.infra.full_name,
            branch=self.document["branchName"],
            title=f"Infra request {self.request_id}: {self.document['module']}",
            author=BOT,
            number=number or self.stage.next_pull(self.infra),
            head_sha=self.document["commitSha"],
            at=self.at,
        )
        if self._hears:
            self._index_pull(self._pull)
            self._note("pr_opened", BOT, prNumber=self._pull.number)
        return self._hear_pull(self._pull)

    def revise(self) -> Self:
        """The request is edited after its merge: another branch, another pull request, everything once more."""
        branch = f"update/{self.request_id}/rev-{self.document['revision'] + 1}"
        documents.start_revision(self.document, branch=branch)
        self._note("configuration_updated", self._creator)
        return self.open_pull(branch=branch)

    def review(self, login: str, state: str, *, body: str = "") -> Self:
        """Somebody reviews the pull request on GitHub."""
        review = self.stage.world.add_review(
            self.infra.full_name, self.pull.number, login=login, state=state, body=body, at=self.at
        )
        return self if state == "COMMENTED" else self._hear_review(review)

    def dismiss(self, login: str) -> Self:
        """The latest review of that person is dismissed on GitHub."""
        latest = [review for review in self.stage.world.reviews(self.pull) if review.login == login][-1]
        return self._hear_review(self.stage.world.dismiss_review(latest.id, by=BOT))

    def approve(self, login: str) -> Self:
        """Somebody approves in the web app."""
        documents.store_own_approval(self.document, login, self.at)
        self._note("request_approved", login)
        self._stored()
        return self

    def merge(self, by: str) -> Self:
        """The pull request is merged on GitHub."""
        pull = self.stage.world.merge_pull(
            self.infra.full_name, self.pull.number, by=by, sha=self._sha("merge"), at=self.at
        )
        if self._hears:
            self._note("pr_merged", by, prNumber=pull.number)
        return self._hear_pull(pull)

    def close(self, by: str) -> Self:
        """The pull request is closed without a merge."""
        return self._hear_pull(self.stage.world.close_pull(self.infra.full_name, self.pull.number, by=by, at=self.at))

    def start(self, kind: WorkflowKind, *, status: str = "in_progress", run_id: int | None = None) -> Self:
        """A workflow begins: the plan by a push, the others because the web app dispatched them."""
        run = self._add_run(kind, status=status, run_id=run_id)
        if self._hears:
            self._store_dispatch(kind, run)
            self._index_run(kind, run)
        return self._hear_run(kind, run)

    def start_unseen(self, kind: WorkflowKind, *, status: str = "in_progress") -> Self:
        """The web app dispatches a workflow and never learns which run that was: from here on it hears nothing."""
        self._store_dispatch(kind, None)
        self.lose_webhooks()
        return self.start(kind, status=status)

    def intend(self, kind: WorkflowKind) -> Self:
        """The web app stores that it dispatches a workflow and ends before it does: GitHub's list has no such run."""
        self._store_dispatch(kind, None)
        self._outcomes[kind.value] = FactOutcome.NOT_FOUND
        return self

    def overwrite_dispatch(self, kind: WorkflowKind, *, by: str) -> Self:
        """This portal dispatches a workflow; a moment later the web app stores what it had read before over it."""
        run = self._add_run(kind, status="in_progress", run_id=None)
        self._index_run(kind, run)
        self.stage.keep_dispatch(
            DispatchRecord(
                request_id=self.request_id,
                nonce=self._sha("dispatch")[:16],
                kind=kind,
                repo=RepoRef(ORGANISATION, self.infra.repo),
                workflow_file=WORKFLOW_FILES[kind],
                ref=str(self.document["targetBase"]),
                inputs={"request_id": self.request_id, "environment": self.environment},
                operator=by,
                triggered_at=self.at,
                state=DispatchState.STARTED,
                posted_at=self.at,
                run_id=run.id,
                settled_at=self.at,
                settled_by=by,
            )
        )
        self._stored()
        return self

    def forget_index(self, kind: WorkflowKind) -> Self:
        """The entry of the latest run of that kind was never written."""
        self.stage.drop(entry_key(kind, self.run(kind).id))
        return self

    def finish(self, kind: WorkflowKind, conclusion: str = "success", *, had_job: bool = True) -> Self:
        """The latest run of that kind ends. `had_job` False: no runner ever took one of its jobs."""
        run = self.stage.world.update_run(self.run(kind).id, conclusion=conclusion, at=self.at)
        self.stage.world.add_job(run.id, conclusion=conclusion, is_started=had_job)
        if conclusion in _INTERRUPTED:
            self._jobs[kind] = JobsFact(run.id, run.latest.number, had_job)
        return self._hear_run(kind, run)

    def rerun(self, kind: WorkflowKind, *, by: str) -> Self:
        """Somebody starts the latest run of that kind again on GitHub."""
        return self._hear_run(kind, self.stage.world.rerun(self.run(kind).id, actor=by, at=self.at))

    def take_over_run(self, kind: WorkflowKind, *, of: str) -> Self:
        """The web app takes the run of another request for this one's."""
        return self._hear_run(kind, self.stage.run_of(of, kind))

    def expire_run(self, kind: WorkflowKind) -> Self:
        """GitHub has deleted the latest run of that kind."""
        self.stage.world.delete_run(self.run(kind).id)
        self._outcomes[kind.value] = FactOutcome.NOT_FOUND
        return self

    def dispatch_cleanup(self, *, error: str = "") -> Self:
        """The web app asks for the cleanup after the destroy; with `error` GitHub refuses."""
        destroy = self.run(WorkflowKind.DESTROY)
        documents.store_cleanup_dispatch(self.document, destroy.id, self.at, error=error)
        self._stored()
        return self if error else self.start(WorkflowKind.CLEANUP)

    def open_cleanup_pull(self) -> Self:
        """The cleanup workflow opens its pull request."""
        self._cleanup = self.stage.world.add_pull(
            self.infra.full_name,
            branch=f"cleanup/{self.request_id}",
            title=f"Cleanup {self.request_id}",
            author=BOT,
            number=self.stage.next_pull(self.infra),
            at=self.at,
        )
        return self._hear_cleanup(self._cleanup)

    def merge_cleanup_pull(self, by: str) -> Self:
        """The cleanup pull request is merged on GitHub."""
        number = self.cleanup.number
        return self._hear_cleanup(self.stage.world.merge_pull(self.infra.full_name, number, by=by, at=self.at))

    def archive(self) -> Self:
        """The web app copies the document, as it is now, to the archive."""
        self.stage.keep(archived_key(self.request_id), copy.deepcopy(self.document))
        return self

    def move_to_archive(self) -> Self:
        """Only an archived copy remains."""
        self._is_archived_only = True
        return self.archive()

    def leave_lock(self, operation: str) -> Self:
        """Whoever held the request's lock never released it. It lasts two minutes."""
        self.document["lock"] = {
            "holder": self._sha("lock")[:16],
            "operation": operation,
            "acquiredAt": format_time(self.at),
            "expiresAt": format_time(self.at + timedelta(minutes=2)),
        }
        self._stored()
        return self

    def add_step(self, step: str, message: str) -> Self:
        """The web app adds a step to the timeline that it shows."""
        documents.add_step(self.document, step, message, self.at)
        self._stored()
        return self

    def lose_pull(self) -> Self:
        """The portal was told by GitHub that there is no such pull request."""
        self._outcomes["pull"] = self._outcomes["reviews"] = FactOutcome.NOT_FOUND
        return self

    def end(self) -> None:
        """Keeps what is stored in the end, and that the portal asked GitHub just now: in vain where news were lost.

        So opening a request in the first minutes does not repair it before anybody has seen it.
        """
        if self._is_archived_only:
            return
        self.stage.keep(active_key(self.request_id), self.document)
        if self.document["targetRepo"]:
            self.stage.keep(checked_key(self.request_id), render_memo(self._checked()))

    @property
    def pull(self) -> Pull:
        """The request's current pull request. Raises LookupError where none was opened."""
        if self._pull is None:
            raise LookupError(f"{self.request_id} has no pull request yet")
        return self.stage.world.pull(self.infra.full_name, self._pull.number)

    @property
    def cleanup(self) -> Pull:
        """The cleanup pull request. Raises LookupError where none was opened."""
        if self._cleanup is None:
            raise LookupError(f"{self.request_id} has no cleanup pull request yet")
        return self.stage.world.pull(self.infra.full_name, self._cleanup.number)

    def run(self, kind: WorkflowKind) -> Run:
        """The latest run of that kind. Raises LookupError where none was started."""
        return self.stage.run_of(self.request_id, kind)

    @property
    def _creator(self) -> str:
        return str(self.document["config"]["tags"]["tfpilot:created_by"])

    def _add_run(self, kind: WorkflowKind, *, status: str, run_id: int | None) -> Run:
        is_plan = kind is WorkflowKind.PLAN
        run = self.stage.world.add_run(
            self.infra.full_name,
            WORKFLOW_FILES[kind],
            branch=self.document["branchName"] if is_plan else self.document["targetBase"],
            status=status,
            event="pull_request" if is_plan else "workflow_dispatch",
            title=f"{kind.value} {self.request_id} ({self.environment})",
            actor=BOT,
            head_sha=self.document["commitSha"] if is_plan else self._sha("merge"),
            run_id=run_id or self.stage.next_run_id(),
            at=self.at,
        )
        self.stage.remember(self.request_id, kind, run)
        return run

    def _store_dispatch(self, kind: WorkflowKind, run: Run | None) -> None:
        documents.store_trigger(self.document, kind, self.at)
        self._note(f"{kind.value}_dispatched", BOT, **({} if run is None else {f"{kind.value}RunId": run.id}))
        self._stored()

    def _hear_run(self, kind: WorkflowKind, run: Run) -> Self:
        if self._hears:
            documents.store_run(self.document, kind, run)
            self._stored()
        return self

    def _hear_pull(self, pull: Pull) -> Self:
        if self._hears:
            documents.store_pull(self.document, pull)
            self._stored()
        return self

    def _hear_review(self, review: Review) -> Self:
        if self._hears:
            documents.store_review(self.document, review)
            self._stored()
        return self

    def _hear_cleanup(self, pull: Pull) -> Self:
        if self._hears:
            documents.store_cleanup_pull(self.document, pull)
            self._index_pull(pull)
            self._stored()
        return self

    def _stored(self) -> None:
        self.document["version"] += 1
        self.document["updatedAt"] = format_time(self.at)

    def _index_run(self, kind: WorkflowKind, run: Run) -> None:
        if self.stage.now - run.created_at < documents.INDEX_ENTRY_LIVES:
            self.stage.keep_compact(entry_key(kind, run.id), documents.index_entry(kind, run, self.request_id))

    def _index_pull(self, pull: Pull) -> None:
        key = f"webhooks/github/pr-index/{ORGANISATION}_{self.infra.repo}/pr-{pull.number}{SUFFIX}"
        entry = {
            "requestId": self.request_id,
            "owner": ORGANISATION,
            "repo": self.infra.repo,
            "prNumber": pull.number,
        }
        self.stage.keep(key, entry)

    def _note(self, event: str, actor: str, **data: object) -> None:
        """One line of the request's history; two at one time are a millisecond apart."""
        at = self.at
        while (key := f"{events_prefix(self.request_id)}{format_time(at)}{SUFFIX}") in self.stage.objects:
            at += _MILLISECOND
        line: JsonObject = {
            "timestamp": format_time(at),
            "requestId": self.request_id,
            "event": event,
            "actor": actor,
            "source": WEB_APP,
            "data": {"targetRepo": self.infra.full_name, **data},
        }
        self.stage.keep(key, line)

    def _checked(self) -> Checked:
        answered = FactOutcome.OK if self._hears else FactOutcome.TIMEOUT
        has_pull = "prNumber" in self.document
        facts = {
            "pull": answered if has_pull else FactOutcome.NOT_FOUND,
            "reviews": answered if has_pull else FactOutcome.NOT_ASKED,
            "cleanup_pull": FactOutcome.NOT_FOUND if self._cleanup is None else answered,
            **dict.fromkeys(self.document.get("github", {}).get("workflows", {}), answered),
            **self._outcomes,
        }
        return Checked(self.stage.now, {name: outcome.value for name, outcome in facts.items()}, self._jobs)

    def _sha(self, what: str) -> str:
        return fake_sha(f"{what}:{self.request_id}:{self.document['revision']}")
