"""`freeze`: stopping all writing, and lifting that."""

from __future__ import annotations

from typing import Annotated

import typer

from tfpilot.cli.output import failures_shown, show, show_json
from tfpilot.cli.portal import command_portal, operator_of
from tfpilot.core.document import format_time
from tfpilot.core.freeze import FreezeNotice, notice_fields
from tfpilot.operations.freezing import find_freeze, freeze_portal, lift_freeze

freeze = typer.Typer(no_args_is_help=True, help="Stop all writing by every door, and lift that.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; everybody reads it on every page.")]


@freeze.command("show")
def show_command(as_json: AsJson = False) -> None:
    """Says whether the portal is frozen, by whom and why."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        notice = find_freeze(portal.edges)
    _show(notice, as_json=as_json)


@freeze.command("set")
def set_command(reason: Reason, as_json: AsJson = False) -> None:
    """Freezes the portal: from now on every write is refused. Takes an admin."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        notice = freeze_portal(portal.edges, reason=reason, operator=operator_of(portal))
    _show(notice, as_json=as_json)


@freeze.command("lift")
def lift_command(as_json: AsJson = False) -> None:
    """Lifts the freeze. Takes an admin."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        lifted = lift_freeze(portal.edges, operator=operator_of(portal))
    if as_json:
        show_json({"frozen": False, "lifted": lifted and notice_fields(lifted)})
        return
    show("The portal was not frozen." if lifted is None else f"Lifted. It was frozen by {lifted.by}: {lifted.reason}")


def _show(notice: FreezeNotice | None, *, as_json: bool) -> None:
    if as_json:
        show_json({"frozen": notice is not None, "notice": notice and notice_fields(notice)})
    elif notice is None:
        show("The portal is not frozen.")
    else:
        since = format_time(notice.at) if notice.at is not None else "a time that cannot be read"
        show(f"Frozen by {notice.by} since {since}: {notice.reason}")
