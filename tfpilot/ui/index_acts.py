"""What a click on the page of the run index begins, outside the script: one function per verb of an operator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from tfpilot.core.index_audit import IndexFinding
from tfpilot.core.index_fixes import FixOutcome, FixPlan, FixReport
from tfpilot.core.index_report import AuditReport, AuditSource, with_marks
from tfpilot.core.model import Operator
from tfpilot.core.retention import LifecyclePlan
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import StorageError, TfPilotError
from tfpilot.operations.deliveries import Receipt, replay
from tfpilot.operations.index_audit import audit_index, ignore_finding, stop_ignoring
from tfpilot.operations.index_fixes import apply_fixes, undo_fixes
from tfpilot.operations.retention import apply_retention, plan_retention
from tfpilot.operations.rights import find_refusal
from tfpilot.operations.run_index import FRESH_ENOUGH, refresh_index
from tfpilot.ui.background import BACKGROUND
from tfpilot.ui.index_desk import IndexDesk, Progress, Shelf, Verb, shelf_of

RENEW_AFTER: Final = timedelta(minutes=2)
"""How old the listing gets while somebody looks at it."""
TRY_AGAIN_AFTER: Final = timedelta(seconds=15)

_LOG: Final = structlog.get_logger("tfpilot.run_index")


@dataclass(frozen=True, slots=True)
class Fixed:
    """What a fix or its undo came to, and why the audit after it failed, if it did."""

    report: FixReport
    audit_error: TfPilotError | None


@dataclass(frozen=True, slots=True)
class Marked:
    """How many findings are ignored now, or are not any more."""

    count: int
    ignored: bool


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one kept delivery."""

    guid: str
    receipt: Receipt | None = None
    error: TfPilotError | None = None


def why_not(edges: Edges, operator: Operator, right: Right, *environments: str) -> str:
    """Why the operator may not do it in one of the environments, for a person; empty where they may."""
    asked = environments or (None,)
    refusals = (find_refusal(edges, operator, right, environment=environment) for environment in asked)
    return next((f"{refusal.message}. {refusal.hint}" for refusal in refusals if refusal is not None), "")


def refresh(edges: Edges, desk: IndexDesk | None = None) -> None:
    """Begins a new listing, without waiting for it; with a desk, all that is shown beside it is read again too."""
    if desk is not None:
        desk.forget_readings()
    shelf = shelf_of(edges)
    shelf.refreshing = BACKGROUND.submit(
        ("run index", "refresh"), lambda: refresh_index(edges, older_than=timedelta(0))
    )


def is_refreshing(shelf: Shelf) -> bool:
    """Whether a listing is under way."""
    return shelf.refreshing is not None and not shelf.refreshing.done()


def keep_young(edges: Edges) -> None:
    """Begins a new listing where the last one is old, or failed a moment ago."""
    listing, now = edges.index_listings.current(), edges.clock()
    if is_refreshing(shelf_of(edges)):
        return
    if listing.error is not None:
        is_due = listing.tried_at is None or now - listing.tried_at > TRY_AGAIN_AFTER
    else:
        is_due = listing.read_at is None or now - listing.read_at > RENEW_AFTER
    if is_due:
        refresh(edges)


def begin_audit(edges: Edges, desk: IndexDesk, sources: Collection[AuditSource]) -> None:
    """An audit of what is stored now."""
    shelf = shelf_of(edges)

    def work(_progress: Progress) -> None:
        shelf.report = audit_index(edges, sources=sources, older_than=timedelta(0))

    desk.plan = None
    desk.begin(Verb.AUDIT, frozenset(sources), work)


def begin_fix(edges: Edges, desk: IndexDesk, operator: Operator, *, shown: FixPlan) -> None:
    """Carries the plan out, if it is still the one that is shown."""
    if desk.plan is not shown or desk.is_busy:
        return
    desk.plan = None
    _begin_change(
        edges,
        desk,
        Verb.FIX,
        shown.digest,
        change=lambda progress: apply_fixes(edges, shown, operator=operator, on_progress=progress),
        operator=operator,
    )


def begin_undo(edges: Edges, desk: IndexDesk, operator: Operator, *, fix_id: str) -> None:
    """Takes a fix back."""
    _begin_change(
        edges,
        desk,
        Verb.UNDO,
        fix_id,
        change=lambda progress: undo_fixes(edges, fix_id, operator=operator, on_progress=progress),
        operator=operator,
    )


def begin_marks(
    edges: Edges,
    desk: IndexDesk,
    operator: Operator,
    *,
    findings: Sequence[IndexFinding],
    reason: str,
    ignored: bool,
) -> None:
    """Ignores the findings from now on, or no longer."""
    shelf = shelf_of(edges)
    mark = ignore_finding if ignored else stop_ignoring

    def work(progress: Progress) -> Marked:
        for number, finding in enumerate(findings, 1):
            mark(edges, finding.code, finding.key, reason=reason, operator=operator)
            progress(number, len(findings))
        if shelf.report is not None:
            shelf.report = with_marks(shelf.report, edges.index_marks.list())
        _LOG.info("findings marked", count=len(findings), ignored=ignored, operator=operator.login)
        return Marked(len(findings), ignored)

    keys = tuple((finding.code, finding.key) for finding in findings)
    desk.begin(Verb.MARK, (keys, ignored, reason, operator), work)


def begin_rule_plan(edges: Edges, desk: IndexDesk, *, noncurrent_days: int | None) -> None:
    """Looks at what would be written to have old entries removed."""
    desk.rule = None
    desk.begin(
        Verb.SHOW_RULE, noncurrent_days, lambda _progress: plan_retention(edges, noncurrent_days=noncurrent_days)
    )


def begin_install(edges: Edges, desk: IndexDesk, operator: Operator, *, shown: LifecyclePlan) -> None:
    """Writes the rule, if the difference that was shown is still the one on the page."""
    if desk.rule is not shown or desk.is_busy:
        return

    def work(_progress: Progress) -> object:
        applied = apply_retention(edges, shown, operator=operator)
        if applied.written:
            _LOG.info("lifecycle rule written", operator=operator.login, covered=applied.coverage.is_covered)
        return applied

    desk.rule = None
    desk.begin(Verb.INSTALL_RULE, (shown.digest, operator), work)


def begin_replay(edges: Edges, desk: IndexDesk, operator: Operator, *, guids: Sequence[str]) -> None:
    """Handles kept deliveries, the oldest first."""

    def work(progress: Progress) -> Sequence[Replayed]:
        results = []
        for number, guid in enumerate(guids, 1):
            results.append(_replayed(edges, guid, operator))
            progress(number, len(guids))
        return results

    desk.begin(Verb.REPLAY, (tuple(guids), operator), work)


def _replayed(edges: Edges, guid: str, operator: Operator) -> Replayed:
    try:
        receipt = replay(edges, guid, operator=operator)
    except TfPilotError as error:
        return Replayed(guid, error=error)
    _LOG.info("delivery replayed", guid=guid, disposition=receipt.disposition.value, operator=operator.login)
    return Replayed(guid, receipt=receipt)


def _begin_change(
    edges: Edges,
    desk: IndexDesk,
    verb: Verb,
    key: str,
    *,
    change: Callable[[Progress], FixReport],
    operator: Operator,
) -> None:
    shelf = shelf_of(edges)

    def work(progress: Progress) -> Fixed:
        report = change(progress)
        done = sum(result.outcome is FixOutcome.DONE for result in report.results)
        _LOG.info(f"run index {verb.value}", fix=report.fix_id, steps=len(report.results), done=done,
                  operator=operator.login)  # fmt: skip
        return Fixed(report, _audited_again(edges, shelf))

    desk.begin(verb, (key, operator), work)


def _audited_again(edges: Edges, shelf: Shelf) -> TfPilotError | None:
    """Brings the last audit up to what stands now; why that failed, where it did: the change itself is done."""
    before: AuditReport | None = shelf.report
    if before is None:
        return None
    try:
        shelf.report = audit_index(edges, sources=before.sources, older_than=FRESH_ENOUGH)
    except StorageError as error:
        return error
    return None
