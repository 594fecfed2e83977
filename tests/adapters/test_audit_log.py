"""The audit on a bucket: chains that only grow, one per replica, and what a check finds when somebody changed them."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.adapters.conftest import Store, real_store
from tests.builders import NOW
from tests.fakes import OUTAGE, InMemory
from tfpilot.adapters.audit_log import MAX_BATCH_BYTES, S3AuditLog, new_chain
from tfpilot.adapters.audit_trail import S3AuditTrail
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.audit import Anchor, AuditEvent, AuditReport, Flaw, Part, merged, verify_all
from tfpilot.core.model import Door
from tfpilot.errors import StorageError

KEY = b"a key that nobody else has, of 32 and more"
CHAIN = "20260302T120000-replica1"


def event(number: int = 1, part: Part = Part.DONE) -> AuditEvent:
    return AuditEvent(
        at=NOW + timedelta(seconds=number),
        actor="maya-k",
        role="developer",
        door=Door.PAGE,
        operation="repair",
        subject=f"req_dev_{number}",
        part=part,
        data={},
    )


def log(store: Store, chain: str = CHAIN) -> S3AuditLog:
    return S3AuditLog(store.bucket, chain=chain, key=KEY)


def verified(store: Store, *receipts: Anchor, keys: tuple[bytes, ...] = (KEY,)) -> AuditReport:
    trail = S3AuditTrail(store.bucket, keys=keys)
    return verify_all(trail.chains(), receipts, keys=trail.keys, has_key=trail.has_key)


def keys_of(store: Store, under: str = "ops/audit/records/") -> list[str]:
    return sorted(store.bucket.list_all(under))


def test_what_was_appended_is_read_back_in_its_chain_and_confirmed_by_its_head(store: Store):
    chain = log(store)
    appended = [chain.append(event(number)) for number in range(1, 4)]
    found = S3AuditTrail(store.bucket, keys=(KEY,)).read(since=NOW, until=NOW + timedelta(hours=1))
    assert merged([found]) == tuple(reversed(appended))
    assert [record.before for record in appended] == ["", appended[0].seal, appended[1].seal]
    [report] = verified(store).chains
    assert (report.verified, report.anchored, report.broken) == (3, 3, None)


def test_an_intent_alone_waits_for_its_anchor_and_that_is_reported(store: Store):
    chain = log(store)
    chain.append(event(1))
    chain.append(event(2, Part.INTENT))
    assert verified(store).unanchored == 1
    chain.anchor()
    assert verified(store).unanchored == 0


def test_records_are_found_by_their_day_and_time(store: Store):
    chain = log(store)
    for day in (0, 1, 5):
        chain.append(event(day * 24 * 3600))
    trail = S3AuditTrail(store.bucket, keys=(KEY,))
    found = trail.read(since=NOW + timedelta(hours=12), until=NOW + timedelta(days=2))
    assert [record.number for record in found] == [2]


def change(store: Store, key: str) -> None:
    stored = json.loads(store.bucket.read(key, limit_bytes=MAX_BATCH_BYTES).content)
    stored["records"][0]["actor"] = "somebody-else"
    store.write(key, json.dumps(stored).encode())


SPOILS: dict[str, tuple[Callable[[Store, list[str]], object], int, Flaw]] = {
    "changed": (lambda store, keys: change(store, keys[1]), 2, Flaw.ALTERED),
    "removed": (lambda store, keys: store.delete(keys[1]), 2, Flaw.MISSING),
    "made unreadable": (lambda store, keys: store.write(keys[1], b"{"), 2, Flaw.UNREADABLE),
    "cut off": (lambda store, keys: [store.delete(key) for key in keys[2:]], 3, Flaw.CUT_OFF),
    "all removed": (lambda store, keys: [store.delete(key) for key in keys], 1, Flaw.CUT_OFF),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_somebody_did_to_the_records_is_found_and_named(store: Store, spoil: str):
    chain = log(store)
    for number in range(1, 5):
        chain.append(event(number))
    act, number, flaw = SPOILS[spoil]
    act(store, keys_of(store))
    [report] = verified(store).broken
    assert report.broken is not None
    assert (report.chain, report.broken.number, report.broken.flaw) == (CHAIN, number, flaw)


def test_a_chain_that_was_removed_with_its_head_is_missed_by_a_receipt(store: Store):
    chain = log(store)
    chain.append(event())
    receipt = chain.anchor()
    assert receipt is not None
    for key in keys_of(store, "ops/audit/"):
        store.delete(key)
    [report] = verified(store, receipt).broken
    assert report.broken is not None
    assert report.broken.flaw is Flaw.CUT_OFF


def test_records_sealed_by_another_key_do_not_verify_and_by_the_key_before_they_do(store: Store):
    log(store).append(event())
    assert verified(store, keys=(b"another key",)).broken != []
    assert verified(store, keys=(b"the next key", KEY)).broken == []


def test_an_append_that_storage_refused_leaves_the_chain_whole(memory: InMemory):
    store = Store(memory.bucket, None, memory.bucket.write, memory.bucket.delete)
    chain = log(store)
    chain.append(event(1))
    store.bucket.outage = OUTAGE
    with pytest.raises(StorageError):
        chain.append(event(2))
    store.bucket.outage = None
    chain.append(event(3))
    assert verified(store).broken == []
    assert verified(store).verified == 2


def test_an_append_whose_answer_was_lost_is_taken_for_stored(store: Store):
    chain, ghost = log(store), log(store)
    ghost.append(event(1))  # the same chain's next object, stored though nobody said so
    record = chain.append(event(2))
    assert record.number == 2
    assert verified(store).broken == []


@pytest.mark.server
def test_eight_replicas_at_once_leave_eight_unbroken_chains_and_one_view(bucket: Bucket):
    store = real_store(bucket)
    replicas = [log(store, new_chain(NOW)) for _ in range(8)]

    def append(number: int) -> None:
        replicas[number % 8].append(event(number))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(append, range(400)))
    report = verified(store)
    assert (len(report.chains), report.broken, report.verified, report.unanchored) == (8, [], 400, 0)
    found = S3AuditTrail(bucket, keys=(KEY,)).read(since=NOW, until=NOW + timedelta(hours=1))
    view = merged([found])
    assert sorted(record.event.subject for record in view) == sorted(f"req_dev_{number}" for number in range(400))
    assert [record.event.at for record in view] == sorted((record.event.at for record in view), reverse=True)
    assert len(keys_of(store)) < 400  # those that came together were stored together
