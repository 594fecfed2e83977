"""What a reset leaves in a person's hands: what was done, and what it takes to undo it, even without the portal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tfpilot.core.audit import anchor_fields
from tfpilot.core.document import format_time, render_document
from tfpilot.core.reset_journal import Progress, Stage, stage_of, undo_until, undone_id
from tfpilot.core.reset_plan import PlannedState, ResetPlan, people_of
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.reset_steps import Action, Outcome, Phase, ResetRecord, ResetStep
from tfpilot.core.terraform import digest_id


@dataclass(frozen=True, slots=True)
class Kept:
    """A place that was left as it is, and why: something else stood there than the reset had read or left."""

    subject: str
    place: str
    reason: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class Receipt:
    """A reset that came to an end, or how far it came. `undone`: the places that an undo put back.

    `undo_until` None: nothing was done that could be undone.
    """

    record: ResetRecord
    plan: ResetPlan
    stage: Stage
    ended_at: datetime | None
    done: tuple[ResetStep, ...]
    undone: tuple[ResetStep, ...]
    kept: tuple[Kept, ...]
    undo_until: datetime | None

    @property
    def undo_command(self) -> str:
        return f"python -m tfpilot reset undo {self.record.reset_id}"

    @property
    def left_states(self) -> tuple[str, ...]:
        """The states, by key, that were left as they are, because they are somebody else's by now."""
        return tuple(dict.fromkeys(each.subject for each in self.kept if each.phase in {Phase.DIGEST, Phase.STATE}))

    @property
    def took(self) -> timedelta | None:
        return None if self.ended_at is None else self.ended_at - self.record.started_at

    def count(self, action: Action) -> int:
        """How many steps of that action were done."""
        return sum(step.action is action for step in self.done)


def make_receipt(
    plan: ResetPlan, record: ResetRecord, steps: Sequence[ResetStep], progress: Progress, *, undo_days: int
) -> Receipt:
    """The receipt of a reset with these steps, by its journal."""
    outcomes = progress.outcomes
    changes = [step for step in steps if not step.is_lock and step.action is not Action.COMPARE]
    done = tuple(step for step in changes if outcomes.get(step.id) is Outcome.DONE)
    stage = stage_of(steps, progress)
    return Receipt(
        record=record,
        plan=plan,
        stage=stage,
        ended_at=None if stage in {Stage.UNFINISHED, Stage.UNDO_UNFINISHED} else progress.last_at,
        done=done,
        undone=tuple(step for step in changes if outcomes.get(undone_id(step.id)) is Outcome.DONE),
        kept=tuple(_kept(changes, progress)),
        undo_until=undo_until(progress, undo_days=undo_days) if stage not in {Stage.REFUSED, Stage.UNDONE} else None,
    )


def receipt_fields(receipt: Receipt) -> dict[str, Any]:
    """The receipt as JSON."""
    record, plan = receipt.record, receipt.plan
    return {
        "resetId": record.reset_id,
        "target": plan.target.name,
        "environment": plan.target.environment,
        "repo": str(plan.target.repo),
        "stage": receipt.stage.value,
        "operator": record.operator,
        "approvedBy": record.approved_by or None,
        "reason": record.reason,
        "auditedAs": anchor_fields(record.audited_as) if record.audited_as is not None else None,
        "startedAt": format_time(record.started_at),
        "endedAt": format_time(receipt.ended_at) if receipt.ended_at else None,
        "planDigest": digest_of(plan),
        "stateMode": plan.state_mode.value,
        "lockMode": plan.target.lock_mode.value,
        "lockTable": plan.target.lock_table or None,
        "stateBucket": plan.target.bucket,
        "requestsBucket": record.requests_bucket,
        "states": [_state_fields(receipt, state) for state in plan.states],
        "done": [_step_fields(step) for step in receipt.done],
        "undone": [_step_fields(step) for step in receipt.undone],
        "kept": [{"subject": each.subject, "place": each.place, "reason": each.reason} for each in receipt.kept],
        "resources": plan.resource_count,
        "people": [person.login for person in people_of(plan)],
        "undoCommand": receipt.undo_command,
        "undoUntil": format_time(receipt.undo_until) if receipt.undo_until else None,
    }


def render_receipt(receipt: Receipt) -> bytes:
    """The receipt as it is stored and downloaded."""
    return render_document(receipt_fields(receipt)) + b"\n"


def receipt_markdown(receipt: Receipt) -> str:
    """The receipt for a person, with what to do next."""
    record, plan = receipt.record, receipt.plan
    parts = [
        f"# Reset {record.reset_id} of {plan.target.name}: {receipt.stage}",
        "",
        *_table(
            [
                ("Who", f"{record.operator}, second admin: {record.approved_by or 'none'}"),
                ("When", _when(receipt)),
                ("Reason", record.reason),
                ("Plan digest", f"`{digest_of(plan)}`"),
                *_audited(record),
                ("State bucket", f"`{plan.target.bucket}`"),
                ("Requests bucket", f"`{record.requests_bucket}`"),
                ("Requests", f"{receipt.count(Action.REMOVE_REQUEST)} of {len(plan.requests)} archived"),
                *([("Put back by the undo", f"{len(receipt.undone)} places")] if receipt.undone else []),
                ("Index entries", f"{receipt.count(Action.REMOVE_ENTRY)} of {len(plan.entries)} removed"),
            ]
        ),
        *(line for state in plan.states for line in _state_lines(receipt, state)),
        *_kept_lines(receipt.kept),
        *_undo_lines(receipt),
    ]
    return "\n".join(parts) + "\n"


def next_actions(receipt: Receipt) -> tuple[str, ...]:
    """What to do after a reset, in order; nothing where it changed nothing or was undone."""
    if receipt.stage is not Stage.FINISHED:
        return ()
    plan = receipt.plan
    people = len(people_of(plan))
    gone = {step.subject for step in receipt.done if step.phase is Phase.STATE}
    lost = sum(each.summary.managed_count for each in plan.states if each.summary and each.object_key in gone)
    left = ", ".join(receipt.left_states)
    told = [
        f"Look at {left}: somebody applied meanwhile, and it was left as it is." if left else "",
        f"Destroy or import the {_counted(lost, 'resource')} that lost their state." if lost else "",
        f"Tell the {_counted(people, 'person', 'people')} that their requests are archived." if people else "",
        "" if left else "The next plan of this environment starts from an empty state.",
    ]
    return tuple(each for each in told if each)


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def _kept(changes: Iterable[ResetStep], progress: Progress) -> Iterable[Kept]:
    for step in changes:
        for name in (step.id, undone_id(step.id)):
            result = progress.results.get(name)
            if result is not None and result.outcome is Outcome.LEFT:
                yield Kept(step.subject, str(step.place), result.reason, step.phase)


def _state_fields(receipt: Receipt, state: PlannedState) -> dict[str, Any]:
    read = state.state
    backup = _backup_of(receipt, state)
    return {
        "key": state.object_key,
        "versionId": read.version_id if read else None,
        "etag": read.etag if read else None,
        "sizeBytes": read.size_bytes if read else None,
        "md5": state.md5,
        "sha256": read.sha256 if read else None,
        "backup": backup or None,
        "lockId": state.lock_id,
        "digestId": digest_id(receipt.plan.target.bucket, state.object_key),
        "digest": state.digest,
    }


def _backup_of(receipt: Receipt, state: PlannedState) -> str:
    backups = (
        step.place.key
        for step in receipt.done
        if step.phase is Phase.BACKUP and step.source is not None and step.source.key == state.object_key
    )
    return next(backups, "")


def _step_fields(step: ResetStep) -> dict[str, Any]:
    return {
        "step": step.id,
        "action": step.action.value,
        "subject": step.subject,
        "store": step.place.store.value,
        "key": step.place.key,
        "backup": step.backup.key if step.backup else None,
        "before": step.before,
        "after": step.after,
    }


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    return ["| What | Value |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows)]


def _audited(record: ResetRecord) -> list[tuple[str, str]]:
    """The anchor that a receipt carries out of the bucket: whoever cuts the audit off before it is found out."""
    kept = record.audited_as
    return [] if kept is None else [("Audit record", f"`{kept.chain}/{kept.number}`, seal `{kept.seal}`")]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _when(receipt: Receipt) -> str:
    started = f"{receipt.record.started_at:%Y-%m-%d %H:%M:%S}"
    if receipt.ended_at is None or receipt.took is None:
        return f"{started} UTC, not ended"
    same_day = receipt.ended_at.date() == receipt.record.started_at.date()
    ended = f"{receipt.ended_at:%H:%M:%S}" if same_day else f"{receipt.ended_at:%Y-%m-%d %H:%M:%S}"
    return f"{started} to {ended} UTC, {receipt.took.total_seconds():.0f} s"


def _state_lines(receipt: Receipt, state: PlannedState) -> list[str]:
    fields = _state_fields(receipt, state)
    names = ("versionId", "md5", "sha256", "backup", "digestId", "digest")
    return ["", f"## State `{state.object_key}`", "", *_table((name, f"`{fields[name]}`") for name in names)]


def _kept_lines(kept: Sequence[Kept]) -> list[str]:
    if not kept:
        return []
    return ["", "## Left as they are", "", *(f"- {each.subject}: {_cell(each.reason)}" for each in kept)]


def _undo_lines(receipt: Receipt) -> list[str]:
    if receipt.undo_until is None:
        return []
    undo = f"Possible until {receipt.undo_until:%Y-%m-%d %H:%M} UTC, each place only as this reset left it:"
    actions = [f"{number}. {action}" for number, action in enumerate(next_actions(receipt), start=1)]
    after = ["", "## What to do next", "", *actions] if actions else []
    return ["", "## Undo", "", undo, "", f"    {receipt.undo_command}", *after]
