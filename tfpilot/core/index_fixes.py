"""What may be done about the run index: single steps, each with the version that it may touch, and the plan of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class FixKind(StrEnum):
    """What a step does to one key of the run index, by the words a person reads."""

    BACKFILL = "write the missing entry"
    REMOVE = "remove the entry"
    RESTORE = "write the earlier entry again"


class MustHold(StrEnum):
    """What is looked at once more, right before the step."""

    NO_SUCH_REQUEST = "the request is neither active nor archived"
    NOBODY_WAITS = "the request does not wait for the run"
    STILL_TRACKED = "the request still tracks the run"
    NOTHING = "nothing but the version of the object"


@dataclass(frozen=True, slots=True)
class IndexFix:
    """One step. `etag`: the version that it may replace or remove, empty where nothing may be there.

    `content` is what is written, None for a removal. `request_id` is whom `must_hold` speaks of, empty where nobody.
    `environments` are those of the requests concerned: the operator needs the right in each.
    """

    code: str
    kind: FixKind
    key: str
    etag: str
    content: bytes | None
    request_id: str
    must_hold: MustHold
    environments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FixPlan:
    """What an operator confirms: the steps in order, and a digest that is another one where any of it differs."""

    fixes: tuple[IndexFix, ...]
    planned_at: datetime
    digest: str


class FixOutcome(StrEnum):
    """What became of one step, by the words a person reads."""

    DONE = "done"
    CHANGED = "changed meanwhile"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FixResult:
    """One step and what became of it; `reason` says why where it was not done."""

    key: str
    kind: FixKind
    code: str
    outcome: FixOutcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FixReport:
    """What a fix, or its undo, came to, one result per step. `fix_id` names it for the undo."""

    fix_id: str
    results: tuple[FixResult, ...]

    @property
    def has_failures(self) -> bool:
        return any(result.outcome is not FixOutcome.DONE for result in self.results)


@dataclass(frozen=True, slots=True)
class FixStep:
    """One step as the journal keeps it.

    `before`: what was stored, None where nothing was. `left`: the ETag that the step left, empty for a removal; None
    where the journal does not say that the step was carried out. `undone`: it was taken back.
    """

    number: int
    fix: IndexFix
    before: bytes | None = None
    left: str | None = None
    undone: bool = False


@dataclass(frozen=True, slots=True)
class FixRecord:
    """A fix as the journal keeps it: who did it, when, and each step in order."""

    fix_id: str
    operator: str
    at: datetime
    digest: str
    steps: tuple[FixStep, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexMark:
    """That a finding, told apart by its code and key, is ignored or not any more: who said so, when and why."""

    code: str
    key: str
    ignored: bool
    reason: str
    by: str
    at: datetime


_DIGEST_LENGTH: Final = 16


def make_plan(fixes: Iterable[IndexFix], *, now: datetime) -> FixPlan:
    """The steps as a plan: one per key, in order of the keys."""
    by_key: dict[str, IndexFix] = {}
    for fix in fixes:
        by_key.setdefault(fix.key, fix)
    ordered = tuple(by_key[key] for key in sorted(by_key))
    return FixPlan(ordered, now, digest_of(ordered))


def digest_of(fixes: Iterable[IndexFix]) -> str:
    """Tells two plans apart."""
    told = [
        [fix.code, fix.kind.value, fix.key, fix.etag, (fix.content or b"").hex(), fix.request_id, fix.must_hold.value]
        for fix in fixes
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:_DIGEST_LENGTH]
