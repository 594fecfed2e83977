"""What is kept of a released lock is stored once, and stays."""

from __future__ import annotations

import json

import pytest

from tests.adapters.conftest import Store
from tests.core.test_lock_release import FILE, record
from tfpilot.adapters.lock_records import S3LockRecords
from tfpilot.core.lock_release import KeptLock, record_fields
from tfpilot.errors import ConflictError

KEY = "ops/backups/locks/20260302-120030-ab.json"


def test_a_record_is_stored_under_its_id(store: Store) -> None:
    kept = record(KeptLock(FILE, b'{"ID":"6b0f3c1e"}'))
    assert S3LockRecords(store.bucket).add(kept) == KEY
    assert json.loads(store.bucket.read(KEY, limit_bytes=10_000).content) == record_fields(kept)


def test_a_record_never_replaces_another(store: Store) -> None:
    store.write(KEY, b"{}")
    with pytest.raises(ConflictError):
        S3LockRecords(store.bucket).add(record())
    assert store.bucket.read(KEY, limit_bytes=10_000).content == b"{}"
