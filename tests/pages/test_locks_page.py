"""The page of Terraform's locks: what is shown, and the guarded release of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.fakes import OUTAGE, InMemory
from tests.lock_setup import KEY, LOCK, OTHER_KEY, github_run, hold, lock_text, locks_held, targets
from tests.operations.test_locks import break_store
from tests.pages.conftest import Tab
from tests.reset_setup import dev_environment
from tfpilot import wiring
from tfpilot.config import Settings
from tfpilot.core.model import Operator, Role
from tfpilot.core.reset_steps import OPERATION, Phase, ResetStep, Store, lock_places
from tfpilot.core.terraform import LockMode
from tfpilot.errors import ConflictError, StorageError
from tfpilot.operations.reset_views import list_resets

FILES, TABLE = "lockfile-dev", "dynamodb-dev"


@pytest.fixture
def world(memory: InMemory, tab: Tab) -> InMemory:
    """A dead lock, a live one, one of a person, and a malformed one."""
    files, table = targets(memory, LockMode.LOCKFILE, LockMode.DYNAMODB)
    hold(memory, files)
    hold(memory, files, lock_text("lena@laptop-17", lock="by-hand"), key=OTHER_KEY)
    hold(memory, table, None)
    github_run(memory, branch="request/req_dev_a")
    configure(memory)
    return memory


def configure(memory: InMemory) -> None:
    """The settings of the memory are those of the portal from now on."""
    place = wiring.Place(bucket="tfpilot-requests", region="eu-west-2", github_url="https://api.github.com")
    wiring.use(wiring.Portal(memory.edges, Settings.model_construct(), place))


def opened(tab: Tab, target: str = FILES, key: str = KEY) -> Tab:
    """The page with that lock open and read once."""
    return tab.open_locks(lock=f"{target}/{key}").look()


def read_twice(tab: Tab, memory: InMemory, target: str = FILES, key: str = KEY) -> Tab:
    opened(tab, target, key)
    memory.clock.advance(seconds=30)
    return tab.look().look()


def field(tab: Tab, label: str) -> Any:
    [found] = [each for each in tab.at.text_input if each.label.startswith(label)]
    return found


def fill(tab: Tab, *, typed: str = LOCK, reason: str = "its runner is gone") -> Tab:
    field(tab, "Type").set_value(typed)
    field(tab, "Reason").set_value(reason)
    return tab.look()


def guards(tab: Tab) -> list[str]:
    return [cell.split(": ")[-1].rstrip("]") for cell in tab.table("Guard")["Guard"]]


def fire(tab: Tab) -> Any:
    return tab.button("Release this lock")


def records(memory: InMemory) -> list[dict[str, Any]]:
    stored = memory.bucket.contents()
    return [json.loads(stored[key]) for key in stored if key.startswith("ops/backups/locks/")]


# What is shown


def test_the_lock_of_a_reset_that_was_interrupted_leads_to_it(tab: Tab, memory: InMemory):
    dev = dev_environment(memory)
    configure(memory)

    def fail(group: Sequence[ResetStep], _results: object) -> None:
        memory.reset_stores.outage = OUTAGE if group[0].phase is Phase.BACKUP else None

    with pytest.raises(StorageError):
        dev.apply(dev.plan(), on_group=fail)
    memory.reset_stores.outage = None
    [record] = list_resets(memory.edges)
    table = tab.open_locks().table("Verdict")
    shown = table["Run and request"][0].replace("\\", "")
    assert shown == f"[reset {record.reset_id}](dev_reset?reset={record.reset_id})"
    assert "resume or undo it" in table["Evidence"][0]


def test_every_lock_is_shown_worst_first_with_who_since_when_its_run_and_why(tab, world):
    table = tab.open_locks().table("Verdict")
    shown = [cell.split(": ")[-1].rstrip("]") for cell in table["Verdict"]]
    assert shown == ["Dead", "Malformed", "Unknown"]
    dead = {name: cell.replace("\\", "").replace("\u2060", "") for name, cell in table.iloc[0].items()}
    assert dead["Held by"] == "runner@fv-az812-44, apply"
    assert dead["Since (UTC)"] == "09:00, 3 h"
    assert dead["Run and request"] == (
        "[7310002977](https://github.com/acme/infra/actions/runs/7310002977) of [req_dev_a](request?id=req_dev_a)"
    )
    assert "no job is running" in dead["Evidence"]
    assert table["Held by"][1] == "not readable"
    assert "ask lena" in table["Evidence"][2]
    assert "1 further state key is free" in tab.text


def test_without_targets_the_page_says_how_to_configure_them(tab):
    tab.open_locks()
    assert "No reset target is configured" in tab.text
    assert "TFPILOT_RESET_TARGETS" in tab.text
    assert not tab.has_button("Refresh")


def test_where_no_lock_is_held_the_page_says_what_was_read(tab, memory):
    targets(memory, *LockMode)
    configure(memory)
    tab.open_locks()
    assert "No lock is held" in tab.text
    assert "6 states of 3 targets were read completely" in tab.text


def test_a_target_that_cannot_be_read_is_a_line_and_hides_no_other(tab, world, monkeypatch):
    break_store(monkeypatch, world, "find_lock", OUTAGE, Store.LOCK_TABLE)
    table = tab.open_locks().table("Verdict")
    assert [cell.split(": ")[-1].rstrip("]") for cell in table["Verdict"]] == ["Not read", "Dead", "Unknown"]
    assert "no answer in time" in table["Evidence"][0]
    assert not tab.has_button("Try again")


def test_where_nothing_can_be_read_it_can_be_tried_again(tab, world):
    world.reset_stores.outage = OUTAGE
    tab.open_locks()
    assert "No lock could be read" in tab.text
    world.reset_stores.outage = None
    tab.click("Try again")
    assert "No lock could be read" not in tab.text
    assert "Dead" in tab.table("Verdict")["Verdict"][0]


def test_refresh_shows_what_changed_and_age_is_that_of_the_reading(tab, world):
    tab.open_locks()
    world.clock.advance(seconds=20)
    assert "Data 20 s old" in tab.look().text
    world.reset_stores.objects.clear()
    tab.click("Refresh")
    assert "Data 0 s old" in tab.text
    assert len(tab.table("Verdict")) == 1


def test_a_list_that_got_old_is_read_again_by_itself(tab, world):
    tab.open_locks()
    world.reset_stores.objects.clear()
    world.clock.advance(minutes=2, seconds=1)
    tab.look()
    assert len(tab.table("Verdict")) == 1


# The guarded release


def test_a_link_opens_the_release_of_that_lock_with_its_first_reading(tab, world):
    opened(tab)
    seen = dict(zip(tab.table("Seen")["What"], tab.table("Seen")["Seen"], strict=True))
    assert LOCK in seen["Lock id"]
    assert seen["First reading"].startswith("12:00:00 UTC, ETag `")
    assert guards(tab) == ["Open", "Passed", "Passed", "Passed", "Open", "Open"]
    assert "Second reading in" in tab.text
    assert fire(tab).disabled


def test_the_button_waits_for_the_second_reading_the_id_and_the_reason(tab, world):
    read_twice(tab, world)
    assert guards(tab)[0] == "Passed"
    assert "Type the lock id first." in tab.text
    field(tab, "Type").set_value("6b0f3c1e")
    tab.look()
    assert "is not its id" in tab.text
    assert fire(tab).disabled
    field(tab, "Type").set_value(LOCK)
    tab.look()
    assert "Give a reason first." in tab.text
    assert fire(tab).disabled
    fill(tab)
    assert guards(tab) == ["Passed"] * 6
    assert not fire(tab).disabled
    assert locks_held(world)


def test_a_release_removes_exactly_the_lock_keeps_it_and_says_so(tab, world):
    files = world.resets.targets[0]
    [place] = lock_places(files, KEY)
    before = locks_held(world)
    fill(read_twice(tab, world))
    fire(tab).click()
    tab.look().look()
    assert {key for key in before if key not in locks_held(world)} == {(files.bucket, place.key)}
    [kept] = records(world)
    assert (kept["releasedBy"], kept["reason"]) == ("local", "its runner is gone")
    assert "The lock was released" in tab.text
    assert kept["recordId"] in tab.text
    assert len(tab.table("Verdict")) == 2
    assert not tab.has_button("Release this lock")


def test_a_malformed_lock_is_released_by_the_key_of_its_place(tab, world):
    read_twice(tab, world, TABLE)
    assert guards(tab)[1] == "Your risk"
    fill(tab, typed=f"tfstate-dynamodb/{KEY}", reason="left by a broken script")
    fire(tab).click()
    tab.look().look()
    assert "The lock was released" in tab.text
    assert not world.reset_stores.items


def test_a_lock_that_was_retaken_between_the_readings_is_refused_and_can_be_read_again(tab, world):
    opened(tab)
    hold(world, world.resets.targets[0], lock_text(lock="new"))
    world.clock.advance(seconds=30)
    tab.look().look()
    assert guards(tab)[0] == "Refused"
    assert "changed between them" in tab.text
    assert fire(tab).disabled
    tab.click("Read it twice again")
    assert guards(tab)[0] == "Open"


def test_what_changes_after_the_second_reading_is_refused_by_the_operation(tab, world):
    fill(read_twice(tab, world))
    hold(world, world.resets.targets[0], lock_text(lock="new"))
    before = locks_held(world)
    fire(tab).click()
    tab.look().look()
    assert "was not released" in tab.text
    assert "changed between them" in tab.text
    assert (locks_held(world), records(world)) == (before, [])


def test_a_live_lock_has_no_way_to_release_it(tab, world):
    world.workflows.runs.clear()
    github_run(world, conclusion=None)
    fill(read_twice(tab, world))
    assert guards(tab)[1] == "Refused"
    assert "holds it and is not over" in tab.text
    assert fire(tab).disabled


def test_a_lock_of_a_reset_that_cannot_be_looked_up_is_not_released(tab, world):
    hold(world, world.resets.targets[0], lock_text("ops-lead@tfpilot-ops", Operation=OPERATION))
    world.bucket.write("ops/resets/rst_1/record.json", b"{}")
    fill(read_twice(tab, world))
    assert "the resets could not be read" in tab.text
    assert fire(tab).disabled


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.APPROVER])
def test_whoever_may_not_release_reads_why(tab, world, monkeypatch, role):
    monkeypatch.setattr(wiring, "LOCAL_OPERATOR", Operator("somebody", role))
    fill(read_twice(tab, world))
    assert guards(tab)[2] == "Refused"
    assert "may not release a Terraform lock in dev" in tab.text
    assert fire(tab).disabled


def test_a_frozen_portal_says_so(tab, world):
    world.bucket.write("ops/freeze.json", b'{"reason": "incident 12"}')
    fill(read_twice(tab, world))
    assert "the portal is frozen: incident 12" in tab.text.replace("The portal", "the portal")
    assert fire(tab).disabled


def test_a_reading_that_fails_is_told_and_made_again(tab, world):
    opened_list = tab.open_locks()
    world.reset_stores.outage = OUTAGE
    opened_list.at.query_params["lock"] = f"{FILES}/{KEY}"
    tab.look().look()
    assert "The lock could not be read" in tab.text
    assert fire(tab).disabled
    world.reset_stores.outage = None
    tab.click("Read it twice again")
    assert "The lock could not be read" not in tab.text


def test_one_side_that_is_retaken_at_the_last_moment_is_said(tab, memory, monkeypatch):
    [both] = targets(memory, LockMode.BOTH)
    hold(memory, both)
    github_run(memory)
    configure(memory)
    fill(read_twice(tab, memory, both.name))
    new = lock_text(lock="new")

    def retaken(*_arguments: Any) -> None:
        hold(memory, both, new, only={Store.STATE_BUCKET})
        raise ConflictError("somebody else was quicker")

    kind = type(memory.reset_stores.of(both))
    real = kind.remove_lock
    monkeypatch.setattr(
        kind,
        "remove_lock",
        lambda self, place, lock: (retaken if place.store is Store.STATE_BUCKET else real)(self, place, lock),
    )
    fire(tab).click()
    tab.look().look()
    assert "The lock was released in part" in tab.text
    assert list(locks_held(memory).values()) == [new.encode()]


def test_the_page_of_a_portal_that_releases_nothing_still_shows_the_locks(tab, world):
    world.rights = replace(world.rights, read_only=True)
    configure(world)
    fill(read_twice(tab, world))
    assert "read-only" in tab.text
    assert fire(tab).disabled
