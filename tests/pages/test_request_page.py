"""One request: why it stands where it does, its repair, and what is said when something is wrong."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, stuck_planning, with_pull, with_run
from tests.fakes import OUTAGE
from tfpilot.core.model import (
    Answer,
    Checked,
    FactOutcome,
    GitHubFacts,
    JobsFact,
    PullFact,
    RepoRef,
    Review,
    RunFact,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.wiring import LOCAL_OPERATOR

KEY = f"requests/{REQUEST_ID}.json"
PLANNED = RunFact(
    run_id=101,
    attempt=1,
    status="completed",
    conclusion="success",
    created_at=NOW - timedelta(hours=1),
    updated_at=NOW - timedelta(minutes=57),
)
OPEN_PULL = PullFact(number=7, url="https://github.com/acme/infra/pull/7", open=True, merged=False, author="maya-k")


def github_knows(**answers):
    plan = Answer(FactOutcome.OK, WorkflowRun(PLANNED, RepoRef("acme", "infra")))
    return GitHubFacts(
        pull=Answer(FactOutcome.OK, OPEN_PULL),
        reviews=answers.get("reviews", Answer(FactOutcome.OK, (Review("ines-r", "APPROVED", NOW),))),
        cleanup_pull=Answer(FactOutcome.NOT_FOUND),
        runs={WorkflowKind.PLAN: answers.get("plan", plan)},
        calls=4,
    )


@pytest.fixture
def stuck(memory):
    """A request that hangs in planning. GitHub was asked a moment ago, so opening the page asks nothing by itself."""
    memory.store(stuck_planning())
    memory.edges.checked.put(REQUEST_ID, Checked(NOW - timedelta(minutes=1)))
    memory.github.answers[REQUEST_ID] = github_knows()
    memory.snapshots.refresh()
    return memory


def test_the_page_says_why_with_the_rule_and_the_facts(tab, stuck):
    tab.open_request(REQUEST_ID)
    assert "Planning, because the stored plan run is still active" in tab.text
    assert "rule 11" in tab.text
    assert "`github.workflows.plan` runId = `101`" in tab.text
    assert ":orange-badge[:material/warning: Stuck 45 min]" in tab.text


def test_findings_come_with_since_when_evidence_and_what_to_do(tab, stuck):
    row = tab.open_request(REQUEST_ID).table("Finding").iloc[0]
    assert row["Finding"] == "`STUCK_PLANNING`"
    assert row["Since"] == "11:15, 45 min ago"
    assert "plan run 101" in row["Evidence"]
    assert "Preview a repair" in row["Next action"]


def test_a_preview_shows_each_field_and_writes_nothing(tab, stuck):
    before = stuck.bucket.contents()
    tab.open_request(REQUEST_ID).click("Preview repair")
    changes = tab.table("Field").set_index("Field")
    assert changes.loc["`github.workflows.plan.status`", "Stored"] == "`in_progress`"
    assert changes.loc["`github.workflows.plan.status`", "GitHub says"] == "**`completed`**"
    assert changes.loc["`planRun.conclusion`", "Change"] == ":gray-badge[:material/add: added]"
    assert "Planning] :material/arrow_forward: :violet-badge[:material/how_to_reg: Approved]" in tab.text
    assert "Nothing is written yet" in tab.text
    assert stuck.bucket.contents() == before


def test_a_repair_writes_what_the_preview_showed_and_tells_the_new_status(tab, stuck):
    tab.open_request(REQUEST_ID).click("Preview repair")
    shown = set(tab.table("Field")["Field"])
    tab.click("Repair: write")
    assert set(tab.table("Field")["Field"]) == shown
    assert "Version 2 is stored" in tab.text
    assert stuck.stored(REQUEST_ID)["github"]["workflows"]["plan"]["conclusion"] == "success"
    assert stuck.stored(REQUEST_ID)["version"] == 2
    assert not tab.has_button("Repair: write")
    assert any(event.actor == "local" for event in stuck.edges.events.list(REQUEST_ID, limit=5))


def test_a_second_click_on_repair_writes_nothing_more(tab, stuck):
    tab.open_request(REQUEST_ID).click("Preview repair")
    desk = tab.at.session_state["request_desk"]
    shown = desk.preview
    tab.click("Repair: write")
    asked = len(stuck.github.queries)
    desk.repair(stuck.edges, LOCAL_OPERATOR, shown=shown)
    assert not desk.is_busy
    assert len(stuck.github.queries) == asked
    assert stuck.bucket.writes.count(KEY) == 1


def test_while_a_repair_runs_its_buttons_are_off(tab, stuck):
    tab.open_request(REQUEST_ID).click("Preview repair")
    release = threading.Event()

    def slowly(query):
        assert release.wait(10)
        return github_knows()

    stuck.github.answers[REQUEST_ID] = slowly
    tab.button("Repair: write").click()
    tab.at.run()
    try:
        assert tab.button("Repair: write").disabled
        assert tab.button("Preview repair").disabled
        assert "Repairing. It goes on if you leave the page" in tab.text
    finally:
        release.set()
    assert "Version 2 is stored" in tab.look().text


def test_a_preview_can_be_discarded(tab, stuck):
    tab.open_request(REQUEST_ID).click("Preview repair").click("Discard")
    assert not tab.has_button("Repair: write")
    assert stuck.stored(REQUEST_ID)["version"] == 1


def test_a_preview_of_an_older_version_cannot_be_repaired(tab, stuck):
    tab.open_request(REQUEST_ID).click("Preview repair")
    stuck.store({**stuck_planning(), "version": 8})
    tab.look()
    assert tab.button("Repair: write").disabled
    assert "it is at version 8 now: preview the repair again" in tab.text


def test_when_github_says_the_same_a_preview_says_so_plainly(tab, memory):
    memory.store(request(approval={"approved": False}))
    memory.github.answers[REQUEST_ID] = GitHubFacts(pull=Answer(FactOutcome.NOT_FOUND))
    tab.open_request(REQUEST_ID).click("Preview repair")
    assert "nothing to write" in tab.text
    assert not tab.has_button("Repair: write")


def test_sync_says_why_github_was_not_asked(tab, stuck):
    tab.open_request(REQUEST_ID).click("Sync")
    assert "GitHub was not asked, because GitHub was asked a moment ago" in tab.text


def test_opening_a_request_that_needs_it_asks_github_by_itself_as_the_system(tab, memory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = github_knows()
    tab.open_request(REQUEST_ID)
    assert "Approved, because the request is approved" in tab.text
    assert memory.stored(REQUEST_ID)["version"] == 2
    assert [event.actor for event in memory.edges.events.list(REQUEST_ID, limit=5)] == ["system"]


def test_opening_a_healthy_request_leaves_github_alone(tab, memory):
    memory.store(with_run(with_pull(request(), merged=True, open=False), "apply", **run(5)))
    tab.open_request(REQUEST_ID)
    memory.github.queries.clear()
    tab.look()
    assert memory.github.queries == []


def test_facts_by_source_compare_what_is_stored_with_what_github_says(tab, stuck):
    tab.open_request(REQUEST_ID)
    assert "GitHub was not asked on this page yet" in tab.text
    facts = tab.click("Preview repair").table("Fact").set_index("Fact")
    assert facts.loc["Plan run", "Stored"] == "101 `in_progress`"
    assert facts.loc["Plan run", "GitHub says"] == "101 `completed` `success`"
    assert facts.loc["Plan run", "Result"] == ":material/edit: GitHub is newer"
    assert facts.loc["Apply run", "GitHub answered"] == ":gray-badge[:material/remove: not asked]"


@pytest.mark.parametrize(
    ("outcome", "meaning"),
    [
        (FactOutcome.FORBIDDEN, "the token may not read it"),
        (FactOutcome.UNAUTHORIZED, "GitHub does not accept the token"),
        (FactOutcome.TIMEOUT, "no answer in time"),
        (FactOutcome.UNREACHABLE, "GitHub could not be reached"),
        (FactOutcome.MALFORMED, "the answer is not what GitHub documents"),
        (FactOutcome.RATE_LIMITED, "GitHub asked us to wait"),
        (FactOutcome.FAILED, "GitHub answered with an error"),
    ],
)
def test_a_fact_that_github_does_not_tell_is_named_and_the_rest_still_counts(tab, stuck, outcome, meaning):
    stuck.github.answers[REQUEST_ID] = github_knows(reviews=Answer(outcome))
    tab.open_request(REQUEST_ID).click("Preview repair")
    assert "GitHub did not tell everything: 1 fact missing" in tab.text
    assert meaning in tab.text
    facts = tab.table("Fact").set_index("Fact")
    assert facts.loc["Reviews", "Result"] == ":material/help: stored fact kept"
    assert tab.has_button("Repair: write")


def test_when_github_tells_nothing_at_all_nothing_is_offered_and_it_can_be_tried_again(tab, stuck):
    silent = Answer(FactOutcome.RATE_LIMITED, detail="limit", retry_after=timedelta(minutes=12))
    stuck.github.answers[REQUEST_ID] = GitHubFacts(pull=silent, reviews=silent, runs={WorkflowKind.PLAN: silent})
    tab.open_request(REQUEST_ID).click("Preview repair")
    assert "GitHub told nothing" in tab.text
    assert not tab.has_button("Repair: write")
    stuck.github.answers[REQUEST_ID] = github_knows()
    assert tab.click("Try again").has_button("Repair: write")


def test_a_run_of_another_request_is_left_alone_and_said(tab, stuck):
    stuck.github.answers[REQUEST_ID] = github_knows(
        plan=Answer(FactOutcome.CROSSED, detail="run 101 belongs to req_dev_s3_other")
    )
    tab.open_request(REQUEST_ID).click("Preview repair")
    assert "run 101 belongs to req_dev_s3_other" in tab.text
    assert tab.table("Fact").set_index("Fact").loc["Plan run", "Result"] == ":material/shuffle: left alone"


def test_an_unknown_id_is_an_error_with_a_next_step(tab, memory):
    tab.open_request("req_dev_s3_nobody")
    assert "There is no such request" in tab.text
    assert tab.has_button("Try again")


@pytest.mark.parametrize(
    "bad", ["../x", "req_%00", "REQ_A", "req_" + "a" * 10_000, "<script>alert(1)</script>", "req_\n"]
)
def test_what_cannot_be_an_id_is_refused_in_a_few_words(tab, memory, bad):
    tab.open_request(bad)
    assert "This is not a request id" in tab.text
    assert len(tab.text) < 1500


def test_without_an_id_the_page_says_how_to_choose_one(tab, memory):
    assert "No request was chosen" in tab.open_request(None).text


def test_an_unreadable_document_is_a_page_with_its_text_and_nothing_to_press(tab, memory):
    memory.bucket.write(KEY, b'{"id": "x", <script>alert(1)</script>')
    tab.open_request(REQUEST_ID)
    assert "The document cannot be read as a request" in tab.text
    assert tab.table("Finding").iloc[0]["Finding"] == "`UNREADABLE`"
    assert tab.at.code[0].value == '{"id": "x", <script>alert(1)</script>'
    assert not tab.has_button("Preview repair")


def test_bytes_that_are_no_text_are_still_a_page(tab, memory):
    memory.bucket.write(KEY, b"\xff\xfe{}")
    assert "not UTF-8" in tab.open_request(REQUEST_ID).text


def test_a_document_of_50_mb_is_refused_without_being_shown(tab, memory):
    memory.bucket.write(KEY, b"[" + b"1," * 25_000_000 + b"1]")
    tab.open_request(REQUEST_ID)
    assert "too large to be shown" in tab.text


def test_an_archived_request_can_be_read_and_not_changed(tab, memory):
    memory.archive(request(status="destroyed"))
    tab.open_request(REQUEST_ID)
    assert "nothing writes it" in tab.text
    assert tab.button("Preview repair").disabled
    assert tab.button("Sync").disabled
    assert "nothing writes an archived request" in tab.text
    assert memory.github.queries == []


def test_a_twin_shows_the_active_document_and_offers_the_archived_copy(tab, stuck):
    stuck.archive(request(version=3))
    stuck.snapshots.refresh()
    tab.open_request(REQUEST_ID)
    assert "An archived copy of this request exists too" in tab.text
    tab.at.toggle(key="request_show_archived").set_value(True)
    tab.look()
    assert [json.loads(code.value)["version"] for code in tab.at.code if code.value.startswith("{")] == [1, 3]


def test_when_storage_is_down_the_page_says_so_and_can_be_tried_again(tab, stuck):
    tab.open_request(REQUEST_ID)
    stuck.bucket.outage = OUTAGE
    tab.look()
    assert "Storage cannot be reached" in tab.text
    stuck.bucket.outage = None
    assert "because the stored plan run is still active" in tab.click("Try again").text


def test_a_repair_that_meets_an_outage_says_so_and_keeps_the_preview(tab, stuck):
    tab.open_request(REQUEST_ID).click("Preview repair")

    def goes_down(query):
        stuck.bucket.interfere = fail
        return github_knows()

    def fail():
        raise OUTAGE

    stuck.github.answers[REQUEST_ID] = goes_down
    tab.click("Repair: write")
    assert "Storage cannot be reached" in tab.text
    assert tab.has_button("Repair: write")
    assert stuck.stored(REQUEST_ID)["version"] == 1


def test_history_tells_what_happened_newest_first(tab, stuck):
    tab.open_request(REQUEST_ID).click("Preview repair").click("Repair: write")
    row = tab.table("Event").iloc[0]
    assert row["Event"] == "request repaired"
    assert "more" in row["Details"]


def test_the_stored_document_is_shown_as_it_is(tab, stuck):
    tab.open_request(REQUEST_ID)
    (shown,) = [code.value for code in tab.at.code if code.value.startswith("{")]
    assert json.loads(shown) == stuck.stored(REQUEST_ID)


def test_hostile_text_in_every_field_stays_text(tab, memory):
    hostile = "</code> `x` [a](javascript:alert(1)) ![b](http://evil/x.png) $e$ :red[c] <img src=x> \u202e"
    document = stuck_planning()
    document |= {
        "project": hostile,
        "environment": hostile,
        "module": hostile,
        "branchName": hostile,
        "status": hostile,
    }
    document["planRun"] = {"runId": 101, "status": hostile, "url": "javascript:alert(1)", "conclusion": hostile}
    document["approval"] = {"approved": True, "approvers": [hostile], "reviews": {hostile: {"state": hostile}}}
    memory.store(document)
    memory.github.answers[REQUEST_ID] = GitHubFacts(pull=Answer(FactOutcome.FORBIDDEN, detail=hostile))
    tab.open_request(REQUEST_ID)
    assert "because" in tab.text
    for element in tab.at.markdown:
        outside_code = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", element.value)
        assert "javascript:" not in outside_code
        assert "\u202e" not in element.value


@pytest.mark.parametrize(
    "document",
    [
        {"id": REQUEST_ID},
        {"id": REQUEST_ID, "github": [], "pr": 3, "planRun": "x", "approval": None, "version": "nine"},
        {"id": REQUEST_ID, "updatedAt": "yesterday", "receivedAt": 5, "targetOwner": {}, "config": []},
    ],
)
def test_wrong_types_everywhere_are_still_a_page(tab, memory, document):
    memory.store(document)
    assert "Request created, because nothing has happened yet" in tab.open_request(REQUEST_ID).text


def test_a_cancelled_apply_shows_what_github_told_about_its_jobs(tab, memory):
    memory.store(with_run(with_pull(request(), merged=True), "apply", **run(9, conclusion="cancelled")))
    jobs = {WorkflowKind.APPLY: JobsFact(run_id=9, attempt=1, started=True)}
    memory.edges.checked.put(REQUEST_ID, Checked(NOW, jobs=jobs))
    assert "`STATE_UNKNOWN`" in set(tab.open_request(REQUEST_ID).table("Finding")["Finding"])


def test_a_page_without_any_time_has_a_timeline_that_says_so(tab, memory):
    memory.store(request(receivedAt=None, updatedAt=None))
    assert "holds no time that can be read" in tab.open_request(REQUEST_ID).text


def test_going_to_another_request_leaves_the_preview_of_the_first_behind(tab, stuck):
    other = "req_dev_s3_other"
    stuck.store(stuck_planning(other), request(updatedAt=ago(minutes=1)) | {"id": "req_dev_s3_third"})
    tab.open_request(REQUEST_ID).click("Preview repair")
    tab.at.query_params["id"] = "req_dev_s3_third"
    tab.look()
    assert not tab.has_button("Repair: write")
