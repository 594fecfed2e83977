"""Releasing one lock: what was seen, the checklist, and the button that removes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import streamlit as st

from tfpilot.core.lock_release import (
    GuardLine,
    GuardState,
    Permission,
    ReleaseGuard,
    release_guards,
    risk_of,
)
from tfpilot.core.reset_steps import Store
from tfpilot.core.state_locks import HeldPart, JudgedLock, LockReading, same_places
from tfpilot.core.terraform import LockInfo
from tfpilot.edges import Edges
from tfpilot.ui import locks_acts, locks_address, locks_table, shell, tables, words
from tfpilot.ui.locks_address import address_of
from tfpilot.ui.locks_desk import Attempt, LocksDesk
from tfpilot.ui.looks import Look

_EVERY_SECOND: Final = timedelta(seconds=1)
_STATES: Final = {
    GuardState.PASSED: Look("Passed", "green", "check"),
    GuardState.AT_RISK: Look("Your risk", "orange", "warning"),
    GuardState.OPEN: Look("Open", "gray", "hourglass_empty"),
    GuardState.REFUSED: Look("Refused", "red", "block"),
}
_NEXT: Final = {
    ReleaseGuard.TYPED: "Type the lock id first.",
    ReleaseGuard.REASON: "Give a reason first.",
}
_STORES: Final = {Store.STATE_BUCKET: "lockfile", Store.LOCK_TABLE: "lock item"}


def show(edges: Edges, desk: LocksDesk, judged: JudgedLock) -> None:
    """The expander of one lock. Opening it makes the first reading."""
    lock = judged.lock
    address, slug = address_of(lock.target, lock.object_key), slug_of(judged)
    key = f"locks_{slug}"
    st.session_state[key] = locks_address.opened() == address
    box = st.expander(
        f"Release the lock of {locks_table.state_of(lock.target, lock.object_key)}",
        key=key,
        icon=":material/lock_reset:",
        on_change=locks_address.turn,
        args=(address, key),
    )
    if not box.open:
        return
    with box:
        attempt = locks_acts.prepare(edges, desk, lock.target, lock.object_key, operator=shell.operator())
        _show_attempt(edges, desk, attempt, judged, slug=slug)


def slug_of(judged: JudgedLock) -> str:
    """What the keys of one lock's widgets have in common."""
    lock = judged.lock
    told = f"{lock.target} {lock.object_key} {lock.handle}".encode(errors="surrogatepass")
    return hashlib.sha256(told).hexdigest()[:12]


def _show_attempt(edges: Edges, desk: LocksDesk, attempt: Attempt, listed: JudgedLock, *, slug: str) -> None:
    judged = _newest(attempt, listed)
    left, right = st.columns((19, 16), gap="medium")
    with left:
        _show_risk(judged)
        _show_seen(attempt, judged, edges.clock())
        for reading in attempt.readings:
            if reading.error is not None:
                shell.show_error(reading.error, title="The lock could not be read")
    with right:
        guards = st.container()
        typed = st.text_input(
            "Type the lock id to release it" if isinstance(judged.lock.lock, LockInfo) else "Type the key of its place",
            key=f"locks_typed_{slug}",
            placeholder=f"{words.visible(judged.lock.handle)[:8]}…",
            max_chars=1024,
            autocomplete="off",
        )
        reason = st.text_input("Reason", key=f"locks_reason_{slug}", max_chars=500, autocomplete="off")
        lines = _lines(attempt, judged, typed=typed, reason=reason)
        with guards:
            tables.show(
                [{"Guard": _STATES[line.state].badge, "What it checks": _told(line)} for line in lines],
                alt=f"Guards of the release: {sum(not line.stops for line in lines)} of {len(lines)} let it go on",
            )
        _show_acts(edges, desk, attempt, lines, typed=typed, reason=reason, slug=slug)


def _newest(attempt: Attempt, listed: JudgedLock) -> JudgedLock:
    """The lock by the second reading, which asked GitHub again; as the list has it where there is none yet."""
    seen = attempt.second.value.locks if attempt.second.value else ()
    return next((each for each in seen if each.lock.handle == listed.lock.handle), listed)


def _lines(attempt: Attempt, judged: JudgedLock, *, typed: str, reason: str) -> Sequence[GuardLine]:
    first, second = attempt.first.value, attempt.second.value
    return release_guards(
        judged,
        first=first.reading if first else None,
        second=second.reading if second else None,
        typed=typed,
        reason=reason,
        permission=first.permission if first else Permission(),
    )


def _show_risk(judged: JudgedLock) -> None:
    if judged.refusal:
        told = words.plain(words.sentence(judged.refusal))
        st.markdown(f":red-badge[:material/block: Refused] This lock is not released here. {told}")
    else:
        st.markdown(f"{risk_of(judged.verdict)} **This cannot be undone.**")


def _show_seen(attempt: Attempt, judged: JudgedLock, now: datetime) -> None:
    lock = judged.lock
    first = attempt.first.value.reading if attempt.first.value else None
    second = attempt.second.value.reading if attempt.second.value else None
    rows = [
        ("Lock id", words.code(lock.handle, longest=200) if isinstance(lock.lock, LockInfo) else "not readable"),
        ("Lock mode", f"{lock.mode}: {', '.join(_place(part) for part in lock.parts)}"),
        ("Held by", f"{locks_table.holder_of(judged)}, since {locks_table.since_of(judged, now)}"),
    ]
    if not isinstance(lock.lock, LockInfo):
        stored = lock.lock.text
        rows.append(("Stored text", "none" if stored is None else words.code(stored, longest=200) or "empty"))
    rows += [("Evidence", words.plain(words.sentence(told))) for told in judged.evidence]
    rows.append(("First reading", _reading(first, judged)))
    if first is not None and second is not None:
        same = "the same" if same_places(first, second) else "changed"
        rows.append(("Second reading", f"{_reading(second, judged)}, **{same}**"))
    tables.show([{"What": what, "Seen": seen} for what, seen in rows], alt="What was seen of the lock")


def _place(part: HeldPart) -> str:
    return f"{_STORES[part.place.store]} {words.code(part.place.key, longest=120)}"


def _reading(reading: LockReading | None, judged: JudgedLock) -> str:
    """The time, and the version of each place that the lock occupies."""
    if reading is None:
        return "under way"
    versions = []
    for seen in reading.places:
        if seen.place not in {part.place for part in judged.lock.parts}:
            continue
        if seen.stored is None:
            versions.append(f"{_STORES[seen.place.store]} free")
        elif seen.place.store is Store.STATE_BUCKET:
            versions.append(f"ETag {_short(seen.stored.version or '')}")
        else:
            versions.append(f"item {_short(_digest(seen.stored.version))}")
    return f"{reading.at:%H:%M:%S} UTC, {', '.join(versions)}"


def _digest(text: str | None) -> str:
    """An item has no ETag: what stands in it is told apart by its SHA-256."""
    return "without Info" if text is None else hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _short(version: str) -> str:
    return words.code(f"{version[:4]}…{version[-4:]}" if len(version) > 12 else version)


def _told(line: GuardLine) -> str:
    """The guard; where it did not simply pass, why."""
    if line.state is GuardState.PASSED:
        return line.guard.value
    return f"{line.guard.value}: {words.plain(line.why)}"


def _show_acts(
    edges: Edges,
    desk: LocksDesk,
    attempt: Attempt,
    lines: Sequence[GuardLine],
    *,
    typed: str,
    reason: str,
    slug: str,
) -> None:
    first = attempt.first.value
    stopping = [line for line in lines if line.stops]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Release this lock",
            key=f"locks_{slug}_fire",
            icon=":material/lock_open:",
            disabled=bool(stopping) or first is None or desk.is_busy,
            on_click=_release,
            args=(edges, desk, attempt, typed, reason),
        )
        if _has_failed(attempt, lines):
            st.button(
                "Read it twice again",
                key=f"locks_again_{slug}",
                icon=":material/restart_alt:",
                on_click=locks_acts.begin_again,
                args=(desk, attempt.target, attempt.object_key),
            )
        _show_why(edges, attempt, stopping, is_busy=desk.is_busy)


def _has_failed(attempt: Attempt, lines: Sequence[GuardLine]) -> bool:
    """Whether these two readings cannot come to a release any more."""
    refused = any(line.guard is ReleaseGuard.READINGS and line.state is GuardState.REFUSED for line in lines)
    return refused or any(reading.error is not None for reading in attempt.readings)


def _show_why(edges: Edges, attempt: Attempt, stopping: Sequence[GuardLine], *, is_busy: bool) -> None:
    """Why the button cannot be pressed: what refuses it first, then what is still to come."""
    if is_busy:
        st.markdown("Releasing: the lock and GitHub are looked at once more.", width="content")
        return
    line = next((line for line in stopping if line.state is GuardState.REFUSED), stopping[0] if stopping else None)
    if line is None:
        st.markdown("It is looked at once more and kept first.", width="content")
    elif line.guard is ReleaseGuard.READINGS and line.state is GuardState.OPEN:
        _show_countdown(edges, attempt)
    elif line.state is GuardState.OPEN and line.guard in _NEXT:
        st.markdown(_NEXT[line.guard], width="content")
    else:
        st.markdown(words.plain(words.sentence(line.why)), width="content")


def _show_countdown(edges: Edges, attempt: Attempt) -> None:
    """How long until the second reading. Asks for a new page when it is due."""

    @st.fragment(run_every=_EVERY_SECOND)
    def tick() -> None:
        due = attempt.second_due_at
        if due is None:
            st.markdown(_reading_now(attempt), width="content")
            return
        left = due - edges.clock()
        if left <= timedelta(0):
            st.rerun()
        st.markdown(f"Second reading in {words.lasting(left + _EVERY_SECOND)}.", width="content")

    tick()


def _reading_now(attempt: Attempt) -> str:
    if any(reading.error is not None for reading in attempt.readings):
        return "Without two readings nothing is released."
    return "Reading the lock a second time." if attempt.second.is_busy else "Reading the lock."


def _release(edges: Edges, desk: LocksDesk, attempt: Attempt, typed: str, reason: str) -> None:
    if attempt.first.value is None:
        return
    first = attempt.first.value.reading
    locks_acts.begin_release(edges, desk, shell.operator(), first=first, typed=typed, reason=reason)
