"""What a bucket promises: nobody's write is overwritten unseen, and every failure says what to check."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from tests.adapters.conftest import Store, seed
from tests.adapters.faulty_s3 import FaultyS3
from tfpilot.adapters import s3
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.errors import ConflictError, DocumentError, NotFoundError, StorageError

KEY = "requests/req_a.json"
LIMIT = 1000


def test_what_was_written_is_read_back_with_the_etag_that_the_write_answered(store: Store) -> None:
    etag = store.bucket.put(KEY, b"one", if_match=None)
    body = store.bucket.read(KEY, limit_bytes=LIMIT)
    assert (body.content, body.etag) == (b"one", etag)


def test_an_etag_has_no_quotes_wherever_it_comes_from(store: Store) -> None:
    etag = store.bucket.put(KEY, b"one", if_match=None)
    assert '"' not in etag
    assert store.bucket.list_all("requests/")[KEY].etag == etag
    assert store.bulk.list_all("requests/")[KEY].etag == etag
    assert [each.listed.etag for each in read_all(store)] == [etag]


def test_a_write_over_the_version_that_was_read_succeeds(store: Store) -> None:
    etag = store.bucket.put(KEY, b"one", if_match=None)
    newer = store.bucket.put(KEY, b"two", if_match=etag)
    assert store.bucket.read(KEY, limit_bytes=LIMIT).etag == newer


def test_a_quoted_etag_names_the_same_version(store: Store) -> None:
    etag = store.bucket.put(KEY, b"one", if_match=None)
    assert store.bucket.put(KEY, b"two", if_match=f'"{etag}"')


def test_a_write_over_another_version_is_refused_and_changes_nothing(store: Store) -> None:
    etag = store.bucket.put(KEY, b"one", if_match=None)
    store.write(KEY, b"somebody else's")
    with pytest.raises(ConflictError, match=KEY):
        store.bucket.put(KEY, b"two", if_match=etag)
    assert store.bucket.read(KEY, limit_bytes=LIMIT).content == b"somebody else's"


def test_a_write_over_a_version_that_is_gone_is_refused_and_creates_nothing(store: Store) -> None:
    etag = store.bucket.put(KEY, b"one", if_match=None)
    store.delete(KEY)
    with pytest.raises(ConflictError):
        store.bucket.put(KEY, b"two", if_match=etag)
    assert store.bucket.find(KEY, limit_bytes=LIMIT) is None


def test_a_new_key_is_never_written_over_an_old_one(store: Store) -> None:
    store.write(KEY, b"one")
    with pytest.raises(ConflictError):
        store.bucket.put(KEY, b"two", if_match=None)
    assert store.bucket.read(KEY, limit_bytes=LIMIT).content == b"one"


def test_a_missing_object_is_not_found_by_name(store: Store) -> None:
    with pytest.raises(NotFoundError, match=KEY):
        store.bucket.read(KEY, limit_bytes=LIMIT)
    assert store.bucket.find(KEY, limit_bytes=LIMIT) is None


def test_an_object_above_the_limit_is_refused_with_its_size_and_the_limit(store: Store) -> None:
    store.write(KEY, b"x" * 1001)
    with pytest.raises(DocumentError, match=r"1,001 bytes.*1,000"):
        store.bucket.read(KEY, limit_bytes=LIMIT)
    assert [each.content for each in read_all(store)] == [None]
    store.write(KEY, b"x" * 1000)
    assert len(store.bucket.read(KEY, limit_bytes=LIMIT).content) == 1000


def test_a_listing_holds_exactly_what_is_under_the_prefix(store: Store) -> None:
    for key in ("requests/a.json", "requests/b.json", "requests-old/c.json", "history/a.json"):
        store.write(key, b"{}")
    assert set(store.bulk.list_all("requests/")) == {"requests/a.json", "requests/b.json"}
    assert set(store.bulk.list_all("nothing/")) == set()


def test_bulk_reading_keeps_the_order_and_leaves_out_what_is_gone(store: Store) -> None:
    for name in "cab":
        store.write(f"requests/{name}.json", name.encode())
    listed = sorted(store.bulk.list_all("requests/").values(), key=lambda each: each.key)
    store.delete("requests/b.json")
    assert [each.content for each in store.bulk.read_all(listed, limit_bytes=LIMIT)] == [b"a", b"c"]


def test_bulk_reading_gives_the_version_it_read_and_not_the_one_that_was_listed(store: Store) -> None:
    store.write(KEY, b"listed")
    listed = list(store.bulk.list_all("requests/").values())
    store.write(KEY, b"changed since")
    [fetched] = store.bulk.read_all(listed, limit_bytes=LIMIT)
    assert fetched.content == b"changed since"
    assert fetched.listed.etag == store.bucket.read(KEY, limit_bytes=LIMIT).etag


@pytest.mark.server
def test_more_objects_than_one_page_holds_are_all_listed(bucket: Bucket) -> None:
    keys = {f"requests/req_{number}.json" for number in range(1100)}
    seed(bucket, dict.fromkeys(keys, b"{}"))
    assert set(Bulk(bucket).list_all("requests/")) == keys
    assert set(bucket.list_all("requests/")) == keys


@pytest.mark.server
def test_one_key_with_a_line_break_does_not_hide_the_others(bucket: Bucket) -> None:
    keys = {"requests/req_a.json", "requests/line\nbreak.json"}
    for key in keys:
        bucket.put(key, b"{}", if_match=None)
    assert set(Bulk(bucket).list_all("requests/")) == keys


@pytest.mark.server
def test_a_write_is_stored_as_json_and_with_server_side_encryption(bucket: Bucket) -> None:
    bucket.put(KEY, b"{}", if_match=None)
    stored = bucket.client.head_object(Bucket=bucket.name, Key=KEY)
    assert (stored["ContentType"], stored["ServerSideEncryption"]) == ("application/json", "AES256")


@pytest.mark.server
def test_without_encryption_no_such_header_is_sent(bucket_settings: BucketSettings) -> None:
    plain = Bucket(replace(bucket_settings, encryption=None))
    plain.put(KEY, b"{}", if_match=None)
    assert "ServerSideEncryption" not in plain.client.head_object(Bucket=plain.name, Key=KEY)


@pytest.mark.server
def test_a_write_whose_answer_was_lost_is_recognised_as_ours(door: FaultyS3, behind_door: Bucket) -> None:
    etag = behind_door.put(KEY, b"one", if_match=None)
    door.lose_answer("PUT")
    newer = behind_door.put(KEY, b"two", if_match=etag)
    body = behind_door.read(KEY, limit_bytes=LIMIT)
    assert (body.content, body.etag) == (b"two", newer)


@pytest.mark.server
def test_a_new_key_whose_answer_was_lost_is_recognised_as_ours(door: FaultyS3, behind_door: Bucket) -> None:
    door.lose_answer("PUT")
    etag = behind_door.put(KEY, b"one", if_match=None)
    assert behind_door.read(KEY, limit_bytes=LIMIT).etag == etag


@pytest.mark.server
def test_a_new_key_of_the_bulk_client_whose_answer_was_lost_is_recognised_as_ours(
    door: FaultyS3, behind_door: Bucket
) -> None:
    door.lose_answer("PUT")
    written = Bulk(behind_door).create(KEY, b"one")
    assert door.counts["PUT"] == 2
    assert behind_door.read(KEY, limit_bytes=LIMIT).etag == written.etag


@pytest.mark.server
def test_the_same_bytes_as_a_new_key_by_somebody_else_are_not_taken_for_those_of_the_bulk_client(
    door: FaultyS3, behind_door: Bucket, bucket: Bucket
) -> None:
    door.interfere("PUT", lambda: Bulk(bucket).create(KEY, b"one"))
    with pytest.raises(ConflictError):
        Bulk(behind_door).create(KEY, b"one")


@pytest.mark.server
def test_the_same_bytes_written_by_somebody_else_are_not_taken_for_ours(
    door: FaultyS3, behind_door: Bucket, bucket: Bucket
) -> None:
    etag = behind_door.put(KEY, b"one", if_match=None)
    door.interfere("PUT", lambda: bucket.put(KEY, b"two", if_match=etag))
    with pytest.raises(ConflictError):
        behind_door.put(KEY, b"two", if_match=etag)


@pytest.mark.server
def test_a_write_that_meets_another_one_under_way_is_tried_again(door: FaultyS3, behind_door: Bucket) -> None:
    door.refuse("PUT", 409, "ConditionalRequestConflict")
    door.refuse("PUT", 409, "ConditionalRequestConflict")
    behind_door.put(KEY, b"one", if_match=None)
    assert behind_door.read(KEY, limit_bytes=LIMIT).content == b"one"
    assert door.counts["PUT"] == 3


@pytest.mark.server
def test_a_key_that_vanishes_under_the_write_is_a_conflict(door: FaultyS3, behind_door: Bucket, bucket: Bucket) -> None:
    etag = behind_door.put(KEY, b"one", if_match=None)
    bucket.client.delete_object(Bucket=bucket.name, Key=KEY)
    door.refuse("PUT", 404, "NoSuchKey")
    with pytest.raises(ConflictError):
        behind_door.put(KEY, b"two", if_match=etag)


@pytest.mark.server
@pytest.mark.parametrize(
    ("change", "fact", "hint"),
    [
        ({"name": "no-such-bucket"}, "NoSuchBucket", "TFPILOT_REQUESTS_BUCKET"),
        ({"access_key": "somebody"}, "InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ({"secret_key": "wrong-wrong-wrong"}, "SignatureDoesNotMatch", "AWS_ACCESS_KEY_ID"),
        ({"endpoint_url": "http://user:hidden@127.0.0.1:1"}, "no usable answer", "http://127.0.0.1:1 can be reached"),
    ],
    ids=["bucket", "access key", "secret key", "endpoint"],
)
def test_a_wrong_setting_is_named_by_every_way_of_asking(
    bucket_settings: BucketSettings, change: dict[str, str], fact: str, hint: str
) -> None:
    wrong = Bucket(replace(bucket_settings, **change))
    asks = [
        lambda: wrong.read(KEY, limit_bytes=LIMIT),
        lambda: wrong.put(KEY, b"", if_match=None),
        lambda: wrong.list_all("requests/"),
        lambda: Bulk(wrong).list_all("requests/"),
    ]
    for ask in asks:
        with pytest.raises(StorageError) as caught:
            ask()
        assert fact in caught.value.message
        assert hint in caught.value.hint
        for secret in (wrong.session.get_credentials().secret_key, "somebody", "hidden"):
            assert secret not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.server
def test_missing_rights_are_named_as_such(door: FaultyS3, behind_door: Bucket) -> None:
    door.refuse("GET", 403, "AccessDenied")
    with pytest.raises(StorageError, match="AccessDenied") as caught:
        behind_door.read(KEY, limit_bytes=LIMIT)
    assert "may list, read and write" in caught.value.hint


@pytest.mark.server
def test_a_server_that_never_answers_is_an_error_and_no_wait_for_ever(
    door: FaultyS3, bucket_settings: BucketSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(s3, "TOTAL_ATTEMPTS", 1)
    slow = Bucket(replace(bucket_settings, endpoint_url=door.url))
    answered = threading.Event()
    door.hang("GET", answered)
    try:
        with pytest.raises(StorageError, match="no answer in time"):
            slow.read(KEY, limit_bytes=LIMIT)
    finally:
        answered.set()


def read_all(store: Store) -> list[s3.Listed]:
    return list(store.bulk.read_all(list(store.bulk.list_all("requests/").values()), limit_bytes=LIMIT))
