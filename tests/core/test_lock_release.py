"""What must hold before a lock is released, guard by guard, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW
from tests.core.reset_world import PLAIN
from tests.core.test_state_locks import held, info, over, reading, run, stored, verdict
from tfpilot.core.lock_release import (
    APART,
    GuardState,
    KeptLock,
    LockRecord,
    PartOutcome,
    PartResult,
    Permission,
    Released,
    ReleaseGuard,
    check_release,
    record_fields,
    release_guards,
    risk_of,
)
from tfpilot.core.reset_steps import Place, Store
from tfpilot.core.state_locks import JudgedLock, LockVerdict
from tfpilot.core.terraform import LockMode, MalformedLock
from tfpilot.errors import RefusedError

DEAD = verdict(info(), over())
FIRST = reading(LockMode.LOCKFILE, stored(info()))
SECOND = replace(FIRST, at=FIRST.at + APART)
FILE = Place(Store.STATE_BUCKET, f"{PLAIN.object_key}.tflock")


def states(judged: JudgedLock = DEAD, **changes: Any) -> dict[ReleaseGuard, GuardState]:
    given: dict[str, Any] = {
        "first": FIRST,
        "second": SECOND,
        "typed": judged.lock.handle,
        "reason": "its runner is gone",
        "permission": Permission(),
        **changes,
    }
    return {line.guard: line.state for line in release_guards(judged, **given)}


def test_everything_holds_for_a_dead_lock_that_was_read_twice_and_typed() -> None:
    assert states() == dict.fromkeys(ReleaseGuard, GuardState.PASSED)


@pytest.mark.parametrize(
    ("changes", "guard", "state"),
    [
        ({"first": None}, ReleaseGuard.READINGS, GuardState.OPEN),
        ({"second": None}, ReleaseGuard.READINGS, GuardState.OPEN),
        ({"second": replace(SECOND, at=SECOND.at - timedelta(milliseconds=1))}, ReleaseGuard.READINGS, GuardState.OPEN),
        ({"second": reading(LockMode.LOCKFILE, stored(info(), "v2"), at=SECOND.at)}, ReleaseGuard.READINGS,
         GuardState.REFUSED),
        ({"second": reading(LockMode.LOCKFILE, None, at=SECOND.at)}, ReleaseGuard.READINGS, GuardState.REFUSED),
        ({"first": replace(FIRST, object_key="another")}, ReleaseGuard.READINGS, GuardState.REFUSED),
        ({"permission": Permission(role="lena is an approver")}, ReleaseGuard.ROLE, GuardState.REFUSED),
        ({"permission": Permission(writing="the portal is frozen")}, ReleaseGuard.WRITING, GuardState.REFUSED),
        ({"typed": ""}, ReleaseGuard.TYPED, GuardState.OPEN),
        ({"typed": DEAD.lock.handle[:-1]}, ReleaseGuard.TYPED, GuardState.REFUSED),
        ({"typed": f" {DEAD.lock.handle}"}, ReleaseGuard.TYPED, GuardState.REFUSED),
        ({"typed": DEAD.lock.handle.upper()}, ReleaseGuard.TYPED, GuardState.REFUSED),
        ({"reason": "  "}, ReleaseGuard.REASON, GuardState.OPEN),
    ],
)  # fmt: skip
def test_each_guard_says_no_by_itself(changes: dict[str, Any], guard: ReleaseGuard, state: GuardState) -> None:
    assert states(**changes) == dict.fromkeys(ReleaseGuard, GuardState.PASSED) | {guard: state}
    given = {"first": FIRST, "second": SECOND, "typed": DEAD.lock.handle, "reason": "gone", "permission": Permission()}
    with pytest.raises(RefusedError, match=guard.value):
        check_release(DEAD, release_guards(DEAD, **{**given, **changes}))


def test_a_live_lock_is_refused_whatever_else_holds() -> None:
    live = verdict(info(), run())
    assert states(live)[ReleaseGuard.RUN] is GuardState.REFUSED


@pytest.mark.parametrize(
    "judged", [verdict(info(who="lena@laptop-17")), verdict(MalformedLock("The lock is empty", ""))]
)
def test_what_nobody_can_know_is_the_persons_risk_and_stops_nothing(judged: JudgedLock) -> None:
    expected = dict.fromkeys(ReleaseGuard, GuardState.PASSED) | {ReleaseGuard.RUN: GuardState.AT_RISK}
    assert states(judged) == expected


def test_each_verdict_has_words_for_its_risk() -> None:
    assert len({risk_of(each) for each in LockVerdict}) == len(LockVerdict)


def record(*kept: KeptLock) -> LockRecord:
    return LockRecord("20260302-120030-ab", DEAD, "tfstate-dev", "", kept, "ops-lead", "gone", NOW, NOW + APART)


def test_a_record_tells_what_was_removed_by_whom_and_why() -> None:
    assert record_fields(record(KeptLock(FILE, b'{"ID":"6b0f3c1e"}'))) == {
        "recordId": "20260302-120030-ab",
        "target": "payments-dev",
        "stateBucket": "tfstate-dev",
        "lockTable": "",
        "key": PLAIN.object_key,
        "lockId": "6b0f3c1e",
        "places": [{"store": "state bucket", "key": FILE.key, "text": '{"ID":"6b0f3c1e"}'}],
        "verdict": "dead",
        "evidence": list(DEAD.evidence),
        "runs": [731],
        "requests": [],
        "releasedBy": "ops-lead",
        "reason": "gone",
        "firstReadingAt": "2026-03-02T12:00:00.000Z",
        "at": "2026-03-02T12:00:30.000Z",
    }


def test_bytes_that_are_no_text_are_kept_as_they_are_and_an_item_with_all_its_attributes() -> None:
    item = {"LockID": {"S": "bucket/key"}, "note": {"S": "by hand"}}
    file, table = record_fields(record(KeptLock(FILE, b"\xff"), KeptLock(FILE, item)))["places"]
    assert (file["base64"], table["item"]) == ("/w==", item)


@pytest.mark.parametrize(
    ("outcomes", "is_free"),
    [
        ((PartOutcome.REMOVED, PartOutcome.REMOVED), True),
        ((PartOutcome.REMOVED, PartOutcome.GONE), True),
        ((PartOutcome.REMOVED, PartOutcome.TAKEN), False),
    ],
)
def test_it_is_free_where_nobody_else_holds_one_of_its_places(outcomes: tuple[PartOutcome, ...], is_free) -> None:
    released = Released(record(), "ops/backups/locks/x.json", tuple(PartResult(FILE, each) for each in outcomes))
    assert released.is_free is is_free


def test_the_lock_of_a_malformed_place_is_kept_without_an_id() -> None:
    judged = verdict(MalformedLock("The lock is empty", ""))
    assert record_fields(replace(record(), judged=judged))["lockId"] is None
    assert held(MalformedLock("The lock is empty", "")).handle == FILE.key
