"""Releasing a Terraform lock by hand: what must hold, and what is kept of it (SPEC §7)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tfpilot.core.document import format_time
from tfpilot.core.model import JsonObject
from tfpilot.core.reset_steps import Place
from tfpilot.core.state_locks import JudgedLock, LockReading, LockVerdict, same_places
from tfpilot.core.terraform import LockInfo
from tfpilot.errors import RefusedError

APART: Final = timedelta(seconds=30)
"""How long a lock must stay as it is: whoever is at work on it releases it, or is seen at GitHub."""


class ReleaseGuard(StrEnum):
    """What must hold before a lock is released, in order, by the words a person reads."""

    READINGS = "Two readings 30 s apart are equal"
    RUN = "GitHub says that the run is over"
    ROLE = "You are admin"
    WRITING = "Writing is allowed"
    TYPED = "The lock id is typed"
    REASON = "A reason is given"


class GuardState(StrEnum):
    """What a guard says. AT_RISK does not stop the release: nobody can know, so the person decides."""

    PASSED = "passed"
    AT_RISK = "your risk"
    OPEN = "open"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class GuardLine:
    """One line of the checklist; `why` is a person's reading of it."""

    guard: ReleaseGuard
    state: GuardState
    why: str

    @property
    def stops(self) -> bool:
        return self.state in {GuardState.OPEN, GuardState.REFUSED}


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether the operator may, and whether the portal writes at all: each empty, or why not."""

    role: str = ""
    writing: str = ""


class PartOutcome(StrEnum):
    """What became of one place of a lock."""

    REMOVED = "removed"
    GONE = "gone already"
    TAKEN = "somebody else's now, left"


@dataclass(frozen=True, slots=True)
class PartResult:
    """One place of a lock, and what became of it."""

    place: Place
    outcome: PartOutcome


@dataclass(frozen=True, slots=True)
class KeptLock:
    """What stands at one place, as it is stored: the bytes of a lockfile, or every attribute of a lock item."""

    place: Place
    content: bytes | JsonObject


@dataclass(frozen=True, slots=True)
class LockRecord:
    """What is kept of a lock before it is released, so that it can be looked at, and put back by hand."""

    record_id: str
    judged: JudgedLock
    bucket: str
    table: str
    kept: tuple[KeptLock, ...]
    operator: str
    reason: str
    first_at: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Released:
    """What a release came to, place by place, and where the record of it is."""

    record: LockRecord
    record_key: str
    parts: tuple[PartResult, ...]

    @property
    def is_free(self) -> bool:
        """Whether nothing of that lock is left, and nobody else holds one of its places."""
        return all(part.outcome is not PartOutcome.TAKEN for part in self.parts)


def risk_of(verdict: LockVerdict) -> str:
    """What a release means for the state, in the words that stand beside the button."""
    return _RISKS[verdict]


def release_guards(
    judged: JudgedLock,
    *,
    first: LockReading | None,
    second: LockReading | None,
    typed: str,
    reason: str,
    permission: Permission,
) -> tuple[GuardLine, ...]:
    """One line per guard, in their order. What was not read or typed yet is open."""
    return (
        _readings(first, second),
        _run(judged),
        _told(ReleaseGuard.ROLE, permission.role, passed="you may release Terraform locks"),
        _told(ReleaseGuard.WRITING, permission.writing, passed="neither frozen nor read-only"),
        _typed(judged, typed),
        GuardLine(ReleaseGuard.REASON, GuardState.PASSED, reason.strip())
        if reason.strip()
        else GuardLine(ReleaseGuard.REASON, GuardState.OPEN, "it is kept with the record"),
    )


def check_release(judged: JudgedLock, lines: Iterable[GuardLine]) -> None:
    """Raises RefusedError, with each guard's own text, unless none of them stops the release."""
    stopping = [line for line in lines if line.stops]
    if stopping:
        told = "; ".join(f"{line.guard}: {line.why}" for line in stopping)
        raise RefusedError(
            f"The lock of {judged.lock.target} {judged.lock.object_key} is not released. {told}", "Nothing was removed."
        )


def record_fields(record: LockRecord) -> JsonObject:
    """A record as it is stored."""
    judged, lock = record.judged, record.judged.lock.lock
    return {
        "recordId": record.record_id,
        "target": judged.lock.target,
        "stateBucket": record.bucket,
        "lockTable": record.table,
        "key": judged.lock.object_key,
        "lockId": lock.id if isinstance(lock, LockInfo) else None,
        "places": [_kept_fields(kept) for kept in record.kept],
        "verdict": judged.verdict.value,
        "evidence": list(judged.evidence),
        "runs": [each.run.fact.run_id for each in judged.runs],
        "requests": [each.request_id for each in judged.runs if each.request_id],
        "releasedBy": record.operator,
        "reason": record.reason,
        "firstReadingAt": format_time(record.first_at),
        "at": format_time(record.at),
    }


_RISKS: Final = {
    LockVerdict.DEAD: "Releasing lets the next Terraform run write this state. If the old run still writes, the state "
    "can be damaged.",
    LockVerdict.UNKNOWN: "Nobody knows whether its holder still works. If Terraform still runs there, it and the next "
    "run write the same state, and the state can be damaged. Ask the holder first.",
    LockVerdict.MALFORMED: "Terraform cannot release a lock that it cannot read, so it blocks every run. If somebody "
    "holds it on purpose, the next run writes this state all the same.",
    LockVerdict.LIVE: "Whoever holds it is at work. Two that write the same state damage it.",
}


def _readings(first: LockReading | None, second: LockReading | None) -> GuardLine:
    guard = ReleaseGuard.READINGS
    if first is None:
        return GuardLine(guard, GuardState.OPEN, "it was not read yet")
    if second is None or second.at - first.at < APART:
        possible = first.at + APART
        return GuardLine(guard, GuardState.OPEN, f"the second reading is possible at {possible:%H:%M:%S} UTC")
    if not same_places(first, second):
        return GuardLine(guard, GuardState.REFUSED, "the lock was changed between them: somebody works with it")
    return GuardLine(guard, GuardState.PASSED, f"{first.at:%H:%M:%S} and {second.at:%H:%M:%S} UTC")


def _run(judged: JudgedLock) -> GuardLine:
    guard = ReleaseGuard.RUN
    if judged.refusal:
        return GuardLine(guard, GuardState.REFUSED, judged.refusal)
    if judged.verdict is LockVerdict.DEAD:
        return GuardLine(guard, GuardState.PASSED, judged.evidence[0])
    if judged.verdict is LockVerdict.MALFORMED:
        return GuardLine(guard, GuardState.AT_RISK, "a lock that cannot be read names no run to ask about")
    return GuardLine(guard, GuardState.AT_RISK, judged.evidence[0])


def _told(guard: ReleaseGuard, refusal: str, *, passed: str) -> GuardLine:
    return GuardLine(guard, GuardState.REFUSED if refusal else GuardState.PASSED, refusal or passed)


def _typed(judged: JudgedLock, typed: str) -> GuardLine:
    guard, handle = ReleaseGuard.TYPED, judged.lock.handle
    if typed == handle:
        return GuardLine(guard, GuardState.PASSED, handle)
    what = "its id" if isinstance(judged.lock.lock, LockInfo) else "the exact key of its place"
    if not typed:
        return GuardLine(guard, GuardState.OPEN, f"type {what}")
    return GuardLine(guard, GuardState.REFUSED, f"{typed[:80]!r} is not {what}")


def _kept_fields(kept: KeptLock) -> JsonObject:
    stored = {"store": kept.place.store.value, "key": kept.place.key}
    if not isinstance(kept.content, bytes):
        return {**stored, "item": kept.content}
    try:
        return {**stored, "text": kept.content.decode("utf-8")}
    except UnicodeDecodeError:
        return {**stored, "base64": base64.b64encode(kept.content).decode("ascii")}
