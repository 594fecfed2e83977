"""A plan as a person reads it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.reset_world import NAMED, PLAIN, REQUESTS, World, dev_world, read_plan
from tfpilot.core.reset_plan import ResetPlan, StateMode
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.reset_plan_report import cell, plan_lines, plan_markdown, size_text, total_of
from tfpilot.core.reset_target import Undecided
from tfpilot.core.terraform import LockMode


@pytest.fixture
def world() -> World:
    return dev_world()


def happens(plan: ResetPlan) -> dict[str, str]:
    return {line.what: line.happens for line in plan_lines(plan)}


def test_each_kind_of_thing_is_counted_with_its_bytes(world):
    plan = read_plan(world)
    counts = {line.what: (line.count, line.size_bytes) for line in plan_lines(plan)}
    states = sum(state.state.size_bytes for state in plan.states if state.state)
    assert counts["Terraform state"] == (2, states)
    assert counts["Digest item"] == (2, 64)
    assert (counts["Requests"][0], counts["Run-index entries"][0]) == (4, 4)
    assert total_of(plan_lines(plan)) == (12, plan.size_bytes + 64)


def test_what_happens_to_each_is_said(world):
    told = happens(read_plan(world))
    assert told["Terraform state"] == "removed; backup in the state bucket"
    assert told["Digest item"] == "removed before the state; value kept in the journal"
    assert told["Requests"] == "moved to `history/`; 1 older copy there kept aside; 1 newer copy stays there"
    assert told["Run-index entries"] == "removed; backup under `ops/`"


def test_an_emptied_state_is_said(world):
    told = happens(read_plan(world, mode=StateMode.EMPTY))
    assert told["Terraform state"].startswith("replaced by an empty one: same lineage, the next serial")
    assert told["Digest item"].endswith("that of the empty state follows")


def test_entries_that_stay_are_said(world):
    line = plan_lines(replace(read_plan(world), with_index=False, entries=()))[-1]
    assert (line.count, line.size_bytes, line.happens) == (0, None, "left as they are")


def test_without_a_table_there_is_no_line_for_digests():
    assert "Digest item" not in happens(read_plan(dev_world(LockMode.LOCKFILE)))


def test_a_digest_that_does_not_fit_already_now_is_said(world):
    world.objects[world.digest_place(PLAIN)] = b"0" * 32
    assert "1 does not fit its state already now" in happens(read_plan(world))["Digest item"]


def test_keys_without_a_state_are_said(world):
    del world.objects[world.state_place(NAMED)], world.objects[world.digest_place(NAMED)]
    assert "1 of 2 keys have no state" in happens(read_plan(world))["Terraform state"]
    del world.objects[world.state_place(PLAIN)], world.objects[world.digest_place(PLAIN)]
    assert happens(read_plan(world))["Terraform state"] == "there is none"
    assert "There is none." in plan_markdown(read_plan(world))


def test_a_person_reads_the_plan_as_a_page(world):
    plan = read_plan(world)
    page = plan_markdown(plan)
    assert page.startswith("# Plan of a reset of payments-dev\n")
    assert f"| Digest | `{digest_of(plan)}` |" in page
    assert "| **Total**" not in page
    assert "| Total | 12 |" in page
    assert "## Resources that lose their state: 4" in page
    assert "A reset destroys none of these." in page
    assert "| terraform_data | managed | 4 | terraform_data.r0, terraform_data.r0, terraform_data.r1" in page
    assert f"- {REQUESTS[0]}: nothing there: copied" in page
    assert f"## State `{NAMED.object_key}`" in page
    assert page.endswith("\n")


def test_no_secret_of_a_state_is_in_it(world):
    assert "hunter2" not in plan_markdown(read_plan(world))


def test_what_cannot_be_decided_is_listed_with_its_reason(world):
    odd = (Undecided("req_dev_odd", "targetEnvPath is '<b>|x'"),)
    page = plan_markdown(replace(read_plan(world), undecided=odd))
    assert "- req_dev_odd: targetEnvPath is '\\<b\\>\\|x'" in page


def test_data_is_no_markup_and_stays_in_its_cell():
    assert cell("a | b\n`c` *d* [e](f) <g> \\") == "a \\| b \\`c\\` \\*d\\* \\[e\\](f) \\<g\\> \\\\"


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (188_416, "184 KiB"), (1_500_000, "1.4 MiB"), (2**31, "2.0 GiB")],
)
def test_sizes_are_short(size, said):
    assert size_text(size) == said
