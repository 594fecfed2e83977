"""Leases: one holder at a time, taken over only after their end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.adapters.conftest import Store
from tests.builders import NOW
from tfpilot.adapters.leases import S3Leases
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.lease import Lease
from tfpilot.errors import ConflictError

LASTS = timedelta(seconds=60)


def lease(holder: str = "a", *, now=NOW) -> Lease:
    return Lease("reset-payments-dev", holder, "ops-lead", "resetting payments-dev", now + LASTS)


@pytest.fixture
def leases(store: Store) -> S3Leases:
    return S3Leases(store.bucket)


def test_a_lease_that_is_held_names_its_holder_and_one_that_was_given_back_is_free(leases: S3Leases):
    held = leases.take(lease(), now=NOW)
    assert leases.find("reset-payments-dev", now=NOW) == lease()
    with pytest.raises(ConflictError, match="ops-lead is at it: resetting payments-dev") as refused:
        leases.take(lease("b"), now=NOW)
    assert "its hold ends at 12:01:00 UTC" in refused.value.hint
    leases.release(held)
    assert leases.find("reset-payments-dev", now=NOW) is None
    assert leases.take(lease("b"), now=NOW).lease.holder == "b"


def test_a_lease_is_taken_over_only_after_its_end_and_the_former_holder_learns_of_it(leases: S3Leases):
    held = leases.take(lease(), now=NOW)
    with pytest.raises(ConflictError):
        leases.take(lease("b"), now=NOW + LASTS - timedelta(milliseconds=1))
    taken = leases.take(lease("b", now=NOW + LASTS), now=NOW + LASTS)
    with pytest.raises(ConflictError):
        leases.renew(held, until=NOW + 3 * LASTS)
    leases.release(held)
    assert leases.find("reset-payments-dev", now=NOW + LASTS) == taken.lease


def test_a_lease_that_is_renewed_in_time_is_not_taken_over(leases: S3Leases):
    held = leases.renew(leases.take(lease(), now=NOW), until=NOW + 2 * LASTS)
    with pytest.raises(ConflictError):
        leases.take(lease("b"), now=NOW + LASTS + timedelta(seconds=1))
    leases.release(held)
    assert leases.find("reset-payments-dev", now=NOW) is None


def test_what_is_no_lease_holds_nobody_off(leases: S3Leases, store: Store):
    store.write("ops/leases/reset-payments-dev.json", b"{")
    assert leases.find("reset-payments-dev", now=NOW) is None
    assert leases.take(lease(), now=NOW).lease == lease()


@pytest.mark.server
def test_of_sixteen_who_take_a_lease_at_once_one_gets_it_also_over_one_that_ended(bucket: Bucket):
    leases = S3Leases(bucket)

    def won(holder: str, turn: int) -> bool:
        now = NOW + turn * LASTS
        try:
            leases.take(lease(holder, now=now), now=now)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        for turn in range(10):
            wins = list(pool.map(lambda number, turn=turn: won(f"holder-{number}", turn), range(16)))
            assert sum(wins) == 1
