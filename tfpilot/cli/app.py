"""The commands and their arguments."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from tfpilot.cli.audit import audit
from tfpilot.cli.dispatch import dispatch_command, unlock_command
from tfpilot.cli.explain import explain_lines
from tfpilot.cli.freeze import freeze
from tfpilot.cli.locks import locks
from tfpilot.cli.output import DONE, FAILED, MISUSE, exit_code_of, failures_shown, show, show_failure, show_json
from tfpilot.cli.portal import command_portal, operator_of
from tfpilot.cli.present import show_checks, show_list, show_request, show_sync
from tfpilot.cli.reset import reset
from tfpilot.cli.run_index import run_index
from tfpilot.cli.sweep import sweep_command
from tfpilot.cli.webhook import explain_webhook_lines
from tfpilot.config import load_settings
from tfpilot.core.model import LifecycleStatus, SyncMode
from tfpilot.core.selection import RequestFilter
from tfpilot.errors import TfPilotError
from tfpilot.log import log_sync
from tfpilot.operations.browse import list_fresh_requests, open_request
from tfpilot.operations.sync import sync

commands = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Operate TfPilot: understand, sync and repair requests."
)
requests = typer.Typer(no_args_is_help=True, help="Look at requests.")
commands.add_typer(requests, name="requests")
commands.add_typer(run_index, name="run-index")
commands.add_typer(locks, name="locks")
commands.add_typer(reset, name="reset")
commands.add_typer(audit, name="audit")
commands.add_typer(freeze, name="freeze")
commands.command("sweep")(sweep_command)
commands.command("dispatch")(dispatch_command)
requests.command("unlock")(unlock_command)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
RequestId = Annotated[str, typer.Argument(metavar="ID", help="A request id, such as req_dev_s3_abc123.")]


def main() -> None:
    """Runs the command that the arguments name."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter must not end a repair
    commands(prog_name="tfpilot")


@requests.command("list")
def list_command(
    status: Annotated[list[LifecycleStatus] | None, typer.Option(help="Only this status; may be repeated.")] = None,
    environment: Annotated[list[str] | None, typer.Option(help="Only this environment; may be repeated.")] = None,
    search: Annotated[str, typer.Option(help="Part of an id, run id, branch or sha; #12 for a PR number.")] = "",
    stuck: Annotated[bool, typer.Option("--stuck", help="Only what is stuck.")] = False,
    archived: Annotated[bool, typer.Option("--archived", help="Only archived requests.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest change first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Lists requests, newest change first, and says how many there are."""
    wanted = RequestFilter(
        statuses=frozenset(status or ()),
        environments=frozenset(environment or ()),
        text=search,
        stuck=stuck,
        archived=archived,
    )
    with failures_shown(as_json=as_json), command_portal() as portal:
        show_list(list_fresh_requests(portal.edges, wanted), limit=limit, as_json=as_json)


@requests.command("show")
def show_command(request_id: RequestId, as_json: AsJson = False) -> None:
    """Shows one request: its status and why, and what is wrong with it."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        show_request(open_request(portal.edges, request_id), as_json=as_json)


@commands.command("sync")
def sync_command(
    request_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Request ids.")],
    repair: Annotated[bool, typer.Option("--repair", help="Ask GitHub even where nothing looks wrong.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Brings requests to what GitHub says of them. One that fails does not stop the others."""
    mode = SyncMode.REPAIR if repair else SyncMode.AUTO
    code = DONE
    with failures_shown(as_json=as_json), command_portal() as portal:
        operator = operator_of(portal)
        for request_id in request_ids:
            try:
                result = sync(portal.edges, request_id, mode=mode, operator=operator, dry_run=dry_run)
            except TfPilotError as error:
                show_failure(error, as_json=as_json, subject=request_id[:80])
                code = max(code, exit_code_of(error))
            else:
                log_sync(result, operator)
                show_sync(result, as_json=as_json)
    sys.exit(code)


@commands.command("explain")
def explain_command(
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Read JSON lines and print JSON lines.")] = False,
    file: Annotated[Path, typer.Argument(metavar="[FILE|-]", help="Where from; - for standard input.")] = Path("-"),
    _as_json: AsJson = False,
) -> None:
    """Explains documents offline: a line {"request", "now"} in, a line {"status", "rule", …} out, in the same order."""
    with failures_shown(as_json=True):
        thresholds = load_settings().thresholds
    _explain(file, lambda lines: explain_lines(lines, thresholds), name="explain", jsonl=jsonl)


@commands.command("explain-webhook")
def explain_webhook_command(
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Read JSON lines and print JSON lines.")] = False,
    file: Annotated[Path, typer.Argument(metavar="[FILE|-]", help="Where from; - for standard input.")] = Path("-"),
    _as_json: AsJson = False,
) -> None:
    """Explains webhooks offline: a line {"event", "payload", "request"?, "now"} in, a line {"decision", …} out."""
    with failures_shown(as_json=True):
        files = load_settings().rules.workflow_files
    _explain(file, lambda lines: explain_webhook_lines(lines, files), name="explain-webhook", jsonl=jsonl)


def _explain(
    file: Path,
    answers_of: Callable[[Iterable[bytes]], Iterable[dict[str, Any]]],
    *,
    name: str,
    jsonl: bool,
) -> NoReturn:
    """Prints an answer per line of the file and ends the command, with 1 where a line could not be used."""
    if not jsonl:
        typer.echo(f"Only JSON lines can be explained. Use: {name} --jsonl [FILE|-]", err=True)
        sys.exit(MISUSE)
    code = DONE
    try:
        lines = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        typer.echo(f"{file} cannot be read: {error.strerror}", err=True)
        sys.exit(MISUSE)
    with lines:
        for answer in answers_of(lines):
            code = FAILED if "error" in answer else code
            show_json(answer)
    sys.exit(code)


@commands.command("doctor")
def doctor_command(as_json: AsJson = False) -> None:
    """Checks every connection, permission and clock, and says what to do where one does not hold."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        checks = portal.edges.doctor.checks()
    show_checks(checks, as_json=as_json)
    sys.exit(DONE if all(check.ok for check in checks) else FAILED)


@commands.command("sandbox")
def sandbox_command(
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where to keep its data; else a temporary one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Runs a sandbox without the portal, for trying the commands, until it is interrupted."""
    from tfpilot.sandbox.run import Sandbox

    with failures_shown(as_json=False), Sandbox(directory) as sandbox:
        _announce(sandbox.environment_file, as_json=as_json)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            show("The sandbox is going down.")


def _announce(environment_file: Path, *, as_json: bool) -> None:
    if as_json:
        show_json({"environmentFile": str(environment_file)})
        return
    show(f"The sandbox is up. In another terminal: . {environment_file}")
    show("Then try: python -m tfpilot requests list --stuck")
