"""Sign-ins that were ended, in memory and on the real server."""

from __future__ import annotations

import pytest

from tests.builders import NOW
from tests.fakes import OUTAGE, MemoryBucket
from tfpilot.adapters.sign_outs import S3SignOuts
from tfpilot.errors import MalformedIdError, StorageError

KEY, OTHER = "a" * 64, "b" * 64


def test_an_ended_sign_in_is_known_to_every_process(store):
    here, there = S3SignOuts(store.bucket), S3SignOuts(store.bucket)
    assert not there.has(KEY)
    here.add(KEY, at=NOW)
    here.add(KEY, at=NOW)
    assert here.has_here(KEY)
    assert not there.has_here(KEY)
    assert there.has(KEY)
    assert there.has_here(KEY)
    assert not there.has(OTHER)


def test_whatever_the_object_says_the_sign_in_is_ended(store):
    store.write(f"ops/signouts/{KEY}.json", b"not json")
    store.write(f"ops/signouts/{OTHER}.json", b"x" * (300 * 1024))
    assert S3SignOuts(store.bucket).has(KEY)
    assert S3SignOuts(store.bucket).has(OTHER)


def test_without_the_bucket_this_process_knows_and_says_that_others_do_not():
    bucket = MemoryBucket()
    sign_outs = S3SignOuts(bucket)
    bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        sign_outs.has(KEY)
    with pytest.raises(StorageError):
        sign_outs.add(KEY, at=NOW)
    assert sign_outs.has(KEY)


@pytest.mark.parametrize("key", ["", "A" * 64, f"{'a' * 64}/x", "../freeze"])
def test_what_cannot_be_a_key_names_no_object(key):
    with pytest.raises(MalformedIdError):
        S3SignOuts(MemoryBucket()).add(key, at=NOW)
