"""Listing Terraform locks over all targets, and releasing exactly one, on edges in memory."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, ago, request, run, with_run
from tests.core.reset_world import NAMED, PLAIN
from tests.fakes import OUTAGE, InMemory
from tests.lock_setup import (
    HOURS_AGO,
    KEY,
    LOCK,
    OTHER_KEY,
    REPO,
    github_run,
    hold,
    item_of,
    lock_text,
    locks_held,
    put,
    targets,
)
from tests.reset_setup import dev_environment
from tfpilot.core.lease import Lease
from tfpilot.core.lock_release import APART, PartOutcome, Released
from tfpilot.core.model import Operator, RepoRef, Role, WorkflowKind
from tfpilot.core.reset_steps import OPERATION, Place, Store, lock_places
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.core.state_locks import JudgedLock, LockReading, LockVerdict
from tfpilot.core.terraform import LockMode, StoredLock
from tfpilot.errors import (
    ConflictError,
    DocumentError,
    GitHubError,
    NotFoundError,
    RefusedError,
    StorageError,
)
from tfpilot.operations.locks import begin_release, first_reading, get_lock, list_locks, release_lock
from tfpilot.operations.reset_lease import lease_name

ADMIN = Operator("ops-lead", Role.ADMIN)
RUN = 7310002977


@pytest.fixture
def lockfile(memory: InMemory) -> ResetTarget:
    [made] = targets(memory, LockMode.LOCKFILE)
    return made


def the_lock(memory: InMemory, chosen: ResetTarget) -> JudgedLock:
    [found] = get_lock(memory.edges, chosen.name, KEY).locks
    return found


# Listing


def test_every_lock_of_every_target_is_listed_worst_first_with_the_states_that_are_free(memory: InMemory) -> None:
    files, table, both = targets(memory, LockMode.LOCKFILE, LockMode.DYNAMODB, LockMode.BOTH)
    hold(memory, files)
    hold(memory, table, lock_text("lena@laptop-17"))
    hold(memory, table, None, key=OTHER_KEY)
    hold(memory, both, lock_text(lock="another"))
    github_run(memory)
    found = list_locks(memory.edges)
    assert [(each.verdict, each.lock.target, each.lock.object_key) for each in found.locks] == [
        (LockVerdict.DEAD, both.name, KEY),
        (LockVerdict.DEAD, files.name, KEY),
        (LockVerdict.MALFORMED, table.name, OTHER_KEY),
        (LockVerdict.UNKNOWN, table.name, KEY),
    ]
    assert (found.free, found.targets, found.unread) == (2, 3, ())


def test_without_a_lock_github_is_not_asked(memory: InMemory, lockfile: ResetTarget) -> None:
    assert (list_locks(memory.edges).free, memory.workflows.listings) == (2, [])


def test_a_repository_is_listed_once_however_many_locks_there_are(memory: InMemory) -> None:
    for made in targets(memory, LockMode.LOCKFILE, LockMode.DYNAMODB):
        hold(memory, made)
        hold(memory, made, key=OTHER_KEY)
    list_locks(memory.edges)
    assert memory.workflows.listings == [REPO]


def test_a_target_that_cannot_be_read_is_told_once_and_hides_no_other(
    memory: InMemory, lockfile: ResetTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, table = targets(memory, LockMode.LOCKFILE, LockMode.DYNAMODB)
    hold(memory, files)
    break_store(monkeypatch, memory, "find_lock", OUTAGE, Store.LOCK_TABLE)
    found = list_locks(memory.edges)
    assert [each.lock.target for each in found.locks] == [files.name]
    assert [(each.target, each.object_keys, each.error) for each in found.unread] == [
        (table.name, (PLAIN.object_key, NAMED.object_key), OUTAGE)
    ]


def test_without_targets_there_is_nothing(memory: InMemory) -> None:
    found = list_locks(memory.edges)
    assert (found.locks, found.free, found.targets) == ((), 0, 0)


@pytest.mark.parametrize("asked", [("nowhere", KEY), ("lockfile-dev", "other.tfstate")])
def test_what_is_not_configured_is_not_found(memory: InMemory, lockfile: ResetTarget, asked: tuple[str, str]) -> None:
    with pytest.raises(NotFoundError):
        get_lock(memory.edges, *asked)


# Whose it is


def test_the_request_is_the_one_that_tracks_the_run(memory: InMemory, lockfile: ResetTarget) -> None:
    memory.store(with_run(request("req_dev_a"), "apply", **run(RUN, createdAt=ago(hours=3))))
    memory.bucket.write(
        entry_key(WorkflowKind.APPLY, RUN),
        render_entry(new_entry(WorkflowKind.APPLY, RUN, "req_dev_b", created_at=NOW)),
    )
    hold(memory, lockfile)
    github_run(memory, branch="request/req_dev_c")
    [holder] = the_lock(memory, lockfile).runs
    assert (holder.run.fact.run_id, holder.request_id, holder.environment) == (RUN, "req_dev_a", "dev")


def test_else_the_run_index_says_and_else_branch_or_title(memory: InMemory, lockfile: ResetTarget) -> None:
    hold(memory, lockfile)
    github_run(memory, branch="request/req_dev_c")
    assert the_lock(memory, lockfile).runs[0].request_id == "req_dev_c"
    entry = new_entry(WorkflowKind.APPLY, RUN, "req_dev_b", created_at=NOW)
    memory.bucket.write(entry_key(WorkflowKind.APPLY, RUN), render_entry(entry))
    assert the_lock(memory, lockfile).runs[0].request_id == "req_dev_b"


def test_the_run_of_a_request_of_another_environment_is_no_candidate(memory: InMemory, lockfile: ResetTarget) -> None:
    stranger = with_run(request("req_prod_a", environment="prod"), "apply", **run(2, createdAt=ago(hours=3)))
    memory.store(stranger)
    hold(memory, lockfile)
    github_run(memory, 1)
    github_run(memory, 2, conclusion=None)
    judged = the_lock(memory, lockfile)
    assert (judged.verdict, [each.run.fact.run_id for each in judged.runs]) == (LockVerdict.DEAD, [1])


def test_runs_of_another_repository_and_cleanups_are_no_candidates(memory: InMemory, lockfile: ResetTarget) -> None:
    hold(memory, lockfile)
    github_run(memory, 1, conclusion=None, repo=RepoRef("acme", "other"))
    github_run(memory, 2, conclusion=None, kind=WorkflowKind.CLEANUP)
    assert the_lock(memory, lockfile).verdict is LockVerdict.UNKNOWN


def test_an_index_that_cannot_be_read_is_told_and_hides_nothing(
    memory: InMemory, lockfile: ResetTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(memory, lockfile)
    github_run(memory)
    memory.bucket.outage = OUTAGE
    found = get_lock(memory.edges, lockfile.name, KEY)
    assert [each.verdict for each in found.locks] == [LockVerdict.DEAD]
    assert any(f"run {RUN} is could not be looked up" in notice for notice in found.notices)
    assert any("earlier reading" in notice for notice in found.notices)


@pytest.mark.parametrize("part", ["listing_error", "jobs_error"])
def test_where_github_does_not_answer_it_is_unknown(memory: InMemory, lockfile: ResetTarget, part: str) -> None:
    hold(memory, lockfile)
    github_run(memory)
    setattr(memory.workflows, part, GitHubError("no answer in time"))
    judged = the_lock(memory, lockfile)
    assert judged.verdict is LockVerdict.UNKNOWN
    assert "no answer in time" in judged.evidence[0]


# Releasing


def read_twice(memory: InMemory, chosen: ResetTarget) -> LockReading:
    first = first_reading(memory.edges, chosen.name, KEY)
    memory.clock.advance(seconds=APART.total_seconds())
    return first


def release(memory: InMemory, chosen: ResetTarget, first: LockReading | None = None, **changes: Any) -> Released:
    given = {"typed": LOCK, "reason": "its runner is gone", "operator": ADMIN, **changes}
    return release_lock(memory.edges, chosen.name, KEY, first=first or read_twice(memory, chosen), **given)


def records(memory: InMemory) -> list[dict[str, Any]]:
    return [
        json.loads(content) for key, content in memory.bucket.contents().items() if key.startswith("ops/backups/locks/")
    ]


def text_of(place: dict[str, Any]) -> str | None:
    """What a record keeps of a place."""
    return place["item"].get("Info", {}).get("S") if "item" in place else place["text"]


@pytest.mark.parametrize("mode", list(LockMode))
def test_a_dead_lock_is_removed_from_exactly_its_places_after_it_was_kept(memory: InMemory, mode: LockMode) -> None:
    [chosen] = targets(memory, mode)
    hold(memory, chosen)
    hold(memory, chosen, lock_text(lock="bystander"), key=OTHER_KEY)
    memory.reset_stores.put_state(chosen, KEY, b"{}")
    github_run(memory)
    before = locks_held(memory)
    released = release(memory, chosen)
    removed = {key for key in before if key not in locks_held(memory)}
    assert {key for _, key in removed} == {place.key for place in lock_places(chosen, KEY)}
    assert [part.outcome for part in released.parts] == [PartOutcome.REMOVED] * len(removed)
    assert released.is_free
    [kept] = records(memory)
    assert [text_of(place) for place in kept["places"]] == [lock_text()] * len(removed)
    assert (kept["releasedBy"], kept["reason"], kept["verdict"]) == ("ops-lead", "its runner is gone", "dead")


@pytest.mark.parametrize(
    ("store", "text"),
    [(Store.LOCK_TABLE, None), (Store.LOCK_TABLE, "{"), (Store.STATE_BUCKET, "no json")],
)
def test_a_malformed_lock_is_released_by_the_exact_key_of_its_place(
    memory: InMemory, store: Store, text: str | None
) -> None:
    [chosen] = targets(memory, LockMode.BOTH)
    hold(memory, chosen, text, only={store})
    [place] = [place for place in lock_places(chosen, KEY) if place.store is store]
    with pytest.raises(RefusedError, match="is not the exact key"):
        release(memory, chosen, typed=KEY)
    release(memory, chosen, typed=place.key)
    assert locks_held(memory) == {}
    assert [text_of(each) for each in records(memory)[0]["places"]] == [text]


def test_of_two_different_locks_only_the_typed_one_is_removed(memory: InMemory) -> None:
    [chosen] = targets(memory, LockMode.BOTH)
    hold(memory, chosen, only={Store.STATE_BUCKET})
    hold(memory, chosen, lock_text(lock="another"), only={Store.LOCK_TABLE})
    github_run(memory)
    release(memory, chosen, typed="another")
    assert list(locks_held(memory)) == [(chosen.bucket, f"{KEY}.tflock")]


def refused(memory: InMemory, chosen: ResetTarget, why: str, first: LockReading | None = None, **changes: Any) -> None:
    """The release is refused, and nothing was removed, kept or written."""
    before, stored = locks_held(memory), memory.bucket.contents()
    with pytest.raises(RefusedError, match=why):
        release(memory, chosen, first, **changes)
    assert (locks_held(memory), memory.bucket.contents()) == (before, stored)


@pytest.fixture
def dead(memory: InMemory, lockfile: ResetTarget) -> ResetTarget:
    hold(memory, lockfile)
    github_run(memory)
    return lockfile


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.APPROVER, Role.SYSTEM])
def test_only_an_admin_releases(memory: InMemory, dead: ResetTarget, role: Role) -> None:
    refused(
        memory, dead, "You are admin: somebody is|You are admin: The portal itself", operator=Operator("somebody", role)
    )


def test_in_an_environment_that_counts_as_prod_the_list_of_people_restricts_admins(
    memory: InMemory, dead: ResetTarget
) -> None:
    memory.rights = replace(memory.rights, dev_environments=frozenset(), prod_allowed=frozenset({"tom-r"}))
    refused(memory, dead, "ops-lead is not among those who may")


def test_two_readings_must_be_half_a_minute_apart(memory: InMemory, dead: ResetTarget) -> None:
    first = first_reading(memory.edges, dead.name, KEY)
    memory.clock.advance(seconds=APART.total_seconds() - 0.001)
    refused(memory, dead, "the second reading is possible at 12:00:30 UTC", first)


def test_a_lock_that_was_retaken_between_the_readings_stays(memory: InMemory, dead: ResetTarget) -> None:
    first = read_twice(memory, dead)
    hold(memory, dead, lock_text(lock="new"))
    refused(memory, dead, "changed between them", first, typed="new")


def test_a_lock_that_is_gone_is_not_released(memory: InMemory, dead: ResetTarget) -> None:
    first = read_twice(memory, dead)
    memory.reset_stores.objects.clear()
    refused(memory, dead, "No lock of .* is held", first)


def test_a_reading_of_another_state_does_not_count(memory: InMemory, dead: ResetTarget) -> None:
    first = first_reading(memory.edges, dead.name, OTHER_KEY)
    memory.clock.advance(seconds=60)
    refused(memory, dead, "changed between them", first)


@pytest.mark.parametrize("typed", ["", LOCK[:-1], LOCK.upper(), f"{LOCK} ", KEY])
def test_the_id_must_be_typed_exactly(memory: InMemory, dead: ResetTarget, typed: str) -> None:
    refused(memory, dead, "The lock id is typed", typed=typed)


def test_a_reason_must_be_given(memory: InMemory, dead: ResetTarget) -> None:
    refused(memory, dead, "A reason is given", reason=" ")


def test_github_is_asked_again_and_a_live_lock_stays(memory: InMemory, lockfile: ResetTarget) -> None:
    hold(memory, lockfile)
    github_run(memory, conclusion=None)
    refused(memory, lockfile, f"run {RUN} of apply.yml holds it and is not over")


def test_a_run_that_is_over_with_a_job_at_work_keeps_its_lock(memory: InMemory, dead: ResetTarget) -> None:
    memory.workflows.jobs[RUN] = ("job terraform",)
    refused(memory, dead, "holds it and is not over")


@pytest.mark.parametrize("answer", ["listing_error", "jobs_error"])
def test_where_github_does_not_answer_the_person_decides(memory: InMemory, dead: ResetTarget, answer: str) -> None:
    setattr(memory.workflows, answer, GitHubError("no answer in time"))
    assert release(memory, dead).record.judged.verdict is LockVerdict.UNKNOWN


def test_a_frozen_portal_releases_nothing(memory: InMemory, dead: ResetTarget) -> None:
    memory.bucket.write("ops/freeze.json", b'{"reason": "incident 12"}')
    refused(memory, dead, "the portal is frozen: incident 12")


def test_a_freeze_that_cannot_be_read_counts_as_one(memory: InMemory, dead: ResetTarget) -> None:
    memory.bucket.write("ops/freeze.json", b"{")
    refused(memory, dead, "whether the portal is frozen could not be read")


def test_a_read_only_portal_releases_nothing(memory: InMemory, dead: ResetTarget) -> None:
    memory.rights = replace(memory.rights, read_only=True)
    refused(memory, dead, "read-only")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"typed": "another"}, "The lock id is typed"),
        ({"reason": ""}, "A reason is given"),
        ({"operator": Operator("tom-r", Role.APPROVER)}, "tom-r is an approver"),
    ],
)
def test_nobody_waits_half_a_minute_for_a_refusal_that_is_known(
    memory: InMemory, dead: ResetTarget, changes: dict[str, Any], said: str
) -> None:
    given = {"typed": LOCK, "reason": "its runner is gone", "operator": ADMIN}
    assert begin_release(memory.edges, dead.name, KEY, **given) == first_reading(memory.edges, dead.name, KEY)
    with pytest.raises(RefusedError, match=said):
        begin_release(memory.edges, dead.name, KEY, **{**given, **changes})


# What may come between


def break_store(monkeypatch: pytest.MonkeyPatch, memory: InMemory, method: str, error: Exception, store: Store) -> None:
    """From now on that method fails in that kind of store."""
    kind = type(memory.reset_stores.of(memory.resets.targets[0]))
    real = getattr(kind, method)

    def broken(self: Any, place: Place, *rest: Any, **named: Any) -> Any:
        if place.store is store:
            raise error
        return real(self, place, *rest, **named)

    monkeypatch.setattr(kind, method, broken)


def before_removal(monkeypatch: pytest.MonkeyPatch, memory: InMemory, store: Store, happens: Any) -> None:
    """Somebody else comes between, right before a lock in that store is removed, once."""
    kind = type(memory.reset_stores.of(memory.resets.targets[0]))
    real, left = kind.remove_lock, [happens]

    def raced(self: Any, place: Place, lock: StoredLock) -> None:
        if place.store is store and left:
            left.pop()()
        real(self, place, lock)

    monkeypatch.setattr(kind, "remove_lock", raced)


def test_a_lock_that_is_retaken_at_the_last_moment_stays(
    memory: InMemory, dead: ResetTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = lock_text(lock="new")
    before_removal(monkeypatch, memory, Store.STATE_BUCKET, lambda: hold(memory, dead, new))
    with pytest.raises(RefusedError, match="somebody else's now"):
        release(memory, dead)
    assert list(locks_held(memory).values()) == [new.encode()]


def test_where_one_side_is_retaken_what_was_removed_is_said(memory: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    [chosen] = targets(memory, LockMode.BOTH)
    hold(memory, chosen)
    github_run(memory)
    file = lock_places(chosen, KEY)[0]
    before_removal(monkeypatch, memory, Store.STATE_BUCKET, lambda: put(memory, chosen, file, lock_text(lock="new")))
    released = release(memory, chosen)
    assert [(part.place.store, part.outcome) for part in released.parts] == [
        (Store.LOCK_TABLE, PartOutcome.REMOVED),
        (Store.STATE_BUCKET, PartOutcome.TAKEN),
    ]
    assert not released.is_free
    assert list(locks_held(memory)) == [(chosen.bucket, file.key)]


def test_a_lock_that_its_holder_gives_back_meanwhile_is_gone_already(
    memory: InMemory, dead: ResetTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_removal(monkeypatch, memory, Store.STATE_BUCKET, memory.reset_stores.objects.clear)
    assert [part.outcome for part in release(memory, dead).parts] == [PartOutcome.GONE]


def test_a_store_that_stops_answering_says_how_far_it_came_and_where_the_lock_is_kept(
    memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    [chosen] = targets(memory, LockMode.BOTH)
    hold(memory, chosen)
    github_run(memory)
    break_store(monkeypatch, memory, "remove_lock", OUTAGE, Store.STATE_BUCKET)
    with pytest.raises(StorageError, match=r"lock table .*: removed") as failed:
        release(memory, chosen)
    assert "ops/backups/locks/" in failed.value.hint
    assert item_of(chosen) not in memory.reset_stores.items


def test_a_store_that_refuses_what_still_stands_there_is_no_success(
    memory: InMemory, dead: ResetTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_store(monkeypatch, memory, "remove_lock", ConflictError("refused"), Store.STATE_BUCKET)
    with pytest.raises(StorageError, match="refuses to remove"):
        release(memory, dead)


def test_nothing_is_removed_where_the_record_cannot_be_stored(
    memory: InMemory, dead: ResetTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_twice(memory, dead)
    monkeypatch.setattr("tfpilot.adapters.lock_records.S3LockRecords.add", failing(OUTAGE))
    before = locks_held(memory)
    with pytest.raises(StorageError):
        release(memory, dead, first)
    assert locks_held(memory) == before


@pytest.mark.parametrize("mode", [LockMode.LOCKFILE, LockMode.DYNAMODB])
def test_a_lock_that_changes_while_it_is_kept_is_refused(
    memory: InMemory, mode: LockMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    [chosen] = targets(memory, mode)
    hold(memory, chosen)
    github_run(memory)
    first = read_twice(memory, chosen)
    kind = type(memory.reset_stores.of(chosen))
    for method in ("read", "find_lock_item"):
        real = getattr(kind, method)

        def changed(self: Any, place: Place, real: Any = real) -> Any:
            hold(memory, chosen, lock_text(lock="new"))
            return real(self, place)

        monkeypatch.setattr(kind, method, changed)
    with pytest.raises(RefusedError, match="changed while it was looked at"):
        release(memory, chosen, first)
    assert len(locks_held(memory)) == 1
    assert records(memory) == []


def failing(error: Exception) -> Any:
    def fail(*_arguments: Any) -> None:
        raise error

    return fail


# A reset of ours


@pytest.fixture
def resetting(memory: InMemory, monkeypatch: pytest.MonkeyPatch) -> ResetTarget:
    """A reset that lost its store in the middle: its locks are held, and nobody works on it."""
    dev = dev_environment(memory)
    plan = dev.plan()
    with monkeypatch.context() as broken:
        break_store(broken, memory, "remove", OUTAGE, Store.LOCK_TABLE)
        with pytest.raises(StorageError):
            dev.apply(plan)
    return dev.target


def test_a_reset_that_was_interrupted_keeps_its_lock_until_it_is_resumed_or_undone(
    memory: InMemory, resetting: ResetTarget
) -> None:
    judged = the_lock(memory, resetting)
    [record] = memory.edges.reset_journal.list()
    assert (judged.verdict, judged.reset_id) == (LockVerdict.UNKNOWN, record.reset_id)
    assert judged.lock.other is None
    refused(memory, resetting, "resume or undo that reset", typed=record.lock_id)
    assert memory.workflows.listings == []


def test_a_reset_at_work_is_live(memory: InMemory, resetting: ResetTarget) -> None:
    lease = Lease(lease_name(resetting), "x", "tom-r", "going on", memory.clock() + timedelta(minutes=1))
    memory.edges.leases.take(lease, now=memory.clock())
    assert the_lock(memory, resetting).verdict is LockVerdict.LIVE


def test_resets_that_cannot_be_read_keep_what_says_it_is_theirs(memory: InMemory, resetting: ResetTarget) -> None:
    [record] = memory.edges.reset_journal.list()
    memory.bucket.write(f"ops/resets/{record.reset_id}/record.json", b"{}")
    refused(memory, resetting, "the resets could not be read", typed=record.lock_id)


def test_a_lock_that_only_claims_to_be_a_resets_can_be_released(memory: InMemory, lockfile: ResetTarget) -> None:
    hold(memory, lockfile, lock_text("ops-lead@tfpilot-ops", Operation=OPERATION, since=HOURS_AGO))
    assert release(memory, lockfile).is_free


def test_a_place_that_cannot_be_told_is_an_error(memory: InMemory, dead: ResetTarget, monkeypatch: Any) -> None:
    break_store(monkeypatch, memory, "find_lock", DocumentError("too large"), Store.STATE_BUCKET)
    with pytest.raises(DocumentError):
        get_lock(memory.edges, dead.name, KEY)
    assert [str(each.error) for each in list_locks(memory.edges).unread] == ["too large"] * 2
