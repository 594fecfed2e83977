"""A reset from plan to undo, on edges in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, request, run, with_run
from tests.core.reset_world import FOREIGN, PLAIN, REQUESTS, document, state_bytes
from tests.fakes import OUTAGE, InMemory
from tests.reset_setup import ADMIN, SECOND, DevEnvironment, confirmation_of, dev_environment
from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.document import render_document
from tfpilot.core.lease import Lease
from tfpilot.core.model import Operator, Role, RunFact, WorkflowRun
from tfpilot.core.reset_confirm import undo_phrase_of
from tfpilot.core.reset_guards import Verdict
from tfpilot.core.reset_journal import Stage, StepResult
from tfpilot.core.reset_plan import StateMode
from tfpilot.core.reset_steps import Action, Phase, ResetStep
from tfpilot.core.terraform import LockMode, digest_id, lock_id, lockfile_key, md5_of
from tfpilot.errors import (
    ConflictError,
    DocumentError,
    GitHubError,
    MissingRightError,
    NotFoundError,
    RefusedError,
    StorageError,
)
from tfpilot.operations.reset import ask_to_stop, resume_reset, undo_reset
from tfpilot.operations.reset_approval import approve_plan, ask_for_approval
from tfpilot.operations.reset_lease import lease_name
from tfpilot.operations.reset_views import (
    Choices,
    check_scope,
    find_unfinished,
    get_receipt,
    list_resets,
    preview_undo,
    read_reset,
)

NEW, SAME, OLDER, NEWER = REQUESTS


@pytest.fixture(params=list(LockMode))
def any_dev(request: pytest.FixtureRequest, memory: InMemory) -> DevEnvironment:
    return dev_environment(memory, request.param)


@pytest.fixture
def dev(memory: InMemory) -> DevEnvironment:
    return dev_environment(memory)


def history(dev: DevEnvironment, request_id: str) -> bytes | None:
    return dev.memory.bucket.contents().get(f"history/{request_id}.json")


def active(dev: DevEnvironment, request_id: str) -> bytes | None:
    return dev.memory.bucket.contents().get(f"requests/{request_id}.json")


def events(dev: DevEnvironment, request_id: str) -> list[str]:
    contents = dev.memory.bucket.contents()
    return [json.loads(contents[key])["event"] for key in sorted(contents) if key.startswith(f"logs/{request_id}/")]


def test_a_reset_removes_states_requests_and_entries_and_an_undo_puts_back_every_byte(any_dev: DevEnvironment):
    before = any_dev.contents()
    ended = any_dev.apply(any_dev.plan())
    assert (ended.receipt.stage, ended.stopped) == (Stage.FINISHED, "")
    left = any_dev.contents()
    assert not [key for key in left if isinstance(key, tuple)]
    assert not [key for key in left if key in {f"requests/{each}.json" for each in REQUESTS}]
    assert not [key for key in left if isinstance(key, str) and key.startswith("webhooks/")]
    assert any_dev.undo(ended).receipt.stage is Stage.UNDONE
    assert any_dev.contents() == before


def test_each_request_finds_its_way_by_what_stands_in_history(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    assert [history(dev, each) for each in (NEW, SAME, OLDER)] == [document(each) for each in (NEW, SAME, OLDER)]
    assert history(dev, NEWER) == document(NEWER, version=9)
    kept = dev.memory.bucket.contents()
    prefix = f"ops/resets/{ended.receipt.record.reset_id}"
    assert kept[f"{prefix}/replaced/{OLDER}.json"] == document(OLDER, version=2)
    assert kept[f"{prefix}/history/{NEWER}.json"] == document(NEWER)
    assert [active(dev, each) for each in REQUESTS] == [None] * 4
    assert [events(dev, each) for each in REQUESTS] == [["request_archived_by_reset"]] * 4
    dev.undo(ended)
    assert events(dev, NEW) == ["request_archived_by_reset", "request_restored_by_reset"]


def test_an_emptied_state_goes_on_with_its_lineage_and_has_its_digest(dev: DevEnvironment):
    before = dev.contents()
    ended = dev.apply(dev.plan(Choices(StateMode.EMPTY)), Choices(StateMode.EMPTY))
    stores = dev.memory.reset_stores
    content = stores.objects[dev.target.bucket, PLAIN.object_key]
    told = json.loads(content)
    assert (told["lineage"], told["serial"], told["resources"]) == ("11111111-2222", 8, [])
    assert stores.items[dev.target.lock_table, digest_id(dev.target.bucket, PLAIN.object_key)] == md5_of(content)
    dev.undo(ended)
    assert dev.contents() == before


def test_index_entries_stay_where_the_operator_wants_it(dev: DevEnvironment):
    plan = dev.plan(Choices(with_index=False))
    assert plan.entries == ()
    dev.apply(plan, Choices(with_index=False))
    assert len([key for key in dev.contents() if isinstance(key, str) and key.startswith("webhooks/")]) == 4


def test_a_plan_writes_nothing(dev: DevEnvironment):
    before = dict(dev.memory.bucket.contents())
    dev.plan()
    assert dev.memory.bucket.contents() == before


def test_requests_that_cannot_be_decided_are_listed_and_left(dev: DevEnvironment):
    odd = render_document(request("req_dev_odd", targetEnvPath=""))
    dev.memory.bucket.write("requests/req_dev_odd.json", odd)
    dev.memory.bucket.write("requests/req_dev_broken.json", b"{")
    plan = dev.plan()
    assert [each.request_id for each in plan.undecided] == ["req_dev_broken", "req_dev_odd"]
    dev.apply(plan)
    assert active(dev, "req_dev_odd") == odd
    assert active(dev, "req_dev_broken") == b"{"


# What is refused: at the plan, at the checklist, and at apply after a plan that was good


def active_run() -> WorkflowRun:
    from tfpilot.core.model import RepoRef

    return WorkflowRun(RunFact(run_id=77, status="in_progress"), RepoRef("acme", "infra"), path="apply.yml")


def hold_lockfile(memory: InMemory, text: str = FOREIGN) -> None:
    bucket = memory.resets.targets[0].bucket
    memory.reset_stores.objects[bucket, lockfile_key(PLAIN.object_key)] = text.encode()


def hold_item(memory: InMemory, text: str | None) -> None:
    target = memory.resets.targets[0]
    memory.reset_stores.items[target.lock_table, lock_id(target.bucket, PLAIN.object_key)] = text


def set_tag(memory: InMemory, value: str | None) -> None:
    tags = {} if value is None else {"tfpilot:environment": value}
    memory.reset_stores.bucket_tags[memory.resets.targets[0].bucket] = tags


def plan_under_way(memory: InMemory) -> None:
    memory.store(with_run(request("req_dev_busy", targetEnvPath="envs/else"), "plan", **run(5, status="in_progress")))


def fail_listing(memory: InMemory) -> None:
    memory.workflows.listing_error = GitHubError("GitHub did not answer")


def cut_listing(memory: InMemory) -> None:
    memory.workflows.is_complete = False


REFUSALS: dict[str, tuple[Callable[[InMemory], Any], str]] = {
    "environment": (
        lambda memory: setattr(memory, "rights", replace(memory.rights, dev_environments=frozenset({"staging"}))),
        "Environment allowed: dev is not in the allow-list",
    ),
    "deny term": (
        lambda memory: setattr(memory, "resets", replace(memory.resets, deny_terms=("tfstate",))),
        "No deny term: bucket tfstate-dev says tfstate",
    ),
    "tag of prod": (lambda memory: set_tag(memory, "prod"), "says 'prod' in its tag"),
    "no tag": (lambda memory: set_tag(memory, None), "has no tag tfpilot:environment"),
    "active request": (plan_under_way, "No active request: in flight: req_dev_busy (planning)"),
    "active run": (
        lambda memory: memory.workflows.runs.update({"apply.yml": [active_run()]}), "No active GitHub run: not over"
    ),
    "GitHub silent": (fail_listing, "No active GitHub run: the runs at GitHub could not be checked"),
    "listing cut short": (cut_listing, "the listing is not complete"),
    "lockfile": (hold_lockfile, "No Terraform lock held: dev/terraform.tfstate.tflock held by lena@laptop-17"),
    "lock item": (lambda memory: hold_item(memory, FOREIGN), "held by lena@laptop-17"),
    "malformed lock": (lambda memory: hold_item(memory, None), "not readable: The lock item has no Info"),
    "no versioning": (
        lambda memory: memory.reset_stores.versionings.clear(), "Versioning is on: state bucket: never enabled"
    ),
    "most requests": (
        lambda memory: [memory.bucket.delete(f"requests/req_dev_other{number}.json") for number in range(10)],
        "Share of all requests: 4 of 4 requests",
    ),
    "frozen": (
        lambda memory: memory.bucket.write("ops/freeze.json", b'{"reason": "incident"}'),
        "Writing is allowed: frozen: incident",
    ),
    "freeze unreadable": (
        lambda memory: memory.bucket.write("ops/freeze.json", b"{"), "whether the portal is frozen could not be checked"
    ),
    "read-only": (
        lambda memory: setattr(memory, "rights", replace(memory.rights, read_only=True)), "the portal is read-only"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_each_guard_refuses_at_the_plan_and_at_the_apply_and_nothing_is_touched(dev: DevEnvironment, case: str):
    plan = dev.plan()
    spoil, said = REFUSALS[case]
    spoil(dev.memory)
    before = dev.contents()
    with pytest.raises(RefusedError) as at_plan:
        dev.plan()
    assert said in at_plan.value.message
    with pytest.raises(RefusedError) as at_apply:
        dev.apply(plan)
    assert said in at_apply.value.message
    scope = check_scope(dev.memory.edges, dev.target.name, Choices(), operator=ADMIN)
    assert [check.verdict for check in scope.checks if not check.passed] != []
    assert said.rpartition(": ")[2] in "; ".join(check.why for check in scope.checks if not check.passed)
    assert dev.contents() == before
    assert list_resets(dev.memory.edges) == []


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.APPROVER, Role.SYSTEM])
def test_nobody_but_an_admin_resets(dev: DevEnvironment, role: Role):
    plan, operator = dev.plan(), Operator("maya-k", role)
    with pytest.raises(RefusedError, match="Role is admin"):
        dev.plan(operator=operator)
    with pytest.raises(MissingRightError, match="may not reset a dev environment"):
        dev.apply(plan, operator=operator)
    ended = dev.apply(plan)
    with pytest.raises(MissingRightError):
        dev.undo(ended, operator=operator)
    with pytest.raises(MissingRightError):
        resume_reset(dev.memory.edges, ended.receipt.record.reset_id, operator=operator)


def test_what_is_accepted_counts_for_the_comparison_too(dev: DevEnvironment):
    dev.memory.reset_stores.versionings[dev.target.bucket] = Versioning.SUSPENDED
    accepted = Choices(accepts_no_versioning=True)
    assert dev.apply(dev.plan(accepted), accepted).receipt.stage is Stage.FINISHED


def test_a_digest_item_that_says_nothing_makes_no_plan(dev: DevEnvironment):
    item = (dev.target.lock_table, digest_id(dev.target.bucket, PLAIN.object_key))
    dev.memory.reset_stores.items[item] = None
    with pytest.raises(DocumentError, match="has no Digest"):
        dev.plan()


def test_a_target_that_is_configured_otherwise_by_now_is_refused(dev: DevEnvironment):
    plan, before = dev.plan(), dev.contents()
    moved = replace(dev.target, states=(PLAIN,))
    dev.memory.resets = replace(dev.memory.resets, targets=(moved,))
    with pytest.raises(RefusedError, match="configured otherwise"):
        dev.apply(plan)
    dev.memory.resets = replace(dev.memory.resets, targets=())
    with pytest.raises(NotFoundError, match="no reset target payments-dev"):
        dev.apply(plan)
    assert dev.contents() == before


def rewrite_state(dev: DevEnvironment) -> None:
    dev.memory.reset_stores.put_state(dev.target, PLAIN.object_key, state_bytes(8))


def edit_request(dev: DevEnvironment) -> None:
    dev.memory.bucket.write(f"requests/{NEW}.json", document(NEW, version=4))


def add_request(dev: DevEnvironment) -> None:
    dev.memory.bucket.write("requests/req_dev_late.json", document("req_dev_late"))


def write_history(dev: DevEnvironment) -> None:
    dev.memory.bucket.write(f"history/{NEW}.json", document(NEW, version=1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rewrite_state, "state dev/terraform.tfstate changed"),
        (edit_request, f"request {NEW} changed"),
        (add_request, "request req_dev_late is new"),
        (write_history, f"request {NEW} changed: the copy in history"),
    ],
)
def test_what_changed_since_the_review_is_found_under_the_lock_and_the_lock_given_back(
    dev: DevEnvironment, change: Callable[[DevEnvironment], None], said: str
):
    plan = dev.plan()
    change(dev)
    before = dev.contents()
    with pytest.raises(RefusedError, match=said):
        dev.apply(plan)
    assert dev.contents() == before
    [record] = list_resets(dev.memory.edges)
    assert get_receipt(dev.memory.edges, record.reset_id).stage is Stage.REFUSED
    assert dev.memory.edges.reset_journal.has_receipt(record.reset_id)
    assert find_unfinished(dev.memory.edges, dev.target) is None


def test_a_lock_that_is_taken_between_the_check_and_ours_is_refused_and_ours_given_back(dev: DevEnvironment):
    plan = dev.plan()

    def others(_record: object) -> None:
        hold_item(dev.memory, FOREIGN)

    with pytest.raises(RefusedError, match="is somebody else's"):
        dev.apply(plan, on_begin=others)
    stores = dev.memory.reset_stores
    assert not [key for _, key in stores.objects if key.endswith(".tflock")]
    assert stores.items[dev.target.lock_table, lock_id(dev.target.bucket, PLAIN.object_key)] == FOREIGN
    assert stores.objects[dev.target.bucket, PLAIN.object_key] == state_bytes()


# Two at once, stopping, interruption


class AfterGroup:
    """Does something once, after the first group of a phase."""

    def __init__(self, phase: Phase, act: Callable[[], object]) -> None:
        self._phase, self._act = phase, act

    def __call__(self, group: tuple[ResetStep, ...], _results: tuple[StepResult, ...]) -> None:
        if group[0].phase is self._phase:
            act, self._act = self._act, lambda: None
            act()


def reset_id_of(dev: DevEnvironment) -> str:
    return list_resets(dev.memory.edges)[0].reset_id


def test_whoever_works_on_a_target_keeps_everybody_else_off(dev: DevEnvironment):
    edges, plan = dev.memory.edges, dev.plan()
    lease = Lease(lease_name(dev.target), "another", "lena", "resetting payments-dev", NOW + timedelta(seconds=30))
    edges.leases.take(lease, now=edges.clock())
    with pytest.raises(ConflictError, match="lena is at it: resetting payments-dev"):
        dev.apply(plan)
    dev.memory.clock.advance(seconds=31)
    assert dev.apply(plan).receipt.stage is Stage.FINISHED


def test_a_lease_that_was_taken_over_stops_the_first(dev: DevEnvironment):
    edges = dev.memory.edges

    def take_over() -> None:
        dev.memory.clock.advance(seconds=61)
        later = edges.clock() + timedelta(seconds=60)
        edges.leases.take(Lease(lease_name(dev.target), "another", "lena", "resuming", later), now=edges.clock())

    with pytest.raises(RefusedError, match="Another process took over"):
        dev.apply(dev.plan(), on_group=AfterGroup(Phase.BACKUP, take_over))
    assert dev.memory.reset_stores.objects[dev.target.bucket, PLAIN.object_key] == state_bytes()


def test_another_process_in_the_same_journal_stops_this_one(dev: DevEnvironment):
    def write_next_entry() -> None:
        view = read_reset(dev.memory.edges, reset_id_of(dev))
        number = view.progress.next_number
        key = f"ops/resets/{view.record.reset_id}/journal/{number:06}.json"
        dev.memory.bucket.write(key, dev.memory.bucket.contents()[key.replace(f"{number:06}", f"{number - 1:06}")])

    with pytest.raises(RefusedError, match="Another process goes on with reset"):
        dev.apply(dev.plan(), on_group=AfterGroup(Phase.BACKUP, write_next_entry))


def test_a_request_that_is_edited_during_the_reset_stays_with_the_edit_and_with_its_entries(dev: DevEnvironment):
    edited = document(NEW, version=4)
    key = next(key for key, content in dev.memory.bucket.contents().items()
               if key.startswith("webhooks/") and NEW.encode() in content)  # fmt: skip
    before = dev.contents()
    edit = AfterGroup(Phase.BACKUP, lambda: dev.memory.bucket.write(f"requests/{NEW}.json", edited))
    ended = dev.apply(dev.plan(), on_group=edit)
    assert ended.receipt.stage is Stage.FINISHED
    assert active(dev, NEW) == edited
    assert {kept.subject for kept in ended.receipt.kept} == {NEW}
    assert dev.contents()[key] == before[key]
    dev.undo(ended)
    assert dev.contents() == {**before, f"requests/{NEW}.json": edited}


@pytest.mark.parametrize("phase", [Phase.COMPARE, Phase.BACKUP, Phase.DIGEST, Phase.STATE, Phase.REQUESTS])
@pytest.mark.parametrize("way", ["resume", "undo"])
def test_a_reset_that_is_stopped_gives_its_lock_back_and_goes_on_or_back(dev: DevEnvironment, phase: Phase, way: str):
    edges, before = dev.memory.edges, dev.contents()
    stop = AfterGroup(phase, lambda: ask_to_stop(edges, reset_id_of(dev), operator=SECOND))
    ended = dev.apply(dev.plan(), on_group=stop)
    assert (ended.receipt.stage, ended.stopped) == (Stage.UNFINISHED, "release-bot asked to stop")
    assert not [key for _, key in dev.memory.reset_stores.objects if key.endswith(".tflock")]
    with pytest.raises(RefusedError, match=r"is not over: unfinished"):
        dev.plan()
    dev.memory.clock.advance(seconds=1)
    if way == "resume":
        assert resume_reset(edges, ended.receipt.record.reset_id, operator=SECOND).receipt.stage is Stage.FINISHED
        assert [active(dev, each) for each in REQUESTS] == [None] * 4
    else:
        assert dev.undo(ended).receipt.stage is Stage.UNDONE
        assert dev.contents() == before
    assert find_unfinished(edges, dev.target) is None


def test_a_freeze_ends_the_present_step_and_the_locks_are_given_back(dev: DevEnvironment):
    freeze = AfterGroup(Phase.STATE, lambda: dev.memory.bucket.write("ops/freeze.json", b'{"reason": "incident"}'))
    ended = dev.apply(dev.plan(), on_group=freeze)
    assert ended.stopped == "the portal is frozen: incident"
    assert not [key for _, key in dev.memory.reset_stores.objects if key.endswith(".tflock")]
    with pytest.raises(RefusedError, match="frozen: incident"):
        resume_reset(dev.memory.edges, ended.receipt.record.reset_id, operator=ADMIN)
    with pytest.raises(RefusedError, match="frozen: incident"):
        dev.undo(ended)


def test_a_store_that_does_not_answer_leaves_the_lock_for_a_resume_to_find(dev: DevEnvironment):
    stores, edges = dev.memory.reset_stores, dev.memory.edges

    def fail() -> None:
        stores.outage = OUTAGE

    with pytest.raises(StorageError, match=r"was interrupted: Could not read") as failure:
        dev.apply(dev.plan(), on_group=AfterGroup(Phase.BACKUP, fail))
    assert "resume it, or undo it" in failure.value.hint
    stores.outage = None
    assert [key for _, key in stores.objects if key.endswith(".tflock")]
    view = find_unfinished(edges, dev.target)
    assert view is not None
    assert view.stage is Stage.UNFINISHED
    assert resume_reset(edges, view.record.reset_id, operator=SECOND).receipt.stage is Stage.FINISHED


def test_a_resume_is_refused_while_something_is_in_flight_and_an_undo_is_not(dev: DevEnvironment):
    edges, before = dev.memory.edges, dev.contents()
    ended = dev.apply(
        dev.plan(), on_group=AfterGroup(Phase.STATE, lambda: ask_to_stop(edges, reset_id_of(dev), operator=ADMIN))
    )
    dev.memory.clock.advance(seconds=1)
    plan_under_way(dev.memory)
    with pytest.raises(RefusedError, match="in flight: req_dev_busy"):
        resume_reset(edges, ended.receipt.record.reset_id, operator=ADMIN)
    assert dev.undo(ended).receipt.stage is Stage.UNDONE
    assert {key: dev.contents()[key] for key in before} == before


def test_a_reset_that_is_over_is_answered_as_it_ended(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    before = dev.contents()
    again = resume_reset(dev.memory.edges, ended.receipt.record.reset_id, operator=ADMIN)
    assert again.receipt == ended.receipt
    assert dev.contents() == before


# Undo


def test_an_undo_takes_its_own_phrase(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    reset_id, before = ended.receipt.record.reset_id, dev.contents()
    for typed in ("", "undo payments-dev", confirmation_of(ended.receipt.plan).typed):
        with pytest.raises(RefusedError, match="not the phrase of the undo"):
            undo_reset(dev.memory.edges, reset_id, typed=typed, operator=ADMIN)
    assert dev.contents() == before


def test_a_state_that_somebody_applied_again_stays_and_the_rest_is_put_back(any_dev: DevEnvironment):
    dev, before = any_dev, any_dev.contents()
    ended = dev.apply(dev.plan())
    applied = state_bytes(1, lineage="fresh")
    dev.memory.reset_stores.put_state(dev.target, PLAIN.object_key, applied)
    preview = preview_undo(dev.memory.edges, ended.receipt.record.reset_id)
    occupied = [line.step.place.key for line in preview if not line.is_free]
    assert PLAIN.object_key in occupied
    undone = dev.undo(ended)
    state = (dev.target.bucket, PLAIN.object_key)
    digest = (dev.target.lock_table, digest_id(*state))
    assert dev.contents()[state] == applied
    assert dev.contents().get(digest) == (md5_of(applied) if dev.target.lock_mode.has_table else None)
    others = {key: value for key, value in before.items() if key not in {state, digest}}
    assert {key: value for key, value in dev.contents().items() if key not in {state, digest}} == others
    assert PLAIN.object_key in [kept.subject for kept in undone.receipt.kept]
    assert find_unfinished(dev.memory.edges, dev.target) is None


def test_an_undo_is_refused_while_somebody_holds_the_lock(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    hold_lockfile(dev.memory)
    before = dev.contents()
    with pytest.raises(RefusedError, match="is somebody else's"):
        dev.undo(ended)
    assert dev.contents() == before


def test_after_its_days_a_reset_cannot_be_undone(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    dev.memory.clock.advance(days=30, seconds=1)
    with pytest.raises(RefusedError, match="could be undone until"):
        dev.undo(ended)


def test_a_request_that_was_made_again_stays_and_is_told(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    dev.memory.bucket.write(f"requests/{NEW}.json", document(NEW, version=1))
    undone = dev.undo(ended)
    assert active(dev, NEW) == document(NEW, version=1)
    assert history(dev, NEW) == document(NEW)
    assert {kept.subject for kept in undone.receipt.kept} == {NEW}


def test_the_receipt_is_kept_after_each_end(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    dev.undo(ended)
    receipts = [key for key in dev.memory.bucket.contents() if "/receipts/" in key]
    assert sorted(key.rpartition(".")[2] for key in receipts) == ["json", "json", "md", "md"]


# A second admin


def test_a_second_admin_is_named_in_the_record(dev: DevEnvironment):
    edges, plan = dev.memory.edges, dev.plan()
    digest = ask_for_approval(edges, plan, operator=ADMIN, reason="broken").digest
    with pytest.raises(RefusedError, match="ops-lead made this plan"):
        approve_plan(edges, digest, Choices(), operator=ADMIN)
    assert approve_plan(edges, digest, Choices(), operator=SECOND).login == "release-bot"
    assert dev.apply(plan).receipt.record.approved_by == "release-bot"


def test_a_plan_that_changed_since_it_was_asked_about_is_not_approved(dev: DevEnvironment):
    digest = ask_for_approval(dev.memory.edges, dev.plan(), operator=ADMIN, reason="broken").digest
    rewrite_state(dev)
    with pytest.raises(RefusedError, match="is not what ops-lead planned"):
        approve_plan(dev.memory.edges, digest, Choices(), operator=SECOND)


def test_where_two_admins_are_needed_one_is_not_enough(dev: DevEnvironment):
    dev.memory.resets = replace(dev.memory.resets, needs_second_admin=True)
    plan = dev.plan()
    with pytest.raises(RefusedError, match="No second admin approved"):
        dev.apply(plan)
    with pytest.raises(NotFoundError, match="Nobody asked"):
        approve_plan(dev.memory.edges, confirmation_of(plan).digest, Choices(), operator=SECOND)


def test_a_scope_that_cannot_be_read_is_a_line_of_the_checklist(dev: DevEnvironment):
    dev.memory.bucket.outage = OUTAGE
    scope = check_scope(dev.memory.edges, dev.target.name, Choices(), operator=ADMIN)
    assert scope.scope is None
    unchecked = {check.guard.name for check in scope.checks if check.verdict is Verdict.UNCHECKED}
    assert {"REQUESTS", "SHARE", "WRITING"} <= unchecked


def test_undo_phrase_and_reset_phrase_differ(dev: DevEnvironment):
    plan = dev.plan()
    assert undo_phrase_of(plan) != confirmation_of(plan).typed


def test_the_lines_of_an_undo_are_the_changes_the_other_way_round(dev: DevEnvironment):
    ended = dev.apply(dev.plan())
    actions = [line.step.action for line in preview_undo(dev.memory.edges, ended.receipt.record.reset_id)]
    assert set(actions) == {Action.RESTORE, Action.TAKE_BACK}
    assert actions.count(Action.RESTORE) == 4 + 4 + 1 + 2 + 2  # entries, requests, an older copy, states, digests


def test_the_lines_of_the_undo_of_emptied_states_are_free(any_dev: DevEnvironment):
    before = any_dev.contents()
    choices = Choices(state_mode=StateMode.EMPTY)
    ended = any_dev.apply(any_dev.plan(choices), choices)
    assert [line.reason for line in preview_undo(any_dev.memory.edges, reset_id_of(any_dev)) if not line.is_free] == []
    assert any_dev.undo(ended).receipt.kept == ()
    assert any_dev.contents() == before
