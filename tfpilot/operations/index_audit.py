"""Auditing the run index, and ignoring what is known and meant."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from tfpilot.core.deeds import Deed
from tfpilot.core.index_audit import IndexCode, audit
from tfpilot.core.index_fixes import IndexMark
from tfpilot.core.index_report import AuditReport, AuditSource, with_marks
from tfpilot.core.model import Operator
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import RefusedError, StorageError
from tfpilot.operations.acting import act
from tfpilot.operations.rights import check_may
from tfpilot.operations.run_index import FRESH_ENOUGH, check_listed

_MAX_REASON: Final = 500


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
        versions_kept=None if history is None else history.kept,
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
    with act(edges, operator, Deed.IGNORE_FINDING if ignored else Deed.STOP_IGNORING, f"{code.value} {key}") as deed:
        check_may(edges, operator, Right.FIX_INDEX, environment=None)
        mark = IndexMark(code.value, key, ignored, _reason(code, key, reason), operator.login, edges.clock())
        deed.begin(reason=mark.reason)
        edges.index_marks.put(mark)
    return mark


def _reason(code: IndexCode, key: str, reason: str) -> str:
    text = reason.strip()
    if not text or len(text) > _MAX_REASON:
        raise RefusedError(
            f"{'No reason was' if not text else 'Too long a reason was'} given for {code.value} of {key}",
            f"Say in at most {_MAX_REASON} characters why: whoever comes next will read it.",
        )
    return text
