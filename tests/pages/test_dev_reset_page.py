"""The page Dev reset: from the scope to the receipt and back, and every way of being refused on it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import request, run, with_run
from tests.core.reset_world import FOREIGN, PLAIN, REQUESTS, KilledError, document, state_bytes
from tests.fakes import OUTAGE, InMemory
from tests.pages.conftest import Tab
from tests.reset_setup import SECOND, DevEnvironment, dev_environment
from tfpilot import wiring
from tfpilot.config import Settings
from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.document import render_document
from tfpilot.core.lease import HeldLease, Lease
from tfpilot.core.model import Operator, Role
from tfpilot.core.reset_journal import Stage, StepResult
from tfpilot.core.reset_steps import Phase, ResetStep
from tfpilot.core.reset_target import parse_targets
from tfpilot.core.terraform import lockfile_key
from tfpilot.errors import GitHubError
from tfpilot.operations.reset import Ended, ask_to_stop
from tfpilot.operations.reset_lease import lease_name
from tfpilot.operations.reset_views import list_resets, read_reset
from tfpilot.ui.reset_empty import EXAMPLE

REASON = "state broken after provider upgrade"
STATE = PLAIN.object_key


@pytest.fixture
def dev(memory: InMemory) -> DevEnvironment:
    return dev_environment(memory)


@pytest.fixture
def tab(dev: DevEnvironment, tab: Tab) -> Tab:
    """A tab on a portal that has the dev environment for a target."""
    return tab


def with_settings(memory: InMemory, **changes: Any) -> None:
    """The portal is started again with other settings of the reset."""
    memory.resets = replace(memory.resets, **changes)
    place = wiring.Place(bucket="tfpilot-requests", region="eu-west-2", github_url="https://api.github.com")
    wiring.use(wiring.Portal(memory.edges, Settings.model_construct(), place))


def sign_in(monkeypatch: pytest.MonkeyPatch, operator: Operator) -> None:
    monkeypatch.setattr(wiring, "LOCAL_OPERATOR", operator)


def give_reason(tab: Tab, reason: str = REASON) -> Tab:
    tab.at.text_input(key="reset_reason").set_value(reason)
    return tab.look()


def go_to_review(tab: Tab) -> Tab:
    return give_reason(tab.open_reset()).click("Make the plan")


def go_to_confirm(tab: Tab) -> Tab:
    return go_to_review(tab).click("Go on to confirm")


def phrase(tab: Tab, key: str = "reset_typed") -> str:
    return str(tab.at.text_input(key=key).label.removeprefix("Type ").strip("`"))


def give(tab: Tab, typed: str | None = None) -> Tab:
    """Ticks both sentences and types the phrase, or something else."""
    for box in tab.at.checkbox:
        if str(box.key).startswith("reset_acknowledged"):
            box.check()
    tab.at.text_input(key="reset_typed").set_value(phrase(tab) if typed is None else typed)
    return tab.look()


def fire(tab: Tab) -> Tab:
    return give(go_to_confirm(tab)).click("Reset payments-dev")


def undo(tab: Tab) -> Tab:
    tab.at.text_input(key="reset_undo_typed").set_value(phrase(tab, "reset_undo_typed"))
    return tab.look().click("Undo this reset")


def stopped(dev: DevEnvironment) -> Ended:
    """A reset by another process that was asked to stop once it had the lock."""
    edges = dev.memory.edges
    ended = dev.apply(dev.plan(), on_begin=lambda record: ask_to_stop(edges, record.reset_id, operator=SECOND))
    dev.memory.clock.advance(seconds=1)
    return ended


def killed(dev: DevEnvironment) -> str:
    """The id of a reset whose process was killed when the backups were made; Terraform's lock is still its own."""

    def die(group: Sequence[ResetStep], _results: Sequence[StepResult]) -> None:
        if group[0].phase is Phase.BACKUP:
            raise KilledError

    with pytest.raises(KilledError):
        dev.apply(dev.plan(), on_group=die)
    dev.memory.clock.advance(seconds=1)
    [record] = list_resets(dev.memory.edges)
    return record.reset_id


def lena_is_at_it(dev: DevEnvironment) -> HeldLease:
    edges = dev.memory.edges
    until = edges.clock() + timedelta(seconds=60)
    lease = Lease(lease_name(dev.target), "another-process", "lena", "resetting payments-dev", until)
    return edges.leases.take(lease, now=edges.clock())


def guards(tab: Tab) -> list[tuple[str, str, str]]:
    table = tab.table("Guard")
    return [(row["Result"], row["Guard"], plain(row["Why"])) for _, row in table.iterrows()]


def plain(text: str) -> str:
    return text.replace("\\", "").replace("\u2060", "")


def rows(tab: Tab, column: str) -> list[dict[str, str]]:
    return [{name: plain(str(value)) for name, value in row.items()} for _, row in tab.table(column).iterrows()]


# The whole way


def test_the_wizard_walks_from_the_scope_to_the_receipt_and_back(tab, dev):
    before = dev.contents()
    go_to_review(tab)
    assert "nothing has been changed" in tab.text
    assert dev.contents() == before
    tab.click("Go on to confirm")
    assert "Removes 2 states with their digest items, 4 requests and 4 index entries of **payments-dev**" in tab.text
    give(tab).click("Reset payments-dev")
    assert "Reset of payments-dev finished at 12:00:00: 2 states, 4 requests, 4 index entries" in tab.text
    [record] = list_resets(dev.memory.edges)
    assert (record.reason, record.operator) == (REASON, "local")
    assert tab.at.query_params["reset"] == record.reset_id
    tab.click("Preview undo")
    assert {row["Place"] for row in rows(tab, "Place")} == {":green-badge[:material/check: Free]"}
    undo(tab)
    assert "Reset of payments-dev was undone" in tab.text
    assert dev.contents() == before


def test_the_review_tells_every_number(tab, dev):
    dev.memory.bucket.write("requests/req_dev_odd.json", render_document(request("req_dev_odd", targetEnvPath="")))
    go_to_review(tab)
    lines = {row["What"]: (row["Count"], row["What happens"]) for row in rows(tab, "What happens")}
    assert lines["Terraform state"] == ("2 objects", "removed; backup in the state bucket")
    assert lines["Digest item"] == ("2 items", "removed before the state; value kept in the journal")
    assert lines["Requests"][1] == "moved to `history/`; 1 older copy there kept aside; 1 newer copy stays there"
    assert lines["**Total**"][0] == "**12 objects**"
    assert rows(tab, "Address") == [{
        "Type": "`terraform_data`", "Mode": "managed", "Count": "4", "Address": "terraform_data.r0, … +3",
    }]  # fmt: skip
    assert [row["Requests"] for row in rows(tab, "In history there is")] == ["1"] * 4
    assert [row["Request"] for row in rows(tab, "Request")] == ["[req_dev_odd](request?id=req_dev_odd)"]
    assert "they go on costing money" in tab.text
    labels = [button.label for button in tab.at.download_button]
    assert labels == ["All 4 as CSV", "Requests as CSV", "Plan as JSON", "As Markdown"]


def test_an_empty_state_instead_of_none_is_a_choice(tab, dev):
    tab.open_reset().at.segmented_control(key="reset_mode").set_value("empty")
    tab.at.checkbox(key="reset_with_index").uncheck()
    give_reason(tab).click("Make the plan")
    lines = {row["What"]: row["What happens"] for row in rows(tab, "What happens")}
    assert lines["Terraform state"].startswith("replaced by an empty one: same lineage")
    assert lines["Run-index entries"] == "left as they are"
    give(tab.click("Go on to confirm")).click("Reset payments-dev")
    assert "2 states emptied, 4 requests, 0 index entries" in tab.text
    assert b'"resources": []' in dev.memory.reset_stores.objects[dev.target.bucket, STATE]


def test_going_back_keeps_what_was_chosen(tab, dev):
    go_to_confirm(tab)
    give(tab, "half a phra")
    tab.click("Back")
    tab.click("Go on to confirm")
    assert tab.at.text_input(key="reset_typed").value == "half a phra"
    tab.click("Back").click("Back")
    assert tab.at.text_input(key="reset_reason").value == REASON
    assert not tab.button("Make the plan").disabled


def test_another_plan_takes_nothing_over_from_the_last_one(tab, dev):
    give(go_to_confirm(tab))
    tab.click("Back").click("Back").click("Make the plan").click("Go on to confirm")
    assert tab.at.text_input(key="reset_typed").value == ""
    assert not any(box.value for box in tab.at.checkbox if str(box.key).startswith("reset_acknowledged"))


# What is refused on the scope


def hold_lock(memory: InMemory) -> None:
    memory.reset_stores.objects[memory.resets.targets[0].bucket, lockfile_key(STATE)] = FOREIGN.encode()


def untag(memory: InMemory) -> None:
    memory.reset_stores.bucket_tags.clear()


def plan_under_way(memory: InMemory) -> None:
    memory.store(with_run(request("req_dev_busy", targetEnvPath="envs/else"), "plan", **run(5, status="in_progress")))


def fail_github(memory: InMemory) -> None:
    memory.workflows.listing_error = GitHubError("GitHub did not answer")


def freeze(memory: InMemory) -> None:
    memory.bucket.write("ops/freeze.json", b'{"reason": "incident 12"}')


def stop_versions(memory: InMemory) -> None:
    memory.reset_stores.versionings[memory.resets.targets[0].bucket] = Versioning.SUSPENDED


def remove_others(memory: InMemory) -> None:
    for number in range(10):
        memory.bucket.delete(f"requests/req_dev_other{number}.json")


@pytest.mark.parametrize(
    ("spoil", "refusal"),
    [
        (hold_lock, ("Refused", "No Terraform lock held", "held by lena@laptop-17")),
        (untag, ("Refused", "Bucket proves its place", "has no tag tfpilot:environment")),
        (plan_under_way, ("Refused", "No active request", "in flight: req_dev_busy (planning)")),
        (fail_github, ("Not checked", "No active GitHub run", "could not be checked: GitHub did not answer")),
        (freeze, ("Refused", "Writing is allowed", "frozen: incident 12")),
        (stop_versions, ("Refused", "Versioning is on", "suspended")),
        (remove_others, ("Refused", "Share of all requests", "4 of 4 requests")),
    ],
)
def test_a_guard_that_refuses_comes_first_with_its_reason_and_no_plan_is_made(
    tab, dev, spoil: Callable[[InMemory], None], refusal: tuple[str, str, str]
):
    spoil(dev.memory)
    give_reason(tab.open_reset())
    (badge, guard, why), first = refusal, guards(tab)[0]
    assert badge in first[0]
    assert first[1] == guard
    assert why in first[2]
    assert tab.button("Make the plan").disabled
    assert "1 guard refuses:" in tab.text
    assert "9 of 10 passed" in tab.text


def test_a_held_lock_leads_to_the_page_of_locks(tab, dev):
    hold_lock(dev.memory)
    tab.open_reset()
    assert "[see the lock](locks?lock=payments-dev%2Fdev%2Fterraform.tfstate)" in guards(tab)[0][2]


@pytest.mark.parametrize(
    ("spoil", "key"), [(stop_versions, "reset_accept_no_versioning"), (remove_others, "reset_accept_most")]
)
def test_what_may_be_accepted_is_offered_only_where_its_guard_refuses(tab, dev, spoil, key):
    tab.open_reset()
    assert key not in [box.key for box in tab.at.checkbox]
    spoil(dev.memory)
    dev.memory.clock.advance(seconds=16)
    give_reason(tab.look())
    tab.at.checkbox(key=key).check()
    tab.look()
    assert "10 of 10 passed" in tab.text
    tab.click("Make the plan")
    give(tab.click("Go on to confirm")).click("Reset payments-dev")
    assert "Reset of payments-dev finished" in tab.text


def test_the_guards_are_looked_at_again_after_a_while(tab, dev):
    give_reason(tab.open_reset())
    assert not tab.button("Make the plan").disabled
    hold_lock(dev.memory)
    tab.look()
    assert not tab.button("Make the plan").disabled
    dev.memory.clock.advance(seconds=16)
    tab.look()
    assert tab.button("Make the plan").disabled


def test_the_guards_can_be_looked_at_at_once(tab, dev):
    tab.open_reset()
    hold_lock(dev.memory)
    tab.click("Check again")
    assert "9 of 10 passed" in tab.text


def test_without_a_reason_there_is_no_plan(tab, dev):
    give_reason(tab.open_reset(), "   ")
    assert tab.button("Make the plan").disabled
    assert "A reason is needed." in tab.text


def test_a_plan_that_is_refused_after_all_says_why(tab, dev):
    give_reason(tab.open_reset())
    hold_lock(dev.memory)
    tab.click("Make the plan")
    assert "There is no plan" in tab.text
    assert "held by lena@laptop-17" in tab.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.APPROVER])
def test_only_an_admin_may_act_and_everybody_may_look(tab, dev, monkeypatch, role):
    ended = stopped(dev)
    sign_in(monkeypatch, Operator("maya-k", role))
    give_reason(tab.open_reset())
    assert tab.button("Make the plan").disabled
    assert tab.button("Resume").disabled
    assert "may not reset a dev environment in dev" in tab.text
    assert ("Role is admin", f"maya-k is {role.value}, not admin. Ask an admin.") in [
        (guard, why.replace("**", "")) for _, guard, why in guards(tab)
    ]
    other = Tab().open_reset(reset=ended.receipt.record.reset_id)
    assert other.button("Resume").disabled
    other.at.text_input(key="reset_undo_typed").set_value("undo")
    assert other.look().button("Undo this reset").disabled


def test_an_unknown_target_in_the_address_is_said(tab, dev):
    tab.open_reset(target="payments-staging")
    assert "There is no target `payments-staging`; the first one is chosen." in tab.text


def test_without_targets_the_page_says_how_to_get_one(tab, dev):
    with_settings(dev.memory, targets=())
    tab.open_reset()
    assert "No target is configured" in tab.text
    assert "TFPILOT_RESET_TARGETS" in tab.text
    assert [block.value for block in tab.at.code] == [EXAMPLE.strip()]


def test_the_example_of_a_target_is_one():
    [target] = parse_targets(tomllib.loads(EXAMPLE))
    assert target.name == "payments-dev"


# What is refused at the confirmation


def test_a_wrong_phrase_is_refused_and_nothing_is_lost(tab, dev):
    before = dev.contents()
    give(go_to_confirm(tab), "reset payments-dev abcdef").click("Reset payments-dev")
    assert "Nothing was changed" in tab.text
    assert "What was typed is not the phrase of this plan for payments-dev" in tab.text
    assert dev.contents() == before
    assert tab.at.text_input(key="reset_typed").value == "reset payments-dev abcdef"
    assert all(box.value for box in tab.at.checkbox if str(box.key).startswith("reset_acknowledged"))
    give(tab).click("Reset payments-dev")
    assert "Reset of payments-dev finished" in tab.text


def test_the_red_button_waits_for_both_sentences_and_the_phrase(tab, dev):
    go_to_confirm(tab)
    assert tab.button("Reset payments-dev").disabled
    assert "Both sentences have to be true and ticked." in tab.text
    boxes = [box for box in tab.at.checkbox if str(box.key).startswith("reset_acknowledged")]
    assert [box.label for box in boxes] == [
        "The 4 cloud resources are destroyed or abandoned", "The 1 person listed knows about it",
    ]  # fmt: skip
    give(tab, "")
    assert tab.button("Reset payments-dev").disabled
    assert "Type the phrase, then press Enter." in tab.text
    assert not give(tab).button("Reset payments-dev").disabled


def test_a_guard_that_refuses_by_now_holds_the_red_button(tab, dev):
    give(go_to_confirm(tab))
    hold_lock(dev.memory)
    dev.memory.clock.advance(seconds=16)
    tab.look()
    assert tab.button("Reset payments-dev").disabled
    assert "1 guard refuses by now." in tab.text
    assert "held by lena@laptop-17" in guards(tab)[0][2]


def test_what_changed_since_the_review_is_told_before_anybody_fires(tab, dev):
    go_to_review(tab)
    dev.memory.bucket.write(f"requests/{REQUESTS[0]}.json", document(REQUESTS[0], version=4))
    give(tab.click("Go on to confirm"))
    assert tab.button("Reset payments-dev").disabled
    assert "What is there now is not what was reviewed." in tab.text
    assert f"request {REQUESTS[0]} changed: content or version" in tab.text


def test_what_changes_at_the_last_moment_is_refused_with_a_receipt(tab, dev):
    give(go_to_confirm(tab))
    dev.memory.reset_stores.put_state(dev.target, STATE, state_bytes(8))
    before = dev.contents()
    tab.click("Reset payments-dev")
    assert "Reset of payments-dev was refused" in tab.text
    assert "dev/terraform.tfstate changed: content or version" in tab.text
    assert "Nothing was changed. Terraform's lock is released." in tab.text
    assert dev.contents() == before
    assert not tab.has_button("Undo this reset")


def test_two_operators_cannot_reset_one_target(tab, dev):
    give(go_to_confirm(tab))
    lena_is_at_it(dev)
    before = dev.contents()
    tab.click("Reset payments-dev")
    assert "is at it: resetting payments-dev" in tab.text
    assert dev.contents() == before


def test_a_target_that_is_configured_otherwise_by_now_is_refused(tab, dev):
    give(go_to_confirm(tab))
    with_settings(dev.memory, targets=(replace(dev.target, states=(PLAIN,)),))
    tab.look().click("Reset payments-dev")
    assert "configured otherwise than when the plan was made" in tab.text


def test_a_second_admin_sees_the_plan_and_approves_its_digest(tab, dev, monkeypatch):
    with_settings(dev.memory, needs_second_admin=True)
    give(go_to_confirm(tab))
    assert "A second admin has to approve this plan first." in tab.text
    tab.click("Ask a second admin")
    [address] = [block.value for block in tab.at.code]
    digest = address.partition("?approve=")[2]
    mine = Tab().open_reset(approve=digest)
    assert mine.button("Approve").disabled
    assert "local made this plan" in mine.text
    sign_in(monkeypatch, SECOND)
    theirs = Tab().open_reset(approve=digest)
    assert f"Reason: {REASON.capitalize()}." in theirs.text
    assert "Resources in these states: 4" in theirs.text
    theirs.click("Approve")
    assert "release-bot approved it" in theirs.text
    assert theirs.button("Approve").disabled
    sign_in(monkeypatch, Operator("local", Role.ADMIN))
    dev.memory.clock.advance(seconds=16)
    tab.look()
    assert "release-bot approved at 12:00 UTC" in plain(" ".join(tab.table("Check")["Check"]))
    tab.click("Reset payments-dev")
    assert "local, second admin: release-bot" in plain(" ".join(tab.table("Value")["Value"]))


def test_a_plan_that_is_another_by_now_cannot_be_approved(tab, dev, monkeypatch):
    go_to_confirm(tab).click("Ask a second admin")
    digest = tab.at.code[0].value.partition("?approve=")[2]
    dev.memory.reset_stores.put_state(dev.target, STATE, state_bytes(8))
    sign_in(monkeypatch, SECOND)
    theirs = Tab().open_reset(approve=digest)
    assert "There is no plan to approve" in theirs.text
    assert "is not what local planned" in theirs.text
    assert not theirs.has_button("Approve")


def test_what_a_guard_lets_a_person_accept_a_second_admin_accepts_too(tab, dev, monkeypatch):
    stop_versions(dev.memory)
    give_reason(tab.open_reset())
    tab.at.checkbox(key="reset_accept_no_versioning").check()
    tab.look().click("Make the plan").click("Go on to confirm").click("Ask a second admin")
    digest = tab.at.code[0].value.partition("?approve=")[2]
    sign_in(monkeypatch, SECOND)
    theirs = Tab().open_reset(approve=digest)
    assert not theirs.has_button("Approve")
    theirs.at.checkbox(key="reset_accept_no_versioning").check()
    theirs.look().click("Approve")
    assert "release-bot approved it" in theirs.text


@pytest.mark.parametrize(("digest", "said"), [("0" * 64, "Nobody asked"), ("../x", "is not the digest of a plan")])
def test_an_address_that_nobody_asked_about_says_so(tab, dev, digest, said):
    tab.open_reset(approve=digest)
    assert said in tab.text


# A reset that goes on elsewhere, or was interrupted


def test_a_reload_finds_the_running_reset_and_may_stop_it(tab, dev):
    reset_id = killed(dev)
    lena_is_at_it(dev)
    tab.open_reset()
    assert "A reset of payments-dev is running" in tab.text
    assert "lena is at it now" in tab.text
    assert tab.button("Make the plan").disabled
    tab.click("See its progress")
    assert "**Resetting payments-dev**" in tab.text
    assert tab.at.query_params["reset"] == reset_id
    lines = rows(tab, "Step")
    assert [line["State"].partition(" ")[2].strip("]") for line in lines] == ["Done"] * 3 + ["To do"] * 5
    assert lines[2]["Result"] == "8 of 8, bytes equal"
    other = Tab().open_reset(reset=reset_id)
    assert "take the lock dev/terraform.tfstate.tflock" in other.at.code[0].value
    other.click("Stop after this step")
    asked = dev.memory.edges.reset_journal.find_stop(reset_id)
    assert (asked.by, asked.at) == ("local", dev.memory.clock())
    dev.memory.clock.advance(seconds=1)
    assert "local asked to stop at 12:00:01 UTC" in other.look().text


def test_a_silent_process_is_said_to_be_silent_until_its_hold_ends(tab, dev):
    reset_id = killed(dev)
    lena_is_at_it(dev)
    dev.memory.clock.advance(seconds=30)
    tab.open_reset(reset=reset_id)
    assert "its hold ends at 12:01:01 UTC" in tab.text
    dev.memory.clock.advance(seconds=31)
    assert "Terraform's lock still has this reset's name in it" in tab.look().text
    tab.click("Resume")
    assert "Reset of payments-dev finished" in tab.text


def test_an_interrupted_reset_is_found_and_resumed(tab, dev):
    ended = stopped(dev)
    tab.open_reset()
    assert "A reset of payments-dev was interrupted" in tab.text
    tab.click("Resume")
    assert "Reset of payments-dev finished" in tab.text
    assert read_reset(dev.memory.edges, ended.receipt.record.reset_id).stage is Stage.FINISHED
    tab.click("New reset")
    assert "was interrupted" not in tab.text


def test_an_interrupted_reset_is_undone(tab, dev):
    before = dev.contents()
    stopped(dev)
    tab.open_reset().click("See it, or undo it")
    assert "release-bot asked to stop at 12:00:00 UTC. Terraform's lock was given back." in tab.text
    undo(tab)
    assert "Reset of payments-dev was undone" in tab.text
    assert "Nothing had been changed" in tab.text
    assert dev.contents() == before


def test_a_store_that_fails_in_the_middle_leaves_a_way_on(tab, dev):
    give(go_to_confirm(tab))
    stores = dev.memory.reset_stores
    reset_store = type(stores.of(dev.target))
    real = reset_store.remove

    def fail(self: Any, place: Any, *, found: Any) -> None:
        raise OUTAGE

    reset_store.remove = fail
    try:
        tab.click("Reset payments-dev")
    finally:
        reset_store.remove = real
    assert "The reset did not come to its end" in tab.text
    assert "was interrupted: Could not read" in tab.text
    assert "Terraform's lock still has this reset's name in it" in tab.text
    dev.memory.clock.advance(seconds=61)
    tab.look().click("Resume")
    assert "Reset of payments-dev finished" in tab.text
    assert "did not come to its end" not in tab.text


def test_a_bug_is_told_as_one_and_leaves_a_way_on(tab, dev, monkeypatch):
    give(go_to_confirm(tab))

    def break_off(*_args: Any, **_options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tfpilot.operations.reset_run.ResetRun.carry_out", break_off)
    tab.click("Reset payments-dev")
    assert "The reset did not come to its end The log of the portal has the whole failure." in tab.text
    monkeypatch.undo()
    monkeypatch.setattr("streamlit.runtime.context.ContextProxy.ip_address", property(lambda _self: None))
    dev.memory.clock.advance(seconds=61)
    assert tab.look().has_button("Resume")


def test_an_undo_with_a_wrong_phrase_is_refused(tab, dev):
    fire(tab)
    before = dev.contents()
    tab.at.text_input(key="reset_undo_typed").set_value("undo payments-dev")
    tab.look().click("Undo this reset")
    assert "What was typed is not the phrase of the undo" in tab.text
    assert dev.contents() == before


def test_a_place_that_is_occupied_is_shown_before_and_kept_by_the_undo(tab, dev):
    fire(tab)
    applied = state_bytes(1, lineage="fresh")
    dev.memory.reset_stores.put_state(dev.target, STATE, applied)
    tab.click("Preview undo")
    assert any("Occupied" in row["Place"] for row in rows(tab, "Place"))
    assert "written since: an undo leaves them as they are" in tab.text
    undo(tab)
    assert "not as the reset left it, and stays so" in tab.text
    assert any(row["What"] == f"`{STATE}`" for row in rows(tab, "Why"))
    assert dev.memory.reset_stores.objects[dev.target.bucket, STATE] == applied


def test_after_its_days_no_undo_is_offered(tab, dev):
    fire(tab)
    reset_id = tab.at.query_params["reset"]
    dev.memory.clock.advance(days=31)
    later = Tab().open_reset(reset=reset_id)
    assert "The time for an undo is over." in later.text
    assert not later.has_button("Undo this reset")


def test_past_resets_are_listed_and_link_to_their_receipts(tab, dev):
    fire(tab).click("New reset")
    [row] = rows(tab, "Reset")
    assert (row["Target"], row["Who"], row["Reason"]) == ("payments-dev", "local", REASON)
    [record] = list_resets(dev.memory.edges)
    assert row["Reset"].endswith(f"(dev_reset?reset={record.reset_id})")


@pytest.mark.parametrize(
    ("reset_id", "said"), [("rst_20260101_000000_abcdef", "There is no reset"), ("../../x", "is not the id of a reset")]
)
def test_a_reset_that_is_none_is_said_and_leads_on(tab, dev, reset_id, said):
    tab.open_reset(reset=reset_id)
    assert "There is no such reset" in tab.text
    assert said in tab.text
    tab.click("New reset")
    assert tab.has_button("Make the plan")


# When storage fails, and what documents say


def test_storage_that_fails_is_said_and_the_last_reading_kept(tab, dev):
    fire(tab).click("New reset")
    dev.memory.bucket.outage = OUTAGE
    dev.memory.clock.advance(minutes=2)
    tab.look()
    assert "The past resets could not be read" in tab.text
    assert "Whether a reset is under way could not be read" in tab.text
    assert len(rows(tab, "Reset")) == 1
    assert any("Not checked" in result for result, _, _ in guards(tab))
    dev.memory.bucket.outage = None
    tab.click("Try again")
    assert "could not be read" not in tab.text


def test_a_reset_whose_journal_cannot_be_read_now_keeps_the_last_look(tab, dev):
    fire(tab)
    dev.memory.bucket.outage = OUTAGE
    dev.memory.clock.advance(seconds=6)
    tab.look()
    assert "The reset could not be read" in tab.text
    assert "Reset of payments-dev finished" in tab.text


HOSTILE = "**all** <img src=x onerror=alert(1)> [click](https://evil.example) :material/bomb: | $x$"


def test_markup_in_a_reason_is_shown_as_text(tab, dev):
    give_reason(tab.open_reset(), HOSTILE).click("Make the plan").click("Go on to confirm")
    give(tab).click("Reset payments-dev").click("New reset")
    [told] = tab.table("Reset")["Reason"]
    assert plain(told) == HOSTILE
    assert r"\*\*all\*\*" in told
    assert r"\<img" in told
    assert "](" not in told.replace(r"\]\(", "")


def test_markup_in_a_lock_is_shown_as_text(tab, dev):
    lock = '{"ID":"x","Operation":"OperationTypeApply","Who":"[lena](https://evil.example)"}'
    dev.memory.reset_stores.objects[dev.target.bucket, lockfile_key(STATE)] = lock.encode()
    tab.open_reset()
    assert "[lena](" not in tab.table("Guard")["Why"][0]


def test_many_requests_make_no_long_table(tab, dev):
    dev.memory.store(*(request(f"req_dev_n{number}", targetEnvPath="envs/dev") for number in range(400)))
    dev.memory.store(*(request(f"req_dev_o{number}", targetEnvPath="") for number in range(200)))
    go_to_review(tab)
    assert "**Requests: 404**" in tab.text
    assert max(len(table.value) for table in tab.at.table) == 50
    assert "The first 50 are shown" in tab.text
