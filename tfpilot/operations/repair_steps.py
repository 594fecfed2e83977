"""What a repair does beside the document: index entries, the cleanup after a destroy, the archived copy (SPEC §4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from tfpilot.core.cleanup import find_destroy_to_clean_up
from tfpilot.core.model import (
    ArchiveCopy,
    ClaimOutcome,
    CleanupDispatch,
    GitHubFacts,
    IndexBackfill,
    JsonObject,
    Operator,
    RepairPlan,
    RepairStep,
    Request,
    WorkflowKind,
)
from tfpilot.core.repair import plan_backfill, repaired
from tfpilot.core.roles import Right
from tfpilot.core.run_index import new_entry
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, MissingRightError, StorageError, TfPilotError
from tfpilot.operations.dispatch import clean_up_after_destroy
from tfpilot.operations.rewrite import MAX_TRIES, read_active
from tfpilot.operations.rights import check_role


@dataclass(frozen=True, slots=True)
class StepsDone:
    """The steps that were taken, and what came of dispatching the cleanup. `notices` tell a person what went wrong
    beside the document, which is stored."""

    steps: tuple[RepairStep, ...] = ()
    cleanup: str = ""
    notices: tuple[str, ...] = ()


def with_steps(
    edges: Edges, plan: RepairPlan, request: Request, facts: GitHubFacts, *, operator: Operator, now: datetime
) -> RepairPlan:
    """The plan with the index entries that are missing and the cleanup that is due; runs that the index gives to
    others are said. Where the index cannot be read, that is said too, and the audit finds what is missing."""
    after = repaired(request, plan)
    owners, crossed, obstacles = _look_into_index(edges, after)
    backfill = plan_backfill(after, owners, now)
    cleanup = _cleanup(edges, after, facts, operator=operator, now=now)
    steps: tuple[RepairStep, ...] = (*backfill, *cleanup, *plan.steps)
    return replace(
        plan,
        steps=steps,
        crossed=(*plan.crossed, *crossed),
        obstacles=(*plan.obstacles, *obstacles),
    )


def run_steps(
    edges: Edges, plan: RepairPlan, document: JsonObject, facts: GitHubFacts, *, operator: Operator
) -> StepsDone:
    """Does the plan's steps, each whether or not another one failed."""
    done = StepsDone()
    for step in plan.steps:
        if isinstance(step, IndexBackfill):
            done = _backfilled(edges, plan.request_id, step, done)
        elif isinstance(step, CleanupDispatch):
            done = _cleaned_up(edges, plan.request_id, step, facts, done, operator=operator)
        else:
            done = _archived(edges, step, document, done)
    return done


def _look_into_index(
    edges: Edges, request: Request
) -> tuple[dict[WorkflowKind, str | None], tuple[str, ...], tuple[str, ...]]:
    """Whom the index names for each run that the request tracks; which of them are somebody else's; what could not be
    looked up."""
    owners: dict[WorkflowKind, str | None] = {}
    try:
        for kind, run in request.runs.items():
            if run.run_id is not None:
                entry = edges.run_index.find(kind, run.run_id)
                owners[kind] = entry.request_id if entry else None
    except StorageError as error:
        return owners, (), (f"the run index could not be read: {error.message}",)
    crossed = tuple(
        f"{kind.value}: the run index gives run {request.runs[kind].run_id} to {owner}"
        for kind, owner in owners.items()
        if owner not in (None, request.id)
    )
    return owners, crossed, ()


def _cleanup(
    edges: Edges, request: Request, facts: GitHubFacts, *, operator: Operator, now: datetime
) -> tuple[CleanupDispatch, ...]:
    destroy_run_id = find_destroy_to_clean_up(request, now, facts)
    if destroy_run_id is None:
        return ()
    try:
        check_role(edges, operator, Right.CLEAN_UP_AFTER_DESTROY, environment=request.environment)
    except MissingRightError as missing:
        return (CleanupDispatch(destroy_run_id, refusal=missing.message),)
    return (CleanupDispatch(destroy_run_id),)


def _backfilled(edges: Edges, request_id: str, step: IndexBackfill, done: StepsDone) -> StepsDone:
    try:
        claim = edges.run_index.claim(new_entry(step.kind, step.run_id, request_id, created_at=step.created_at))
    except StorageError as error:
        return _with_notice(done, f"The index entry of run {step.run_id} was not written: {error.message}")
    if not claim.holds:
        return _with_notice(done, f"Run {step.run_id} was claimed by {claim.owner or 'an unreadable entry'} meanwhile")
    if claim.outcome is ClaimOutcome.OWN:
        return done  # another repair of the same request wrote it meanwhile, and tells so
    return replace(done, steps=(*done.steps, step))


def _cleaned_up(
    edges: Edges,
    request_id: str,
    step: CleanupDispatch,
    facts: GitHubFacts,
    done: StepsDone,
    *,
    operator: Operator,
) -> StepsDone:
    if step.refusal:
        return _with_notice(done, f"The cleanup needs an admin: {step.refusal}")
    try:
        result = clean_up_after_destroy(edges, request_id, operator=operator, facts=facts)
    except TfPilotError as error:
        return _with_notice(done, f"The cleanup was not dispatched: {error.message}")
    if result is None:
        return done
    told = f"run {result.run_id}" if result.run_id else f"{result.end.value}: {result.reason}"
    return replace(done, steps=(*done.steps, step), cleanup=told, notices=done.notices + result.notices)


def _archived(edges: Edges, step: ArchiveCopy, document: JsonObject, done: StepsDone) -> StepsDone:
    """Brings the archived copy of a destroyed request to its final document; an older copy is kept first."""
    try:
        final = read_active(edges, step.request_id).document if done.cleanup else document
        for _ in range(MAX_TRIES):
            written = _try_archive(edges, step.request_id, final)
            if written is not None:
                return replace(done, steps=(*done.steps, step)) if written else done
    except TfPilotError as error:
        return _with_notice(done, f"The final copy in history/ was not written: {error.message}")
    return _with_notice(
        done, "The final copy in history/ was not written: other writers kept changing it. Repair again."
    )


def _try_archive(edges: Edges, request_id: str, document: JsonObject) -> bool | None:
    """Whether the copy was written or is there already; None where somebody else wrote first."""
    archived = edges.documents.find_archived(request_id)
    if archived is not None and archived.document == document:
        return False
    if archived is not None:
        edges.documents.keep_archived(request_id, archived)
    try:
        edges.documents.put_archived(request_id, document, if_match=archived.etag if archived else None)
    except ConflictError:
        return None
    return True


def _with_notice(done: StepsDone, notice: str) -> StepsDone:
    return replace(done, notices=(*done.notices, notice))
