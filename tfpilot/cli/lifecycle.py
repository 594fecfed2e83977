"""`run-index lifecycle`: what removes old entries, the plan to have it done, and carrying it out."""

from __future__ import annotations

from typing import Annotated, Any, Final

import structlog
import typer

from tfpilot.cli.output import failures_shown, show, show_json
from tfpilot.cli.portal import command_portal, operator_of
from tfpilot.core.bucket_rules import StoredLifecycle
from tfpilot.core.model import Operator
from tfpilot.core.retention import LEAST_DAYS, Coverage, LifecyclePlan, check_digest
from tfpilot.operations.retention import (
    Applied,
    Retention,
    apply_retention,
    plan_retention,
    read_stored_days,
    show_retention,
)

lifecycle_commands = typer.Typer(
    no_args_is_help=True, help="Have S3 remove entries of the run index when their time is over."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
NoncurrentDays = Annotated[
    int | None,
    typer.Option(min=1, help="On a bucket with versions, expire noncurrent versions of entries after so many days."),
]
Digest = Annotated[str | None, typer.Option(help="The plan that was shown, by its digest.")]

_LOG: Final = structlog.get_logger("tfpilot.retention")


@lifecycle_commands.command("show")
def show_command(as_json: AsJson = False) -> None:
    """Shows whether lifecycle rules cover the run index, and what a rule would remove today and in 30 days."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        retention = show_retention(portal.edges, read_stored_days(portal.edges))
        show_json(_retention_answer(retention)) if as_json else _show_retention(retention)


@lifecycle_commands.command("plan")
def plan_command(noncurrent_days: NoncurrentDays = None, as_json: AsJson = False) -> None:
    """Shows what would be written, and the digest to apply it with. Writes nothing."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        plan = plan_retention(portal.edges, noncurrent_days=noncurrent_days)
        show_json(_plan_answer(plan)) if as_json else _show_plan(plan)


@lifecycle_commands.command("apply")
def apply_command(digest: Digest = None, noncurrent_days: NoncurrentDays = None, as_json: AsJson = False) -> None:
    """Writes the plan that was shown, where nothing was changed since, and reads it back."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        operator = operator_of(portal)
        plan = plan_retention(portal.edges, noncurrent_days=noncurrent_days)
        if plan.after is not None:
            check_digest(plan, digest)
        applied = apply_retention(portal.edges, plan, operator=operator)
        _log(applied, operator)
        show_json(_applied_answer(applied)) if as_json else _show_applied(applied)


def _log(applied: Applied, operator: Operator) -> None:
    if applied.written:
        _LOG.info("lifecycle rule written", operator=operator.login, covered=applied.coverage.is_covered)


def _show_retention(retention: Retention) -> None:
    _show_coverage(retention.coverage, retention.stored)
    show(f"A rule of {LEAST_DAYS} days, of what is stored now:")
    for kind, removal in retention.removals.items():
        show(f"    {kind.value:10}  removes {removal.today} of {removal.stored} today, {removal.later} in 30 days")
    _show_notices(retention.notices)


def _show_plan(plan: LifecyclePlan) -> None:
    if plan.after is None:
        show("Nothing to write.")
    for line in plan.difference:
        show(line)
    _show_notices(plan.notices)
    if plan.after is not None:
        show(f"To write it: {plan.command}")


def _show_applied(applied: Applied) -> None:
    show("The rule was written and read back." if applied.written else "Nothing to write.")
    _show_coverage(applied.coverage, applied.stored)


def _show_coverage(coverage: Coverage, stored: StoredLifecycle) -> None:
    show(f"{coverage.sentence}.")
    for reading in coverage.readings:
        show(f"    {reading.sentence}")
    show(f"Versions of objects: {stored.versioning.value}")


def _show_notices(notices: tuple[str, ...]) -> None:
    for notice in notices:
        show(f"Note: {notice}")


def _retention_answer(retention: Retention) -> dict[str, Any]:
    removals = {
        kind.value: {"stored": removal.stored, "today": removal.today, "in30Days": removal.later}
        for kind, removal in retention.removals.items()
    }
    return {
        **_state_answer(retention.coverage, retention.stored),
        "days": LEAST_DAYS,
        "removes": removals,
        "notices": list(retention.notices),
    }


def _plan_answer(plan: LifecyclePlan) -> dict[str, Any]:
    return {
        "digest": plan.digest,
        "command": plan.command,
        "changes": plan.after is not None,
        "before": plan.before.configuration,
        "after": plan.before.configuration if plan.after is None else plan.after,
        "notices": list(plan.notices),
    }


def _applied_answer(applied: Applied) -> dict[str, Any]:
    return {"success": True, "written": applied.written, **_state_answer(applied.coverage, applied.stored)}


def _state_answer(coverage: Coverage, stored: StoredLifecycle) -> dict[str, Any]:
    return {
        "covered": coverage.is_covered,
        "summary": coverage.sentence,
        "removedAfterDays": {kind.value: days for kind, days in coverage.days.items()},
        "rules": [
            {"id": each.rule, "kinds": [kind.value for kind in each.kinds], "days": each.days, "fit": each.fit.value}
            for each in coverage.readings
        ],
        "versioning": stored.versioning.value,
        "unknown": list(stored.unknown),
        "configuration": stored.configuration,
    }
