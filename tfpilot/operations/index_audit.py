"""Auditing the run index, and ignoring what is known and meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tfpilot.core.index_audit import IndexAudit, IndexCode, IndexFinding, audit
from tfpilot.core.index_fixes import IndexMark
from tfpilot.core.index_listing import VersionHistory
from tfpilot.core.model import Operator, Severity
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import RefusedError, StorageError
from tfpilot.operations.rights import check_may
from tfpilot.operations.run_index import FRESH_ENOUGH, check_listed

_MAX_REASON: Final = 500


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
        codes = [finding.code for finding in self.findings]
        return {code: codes.count(code) for code in IndexCode if code in codes}

    def severities(self) -> Mapping[Severity, int]:
        """How many findings are open, of each severity."""
        found = [finding.severity for finding in self.findings]
        return {severity: found.count(severity) for severity in Severity}


def audit_index(
    edges: Edges, *, sources: Collection[AuditSource] = (), older_than: timedelta = FRESH_ENOUGH
) -> AuditReport:
    """Compares all entries with all requests, from readings not older than that; what is ignored is listed apart.

    Costs what `read_audit` does, and one listing of the marks. Raises StorageError where anything could not be read:
    half an audit would report what is not wrong.
    """
    return with_marks(read_audit(edges, sources=sources, older_than=older_than), edges.index_marks.list())


def read_audit(
    edges: Edges, *, sources: Collection[AuditSource] = (), older_than: timedelta = FRESH_ENOUGH
) -> AuditReport:
    """The audit without looking at what is ignored.

    Costs one LIST call per 1000 entries, active and archived requests, and one GET for each that was not read before
    in its version; `sources` come on top of it.
    """
    # Requests first: a run is stored in its document before it gets its entry.
    requests = edges.snapshots.refresh(older_than=older_than)
    if requests.error is not None or requests.read_at is None:
        raise StorageError(
            f"The requests could not be listed: {requests.error or 'nothing was read yet'}",
            "Try again; `python -m tfpilot doctor` checks the bucket and the credentials.",
        )
    listing = edges.index_listings.refresh_with_bodies(older_than=older_than)
    check_listed(listing)
    records = edges.dispatches.list_started() if AuditSource.RECORDS in sources else ()
    history = edges.index_objects.history() if AuditSource.VERSIONS in sources else None
    now = edges.clock()
    result = audit(
        edges.index_listings.objects(),
        requests.rows,
        now=now,
        records=[each.record for each in records],
        versions=history.versions if history else {},
    )
    return AuditReport(
        findings=result.findings,
        ignored=(),
        audit=result,
        at=now,
        requests_read_at=requests.read_at,
        index_read_at=listing.read_at or now,
        sources=frozenset(sources),
        versions_kept=_kept(history),
    )


def with_marks(report: AuditReport, marks: Sequence[IndexMark]) -> AuditReport:
    """The report with what is ignored by these marks apart from what is open."""
    ignoring = {(mark.code, mark.key): mark for mark in marks if mark.ignored}
    by_mark = [(finding, ignoring.get((finding.code.value, finding.key))) for finding in report.audit.findings]
    return replace(
        report,
        findings=tuple(finding for finding, mark in by_mark if mark is None),
        ignored=tuple(IgnoredFinding(finding, mark) for finding, mark in by_mark if mark is not None),
    )


def ignore_finding(edges: Edges, code: IndexCode, key: str, *, reason: str, operator: Operator) -> IndexMark:
    """From now on the finding is listed apart, with who said so, when and why.

    Raises MissingRightError, RefusedError (no reason) or StorageError.
    """
    return _mark(edges, code, key, ignored=True, reason=reason, operator=operator)


def stop_ignoring(edges: Edges, code: IndexCode, key: str, *, reason: str, operator: Operator) -> IndexMark:
    """From now on the finding is an open one again. Raises as `ignore_finding`."""
    return _mark(edges, code, key, ignored=False, reason=reason, operator=operator)


def _mark(edges: Edges, code: IndexCode, key: str, *, ignored: bool, reason: str, operator: Operator) -> IndexMark:
    check_may(edges, operator, Right.FIX_INDEX, environment=None)
    text = reason.strip()
    if not text or len(text) > _MAX_REASON:
        raise RefusedError(
            f"{'No reason was' if not text else 'Too long a reason was'} given for {code.value} of {key}",
            f"Say in at most {_MAX_REASON} characters why: whoever comes next will read it.",
        )
    mark = IndexMark(code.value, key, ignored, text, operator.login, edges.clock())
    edges.index_marks.put(mark)
    return mark


def _kept(history: VersionHistory | None) -> bool | None:
    return None if history is None else history.kept
