"""Sync and repair one request: gather what GitHub says, plan, apply under the version that was read (SPEC §4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tfpilot.core.deeds import Deed
from tfpilot.core.document import check_request_id
from tfpilot.core.lifecycle import explain, is_due, may_ask_again, needs_repair
from tfpilot.core.model import (
    NEVER,
    ArchiveCopy,
    Checked,
    GitHubFacts,
    IndexBackfill,
    Operator,
    RepairPlan,
    Request,
    Stored,
    SyncMode,
    SyncResult,
)
from tfpilot.core.repair import (
    asks_the_same,
    found_runs,
    is_degraded,
    learned_anything,
    longest_wait,
    next_version,
    plan_query,
    plan_repair,
)
from tfpilot.core.request import parse_request
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, GitHubError, RateLimitedError, StorageError
from tfpilot.operations.acting import Act, act, fields_told
from tfpilot.operations.discovery import settle_known
from tfpilot.operations.gathering import Case, gather, read_request_again
from tfpilot.operations.history import note_event
from tfpilot.operations.repair_steps import StepsDone, run_steps, with_steps
from tfpilot.operations.rewrite import MAX_TRIES, read_active
from tfpilot.operations.rights import check_may
from tfpilot.operations.run_events import replay_claimed


def sync(edges: Edges, request_id: str, *, mode: SyncMode, operator: Operator, dry_run: bool = False) -> SyncResult:
    """Brings one request to what GitHub says of it, or with `dry_run` shows how, writing nothing.

    AUTO asks GitHub only where the document cannot be right or the last answer is old; REPAIR always. Running twice
    is the same as running once.

    Raises MalformedIdError, NotFoundError, ArchivedError (only an archived copy exists), DocumentError,
    MissingRightError, RefusedError (no repository is known), StorageError, ConflictError (other writers won every
    race), and for a REPAIR that learned nothing at all GitHubError or RateLimitedError.
    """
    stored = read_active(edges, check_request_id(request_id))
    if dry_run:
        return _synced(edges, stored, None, mode=mode, operator=operator)
    with act(edges, operator, Deed.REPAIR if mode is SyncMode.REPAIR else Deed.SYNC, request_id) as deed:
        check_may(edges, operator, Right.SYNC, environment=parse_request(stored.document).environment)
        return _synced(edges, stored, deed, mode=mode, operator=operator)


def _synced(edges: Edges, stored: Stored, deed: Act | None, *, mode: SyncMode, operator: Operator) -> SyncResult:
    """What became of it; with no deed, what would: then nothing is written."""
    request, now, dry_run = parse_request(stored.document), edges.clock(), deed is None
    reason = _why_not_to_ask(edges, request, now) if mode is SyncMode.AUTO else None
    if reason is not None:
        return _not_asked(request, now, mode=mode, dry_run=dry_run, reason=reason)
    case = gather(edges, stored, now, dry_run=dry_run)
    _check_learned(edges, case, now, mode=mode, dry_run=dry_run)
    if deed is None:
        return _result(case, now, _plan(edges, case, now, operator=operator), mode=mode, dry_run=True, written=False)
    return _apply(edges, case, deed, mode=mode, operator=operator, now=now)


def _why_not_to_ask(edges: Edges, request: Request, now: datetime) -> str | None:
    """Why AUTO leaves GitHub alone; None where it asks."""
    if request.repo is None:
        return "no target repository is known"
    checked = edges.checked.find(request.id)
    if not needs_repair(request, now, edges.thresholds) and not is_due(request, now, checked):
        return "nothing needs repair"
    if may_ask_again(request, now, checked) or edges.backoffs.find(request.repo, now=now) is not None:
        return None
    return "GitHub was asked a moment ago"


def _not_asked(request: Request, now: datetime, *, mode: SyncMode, dry_run: bool, reason: str) -> SyncResult:
    facts = GitHubFacts()
    return SyncResult(
        request=request,
        explanation=explain(request, now),
        mode=mode,
        dry_run=dry_run,
        asked=False,
        reason=reason,
        plan=plan_repair(request, facts, now, archived=request.raw),
        facts=facts,
        written=False,
    )


def _check_learned(edges: Edges, case: Case, now: datetime, *, mode: SyncMode, dry_run: bool) -> None:
    """Raises where a REPAIR learned nothing at all. How long GitHub asked us to wait is remembered first."""
    if mode is SyncMode.AUTO or learned_anything(case.facts):
        return
    if not dry_run:
        _remember(edges, case, now)
    raise _nothing_learned(case)


def _nothing_learned(case: Case) -> GitHubError:
    outcomes = ", ".join(f"{name}: {a.outcome.value}" for name, a in case.facts.answers().items() if a.detail)
    message = f"GitHub told nothing about {case.request.id} ({outcomes or 'nothing was asked'}). Nothing was changed."
    wait = longest_wait(case.facts)
    if wait is not None:
        return RateLimitedError(message, "Try again when GitHub's limit is over.", retry_after=wait)
    return GitHubError(message, "Check GitHub and the token with `python -m tfpilot doctor`, then try again.")


def _plan(edges: Edges, case: Case, now: datetime, *, operator: Operator) -> RepairPlan:
    """The whole plan, steps beside the document included."""
    return with_steps(edges, _plan_document(case, now), case.request, case.facts, operator=operator, now=now)


def _plan_document(case: Case, now: datetime) -> RepairPlan:
    archived = case.archived.document if case.archived else None
    return plan_repair(case.request, case.facts, now, archived=archived, restored=case.restored)


def _apply(edges: Edges, case: Case, deed: Act, *, mode: SyncMode, operator: Operator, now: datetime) -> SyncResult:
    case, plan, written = _write(edges, case, deed, now)
    _check_learned(edges, case, now, mode=mode, dry_run=False)
    if written:
        edges.snapshots.note(case.request.id, case.stored)
    plan = with_steps(edges, plan, case.request, case.facts, operator=operator, now=now)
    if plan.steps:
        deed.begin(steps=len(plan.steps))
    done = run_steps(edges, plan, case.stored.document, case.facts, operator=operator)
    notices = [*done.notices, *settle_known(edges, case.request, case.records)]
    for kind, run_id in found_runs(plan):
        notices += replay_claimed(edges, kind, run_id)
    deed.tell(status=plan.status_after.value, steps=len(done.steps))
    if written or done.steps:
        notices += _record(edges, plan, done, mode=mode, operator=operator)
    notices += _remember(edges, case, now)
    result = _result(case, now, plan, mode=mode, dry_run=False, written=written)
    return replace(result, done=done.steps, cleanup=done.cleanup, notices=tuple(notices))


def _write(edges: Edges, case: Case, deed: Act, now: datetime) -> tuple[Case, RepairPlan, bool]:
    """Stores the planned document; a lost race is read and planned again. With other questions to ask, GitHub is asked
    again: the old answers are about something the document no longer says."""
    for _ in range(MAX_TRIES):
        plan = _plan_document(case, now)
        if not plan.changes:
            return case, plan, False
        document = next_version(case.stored.document, plan.changes, now)
        deed.begin(fields=fields_told(plan.changes), before=case.stored.etag, status=plan.status_before.value)
        try:
            etag = edges.documents.put(case.request.id, document, if_match=case.stored.etag)
        except ConflictError:
            case = _read_again(edges, case, now)
            continue
        deed.tell(after=etag, fields=fields_told(plan.changes))
        written = replace(case, stored=Stored(document, etag), request=parse_request(document), restored=())
        return written, plan, True
    raise ConflictError(
        f"Other writers changed {case.request.id} {MAX_TRIES} times while it was being repaired. Nothing was changed.",
        "Try again in a moment.",
    )


def _read_again(edges: Edges, case: Case, now: datetime) -> Case:
    stored = read_active(edges, case.request.id)
    again = read_request_again(case, stored)
    if not asks_the_same(plan_query(again.request, now), case.query):
        return gather(edges, stored, now, dry_run=False)
    return again


def _record(edges: Edges, plan: RepairPlan, done: StepsDone, *, mode: SyncMode, operator: Operator) -> tuple[str, ...]:
    """One line in the request's history for a sync that wrote."""
    data = {
        "fields": [change.dotted for change in plan.changes],
        "statusBefore": plan.status_before.value,
        "statusAfter": plan.status_after.value,
        "archivedCopy": any(isinstance(step, ArchiveCopy) for step in done.steps),
        "indexEntries": [
            f"{each.kind.value}/run-{each.run_id}" for each in done.steps if isinstance(each, IndexBackfill)
        ],
        **({"cleanup": done.cleanup} if done.cleanup else {}),
    }
    event = "request_repaired" if mode is SyncMode.REPAIR else "request_synced"
    return note_event(edges, plan.request_id, event, operator=operator, data=data)


def _remember(edges: Edges, case: Case, now: datetime) -> list[str]:
    """Keeps GitHub's answer, and how long it asked us to wait, for the next question."""
    if case.is_backed_off:
        return []
    wait = longest_wait(case.facts)
    try:
        if wait is not None:
            edges.backoffs.put(case.query.repo, until=now + wait, now=now, reason="github_rate_limited")
        edges.checked.put(case.request.id, _memo(edges, case, now))
    except StorageError as error:
        return [f"When GitHub was asked could not be remembered: {error.message}"]
    return []


def _memo(edges: Edges, case: Case, now: datetime) -> Checked:
    """GitHub's answer; where it told nothing, the answer before it with the time of the vain try."""
    known = edges.checked.find(case.request.id)
    if not learned_anything(case.facts):
        return replace(known or Checked(at=NEVER), tried_at=now)
    outcomes = {name: answer.outcome.value for name, answer in case.facts.answers().items()}
    jobs = {kind: answer.value for kind, answer in case.facts.jobs.items() if answer.value is not None}
    # What was once learned of a run's jobs stays: a diagnosis looks at the run id and the attempt.
    return Checked(at=now, facts=outcomes, jobs={**(known.jobs if known else {}), **jobs})


def _result(case: Case, now: datetime, plan: RepairPlan, *, mode: SyncMode, dry_run: bool, written: bool) -> SyncResult:
    request = parse_request(case.stored.document)
    return SyncResult(
        request=request,
        explanation=explain(request, now),
        mode=mode,
        dry_run=dry_run,
        asked=True,
        reason="",
        plan=plan,
        facts=case.facts,
        written=written,
        degraded=is_degraded(case.facts),
        retry_after=longest_wait(case.facts),
    )
