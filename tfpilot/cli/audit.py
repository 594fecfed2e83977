"""`audit`: who did what, and whether the records of it are as they were written."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Annotated

import typer

from tfpilot.cli.output import DONE, FAILED, failures_shown, show, show_json
from tfpilot.cli.portal import command_portal
from tfpilot.core.audit import AuditRecord, AuditReport, ChainReport, record_fields
from tfpilot.core.document import format_time
from tfpilot.operations.audit import list_activity, verify_audit

audit = typer.Typer(no_args_is_help=True, help="Look at who did what, and check that nobody has changed the records.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]


@audit.command("list")
def list_command(
    hours: Annotated[int, typer.Option(min=1, max=90 * 24, help="How far back.")] = 24,
    subject: Annotated[str, typer.Option(help="Only about this: a request, a reset target.")] = "",
    as_json: AsJson = False,
) -> None:
    """Lists what was done and refused, newest first."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        activity = list_activity(portal.edges, last=timedelta(hours=hours))
    records = [record for record in activity.records if subject in {"", record.event.subject}]
    if as_json:
        show_json([record_fields(record) for record in records])
        return
    for record in records:
        show(_line(record, is_open=record.id in activity.open))
    show(f"{len(records)} records in {hours} h")


@audit.command("verify")
def verify_command(as_json: AsJson = False) -> None:
    """Checks every chain of records, and names the first broken link of each. Exits 1 where there is one."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        report = verify_audit(portal.edges)
    if as_json:
        show_json(_answer(report))
    else:
        _show_report(report)
    sys.exit(FAILED if report.broken else DONE)


def _line(record: AuditRecord, *, is_open: bool) -> str:
    event = record.event
    part = "no outcome recorded" if is_open else event.part.value
    facts = ", ".join(f"{name} {value}" for name, value in (event.data or {}).items())
    detail = "; ".join(part for part in (event.reason, facts) if part)
    return (
        f"{format_time(event.at)}  {event.actor} ({event.role}) by {event.door.value}  {event.operation}  "
        f"{event.subject}  {part}{f': {detail}' if detail else ''}"
    )


def _show_report(report: AuditReport) -> None:
    for chain in report.chains:
        if chain.broken is not None:
            show(f"BROKEN  chain {chain.chain}, record {chain.broken.number}: {_flaw(chain)}")
    if not report.has_key:
        show("TFPILOT_AUDIT_KEY is not set: whoever may write the bucket can forge these records.")
    show(
        f"{report.verified:,} records in {len(report.chains)} chains are as they were written, "
        f"{report.unanchored:,} of them not anchored yet; {len(report.broken)} chains are broken."
    )


def _flaw(chain: ChainReport) -> str:
    if chain.broken is None:
        return ""
    told_by = f" (told by {chain.broken.where})" if chain.broken.where else ""
    return f"{chain.broken.flaw.value}{told_by}"


def _answer(report: AuditReport) -> dict[str, object]:
    return {
        "hasKey": report.has_key,
        "verified": report.verified,
        "unanchored": report.unanchored,
        "chains": [
            {
                "chain": chain.chain,
                "verified": chain.verified,
                "anchored": chain.anchored,
                "broken": chain.broken and {"number": chain.broken.number, "flaw": _flaw(chain)},
            }
            for chain in report.chains
        ],
    }
