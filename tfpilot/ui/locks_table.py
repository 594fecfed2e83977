"""The table of Terraform's locks: worst first, then what could not be read is not hidden either."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import streamlit as st

from tfpilot.core.state_locks import HolderRun, JudgedLock, LockVerdict
from tfpilot.core.terraform import LockInfo
from tfpilot.operations.locks import LockList, UnreadLocks
from tfpilot.ui import links, shell, tables, words
from tfpilot.ui.looks import Look
from tfpilot.ui.reset_address import link_to_reset

VERDICTS: Final[Mapping[LockVerdict, Look]] = {
    LockVerdict.DEAD: Look("Dead", "red", "cancel"),
    LockVerdict.MALFORMED: Look("Malformed", "orange", "broken_image"),
    LockVerdict.UNKNOWN: Look("Unknown", "orange", "help"),
    LockVerdict.LIVE: Look("Live", "green", "play_circle"),
}
_UNREAD: Final = Look("Not read", "red", "cloud_off")
_OPERATION: Final = "OperationType"


def show(found: LockList, now: datetime) -> None:
    """A row per lock, after a row per target that could not be read; then how many states are free."""
    rows = [_unread_cells(each) for each in found.unread] + [_cells(each, now) for each in found.locks]
    alt = f"Terraform locks, worst first: {words.counted(len(found.locks), 'lock')}"
    if found.unread:
        alt = f"{alt}; {words.counted(len(found.unread), 'target')} could not be read"
    tables.show(rows, alt=alt)
    for notice in found.notices:
        st.markdown(f":small[:material/info: {words.plain(words.sentence(notice))}]")
    st.markdown(
        f":small[{words.counted(found.free, 'further state key is', 'further state keys are')} free. "
        "A live lock cannot be released here. Where the verdict is not *dead*, release stays possible for an admin, "
        "with the same care and a reason.]"
    )


def state_of(target: str, object_key: str) -> str:
    """A state as cells and labels name it."""
    return f"**{words.plain(target)}** {words.code(object_key)}"


def holder_of(judged: JudgedLock) -> str:
    """Who holds it, and for what."""
    lock = judged.lock.lock
    if not isinstance(lock, LockInfo):
        return "not readable"
    doing = lock.operation.removeprefix(_OPERATION)
    doing = doing.lower() if doing != lock.operation else doing
    return words.plain(", ".join(part for part in (lock.who or "nobody named", doing) if part))


def _cells(judged: JudgedLock, now: datetime) -> Mapping[str, str]:
    return {
        "Verdict": VERDICTS[judged.verdict].badge,
        "Target and state": state_of(judged.lock.target, judged.lock.object_key),
        "Held by": holder_of(judged),
        "Since (UTC)": since_of(judged, now),
        "Run and request": _runs(judged),
        "Evidence": " · ".join(words.plain(told) for told in judged.evidence),
    }


def _unread_cells(unread: UnreadLocks) -> Mapping[str, str]:
    keys = ", ".join(words.code(key) for key in unread.object_keys)
    return {
        "Verdict": _UNREAD.badge,
        "Target and state": f"**{words.plain(unread.target)}** {keys}",
        "Held by": "not known",
        "Since (UTC)": "not known",
        "Run and request": words.NOTHING,
        "Evidence": words.plain(f"{words.sentence(unread.error.message)} {unread.error.hint}".strip()),
    }


def since_of(judged: JudgedLock, now: datetime) -> str:
    """The time it was taken, and how long ago that is."""
    created = judged.lock.created
    return f"{words.clock_time(created, now)}, {words.lasting(now - created)}" if created else "unknown"


def _runs(judged: JudgedLock) -> str:
    if judged.reset_id:
        return f"[reset {words.plain(judged.reset_id)}]({link_to_reset(judged.reset_id)})"
    return ", ".join(_run(holder) for holder in judged.runs) or "no run"


def _run(holder: HolderRun) -> str:
    run = links.link(str(holder.run.fact.run_id), holder.run.fact.html_url)
    if not holder.request_id:
        return run
    return f"{run} of [{words.plain(holder.request_id)}]({shell.request_link(holder.request_id)})"
