"""`locks`: Terraform locks of the reset targets, who holds them, and releasing one by hand."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tfpilot.cli.output import DONE, FAILED, failures_shown, show, show_json
from tfpilot.cli.portal import command_portal, operator_of
from tfpilot.core.document import format_time
from tfpilot.core.lock_answers import lock_answer, reading_answer, released_answer
from tfpilot.core.lock_release import APART, Released
from tfpilot.core.state_locks import JudgedLock, LockReading
from tfpilot.core.terraform import LockInfo
from tfpilot.errors import TfPilotError
from tfpilot.log import log_lock_refusal, log_lock_release
from tfpilot.operations.locks import LockList, StateLocks, begin_release, get_lock, list_locks, release_lock

locks = typer.Typer(no_args_is_help=True, help="Look at Terraform locks, and release one that nobody gives back.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
Target = Annotated[str, typer.Argument(metavar="TARGET", help="The name of a reset target.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key of the state, its workspace included.")]
LockId = Annotated[
    str, typer.Option("--lock-id", help="The id of the lock; of a malformed one, the exact key of its place.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept with what was removed.")]


@locks.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Lists the locks of every target, worst first. Exits 1 where one could not be read."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        found = list_locks(portal.edges)
    _show_list(found, as_json=as_json)
    sys.exit(FAILED if found.unread else DONE)


@locks.command("show")
def show_command(target: Target, key: Key, as_json: AsJson = False) -> None:
    """Shows who holds the lock of one state, since when, and what tells whether that still works."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        found = get_lock(portal.edges, target, key)
    _show_state(found, as_json=as_json)


@locks.command("unlock")
def unlock_command(target: Target, key: Key, lock_id: LockId, reason: Reason, as_json: AsJson = False) -> None:
    """Releases exactly that lock. Reads it twice, half a minute apart, and keeps a record of what is removed."""
    with failures_shown(as_json=as_json), command_portal() as portal:
        edges, operator = portal.edges, operator_of(portal)
        try:
            first = begin_release(edges, target, key, typed=lock_id, reason=reason, operator=operator)
            if not as_json:
                _show_first(first)
            edges.sleep(APART)
            released = release_lock(edges, target, key, first=first, typed=lock_id, reason=reason, operator=operator)
        except TfPilotError as error:
            log_lock_refusal(target, key, operator, error.message)
            raise
        log_lock_release(released, operator)
    _show_released(first, released, as_json=as_json)
    sys.exit(DONE if released.is_free else FAILED)


def _show_list(found: LockList, *, as_json: bool) -> None:
    if as_json:
        unread = [
            {"target": each.target, "keys": list(each.object_keys), "error": each.error.message,
             "hint": each.error.hint}
            for each in found.unread
        ]  # fmt: skip
        show_json({
            "locks": [lock_answer(each) for each in found.locks],
            "unread": unread,
            "free": found.free,
            "targets": found.targets,
            "notices": list(found.notices),
            "at": format_time(found.at),
        })  # fmt: skip
        return
    for each in found.unread:
        show(f"unread     {each.target}  {', '.join(each.object_keys)}: {each.error.message}")
    for judged in found.locks:
        _show_lock(judged)
    for notice in found.notices:
        show(notice)
    show(f"{len(found.locks)} locks of {found.targets} targets; {found.free} further state keys are free")


def _show_state(found: StateLocks, *, as_json: bool) -> None:
    if as_json:
        show_json({
            "locks": [lock_answer(each) for each in found.locks],
            "reading": reading_answer(found.reading),
            "notices": list(found.notices),
        })  # fmt: skip
        return
    for judged in found.locks:
        _show_lock(judged)
        show(f"           places: {', '.join(str(part.place) for part in judged.lock.parts)}")
        told = f"not here: {judged.refusal}" if judged.refusal else f"--lock-id {judged.lock.handle}"
        show(f"           release: {told}")
    if not found.locks:
        show(f"{found.target.name} {found.reading.object_key} is free")
    for notice in found.notices:
        show(notice)


def _show_lock(judged: JudgedLock) -> None:
    lock = judged.lock
    since = format_time(lock.created) if lock.created else "since an unknown time"
    who = f"{lock.lock.who or 'nobody named'}, {lock.lock.operation}" if isinstance(lock.lock, LockInfo) else "unknown"
    show(f"{judged.verdict.value:9}  {lock.target}  {lock.object_key}  {lock.handle}  {since}  {who}")
    for evidence in judged.evidence:
        show(f"           {evidence}")
    for holder in judged.runs:
        owner = f" of {holder.request_id}" if holder.request_id else ""
        show(f"           {holder.told}{owner}: {holder.run.fact.html_url or 'no address'}")


def _show_first(first: LockReading) -> None:
    seen = sum(each.stored is not None for each in first.places)
    show(f"First reading at {format_time(first.at)}: {seen} of {len(first.places)} places held")
    show(f"The second follows in {int(APART.total_seconds())} s; both must be equal")


def _show_released(first: LockReading, released: Released, *, as_json: bool) -> None:
    if as_json:
        show_json({**released_answer(released), "firstReading": reading_answer(first)})
        return
    for part in released.parts:
        show(f"{part.outcome.value:10}  {part.place}")
    show(f"What stood there is in {released.record_key}")
