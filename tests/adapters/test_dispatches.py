"""Our records of dispatches, in memory and on the real server: each version read once, nothing of it lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.adapters.conftest import Store
from tests.builders import NOW
from tests.dispatch_setup import record_of
from tfpilot.adapters.dispatches import S3Dispatches, parse_dispatch, render_record
from tfpilot.adapters.keys import dispatch_key
from tfpilot.core.model import ABSENT, DispatchState, FieldChange, WorkflowKind
from tfpilot.errors import ConflictError, MalformedIdError

REPLACED = (
    FieldChange(("github", "destroyTriggeredAt"), ABSENT, "2026-03-02T12:00:00.000Z", ""),
    FieldChange(("destroyRun", "conclusion"), "failure", ABSENT, ""),
    FieldChange(("destroyRun", "url"), None, "x", ""),
)
FULL = replace(
    record_of(replaced=REPLACED),
    posted_at=NOW,
    run_id=9001,
    settled_at=NOW,
    settled_by="ops-lead",
    detail="why",
    state=DispatchState.STARTED,
)


@pytest.fixture
def dispatches(store: Store) -> S3Dispatches:
    return S3Dispatches(store.bucket, store.bulk)


@pytest.mark.parametrize("record", [record_of(), FULL])
def test_a_record_comes_back_as_it_was_stored(dispatches, record):
    stored = dispatches.add(record)
    assert dispatches.list(record.request_id) == [stored]
    assert stored.record == record


def test_a_nonce_is_used_once_and_a_version_is_replaced_once(dispatches):
    stored = dispatches.add(record_of())
    with pytest.raises(ConflictError):
        dispatches.add(record_of())
    closed = replace(stored.record, state=DispatchState.CLOSED)
    dispatches.put(closed, if_match=stored.etag)
    with pytest.raises(ConflictError):
        dispatches.put(stored.record, if_match=stored.etag)
    assert [each.record for each in dispatches.list(closed.request_id)] == [closed]


def test_records_are_listed_by_request_the_oldest_first(dispatches):
    later = record_of(nonce="a0", at=NOW + timedelta(seconds=1))
    for record in (later, record_of(), record_of(request_id="req_dev_s3_abc123_b", nonce="b1")):
        dispatches.add(record)
    assert [each.record.nonce for each in dispatches.list("req_dev_s3_abc123")] == ["a1", "a0"]


def test_open_and_started_records_of_all_requests_are_told_apart(dispatches):
    for number, state in enumerate(DispatchState):
        dispatches.add(record_of(request_id=f"req_{number}", state=state, run_id=number + 1))
    for _ in range(2):
        assert [each.record.state for each in dispatches.list_open()] == [DispatchState.OPEN]
        assert [each.record.run_id for each in dispatches.list_started()] == [2]


def test_what_changes_is_seen_whoever_changed_it(dispatches, store):
    stored = dispatches.add(record_of(replaced=REPLACED))
    assert dispatches.list_open() == [stored]
    other = S3Dispatches(store.bucket, store.bulk)
    other.put(replace(stored.record, state=DispatchState.STARTED, run_id=9001), if_match=stored.etag)
    assert dispatches.list_open() == []
    [started] = dispatches.list_started()
    assert (started.record.run_id, started.record.replaced) == (9001, ())
    store.delete(dispatch_key(stored.record.request_id, stored.record.nonce))
    assert dispatches.list_started() == []


def test_what_is_no_record_or_not_the_one_of_its_key_is_left_out(dispatches, store):
    good = record_of()
    dispatches.add(good)
    store.write("ops/dispatches/req_dev_s3_abc123/ff.json", json.dumps(render_record(good)).encode())
    store.write("ops/dispatches/req_dev_s3_abc123/f1.json", b"{")
    store.write("ops/dispatches/req_dev_s3_abc123/f2.json", b"[]")
    assert [each.record for each in dispatches.list(good.request_id)] == [good]
    assert [each.record for each in dispatches.list_open()] == [good]


@pytest.mark.parametrize("field", ["requestId", "nonce", "kind", "owner", "repo", "triggeredAt", "state"])
def test_a_record_without_what_every_record_has_is_none(field):
    key = "ops/dispatches/req_dev_s3_abc123/a1.json"
    stored = dict(render_record(record_of(WorkflowKind.APPLY)))
    assert parse_dispatch(stored, key=key) == record_of(WorkflowKind.APPLY)
    assert parse_dispatch({**stored, field: "odd"}, key=key) is None or field in {"owner", "repo"}
    del stored[field]
    assert parse_dispatch(stored, key=key) is None


def test_an_id_that_cannot_be_one_reaches_no_key(dispatches):
    with pytest.raises(MalformedIdError):
        dispatches.list("../x")
