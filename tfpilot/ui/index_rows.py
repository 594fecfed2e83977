"""The findings of an audit as rows of a table: the worst first, then the oldest run, many of one kind in one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from tfpilot.core.index_audit import IndexCode, IndexFinding
from tfpilot.core.index_fixes import FixKind
from tfpilot.core.index_report import AuditReport
from tfpilot.core.model import RequestRow, Severity
from tfpilot.core.run_index import PREFIX
from tfpilot.ui import links, words
from tfpilot.ui.spreadsheet import to_csv

FOLD_FROM: Final = 3
"""So many findings of one code with one way out share a row, until their code is chosen."""

FIX_WORDS: Final[Mapping[FixKind | None, str]] = {
    FixKind.BACKFILL: "Backfill",
    FixKind.REMOVE: "Remove",
    FixKind.RESTORE: "Restore",
    None: words.NOTHING,
}


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One line of the table: a finding, or several that have code and fix in common."""

    findings: tuple[IndexFinding, ...]

    @property
    def first(self) -> IndexFinding:
        return self.findings[0]

    @property
    def entry(self) -> str:
        return entry_name(self.first) if len(self.findings) == 1 else words.counted(len(self.findings), "entry",
                                                                                    "entries")  # fmt: skip

    @property
    def evidence(self) -> str:
        if len(self.findings) == 1:
            return " · ".join(self.first.evidence)
        return f"oldest: {entry_name(self.first)}, {self.first.evidence[0]}" if self.first.evidence else ""

    @property
    def fix(self) -> str:
        kind = self.first.fix.kind if self.first.fix else None
        several = f" {words.number(len(self.findings))}" if kind and len(self.findings) > 1 else ""
        return f"{FIX_WORDS[kind]}{several}"


@dataclass(frozen=True, slots=True)
class AuditView:
    """What the page needs of an audit, made once per audit: rows of all codes with folds, and of each code alone."""

    report: AuditReport
    folded: Sequence[FindingRow]
    by_code: Mapping[IndexCode, Sequence[FindingRow]]
    severities: Mapping[Severity, int]

    def rows(self, code: IndexCode | None) -> Sequence[FindingRow]:
        """The rows to page through: of one code, or of all."""
        return self.folded if code is None else self.by_code.get(code, ())

    @property
    def counts(self) -> Mapping[IndexCode, int]:
        return {code: len(rows) for code, rows in self.by_code.items()}


def view_of(report: AuditReport) -> AuditView:
    """The audit as the page shows it. Walks over all findings."""
    ordered = sorted(report.findings, key=_order)
    by_code = {
        code: [FindingRow((finding,)) for finding in found]
        for code, found in groupby(ordered, key=lambda finding: finding.code)
    }
    return AuditView(
        report=report,
        folded=[row for rows in by_code.values() for row in _folded([each.first for each in rows])],
        by_code=by_code,
        severities=report.severities(),
    )


def entry_name(finding: IndexFinding) -> str:
    """`apply / 7310002204`; the key under the prefix where it names no run."""
    if finding.kind is None or finding.run_id is None:
        return finding.key.removeprefix(PREFIX)
    return f"{finding.kind.value} / {finding.run_id}"


def run_address(row: RequestRow | None, run_id: int | None) -> str:
    """Where GitHub shows the run, as far as the request's pull request tells; empty where it does not."""
    if row is None or run_id is None:
        return ""
    base, pull, _ = row.pr_url.partition("/pull/")
    return f"{base}/actions/runs/{run_id}" if pull and links.leads_to_github(base) else ""


def findings_csv(report: AuditReport) -> str:
    """All findings as CSV, those that are ignored with who says so and why."""
    header = ("severity", "code", "kind", "run_id", "key", "requests", "evidence", "next_action", "fix",
              "ignored_by", "ignored_because")  # fmt: skip
    opened = [(*_values(finding), "", "") for finding in report.findings]
    ignored = [(*_values(each.finding), each.mark.by, each.mark.reason) for each in report.ignored]
    return to_csv(header, [*opened, *ignored])


def _values(finding: IndexFinding) -> Sequence[object]:
    return (
        finding.severity.value,
        finding.code.value,
        finding.kind.value if finding.kind else "",
        finding.run_id or "",
        finding.key,
        " ".join(finding.requests),
        "; ".join(finding.evidence),
        finding.next_action,
        finding.fix.kind.value if finding.fix else "",
    )


def _folded(findings: Sequence[IndexFinding]) -> Sequence[FindingRow]:
    """The findings of one code: those with the same fix in one row, where they are many."""
    fixable = [finding for finding in findings if finding.fix is not None]
    others = [finding for finding in findings if finding.fix is None]
    return [row for some in (fixable, others) for row in _row_or_rows(some)]


def _row_or_rows(findings: Sequence[IndexFinding]) -> Sequence[FindingRow]:
    if len(findings) >= FOLD_FROM:
        return [FindingRow(tuple(findings))]
    return [FindingRow((finding,)) for finding in findings]


_SEVERITIES: Final = {severity: number for number, severity in enumerate(Severity)}
_CODES: Final = {code: number for number, code in enumerate(IndexCode)}


def _order(finding: IndexFinding) -> tuple[int, int, int, str]:
    """GitHub counts runs up: the smaller id is the older run."""
    return _SEVERITIES[finding.severity], _CODES[finding.code], finding.run_id or 0, finding.key
