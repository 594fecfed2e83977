"""Every write is recorded before and after, every refusal once; what cannot be recorded is not begun."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import NOW
from tests.fakes import OUTAGE, InMemory
from tfpilot.core.audit import Part
from tfpilot.core.deeds import DESTRUCTIVE, GROUP_OF, Deed
from tfpilot.core.freeze import FreezeNotice
from tfpilot.core.model import Door, Operator, Role
from tfpilot.core.roles import Right
from tfpilot.errors import (
    ConflictError,
    DocumentError,
    FrozenError,
    MissingRightError,
    RefusedError,
    StorageError,
    TfPilotError,
)
from tfpilot.operations.acting import act
from tfpilot.operations.freezing import find_freeze, freeze_portal, lift_freeze
from tfpilot.operations.rights import check_may, find_refusal

ADMIN = Operator("ops-lead", Role.ADMIN, Door.COMMAND)
DEVELOPER = Operator("maya-k", Role.DEVELOPER, Door.HTTP)
SYSTEM = Operator("system", Role.SYSTEM)


def test_what_was_done_has_an_intent_before_and_an_outcome_that_names_it(memory: InMemory):
    with act(memory.edges, DEVELOPER, Deed.REPAIR, "req_dev_a") as deed:
        assert memory.audit.records == []
        deed.begin(before="etag-1")
        assert memory.audit.told() == [("intent", "repair", "req_dev_a")]
        deed.tell(after="etag-2")
    intent, outcome = memory.audit.records
    assert (outcome.event.part, outcome.event.of) == (Part.DONE, intent.id)
    assert (intent.event.data, outcome.event.data) == ({"before": "etag-1"}, {"after": "etag-2"})
    assert (outcome.event.actor, outcome.event.role, outcome.event.door) == ("maya-k", "developer", Door.HTTP)


def test_what_turned_out_to_need_no_write_leaves_no_record(memory: InMemory):
    with act(memory.edges, DEVELOPER, Deed.SYNC, "req_dev_a"):
        pass
    assert memory.audit.records == []


@pytest.mark.parametrize("failure", [RefusedError("no"), MissingRightError("no"), ConflictError("no")])
def test_a_refusal_is_recorded_once_with_its_reason_and_goes_on(memory: InMemory, failure: TfPilotError):
    with pytest.raises(type(failure)), act(memory.edges, DEVELOPER, Deed.RESET, "core-dev"):
        raise failure
    assert memory.audit.told() == [("refused", "reset", "core-dev")]
    assert memory.audit.records[0].event.reason == "no"


@pytest.mark.parametrize("failure", [StorageError("gone"), DocumentError("gone"), ValueError("gone")])
def test_a_failure_is_an_outcome_only_of_what_began(memory: InMemory, failure: Exception):
    with pytest.raises(type(failure)), act(memory.edges, DEVELOPER, Deed.REPAIR, "req_dev_a"):
        raise failure
    assert memory.audit.records == []

    def begin_and_fail() -> None:
        with act(memory.edges, DEVELOPER, Deed.REPAIR, "req_dev_a") as deed:
            deed.begin()
            raise failure

    with pytest.raises(type(failure)):
        begin_and_fail()
    assert [part for part, _, _ in memory.audit.told()] == ["intent", "failed"]


def test_what_the_portal_itself_may_not_do_now_is_no_news(memory: InMemory):
    for failure in (FrozenError("frozen"), ConflictError("lost")):
        with pytest.raises(type(failure)), act(memory.edges, SYSTEM, Deed.SYNC, "req_dev_a"):
            raise failure
    assert memory.audit.records == []


@pytest.mark.parametrize("kind", list(Deed))
def test_nothing_begins_that_cannot_be_recorded(memory: InMemory, kind: Deed):
    memory.audit.failing = OUTAGE
    done = []

    def carry_out() -> None:
        with act(memory.edges, ADMIN, kind, "core-dev") as deed:
            deed.begin()
            done.append(kind)

    with pytest.raises(StorageError, match="Nothing was done, since it could not be recorded"):
        carry_out()
    assert done == []


@pytest.mark.parametrize("kind", list(Deed))
def test_an_outcome_that_cannot_be_recorded_is_told_where_something_was_removed(memory: InMemory, kind: Deed):
    def carry_out() -> None:
        with act(memory.edges, ADMIN, kind, "core-dev") as deed:
            deed.begin()
            memory.audit.failing = OUTAGE

    if kind in DESTRUCTIVE:
        with pytest.raises(StorageError, match="It is done, but that could not be recorded"):
            carry_out()
    else:
        carry_out()
    assert memory.audit.told() == [("intent", kind.value, "core-dev")]


def test_every_deed_can_be_looked_for():
    assert set(GROUP_OF) == set(Deed)


# Freeze and read-only


def test_a_freeze_stops_every_right_but_reading_lifting_and_the_audit(memory: InMemory):
    edges = memory.edges
    assert freeze_portal(edges, reason=" S3 incident ", operator=ADMIN) == FreezeNotice("ops-lead", "S3 incident", NOW)
    may = {Right.READ, Right.FREEZE, Right.EXPORT_AUDIT}
    for right in Right:
        refusal = find_refusal(edges, ADMIN, right, environment="dev")
        if right in may:
            check_may(edges, ADMIN, right, environment="dev")
            assert refusal is None
        else:
            with pytest.raises(FrozenError, match="frozen by ops-lead: S3 incident"):
                check_may(edges, ADMIN, right, environment="dev")
            assert isinstance(refusal, FrozenError)
    lifted = lift_freeze(edges, operator=ADMIN)
    assert lifted is not None
    assert lifted.reason == "S3 incident"
    for right in Right:
        check_may(edges, ADMIN, right, environment="dev")
    assert memory.audit.told() == [
        ("intent", "freeze", "portal"),
        ("done", "freeze", "portal"),
        ("intent", "lift freeze", "portal"),
        ("done", "lift freeze", "portal"),
    ]


def test_only_an_admin_freezes_and_lifts_and_a_refusal_names_the_right(memory: InMemory):
    with pytest.raises(MissingRightError, match="freeze the portal"):
        freeze_portal(memory.edges, reason="why not", operator=DEVELOPER)
    freeze_portal(memory.edges, reason="incident", operator=ADMIN)
    with pytest.raises(MissingRightError, match="freeze the portal"):
        lift_freeze(memory.edges, operator=replace(DEVELOPER, role=Role.APPROVER))
    assert find_freeze(memory.edges) is not None
    assert [part for part, _, _ in memory.audit.told()].count("refused") == 2


def test_a_second_freeze_does_not_take_the_place_of_the_first(memory: InMemory):
    freeze_portal(memory.edges, reason="first", operator=ADMIN)
    with pytest.raises(ConflictError, match="frozen already"):
        freeze_portal(memory.edges, reason="second", operator=ADMIN)
    with pytest.raises(RefusedError, match="No reason"):
        freeze_portal(memory.edges, reason="  ", operator=ADMIN)
    notice = find_freeze(memory.edges)
    assert notice is not None
    assert notice.reason == "first"


def test_a_read_only_portal_refuses_what_a_freeze_does(memory: InMemory):
    memory.rights = replace(memory.rights, read_only=True)
    with pytest.raises(FrozenError, match="TFPILOT_READ_ONLY"):
        check_may(memory.edges, ADMIN, Right.SYNC, environment="dev")
    check_may(memory.edges, ADMIN, Right.READ, environment="dev")


def test_whoever_cannot_tell_whether_it_is_frozen_does_not_write(memory: InMemory):
    memory.bucket.write("ops/freeze.json", b"{")
    with pytest.raises(StorageError, match=r"ops/freeze\.json"):
        check_may(memory.edges, ADMIN, Right.SYNC, environment="dev")
