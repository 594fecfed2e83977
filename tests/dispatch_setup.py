"""Requests that something can be dispatched for, and runs that a dispatch may have started."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tfpilot.core.dispatch import DispatchAnswer, DispatchOrder, DispatchOutcome
from tfpilot.core.model import (
    Answer,
    DispatchRecord,
    DispatchState,
    FactOutcome,
    FactsQuery,
    GitHubFacts,
    Operator,
    RepoRef,
    Role,
    RunFact,
    WorkflowKind,
    WorkflowRun,
)

ADMIN = Operator("ops-lead", Role.ADMIN)
APPROVER = Operator("tom-r", Role.APPROVER)
DEVELOPER = Operator("maya-k", Role.DEVELOPER)
SYSTEM = Operator("system", Role.SYSTEM)
LOGIN = "tfpilot-portal"
"""Who the portal is at GitHub."""
REPO = RepoRef("acme", "infra")
DESTROY_FILE = "destroy.yml"


def planned(request_id: str = REQUEST_ID, **fields: Any) -> dict[str, Any]:
    """Its pull request is open and its plan succeeded half an hour ago."""
    return with_run(with_pull(request(request_id, **fields)), "plan", **run(1, createdAt=ago(minutes=30)))


def merged(request_id: str = REQUEST_ID, **fields: Any) -> dict[str, Any]:
    """Its pull request is merged; nothing is applied yet."""
    return with_pull(request(request_id, **fields), open=False, merged=True)


def applied(request_id: str = REQUEST_ID, *, run_id: int = 5, conclusion: str = "success", **fields: Any):
    """Its apply ended half an hour ago."""
    return with_run(
        merged(request_id, **fields), "apply", **run(run_id, conclusion=conclusion, createdAt=ago(minutes=30))
    )


def destroyed(request_id: str = REQUEST_ID, *, run_id: int = 6, conclusion: str = "success", **fields: Any):
    """Its destroy ended twenty minutes ago."""
    document = with_run(
        applied(request_id, **fields), "destroy", **run(run_id, conclusion=conclusion, createdAt=ago(minutes=20))
    )
    return triggered(document, "destroyTriggeredAt", ago(minutes=20))


def destroying(request_id: str = REQUEST_ID, *, minutes: float = 5, **destroy: Any) -> dict[str, Any]:
    """Its destroy was dispatched so many minutes ago and has no result; `destroy` is what is stored of the run."""
    began = ago(minutes=minutes)
    stored = {"status": "in_progress", **destroy}
    return triggered(with_run(applied(request_id), "destroy", **stored), "destroyTriggeredAt", began)


def triggered(document: dict[str, Any], name: str, at: str) -> dict[str, Any]:
    return {**document, "github": {**document["github"], name: at}}


def seen(
    run_id: int,
    *,
    seconds: float = 0,
    at: datetime = NOW,
    title: str = "Destroy",
    actor: str = LOGIN,
    branch: str = "main",
    event: str = "workflow_dispatch",
    **fact: Any,
) -> WorkflowRun:
    """A run as GitHub's lists show it, created so many seconds after `at`."""
    told = {"status": "queued", "html_url": f"https://github.com/acme/infra/actions/runs/{run_id}", **fact}
    created_at = at + timedelta(seconds=seconds)
    return WorkflowRun(
        RunFact(run_id=run_id, created_at=created_at, **told),
        REPO,
        path=".github/workflows/destroy.yml",
        title=title,
        branch=branch,
        event=event,
        actor=actor,
    )


def record_of(
    kind: WorkflowKind = WorkflowKind.DESTROY,
    *,
    request_id: str = REQUEST_ID,
    nonce: str = "a1",
    at: datetime = NOW,
    state: DispatchState = DispatchState.OPEN,
    **fields: Any,
) -> DispatchRecord:
    """Our record of a dispatch."""
    return DispatchRecord(
        request_id=request_id,
        nonce=nonce,
        kind=kind,
        repo=REPO,
        workflow_file=f"{kind.value.replace('_', '-')}.yml",
        ref="main",
        inputs={"request_id": request_id},
        operator="ops-lead",
        triggered_at=at,
        state=state,
        **fields,
    )


def unknown(_order: DispatchOrder) -> DispatchAnswer:
    """GitHub took the dispatch and told nothing."""
    return DispatchAnswer(DispatchOutcome.UNKNOWN, NOW, detail="GitHub took the dispatch and named no run")


def refused(_order: DispatchOrder) -> DispatchAnswer:
    return DispatchAnswer(DispatchOutcome.REFUSED, NOW, detail="GitHub answered 422: no such ref")


def told(kind: WorkflowKind, **fact: Any):
    """GitHub's answer about the run of that kind."""

    def answer(query: FactsQuery) -> GitHubFacts:
        return GitHubFacts(runs={kind: Answer(FactOutcome.OK, WorkflowRun(RunFact(**fact), query.repo))})

    return answer
