"""Resetting a dev environment: plan, confirm, apply, resume, undo (SPEC §7). Nothing is removed before it is kept."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tfpilot.core.deeds import Deed
from tfpilot.core.model import Operator
from tfpilot.core.reset_confirm import (
    Acknowledgement,
    Approval,
    check_approved,
    check_confirmed,
    check_digest,
    check_reason,
    check_undo_confirmed,
)
from tfpilot.core.reset_guards import UNDO_GUARDS, Reading, refuse_unless_passed
from tfpilot.core.reset_journal import Direction, Stage, StopRequest, StoredReset, check_undo, plan_resume, plan_undo
from tfpilot.core.reset_plan import ResetPlan
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.reset_receipt import Receipt, receipt_markdown, render_receipt
from tfpilot.core.reset_steps import PORTAL, ResetRecord, ResetStep
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.roles import Right
from tfpilot.core.sign_in import check_fresh
from tfpilot.edges import Edges
from tfpilot.errors import RefusedError
from tfpilot.operations.acting import Act, act
from tfpilot.operations.reset_guarding import check_guards, check_guards_of_undo, look_up
from tfpilot.operations.reset_lease import TargetLease
from tfpilot.operations.reset_reading import ScopeReading, read_plan, read_scope
from tfpilot.operations.reset_run import OnGroup, ResetRun
from tfpilot.operations.reset_views import (
    Choices,
    ResetView,
    find_unfinished,
    get_target,
    read_reset,
    receipt_of,
    view_of,
)
from tfpilot.operations.rights import check_role

_SHOWN_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a person did to confirm: the digest of the plan that was reviewed, the phrase, the acknowledgements."""

    digest: str
    typed: str
    acknowledged: frozenset[Acknowledgement]
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How a turn ended: the receipt, and why it stopped before the end (empty where it did not)."""

    receipt: Receipt
    stopped: str


def plan_reset(edges: Edges, name: str, choices: Choices, *, operator: Operator) -> ResetPlan:
    """What a reset would do to what is there now. Writes nothing.

    Raises NotFoundError, RefusedError (a guard says no, or an earlier reset is not over), StorageError or
    DocumentError.
    """
    target = get_target(edges, name)
    with act(edges, operator, Deed.PLAN_RESET, name):
        _check_none_unfinished(edges, target)
        reading = read_scope(edges, target)
        _check_guards(edges, target, operator, choices, reading=Reading(reading))
    return read_plan(edges, target, state_mode=choices.state_mode, with_index=choices.with_index, reading=reading)


def apply_reset(
    edges: Edges,
    plan: ResetPlan,
    choices: Choices,
    confirmation: Confirmation,
    *,
    operator: Operator,
    on_begin: Callable[[ResetRecord], None] = lambda _record: None,
    on_group: OnGroup = lambda _group, _results: None,
) -> Ended:
    """Carries out a plan that was confirmed: takes Terraform's lock, reads everything again, and changes something only
    where all of it is what was reviewed.

    Raises MissingRightError, RefusedError (nothing was changed), ConflictError (somebody is at it), StorageError (then
    it can be resumed or undone) or DocumentError.
    """
    with act(edges, operator, Deed.RESET, plan.target.name) as deed:
        check_role(edges, operator, Right.RESET, environment=plan.target.environment)
        check_fresh(operator, edges.clock())
        target = _check_still_configured(edges, plan.target)
        check_reason(confirmation.reason)
        check_digest(plan, confirmation.digest)
        check_confirmed(plan, typed=confirmation.typed, acknowledged=confirmation.acknowledged)
        ended = _apply(
            edges,
            target,
            plan,
            choices,
            confirmation,
            deed=deed,
            operator=operator,
            on_begin=on_begin,
            on_group=on_group,
        )
        deed.tell(**_told(ended))
    return ended


def _told(ended: Ended) -> dict[str, str]:
    """What the audit says of a turn."""
    stopped = {"stopped": ended.stopped} if ended.stopped else {}
    return {"resetId": ended.receipt.record.reset_id, "stage": ended.receipt.stage.value, **stopped}


def _apply(
    edges: Edges,
    target: ResetTarget,
    plan: ResetPlan,
    choices: Choices,
    confirmation: Confirmation,
    *,
    deed: Act,
    operator: Operator,
    on_begin: Callable[[ResetRecord], None],
    on_group: OnGroup,
) -> Ended:
    approval = _approval(edges, plan, operator)
    with TargetLease(edges, target, operator, doing=f"resetting {target.name}") as lease:
        _check_none_unfinished(edges, target)
        _check_guards(edges, target, operator, choices, reading=look_up(lambda: read_scope(edges, target)))
        record = _new_record(edges, plan, choices, confirmation=confirmation, operator=operator, approval=approval)
        anchor = deed.begin(resetId=record.reset_id, digest=record.digest, reason=record.reason)
        record = replace(record, audited_as=anchor)
        edges.reset_journal.begin(record, plan)
        on_begin(record)
        view = view_of(StoredReset(record, plan, ()), lease.lease)
        turn = _turn(edges, view, Direction.APPLY, operator=operator, lease=lease, on_group=on_group)
        return _carried_out(turn, plan_resume(view.steps, view.progress))


def resume_reset(
    edges: Edges, reset_id: str, *, operator: Operator, on_group: OnGroup = lambda _group, _results: None
) -> Ended:
    """Goes on with a reset, or with its undo, where it stopped. One that is over is answered as it ended.

    Raises as `apply_reset`, and MalformedIdError and NotFoundError.
    """
    view = read_reset(edges, reset_id)
    with act(edges, operator, Deed.RESUME_RESET, view.record.target) as deed:
        ended = _resume(edges, view, deed, operator=operator, on_group=on_group)
        deed.tell(**_told(ended))
    return ended


def _resume(edges: Edges, view: ResetView, deed: Act, *, operator: Operator, on_group: OnGroup) -> Ended:
    reset_id = view.record.reset_id
    target = (_check_may_undo if view.progress.undo_began else _check_may_go_on)(edges, view, operator)
    with TargetLease(edges, target, operator, doing=f"going on with reset {reset_id}") as lease:
        view = read_reset(edges, reset_id)
        direction = Direction.UNDO if view.progress.undo_began else Direction.APPLY
        steps = (plan_undo if view.progress.undo_began else plan_resume)(view.steps, view.progress)
        if direction is Direction.UNDO:
            _check_guards_of_undo(edges, target, operator)
        elif any(not step.is_lock for step in steps):  # else only its locks are left to be given back
            _check_guards_of_resume(edges, view, operator)
        deed.begin(resetId=reset_id, direction=direction.value)
        return _carried_out(_turn(edges, view, direction, operator=operator, lease=lease, on_group=on_group), steps)


def undo_reset(
    edges: Edges,
    reset_id: str,
    *,
    typed: str,
    operator: Operator,
    on_group: OnGroup = lambda _group, _results: None,
) -> Ended:
    """Puts back what a reset changed, every place only where it is as the reset left it; the others stay and are told.

    `typed`: the phrase of `undo_phrase_of`. Raises as `resume_reset`.
    """
    view = read_reset(edges, reset_id)
    with act(edges, operator, Deed.UNDO_RESET, view.record.target) as deed:
        target = _check_may_undo(edges, view, operator)
        check_undo_confirmed(view.plan, typed=typed)
        check_undo(view.record, view.progress, undo_days=edges.resets.undo_days, now=edges.clock())
        ended = _undo(edges, view, target, deed, operator=operator, on_group=on_group)
        deed.tell(**_told(ended))
    return ended


def _undo(
    edges: Edges, view: ResetView, target: ResetTarget, deed: Act, *, operator: Operator, on_group: OnGroup
) -> Ended:
    reset_id = view.record.reset_id
    with TargetLease(edges, target, operator, doing=f"undoing reset {reset_id}") as lease:
        _check_guards_of_undo(edges, target, operator)
        view = read_reset(edges, reset_id)
        _check_no_later(edges, view)
        deed.begin(resetId=reset_id)
        turn = _turn(edges, view, Direction.UNDO, operator=operator, lease=lease, on_group=on_group)
        return _carried_out(turn, plan_undo(view.steps, view.progress, again=True))


def ask_to_stop(edges: Edges, reset_id: str, *, operator: Operator) -> None:
    """Has whoever carries out the reset stop after the present step. Raises as `read_reset`, and MissingRightError."""
    view = read_reset(edges, reset_id)
    with act(edges, operator, Deed.STOP_RESET, view.record.target) as deed:
        check_role(edges, operator, Right.RESET, environment=view.plan.target.environment)
        deed.begin(resetId=reset_id)
        edges.reset_journal.ask_to_stop(reset_id, StopRequest(operator.login, edges.clock()))


# What must hold


def _check_still_configured(edges: Edges, target: ResetTarget) -> ResetTarget:
    """The target. Raises NotFoundError or RefusedError where the settings say something else by now."""
    if get_target(edges, target.name) != target:
        raise _configured_otherwise(target)
    return target


def _configured_otherwise(target: ResetTarget) -> RefusedError:
    return RefusedError(
        f"The target {target.name} is configured otherwise than when the plan was made",
        "Nothing was done. Correct the file that TFPILOT_RESET_TARGETS names, or make a new plan.",
    )


def _check_may_go_on(edges: Edges, view: ResetView, operator: Operator) -> ResetTarget:
    check_role(edges, operator, Right.RESET, environment=view.plan.target.environment)
    return _check_still_configured(edges, view.plan.target)


def _check_may_undo(edges: Edges, view: ResetView, operator: Operator) -> ResetTarget:
    """As to go on, but for states that were added since: an undo does not touch them."""
    target = view.plan.target
    check_role(edges, operator, Right.RESET, environment=target.environment)
    now = get_target(edges, target.name)
    if set(target.states) <= set(now.states):
        now = replace(now, states=target.states)
    if now != target:
        raise _configured_otherwise(target)
    return target


def _check_none_unfinished(edges: Edges, target: ResetTarget) -> None:
    view = find_unfinished(edges, target)
    if view is not None:
        raise RefusedError(
            f"Reset {view.record.reset_id} of {target.name} is not over: {view.stage}",
            "Resume it or undo it first.",
        )


def _check_no_later(edges: Edges, view: ResetView) -> None:
    """What a later reset took away is not put back below it: the later one is undone first."""
    for record in edges.reset_journal.list():
        if record.target != view.record.target or record.started_at <= view.record.started_at:
            continue
        later = read_reset(edges, record.reset_id)
        if later.stage not in {Stage.REFUSED, Stage.UNDONE}:
            raise RefusedError(
                f"Reset {record.reset_id} of {record.target} came after {view.record.reset_id}: {later.stage}",
                f"Undo {record.reset_id} first.",
            )


def _check_guards(
    edges: Edges,
    target: ResetTarget,
    operator: Operator,
    choices: Choices,
    *,
    reading: Reading[ScopeReading],
    own_lock_id: str = "",
) -> None:
    checks = check_guards(
        edges,
        target,
        operator=operator,
        reading=reading,
        own_lock_id=own_lock_id,
        accepts_no_versioning=choices.accepts_no_versioning,
        accepts_most_requests=choices.accepts_most_requests,
    )
    refuse_unless_passed(target, checks)


def _check_guards_of_resume(edges: Edges, view: ResetView, operator: Operator) -> None:
    """All of them again: what was free when the reset began may be in use by now."""
    record, target = view.record, view.plan.target
    _check_guards(
        edges,
        target,
        operator,
        Choices(accepts_no_versioning=record.accepts_no_versioning, accepts_most_requests=record.accepts_most_requests),
        reading=look_up(lambda: read_scope(edges, target)),
        own_lock_id=record.lock_id,
    )


def _check_guards_of_undo(edges: Edges, target: ResetTarget, operator: Operator) -> None:
    """Those that say whether this is the place and the person; Terraform's lock says whether somebody works there."""
    refuse_unless_passed(target, check_guards_of_undo(edges, target, operator=operator), needed=UNDO_GUARDS)


def _approval(edges: Edges, plan: ResetPlan, operator: Operator) -> Approval | None:
    """The second admin's approval of this plan, where there is one. Raises RefusedError where one is needed."""
    approval = edges.reset_journal.find_approval(digest_of(plan))
    if edges.resets.needs_second_admin or approval is not None:
        check_approved(plan, approval, operator=operator)
    return approval


# One process's turn


def _turn(
    edges: Edges, view: ResetView, direction: Direction, *, operator: Operator, lease: TargetLease, on_group: OnGroup
) -> ResetRun:
    return ResetRun(
        edges=edges,
        stored=view.stored,
        progress=view.progress,
        direction=direction,
        operator=operator,
        lease=lease,
        on_group=on_group,
    )


def _carried_out(turn: ResetRun, steps: Sequence[ResetStep]) -> Ended:
    """Where the reset, or its undo, came to an end, the receipt is stored."""
    try:
        stopped = turn.carry_out(steps)
    except RefusedError:
        _settled(turn)
        raise
    return Ended(_settled(turn), stopped)


def _settled(turn: ResetRun) -> Receipt:
    edges, reset_id = turn.edges, turn.stored.record.reset_id
    view = read_reset(edges, reset_id)
    receipt = receipt_of(edges, view)
    if not view.is_unfinished:
        number = view.progress.next_number - 1
        edges.reset_journal.put_receipt(
            reset_id, number, as_json=render_receipt(receipt), as_markdown=receipt_markdown(receipt)
        )
        edges.snapshots.refresh()
        edges.index_listings.refresh()
    return receipt


def _new_record(
    edges: Edges,
    plan: ResetPlan,
    choices: Choices,
    *,
    confirmation: Confirmation,
    operator: Operator,
    approval: Approval | None,
) -> ResetRecord:
    now, digest = edges.clock(), digest_of(plan)
    return ResetRecord(
        reset_id=f"rst_{now:%Y%m%d_%H%M%S}_{digest[:_SHOWN_DIGITS]}",
        target=plan.target.name,
        digest=digest,
        lock_id=str(uuid.uuid4()),
        operator=operator.login,
        approved_by=approval.login if approval else "",
        reason=confirmation.reason,
        requests_bucket=edges.resets.requests_bucket,
        started_at=now,
        version=PORTAL,
        accepts_no_versioning=choices.accepts_no_versioning,
        accepts_most_requests=choices.accepts_most_requests,
    )
