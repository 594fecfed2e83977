"""Where in the bucket a request's objects are (SPEC §0). Raises MalformedIdError for what cannot be a request id."""

from __future__ import annotations

from typing import Final

from tfpilot.core.document import check_request_id
from tfpilot.core.model import WorkflowKind

ACTIVE: Final = "requests/"
ARCHIVED: Final = "history/"
DISPATCHES: Final = "ops/dispatches/"
INDEX_FIXES: Final = "ops/backups/run-index/"
LOCK_RECORDS: Final = "ops/backups/locks/"
INDEX_MARKS: Final = "ops/marks/run-index/"
DELIVERIES: Final = "ops/deliveries/"
DEAD_LETTERS: Final = "ops/dead-letters/"
PARKED: Final = "ops/parked/"
WEB_APP_DELIVERIES: Final = "webhooks/github/deliveries/"
LEASES: Final = "ops/leases/"
SIGN_OUTS: Final = "ops/signouts/"
RESETS: Final = "ops/resets/"
RESET_APPROVALS: Final = "ops/resets/approvals/"
SUFFIX: Final = ".json"


def active_key(request_id: str) -> str:
    return f"{ACTIVE}{check_request_id(request_id)}{SUFFIX}"


def archived_key(request_id: str) -> str:
    return f"{ARCHIVED}{check_request_id(request_id)}{SUFFIX}"


def backup_key(request_id: str, etag: str) -> str:
    """Where an archived copy of that version is kept before it is replaced."""
    return f"ops/backups/history/{check_request_id(request_id)}/{etag}{SUFFIX}"


def checked_key(request_id: str) -> str:
    return f"ops/checked/{check_request_id(request_id)}{SUFFIX}"


def events_prefix(request_id: str) -> str:
    return f"logs/{check_request_id(request_id)}/"


def dispatches_prefix(request_id: str) -> str:
    return f"{DISPATCHES}{check_request_id(request_id)}/"


def dispatch_key(request_id: str, nonce: str) -> str:
    """Where our record of one dispatch is. The nonce is ours: letters and digits."""
    return f"{dispatches_prefix(request_id)}{nonce}{SUFFIX}"


def parked_prefix(kind: WorkflowKind, run_id: int) -> str:
    """Where deliveries wait for that run's request."""
    return f"{PARKED}{kind.value}/run-{run_id}/"
