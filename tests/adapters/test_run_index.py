"""What the run index promises, one run at a time: of all who claim a run, exactly one gets it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.adapters.conftest import Store
from tests.adapters.faulty_s3 import FaultyS3
from tests.builders import NOW
from tfpilot.adapters.index_objects import S3IndexObjects
from tfpilot.adapters.run_index import S3RunIndex
from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.versions import read_versions
from tfpilot.core.model import Claim, ClaimOutcome, RunIndexEntry, WorkflowKind
from tfpilot.core.run_index import PREFIX, entry_key, new_entry, parse_entry, render_entry
from tfpilot.errors import ConflictError, RefusedError, StorageError

PLAN = WorkflowKind.PLAN
KEY = entry_key(PLAN, 1)


def entry(request_id: str, run_id: int = 1) -> RunIndexEntry:
    return new_entry(PLAN, run_id, request_id, created_at=NOW)


@pytest.fixture
def index(store: Store) -> S3RunIndex:
    return S3RunIndex(store.bucket)


def test_a_run_without_an_entry_belongs_to_nobody(index: S3RunIndex):
    assert index.find(PLAN, 1) is None


def test_a_claimed_run_is_found_with_everything_that_was_claimed(index: S3RunIndex):
    assert index.claim(entry("req_a")) == Claim(ClaimOutcome.NEW, "req_a")
    assert index.find(PLAN, 1) == entry("req_a")


def test_the_second_claim_is_fine_for_the_owner_and_names_it_to_others(index: S3RunIndex):
    index.claim(entry("req_a"))
    assert index.claim(entry("req_a")) == Claim(ClaimOutcome.OWN, "req_a")
    assert index.claim(entry("req_b")) == Claim(ClaimOutcome.TAKEN, "req_a")
    assert index.find(PLAN, 1) == entry("req_a")


@pytest.mark.parametrize("content", [b"{", render_entry(entry("req_a", 2)), b" " * 65_537])
def test_an_entry_that_cannot_be_used_blocks_the_run_and_names_nobody(index: S3RunIndex, store: Store, content: bytes):
    store.write(KEY, content)
    assert index.find(PLAN, 1) is None
    assert index.claim(entry("req_a")) == Claim(ClaimOutcome.TAKEN, None)
    assert store.bucket.read(KEY, limit_bytes=70_000).content == content


@pytest.mark.server
def test_of_two_thousand_racing_claims_no_run_gets_two_owners(bucket: Bucket):
    """100 runs, each claimed by 20 requests, by 32 threads, in an order that nobody knows."""
    index = S3RunIndex(bucket)
    claims = [entry(f"req_{number}", run_id) for run_id in range(1, 101) for number in range(20)]
    random.Random(5).shuffle(claims)
    together = threading.Barrier(32)

    def claim_some(worker: int) -> list[tuple[RunIndexEntry, Claim]]:
        together.wait()
        return [(wanted, index.claim(wanted)) for wanted in claims[worker::32]]

    with ThreadPoolExecutor(32) as pool:
        answers = [answer for part in pool.map(claim_some, range(32)) for answer in part]
    assert len(answers) == 2000
    winners = {wanted.run_id: wanted.request_id for wanted, claim in answers if claim.outcome is ClaimOutcome.NEW}
    assert Counter(wanted.run_id for wanted, claim in answers if claim.holds) == Counter(range(1, 101))
    assert {claim.owner == winners[wanted.run_id] for wanted, claim in answers} == {True}
    stored = {run_id: index.find(PLAN, run_id) for run_id in winners}
    assert {run_id: found.request_id for run_id, found in stored.items() if found} == winners


@pytest.mark.server
def test_a_claim_whose_answer_was_lost_is_known_to_be_ours(door: FaultyS3, behind_door: Bucket):
    door.lose_answer("PUT")
    assert S3RunIndex(behind_door).claim(entry("req_a")) == Claim(ClaimOutcome.NEW, "req_a")
    assert door.counts["PUT"] == 2


@pytest.mark.server
def test_an_index_that_cannot_be_read_is_an_error_and_not_a_free_run(door: FaultyS3, behind_door: Bucket):
    door.refuse("GET", 403, "AccessDenied")
    with pytest.raises(StorageError):
        S3RunIndex(behind_door).find(PLAN, 1)


@pytest.mark.server
def test_a_look_up_is_one_get(door: FaultyS3, behind_door: Bucket):
    S3RunIndex(behind_door).claim(entry("req_a"))
    door.counts.clear()
    S3RunIndex(behind_door).find(PLAN, 1)
    assert dict(door.counts) == {"GET": 1}


# Removing a version, and earlier ones


@pytest.fixture
def objects(store: Store) -> S3IndexObjects:
    return S3IndexObjects(store.bucket)


def test_only_the_version_that_was_read_is_removed(objects: S3IndexObjects, store: Store):
    store.write(KEY, b"1")
    found = objects.find(KEY)
    assert found is not None
    store.write(KEY, b"2")
    with pytest.raises(ConflictError):
        objects.delete(KEY, if_match=found.etag)
    now = objects.find(KEY)
    assert now is not None
    assert now.content == b"2"
    objects.delete(KEY, if_match=now.etag)
    assert objects.find(KEY) is None


def test_what_is_gone_cannot_be_removed_again(objects: S3IndexObjects, store: Store):
    etag = objects.put(KEY, b"1", if_match=None)
    objects.delete(KEY, if_match=etag)
    with pytest.raises(ConflictError):
        objects.delete(KEY, if_match=etag)


@pytest.mark.parametrize("key", ["requests/req_a.json", "", f"ops/{PREFIX}plan/run-1.json"])
def test_nothing_outside_the_run_index_is_touched(objects: S3IndexObjects, key: str):
    for touch in (
        lambda: objects.find(key),
        lambda: objects.put(key, b"", if_match=None),
        lambda: objects.delete(key, if_match="e"),
    ):
        with pytest.raises(RefusedError):
            touch()


@pytest.mark.server
def test_of_many_who_remove_one_version_one_succeeds(bucket: Bucket):
    objects = S3IndexObjects(bucket)
    etag = objects.put(KEY, b"1", if_match=None)
    together = threading.Barrier(16)

    def remove(_: int) -> bool:
        together.wait()
        try:
            objects.delete(KEY, if_match=etag)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(remove, range(16))) == 1


@pytest.mark.server
@pytest.mark.parametrize("code", ["PreconditionFailed", "NoSuchKey"])
def test_both_answers_of_a_store_about_a_key_that_is_gone_mean_the_same(code: str, door: FaultyS3, behind_door: Bucket):
    door.refuse("DELETE", 412 if code == "PreconditionFailed" else 404, code)
    with pytest.raises(ConflictError):
        behind_door.delete(KEY, if_match="e")


@pytest.mark.server
def test_a_removal_that_s3_refuses_is_a_storage_error(door: FaultyS3, behind_door: Bucket):
    door.refuse("DELETE", 403, "AccessDenied")
    with pytest.raises(StorageError, match="AccessDenied"):
        behind_door.delete(KEY, if_match="e")


@pytest.mark.server
def test_without_versioning_nothing_earlier_is_known(bucket: Bucket):
    S3RunIndex(bucket).claim(entry("req_a"))
    history = S3IndexObjects(bucket).history()
    assert (history.kept, history.versions) == (False, {})


@pytest.mark.server
def test_versions_tell_what_an_entry_said_before_the_oldest_first(door: FaultyS3, behind_door: Bucket):
    version(behind_door)
    S3RunIndex(behind_door).claim(entry("req_quiet", 2))
    for request_id in ("req_a", "req_b", "req_c"):
        overwrite(behind_door, request_id)
    door.counts.clear()
    history = read_versions(behind_door, PREFIX, limit_bytes=1000)
    assert history.kept
    assert list(history.versions) == [KEY]
    contents = [(each.latest, each.content) for each in history.versions[KEY]]
    assert contents == [(False, render_entry(entry("req_a"))), (False, render_entry(entry("req_b"))), (True, None)]
    assert (door.counts["VERSIONS"], door.counts["LIST"]) == (1, 0)


@pytest.mark.server
def test_a_version_is_removed_conditionally_where_versions_are_kept_and_stays_readable(bucket: Bucket):
    version(bucket)
    objects = S3IndexObjects(bucket)
    overwrite(bucket, "req_a")
    old = objects.find(KEY)
    overwrite(bucket, "req_b")
    assert old is not None
    with pytest.raises(ConflictError):
        objects.delete(KEY, if_match=old.etag)
    now = objects.find(KEY)
    assert now is not None
    objects.delete(KEY, if_match=now.etag)
    assert objects.find(KEY) is None
    earlier = [each.content for each in objects.history().versions[KEY]]
    assert [parse_entry(content or b"", key=KEY).request_id for content in earlier] == ["req_a", "req_b"]


def test_a_claim_and_its_entry_agree_about_ninety_days():
    assert entry("req_a").expires_at - entry("req_a").created_at == timedelta(days=90)


def version(bucket: Bucket) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})


def overwrite(bucket: Bucket, request_id: str) -> None:
    """As somebody writes who uses no conditions."""
    bucket.client.put_object(Bucket=bucket.name, Key=KEY, Body=render_entry(entry(request_id)))
