"""What a reset withstands: others at the wrong moment, a bucket that was tampered with, odd words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.core.reset_world import NAMED, PLAIN, document, state_bytes
from tests.fakes import InMemory
from tests.operations.test_reset import NEW, AfterGroup, history, hold_lockfile, reset_id_of
from tests.reset_setup import ADMIN, PLAIN_CHOICES, DevEnvironment, confirmation_of, dev_environment
from tfpilot.core.document import render_document
from tfpilot.core.lease import Lease
from tfpilot.core.reset_confirm import undo_phrase_of
from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_plan_document import digest_of, parse_plan, render_plan
from tfpilot.core.reset_receipt import next_actions, receipt_markdown
from tfpilot.core.reset_steps import Phase
from tfpilot.core.terraform import LockMode, digest_id, lock_id, lockfile_key
from tfpilot.errors import ConflictError, DocumentError, RefusedError
from tfpilot.operations.reset import apply_reset, ask_to_stop, resume_reset, undo_reset
from tfpilot.operations.reset_approval import ask_for_approval
from tfpilot.operations.reset_lease import TargetLease, lease_name
from tfpilot.operations.reset_views import find_unfinished, get_receipt, preview_undo, read_reset


@pytest.fixture
def dev(memory: InMemory) -> DevEnvironment:
    return dev_environment(memory)


def interrupted(dev: DevEnvironment, phase: Phase = Phase.STATE) -> str:
    """The id of a reset that stopped after that phase."""
    stop = AfterGroup(phase, lambda: ask_to_stop(dev.memory.edges, reset_id_of(dev), operator=ADMIN))
    ended = dev.apply(dev.plan(), on_group=stop)
    dev.memory.clock.advance(seconds=1)
    return ended.receipt.record.reset_id


def let_go(dev: DevEnvironment) -> None:
    """Whoever held the lockfile gives it back."""
    del dev.memory.reset_stores.objects[dev.target.bucket, lockfile_key(PLAIN.object_key)]


# The lease


def test_a_lease_is_held_while_a_step_lasts_longer_than_its_time(dev: DevEnvironment):
    edges = replace(
        dev.memory.edges,
        clock=lambda: datetime.now(UTC),
        resets=replace(dev.memory.resets, lease_for=timedelta(seconds=0.3)),
    )
    another = Lease(lease_name(dev.target), "b", "lena", "resetting", edges.clock())
    with TargetLease(edges, dev.target, ADMIN, doing="resetting") as lease:
        time.sleep(1)  # a step without any news, as long as three leases
        with pytest.raises(ConflictError):
            edges.leases.take(another, now=edges.clock())
        lease.keep()
    assert edges.leases.find(lease_name(dev.target), now=edges.clock()) is None


def test_whoever_lost_the_lease_removes_no_state_and_leaves_the_lease_to_the_other(dev: DevEnvironment):
    edges = dev.memory.edges

    def take_over() -> None:
        dev.memory.clock.advance(seconds=61)
        until = edges.clock() + timedelta(seconds=60)
        edges.leases.take(Lease(lease_name(dev.target), "b", "lena", "undoing", until), now=edges.clock())

    with pytest.raises(RefusedError, match="took over"):
        dev.apply(dev.plan(), on_group=AfterGroup(Phase.DIGEST, take_over))
    stores = dev.memory.reset_stores
    assert stores.objects[dev.target.bucket, NAMED.object_key] == state_bytes(3, lineage="other")
    held = edges.leases.find(lease_name(dev.target), now=edges.clock())
    assert held is not None
    assert held.operator == "lena"


# An undo that is refused


def test_an_undo_that_is_refused_changes_nothing_and_commits_to_nothing(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    hold_lockfile(dev.memory)
    with pytest.raises(RefusedError, match="is somebody else's"):
        dev.undo(ended)
    assert read_reset(dev.memory.edges, ended.receipt.record.reset_id).stage is Stage.FINISHED
    assert find_unfinished(dev.memory.edges, dev.target) is None
    let_go(dev)
    dev.memory.reset_stores.put_state(dev.target, PLAIN.object_key, state_bytes(1, lineage="fresh"))
    assert dev.plan().states[0].state is not None


def test_a_reset_that_was_interrupted_can_be_resumed_after_a_refused_undo(dev: DevEnvironment):
    reset_id = interrupted(dev)
    hold_lockfile(dev.memory)
    phrase = undo_phrase_of(read_reset(dev.memory.edges, reset_id).plan)
    with pytest.raises(RefusedError, match="is somebody else's"):
        undo_reset(dev.memory.edges, reset_id, typed=phrase, operator=ADMIN)
    assert read_reset(dev.memory.edges, reset_id).stage is Stage.UNFINISHED
    let_go(dev)
    assert resume_reset(dev.memory.edges, reset_id, operator=ADMIN).receipt.stage is Stage.FINISHED


# What an undo left, and what came later


def test_what_an_undo_left_is_put_back_once_its_place_is_free(dev: DevEnvironment):
    before = dev.contents()
    ended = dev.apply(dev.plan())
    dev.memory.reset_stores.put_state(dev.target, PLAIN.object_key, state_bytes(1, lineage="accident"))
    first = dev.undo(ended).receipt
    assert (first.stage, first.left_states) == (Stage.UNDONE, (PLAIN.object_key,))
    del dev.memory.reset_stores.objects[dev.target.bucket, PLAIN.object_key]
    del dev.memory.reset_stores.items[dev.target.lock_table, digest_id(dev.target.bucket, PLAIN.object_key)]
    again = dev.undo(ended).receipt
    assert (again.stage, again.left_states, again.kept) == (Stage.UNDONE, (), ())
    assert dev.contents() == before


def test_an_older_reset_is_not_undone_below_a_newer_one(dev: DevEnvironment):
    older = dev.apply(dev.plan())
    dev.memory.clock.advance(hours=1)
    fresh = state_bytes(1, lineage="fresh")
    dev.memory.reset_stores.put_state(dev.target, PLAIN.object_key, fresh)
    newer = dev.apply(dev.plan())
    with pytest.raises(RefusedError, match="came after"):
        dev.undo(older)
    assert (dev.target.bucket, PLAIN.object_key) not in dev.memory.reset_stores.objects
    dev.undo(newer)
    assert dev.memory.reset_stores.objects[dev.target.bucket, PLAIN.object_key] == fresh
    assert dev.undo(older).receipt.left_states == (PLAIN.object_key,)


def test_a_state_that_was_left_is_told_and_not_counted_among_the_lost(dev: DevEnvironment):
    def force() -> None:
        dev.memory.reset_stores.put_state(dev.target, NAMED.object_key, state_bytes(9))

    receipt = dev.apply(dev.plan(), on_group=AfterGroup(Phase.BACKUP, force)).receipt
    assert receipt.left_states == (NAMED.object_key,)
    told = next_actions(receipt)
    assert f"Look at {NAMED.object_key}: somebody applied meanwhile" in told[0]
    assert told[1] == "Destroy or import the 2 resources that lost their state."
    assert not [each for each in told if "starts from an empty state" in each]


# Targets that say something else


def test_a_lockfile_is_seen_whatever_the_mode_says(memory: InMemory):
    dev = dev_environment(memory, LockMode.DYNAMODB)
    plan = dev.plan()
    hold_lockfile(memory)
    with pytest.raises(RefusedError, match=r"dev/terraform\.tfstate\.tflock held by lena@laptop-17"):
        dev.plan()
    with pytest.raises(RefusedError, match="held by lena@laptop-17"):
        dev.apply(plan)


def test_an_undo_goes_on_where_states_were_added_to_the_target_since(dev: DevEnvironment):
    before = dev.contents()
    ended = dev.apply(dev.plan())
    elsewhere = replace(dev.target, bucket="tfstate-else")
    dev.memory.resets = replace(dev.memory.resets, targets=(elsewhere,))
    with pytest.raises(RefusedError, match="configured otherwise"):
        dev.undo(ended)
    more = replace(dev.target, states=(*dev.target.states, replace(PLAIN, key="dev/zz.tfstate")))
    dev.memory.resets = replace(dev.memory.resets, targets=(more,))
    assert dev.undo(ended).receipt.stage is Stage.UNDONE
    assert dev.contents() == before


# A bucket that was tampered with


def tamper(dev: DevEnvironment, reset_id: str, change: Callable[[Any], Any], *, with_record: bool) -> None:
    """Another plan in place of the one that was confirmed, with its own digest, and perhaps a record of it."""
    key = f"ops/resets/{reset_id}/plan.json"
    plan = change(parse_plan(dev.memory.bucket.contents()[key], key=key))
    dev.memory.bucket.write(key, render_plan(plan))
    if with_record:
        record_key = f"ops/resets/{reset_id}/record.json"
        record = json.loads(dev.memory.bucket.contents()[record_key])
        dev.memory.bucket.write(record_key, render_document(record | {"digest": digest_of(plan)}))


def with_strange_state(plan: Any) -> Any:
    key = "prod/terraform.tfstate"
    strange = replace(plan.states[0], object_key=key, lock_id=lock_id(plan.target.bucket, key))
    return replace(plan, states=(*plan.states, strange))


def with_strange_request(plan: Any) -> Any:
    [first, *rest] = plan.requests
    moved = replace(first.document, key="requests/req_prod_s3_x.json")
    return replace(plan, requests=(replace(first, document=moved), *rest))


def with_strange_entry(plan: Any) -> Any:
    [first, *rest] = plan.entries
    moved = replace(first.entry, key="requests/req_prod_s3_x.json")
    return replace(plan, entries=(replace(first, entry=moved), *rest))


@pytest.mark.parametrize("change", [with_strange_state, with_strange_request, with_strange_entry])
@pytest.mark.parametrize("also", ["", "record"])
def test_a_plan_that_nobody_confirmed_is_not_carried_out(dev: DevEnvironment, change: Callable[[Any], Any], also: str):
    reset_id = interrupted(dev, Phase.BACKUP)
    before = dev.contents()
    tamper(dev, reset_id, change, with_record=bool(also))
    for act in (
        lambda: resume_reset(dev.memory.edges, reset_id, operator=ADMIN),
        lambda: undo_reset(dev.memory.edges, reset_id, typed="", operator=ADMIN),
        lambda: preview_undo(dev.memory.edges, reset_id),
    ):
        with pytest.raises(DocumentError, match=r"is of another plan|which its target has not"):
            act()
    assert dev.contents() == before


# Odd words


@pytest.mark.parametrize("reason", ["", "  ", "x" * 301, "caf\udce9", "two\nlines", "bell\x07"])
def test_a_reason_that_cannot_be_kept_is_refused_before_anything_is(dev: DevEnvironment, reason: str):
    plan = dev.plan()
    before = dict(dev.memory.bucket.contents())
    with pytest.raises(RefusedError, match="reason"):
        apply_reset(dev.memory.edges, plan, PLAIN_CHOICES, confirmation_of(plan, reason=reason), operator=ADMIN)
    with pytest.raises(RefusedError, match="reason"):
        ask_for_approval(dev.memory.edges, plan, operator=ADMIN, reason=reason)
    assert dev.memory.bucket.contents() == before


def test_a_name_that_no_encoding_has_does_not_keep_the_receipt_from_being_stored(dev: DevEnvironment):
    odd = render_document(json.loads(document(NEW)) | {"tfpilot:created_by": "ev\ud800il"})
    dev.memory.bucket.write(f"requests/{NEW}.json", odd)
    ended = dev.apply(dev.plan())
    assert history(dev, NEW) == odd
    reset_id = ended.receipt.record.reset_id
    assert receipt_markdown(get_receipt(dev.memory.edges, reset_id)).startswith("# Reset")
    assert dev.memory.edges.reset_journal.has_receipt(reset_id)
    assert dev.undo(ended).receipt.stage is Stage.UNDONE


def test_the_receipt_of_an_undo_a_day_later_says_so(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    dev.memory.clock.advance(days=1)
    told = receipt_markdown(dev.undo(ended).receipt)
    assert "2026-03-02 12:00:00 to 2026-03-03 12:00:00 UTC" in told
    assert "| Put back by the undo |" in told
