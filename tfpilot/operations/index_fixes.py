"""Fixing the run index: plan, confirm, apply with a backup, undo. Nothing is overwritten that was not looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from tfpilot.core.deeds import Deed
from tfpilot.core.index_audit import IndexCode, IndexFinding, waits_for
from tfpilot.core.index_fixes import (
    FixKind,
    FixOutcome,
    FixPlan,
    FixRecord,
    FixReport,
    FixResult,
    FixStep,
    IndexFix,
    MustHold,
    digest_of,
    make_plan,
)
from tfpilot.core.index_listing import IndexObject, find_entry, find_place
from tfpilot.core.listing import summarise
from tfpilot.core.model import Operator, RequestRow
from tfpilot.core.request import parse_request
from tfpilot.core.roles import Right
from tfpilot.core.run_index import is_expired
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, DocumentError, MissingRightError, NotFoundError, RefusedError, StorageError
from tfpilot.operations.acting import act
from tfpilot.operations.rights import check_may

PRUNED: Final = frozenset({IndexCode.EXPIRED})
BACKFILLED: Final = frozenset({IndexCode.MISSING})

Progress = Callable[[int, int], None]
"""Is told (steps done, steps to do)."""

_DIGEST_SHOWN: Final = 8


def plan_fixes(
    findings: Iterable[IndexFinding], *, now: datetime, codes: Collection[IndexCode] | None = None
) -> FixPlan:
    """The safe fixes of the findings, only of those codes where some are named. Writes nothing."""
    wanted = (each for each in findings if codes is None or each.code in codes)
    return make_plan((each.fix for each in wanted if each.fix is not None), now=now)


def apply_fixes(
    edges: Edges, plan: FixPlan, *, operator: Operator, on_progress: Progress = lambda _done, _to_do: None
) -> FixReport:
    """Carries out the plan step by step, and answers one outcome per step: one that fails does not stop the others.

    Each step touches only the version that was planned, after a look at what must hold, and with a journal of what it
    removes. Raises MissingRightError, RefusedError (the plan is another one than its digest says) or StorageError
    where not even the journal could be begun.
    """
    with act(edges, operator, Deed.FIX_INDEX, f"plan {plan.digest[:_DIGEST_SHOWN]}") as deed:
        check_may(edges, operator, right_for(plan.fixes), environment=None)
        if digest_of(plan.fixes) != plan.digest:
            raise RefusedError("The plan is not the one that its digest names", "Nothing was changed. Plan it again.")
        if not plan.fixes:
            return FixReport("", ())
        deed.begin(steps=len(plan.fixes), digest=plan.digest)
        report = _apply(edges, plan, operator=operator, on_progress=on_progress)
        deed.tell(fixId=report.fix_id, **_counted(report))
    return report


def _counted(report: FixReport) -> dict[str, int]:
    """How many steps came to which end."""
    return dict(Counter(result.outcome.value for result in report.results))


def _apply(edges: Edges, plan: FixPlan, *, operator: Operator, on_progress: Progress) -> FixReport:
    fix_id = f"fix-{edges.clock():%Y%m%d-%H%M%S}-{edges.clock().microsecond:06}-{plan.digest[:_DIGEST_SHOWN]}"
    edges.index_journal.begin(FixRecord(fix_id, operator.login, edges.clock(), plan.digest))
    results = []
    for number, fix in enumerate(plan.fixes, 1):
        results.append(_result(fix, _applied(edges, fix_id, FixStep(number, fix), operator)))
        on_progress(number, len(plan.fixes))
    edges.index_listings.refresh_with_bodies()
    return FixReport(fix_id, tuple(results))


def undo_fixes(
    edges: Edges, fix_id: str, *, operator: Operator, on_progress: Progress = lambda _done, _to_do: None
) -> FixReport:
    """Takes back what a fix did, where the place is as the fix left it, and answers one outcome per step.

    Raises MalformedIdError, NotFoundError, DocumentError, MissingRightError or StorageError.
    """
    with act(edges, operator, Deed.UNDO_INDEX_FIX, fix_id) as deed:
        check_may(edges, operator, Right.FIX_INDEX, environment=None)
        record = edges.index_journal.get(fix_id)
        deed.begin(steps=len(record.steps))
        report = _undo(edges, record, operator=operator, on_progress=on_progress)
        deed.tell(**_counted(report))
    return report


def _undo(edges: Edges, record: FixRecord, *, operator: Operator, on_progress: Progress) -> FixReport:
    fix_id, results = record.fix_id, []
    for done, step in enumerate(record.steps, 1):
        results.append(_result(step.fix, _undone(edges, fix_id, step, operator)))
        on_progress(done, len(record.steps))
    edges.index_listings.refresh_with_bodies()
    return FixReport(fix_id, tuple(results))


def list_fixes(edges: Edges) -> Sequence[FixRecord]:
    """All fixes, the newest first, without their steps. Raises StorageError."""
    return edges.index_journal.list()


def right_for(fixes: Iterable[IndexFix]) -> Right:
    """What carrying them out takes: whoever may repair a request may write its missing entries; the rest takes more."""
    return Right.BACKFILL_INDEX if all(fix.kind is FixKind.BACKFILL for fix in fixes) else Right.FIX_INDEX


_Outcome = tuple[FixOutcome, str]


def _result(fix: IndexFix, outcome: _Outcome) -> FixResult:
    return FixResult(fix.key, fix.kind, fix.code, *outcome)


def _applied(edges: Edges, fix_id: str, step: FixStep, operator: Operator) -> _Outcome:
    fix = step.fix
    try:
        _check_environments(edges, fix, right_for([fix]), operator)
        found = edges.index_objects.find(fix.key)
        _check_unchanged(fix, found)
        _check_holds(edges, fix)
        edges.index_journal.intend(fix_id, replace(step, before=found.content if found is not None else None))
        edges.index_journal.done(fix_id, step.number, left=_carry_out(edges, fix))
    except ConflictError as error:
        return FixOutcome.CHANGED, error.message
    except RefusedError as error:
        return FixOutcome.REFUSED, error.message
    except (StorageError, DocumentError) as error:
        return FixOutcome.FAILED, f"{error.message}. {error.hint}".strip()
    return FixOutcome.DONE, ""


def _check_environments(edges: Edges, fix: IndexFix, right: Right, operator: Operator) -> None:
    for environment in fix.environments or (None,):
        check_may(edges, operator, right, environment=environment)


def _check_unchanged(fix: IndexFix, found: IndexObject | None) -> None:
    """Returns where the place is as it was planned, and what is there can be kept. Raises ConflictError or
    RefusedError."""
    if (found.etag if found is not None else "") == fix.etag:
        return
    if found is None:
        raise ConflictError(f"{fix.key} is gone")
    if found.content is None:
        raise RefusedError(f"{fix.key} is too large to be kept as a backup")
    entry = find_entry(found.content, key=fix.key)
    raise ConflictError(f"{fix.key} was written meanwhile{f', for request {entry.request_id}' if entry else ''}")


def _carry_out(edges: Edges, fix: IndexFix) -> str:
    """The ETag that the step leaves, empty for a removal."""
    if fix.content is not None:
        return edges.index_objects.put(fix.key, fix.content, if_match=fix.etag or None)
    try:
        edges.index_objects.delete(fix.key, if_match=fix.etag)
    except ConflictError:
        # A removal whose answer was lost is repeated, and finds nothing: that is what was wanted.
        if edges.index_objects.find(fix.key) is not None:
            raise
    return ""


# What must hold right before a step


def _check_holds(edges: Edges, fix: IndexFix) -> None:
    """Raises RefusedError where it does not hold, DocumentError or StorageError where that cannot be told."""
    if fix.content is not None:
        entry = find_entry(fix.content, key=fix.key)
        if entry is None or is_expired(entry, edges.clock()):
            raise RefusedError(f"the entry for {fix.key} would be expired already")
    if fix.must_hold is MustHold.NO_SUCH_REQUEST:
        _check_no_such_request(edges, fix.request_id)
    elif fix.must_hold is MustHold.NOBODY_WAITS:
        _check_nobody_waits(edges, fix)
    elif fix.must_hold is MustHold.STILL_TRACKED:
        _check_still_tracked(edges, fix)


def _check_no_such_request(edges: Edges, request_id: str) -> None:
    try:
        edges.documents.get(request_id)
    except NotFoundError:
        pass
    except DocumentError:
        raise RefusedError(f"request {request_id} is there, though it cannot be read") from None
    else:
        raise RefusedError(f"request {request_id} is active")
    try:
        archived = edges.documents.find_archived(request_id)
    except DocumentError:
        raise RefusedError(f"request {request_id} is archived, though it cannot be read") from None
    if archived is not None:
        raise RefusedError(f"request {request_id} is archived")


def _check_nobody_waits(edges: Edges, fix: IndexFix) -> None:
    row, place = _find_row(edges, fix.request_id), find_place(fix.key)
    if row is not None and place is not None and waits_for(row, *place):
        raise RefusedError(f"request {fix.request_id} still waits for a {place[0].value} run")


def _check_still_tracked(edges: Edges, fix: IndexFix) -> None:
    row, place = _find_row(edges, fix.request_id), find_place(fix.key)
    tracked = row is not None and place in {(run.kind, run.run_id) for run in row.tracked if run.current}
    if not tracked:
        raise RefusedError(f"request {fix.request_id} does not track the run any more")


def _find_row(edges: Edges, request_id: str) -> RequestRow | None:
    """The active request as it is stored now; None where there is none. Raises DocumentError or StorageError."""
    try:
        stored = edges.documents.get(request_id)
    except NotFoundError:
        return None
    return summarise(parse_request(stored.document), thresholds=edges.thresholds)


# Taking back


def _undone(edges: Edges, fix_id: str, step: FixStep, operator: Operator) -> _Outcome:
    if step.undone:
        return FixOutcome.DONE, "was taken back before"
    if step.left is None and step.fix.kind is not FixKind.REMOVE:
        return FixOutcome.REFUSED, "the journal does not say that it was carried out"
    try:
        _check_environments(edges, step.fix, Right.FIX_INDEX, operator)
        _take_back(edges, step)
        edges.index_journal.undone(fix_id, step.number, operator=operator.login, at=edges.clock())
    except ConflictError:
        return FixOutcome.CHANGED, f"{step.fix.key} is not as the fix left it, and stays as it is"
    except MissingRightError as error:
        return FixOutcome.REFUSED, error.message
    except StorageError as error:
        return FixOutcome.FAILED, f"{error.message}. {error.hint}"
    return FixOutcome.DONE, ""


def _take_back(edges: Edges, step: FixStep) -> None:
    if step.before is None:
        edges.index_objects.delete(step.fix.key, if_match=step.left or "")
    else:
        edges.index_objects.put(step.fix.key, step.before, if_match=step.left or None)
