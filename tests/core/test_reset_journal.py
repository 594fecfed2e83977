"""A reset that is killed anywhere: resume finishes it, undo takes it back to the byte, and Terraform never minds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from tests.core.reset_world import (
    FOREIGN,
    NAMED,
    PLAIN,
    REQUESTS,
    KilledError,
    LockedOutError,
    Reset,
    World,
    dev_world,
    document,
    read_plan,
    record,
    state_bytes,
)
from tfpilot.core.reset_journal import (
    Direction,
    JournalEntry,
    Stage,
    StepResult,
    check_undo,
    count_phases,
    entry_fields,
    parse_entry,
    parse_record,
    plan_resume,
    plan_undo,
    read_journal,
    record_fields,
    stage_of,
    undo_until,
    undone_id,
)
from tfpilot.core.reset_plan import ResetPlan, StateMode
from tfpilot.core.reset_steps import Action, Outcome, Phase, Place, ResetStep, Store, steps_of
from tfpilot.core.terraform import LockMode, md5_of
from tfpilot.errors import DocumentError, RefusedError

MODES = [pytest.param(lock, state, id=f"{lock}-{state}") for lock in LockMode for state in StateMode]
A, B, C, D = REQUESTS

PAST_THE_LOCKS = 4 * 3 + 1
"""Each half of two locks is an intent, a write and a result; then comes the first intent of a change."""


def begin(
    lock: LockMode = LockMode.BOTH, state: StateMode = StateMode.REMOVE, *, kill_after: int | None = None
) -> Reset:
    """A reset of the dev world, planned once."""
    plan, steps = planned(lock, state)
    return Reset(dev_world(lock), plan, kill_after=kill_after, steps=steps)


@cache
def planned(lock: LockMode, state: StateMode) -> tuple[ResetPlan, tuple[ResetStep, ...]]:
    plan = read_plan(dev_world(lock), mode=state)
    return plan, steps_of(plan, record(plan))


def until_killed(reset: Reset, go: Callable[[Reset], None]) -> bool:
    """Whether it came to its end."""
    try:
        go(reset)
    except KilledError:
        return False
    return True


def kill_points(make: Callable[[int], Reset], go: Callable[[Reset], None]) -> Iterator[Reset]:
    """The reset after a kill before its first write, before its second, and so on, and at last after all of them."""
    for number in range(10_000):
        reset = make(number)
        done = until_killed(reset, go)
        yield reset.with_pen(None)
        if done:
            return


def requests_place(key: str) -> Place:
    return Place(Store.REQUESTS_BUCKET, key)


def finished(lock: LockMode = LockMode.BOTH, state: StateMode = StateMode.REMOVE) -> Reset:
    reset = begin(lock, state)
    reset.resume()
    return reset


def assert_complete(reset: Reset, before: dict[Place, bytes]) -> None:
    after = reset.world.outside_backups()
    for state, planned in zip((PLAIN, NAMED), reset.plan.states, strict=True):
        content = after.get(reset.world.state_place(state))
        assert content == (planned.replacement.encode() if planned.replacement else None)
        digest = md5_of(content).encode() if content and reset.world.mode.has_table else None
        assert after.get(reset.world.digest_place(state)) == digest
        assert not any(place in after for place in reset.world.lock_places(state))
    for request_id in REQUESTS:
        assert requests_place(f"requests/{request_id}.json") not in after
        assert after[requests_place(f"history/{request_id}.json")]
    assert not [place for place in after if place.key.startswith("webhooks/")]
    bystander = requests_place("requests/req_dev_s3_other.json")
    assert after[bystander] == before[bystander]
    assert set(before.values()) <= set(reset.world.objects.values()) | digests(reset.world, before)
    assert stage_of(reset.steps, reset.progress) is Stage.FINISHED


def digests(world: World, before: dict[Place, bytes]) -> set[bytes]:
    """What the lock table held, which the plan keeps."""
    return {content for place, content in before.items() if place.store is Store.LOCK_TABLE}


class TestKilledAnywhere:
    @pytest.mark.parametrize(("lock", "state"), MODES)
    def test_resume_finishes_a_reset_that_was_killed_before_any_of_its_writes(self, lock, state):
        before = dev_world(lock).outside_backups()
        for reset in kill_points(lambda number: begin(lock, state, kill_after=number), Reset.resume):
            reset.resume()
            assert_complete(reset, before)
            assert all(reset.holds_lock_often)

    @pytest.mark.parametrize(("lock", "state"), MODES)
    def test_undo_takes_back_a_reset_that_was_killed_before_any_of_its_writes(self, lock, state):
        before = dev_world(lock).outside_backups()
        for reset in kill_points(lambda number: begin(lock, state, kill_after=number), Reset.resume):
            reset.undo()
            assert reset.world.outside_backups() == before
            assert all(reset.holds_lock_often)
            if reset.progress.undo_began:
                assert stage_of(reset.steps, reset.progress) is Stage.UNDONE

    @pytest.mark.parametrize(("lock", "state"), MODES)
    def test_an_undo_that_was_killed_before_any_of_its_writes_is_finished_by_another(self, lock, state):
        done = finished(lock, state)
        before = dev_world(lock).outside_backups()
        for reset in kill_points(lambda number: deepcopy(done).with_pen(number), Reset.undo):
            reset.undo()
            assert reset.world.outside_backups() == before
            assert stage_of(reset.steps, reset.progress) is Stage.UNDONE

    @given(
        lock=st.sampled_from(LockMode),
        state=st.sampled_from(StateMode),
        kills=st.lists(st.integers(0, 40), max_size=4),
        undone=st.lists(st.integers(0, 40), min_size=1, max_size=3) | st.none(),
    )
    def test_killed_again_and_again_it_still_ends_complete_or_as_before(self, lock, state, kills, undone):
        before = dev_world(lock).outside_backups()
        reset = begin(lock, state)
        for number in kills:
            until_killed(reset.with_pen(number), Reset.resume)
        if undone is None:
            reset.resume()
            assert_complete(reset, before)
            return
        for number in undone:
            until_killed(reset.with_pen(number), Reset.undo)
        reset.undo()
        assert reset.world.outside_backups() == before

    def test_a_finished_reset_has_nothing_left_to_do_and_an_undone_one_neither(self):
        reset = finished()
        assert plan_resume(reset.steps, reset.progress) == ()
        reset.undo()
        assert plan_undo(reset.steps, reset.progress) == ()

    def test_an_undo_that_only_took_locks_has_not_begun(self):
        reset = finished()
        assert not until_killed(reset.with_pen(PAST_THE_LOCKS - 1), Reset.undo)
        assert not reset.progress.undo_began
        reset.undo()
        assert stage_of(reset.steps, reset.progress) is Stage.UNDONE

    def test_an_undo_that_began_cannot_become_a_reset_again(self):
        reset = finished()
        assert not until_killed(reset.with_pen(PAST_THE_LOCKS), Reset.undo)
        with pytest.raises(RefusedError, match="undo of this reset began"):
            reset.resume()


class TestOddStates:
    @pytest.mark.parametrize("state", StateMode)
    @pytest.mark.parametrize("odd", ["no digest", "wrong digest", "digest alone", "nothing"])
    def test_resume_and_undo_hold_for_a_state_that_was_odd_before(self, state, odd):
        world = dev_world(LockMode.DYNAMODB)
        content, digest = world.state_place(PLAIN), world.digest_place(PLAIN)
        if odd in {"no digest", "nothing"}:
            del world.objects[digest]
        if odd in {"digest alone", "nothing"}:
            del world.objects[content]
        if odd == "wrong digest":
            world.objects[digest] = b"0" * 32
        before, plan = world.outside_backups(), read_plan(world, mode=state)
        assert plan.states[0].digest_is_wrong is (odd in {"wrong digest", "digest alone"})
        for reset in kill_points(lambda number: Reset(deepcopy(world), plan, kill_after=number), Reset.resume):
            undone = deepcopy(reset)
            undone.undo()
            assert undone.world.outside_backups() == before
            reset.resume()
            assert stage_of(reset.steps, reset.progress) is Stage.FINISHED
            assert not reset.world.checksum_errors([PLAIN, NAMED])
            assert (content in reset.world.objects) is (state is StateMode.EMPTY and content in before)


class TestSomebodyElse:
    @pytest.mark.parametrize("lock", LockMode)
    @pytest.mark.parametrize("content", [FOREIGN, "", "no JSON"])
    def test_a_lock_that_is_not_ours_refuses_the_reset_and_nothing_is_touched(self, lock, content):
        reset = begin(lock)
        place = reset.world.lock_places(NAMED)[-1]
        reset.world.objects[place] = content.encode()
        before = dict(reset.world.objects)
        with pytest.raises(LockedOutError, match="somebody else's"):
            reset.resume()
        assert reset.world.objects == before
        assert stage_of(reset.steps, reset.progress) is Stage.REFUSED
        assert plan_resume(reset.steps, reset.progress) == ()

    def test_something_that_changed_since_the_review_refuses_the_reset_and_gives_the_locks_back(self):
        reset = begin()
        reset.world.put_state(PLAIN, state_bytes(8))
        before = dict(reset.world.objects)
        with pytest.raises(LockedOutError, match=r"state dev/terraform\.tfstate changed"):
            reset.resume()
        assert reset.world.objects == before
        assert stage_of(reset.steps, reset.progress) is Stage.REFUSED

    def test_a_refused_reset_that_was_killed_before_its_release_only_gives_its_locks_back(self):
        for number in range(30):
            reset = begin(kill_after=number)
            reset.world.put_state(PLAIN, state_bytes(8))
            before = dev_world().outside_backups() | reset.world.outside_backups()
            try:
                reset.resume()
            except (KilledError, LockedOutError):
                reset = reset.with_pen(None)
            if not reset.progress.was_left(next(s for s in reset.steps if s.action is Action.COMPARE)):
                continue
            assert {step.action for step in plan_resume(reset.steps, reset.progress)} <= {Action.RELEASE_LOCK}
            reset.resume()
            assert reset.world.objects == before

    @pytest.mark.parametrize("state", StateMode)
    def test_after_somebody_applied_again_undo_keeps_their_state_and_restores_the_rest(self, state):
        reset = finished(state=state)
        before = dev_world().outside_backups()
        theirs = state_bytes(1, lineage="new")
        reset.world.put_state(PLAIN, theirs)
        reset.undo()
        after = reset.world.outside_backups()
        changed = {place for place in before if after[place] != before[place]}
        assert changed == {reset.world.state_place(PLAIN), reset.world.digest_place(PLAIN)}
        assert after[reset.world.state_place(PLAIN)] == theirs
        assert after[reset.world.digest_place(PLAIN)] == md5_of(theirs).encode()
        assert not reset.world.checksum_errors([PLAIN, NAMED])
        left = [result for result in reset.progress.results.values() if result.outcome is Outcome.LEFT]
        assert any("holds something else" in result.reason for result in left)

    def test_a_lock_that_was_taken_after_a_kill_refuses_resume_and_undo_and_nothing_is_touched(self):
        for reset in kill_points(lambda number: begin(kill_after=number), Reset.resume):
            if not plan_undo(reset.steps, reset.progress) or not plan_resume(reset.steps, reset.progress):
                continue
            place = reset.world.lock_places(PLAIN)[0]
            reset.world.objects[place] = FOREIGN.encode()
            ours = {*reset.world.lock_places(PLAIN), *reset.world.lock_places(NAMED)} - {place}
            kept = {where: content for where, content in reset.world.objects.items() if where not in ours}
            for go in (Reset.resume, Reset.undo):
                other = deepcopy(reset)
                with contextlib.suppress(LockedOutError):
                    go(other)
                assert {where: content for where, content in other.world.objects.items() if where not in ours} == kept

    def test_a_state_that_somebody_wrote_after_our_lock_was_forced_stays_with_its_digest(self):
        theirs = state_bytes(8)
        for reset in kill_points(lambda number: begin(kill_after=number), Reset.resume):
            for place in reset.world.lock_places(PLAIN):
                reset.world.objects.pop(place, None)
            compared = "compare" in reset.progress.outcomes
            reset.world.put_state(PLAIN, theirs)
            if not compared:
                continue
            reset.resume()
            assert reset.world.objects[reset.world.state_place(PLAIN)] == theirs
            assert not reset.world.checksum_errors([PLAIN, NAMED])

    def test_a_request_that_was_edited_during_the_archive_stays_with_the_edit(self):
        edited = document(A, version=4, project="edited")
        for reset in kill_points(lambda number: begin(kill_after=number), Reset.resume):
            place = requests_place(f"requests/{A}.json")
            if "compare" not in reset.progress.outcomes or place not in reset.world.objects:
                continue
            original = reset.world.objects[place]
            reset.world.objects[place] = edited
            undone = deepcopy(reset)
            reset.resume()
            assert reset.world.objects[place] == edited
            undone.undo()
            assert undone.world.objects[place] == edited
            assert (
                original in undone.world.objects.values()
                or requests_place(f"history/{A}.json") not in undone.world.objects
            )

    def test_the_only_copy_of_a_request_stays_where_its_place_was_taken_again(self):
        reset = finished()
        original = document(A)
        reset.world.put_request(A, document(A, version=1, project="made anew"))
        reset.undo()
        assert reset.world.objects[requests_place(f"history/{A}.json")] == original
        assert reset.world.objects[requests_place(f"requests/{A}.json")] != original

    def test_a_copy_or_backup_that_vanished_between_kill_and_resume_is_made_again_before_anything_is_removed(self):
        for reset in kill_points(lambda number: begin(kill_after=number), Reset.resume):
            made = [
                step
                for step in reset.steps
                if step.action in {Action.ARCHIVE, Action.BACK_UP}
                and step.source in reset.world.objects
                and step.place in reset.world.objects
            ]
            for step in made:
                other = deepcopy(reset)
                del other.world.objects[step.place]
                other.resume()
                removed = step.source not in other.world.objects
                assert not removed or step.place in other.world.objects

    def test_a_copy_in_history_that_changed_since_is_not_overwritten_and_the_request_stays_active(self):
        reset = begin()
        theirs = document(A, version=2)
        for number in range(100):
            tried = begin(kill_after=number)
            until_killed(tried, Reset.resume)
            if "compare" in tried.progress.outcomes:
                reset = tried.with_pen(None)
                break
        reset.world.put_request(A, theirs, prefix="history")
        reset.resume()
        assert reset.world.objects[requests_place(f"history/{A}.json")] == theirs
        assert reset.world.objects[requests_place(f"requests/{A}.json")] == document(A)


class TestSteps:
    def test_the_phases_come_in_the_order_of_the_contract(self):
        phases = [step.phase for step in begin().steps]
        order = list(Phase)
        assert list(dict.fromkeys(phases)) == order

    @pytest.mark.parametrize(("lock", "state"), MODES)
    def test_the_same_plan_gives_the_same_steps_with_ids_of_their_own(self, lock, state):
        reset = begin(lock, state)
        plan = read_plan(dev_world(lock), mode=state)
        assert reset.steps == steps_of(plan, record(plan))
        names = [step.id for step in reset.steps]
        assert len(names) == len(set(names))
        assert all(set(step.needs) <= set(names) for step in reset.steps)

    def test_every_step_that_removes_or_replaces_names_its_backup(self):
        for state in StateMode:
            for step in begin(state=state).steps:
                if step.before not in (None, step.after) and not step.is_lock:
                    keeps = step.backup is not None or step.action is Action.WRITE_DIGEST
                    assert keeps, step.id

    def test_backups_of_states_stay_in_the_state_bucket_and_everything_else_goes_under_ops(self):
        backups = [step for step in begin().steps if step.action is Action.BACK_UP]
        for step in backups:
            in_state_bucket = step.place.store is Store.STATE_BUCKET
            prefix = "tfpilot-ops-backup/rst_20260302_1200/" if in_state_bucket else "ops/resets/rst_20260302_1200/"
            assert step.place.key.startswith(prefix)
            assert in_state_bucket == (step.source is not None and step.source.store is Store.STATE_BUCKET)
        assert {step.place.key.split("/")[3] for step in backups if step.place.store is Store.REQUESTS_BUCKET} == {
            "replaced",
            "history",
            "run-index",
        }

    def test_the_digest_goes_before_the_state_and_comes_back_after_it(self):
        reset = finished()
        forward = [step.id for step in reset.steps]
        backward = [step.id for step in plan_undo(reset.steps, reset.progress)]
        for state in (PLAIN, NAMED):
            digest, content = f"digest:{state.object_key}", f"state:{state.object_key}"
            assert forward.index(digest) < forward.index(content)
            assert backward.index(undone_id(content)) < backward.index(undone_id(digest))


class TestJournal:
    def test_entries_survive_their_storage_and_may_be_read_in_any_order(self):
        reset = finished()
        stored = [json.loads(json.dumps(entry_fields(entry))) for entry in reset.journal]
        entries = [parse_entry(fields, key="entry") for fields in stored]
        assert entries == reset.journal
        assert read_journal(reversed(entries)) == read_journal(entries)

    @pytest.mark.parametrize(
        "broken",
        [{"number": 0}, {"direction": "up"}, {"results": [{"step": "a"}]}, {"at": "soon"}, {"intents": None}],
    )
    def test_an_entry_that_cannot_be_read_decides_nothing(self, broken):
        whole = entry_fields(JournalEntry(1, NOW, "ops-lead", Direction.APPLY, intents=("a",)))
        with pytest.raises(DocumentError, match="no entry of a reset's journal"):
            parse_entry({**whole, **broken}, key="1.json")

    def test_the_record_survives_its_storage(self):
        kept = record(begin().plan)
        assert parse_record(record_fields(kept), key="reset.json") == kept
        with pytest.raises(DocumentError, match=r"reset\.json is no record"):
            parse_record({**record_fields(kept), "lockId": None}, key="reset.json")

    def test_a_step_with_an_intent_and_no_result_is_in_doubt_until_a_result_follows(self):
        intent = JournalEntry(1, NOW, "o", Direction.APPLY, intents=("a", "b"))
        result = JournalEntry(2, NOW, "o", Direction.APPLY, results=(StepResult("a", Outcome.DONE),))
        again = JournalEntry(3, NOW, "o", Direction.APPLY, intents=("a",))
        assert read_journal([intent]).in_doubt == {"a", "b"}
        assert read_journal([intent, result]).in_doubt == {"b"}
        assert read_journal([intent, result, again]).in_doubt == {"a", "b"}
        assert read_journal([intent, result, again]).outcomes == {}

    def test_progress_counts_the_steps_of_each_phase(self):
        reset = begin()
        assert count_phases(reset.steps, reset.progress)[Phase.REQUESTS] == (0, 7)
        assert stage_of(reset.steps, reset.progress) is Stage.NOT_BEGUN
        reset.resume()
        assert all(done == total for done, total in count_phases(reset.steps, reset.progress).values())

    def test_a_reset_can_be_undone_for_as_long_as_it_is_said_and_an_undo_that_began_always_ends(self):
        reset = finished()
        until = undo_until(reset.progress, undo_days=30)
        assert until == NOW + timedelta(days=30)
        check_undo(reset.record, reset.progress, undo_days=30, now=until)
        late = until + timedelta(seconds=1)
        with pytest.raises(RefusedError, match="could be undone until 2026-04-01"):
            check_undo(reset.record, reset.progress, undo_days=30, now=late)
        assert not until_killed(reset.with_pen(PAST_THE_LOCKS), Reset.undo)
        check_undo(reset.record, reset.progress, undo_days=30, now=late)
