"""Requests, findings and sync results as JSON: what HTTP and `--json` say, field by field (SPEC §4, §11)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tfpilot.core.dispatch import DispatchEnd, DispatchResult
from tfpilot.core.document import format_time
from tfpilot.core.model import (
    ABSENT,
    CleanupDispatch,
    Explanation,
    FieldChange,
    Finding,
    IndexBackfill,
    JsonObject,
    RepairStep,
    RequestRow,
    SyncResult,
    WorkflowRun,
)


def request_answer(document: JsonObject, explanation: Explanation) -> dict[str, Any]:
    """The stored document with the derived status in place of the stored one."""
    return {**document, "status": explanation.status.value}


def explanation_answer(explanation: Explanation) -> dict[str, Any]:
    """Why the status is what it is."""
    return {
        "status": explanation.status.value,
        "rule": explanation.rule,
        "reason": explanation.reason,
        "facts": {fact.path: fact.value for fact in explanation.facts},
    }


def finding_answer(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code.value,
        "severity": finding.severity.value,
        "since": _time(finding.since),
        "evidence": list(finding.evidence),
        "next_action": finding.next_action,
    }


def findings_answer(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [finding_answer(finding) for finding in findings]


def view_answer(
    document: JsonObject,
    explanation: Explanation,
    findings: Iterable[Finding],
    *,
    archived: bool,
    has_archived_copy: bool,
    needs_repair: bool,
) -> dict[str, Any]:
    """One request with all that is known about it."""
    return {
        "request": request_answer(document, explanation),
        "archived": archived,
        "hasArchivedCopy": has_archived_copy,
        "explanation": explanation_answer(explanation),
        "findings": findings_answer(findings),
        "needsRepair": needs_repair,
    }


def row_answer(row: RequestRow, now: datetime) -> dict[str, Any]:
    """One request of a list. `status` is null and `error` set for an object that is no request."""
    status = row.status_at(now)
    return {
        "id": row.id,
        "status": status.value if status else None,
        "storedStatus": row.stored_status,
        "stuck": row.is_stuck_at(now),
        "drift": row.has_drift_at(now),
        "environment": row.environment,
        "project": row.project,
        "module": row.module,
        "repo": row.repo,
        "createdBy": row.created_by,
        "prNumber": row.pr_number,
        "prUrl": row.pr_url,
        "updatedAt": _time(row.updated_at),
        "version": row.version,
        "archived": row.archived,
        "hasArchivedCopy": row.has_archived_copy,
        "error": row.error,
    }


def change_answer(change: FieldChange) -> dict[str, Any]:
    """One field that a repair writes. `before` or `after` is left out where the field is absent."""
    sides = {"before": change.before, "after": change.after}
    return {
        "path": change.dotted,
        **{side: value for side, value in sides.items() if value is not ABSENT},
        "source": change.source,
    }


def step_answer(step: RepairStep) -> dict[str, Any]:
    """What a repair does beside the document."""
    if isinstance(step, IndexBackfill):
        return {"step": "index entry", "kind": step.kind.value, "runId": step.run_id}
    if isinstance(step, CleanupDispatch):
        needs = {"needsAdmin": step.refusal} if step.refusal else {}
        return {"step": "cleanup", "destroyRunId": step.destroy_run_id, **needs}
    return {"step": "archived copy"}


def sync_answer(result: SyncResult) -> dict[str, Any]:
    """What a sync did: `mode` is `repair` where GitHub was asked, `tfpilot-only` where it was not."""
    answer: dict[str, Any] = {
        "mode": "repair" if result.asked else "tfpilot-only",
        "dryRun": result.dry_run,
        "written": result.written,
        "archived": result.archived,
        "statusBefore": result.plan.status_before.value,
        "statusAfter": result.plan.status_after.value,
        "changes": [change_answer(change) for change in result.plan.changes],
        "steps": [step_answer(step) for step in result.plan.steps],
        "done": [step_answer(step) for step in result.done],
        "facts": _facts_answer(result),
        "calls": result.facts.calls,
        "crossed": list(result.plan.crossed),
        "obstacles": list(result.plan.obstacles),
        "notices": list(result.notices),
    }
    if result.reason:
        answer["reason"] = result.reason
    if result.cleanup:
        answer["cleanup"] = result.cleanup
    return answer | degraded_answer(degraded=result.degraded, retry_after=result.retry_after)


def dispatch_answer(result: DispatchResult) -> dict[str, Any]:
    """What a dispatch came to. `success`: its run is known. `runId` and `url` are null where it is not."""
    return {
        "id": result.request_id,
        "success": result.end in (DispatchEnd.STARTED, DispatchEnd.FOUND),
        "kind": result.kind.value,
        "end": result.end.value,
        "runId": result.run_id,
        "url": result.html_url,
        "reason": result.reason,
        "candidates": [candidate_answer(run) for run in result.candidates],
        "notices": list(result.notices),
    }


def candidate_answer(run: WorkflowRun) -> dict[str, Any]:
    """A run that a dispatch may have started."""
    return {
        "runId": run.fact.run_id,
        "status": run.fact.status,
        "conclusion": run.fact.conclusion,
        "createdAt": _time(run.fact.created_at),
        "title": run.title,
        "branch": run.branch,
        "actor": run.actor,
        "url": run.fact.html_url,
    }


def degraded_answer(*, degraded: bool, retry_after: timedelta | None) -> dict[str, Any]:
    """`degraded` and `retryAfterMs`, each only where it says something."""
    answer: dict[str, Any] = {"degraded": True} if degraded else {}
    if retry_after is not None:
        answer["retryAfterMs"] = round(retry_after.total_seconds() * 1000)
    return answer


def _facts_answer(result: SyncResult) -> Mapping[str, str]:
    return {name: answer.outcome.value for name, answer in result.facts.answers().items()}


def _time(at: datetime | None) -> str | None:
    return format_time(at) if at else None
