"""What a dispatch writes into a document, and how each of it is taken back, closed, or found overwritten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, ago, request, run, with_run
from tests.dispatch_setup import applied, destroyed, destroying, merged, planned, record_of, triggered
from tfpilot.core.document import apply_changes, field_at, format_time
from tfpilot.core.intents import (
    close_changes,
    error_changes,
    holds_lock,
    intent_changes,
    is_still_open,
    lock_changes,
    overwritten_changes,
    replaced_run_ids,
    started_changes,
    take_back_changes,
    unlock_changes,
)
from tfpilot.core.lifecycle import derive_status, lacks_run
from tfpilot.core.model import ABSENT, DispatchRecord, DispatchState, LifecycleStatus, WorkflowKind
from tfpilot.core.request import LEGACY_RUNS, TRIGGERS, canonical_run, parse_request

PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
CLEANUP, DRIFT = WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN
URL = "https://github.com/acme/infra/actions/runs/9001"
READY = {PLAN: planned(), APPLY: merged(), DESTROY: applied(), CLEANUP: destroyed(), DRIFT: applied()}


def with_intent(document: dict[str, Any], kind: WorkflowKind = DESTROY) -> tuple[dict[str, Any], DispatchRecord]:
    """The document with the intent of a dispatch, and our record of it."""
    changes = intent_changes(parse_request(document), kind, NOW, destroy_run_id=6)
    return apply_changes(document, changes), record_of(kind, replaced=changes)


def started(document: dict[str, Any], kind: WorkflowKind = DESTROY, run_id: int = 9001) -> dict[str, Any]:
    return apply_changes(document, started_changes(document, kind, run_id=run_id, html_url=URL))


def is_changed_by(changes) -> set[str]:
    return {each.dotted for each in changes}


def failed_twice_stored() -> dict[str, Any]:
    """A failed destroy in both places, with fields that are no facts of a run."""
    failed = {
        **run(6, conclusion="failure", createdAt=ago(minutes=20), updatedAt=ago(minutes=18), headSha="abc", url="u"),
        "note": "kept",
    }
    document = with_run({**applied(), "destroyRun": {**failed, "more": [1]}}, "destroy", **failed)
    document = triggered(document, "destroyTriggeredAt", ago(minutes=20))
    return {**document, "github": {**document["github"], "unresolved": {"destroy": {"runId": 6, "at": ago(minutes=1)}}}}


# The lock


def locked(**fields: Any) -> dict[str, Any]:
    lock = {"holder": "somebody", "operation": "apply", "acquiredAt": ago(minutes=1), "expiresAt": ago(minutes=-1)}
    return request(lock={**lock, **fields})


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({}, True),
        ({"expiresAt": ago(seconds=0)}, True),
        ({"expiresAt": ago(seconds=0.001)}, False),
        ({"expiresAt": "soon", "acquiredAt": ago(minutes=2)}, True),
        ({"expiresAt": "soon", "acquiredAt": ago(minutes=2.1)}, False),
        ({"expiresAt": None, "acquiredAt": None}, False),
    ],
)
def test_a_lock_holds_until_its_end_and_without_one_for_two_minutes(fields, holds):
    assert (holds_lock(parse_request(locked(**fields)), NOW) is not None) == holds


def test_a_lock_is_taken_for_two_minutes_and_given_back_without_a_trace():
    before = request()
    held = apply_changes(before, lock_changes(before, holder="me", operation="dispatch destroy", now=NOW))
    assert held["lock"] == {
        "holder": "me",
        "operation": "dispatch destroy",
        "acquiredAt": format_time(NOW),
        "expiresAt": format_time(NOW + timedelta(minutes=2)),
    }
    assert apply_changes(held, unlock_changes(held, holder="me")) == before


def test_a_lock_of_somebody_else_is_not_given_back():
    assert unlock_changes(locked(), holder="me") == ()
    assert unlock_changes(request(), holder="me") == ()


# The intent


@pytest.mark.parametrize("kind", list(WorkflowKind))
def test_an_intent_is_the_trigger_time_and_an_attempt_without_a_run(kind):
    document, _ = with_intent(READY[kind], kind)
    assert all(field_at(document, path) == format_time(NOW) for path in TRIGGERS[kind])
    assert field_at(document, canonical_run(kind)) == {"status": "requested"}
    if kind in LEGACY_RUNS:
        assert document[LEGACY_RUNS[kind]] == {"status": "requested"}
    assert lacks_run(parse_request(document), kind)


def test_the_last_runs_id_and_result_are_gone_from_both_places_and_nothing_else_is():
    before = failed_twice_stored()
    document, record = with_intent(before)
    assert document["destroyRun"] == {"status": "requested", "note": "kept", "more": [1]}
    assert document["github"]["workflows"]["destroy"] == {"status": "requested", "note": "kept"}
    assert document["github"]["unresolved"] == {}
    assert derive_status(parse_request(document), NOW) is LifecycleStatus.DESTROYING
    assert replaced_run_ids(record) == {6}


def test_a_destroy_without_a_known_run_is_destroying_for_fifteen_minutes_and_failed_after_that():
    asked_for = parse_request(with_intent(applied())[0])
    assert derive_status(asked_for, NOW + timedelta(minutes=15)) is LifecycleStatus.DESTROYING
    assert derive_status(asked_for, NOW + timedelta(minutes=15, milliseconds=1)) is LifecycleStatus.FAILED


def test_a_cleanups_intent_says_for_which_destroy_it_is_and_forgets_the_last_error():
    before = destroyed()
    before["github"] |= {"cleanupDispatchStatus": "error", "cleanupDispatchLastError": "no such ref"}
    document, record = with_intent(before, CLEANUP)
    github = document["github"]
    assert (github["cleanupTriggeredForDestroyRunId"], github["cleanupDispatchStatus"]) == (6, "pending")
    assert github["cleanupDispatchAttemptedAt"] == format_time(NOW)
    assert "cleanupDispatchLastError" not in github
    assert started(document, CLEANUP)["github"]["cleanupDispatchStatus"] == "dispatched"
    assert apply_changes(document, take_back_changes(document, record)) == {
        **before,
        "github": {**before["github"], "workflows": {**before["github"]["workflows"], "cleanup": {}}},
    }


def test_why_a_cleanup_was_not_started_is_kept():
    record = record_of(CLEANUP, replaced=intent_changes(parse_request(destroyed()), CLEANUP, NOW, destroy_run_id=6))
    document = apply_changes(destroyed(), error_changes(destroyed(), record, "no such ref"))
    assert parse_request(document).cleanup_error == "no such ref"
    assert document["github"]["cleanupTriggeredForDestroyRunId"] == 6
    assert document["github"]["cleanupDispatchAttemptedAt"] == format_time(NOW)


# The run


@pytest.mark.parametrize("kind", list(WorkflowKind))
def test_the_started_run_is_stored_in_both_places_and_closes_the_intent(kind):
    document, record = with_intent(READY[kind], kind)
    assert is_still_open(document, record)
    told = started(document, kind)
    stored = {"status": "requested", "runId": 9001, "url": URL, "htmlUrl": URL}
    assert field_at(told, canonical_run(kind)) == stored
    if kind in LEGACY_RUNS:
        assert told[LEGACY_RUNS[kind]] == stored
    assert not is_still_open(told, record)
    assert parse_request(told).runs[kind].run_id == 9001
    assert started_changes(told, kind, run_id=9001, html_url=None) == ()


@pytest.mark.parametrize("place", ["canonical", "legacy", "both"])
def test_a_run_is_never_stored_over_the_result_of_another_one(place):
    old = run(6, conclusion="failure", createdAt=ago(minutes=20))
    document = triggered(applied(), "destroyTriggeredAt", format_time(NOW))
    if place != "legacy":
        document = with_run(document, "destroy", **old)
    if place != "canonical":
        document = {**document, "destroyRun": old}
    assert lacks_run(parse_request(document), DESTROY)
    fact = parse_request(started(document)).runs[DESTROY]
    assert (fact.run_id, fact.conclusion, fact.created_at, fact.attempt) == (9001, None, None, None)


def test_a_run_that_a_webhook_stored_meanwhile_keeps_what_it_said():
    document = with_run(with_intent(applied())[0], "destroy", **run(9001, "in_progress", createdAt=format_time(NOW)))
    fact = parse_request(started(document)).runs[DESTROY]
    assert (fact.run_id, fact.status, fact.created_at, fact.html_url) == (9001, "in_progress", NOW, URL)


# Taking back


@pytest.mark.parametrize("kind", list(WorkflowKind))
def test_an_untouched_intent_is_taken_back_to_the_very_document_before(kind):
    before = READY[kind]
    document, record = with_intent(before, kind)
    back = apply_changes(document, take_back_changes(document, record))
    assert parse_request(back).runs == parse_request(before).runs
    assert parse_request(back).triggers == parse_request(before).triggers
    assert derive_status(parse_request(back), NOW) is derive_status(parse_request(before), NOW)


def test_taking_back_restores_the_failed_run_in_both_places_byte_by_byte():
    before = failed_twice_stored()
    document, record = with_intent(before)
    assert apply_changes(document, take_back_changes(document, record)) == before


def test_what_others_wrote_meanwhile_stays():
    document, record = with_intent(failed_twice_stored())
    document = {
        **document,
        "labels": {"team": "core"},
        "github": {**document["github"], "destroyTriggeredAt": ago(hours=-1)},
    }
    back = apply_changes(document, take_back_changes(document, record))
    assert back["labels"] == {"team": "core"}
    assert back["github"]["destroyTriggeredAt"] == ago(hours=-1)


@pytest.mark.parametrize("stored", [{"runId": 9001, "status": "in_progress"}, {"runId": 9001, "status": "requested"}])
def test_a_run_that_is_known_by_now_gets_no_part_of_the_run_before(stored):
    document, record = with_intent(failed_twice_stored())
    document = with_run({**document, "destroyRun": stored}, "destroy", **stored)
    back = apply_changes(document, take_back_changes(document, record))
    assert back["github"]["workflows"]["destroy"] == stored
    assert back["destroyRun"] == stored


def test_a_place_that_holds_a_run_stays_and_the_other_one_is_taken_back():
    before = failed_twice_stored()
    document, record = with_intent(before)
    document["destroyRun"] = {"runId": 9001, "status": "queued"}
    back = apply_changes(document, take_back_changes(document, record))
    assert back["destroyRun"] == {"runId": 9001, "status": "queued"}
    assert back["github"]["workflows"]["destroy"] == before["github"]["workflows"]["destroy"]


JUNK = st.dictionaries(
    st.sampled_from(["x", "runId", "status", "conclusion", "note", "createdAt"]),
    st.one_of(st.none(), st.integers(-1, 9), st.text(max_size=4), st.lists(st.integers(), max_size=2)),
    max_size=5,
)


@given(JUNK, JUNK, st.sampled_from(list(WorkflowKind)), st.one_of(st.none(), st.text(max_size=4), st.just(ago())))
def test_whatever_was_stored_an_intent_and_its_taking_back_lose_nothing(canonical, legacy, kind, trigger):
    before = with_run(applied(), kind.value, **canonical)
    before = {**before, "planRun": legacy, "applyRun": legacy, "destroyRun": legacy, "labels": canonical}
    before["github"] |= {path[-1]: trigger for path in TRIGGERS[kind] if len(path) == 2}
    document, record = with_intent(before, kind)
    assert apply_changes(document, take_back_changes(document, record)) == before
    assert document["labels"] == canonical
    assert field_at(document, (*canonical_run(kind), "note")) == canonical.get("note", ABSENT)


# Closing


def test_an_intent_of_the_web_app_is_closed_with_its_trigger_and_without_a_trace_of_a_run():
    document = triggered(with_run(applied(), "destroy", status="requested"), "destroyTriggeredAt", ago(minutes=20))
    document = {**document, "destroyRun": {"status": "requested", "note": "x"}}
    closed = apply_changes(document, close_changes(document, DESTROY))
    assert closed["destroyRun"] == {"note": "x"}
    assert "destroyTriggeredAt" not in closed["github"]
    assert closed["github"]["workflows"]["destroy"] == {}
    assert derive_status(parse_request(closed), NOW) is LifecycleStatus.APPLIED


def test_closing_leaves_a_run_that_is_known_or_over():
    document = triggered(destroyed(conclusion="failure"), "destroyTriggeredAt", format_time(NOW))
    closed = apply_changes(document, close_changes(document, DESTROY))
    assert closed["github"]["workflows"]["destroy"] == document["github"]["workflows"]["destroy"]
    assert derive_status(parse_request(closed), NOW) is LifecycleStatus.FAILED


# What was overwritten


def test_nothing_is_overwritten_where_the_document_says_what_our_record_says():
    document, record = with_intent(applied())
    assert overwritten_changes(document, [record]) == ()
    run_known = record_of(state=DispatchState.STARTED, run_id=9001)
    assert overwritten_changes(started(document), [run_known]) == ()
    ended = with_run(started(document), "destroy", **run(9001, conclusion="failure", createdAt=format_time(NOW)))
    assert overwritten_changes(ended, [run_known]) == ()


def test_a_lost_intent_is_found_and_put_back():
    document, record = with_intent(applied())
    found = overwritten_changes(applied(), [record])
    assert is_changed_by(found) == {"github.destroyTriggeredAt", "github.workflows.destroy.status", "destroyRun.status"}
    assert apply_changes(applied(), found) == document


def test_a_lost_run_is_found_and_put_back_in_both_places():
    record = record_of(state=DispatchState.STARTED, run_id=9001)
    for lost in (applied(), with_intent(applied())[0], failed_twice_stored()):
        back = apply_changes(lost, overwritten_changes(lost, [record]))
        for place in (back["destroyRun"], back["github"]["workflows"]["destroy"]):
            assert {name: place.get(name) for name in ("runId", "status", "conclusion")} == {
                "runId": 9001,
                "status": "requested",
                "conclusion": None,
            }
        assert overwritten_changes(back, [record]) == ()


def test_a_lost_trigger_time_alone_leaves_the_run_as_it_is():
    document = with_run(applied(), "destroy", **run(9001, conclusion="failure", createdAt=format_time(NOW)))
    found = overwritten_changes(document, [record_of(state=DispatchState.STARTED, run_id=9001)])
    assert is_changed_by(found) == {"github.destroyTriggeredAt"}


def test_a_later_dispatch_by_others_is_no_overwriting():
    later = format_time(NOW + timedelta(seconds=1))
    document = triggered(with_run(applied(), "destroy", status="requested"), "destroyTriggeredAt", later)
    assert overwritten_changes(document, [record_of(), record_of(state=DispatchState.STARTED, run_id=9001)]) == ()


@pytest.mark.parametrize("kind", [PLAN, CLEANUP, DRIFT])
def test_a_newer_plan_cleanup_or_drift_run_is_no_overwriting(kind):
    newer = with_run(applied(), kind.value, **run(9002, createdAt=format_time(NOW + timedelta(seconds=1))))
    assert overwritten_changes(newer, [record_of(kind, state=DispatchState.STARTED, run_id=9001)]) == ()


@pytest.mark.parametrize("kind", [APPLY, DESTROY])
def test_another_apply_or_destroy_run_without_a_later_dispatch_is_one(kind):
    other = with_run(merged(), kind.value, **run(9002, createdAt=format_time(NOW + timedelta(seconds=1))))
    assert overwritten_changes(other, [record_of(kind, state=DispatchState.STARTED, run_id=9001)])


@pytest.mark.parametrize("state", [DispatchState.REFUSED, DispatchState.CLOSED])
def test_what_was_refused_or_closed_is_not_missed(state):
    assert overwritten_changes(applied(), [record_of(state=state)]) == ()


def test_only_the_latest_dispatch_of_a_kind_counts():
    document, latest = with_intent(applied())
    earlier = record_of(nonce="a0", at=NOW - timedelta(hours=1), state=DispatchState.STARTED, run_id=8001)
    assert overwritten_changes(document, [latest, earlier]) == ()


@pytest.mark.parametrize("kind", [PLAN, APPLY])
def test_what_was_dispatched_for_an_earlier_pull_request_is_not_missed(kind):
    document = planned(previousPrs=[{"number": 3}])
    document["github"]["pr"]["createdAt"] = format_time(NOW + timedelta(minutes=1))
    assert overwritten_changes(document, [record_of(kind, state=DispatchState.STARTED, run_id=9001)]) == ()
    assert overwritten_changes(planned(), [record_of(kind, state=DispatchState.STARTED, run_id=9001)])


def test_a_destroy_that_goes_on_is_left_alone_where_we_dispatched_nothing():
    assert overwritten_changes(destroying(runId=6), []) == ()
