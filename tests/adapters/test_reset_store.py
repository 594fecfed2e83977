"""The places of a reset keep the same promises in memory and on real servers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.core.reset_world import FOREIGN, LOCK_ID, state_bytes, target
from tests.fakes import Clock, MemoryBucket
from tests.reset_fakes import MemoryResetStores
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.lock_table import DIGEST, INFO, LockTable
from tfpilot.adapters.reset_store import S3ResetStore, S3ResetStores
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.reset_plan import ReadObject, sha256_of
from tfpilot.core.reset_steps import Found, Place, Store
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import LockInfo, LockMode, MalformedLock, StoredLock, digest_id, lock_id, md5_of
from tfpilot.errors import ConflictError, DocumentError, StorageError
from tfpilot.sandbox.lock_table import LocalDynamoDB

KEY = "dev/terraform.tfstate"
OURS = f'{{"ID":"{LOCK_ID}","Who":"ops-lead@tfpilot-ops"}}'.encode()


@dataclass
class Places:
    """The places of one target, and what somebody else does in its lock table."""

    store: Any
    target: ResetTarget
    put_item: Callable[[str, str, str | None], None]

    def place(self, store: Store, key: str) -> Place:
        return Place(store, key)

    @property
    def lock_item(self) -> str:
        return lock_id(self.target.bucket, KEY)

    @property
    def digest_item(self) -> str:
        return digest_id(self.target.bucket, KEY)


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.server)])
def places(request: pytest.FixtureRequest, clock: Clock) -> Places:
    """Each test with this runs twice: in memory and on the real servers."""
    if request.param == "memory":
        stores, chosen = MemoryResetStores(MemoryBucket(clock)), target(LockMode.BOTH)

        def put(item: str, _attribute: str, text: str | None) -> None:
            stores.items[chosen.lock_table, item] = text

        return Places(stores.of(chosen), chosen, put)
    bucket: Bucket = request.getfixturevalue("bucket")
    states: Bucket = request.getfixturevalue("state_bucket")
    table: LockTable = request.getfixturevalue("lock_table")
    server: LocalDynamoDB = request.getfixturevalue("lock_server")
    client = server.connect()

    def put_real(item: str, attribute: str, text: str | None) -> None:
        fields = {"LockID": {"S": item}} | ({} if text is None else {attribute: {"S": text}})
        client.put_item(TableName=table.name, Item=fields)

    chosen = replace(target(LockMode.BOTH), bucket=states.name, lock_table=table.name)
    return Places(S3ResetStore(bucket, Bulk(bucket), states, table), chosen, put_real)


@pytest.mark.parametrize("store", [Store.STATE_BUCKET, Store.REQUESTS_BUCKET])
def test_an_object_is_found_by_its_content_and_written_only_over_what_was_found(places: Places, store: Store):
    place = places.place(store, KEY)
    assert (places.store.find(place), places.store.read(place)) == (None, None)
    first = places.store.write(place, b"1", over=None)
    assert first.mark == sha256_of(b"1")
    assert (places.store.find(place).mark, places.store.find(place).etag) == (first.mark, first.etag)
    with pytest.raises(ConflictError):
        places.store.write(place, b"2", over=None)
    second = places.store.write(place, b"2", over=first)
    with pytest.raises(ConflictError):
        places.store.write(place, b"3", over=first)
    with pytest.raises(ConflictError):
        places.store.remove(place, found=first)
    assert places.store.read(place).content == b"2"
    places.store.remove(place, found=second)
    assert places.store.find(place) is None
    with pytest.raises(ConflictError):
        places.store.remove(place, found=second)


def test_a_digest_item_is_written_and_removed_only_as_it_was_found(places: Places):
    place = places.place(Store.LOCK_TABLE, places.digest_item)
    assert (places.store.find(place), places.store.find_digest(KEY)) == (None, None)
    found = places.store.write(place, b"d1", over=None)
    assert places.store.find(place) == found == Found("d1", "d1")
    with pytest.raises(ConflictError):
        places.store.write(place, b"d2", over=None)
    changed = places.store.write(place, b"d2", over=found)
    with pytest.raises(ConflictError):
        places.store.remove(place, found=found)
    assert places.store.find_digest(KEY) == "d2"
    places.store.remove(place, found=changed)
    assert places.store.find_digest(KEY) is None
    with pytest.raises(ConflictError):
        places.store.remove(place, found=changed)


def test_a_digest_item_without_a_digest_cannot_be_told(places: Places):
    places.put_item(places.digest_item, DIGEST, None)
    with pytest.raises(DocumentError, match="has no Digest"):
        places.store.find_digest(KEY)
    with pytest.raises(DocumentError, match="has no Digest"):
        places.store.find(places.place(Store.LOCK_TABLE, places.digest_item))


@pytest.mark.parametrize("half", ["lockfile", "item"])
def test_a_lock_is_told_by_its_id_and_removed_only_as_it_was_read(places: Places, half: str):
    is_item = half == "item"
    place = (
        places.place(Store.LOCK_TABLE, places.lock_item)
        if is_item
        else places.place(Store.STATE_BUCKET, f"{KEY}.tflock")
    )
    places.store.write(place, OURS, over=None)
    found = places.store.find(place)
    assert found.mark == LOCK_ID
    lock = places.store.find_lock(place)
    assert isinstance(lock.lock, LockInfo)
    with pytest.raises(ConflictError):
        places.store.write(place, FOREIGN.encode(), over=None)
    other = StoredLock(lock.lock, FOREIGN if is_item else md5_of(FOREIGN.encode()))
    with pytest.raises(ConflictError):
        places.store.remove_lock(place, other)
    assert places.store.find_lock(place) == lock
    places.store.remove_lock(place, lock)
    assert places.store.find_lock(place) is None
    with pytest.raises(ConflictError):
        places.store.remove_lock(place, lock)


@pytest.mark.parametrize("text", [None, "", "{"])
def test_a_malformed_lock_item_is_told_and_can_be_removed_exactly(places: Places, text: str | None):
    places.put_item(places.lock_item, INFO, text)
    place = places.place(Store.LOCK_TABLE, places.lock_item)
    lock = places.store.find_lock(place)
    assert isinstance(lock.lock, MalformedLock)
    assert places.store.find(place).mark.startswith("malformed")
    places.put_item(places.lock_item, INFO, FOREIGN)
    with pytest.raises(ConflictError):
        places.store.remove_lock(place, lock)
    places.put_item(places.lock_item, INFO, text)
    places.store.remove_lock(place, lock)
    assert places.store.find_lock(place) is None


def test_many_objects_are_read_at_once_without_those_that_are_not_there(places: Places):
    for number in range(3):
        places.store.write(places.place(Store.REQUESTS_BUCKET, f"requests/req_{number}.json"), b"x", over=None)
    keys = [f"requests/req_{number}.json" for number in range(5)]
    assert sorted(places.store.read_all(keys)) == keys[:3]


# Only what real servers have


@pytest.fixture
def real(request: pytest.FixtureRequest, bucket: Bucket, state_bucket: Bucket, lock_table: LockTable) -> S3ResetStore:
    return S3ResetStore(bucket, Bulk(bucket), state_bucket, lock_table)


STATE = Place(Store.STATE_BUCKET, KEY)


@pytest.mark.server
def test_an_earlier_version_is_read_by_its_id_also_after_a_removal(real: S3ResetStore):
    first = real.write(STATE, b"1", over=None)
    second = real.write(STATE, b"2", over=first)
    assert first.version_id not in {None, second.version_id}
    real.remove(STATE, found=second)
    earlier = real.read(STATE, version_id=first.version_id)
    assert earlier is not None
    assert earlier.content == b"1"
    assert real.read(STATE, version_id="00000000000000000000000000000000") is None


@pytest.mark.server
def test_tags_and_versioning_are_told(real: S3ResetStore, state_bucket: Bucket):
    assert real.tags() == {"tfpilot:environment": "dev"}
    assert real.versioning() is Versioning.ENABLED
    state_bucket.client.delete_bucket_tagging(Bucket=state_bucket.name)
    state_bucket.client.put_bucket_versioning(Bucket=state_bucket.name, VersioningConfiguration={"Status": "Suspended"})
    assert (real.tags(), real.versioning()) == ({}, Versioning.SUSPENDED)


@pytest.mark.server
def test_a_backup_is_encrypted_like_what_it_is_of(real: S3ResetStore, state_bucket: Bucket):
    state_bucket.client.put_object(Bucket=state_bucket.name, Key=KEY, Body=state_bytes(), ServerSideEncryption="AES256")
    read = real.read(STATE)
    assert read is not None
    assert read.encryption == "AES256"
    real.write(Place(Store.STATE_BUCKET, "tfpilot-ops-backup/x"), read.content, over=None, encrypted_like=read)
    stored = state_bucket.client.head_object(Bucket=state_bucket.name, Key="tfpilot-ops-backup/x")
    assert stored["ServerSideEncryption"] == "AES256"


@pytest.mark.server
def test_a_bucket_and_a_table_that_are_not_there_are_said(bucket: Bucket, lock_server: LocalDynamoDB):
    table = LockTable(lock_server.connect(), "no")
    nowhere = S3ResetStore(bucket, Bulk(bucket), bucket.sibling("no-such-bucket"), table)
    with pytest.raises(StorageError, match=r"Could not read dev/terraform\.tfstate in bucket no-such-bucket"):
        nowhere.read(STATE)
    with pytest.raises(StorageError, match="Could not read the tags"):
        nowhere.tags()
    with pytest.raises(StorageError, match="in table no: ResourceNotFoundException"):
        nowhere.find_digest(KEY)
    with pytest.raises(StorageError, match="in table no"):
        nowhere.write(Place(Store.LOCK_TABLE, "x-md5"), b"d", over=None)


@pytest.mark.server
def test_a_target_without_a_table_has_none_to_ask(bucket: Bucket):
    store = S3ResetStores(bucket, Bulk(bucket)).of(target(LockMode.LOCKFILE))
    with pytest.raises(StorageError, match="no lock table"):
        store.find_digest(KEY)


def won(act: Callable[[], object]) -> bool:
    try:
        act()
    except ConflictError:
        return False
    return True


@pytest.mark.server
@pytest.mark.parametrize("half", ["lockfile", "item"])
def test_of_sixteen_who_take_a_lock_at_once_one_gets_it_and_whoever_releases_it_never_removes_the_next(
    bucket: Bucket, lock_table: LockTable, half: str
):
    """In a bucket without versions: SeaweedFS does not remove on condition as one step where there are some."""
    real = S3ResetStore(bucket, Bulk(bucket), bucket, lock_table)
    item = Place(Store.LOCK_TABLE, lock_id(bucket.name, KEY))
    place = item if half == "item" else Place(Store.STATE_BUCKET, f"{KEY}.tflock")

    def take(turn: int, number: int) -> str | None:
        id_ = f"{turn}-{number}"
        return id_ if won(lambda: real.write(place, f'{{"ID":"{id_}"}}'.encode(), over=None)) else None

    with ThreadPoolExecutor(16) as pool:
        for turn in range(15):
            taken = [id_ for id_ in pool.map(lambda number, turn=turn: take(2 * turn, number), range(16)) if id_]
            lock = real.find_lock(place)
            assert lock is not None
            assert [lock.mark] == taken
            releases = [pool.submit(won, lambda lock=lock: real.remove_lock(place, lock)) for _ in range(8)]
            retakes = [pool.submit(take, 2 * turn + 1, number) for number in range(8)]
            released = sum(each.result() for each in releases)
            retaken = [id_ for each in retakes if (id_ := each.result())]
            assert released == 1
            there = real.find_lock(place)
            assert [there.mark] == retaken if there is not None else retaken == []
            if there is not None:
                real.remove_lock(place, there)


def test_an_object_says_its_encryption_only_where_the_store_does():
    assert ReadObject("k", b"", "e").encryption == ""
