"""`run-index`: whose a run is, what is there, what is wrong with it, and setting it right."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Annotated

import typer

from tfpilot.cli.lifecycle import lifecycle_commands
from tfpilot.cli.output import DONE, FAILED, failures_shown, show, show_json
from tfpilot.cli.portal import command_portal, operator_of
from tfpilot.core.document import format_time
from tfpilot.core.index_audit import IndexCode, IndexFinding
from tfpilot.core.index_fixes import FixPlan, FixReport, IndexMark
from tfpilot.core.index_report import AuditReport, AuditSource, fix_answer, mark_answer, plan_answer, report_answer
from tfpilot.core.model import RunIndexEntry, WorkflowKind
from tfpilot.core.run_index import entry_fields
from tfpilot.edges import Edges
from tfpilot.errors import MalformedIdError
from tfpilot.log import log_index_fix, log_index_mark
from tfpilot.operations.index_audit import audit_index, ignore_finding, stop_ignoring
from tfpilot.operations.index_fixes import BACKFILLED, PRUNED, apply_fixes, list_fixes, plan_fixes, undo_fixes
from tfpilot.operations.run_index import IndexPage, browse_fresh_index, look_up, read_lines

run_index = typer.Typer(no_args_is_help=True, help="Look at the run index, audit it and set it right.")
run_index.add_typer(lifecycle_commands, name="lifecycle")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
Apply = Annotated[bool, typer.Option("--apply", help="Carry the plan out; without it, it is only shown.")]
Code = Annotated[str, typer.Argument(metavar="CODE", help="The code of the finding, such as ORPHAN.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key of the finding.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; whoever comes next reads it.")]
Records = Annotated[bool, typer.Option("--records", help="Compare with our own records of dispatches too.")]
Versions = Annotated[bool, typer.Option("--versions", help="Look at earlier object versions too.")]


@run_index.command("get")
def get_command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(WorkflowKind)}.")],
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The number at the end of a run's URL.")],
    as_json: AsJson = False,
) -> None:
    """Shows which request a run belongs to."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        entry = look_up(portal.edges, kind, run_id)
    if as_json:
        show_json(entry_fields(entry))
        return
    show(f"{entry.kind.value} run {entry.run_id} belongs to {entry.request_id}")
    show(f"  created at {format_time(entry.created_at)}, expires at {format_time(entry.expires_at)}")


@run_index.command("list")
def list_command(
    kind: Annotated[WorkflowKind | None, typer.Option(help="Only this kind.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many, the newest run first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Lists entries, the newest run first, and says how many there are."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        page = browse_fresh_index(portal.edges, kind, limit=limit)
        entries = read_lines(portal.edges, page.lines)
    _show_page(page, entries, as_json=as_json)


@run_index.command("audit")
def audit_command(records: Records = False, versions: Versions = False, as_json: AsJson = False) -> None:
    """Compares entries with requests, both ways. Exits 1 where there are findings; ignored ones do not count."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        report = audit_index(portal.edges, sources=_sources(records=records, versions=versions))
    _show_report(report, as_json=as_json)
    sys.exit(FAILED if report.findings else DONE)


@run_index.command("backfill")
def backfill_command(apply: Apply = False, as_json: AsJson = False) -> None:
    """Writes entries for tracked runs that have none. What somebody else has written meanwhile stays."""
    with failures_shown(as_json=as_json):
        _fix(BACKFILLED, apply=apply, as_json=as_json)


@run_index.command("prune")
def prune_command(apply: Apply = False, as_json: AsJson = False) -> None:
    """Removes expired entries that no request waits for. Each is kept as a backup first."""
    with failures_shown(as_json=as_json):
        _fix(PRUNED, apply=apply, as_json=as_json)


@run_index.command("fix")
def fix_command(
    codes: Annotated[list[str], typer.Argument(metavar="CODE...", help="Codes of findings, such as ORPHAN.")],
    apply: Apply = False,
    records: Records = False,
    versions: Versions = False,
    as_json: AsJson = False,
) -> None:
    """Sets right what can be set right safely, of the findings with these codes. Each step keeps a backup."""
    with failures_shown(as_json=as_json):
        wanted = frozenset(_code(code) for code in codes)
        _fix(wanted, apply=apply, sources=_sources(records=records, versions=versions), as_json=as_json)


@run_index.command("fixes")
def fixes_command(as_json: AsJson = False) -> None:
    """Lists what was fixed, the newest first, with the ids that `undo` takes."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        found = list_fixes(portal.edges)
    if as_json:
        show_json([{"fixId": each.fix_id, "operator": each.operator, "at": format_time(each.at)} for each in found])
        return
    for each in found:
        show(f"{each.fix_id}  {format_time(each.at)}  {each.operator}")
    show(f"{len(found)} in all")


@run_index.command("undo")
def undo_command(
    fix_id: Annotated[str, typer.Argument(metavar="FIX_ID", help="The id that the fix was given.")],
    as_json: AsJson = False,
) -> None:
    """Takes a fix back, wherever the place is as the fix left it."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        operator = operator_of(portal)
        report = undo_fixes(portal.edges, fix_id, operator=operator)
        log_index_fix("fix undone", report, operator)
    _show_fixed(report, as_json=as_json, undo=True)


@run_index.command("ignore")
def ignore_command(code: Code, key: Key, reason: Reason, as_json: AsJson = False) -> None:
    """Lists a finding apart from now on, with who said so, when and why."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        mark = ignore_finding(portal.edges, _code(code), key, reason=reason, operator=operator_of(portal))
    _show_mark(mark, as_json=as_json)


@run_index.command("unignore")
def unignore_command(code: Code, key: Key, reason: Reason, as_json: AsJson = False) -> None:
    """Lists a finding among the open ones again."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        mark = stop_ignoring(portal.edges, _code(code), key, reason=reason, operator=operator_of(portal))
    _show_mark(mark, as_json=as_json)


def _show_mark(mark: IndexMark, *, as_json: bool) -> None:
    log_index_mark(mark)
    if as_json:
        show_json(mark_answer(mark))
        return
    show(f"{mark.code} of {mark.key} is {'ignored' if mark.ignored else 'not ignored any more'}: {mark.reason}")


def _code(text: str) -> IndexCode:
    if text not in set(IndexCode):
        raise MalformedIdError(f"{text[:40]!r} is not the code of a finding", f"Use one of {', '.join(IndexCode)}.")
    return IndexCode(text)


def _sources(*, records: bool, versions: bool) -> Collection[AuditSource]:
    asked = {AuditSource.RECORDS: records, AuditSource.VERSIONS: versions}
    return [source for source, wanted in asked.items() if wanted]


def _fix(codes: Collection[IndexCode], *, apply: bool, as_json: bool, sources: Collection[AuditSource] = ()) -> None:
    with command_portal() as portal:
        plan = _plan(portal.edges, codes, sources)
        if not apply:
            _show_plan(plan, as_json=as_json)
            return
        operator = operator_of(portal)
        report = apply_fixes(portal.edges, plan, operator=operator)
        log_index_fix("fix applied", report, operator)
    _show_fixed(report, as_json=as_json, undo=False)


def _plan(edges: Edges, codes: Collection[IndexCode], sources: Collection[AuditSource]) -> FixPlan:
    report = audit_index(edges, sources=sources)
    return plan_fixes(report.findings, codes=codes, now=report.at)


def _show_page(page: IndexPage, entries: Collection[RunIndexEntry | None], *, as_json: bool) -> None:
    pairs = list(zip(page.lines, entries, strict=True))
    if as_json:
        answers = [
            {"kind": line.kind.value, "runId": line.run_id, "storedAt": format_time(line.modified),
             "entry": entry and entry_fields(entry)}
            for line, entry in pairs
        ]  # fmt: skip
        show_json({"entries": answers, "total": page.total, "oddKeys": list(page.listing.odd_keys)})
        return
    for line, entry in pairs:
        owner = entry.request_id if entry else "cannot be used"
        show(f"{line.kind.value:10}  {line.run_id:>14}  {format_time(line.modified)}  {owner}")
    show(f"{len(pairs)} of {page.total}, the newest run first")
    if page.listing.odd_keys:
        show(f"{len(page.listing.odd_keys)} keys are no entries; `run-index audit` names them")


def _show_report(report: AuditReport, *, as_json: bool) -> None:
    if as_json:
        show_json(report_answer(report))
        return
    for finding in report.findings:
        _show_finding(finding)
    for each in report.ignored:
        by = f"ignored by {each.mark.by} at {format_time(each.mark.at)}: {each.mark.reason}"
        show(f"{'ignored':8}  {each.finding.code.value:17}  {each.finding.key}: {by}")
    if report.versions_kept is False:
        show("The bucket keeps no object versions now: what was overwritten since cannot be seen in them")
    counted = f"{report.audit.objects:,} entries and {report.audit.requests:,} requests"
    show(f"{len(report.findings)} findings, {len(report.ignored)} ignored, of {counted}")


def _show_finding(finding: IndexFinding) -> None:
    show(f"{finding.severity.value:8}  {finding.code.value:17}  {finding.key}: {'; '.join(finding.evidence)}")
    show(f"{'':29}{finding.next_action}")


def _show_plan(plan: FixPlan, *, as_json: bool) -> None:
    if as_json:
        show_json(plan_answer(plan))
        return
    for fix in plan.fixes:
        owner = f" (request {fix.request_id})" if fix.request_id else ""
        show(f"{fix.code:17}  {fix.kind.value}  {fix.key}{owner}")
    more = "; add --apply to carry it out" if plan.fixes else ""
    show(f"{len(plan.fixes)} steps, nothing was written{more}")


def _show_fixed(report: FixReport, *, as_json: bool, undo: bool) -> None:
    if as_json:
        show_json(fix_answer(report))
    else:
        for result in report.results:
            why = f": {result.reason}" if result.reason else ""
            show(f"{result.outcome.value:17}  {result.kind.value}  {result.key}{why}")
        to_undo = f"; undo: python -m tfpilot run-index undo {report.fix_id}" if report.results and not undo else ""
        show(f"{len(report.results)} steps{' taken back' if undo else ''}{to_undo}")
    sys.exit(FAILED if report.has_failures else DONE)
