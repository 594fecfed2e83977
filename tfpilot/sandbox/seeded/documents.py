"""What the web app writes about a request: the new document, and each thing it hears, in both places it keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from tfpilot.core.document import format_time
from tfpilot.core.model import JsonObject, WorkflowKind
from tfpilot.core.request import LEGACY_RUNS
from tfpilot.sandbox.github import Pull, Review, Run
from tfpilot.sandbox.seeded.stage import ORGANISATION, Infra

Document = dict[str, Any]

INDEX_ENTRY_LIVES: Final = timedelta(days=90)
MODULES: Final[Mapping[str, tuple[str, JsonObject]]] = {
    "ec2": ("ec2-instance", {"instance_type": "t3.small", "root_volume_gb": 30, "public": False}),
    "rds": ("rds-postgres", {"engine_version": "16.4", "instance_class": "db.t4g.medium", "multi_az": True}),
    "s3": ("s3-bucket", {"versioning": True, "lifecycle_days": 365}),
    "iam": ("iam-role", {"trusted_service": "ecs-tasks.amazonaws.com", "max_session_hours": 1}),
    "sqs": ("sqs-queue", {"fifo": False, "visibility_timeout_seconds": 60}),
    "ecr": ("ecr-repo", {"immutable_tags": True, "keep_images": 50}),
}
"""The module that a request id abbreviates, and what its form asks for."""
MONTHLY_COST: Final[Mapping[str, str]] = {"ec2": "17.20", "rds": "148.92"}

_TRIGGERS: Final[Mapping[WorkflowKind, str]] = {
    WorkflowKind.PLAN: "planTriggeredAt",
    WorkflowKind.APPLY: "applyTriggeredAt",
    WorkflowKind.DESTROY: "destroyTriggeredAt",
    WorkflowKind.CLEANUP: "cleanupTriggeredAt",
    WorkflowKind.DRIFT_PLAN: "driftPlanTriggeredAt",
}


def new_document(request_id: str, infra: Infra, *, creator: str, at: datetime) -> Document:
    """The document of a request that was just made: `req_<environment>_<module>_<random>`."""
    _, environment, short, suffix = request_id.split("_")
    module, inputs = MODULES[short]
    return {
        "id": request_id,
        "version": 1,
        "project": infra.project,
        "environment": environment,
        "module": module,
        "config": {
            "name": f"{infra.project}-{short}-{suffix}",
            "aws_region": "eu-west-2",
            **inputs,
            "tags": {
                "tfpilot:request_id": request_id,
                "tfpilot:project": infra.project,
                "tfpilot:environment": environment,
                "tfpilot:created_by": creator,
            },
        },
        "receivedAt": format_time(at),
        "updatedAt": format_time(at),
        "status": "created",
        "revision": 1,
        "plan": {"diff": f"+ module.{short}_{suffix}"},
        "targetOwner": ORGANISATION,
        "targetRepo": infra.repo,
        "targetBase": "main",
        "targetEnvPath": f"envs/{environment}",
        "targetFiles": [f"envs/{environment}/tfpilot.{short}.tf"],
        "moduleRef": {
            "repo": infra.full_name,
            "path": f"modules/{module}",
            "commitSha": "4be1a7d20c95f36e8b07d1a9c2f4e6580b3d7a19",
            "resolvedAt": format_time(at),
        },
        "rendererVersion": "tfpilot-renderer@1",
        "assistant_state": {
            "last_suggestions_hash": None,
            "suggestions": [],
            "clarifications": [],
            "clarifications_resolved": {},
            "applied_suggestion_ids": [],
            "applied_patch_log": [],
        },
    }


def store_trigger(document: Document, kind: WorkflowKind, at: datetime) -> None:
    """The web app dispatched the workflow."""
    _github(document)[_TRIGGERS[kind]] = format_time(at)
    if kind is WorkflowKind.APPLY:
        document[_TRIGGERS[kind]] = format_time(at)


def store_run(document: Document, kind: WorkflowKind, run: Run) -> None:
    """The web app heard how the run stands."""
    repo = f"{document['targetOwner']}/{document['targetRepo']}"
    fact = run_fact(run, repo)
    _github(document).setdefault("workflows", {})[kind.value] = fact
    if kind in LEGACY_RUNS:
        document[LEGACY_RUNS[kind]] = dict(fact)


def run_fact(run: Run, repo: str) -> Document:
    """A run as it is stored, with the page's address under both names."""
    latest, url = run.latest, f"https://github.com/{repo}/actions/runs/{run.id}"
    return {
        "runId": run.id,
        "attempt": latest.number,
        "status": latest.status,
        **({} if latest.conclusion is None else {"conclusion": latest.conclusion}),
        "headSha": run.head_sha,
        "createdAt": format_time(run.created_at),
        "runStartedAt": format_time(latest.started_at),
        "updatedAt": format_time(latest.updated_at),
        "url": url,
        "htmlUrl": url,
        "message": run.title,
    }


def store_pull(document: Document, pull: Pull) -> None:
    """The web app heard how the request's pull request stands."""
    url = pull_url(document, pull.number)
    fact: Document = {
        "number": pull.number,
        "url": url,
        "merged": pull.merged_at is not None,
        "open": pull.is_open,
        "headSha": pull.head_sha,
    }
    if pull.merged_at is not None:
        fact |= {"mergedAt": format_time(pull.merged_at), "mergeCommitSha": pull.merge_commit_sha}
        document["mergedSha"] = pull.merge_commit_sha
    document |= {"prNumber": pull.number, "prUrl": url, "activePrNumber": pull.number, "pr": fact}
    _github(document)["pr"] = {**fact, "createdAt": format_time(pull.created_at)}


def store_review(document: Document, review: Review) -> None:
    """The web app heard a review: per reviewer the latest counts."""
    approval = document.setdefault("approval", {"approved": False, "approvers": []})
    said: Document = {"state": review.state}
    if review.submitted_at is not None:
        said["submittedAt"] = format_time(review.submitted_at)
    approval.setdefault("reviews", {})[review.login] = said
    states = {login: each["state"] for login, each in approval["reviews"].items()}
    approval["approvers"] = [login for login, state in states.items() if state == "APPROVED"]
    approval["approved"] = bool(approval["approvers"]) and "CHANGES_REQUESTED" not in states.values()


def store_own_approval(document: Document, login: str, at: datetime) -> None:
    """Somebody approved in the web app itself."""
    approval = document.setdefault("approval", {"approved": False, "approvers": []})
    approval |= {"approved": True, "approvers": [*approval["approvers"], login]}
    add_step(document, "Approved", "Request approved and ready for merge", at)


def store_cleanup_pull(document: Document, pull: Pull) -> None:
    """The web app heard how the cleanup pull request stands; each news of it is a step of the timeline."""
    url = pull_url(document, pull.number)
    document["cleanupPr"] = {
        "number": pull.number,
        "url": url,
        "status": "open" if pull.is_open else "closed",
        "merged": pull.merged_at is not None,
        "headBranch": pull.branch,
    }
    step = "Cleanup PR opened" if pull.merged_at is None else "Cleanup PR merged"
    add_step(document, step, url, pull.merged_at or pull.created_at)


def store_cleanup_dispatch(document: Document, destroy_run_id: int, at: datetime, *, error: str = "") -> None:
    """The web app dispatched the cleanup after this destroy, or failed to."""
    outcome = {"cleanupDispatchLastError": error} if error else {}
    _github(document).update(
        cleanupTriggeredForDestroyRunId=destroy_run_id,
        cleanupDispatchStatus="error" if error else "dispatched",
        cleanupDispatchAttemptedAt=format_time(at),
        **outcome,
    )


def start_revision(document: Document, *, branch: str) -> None:
    """The request was edited: a new pull request follows, and is approved anew."""
    document["previousPrs"] = [*document.get("previousPrs", []), document["activePrNumber"]]
    document |= {"revision": document["revision"] + 1, "branchName": branch}
    document["approval"] = {"approved": False, "approvers": []}


def add_step(document: Document, step: str, message: str, at: datetime) -> None:
    """One step more in the timeline that the web app shows."""
    entry = {"step": step, "status": "Complete", "message": message, "at": format_time(at)}
    document.setdefault("timeline", []).append(entry)


def pull_url(document: JsonObject, number: int) -> str:
    return f"https://github.com/{document['targetOwner']}/{document['targetRepo']}/pull/{number}"


def index_entry(kind: WorkflowKind, run: Run, request_id: str) -> Document:
    """The run-index entry of a run."""
    return {
        "kind": kind.value,
        "runId": run.id,
        "requestId": request_id,
        "createdAt": format_time(run.created_at),
        "expiresAt": format_time(run.created_at + INDEX_ENTRY_LIVES),
    }


def _github(document: Document) -> Document:
    github: Document = document.setdefault("github", {})
    return github
