"""An audit of the run index as a person reads it: what is open, what is ignored, and how doors tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tfpilot.core.document import format_time
from tfpilot.core.index_audit import IndexAudit, IndexCode, IndexFinding
from tfpilot.core.index_fixes import FixPlan, FixReport, IndexFix, IndexMark
from tfpilot.core.model import Severity


class AuditSource(StrEnum):
    """What an audit looks at only when it is asked to, because it costs calls of its own."""

    RECORDS = "records"
    """Our own records of dispatches: a listing, and one GET per record."""
    VERSIONS = "versions"
    """Object versions: a listing of them, and one GET per earlier version."""


@dataclass(frozen=True, slots=True)
class IgnoredFinding:
    """A finding that somebody ignores, and why."""

    finding: IndexFinding
    mark: IndexMark


@dataclass(frozen=True, slots=True)
class AuditReport:
    """An audit: what is open, what is ignored, and from what it was made.

    `at`: as of when; `requests_read_at` and `index_read_at`: when the readings began. `versions_kept` False: the
    bucket keeps no versions now; None: they were not asked for.
    """

    findings: tuple[IndexFinding, ...]
    ignored: tuple[IgnoredFinding, ...]
    audit: IndexAudit
    at: datetime
    requests_read_at: datetime
    index_read_at: datetime
    sources: frozenset[AuditSource]
    versions_kept: bool | None = None

    def counts(self) -> Mapping[IndexCode, int]:
        """How many findings are open, of each code that has any, the worst code first."""
        found = Counter(finding.code for finding in self.findings)
        return {code: found[code] for code in IndexCode if code in found}

    def severities(self) -> Mapping[Severity, int]:
        """How many findings are open, of each severity."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity: found[severity] for severity in Severity}


def with_marks(report: AuditReport, marks: Sequence[IndexMark]) -> AuditReport:
    """The report with what is ignored by these marks apart from what is open."""
    ignoring = {(mark.code, mark.key): mark for mark in marks if mark.ignored}
    by_mark = [(finding, ignoring.get((finding.code.value, finding.key))) for finding in report.audit.findings]
    return replace(
        report,
        findings=tuple(finding for finding, mark in by_mark if mark is None),
        ignored=tuple(IgnoredFinding(finding, mark) for finding, mark in by_mark if mark is not None),
    )


def finding_answer(finding: IndexFinding) -> dict[str, Any]:
    """A finding, field by field. `fix` names what a safe fix would do, null where there is none."""
    return {
        "code": finding.code.value,
        "severity": finding.severity.value,
        "key": finding.key,
        "kind": finding.kind.value if finding.kind else None,
        "runId": finding.run_id,
        "requests": list(finding.requests),
        "evidence": list(finding.evidence),
        "nextAction": finding.next_action,
        "fix": finding.fix.kind.value if finding.fix else None,
    }


def mark_answer(mark: IndexMark) -> dict[str, Any]:
    """Who ignores a finding, or stopped to, when and why: as it is stored, too."""
    return {
        "code": mark.code,
        "key": mark.key,
        "ignored": mark.ignored,
        "reason": mark.reason,
        "by": mark.by,
        "at": format_time(mark.at),
    }


def report_answer(report: AuditReport) -> dict[str, Any]:
    """An audit: what is open, what is ignored, how much was looked at and when it was read."""
    return {
        "findings": [finding_answer(finding) for finding in report.findings],
        "ignored": [{**finding_answer(each.finding), "mark": mark_answer(each.mark)} for each in report.ignored],
        "counts": {code.value: count for code, count in report.counts().items()},
        "entries": report.audit.objects,
        "requests": report.audit.requests,
        "at": format_time(report.at),
        "requestsReadAt": format_time(report.requests_read_at),
        "indexReadAt": format_time(report.index_read_at),
        "sources": sorted(source.value for source in report.sources),
        "versionsKept": report.versions_kept,
    }


def plan_answer(plan: FixPlan) -> dict[str, Any]:
    """A plan, step by step, with the digest that tells it from others."""
    return {
        "digest": plan.digest,
        "plannedAt": format_time(plan.planned_at),
        "steps": [_step(fix) for fix in plan.fixes],
    }


def fix_answer(report: FixReport) -> dict[str, Any]:
    """What a fix or its undo came to, step by step. `fixId` is null where there was nothing to do."""
    results = [
        {
            "key": result.key,
            "code": result.code,
            "step": result.kind.value,
            "outcome": result.outcome.value,
            "reason": result.reason,
        }
        for result in report.results
    ]
    return {"fixId": report.fix_id or None, "results": results}


def _step(fix: IndexFix) -> dict[str, Any]:
    return {
        "key": fix.key,
        "code": fix.code,
        "step": fix.kind.value,
        "requestId": fix.request_id or None,
        "ifMatch": fix.etag or None,
        "writes": fix.content.decode("utf-8", errors="replace") if fix.content is not None else None,
        "mustHold": fix.must_hold.value,
    }
