"""How the commands show what operations answer."""

from __future__ import annotations

from collections.abc import Sequence

from tfpilot.cli.output import show, show_json
from tfpilot.core.answers import row_answer, sync_answer, view_answer
from tfpilot.core.document import format_time
from tfpilot.core.model import CleanupDispatch, IndexBackfill, RepairStep, RequestRow, SyncResult
from tfpilot.edges import HealthCheck
from tfpilot.operations.browse import RequestList, RequestView


def show_checks(checks: Sequence[HealthCheck], *, as_json: bool) -> None:
    """Each check with what was seen, and what to do where it did not hold."""
    if as_json:
        show_json([{"name": c.name, "ok": c.ok, "detail": c.detail, "hint": c.hint} for c in checks])
        return
    for check in checks:
        show(f"{'ok    ' if check.ok else 'FAILED'}  {check.name}: {check.detail}")
        if not check.ok and check.hint:
            show(f"        {check.hint}")


def show_list(found: RequestList, *, limit: int, as_json: bool) -> None:
    """The first `limit` requests, a line each."""
    rows = found.selection.rows
    if as_json:
        show_json({"requests": [row_answer(row, found.at) for row in rows[:limit]], "total": len(rows)})
        return
    for row in rows[:limit]:
        show(_line(row, found))
    show(f"{min(limit, len(rows))} of {len(rows)}, newest change first")


def _line(row: RequestRow, found: RequestList) -> str:
    status = row.status_at(found.at)
    marks = [
        name for name, is_set in (("stuck", row.is_stuck_at(found.at)), ("drift", row.has_drift_at(found.at))) if is_set
    ]
    changed = format_time(row.updated_at) if row.updated_at else ""
    parts = [
        f"{row.id:32}",
        f"{status.value if status else 'unreadable':16}",
        f"{row.environment:8}",
        f"{row.module:14}",
    ]
    return "  ".join([*parts, changed, *marks, *([row.error] if row.error else [])])


def show_request(view: RequestView, *, as_json: bool) -> None:
    """One request: why its status, and its findings."""
    if as_json:
        show_json(
            view_answer(
                view.stored.document,
                view.explanation,
                view.findings,
                archived=view.archived,
                has_archived_copy=view.has_archived_copy,
                needs_repair=view.needs_repair,
            )
        )
        return
    explanation = view.explanation
    show(f"{view.request.id}: {explanation.status.value}{' (archived)' if view.archived else ''}")
    show(f"  because {explanation.reason} (rule {explanation.rule})")
    if view.has_archived_copy:
        show("  an archived copy of it exists in history/ too; the active document counts")
    for fact in explanation.facts:
        show(f"    {fact.path} = {fact.value}")
    for finding in view.findings:
        since = f" since {format_time(finding.since)}" if finding.since else ""
        show(f"  {finding.severity.value:8}  {finding.code.value}{since}: {'; '.join(finding.evidence)}")
        show(f"            {finding.next_action}")


def show_sync(result: SyncResult, *, as_json: bool) -> None:
    """What a sync did or would do: a line, then a line per field and per fact that was not plainly answered."""
    if as_json:
        show_json({"id": result.plan.request_id, "success": True, "sync": sync_answer(result)})
        return
    before, after = result.plan.status_before.value, result.plan.status_after.value
    status = f"{before} → {after}" if before != after else before
    what = _done(result) if result.asked else f"GitHub was not asked: {result.reason}"
    show(f"{result.plan.request_id}: {status}, {what}")
    for change in result.plan.changes:
        show(f"    {change.dotted}: {change.before} → {change.after}  ({change.source})")
    failed = {name: answer for name, answer in result.facts.answers().items() if answer.detail}
    for name, answer in failed.items():
        show(f"    {name}: {answer.outcome.value}, {answer.detail}")
    for notice in (*result.plan.crossed, *result.plan.obstacles, *result.notices):
        show(f"    {notice}")


def _done(result: SyncResult) -> str:
    count = len(result.plan.changes)
    fields = [f"{count} field{'' if count == 1 else 's'}"] if count else []
    if result.dry_run:
        parts = fields + [_step(step) for step in result.plan.steps]
        return f"would write {' and '.join(parts)}" if parts else "nothing to write"
    parts = (fields if result.written else []) + [_step(step) for step in result.done]
    told = f"; cleanup: {result.cleanup}" if result.cleanup else ""
    return f"wrote {' and '.join(parts)}{told}" if parts else "nothing to write"


def _step(step: RepairStep) -> str:
    if isinstance(step, IndexBackfill):
        return f"index entry {step.kind.value}/run-{step.run_id}"
    if isinstance(step, CleanupDispatch):
        return f"cleanup{' (needs an admin)' if step.refusal else ''}"
    return "archived copy"
