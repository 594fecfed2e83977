"""A valid sample of everything that is stored or comes from outside."""

from __future__ import annotations

import tomllib
from typing import Final

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.core.reset_world import dev_world, read_plan, record
from tests.webhook_payloads import pull_payload, run_payload
from tfpilot.core import audit, reset_journal
from tfpilot.core.delivery import HandledDelivery, KeptDelivery, Place
from tfpilot.core.document import render_document
from tfpilot.core.index_fixes import FixKind, FixStep, IndexFix, MustHold
from tfpilot.core.lease import Lease, lease_fields
from tfpilot.core.model import DispatchRecord, DispatchState, Door, FieldChange, RepoRef, WorkflowKind
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.reset_steps import Outcome

REPO: Final = RepoRef("acme", "infra")
KEY: Final = "ops/a-record.json"
GUID: Final = "7c2d8bb0-0000-4000-8000-000000000001"
PLAN: Final = read_plan(dev_world())
SEALING: Final = b"a key that no bucket holds"
RESET: Final = record(PLAN)
DIGEST: Final = RESET.digest
ENTRY: Final = reset_journal.JournalEntry(
    1,
    NOW,
    "ops-lead",
    reset_journal.Direction.APPLY,
    ("lock:a", "state:b"),
    (reset_journal.StepResult("lock:a", Outcome.DONE, "why", "etag", "version"),),
)
JOURNALED: Final = render_document(reset_journal.entry_fields(ENTRY))
KEPT: Final = KeptDelivery(Place.DEAD_LETTER, GUID, "workflow_run", b'{"a": 1}', NOW, "storage did not answer")
HANDLED: Final = HandledDelivery(GUID, "workflow_run", NOW, True, "newer", REQUEST_ID, WorkflowKind.PLAN, 101, "a/b")
DISPATCH: Final = DispatchRecord(
    request_id=REQUEST_ID,
    nonce="abc",
    kind=WorkflowKind.PLAN,
    repo=REPO,
    workflow_file="plan.yml",
    ref="main",
    inputs={"request_id": REQUEST_ID},
    operator="maya-k",
    triggered_at=NOW,
    state=DispatchState.OPEN,
    replaced=(FieldChange(("github", "pr"), 1, 2, ""),),
)
FIX: Final = FixStep(
    1, IndexFix("missing", FixKind.BACKFILL, KEY, "", b"{}", REQUEST_ID, MustHold.STILL_TRACKED, ("dev",)), b"\xff"
)
AUDITED: Final = audit.AuditEvent(
    NOW, "ops-lead", "admin", Door.PAGE, "repair", REQUEST_ID, audit.Part.INTENT, "why", "", {"tries": 2}
)
RECORD: Final = audit.next_record(AUDITED, chain="replica-1", after=None, key=SEALING)
RULES: Final = {
    "Rules": [
        {
            "ID": "tfpilot-run-index",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "webhooks/", "Tags": [{"Key": "a", "Value": "b"}]}},
            "Expiration": {"Days": 90},
            "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
        }
    ]
}
TARGETS: Final = b"""
[[targets]]
name = "payments-dev"
environment = "dev"
repo = "acme/infra"
state_bucket = "tfstate-dev"
lock_mode = "both"
lock_table = "tf-locks-dev"

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"
workspace = "blue"
"""
OLD_STATE: Final = {
    "version": 3,
    "serial": 1,
    "lineage": "l",
    "modules": [{"path": ["root", "vpc"], "resources": {"data.aws_ami.a.0": {"type": "aws_ami", "deposed": [{}]}}}],
}
PULL: Final = pull_payload()["pull_request"]
REVIEW: Final = {
    "user": {"login": "tom-r"},
    "state": "APPROVED",
    "submitted_at": ago(minutes=15),
    "pull_request_url": "https://api.github.com/repos/acme/infra/pulls/7",
}
JOB: Final = {
    "run_id": 101,
    "name": "terraform",
    "status": "in_progress",
    "conclusion": None,
    "runner_name": "",
    "steps": [{"name": "apply", "status": "in_progress"}],
}
LEASE: Final = lease_fields(Lease("sweep", "process-1", "maya-k", "a sweep", NOW))
FULL: Final = with_run(
    with_pull(
        request(
            targetEnvPath="envs/dev",
            approval={"approved": True, "approvers": ["ada"], "reviews": {"ada": {"state": "APPROVED"}}},
            timeline=[{"step": "Cleanup PR opened", "message": "https://x/pull/9", "at": ago(minutes=3)}],
            lock={"holder": "maya-k", "operation": "plan", "expiresAt": ago(minutes=2)},
            previousPrs=[6],
            cleanupPr={"number": 9, "open": True},
        )
    ),
    "destroy",
    **run(103, createdAt=ago(minutes=20)),
)
RAN: Final = run_payload()["workflow_run"]
ASKED: Final = {
    "digest": DIGEST,
    "target": "payments-dev",
    "stateMode": StateMode.REMOVE.value,
    "withIndex": True,
    "askedBy": "ops-lead",
    "reason": "why",
    "at": ago(minutes=1),
}
TARGET_TABLES: Final = tomllib.loads(TARGETS.decode())
MARK: Final = {"code": "orphan", "key": KEY, "ignored": True, "reason": "why", "by": "ada", "at": ago(minutes=1)}
MEMO: Final = {
    "at": ago(minutes=1),
    "facts": {"pull": "ok"},
    "jobs": {"apply": {"runId": 101, "attempt": 1, "started": True}},
    "triedAt": ago(minutes=1),
}
EVENT: Final = {
    "timestamp": ago(minutes=1),
    "requestId": REQUEST_ID,
    "event": "synced",
    "actor": "ada",
    "source": "ops-portal",
    "data": {"a": 1},
}
BESIDE: Final = {
    "owner": "acme",
    "repo": "infra",
    "prNumber": 7,
    "requestId": REQUEST_ID,
    "until": ago(minutes=-5),
    "reason": "a change of the provider",
}
