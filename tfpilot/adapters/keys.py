"""Where in the bucket a request's objects are (SPEC §0). Raises MalformedIdError for what cannot be a request id."""

from __future__ import annotations

from datetime import UTC, date, datetime
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
AUDIT_RECORDS: Final = "ops/audit/records/"
AUDIT_HEADS: Final = "ops/audit/heads/"
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


def audit_day_prefix(day: date) -> str:
    """Where the audit records are that were stored first on that day, in UTC."""
    return f"{AUDIT_RECORDS}{day:%Y-%m-%d}/"


def audit_batch_key(chain: str, number: int, at: datetime) -> str:
    """Where the records of a chain from that number on are. `at`: the time of the first one."""
    return f"{audit_day_prefix(at.astimezone(UTC).date())}{chain}/{number:09}{SUFFIX}"


def audit_head_key(chain: str) -> str:
    """Where the last seal of a chain is kept."""
    return f"{AUDIT_HEADS}{chain}{SUFFIX}"
