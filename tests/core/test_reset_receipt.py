"""What the receipt of a reset tells, and that a person could undo by it alone."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.builders import NOW
from tests.core.reset_world import (
    NAMED,
    PLAIN,
    REQUESTS,
    KilledError,
    Reset,
    dev_world,
    document,
    read_plan,
    state_bytes,
)
from tfpilot.core.reset_journal import Stage
from tfpilot.core.reset_plan import sha256_of
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.reset_receipt import (
    Receipt,
    make_receipt,
    next_actions,
    receipt_fields,
    receipt_markdown,
    render_receipt,
)
from tfpilot.core.reset_steps import Action
from tfpilot.core.terraform import md5_of


def receipt(reset: Reset) -> Receipt:
    return make_receipt(reset.plan, reset.record, reset.steps, reset.progress, undo_days=30)


def finished() -> Reset:
    world = dev_world()
    reset = Reset(world, read_plan(world))
    reset.resume()
    return reset


def test_it_says_who_when_what_and_until_when_it_can_be_undone():
    reset = finished()
    fields = json.loads(render_receipt(receipt(reset)))
    assert (fields["operator"], fields["approvedBy"], fields["stage"]) == ("ops-lead", None, "finished")
    assert (fields["planDigest"], fields["target"]) == (digest_of(reset.plan), "payments-dev")
    assert fields["undoCommand"] == "python -m tfpilot reset undo rst_20260302_1200"
    assert fields["undoUntil"] == "2026-04-01T12:00:00.000Z"
    assert (fields["startedAt"], fields["endedAt"]) == ("2026-03-02T12:00:00.000Z", "2026-03-02T12:00:00.000Z")
    assert fields["kept"] == []


def test_everything_it_takes_to_undo_by_hand_is_in_it():
    reset = finished()
    fields = receipt_fields(receipt(reset))
    plain = next(each for each in fields["states"] if each["key"] == PLAIN.object_key)
    assert plain["backup"] == "tfpilot-ops-backup/rst_20260302_1200/dev/terraform.tfstate"
    assert (plain["versionId"], plain["sha256"]) == ("v1", sha256_of(state_bytes()))
    assert (plain["digestId"], plain["digest"]) == ("tfstate-dev/dev/terraform.tfstate-md5", md5_of(state_bytes()))
    assert (fields["stateBucket"], fields["lockTable"]) == ("tfstate-dev", "tf-locks-dev")
    removed = [each for each in fields["done"] if each["action"].startswith("remove the")]
    assert len(removed) == 2 * 2 + 4 + 4
    stored = {place.key for place in reset.world.objects} | {"ops/resets/rst_20260302_1200/plan.json"}
    assert {each["backup"] for each in removed} <= stored


def test_no_secret_of_a_state_is_in_it():
    told = receipt(finished())
    assert b"hunter2" not in render_receipt(told)
    assert "hunter2" not in receipt_markdown(told)


def test_a_person_reads_it_as_a_page():
    page = receipt_markdown(receipt(finished()))
    assert page.startswith("# Reset rst_20260302_1200 of payments-dev: finished\n")
    assert "| Who | ops-lead, second admin: none |" in page
    assert "| When | 2026-03-02 12:00:00 to 12:00:00 UTC, 0 s |" in page
    assert "| Requests | 4 of 4 archived |" in page
    assert f"## State `{NAMED.object_key}`" in page
    assert "    python -m tfpilot reset undo rst_20260302_1200" in page
    assert "1. Destroy or import the 4 resources that lost their state." in page


def test_what_was_left_is_listed_with_its_reason():
    reset = finished()
    reset.world.put_state(PLAIN, state_bytes(1, lineage="new"))
    reset.undo()
    told = receipt(reset)
    assert told.stage is Stage.UNDONE
    assert {each.subject for each in told.kept} == {PLAIN.object_key}
    assert "Left as they are" in receipt_markdown(told)
    assert "dev/terraform.tfstate: state bucket dev/terraform.tfstate holds something else" in receipt_markdown(told)
    assert (told.undo_until, next_actions(told)) == (None, ())
    assert len(told.undone) == len([step for step in told.done if step.action is not Action.BACK_UP]) - 1 - 2


def test_an_edited_request_and_its_entry_are_counted_as_kept():
    first, number = REQUESTS[0], 0
    reset = Reset(dev_world(), read_plan(dev_world()))
    while f"copy:{first}" not in reset.progress.outcomes:
        number += 1
        reset = Reset(dev_world(), reset.plan, kill_after=number)
        with pytest.raises(KilledError):
            reset.resume()
    reset.world.put_request(first, document(first, version=4))
    reset.kill_after = None
    reset.resume()
    told = receipt(reset)
    assert [(each.subject, each.place.rpartition("/")[2]) for each in told.kept] == [
        (first, f"{first}.json"), (first, "run-100.json"),
    ]  # fmt: skip
    assert (told.count(Action.REMOVE_REQUEST), told.count(Action.REMOVE_ENTRY)) == (3, 3)
    assert "3 of 4 archived" in receipt_markdown(told)


def test_a_reset_that_has_not_ended_says_so_and_has_no_end():
    world = dev_world()
    reset = Reset(world, read_plan(world), kill_after=20)
    with pytest.raises(KilledError):
        reset.resume()
    told = receipt(reset)
    assert (told.stage, told.ended_at, told.took) == (Stage.UNFINISHED, None, None)
    assert "not ended" in receipt_markdown(told)
    assert told.undo_until == NOW + timedelta(days=30)
