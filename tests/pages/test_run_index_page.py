"""The page of the run index: look-up, audit with fixes and ignoring, entries, retention, deliveries."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, ago, request, run, with_pull, with_run
from tests.fakes import OUTAGE, InMemory
from tests.pages.conftest import Tab
from tests.webhook_payloads import delivery, run_payload
from tfpilot import wiring
from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.delivery import KeptDelivery, Place
from tfpilot.core.index_listing import EntryVersion
from tfpilot.core.model import Operator, Role, WorkflowKind
from tfpilot.core.run_index import PREFIX, entry_key, new_entry, parse_entry, render_entry
from tfpilot.edges import GitHubRules
from tfpilot.operations.deliveries import receive
from tfpilot.operations.index_audit import audit_index
from tfpilot.ui.index_deliveries import webhook_address
from tfpilot.ui.index_rows import findings_csv, view_of

PLAN, APPLY = WorkflowKind.PLAN, WorkflowKind.APPLY
MISSING, ORPHAN = "plan / 101", "apply / 55"


def tracking(request_id: str, run_id: int) -> dict[str, Any]:
    return with_run(with_pull(request(request_id)), "plan", **run(run_id, createdAt=ago(hours=1)))


def put(memory: InMemory, request_id: str, run_id: int, kind: WorkflowKind = PLAN, **age: float) -> None:
    entry = new_entry(kind, run_id, request_id, created_at=NOW - timedelta(**age))
    memory.bucket.write(entry_key(kind, run_id), render_entry(entry))


@pytest.fixture
def world(memory: InMemory) -> InMemory:
    """A run without its entry, an entry without its request, one that fits, and a body that is none."""
    memory.store(tracking("req_dev_s3_a", 101), tracking("req_dev_s3_b", 102))
    put(memory, "req_dev_s3_b", 102, hours=1)
    put(memory, "req_dev_s3_gone", 55, APPLY, days=3)
    memory.bucket.write(entry_key(PLAN, 7), b"<html>")
    memory.snapshots.refresh()
    return memory


def findings(tab: Tab) -> list[tuple[str, str, str]]:
    table = tab.table("Code")
    return list(zip(table["Code"], table["Entry"], table["Fix"], strict=True))


def as_role(monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    monkeypatch.setattr(wiring, "LOCAL_OPERATOR", Operator("somebody", role))


# Looking up


def look_up(tab: Tab, kind: str, run_id: str) -> Tab:
    tab.at.selectbox(key="index_lookup_kind").set_value(kind)
    tab.at.text_input(key="index_lookup_run").set_value(run_id)
    return tab.click("Look up")


def test_a_run_is_looked_up_with_its_times_and_whether_the_request_tracks_it(tab, world):
    look_up(tab.open_index(), "plan", " 102 ")
    assert "created 11:00 · expires 31 May 11:00 UTC · names the run that the request tracks" in tab.text


def test_a_look_up_says_when_the_request_is_nowhere(tab, world):
    look_up(tab.open_index(), "any kind", "55")
    assert "req_dev_s3_gone" in tab.text
    assert "neither active nor archived" in tab.text


@pytest.mark.parametrize(
    ("run_id", "said"), [("103", "no entry that can be used for plan run 103"), ("12x", "'12x' is not a run id")]
)
def test_a_look_up_that_finds_nothing_says_so(tab, world, run_id, said):
    look_up(tab.open_index(), "plan", run_id)
    assert said in tab.text


def test_a_look_up_is_one_read(tab, world):
    tab.open_index()
    world.bucket.outage = OUTAGE
    look_up(tab, "plan", "102")
    assert "no answer in time" in tab.text


# The audit


def test_before_an_audit_the_page_says_what_it_would_cost(tab, world):
    tab.open_index(kind="destroy")
    assert "No audit was run yet" in tab.text
    assert "3 entries are read once for it" in tab.text


def test_an_audit_lists_the_worst_first_with_evidence_and_the_fix(tab, world):
    tab.open_index().click("Run audit")
    assert findings(tab) == [
        ("MALFORMED", "plan / 7", "Remove"),
        ("MISSING", MISSING, "Backfill"),
        ("ORPHAN", ORPHAN, "Remove"),
    ]
    assert "req_dev_s3_a tracks it" in tab.table("Code")["Evidence"][1]
    assert "3 entries, 2 requests · 3 findings" in tab.text


def test_a_finding_leads_to_its_request_and_to_the_run(tab, world):
    tab.open_index().click("Run audit")
    row = tab.table("Code").iloc[1]
    assert row["Request"] == "request?id=req_dev_s3_a"
    assert row["Run"] == "https://github.com/acme/infra/actions/runs/101"


def test_another_tab_sees_the_audit(tab, world):
    tab.open_index().click("Run audit")
    assert len(findings(Tab().open_index())) == 3


def test_many_findings_of_a_code_share_a_row_until_the_code_is_chosen(tab, memory):
    memory.store(*(tracking(f"req_dev_s3_n{number}", 200 + number) for number in range(12)))
    memory.snapshots.refresh()
    tab.open_index().click("Run audit")
    assert findings(tab) == [("MISSING", "12 entries", "Backfill 12")]
    tab.open_index(code="MISSING")
    assert [entry for _, entry, _ in findings(tab)] == [f"plan / {200 + number}" for number in range(10)]
    tab.open_index(code="MISSING", findings="2")
    assert [entry for _, entry, _ in findings(tab)] == ["plan / 210", "plan / 211"]


def test_dispatch_records_and_versions_are_looked_at_on_demand(tab, world):
    earlier = render_entry(new_entry(PLAN, 102, "req_dev_s3_a", created_at=NOW))
    world.index_objects.versions = {entry_key(PLAN, 102): (EntryVersion("v", NOW, False, earlier),)}
    tab.open_index().click("Run audit")
    assert not any(code == "OVERWRITTEN" for code, _, _ in findings(tab))
    tab.at.checkbox(key="index_source_versions").check()
    tab.click("Run audit")
    assert findings(tab)[0] == ("OVERWRITTEN", "plan / 102", "Restore")
    assert "object versions" in tab.text


def test_an_audit_that_fails_says_so_and_keeps_the_last_one(tab, world):
    tab.open_index().click("Run audit")
    world.bucket.outage = OUTAGE
    tab.click("Run audit")
    assert "The audit was not finished" in tab.text
    assert len(findings(tab)) == 3


def test_nothing_wrong_is_said(tab, memory):
    memory.store(tracking("req_dev_s3_b", 102))
    put(memory, "req_dev_s3_b", 102, hours=1)
    tab.open_index().click("Run audit")
    assert "Nothing found" in tab.text


# Fixing


def test_a_plan_shows_each_step_and_writes_nothing(tab, world):
    tab.open_index().click("Run audit").select("Code", 1, 2)
    before = world.bucket.contents()
    tab.click("Plan fix of 2")
    steps = tab.table("Can be undone")
    assert list(steps["Entry"]) == ["`apply/run-55.json`", "`plan/run-101.json`"]
    assert "req_dev_s3_a" in steps["What is written"][1]
    assert "no entry there, and the request still tracks the run" in steps["Only if"][1]
    assert "write 1 missing entry, remove 1 entry" in tab.text
    assert world.bucket.contents() == before


def test_an_applied_plan_is_stored_told_and_audited_again(tab, world):
    tab.open_index().click("Run audit").select("Code", 1, 2).click("Plan fix of 2").click("Apply 2 fixes")
    stored = world.bucket.contents()
    assert parse_entry(stored[entry_key(PLAN, 101)], key="").request_id == "req_dev_s3_a"
    assert entry_key(APPLY, 55) not in stored
    assert "2 entries fixed" in tab.text
    assert "run-index undo fix-" in tab.text
    assert findings(tab) == [("MALFORMED", "plan / 7", "Remove")]


def test_a_fix_is_taken_back(tab, world):
    before = {key: body for key, body in world.bucket.contents().items() if key.startswith(PREFIX)}
    tab.open_index().click("Run audit").select("Code", 1, 2).click("Plan fix of 2").click("Apply 2 fixes")
    tab.click("Undo this fix")
    assert {key: body for key, body in world.bucket.contents().items() if key.startswith(PREFIX)} == before
    assert "2 entries taken back" in tab.text
    assert len(findings(tab)) == 3


def test_what_changed_since_the_audit_is_left_and_told(tab, world):
    tab.open_index().click("Run audit").select("Code", 1, 2).click("Plan fix of 2")
    put(world, "req_dev_s3_other", 101)
    tab.click("Apply 2 fixes")
    assert "1 entry fixed, 1 not" in tab.text
    assert tab.table("Outcome")["Outcome"][0].endswith("changed meanwhile]")
    assert b"req_dev_s3_other" in world.bucket.contents()[entry_key(PLAN, 101)]


def test_a_discarded_plan_cannot_be_applied(tab, world):
    tab.open_index().click("Run audit").select("Code", 1).click("Plan fix of 1").click("Discard")
    assert not tab.has_button("Apply")


def test_earlier_fixes_can_be_taken_back_from_another_tab(tab, world):
    tab.open_index().click("Run audit").select("Code", 1).click("Plan fix of 1").click("Apply 1 fix")
    other = Tab().open_index()
    other.at.session_state["index_earlier"] = True
    other.look().click("Undo this fix")
    assert entry_key(PLAN, 101) not in world.bucket.contents()


# Ignoring


def ignore(tab: Tab, row: int, reason: str) -> Tab:
    tab.select("Code", row)
    tab.at.text_input(key="index_reason").set_value(reason)
    return tab.click("Ignore 1")


def test_an_ignored_finding_is_listed_apart_with_who_when_and_why(tab, world):
    ignore(tab.open_index().click("Run audit"), 2, "an old job")
    assert [code for code, _, _ in findings(tab)] == ["MALFORMED", "MISSING"]
    row = tab.table("Reason").iloc[0]
    assert (row["Entry"].replace("\\", ""), row["Reason"], row["By"], row["At (UTC)"]) == (
        ORPHAN,
        "an old job",
        "local",
        "12:00",
    )
    (mark,) = [json.loads(body) for key, body in world.bucket.contents().items() if key.startswith("ops/marks/")]
    assert mark["reason"] == "an old job"


def test_ignoring_takes_a_reason(tab, world):
    ignore(tab.open_index().click("Run audit"), 2, "  ")
    assert "No reason was given" in tab.text
    assert len(findings(tab)) == 3


def test_an_ignored_finding_comes_back(tab, world):
    ignore(tab.open_index().click("Run audit"), 2, "an old job")
    tab.at.multiselect(key="index_unignore_which").set_value([0])
    tab.at.text_input(key="index_unignore_reason").set_value("it was not")
    tab.click("Stop ignoring")
    assert len(findings(tab)) == 3


# Rights


def test_a_viewer_may_plan_and_reads_why_nothing_else(tab, world, monkeypatch):
    as_role(monkeypatch, Role.VIEWER)
    tab.open_index().click("Run audit").select("Code", 1)
    assert tab.button("Ignore 1").disabled
    tab.click("Plan fix of 1")
    assert tab.button("Apply 1 fix").disabled
    assert "somebody is a viewer and may not backfill the run index" in tab.text


def test_a_developer_may_backfill_and_not_remove(tab, world, monkeypatch):
    as_role(monkeypatch, Role.DEVELOPER)
    tab.open_index().click("Run audit").select("Code", 1).click("Plan fix of 1").click("Apply 1 fix")
    assert entry_key(PLAN, 101) in world.bucket.contents()
    tab.select("Code", 1).click("Plan fix of 1")
    assert tab.button("Apply 1 fix").disabled


def test_only_an_admin_installs_the_rule(tab, world, monkeypatch):
    as_role(monkeypatch, Role.APPROVER)
    tab.open_index().click("Show difference")
    assert tab.button("Install rule").disabled
    assert "may not install the lifecycle rule" in tab.text


# Entries and ages


def test_entries_come_newest_run_first_with_request_age_and_expiry(tab, world):
    table = tab.open_index().table("Expires")
    assert list(table["Run"]) == ["102", "55", "7"]
    assert list(table["Request"]) == ["request?id=req_dev_s3_b", "request?id=req_dev_s3_gone", ""]
    assert list(table["Age"])[:2] == ["1 h", "3 days"]
    assert list(table["Expires"]) == ["in 89 days", "in 87 days", "unusable"]


def test_a_link_names_kind_and_page(tab, memory):
    for number in range(1, 41):
        put(memory, "req_dev_s3_b", number, hours=number)
    put(memory, "req_dev_s3_b", 99, APPLY, hours=1)
    tab.open_index(kind="plan", page="3")
    assert list(tab.table("Expires")["Run"]) == [str(number) for number in range(10, 0, -1)]
    assert "31 to 40 of 40" in tab.text
    assert (tab.at.query_params["kind"], tab.at.query_params["page"]) == ("plan", "3")


def test_another_kind_begins_with_its_first_page(tab, memory):
    for number in range(1, 41):
        put(memory, "req_dev_s3_b", number, hours=number)
    put(memory, "req_dev_s3_b", 99, APPLY, hours=1)
    tab.open_index(kind="plan", page="3")
    tab.at.button_group(key="index_kind").set_value("apply")
    assert list(tab.look().table("Expires")["Run"]) == ["99"]
    assert "page" not in tab.at.query_params


def test_what_a_link_cannot_mean_is_left_out(tab, world):
    tab.open_index(kind="explode", page="-1", code="NOPE", tab="?")
    assert len(tab.table("Expires")) == 3


def test_ages_are_told_in_words(tab, memory):
    put(memory, "req_dev_s3_b", 1, days=1)
    put(memory, "req_dev_s3_b", 2, days=95)
    tab.open_index().click("Run audit")
    assert "2 entries, by the time in them: 1 of the last 30 days, 1 older than 90 days" in tab.text


def test_an_empty_index_is_told_from_one_that_was_not_read(tab, memory):
    tab.open_index()
    assert "The run index is empty" in tab.text


def test_when_storage_is_down_the_last_listing_stays_with_its_age(tab, world):
    tab.open_index()
    world.bucket.outage = OUTAGE
    world.clock.advance(minutes=4)
    tab.click("Refresh")
    assert "Storage cannot be reached" in tab.text
    assert "last complete reading, from 12:00 UTC, 4 min old" in tab.text
    assert len(tab.table("Expires")) == 3
    world.bucket.outage = None
    tab.click("Try again")
    assert "Storage cannot be reached" not in tab.text


def test_when_storage_never_answered_there_is_no_empty_table(tab, memory):
    memory.bucket.outage = OUTAGE
    tab.open_index()
    assert "Storage cannot be reached" in tab.text
    assert "empty" not in tab.text


def test_markup_in_what_is_stored_stays_text(tab, world):
    hostile = "<img src=x> [x](javascript:alert(1)) :red[y] $z$"
    ignore(tab.open_index().click("Run audit"), 2, hostile)
    shown = " ".join([*(element.value for element in tab.at.markdown), *tab.table("Reason")["Reason"]])
    for markup in ("<img", "[x]", "](java", ":red[y", "$z"):
        assert not re.search(rf"(?<!\\){re.escape(markup)}", shown), markup


def test_a_spreadsheet_takes_no_cell_of_the_audit_for_a_formula(world):
    world.bucket.write(f"{PREFIX}=cmd()", b"")
    report = audit_index(world.edges)
    written = findings_csv(report)
    assert "STRAY_KEY" in written
    assert not re.search(r"(^|,)=", written, re.MULTILINE)
    assert view_of(report).counts.keys() == report.counts().keys()


# Retention


def test_the_rule_is_installed_only_after_its_difference_was_shown(tab, world):
    other = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 7}}
    world.lifecycle.store({"Rules": [other]})
    tab.open_index()
    assert "none covers the prefix" in " ".join(tab.table("State")["State"])
    assert "The bucket's 1 other rule stays as it is" in tab.text
    assert tab.button("Install rule").disabled
    tab.click("Show difference")
    assert world.lifecycle.writes == []
    assert "tfpilot-run-index" in tab.at.code[0].value
    tab.click("Install rule")
    (written,) = world.lifecycle.writes
    assert [rule["ID"] for rule in written["Rules"]] == ["logs", "tfpilot-run-index"]
    assert "The rule is installed" in tab.text
    assert "covers every kind" in " ".join(tab.table("State")["State"])


def test_a_rule_is_not_installed_over_what_changed_since(tab, world):
    tab.open_index().click("Show difference")
    world.lifecycle.store({"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": "x/"},
                                      "Expiration": {"Days": 1}}]})  # fmt: skip
    tab.click("Install rule")
    assert "The rule was not installed" in tab.text
    assert world.lifecycle.writes == []


def test_old_versions_are_offered_where_the_bucket_keeps_them(tab, world):
    world.lifecycle.keep_versions(Versioning.ENABLED)
    tab.open_index()
    assert "on: a rule only hides entries" in list(tab.table("State")["State"])
    tab.at.checkbox(key="index_old_versions").check()
    tab.click("Show difference").click("Install rule")
    (rule,) = world.lifecycle.writes[0]["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}


def test_rules_that_cannot_be_read_leave_the_rest_of_the_page(tab, world):
    world.lifecycle.outage = OUTAGE
    tab.open_index()
    assert "The bucket's rules could not be read" in tab.text
    assert len(tab.table("Expires")) == 3


# Deliveries


def kept(guid: str, place: Place = Place.DEAD_LETTER, **payload: Any) -> KeptDelivery:
    body = json.dumps(run_payload(**payload)).encode()
    return KeptDelivery(place, guid, "workflow_run", body, NOW - timedelta(minutes=3), "storage did not answer")


@pytest.fixture
def hooked(memory: InMemory) -> InMemory:
    """A request whose plan run came in by a webhook, and a delivery that could not be handled."""
    memory.store(with_run(with_pull(request()), "plan", **run(101, "in_progress", createdAt=ago(minutes=10))))
    put(memory, "req_dev_s3_abc123", 101)
    memory.edges.deliveries.keep(kept("11111111-dead"))
    return memory


def test_a_dead_letter_is_shown_with_its_error_and_replayed(tab, hooked):
    tab.open_index(tab="deliveries")
    row = tab.table("Why it waits").iloc[0]
    assert (list(row["Kept as"]), row["Came"], row["Why it waits"]) == (
        ["✕ Dead letter"],
        "3 min ago",
        "storage did not answer",
    )
    assert tab.button("Replay").disabled
    tab.select("Why it waits", 0).click("Replay 1")
    assert "1 delivery replayed" in tab.text
    assert hooked.stored("req_dev_s3_abc123")["github"]["workflows"]["plan"]["conclusion"] == "success"
    assert "Nothing waits" in tab.text


def test_handled_deliveries_tell_outcome_and_request(tab, hooked):
    receive(hooked.edges, delivery("workflow_run", run_payload()))
    nameless = {"display_title": "Terraform", "head_branch": "main"}
    receive(hooked.edges, delivery("workflow_run", run_payload(999, "apply", **nameless)))
    table = tab.open_index(tab="deliveries").table("Sender")
    assert {cell[0] for cell in table["Outcome"]} == {"✓ Applied", "\u2013 Ignored"}
    assert "request?id=req_dev_s3_abc123" in list(table["Request"])
    tab.at.button_group(key="index_deliveries_which").set_value("Uncorrelated")
    assert list(tab.look().table("Sender")["Run"]) == ["apply / 999"]


def test_without_a_secret_the_page_says_how_to_set_one(tab, memory):
    memory.rules = GitHubRules(workflow_files={}, webhook_secrets=())
    place = wiring.Place(bucket="b", region="r", github_url="https://api.github.com")
    wiring.use(wiring.Portal(memory.edges, wiring.portal().settings, place))
    tab.open_index(tab="deliveries")
    assert "GITHUB_WEBHOOK_SECRET" in tab.text
    assert "/api/github/webhook" in tab.text


def test_the_address_for_github_is_that_of_the_visitor():
    assert webhook_address("https://ops.example.com/run_index?x=1") == "https://ops.example.com/api/github/webhook"
    assert webhook_address(None) == "https://<this portal>/api/github/webhook"


def test_a_viewer_cannot_replay(tab, hooked, monkeypatch):
    as_role(monkeypatch, Role.VIEWER)
    tab.open_index(tab="deliveries").select("Why it waits", 0)
    assert tab.button("Replay").disabled
    assert "may not replay deliveries" in tab.text


def test_a_replay_that_fails_keeps_the_delivery(tab, hooked):
    tab.open_index(tab="deliveries").select("Why it waits", 0)
    hooked.bucket.outage = OUTAGE
    tab.click("Replay 1")
    hooked.bucket.outage = None
    assert "What failed is kept as it was" in tab.text
    assert hooked.edges.deliveries.find_kept("11111111-dead") is not None
