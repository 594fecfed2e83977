"""What the list of all requests promises, wherever it comes from."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.adapters.conftest import View
from tests.builders import NOW, ago, request, stuck_planning
from tests.fakes import Clock
from tfpilot.core.document import render_document
from tfpilot.core.model import JsonObject, LifecycleStatus, RequestRow, Stored


def test_before_the_first_reading_nothing_is_known(view: View) -> None:
    current = view.snapshots.current()
    assert (current.rows, current.read_at, current.error) == ((), None, None)


def test_an_empty_bucket_is_a_complete_reading_of_nothing(view: View) -> None:
    snapshot = view.snapshots.refresh()
    assert (snapshot.rows, snapshot.read_at, snapshot.error) == ((), NOW, None)


def test_every_request_is_a_row_with_its_derived_status(view: View) -> None:
    put(view, stuck_planning("req_stuck"), request("req_new"))
    rows = by_id(view)
    assert rows["req_stuck"].status is LifecycleStatus.PLANNING
    assert rows["req_stuck"].is_stuck_at(NOW)
    assert rows["req_new"].status is LifecycleStatus.REQUEST_CREATED


def test_rows_come_newest_change_first_and_then_by_id(view: View) -> None:
    put(view, request("req_old", updatedAt=ago(days=2)), request("req_b"), request("req_a"))
    put(view, request("req_never", updatedAt=None, receivedAt=None))
    view.snapshots.refresh()
    assert [row.id for row in view.snapshots.current().rows] == ["req_a", "req_b", "req_old", "req_never"]


def test_a_changed_a_new_and_a_removed_request_show_in_the_next_reading(view: View) -> None:
    put(view, request("req_changed"), request("req_removed"), request("req_same"))
    before = view.snapshots.refresh()
    put(view, request("req_changed", project="other"), request("req_new"))
    view.store.delete("requests/req_removed.json")
    after = view.snapshots.refresh()
    assert {row.id: row.project for row in after.rows} == {
        "req_changed": "other",
        "req_new": "core",
        "req_same": "core",
    }
    assert after.number > before.number


def test_a_reading_that_finds_nothing_new_keeps_its_number_and_gets_younger(view: View, clock: Clock) -> None:
    put(view, request("req_a"))
    before = view.snapshots.refresh()
    clock.advance(minutes=1)
    after = view.snapshots.refresh()
    assert (after.number, after.rows) == (before.number, before.rows)
    assert after.read_at == NOW + timedelta(minutes=1)


def test_an_archived_request_is_a_row_of_its_own(view: View) -> None:
    archive(view, request("req_old"))
    assert by_id(view)["req_old"].archived


def test_of_twins_the_active_one_is_the_row_and_says_that_there_is_a_copy(view: View) -> None:
    put(view, request("req_twin", project="active"), request("req_single"))
    archive(view, request("req_twin", project="archived"))
    rows = by_id(view)
    assert len(rows) == 2
    twin = rows["req_twin"]
    assert (twin.project, twin.archived, twin.has_archived_copy) == ("active", False, True)
    assert not rows["req_single"].has_archived_copy


def test_a_request_that_is_archived_stays_in_the_list(view: View) -> None:
    put(view, request("req_a"))
    view.snapshots.refresh()
    archive(view, request("req_a"))
    view.store.delete("requests/req_a.json")
    assert by_id(view)["req_a"].archived


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "not an object"),
        (b'{"id": "req_other"}', "its id is 'req_other'"),
        (b" " * 5_242_881, "more than the limit"),
    ],
    ids=["cut off", "not UTF-8", "a list", "another request", "too large"],
)
def test_an_unreadable_object_is_a_row_with_its_error_and_hides_no_other(
    view: View, content: bytes, reason: str
) -> None:
    put(view, request("req_good"))
    view.store.write("requests/req_bad.json", content)
    rows = by_id(view)
    assert rows["req_good"].error is None
    assert reason in (rows["req_bad"].error or "")
    assert rows["req_bad"].status is None


@pytest.mark.parametrize("name", ["Req_A.json", "req_a", "notes.txt", "sub/req_a.json", "req_ü.json"])
def test_an_object_that_is_not_named_as_a_request_is_shown_by_its_key(view: View, name: str) -> None:
    put(view, request("req_good"))
    view.store.write(f"requests/{name}", render_document(request("req_a")))
    rows = by_id(view)
    assert set(rows) == {"req_good", f"requests/{name}"}
    assert rows[f"requests/{name}"].error


def test_an_unreadable_object_that_is_put_right_becomes_a_request_again(view: View) -> None:
    view.store.write("requests/req_a.json", b"{")
    view.snapshots.refresh()
    put(view, request("req_a"))
    assert by_id(view)["req_a"].error is None


def test_half_a_character_in_a_text_is_shown_as_a_question_mark(view: View) -> None:
    view.store.write("requests/req_a.json", json.dumps(request("req_a", project="a\ud800")).encode())
    assert by_id(view)["req_a"].project == "a?"


def test_what_was_just_written_shows_without_a_reading(view: View) -> None:
    put(view, request("req_a"), request("req_b"))
    before = view.snapshots.refresh()
    note(view, request("req_a", project="repaired", updatedAt=ago(minutes=0)))
    current = view.snapshots.current()
    assert [(row.id, row.project) for row in current.rows] == [("req_a", "repaired"), ("req_b", "core")]
    assert current.number > before.number
    assert current.read_at == before.read_at


def test_what_was_noted_of_a_twin_keeps_its_archived_copy(view: View) -> None:
    put(view, request("req_twin"))
    archive(view, request("req_twin"))
    view.snapshots.refresh()
    note(view, request("req_twin", project="repaired"))
    [row] = view.snapshots.current().rows
    assert (row.project, row.has_archived_copy) == ("repaired", True)


def test_what_was_noted_before_the_first_reading_does_not_pose_as_the_whole_list(view: View) -> None:
    put(view, request("req_a"), request("req_b"))
    note(view, request("req_a"))
    assert view.snapshots.current().read_at is None
    assert view.snapshots.current().rows == ()
    assert set(by_id(view)) == {"req_a", "req_b"}


def test_a_young_reading_is_given_again_and_an_old_one_is_not(view: View, clock: Clock) -> None:
    view.snapshots.refresh()
    put(view, request("req_a"))
    clock.advance(seconds=30)
    assert view.snapshots.refresh(older_than=timedelta(seconds=30)).rows == ()
    clock.advance(seconds=1)
    assert [row.id for row in view.snapshots.refresh(older_than=timedelta(seconds=30)).rows] == ["req_a"]


def put(view: View, *documents: JsonObject) -> None:
    for document in documents:
        view.store.write(f"requests/{document['id']}.json", render_document(document))


def archive(view: View, *documents: JsonObject) -> None:
    for document in documents:
        view.store.write(f"history/{document['id']}.json", render_document(document))


def note(view: View, document: JsonObject) -> None:
    put(view, document)
    etag = view.store.bucket.read(f"requests/{document['id']}.json", limit_bytes=10_000).etag
    view.snapshots.note(document["id"], Stored(document, etag))


def by_id(view: View) -> dict[str, RequestRow]:
    snapshot = view.snapshots.refresh()
    assert snapshot.error is None
    assert len({row.id for row in snapshot.rows}) == len(snapshot.rows)
    return {row.id: row for row in snapshot.rows}
