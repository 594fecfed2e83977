"""`reset`: plan, apply, resume and undo the reset of a dev environment, and its receipt."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tfpilot.cli.output import DONE, FAILED, failures_shown, show, show_json
from tfpilot.cli.portal import command_portal, operator_of
from tfpilot.core.document import format_time
from tfpilot.core.reset_confirm import Acknowledgement, phrase_of, sentence_of, undo_phrase_of
from tfpilot.core.reset_journal import Stage, StepResult
from tfpilot.core.reset_plan import ArchiveCase, ResetPlan, StateMode, count_cases, people_of
from tfpilot.core.reset_plan_document import digest_of, plan_fields
from tfpilot.core.reset_receipt import Receipt, receipt_fields, receipt_markdown
from tfpilot.core.reset_steps import Outcome, Phase, ResetRecord, ResetStep
from tfpilot.core.terraform_state import count_types
from tfpilot.log import log_reset
from tfpilot.operations.reset import Confirmation, Ended, apply_reset, ask_to_stop, plan_reset, resume_reset, undo_reset
from tfpilot.operations.reset_approval import approve_plan, ask_for_approval
from tfpilot.operations.reset_views import (
    Choices,
    ScopeCheck,
    UndoLine,
    check_scope,
    get_receipt,
    list_resets,
    preview_undo,
    read_reset,
)

reset = typer.Typer(no_args_is_help=True, help="Reset a dev environment: its states, requests and index entries.")

_ENDS = frozenset({Stage.FINISHED, Stage.UNDONE})
_LISTED = 5

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="A name in the file of TFPILOT_RESET_TARGETS.")]
ResetId = Annotated[str, typer.Argument(metavar="RESET_ID", help="The id that the reset was given.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; whoever comes next reads it.")]
Mode = Annotated[StateMode, typer.Option("--state", help="Remove the states, or leave empty ones of their lineage.")]
KeepIndex = Annotated[bool, typer.Option("--keep-index", help="Leave the run-index entries where they are.")]
NoVersioning = Annotated[
    bool, typer.Option("--accept-no-versioning", help="The state bucket keeps no versions, and that is accepted.")
]
MostRequests = Annotated[
    bool, typer.Option("--accept-most-requests", help="The reset takes more than 90 % of all requests, as intended.")
]


@reset.command("check")
def check_command(
    target: Target, no_versioning: NoVersioning = False, most_requests: MostRequests = False, as_json: AsJson = False
) -> None:
    """Shows every guard and what it says now. Exits 1 where one refuses."""
    choices = Choices(accepts_no_versioning=no_versioning, accepts_most_requests=most_requests)
    with failures_shown(as_json=as_json), command_portal() as portal:
        scope = check_scope(portal.edges, target, choices, operator=operator_of(portal))
    _show_scope(scope, as_json=as_json)
    sys.exit(DONE if scope.passed else FAILED)


@reset.command("plan")
def plan_command(
    target: Target,
    state: Mode = StateMode.REMOVE,
    keep_index: KeepIndex = False,
    no_versioning: NoVersioning = False,
    most_requests: MostRequests = False,
    as_json: AsJson = False,
) -> None:
    """Shows exactly what a reset would do, and what it takes to confirm it. Writes nothing."""
    choices = Choices(state, not keep_index, no_versioning, most_requests)
    with failures_shown(as_json=as_json), command_portal() as portal:
        plan = plan_reset(portal.edges, target, choices, operator=operator_of(portal))
    _show_plan(plan, as_json=as_json)


@reset.command("apply")
def apply_command(
    target: Target,
    digest: Annotated[str, typer.Option("--digest", help="The whole digest of the plan that was reviewed.")],
    typed: Annotated[str, typer.Option("--type", help="The phrase that the plan asks for.")],
    reason: Reason,
    acknowledge: Annotated[
        list[Acknowledgement] | None, typer.Option("--acknowledge", help="What the plan asks for; once for each.")
    ] = None,
    state: Mode = StateMode.REMOVE,
    keep_index: KeepIndex = False,
    no_versioning: NoVersioning = False,
    most_requests: MostRequests = False,
    as_json: AsJson = False,
) -> None:
    """Carries out the plan with that digest; refused where it would be another one now."""
    choices = Choices(state, not keep_index, no_versioning, most_requests)
    confirmation = Confirmation(digest, typed, frozenset(acknowledge or ()), reason)
    with failures_shown(as_json=as_json), command_portal() as portal:
        operator = operator_of(portal)
        plan = plan_reset(portal.edges, target, choices, operator=operator)
        teller = _Teller(as_json=as_json)
        ended = apply_reset(
            portal.edges,
            plan,
            choices,
            confirmation,
            operator=operator,
            on_begin=teller.begun,
            on_group=teller,
        )
        log_reset("reset applied", ended.receipt, operator)
    _show_ended(ended, as_json=as_json)


@reset.command("resume")
def resume_command(reset_id: ResetId, as_json: AsJson = False) -> None:
    """Goes on with a reset, or its undo, that was interrupted or stopped."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        operator = operator_of(portal)
        ended = resume_reset(portal.edges, reset_id, operator=operator, on_group=_Teller(as_json=as_json))
        log_reset("reset resumed", ended.receipt, operator)
    _show_ended(ended, as_json=as_json)


@reset.command("undo")
def undo_command(
    reset_id: ResetId,
    typed: Annotated[str, typer.Option("--type", help="The phrase that the preview asks for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Puts back what a reset changed, wherever the place is as the reset left it. Without --type it is only shown."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        if not typed:
            _show_preview(
                preview_undo(portal.edges, reset_id), read_reset(portal.edges, reset_id).plan, as_json=as_json
            )
            return
        operator = operator_of(portal)
        teller = _Teller(as_json=as_json)
        ended = undo_reset(portal.edges, reset_id, typed=typed, operator=operator, on_group=teller)
        log_reset("reset undone", ended.receipt, operator)
    _show_ended(ended, as_json=as_json)


@reset.command("stop")
def stop_command(reset_id: ResetId, as_json: AsJson = False) -> None:
    """Has whoever carries out the reset stop after the present step and give Terraform's lock back."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        ask_to_stop(portal.edges, reset_id, operator=operator_of(portal))
    if as_json:
        show_json({"resetId": reset_id, "asked": True})
        return
    show(f"{reset_id} was asked to stop. Then: python -m tfpilot reset resume {reset_id}, or undo")


@reset.command("receipt")
def receipt_command(
    reset_id: ResetId,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a person, as Markdown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows what a reset did, and what it takes to undo it."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        receipt = get_receipt(portal.edges, reset_id)
    if markdown and not as_json:
        typer.echo(receipt_markdown(receipt), nl=False)
    elif as_json:
        show_json(receipt_fields(receipt))
    else:
        _show_receipt(receipt)


@reset.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Lists all resets, the newest first."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        records = list_resets(portal.edges)
    if as_json:
        show_json(
            [
                {"resetId": each.reset_id, "target": each.target, "operator": each.operator, "reason": each.reason,
                 "startedAt": format_time(each.started_at)}
                for each in records
            ]
        )  # fmt: skip
        return
    for each in records:
        show(f"{each.reset_id}  {each.target}  {format_time(each.started_at)}  {each.operator}: {each.reason}")
    show(f"{len(records)} in all")


@reset.command("ask")
def ask_command(
    target: Target,
    reason: Reason,
    state: Mode = StateMode.REMOVE,
    keep_index: KeepIndex = False,
    no_versioning: NoVersioning = False,
    most_requests: MostRequests = False,
    as_json: AsJson = False,
) -> None:
    """Asks a second admin to approve the plan as it is now."""
    choices = Choices(state, not keep_index, no_versioning, most_requests)
    with failures_shown(as_json=as_json), command_portal() as portal:
        operator = operator_of(portal)
        plan = plan_reset(portal.edges, target, choices, operator=operator)
        request = ask_for_approval(portal.edges, plan, operator=operator, reason=reason)
    if as_json:
        show_json({"digest": request.digest, "target": request.target, "askedBy": request.asked_by})
        return
    show(f"A second admin may approve it: python -m tfpilot reset approve {request.digest}")


@reset.command("approve")
def approve_command(
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="The whole digest of the plan.")],
    no_versioning: NoVersioning = False,
    most_requests: MostRequests = False,
    as_json: AsJson = False,
) -> None:
    """Approves exactly that plan, as a second admin, as long as it is still what would be done."""
    choices = Choices(accepts_no_versioning=no_versioning, accepts_most_requests=most_requests)
    with failures_shown(as_json=as_json), command_portal() as portal:
        approval = approve_plan(portal.edges, digest, choices, operator=operator_of(portal))
    if as_json:
        show_json({"digest": approval.digest, "login": approval.login, "at": format_time(approval.at)})
        return
    show(f"{approval.login} approved {approval.digest}")


class _Teller:
    """Tells of each part of a reset as it ends: a line per group of steps, and why a place was left."""

    def __init__(self, *, as_json: bool) -> None:
        self._silent = as_json
        self._begun = ""
        self._counts: dict[Phase, int] = {}

    def begun(self, record: ResetRecord) -> None:
        self._begun = f"{record.reset_id} begins. Whatever stops it: reset resume {record.reset_id}, or reset undo"

    def __call__(self, group: Sequence[ResetStep], results: Sequence[StepResult]) -> None:
        if self._silent:
            return
        if self._begun:
            show(self._begun)
            self._begun = ""
        phase = group[0].phase
        self._counts[phase] = self._counts.get(phase, 0) + len(results)
        show(f"{phase}: {self._counts[phase]}")
        for result in results:
            if result.outcome is Outcome.LEFT:
                show(f"  left: {result.reason}")


def _show_scope(scope: ScopeCheck, *, as_json: bool) -> None:
    if as_json:
        checks = [
            {"guard": check.guard.value, "verdict": check.verdict.value, "why": check.why, "hint": check.hint}
            for check in scope.checks
        ]
        in_scope = None if scope.scope is None else list(scope.scope.request_ids)
        show_json({"target": scope.target.name, "passed": scope.passed, "checks": checks, "requests": in_scope})
        return
    for check in scope.checks:
        show(f"{check.verdict.value:20}  {check.guard.value}: {check.why}")
        if check.hint and not check.passed:
            show(f"{'':20}  {check.hint}")


def _show_plan(plan: ResetPlan, *, as_json: bool) -> None:
    if as_json:
        show_json(plan_fields(plan) | {"phrase": phrase_of(plan)})
        return
    for state in plan.states:
        what = f"{state.state.size_bytes:,} bytes" if state.state else "there is none"
        show(f"state    s3://{plan.target.bucket}/{state.object_key}: {what}")
        for kind in count_types(state.summary.resources if state.summary else ()):
            show(f"         {kind.count:>5} {kind.mode} {kind.type}: {_few(kind.addresses)}")
    cases = count_cases(plan)
    show(f"requests {len(plan.requests)} to history/: {', '.join(f'{cases[case]} {case}' for case in ArchiveCase)}")
    show(f"index    {len(plan.entries)} entries removed" if plan.with_index else "index    left as it is")
    for left in plan.undecided:
        show(f"left     {left.request_id}: {left.reason}")
    for person in people_of(plan):
        last = format_time(person.last_activity) if person.last_activity else "unknown"
        made = f"{person.request_count} request{'' if person.request_count == 1 else 's'}"
        show(f"people   {person.login}: {made}, last activity {last}")
    show(f"A reset destroys none of the {plan.resource_count} cloud resources: after it no state knows them.")
    show(f"digest   {digest_of(plan)}")
    show("Nothing was changed. To carry it out, with --reason:")
    acknowledged = " ".join(f"--acknowledge {each.value}" for each in Acknowledgement)
    for each in Acknowledgement:
        show(f"  {each.value}: {sentence_of(plan, each)}")
    show(f"  python -m tfpilot reset apply {plan.target.name} --digest {digest_of(plan)} \\")
    show(f'    --type "{phrase_of(plan)}" {acknowledged} --reason …')


def _show_preview(lines: Sequence[UndoLine], plan: ResetPlan, *, as_json: bool) -> None:
    phrase = undo_phrase_of(plan)
    if as_json:
        steps = [
            {"action": line.step.action.value, "place": str(line.step.place), "free": line.is_free, "why": line.reason}
            for line in lines
        ]
        show_json({"steps": steps, "phrase": phrase})
        return
    for line in lines:
        stays = "" if line.is_free else f": stays, {line.reason}"
        show(f"{line.step.action.value:32}  {line.step.place}{stays}")
    free = sum(line.is_free for line in lines)
    show(f"{free} of {len(lines)} places are as the reset left them. Nothing was changed.")
    if lines:
        show(f'To carry it out: --type "{phrase}"')


def _show_ended(ended: Ended, *, as_json: bool) -> None:
    if as_json:
        show_json(receipt_fields(ended.receipt) | {"stopped": ended.stopped})
    else:
        _show_receipt(ended.receipt)
        if ended.stopped:
            show(f"It stopped before the end: {ended.stopped}")
    sys.exit(DONE if ended.receipt.stage in _ENDS and not ended.receipt.left_states else FAILED)


def _show_receipt(receipt: Receipt) -> None:
    record = receipt.record
    show(f"{record.reset_id} of {record.target} by {record.operator}: {receipt.stage}")
    show(f"  {len(receipt.done)} steps done, {len(receipt.undone)} taken back, {len(receipt.kept)} places left")
    for each in receipt.kept:
        show(f"  left: {each.place}: {each.reason}")
    if receipt.undo_until is not None:
        show(f"  can be undone until {format_time(receipt.undo_until)}: {receipt.undo_command}")


def _few(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
