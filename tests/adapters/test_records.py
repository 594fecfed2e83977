"""What memos, back-offs and events promise."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.adapters.conftest import Store
from tests.builders import NOW, REQUEST_ID, ago
from tfpilot.adapters.backoffs import S3Backoffs
from tfpilot.adapters.events import S3Events
from tfpilot.adapters.memos import S3CheckedMemos
from tfpilot.core.model import Checked, JobsFact, LifecycleEvent, RepoRef, WorkflowKind

MEMO = f"ops/checked/{REQUEST_ID}.json"
REPO = RepoRef("acme", "infra")
SECOND = timedelta(seconds=1)


def test_a_memo_comes_back_as_it_was_stored(store: Store) -> None:
    memo = Checked(NOW, {"pull": "ok", "plan": "not found"}, {WorkflowKind.APPLY: JobsFact(7, 2, started=True)})
    S3CheckedMemos(store.bucket).put(REQUEST_ID, memo)
    assert S3CheckedMemos(store.bucket).find(REQUEST_ID) == memo


def test_no_memo_is_none(store: Store) -> None:
    assert S3CheckedMemos(store.bucket).find(REQUEST_ID) is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"at": "yesterday"}', b"x" * 300_000])
def test_a_memo_that_cannot_be_read_is_none(store: Store, content: bytes) -> None:
    store.write(MEMO, content)
    assert S3CheckedMemos(store.bucket).find(REQUEST_ID) is None


def test_a_memo_that_cannot_be_read_is_replaced(store: Store) -> None:
    store.write(MEMO, b"{")
    S3CheckedMemos(store.bucket).put(REQUEST_ID, Checked(NOW))
    assert S3CheckedMemos(store.bucket).find(REQUEST_ID) == Checked(NOW)


def test_an_older_memo_never_replaces_a_newer_one(store: Store) -> None:
    memos = S3CheckedMemos(store.bucket)
    memos.put(REQUEST_ID, Checked(NOW, {"pull": "ok"}))
    memos.put(REQUEST_ID, Checked(NOW - SECOND, {"pull": "timeout"}))
    assert memos.find(REQUEST_ID) == Checked(NOW, {"pull": "ok"})
    memos.put(REQUEST_ID, Checked(NOW + SECOND, {"pull": "forbidden"}))
    assert memos.find(REQUEST_ID) == Checked(NOW + SECOND, {"pull": "forbidden"})


def test_a_back_off_holds_until_its_time_for_its_repository_only(store: Store) -> None:
    backoffs = S3Backoffs(store.bucket)
    backoffs.put(REPO, until=NOW + SECOND, now=NOW, reason="rate limited")
    assert backoffs.find(REPO, now=NOW) == NOW + SECOND
    assert backoffs.find(REPO, now=NOW + SECOND) is None
    assert backoffs.find(RepoRef("acme", "other"), now=NOW) is None


def test_a_back_off_for_everything_holds_for_every_repository(store: Store) -> None:
    store.write("webhooks/github/ratelimit/global.json", json.dumps({"until": ago(minutes=-5)}).encode())
    S3Backoffs(store.bucket).put(REPO, until=NOW + SECOND, now=NOW, reason="rate limited")
    assert S3Backoffs(store.bucket).find(REPO, now=NOW) == NOW + timedelta(minutes=5)
    assert S3Backoffs(store.bucket).find(RepoRef("acme", "other"), now=NOW) == NOW + timedelta(minutes=5)


def test_a_shorter_back_off_never_replaces_a_longer_one(store: Store) -> None:
    backoffs = S3Backoffs(store.bucket)
    backoffs.put(REPO, until=NOW + 60 * SECOND, now=NOW, reason="rate limited")
    backoffs.put(REPO, until=NOW + SECOND, now=NOW, reason="rate limited")
    assert backoffs.find(REPO, now=NOW) == NOW + 60 * SECOND


def test_a_back_off_is_stored_as_the_web_app_reads_it(store: Store) -> None:
    S3Backoffs(store.bucket).put(RepoRef("acme", "in fra/x"), until=NOW + SECOND, now=NOW, reason="rate limited")
    assert stored(store, "webhooks/github/ratelimit/acme_in_fra_x.json") == {
        "until": "2026-03-02T12:00:01.000Z",
        "setAt": "2026-03-02T12:00:00.000Z",
        "retryAfterMs": 1000,
        "reason": "rate limited",
    }


def test_a_broken_back_off_keeps_nobody_waiting(store: Store) -> None:
    store.write("webhooks/github/ratelimit/acme_infra.json", b"{")
    assert S3Backoffs(store.bucket).find(REPO, now=NOW) is None


def test_an_event_is_stored_as_the_web_app_stores_it(store: Store) -> None:
    events_of(store).append(event(data={"changes": 2}))
    assert stored(store, f"logs/{REQUEST_ID}/2026-03-02T12:00:00.000Z.json") == {
        "timestamp": "2026-03-02T12:00:00.000Z",
        "requestId": REQUEST_ID,
        "event": "request_repaired",
        "actor": "ops-lead",
        "source": "ops-portal",
        "data": {"changes": 2},
    }


def test_events_of_the_same_millisecond_are_all_kept_in_their_order(store: Store) -> None:
    events = events_of(store)
    for name in ("first", "second", "third"):
        events.append(event(name))
    listed = events.list(REQUEST_ID, limit=10)
    assert [each.event for each in listed] == ["third", "second", "first"]
    assert [each.at - NOW for each in listed] == [timedelta(milliseconds=later) for later in (2, 1, 0)]


def test_only_the_newest_events_are_listed_and_newest_first(store: Store) -> None:
    events = events_of(store)
    for minutes in (3, 1, 2, 5):
        events.append(event(f"{minutes} minutes ago", at=NOW - timedelta(minutes=minutes)))
    assert [each.event for each in events.list(REQUEST_ID, limit=2)] == ["1 minutes ago", "2 minutes ago"]


def test_what_is_no_event_of_this_request_is_left_out(store: Store) -> None:
    events = events_of(store)
    events.append(event("kept"))
    prefix = f"logs/{REQUEST_ID}"
    store.write(f"{prefix}/readme.json", b"{}")
    store.write(f"{prefix}/2026-03-02T12:00:05.000Z.json", b"{")
    other = {"timestamp": ago(), "requestId": "req_other", "event": "x"}
    store.write(f"{prefix}/2026-03-02T12:00:06.000Z.json", json.dumps(other).encode())
    store.write(f"{prefix}_2/2026-03-02T12:00:07.000Z.json", b"{}")
    assert [each.event for each in events.list(REQUEST_ID, limit=10)] == ["kept"]


def test_a_request_without_events_has_an_empty_history(store: Store) -> None:
    assert list(events_of(store).list(REQUEST_ID, limit=10)) == []


def events_of(store: Store) -> S3Events:
    return S3Events(store.bulk)


def event(name: str = "request_repaired", **fields: Any) -> LifecycleEvent:
    return LifecycleEvent(
        **{"at": NOW, "request_id": REQUEST_ID, "event": name, "actor": "ops-lead", "source": "ops-portal", **fields}
    )


def stored(store: Store, key: str) -> dict[str, Any]:
    return json.loads(store.bucket.read(key, limit_bytes=10_000).content)
