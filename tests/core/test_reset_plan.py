"""What a plan holds, that its digest is of exactly that, and what a person must do before it is carried out."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW, ago
from tests.core.reset_world import (
    FOREIGN,
    LOCK_ID,
    NAMED,
    PLAIN,
    REQUESTS,
    World,
    dev_world,
    document,
    read_plan,
    record,
    state_bytes,
    target,
)
from tfpilot.core.model import Operator, Role
from tfpilot.core.reset_confirm import (
    Acknowledgement,
    Approval,
    approve,
    check_approved,
    check_confirmed,
    check_digest,
    phrase_of,
    sentence_of,
)
from tfpilot.core.reset_plan import (
    ArchiveCase,
    ReadObject,
    ResetPlan,
    StateMode,
    archive_case,
    count_cases,
    make_plan,
    people_of,
    plan_entry,
    plan_request,
    sha256_of,
)
from tfpilot.core.reset_plan_document import differences, digest_of, parse_plan, plan_fields, render_plan
from tfpilot.core.reset_steps import Place, Store, lock_info, steps_of
from tfpilot.core.reset_target import Undecided
from tfpilot.core.terraform import LockMode, md5_of
from tfpilot.errors import DocumentError, MissingRightError, RefusedError

A, B, C, D = REQUESTS
ALL = frozenset(Acknowledgement)


def plan(world: World | None = None, **options: Any) -> ResetPlan:
    return read_plan(world or dev_world(), **options)


def place(key: str) -> Place:
    return Place(Store.REQUESTS_BUCKET, key)


class TestContents:
    def test_it_names_exact_objects_with_their_versions_sizes_and_digests(self):
        made = plan()
        plain = next(each for each in made.states if each.object_key == PLAIN.object_key)
        content = state_bytes()
        assert plain.state is not None
        assert (plain.state.key, plain.state.version_id, plain.state.size_bytes) == (PLAIN.key, "v1", len(content))
        assert (plain.state.sha256, plain.state.etag) == (sha256_of(content), md5_of(content))
        assert (plain.md5, plain.digest, plain.lock_id) == (
            md5_of(content),
            md5_of(content),
            "tfstate-dev/dev/terraform.tfstate",
        )
        assert [each.object_key for each in made.states] == [PLAIN.object_key, NAMED.object_key]

    def test_it_counts_objects_bytes_resources_and_people(self):
        made = plan()
        assert len(made.objects) == 2 + 4 + 4
        assert made.size_bytes == sum(each.size_bytes for each in made.objects)
        assert made.resource_count == 4
        assert [(each.login, each.request_count) for each in people_of(made)] == [("maya-k", 4)]

    def test_people_come_with_most_requests_first_and_their_last_activity(self):
        world = dev_world()
        world.put_request(A, document(A, config={"tags": {"tfpilot:created_by": "lena"}}, updatedAt=ago(minutes=5)))
        people = people_of(plan(world))
        assert [(each.login, each.request_count) for each in people] == [("maya-k", 3), ("lena", 1)]
        assert people[1].last_activity == NOW - timedelta(minutes=5)

    def test_requests_say_what_they_meet_in_history(self):
        assert {each.request_id: each.case for each in plan().requests} == {
            A: ArchiveCase.NEW,
            B: ArchiveCase.IDENTICAL,
            C: ArchiveCase.OLDER,
            D: ArchiveCase.KEPT,
        }
        assert set(count_cases(plan()).values()) == {1}

    def test_a_removal_writes_nothing_and_an_emptied_state_follows_its_lineage(self):
        assert all(each.replacement is None for each in plan().states)
        emptied = [json.loads(each.replacement or "") for each in plan(mode=StateMode.EMPTY).states]
        assert [(each["serial"], each["lineage"], each["resources"]) for each in emptied] == [
            (8, "11111111-2222", []),
            (4, "other", []),
        ]

    def test_no_secret_of_a_state_is_in_the_plan(self):
        assert b"hunter2" not in render_plan(plan(mode=StateMode.EMPTY))

    def test_without_the_index_no_entry_is_planned(self):
        made = plan()
        without = make_plan(
            made.target,
            state_mode=made.state_mode,
            with_index=False,
            states=made.states,
            requests=made.requests,
            entries=made.entries,
            undecided=(),
            now=NOW,
        )
        assert without.entries == ()

    def test_an_entry_of_another_request_or_that_cannot_be_read_stays(self):
        entry = next(content for key, content in dev_world().objects.items() if key.key.startswith("webhooks/"))
        assert plan_entry(ReadObject("webhooks/x", entry, "e"), request_ids={A}) is not None
        assert plan_entry(ReadObject("webhooks/x", entry, "e"), request_ids={B}) is None
        assert plan_entry(ReadObject("webhooks/x", b"{}", "e"), request_ids={A}) is None

    def test_a_document_that_cannot_be_read_is_not_planned(self):
        with pytest.raises(DocumentError):
            plan_request(ReadObject(f"requests/{A}.json", b"{", "e"), request_id=A, archived=None)


class TestArchiveCases:
    @pytest.mark.parametrize(
        ("ours", "theirs", "case"),
        [
            ({"version": 3}, None, ArchiveCase.NEW),
            ({"version": 3}, {"version": 3}, ArchiveCase.IDENTICAL),
            ({"version": 3}, {"version": 2}, ArchiveCase.OLDER),
            ({"version": 3}, {"version": 4}, ArchiveCase.KEPT),
            ({"updatedAt": ago(minutes=1)}, {"updatedAt": ago(minutes=2)}, ArchiveCase.OLDER),
            ({"updatedAt": ago(minutes=2)}, {"updatedAt": ago(minutes=1)}, ArchiveCase.KEPT),
            ({"project": "a"}, {"project": "b"}, ArchiveCase.KEPT),
            (
                {"version": 4, "updatedAt": ago(minutes=2)},
                {"version": 3, "updatedAt": ago(minutes=1)},
                ArchiveCase.KEPT,
            ),
        ],
    )
    def test_only_what_is_certainly_older_is_replaced(self, ours, theirs, case):
        there = None if theirs is None else document(A, **{"version": 3, **theirs})
        assert archive_case(document(A, **{"version": 3, **ours}), there, request_id=A) is case

    @pytest.mark.parametrize("there", [b"", b"{", document(B)])
    def test_what_cannot_be_read_there_is_kept(self, there):
        assert archive_case(document(A), there, request_id=A) is ArchiveCase.KEPT


class TestDigest:
    @given(st.data())
    def test_it_does_not_depend_on_the_order_in_which_things_were_read(self, data):
        made = plan()
        chosen = replace(made.target, states=tuple(data.draw(st.permutations(made.target.states))))
        shuffled = replace(
            made,
            target=chosen,
            states=tuple(data.draw(st.permutations(made.states))),
            requests=tuple(data.draw(st.permutations(made.requests))),
            entries=tuple(data.draw(st.permutations(made.entries))),
        )
        assert digest_of(shuffled) == digest_of(made)
        assert differences(made, shuffled) == ()

    def test_it_is_of_what_is_done_and_not_of_when_it_was_planned_or_what_is_left(self):
        made = plan()
        later = replace(made, planned_at=NOW + timedelta(hours=1), undecided=(Undecided("req_x", "no path"),))
        assert digest_of(later) == digest_of(made)
        assert len(digest_of(made)) == 64

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda w: w.put_state(PLAIN, state_bytes(8)), "state dev/terraform.tfstate changed: content or version"),
            (lambda w: w.objects.pop(w.state_place(NAMED)), f"state {NAMED.object_key} changed"),
            (lambda w: w.objects.pop(w.digest_place(PLAIN)), "changed: digest"),
            (lambda w: w.objects.update({w.lock_places(PLAIN)[0]: FOREIGN.encode()}), "changed: locks"),
            (lambda w: w.put_request(A, document(A, version=4)), f"request {A} changed: content or version"),
            (lambda w: w.objects.pop(place(f"requests/{B}.json")), f"request {B} is not there any more"),
            (lambda w: w.put_request(A, document(A, version=1), prefix="history"), "the copy in history"),
            (lambda w: w.objects.pop(place("webhooks/github/run-index/apply/run-100.json")), "is not there any more"),
        ],
    )
    def test_everything_that_changes_changes_it_and_is_told(self, change, told):
        world = dev_world()
        before = plan(world)
        change(world)
        after = plan(world)
        assert digest_of(after) != digest_of(before)
        assert any(told in each for each in differences(before, after))

    def test_what_is_new_is_told_and_so_are_other_choices(self):
        world = dev_world()
        content = world.objects.pop(place(f"requests/{A}.json"))
        before = plan(world)
        world.objects[place(f"requests/{A}.json")] = content
        after = plan(world, mode=StateMode.EMPTY)
        told = differences(before, after)
        assert f"request {A} is new" in told
        assert "the state mode is another one than reviewed" in told
        assert digest_of(before) != digest_of(after)
        moved = replace(before, target=replace(before.target, environment="sandbox"))
        assert differences(before, moved) == ("the target is another one than reviewed",)

    def test_the_locks_of_the_reset_itself_are_no_difference(self):
        world = dev_world()
        before = plan(world)
        for step in steps_of(before, record(before)):
            if step.id.startswith("lock:"):
                assert step.content is not None
                world.objects[step.place] = step.content
        assert differences(before, plan(world, own_lock_id=LOCK_ID)) == ()
        assert differences(before, plan(world)) != ()

    @pytest.mark.parametrize("lock", LockMode)
    @pytest.mark.parametrize("mode", StateMode)
    def test_a_plan_survives_its_storage(self, lock, mode):
        made = replace(plan(dev_world(lock), mode=mode), undecided=(Undecided("req_x", "no path"),))
        stored = parse_plan(render_plan(made), key="plan.json")
        assert stored == made
        assert digest_of(stored) == digest_of(made)

    def test_a_stored_plan_that_was_tampered_with_or_is_none_is_refused(self):
        fields = plan_fields(plan())
        fields["binding"]["states"][0]["object"]["etag"] = "another"
        with pytest.raises(DocumentError, match="not the plan that its digest says"):
            parse_plan(json.dumps(fields).encode(), key="plan.json")
        for broken in (b"[]", b"{}", json.dumps({**fields, "binding": {}}).encode()):
            with pytest.raises(DocumentError, match=r"plan\.json is no plan"):
                parse_plan(broken, key="plan.json")


class TestConfirmation:
    def test_the_phrase_names_the_target_and_the_beginning_of_the_digest(self):
        made = plan()
        assert phrase_of(made) == f"reset payments-dev {digest_of(made)[:6]}"
        check_confirmed(made, typed=f" {phrase_of(made)}\n", acknowledged=ALL)

    @given(typed=st.text())
    def test_anything_else_is_refused(self, typed):
        made = replace(plan(), requests=())
        with pytest.raises(RefusedError, match="not the phrase"):
            check_confirmed(made, typed=typed, acknowledged=ALL)

    @pytest.mark.parametrize(
        "wrong", ["", "reset payments-dev", "RESET payments-dev {0}", "reset other-dev {0}", "yes"]
    )
    def test_what_is_almost_the_phrase_is_refused(self, wrong):
        made = plan()
        with pytest.raises(RefusedError) as caught:
            check_confirmed(made, typed=wrong.format(digest_of(made)[:6]), acknowledged=ALL)
        assert phrase_of(made) in caught.value.hint

    def test_the_phrase_of_an_earlier_plan_is_refused(self):
        world = dev_world()
        earlier = phrase_of(plan(world))
        world.put_state(PLAIN, state_bytes(8))
        with pytest.raises(RefusedError):
            check_confirmed(plan(world), typed=earlier, acknowledged=ALL)

    @pytest.mark.parametrize("missing", Acknowledgement)
    def test_each_acknowledgement_is_needed(self, missing):
        made = plan()
        with pytest.raises(RefusedError, match=sentence_of(made, missing)):
            check_confirmed(made, typed=phrase_of(made), acknowledged=ALL - {missing})

    def test_the_sentences_have_their_numbers(self):
        assert sentence_of(plan(), Acknowledgement.RESOURCES) == "The 4 cloud resources are destroyed or abandoned"
        assert sentence_of(plan(), Acknowledgement.PEOPLE) == "The 1 person listed knows about it"

    def test_a_plan_is_carried_out_by_its_whole_digest(self):
        made = plan()
        check_digest(made, digest_of(made))
        with pytest.raises(RefusedError, match="another one than the one that was reviewed"):
            check_digest(made, digest_of(made)[:6])


class TestSecondAdmin:
    def test_another_admin_approves_exactly_this_digest(self):
        made, operator = plan(), Operator("ops-lead", Role.ADMIN)
        approval = approve(made, Operator("lia-r", Role.ADMIN), planned_by="ops-lead", now=NOW)
        assert approval == Approval(digest_of(made), "lia-r", NOW)
        check_approved(made, approval, operator=operator)
        with pytest.raises(RefusedError, match="No second admin approved this plan"):
            check_approved(plan(mode=StateMode.EMPTY), approval, operator=operator)
        with pytest.raises(RefusedError, match="No second admin"):
            check_approved(made, None, operator=operator)
        with pytest.raises(RefusedError, match="cannot carry it out"):
            check_approved(made, approval, operator=Operator("LIA-R", Role.ADMIN))

    def test_whoever_made_the_plan_or_is_no_admin_cannot_approve_it(self):
        with pytest.raises(RefusedError, match="made this plan"):
            approve(plan(), Operator("Ops-Lead", Role.ADMIN), planned_by="ops-lead", now=NOW)
        with pytest.raises(MissingRightError, match="may not approve"):
            approve(plan(), Operator("lia-r", Role.APPROVER), planned_by="ops-lead", now=NOW)


def test_the_lock_that_terraform_shows_names_the_operator_the_reset_and_the_reason():
    made = plan(dev_world(), mode=StateMode.REMOVE)
    shown = lock_info(record(made), made, made.states[0])
    assert shown.who == "ops-lead@tfpilot-ops"
    assert shown.info == "Reset rst_20260302_1200 of payments-dev: state broken after provider upgrade"
    assert (shown.id, shown.path, shown.created) == (LOCK_ID, "tfstate-dev/dev/terraform.tfstate", NOW)
    assert target().name in shown.info
