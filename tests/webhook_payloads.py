"""Webhooks as GitHub sends them, with what a test says of them, and deliveries signed with the tests' secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import Any

from tests.builders import REQUEST_ID, ago
from tfpilot.core.delivery import Delivery

SECRET = "a-secret-of-sixteen-or-more"
REPO = "acme/infra"


def run_payload(run_id: int = 101, kind: str = "plan", **fields: Any) -> dict[str, Any]:
    """A `workflow_run` of the request's own branch that succeeded. A field given as None is null."""
    run: dict[str, Any] = {
        "id": run_id,
        "run_attempt": 1,
        "name": f"Terraform {kind}",
        "path": f".github/workflows/{kind.replace('_', '-')}.yml",
        "display_title": f"Infra request {REQUEST_ID}",
        "head_branch": f"request/{REQUEST_ID}" if kind == "plan" else "main",
        "head_sha": "c0de",
        "event": "workflow_dispatch",
        "status": "completed",
        "conclusion": "success",
        "created_at": ago(minutes=10),
        "run_started_at": ago(minutes=10),
        "updated_at": ago(minutes=5),
        "html_url": f"https://github.com/{REPO}/actions/runs/{run_id}",
        "repository": {"full_name": REPO},
        "head_repository": {"full_name": REPO},
        "pull_requests": [],
        **fields,
    }
    return {"action": "completed", "workflow_run": run, **_surroundings()}


def pull_payload(number: int = 7, **fields: Any) -> dict[str, Any]:
    """A `pull_request` of the request's own branch, open."""
    pull: dict[str, Any] = {
        "number": number,
        "html_url": f"https://github.com/{REPO}/pull/{number}",
        "state": "open",
        "title": f"Infra request {REQUEST_ID}",
        "user": {"login": "maya-k"},
        "merged": False,
        "merged_at": None,
        "merge_commit_sha": "7e57",
        "head": {"ref": f"request/{REQUEST_ID}", "sha": "c0de", "repo": {"full_name": REPO}},
        "base": {"ref": "main", "repo": {"full_name": REPO}},
        "created_at": ago(minutes=50),
        "updated_at": ago(minutes=20),
        **fields,
    }
    return {"action": "edited", "number": number, "pull_request": pull, **_surroundings()}


def merged_payload(number: int = 7, **fields: Any) -> dict[str, Any]:
    told = {"state": "closed", "merged": True, "merged_at": ago(minutes=10), "merge_commit_sha": "5ea1"}
    return pull_payload(number, updated_at=ago(minutes=10), **{**told, **fields})


def cleanup_payload(number: int = 9, **fields: Any) -> dict[str, Any]:
    """A `pull_request` that takes the request's block out; its title names the request, too."""
    head = {"ref": f"cleanup/{REQUEST_ID}", "sha": "c1ea", "repo": {"full_name": REPO}}
    return pull_payload(number, **{"head": head, "title": f"Cleanup {REQUEST_ID}", **fields})


def review_payload(state: str = "approved", login: str = "tom-r", number: int = 7, **fields: Any) -> dict[str, Any]:
    """A `pull_request_review`; its state is in lower case, as webhooks write it."""
    review = {"state": state, "user": {"login": login}, "submitted_at": ago(minutes=15), **fields}
    return {**pull_payload(number), "action": "submitted", "review": review}


def delivery(event: str, payload: Any, *, guid: str | None = None, secret: str = SECRET) -> Delivery:
    """The payload, signed, under an id of its own."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Delivery(guid or str(uuid.uuid4()), event, sign(body, secret=secret), body)


def sign(body: bytes, *, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def _surroundings() -> dict[str, Any]:
    return {"repository": {"full_name": REPO}, "sender": {"login": "maya-k"}}
