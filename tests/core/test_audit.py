"""Chains of audit records: what was changed, removed or cut off is found and named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from tfpilot.core.audit import (
    Anchor,
    AuditEvent,
    AuditRecord,
    BrokenLink,
    Flaw,
    Part,
    anchor_fields,
    anchor_of,
    chains_of,
    merged,
    next_record,
    open_intents,
    parse_anchor,
    parse_record,
    record_fields,
    seal_of,
    verify_chain,
)
from tfpilot.core.model import Door
from tfpilot.errors import DocumentError

KEY = b"a key that the bucket does not hold"
CHAIN = "replica-1"


def event(number: int = 1, **changes) -> AuditEvent:
    usual = AuditEvent(
        at=NOW + timedelta(seconds=number),
        actor="ops-lead",
        role="admin",
        door=Door.PAGE,
        operation="repair",
        subject=f"req_dev_{number}",
        part=Part.INTENT,
    )
    return replace(usual, **changes)


def chain_of(count: int, *, name: str = CHAIN, key: bytes = KEY) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    for number in range(1, count + 1):
        records.append(next_record(event(number), chain=name, after=records[-1] if records else None, key=key))
    return records


def stored(records: list[AuditRecord]) -> dict[int, AuditRecord | None]:
    return {record.number: record for record in records}


def head(records: list[AuditRecord], number: int) -> Anchor:
    return anchor_of(records[number - 1], where="the head")


def test_a_chain_that_nobody_touched_is_verified_to_its_end_and_its_tail_is_told():
    records = chain_of(5)
    report = verify_chain(CHAIN, stored(records), [head(records, 3)], keys=[KEY])
    assert (report.verified, report.anchored, report.unanchored, report.broken) == (5, 3, 2, None)


def test_an_empty_chain_is_whole():
    assert verify_chain(CHAIN, {}, [], keys=[KEY]).broken is None


def test_the_first_record_follows_nothing_and_each_next_the_one_before():
    first, second = chain_of(2)
    assert (first.number, first.before, second.number, second.before) == (1, "", 2, first.seal)
    assert second.id == "replica-1/2"


def changed(record: AuditRecord, **changes) -> AuditRecord:
    return replace(record, event=replace(record.event, **changes))


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        (lambda records: {3: changed(records[2], actor="somebody")}, Flaw.ALTERED),
        (lambda records: {3: replace(records[2], seal="0" * 64)}, Flaw.ALTERED),
        (lambda records: {3: None}, Flaw.UNREADABLE),
        (lambda records: {3: records[3]}, Flaw.MISPLACED),
        (lambda records: {3: replace(records[2], chain="replica-2")}, Flaw.MISPLACED),
        (lambda records: {3: chain_of(3, key=b"another")[2]}, Flaw.ALTERED),
    ],
)
def test_the_first_bad_link_is_named(change, flaw: Flaw):
    records = chain_of(5)
    report = verify_chain(CHAIN, {**stored(records), **change(records)}, [], keys=[KEY])
    assert (report.verified, report.broken) == (2, BrokenLink(3, flaw))


def test_a_record_that_was_sealed_anew_by_somebody_with_the_key_does_not_fit_the_next():
    records = chain_of(5)
    forged = changed(records[2], actor="somebody")
    forged = replace(forged, seal=seal_of(forged, key=KEY))
    report = verify_chain(CHAIN, {**stored(records), 3: forged}, [], keys=[KEY])
    assert (report.verified, report.broken) == (3, BrokenLink(4, Flaw.UNLINKED))


def test_a_chain_that_was_written_anew_to_its_end_contradicts_its_anchor():
    records, anew = chain_of(4), chain_of(4)
    last = changed(anew[3], actor="somebody")
    anew[3] = replace(last, seal=seal_of(last, key=KEY))
    report = verify_chain(CHAIN, stored(anew), [head(records, 4)], keys=[KEY])
    assert (report.verified, report.broken) == (3, BrokenLink(4, Flaw.REPLACED, "the head"))


def test_a_record_that_is_missing_in_the_middle_is_named():
    records = stored(chain_of(5))
    del records[2]
    assert verify_chain(CHAIN, records, [], keys=[KEY]).broken == BrokenLink(2, Flaw.MISSING)


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_what_is_cut_off_before_an_anchor_is_missed_and_after_it_is_not(kept: int):
    records = chain_of(5)
    left = stored(records[:kept])
    report = verify_chain(CHAIN, left, [head(records, 4), replace(head(records, 2), where="receipt")], keys=[KEY])
    where = "receipt" if kept < 2 else "the head"
    assert report.broken == BrokenLink(kept + 1, Flaw.CUT_OFF, where)
    assert verify_chain(CHAIN, stored(records[:4]), [head(records, 4)], keys=[KEY]).broken is None


def test_an_anchor_of_another_chain_says_nothing():
    records = chain_of(2)
    other = replace(head(chain_of(9, name="replica-2"), 9), chain="replica-2")
    assert verify_chain(CHAIN, stored(records), [other], keys=[KEY]).broken is None


@given(st.data(), st.integers(2, 12))
def test_whatever_is_changed_or_removed_up_to_the_anchor_is_found_at_its_place(data: st.DataObject, count: int):
    records = chain_of(count)
    anchored = data.draw(st.integers(1, count))
    place = data.draw(st.integers(1, anchored))
    found = stored(records)
    way = data.draw(st.sampled_from(["removed", "unreadable", "changed", "cut off"]))
    if way == "removed":
        del found[place]
    elif way == "unreadable":
        found[place] = None
    elif way == "changed":
        found[place] = changed(records[place - 1], reason="another")
    else:
        found = {number: record for number, record in found.items() if number < place}
    report = verify_chain(CHAIN, found, [head(records, anchored)], keys=[KEY])
    assert report.broken is not None
    assert report.broken.number == place
    assert report.verified == place - 1


def test_records_and_anchors_come_back_as_they_were_stored():
    [record] = chain_of(1)
    full = next_record(
        event(
            2, door=Door.HTTP, part=Part.REFUSED, reason="no right", of=record.id, data={"fields": 3, "mode": "AUTO"}
        ),
        chain=CHAIN,
        after=record,
        key=KEY,
    )
    for each in (record, full):
        again = parse_record(record_fields(each), key="k")
        assert record_fields(again) == record_fields(each)
        assert seal_of(again, key=KEY) == each.seal
    anchor = anchor_of(full, where="receipt")
    assert parse_anchor(anchor_fields(anchor), where="receipt") == anchor
    assert parse_anchor({"chain": CHAIN}, where="receipt") is None


@pytest.mark.parametrize("field", ["chain", "number", "at", "actor", "door", "part", "before", "seal"])
def test_what_is_no_record_is_said(field: str):
    fields = record_fields(chain_of(1)[0]) | {field: None}
    with pytest.raises(DocumentError, match="k is no audit record"):
        parse_record(fields, key="k")


def test_several_chains_read_as_one_newest_first():
    one, other = chain_of(3), chain_of(2, name="replica-2")
    assert [record.id for record in merged([one, other])] == [
        "replica-1/3", "replica-2/2", "replica-1/2", "replica-2/1", "replica-1/1",
    ]  # fmt: skip


def test_an_intent_without_an_outcome_is_open():
    first, second = chain_of(2)
    outcome = next_record(event(3, part=Part.DONE, of=first.id), chain=CHAIN, after=second, key=KEY)
    assert open_intents([outcome, second, first]) == (second,)


def test_numbers_by_chain_in_their_order():
    assert list(chains_of([("b", 2), ("a", 1), ("b", 1)])) == [("a", (1,)), ("b", (1, 2))]
