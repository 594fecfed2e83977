"""Stored documents for tests: complete enough to be valid, so that a test states only what matters to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tfpilot.core.document import format_time

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
REQUEST_ID = "req_dev_s3_abc123"


def ago(**parts: float) -> str:
    """A stored time that long before NOW: `ago(minutes=20)`."""
    return format_time(NOW - timedelta(**parts))


def request(request_id: str = REQUEST_ID, **fields: Any) -> dict[str, Any]:
    """A request that was created an hour ago and nothing else. A field given as None is left out."""
    document: dict[str, Any] = {
        "id": request_id,
        "version": 1,
        "project": "core",
        "environment": "dev",
        "module": "s3-bucket",
        "config": {"tags": {"tfpilot:request_id": request_id, "tfpilot:created_by": "maya-k"}},
        "receivedAt": ago(hours=1),
        "updatedAt": ago(hours=1),
        "status": "created",
        "targetOwner": "acme",
        "targetRepo": "infra",
        "targetBase": "main",
        "branchName": f"request/{request_id}",
        **fields,
    }
    return {name: value for name, value in document.items() if value is not None}


def with_pull(document: Mapping[str, Any], number: int = 7, **fields: Any) -> dict[str, Any]:
    """The request with an open pull request, in the canonical place and in the top-level number."""
    pull = {
        "number": number,
        "url": f"https://github.com/acme/infra/pull/{number}",
        "open": True,
        "merged": False,
        **fields,
    }
    return {**document, "prNumber": number, "github": {**document.get("github", {}), "pr": pull}}


def with_run(document: Mapping[str, Any], kind: str, **fields: Any) -> dict[str, Any]:
    """The request with a canonical run fact: `with_run(request(), "plan", runId=1, status="queued")`."""
    github = document.get("github", {})
    return {**document, "github": {**github, "workflows": {**github.get("workflows", {}), kind: fields}}}


def run(run_id: int, status: str = "completed", conclusion: str | None = None, **fields: Any) -> dict[str, Any]:
    """The fields of one stored run fact. A completed one succeeded unless said otherwise."""
    ended = {"conclusion": conclusion or "success"} if status == "completed" else {}
    return {"runId": run_id, "attempt": 1, "status": status, **ended, **fields}


def stuck_planning(request_id: str = REQUEST_ID, *, run_id: int = 101) -> dict[str, Any]:
    """A request whose plan has been "in progress" for an hour: the webhook that would have ended it was lost."""
    planned = with_run(with_pull(request(request_id)), "plan", **run(run_id, "in_progress", createdAt=ago(hours=1)))
    return {**planned, "github": {**planned["github"], "planTriggeredAt": ago(hours=1)}}
