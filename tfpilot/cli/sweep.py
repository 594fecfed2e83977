"""`sweep`: asks GitHub about many requests, and writes what it says."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tfpilot.cli.output import DONE, FAILED, MISUSE, failures_shown, show, show_failure, show_json
from tfpilot.cli.portal import command_portal
from tfpilot.cli.present import show_sync
from tfpilot.core.sweep import SweepScope
from tfpilot.log import log_sync
from tfpilot.operations.sweep import SYSTEM, SweepOutcome, sweep


def sweep_command(
    stuck: Annotated[bool, typer.Option("--stuck", help="Only what needs repair.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Repair every request.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Asks GitHub about every request that needs it or was not looked at for a while. One that fails does not stop the
    others. Acts as the portal itself."""
    if stuck and everything:
        typer.echo("Give --stuck or --all, not both.", err=True)
        sys.exit(MISUSE)
    scope = SweepScope.STUCK if stuck else SweepScope.ALL if everything else SweepScope.DUE
    counts = {"written": 0, "unchanged": 0, "failed": 0}
    with failures_shown(as_json=as_json), command_portal() as portal:
        for outcome in sweep(portal.edges, scope):
            counts[_show(outcome, as_json=as_json)] += 1
    total = sum(counts.values())
    if as_json:
        show_json({"sweep": scope.value, "requests": total, **counts})
    else:
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        show(f"{total} request{'' if total == 1 else 's'}: {told}")
    sys.exit(FAILED if counts["failed"] else DONE)


def _show(outcome: SweepOutcome, *, as_json: bool) -> str:
    """Shows what was written or failed; which of the counts it is."""
    if outcome.error is not None:
        show_failure(outcome.error, as_json=as_json, subject=outcome.request_id)
        return "failed"
    if outcome.result is None or not outcome.result.wrote:
        return "unchanged"
    log_sync(outcome.result, SYSTEM)
    show_sync(outcome.result, as_json=as_json)
    return "written"
