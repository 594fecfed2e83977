"""Records of webhook deliveries, in memory and on the real server: nothing is stored twice, and nothing is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.adapters.conftest import Store, real_store
from tests.builders import NOW
from tests.fakes import Clock, MemoryBucket, MemoryBulk
from tfpilot.adapters.deliveries import S3Deliveries
from tfpilot.adapters.pull_index import S3PullIndex, pull_key
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.delivery import HandledDelivery, KeptDelivery, Place
from tfpilot.core.document import render_document
from tfpilot.core.model import RepoRef, WorkflowKind

HANDLED = HandledDelivery(
    guid="guid-1",
    event="workflow_run",
    received_at=NOW,
    applied=True,
    reason="run 101 is the plan run of req_a",
    request_id="req_a",
    kind=WorkflowKind.PLAN,
    run_id=101,
    repo="acme/infra",
    sender="maya-k",
)
LETTER = KeptDelivery(Place.DEAD_LETTER, "guid-1", "pull_request", b'{"x": "\xc3\xa9"}\n', NOW, "no answer in time")
PARKED = KeptDelivery(
    Place.PARKED, "guid-1", "workflow_run", b"{}", NOW, "waits", kind=WorkflowKind.DESTROY, run_id=101
)
REPO = RepoRef("acme", "infra")


@pytest.fixture
def deliveries(store: Store) -> S3Deliveries:
    return S3Deliveries(store.bucket, store.bulk)


def test_a_record_comes_back_as_it_was_stored(deliveries: S3Deliveries):
    deliveries.add(HANDLED)
    bare = HandledDelivery("guid-2", "ping", NOW, applied=False, reason="hello")
    deliveries.add(bare)
    assert deliveries.find("guid-1") == HANDLED
    assert deliveries.find("guid-2") == bare
    assert deliveries.find("guid-3") is None


def test_of_two_records_of_one_delivery_the_first_stays(deliveries: S3Deliveries):
    deliveries.add(HANDLED)
    deliveries.add(replace(HANDLED, applied=False))
    assert deliveries.find("guid-1") == HANDLED


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"deliveryId": "guid-2"}', b'{"deliveryId": "guid-1"}'])
def test_a_record_that_cannot_be_read_means_not_handled(store: Store, deliveries: S3Deliveries, content: bytes):
    store.write("ops/deliveries/guid-1.json", content)
    assert deliveries.find("guid-1") is None
    assert deliveries.recent(limit=9) == []


def test_a_kept_body_comes_back_byte_by_byte_and_goes_when_it_is_removed(deliveries: S3Deliveries):
    odd = replace(LETTER, body=bytes(range(256)))
    deliveries.keep(odd)
    stored = deliveries.find_kept("guid-1")
    assert stored is not None
    assert stored.delivery == odd
    deliveries.remove_kept(stored)
    deliveries.remove_kept(stored)
    assert deliveries.find_kept("guid-1") is None
    assert deliveries.list_kept(Place.DEAD_LETTER, limit=9) == []


def test_a_letter_that_is_kept_again_stays_as_it_was(deliveries: S3Deliveries):
    deliveries.keep(LETTER)
    deliveries.keep(replace(LETTER, why="failed again", body=b"other"))
    assert [each.delivery for each in deliveries.list_kept(Place.DEAD_LETTER, limit=9)] == [LETTER]


def test_the_largest_body_that_is_taken_can_be_kept_and_read_again(deliveries: S3Deliveries):
    largest = replace(LETTER, body=b"\xff" * (5 * 1024 * 1024))
    deliveries.keep(largest)
    stored = deliveries.find_kept("guid-1")
    assert stored is not None
    assert stored.delivery.body == largest.body


def test_what_waits_for_a_run_is_found_by_the_run_the_oldest_first(deliveries: S3Deliveries):
    later = replace(PARKED, guid="guid-0", received_at=NOW + timedelta(seconds=1))
    for each in (later, PARKED, replace(PARKED, guid="guid-2", run_id=1011), replace(PARKED, kind=WorkflowKind.APPLY)):
        deliveries.keep(each)
    assert [each.delivery for each in deliveries.list_parked(WorkflowKind.DESTROY, 101)] == [PARKED, later]
    assert len(deliveries.list_kept(Place.PARKED, limit=9)) == 4
    assert deliveries.list_kept(Place.DEAD_LETTER, limit=9) == []
    assert deliveries.list_parked(WorkflowKind.DESTROY, 10) == []


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"deliveryId": "guid-1", "bodyBase64": "%"}'])
def test_what_is_no_kept_delivery_is_left_out(store: Store, deliveries: S3Deliveries, content: bytes):
    store.write("ops/dead-letters/guid-1.json", content)
    assert deliveries.find_kept("guid-1") is None
    assert deliveries.list_kept(Place.DEAD_LETTER, limit=9) == []


def test_a_kept_delivery_under_another_key_than_its_own_is_left_out(store: Store, deliveries: S3Deliveries):
    deliveries.keep(LETTER)
    content = store.bucket.read("ops/dead-letters/guid-1.json", limit_bytes=9_999).content
    store.write("ops/dead-letters/guid-2.json", content)
    assert deliveries.find_kept("guid-2") is None


def test_the_newest_records_come_first_and_no_more_than_asked_for(clock: Clock):
    bucket = MemoryBucket(clock)
    deliveries = S3Deliveries(bucket, MemoryBulk(bucket))
    for number in range(5):
        clock.advance(seconds=1)
        deliveries.add(replace(HANDLED, guid=f"guid-{number}"))
    assert [each.guid for each in deliveries.recent(limit=2)] == ["guid-4", "guid-3"]


def test_what_the_web_app_saw_is_told_as_it_says_it(store: Store, deliveries: S3Deliveries):
    store.write("webhooks/github/deliveries/theirs.json", b'{"event": "pull_request", "receivedAt": "yesterday"}')
    (seen,) = deliveries.seen_by_web_app(limit=9)
    assert (seen.guid, seen.event, seen.received_at) == ("theirs", "pull_request", None)


@pytest.mark.server
def test_many_who_keep_park_and_remove_at_once_lose_nothing(bucket: Bucket):
    store = real_store(bucket)
    deliveries = S3Deliveries(store.bucket, store.bulk)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: deliveries.keep(replace(PARKED, guid=f"guid-{number % 8}")), range(64)))
        kept = deliveries.list_parked(WorkflowKind.DESTROY, 101)
        assert sorted(each.delivery.guid for each in kept) == [f"guid-{number}" for number in range(8)]
        list(pool.map(deliveries.remove_kept, [*kept, *kept]))
    assert deliveries.list_parked(WorkflowKind.DESTROY, 101) == []


# --- the index of pull requests


def entry(**fields: object) -> bytes:
    return render_document({"requestId": "req_a", "owner": "acme", "repo": "infra", "prNumber": 7, **fields})


def test_a_pull_request_is_found_in_whatever_case_its_repository_is_written(store: Store):
    store.write("webhooks/github/pr-index/acme_infra/pr-7.json", entry(owner="Acme", repo="INFRA"))
    assert S3PullIndex(store.bucket).find(REPO, 7) == "req_a"
    assert S3PullIndex(store.bucket).find(REPO, 8) is None


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"{}", entry(prNumber=8), entry(owner="other"), entry(requestId="../x"), entry(requestId=7)],
)
def test_an_entry_of_another_repository_or_number_or_without_an_id_finds_nothing(store: Store, content: bytes):
    store.write(pull_key(REPO, 7), content)
    assert S3PullIndex(store.bucket).find(REPO, 7) is None


def test_two_repositories_whose_entries_share_a_key_are_told_apart(store: Store):
    first, second = RepoRef("a_b", "c"), RepoRef("a", "b_c")
    assert pull_key(first, 7) == pull_key(second, 7)
    store.write(pull_key(first, 7), entry(owner="a_b", repo="c"))
    assert S3PullIndex(store.bucket).find(first, 7) == "req_a"
    assert S3PullIndex(store.bucket).find(second, 7) is None
