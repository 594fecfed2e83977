"""Dispatching from a request's page: which buttons are on, one POST per confirmation, and open dispatches."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.dispatch_setup import (
    ADMIN,
    APPROVER,
    DESTROY_FILE,
    DEVELOPER,
    applied,
    destroyed,
    destroying,
    merged,
    planned,
    record_of,
    refused,
    seen,
    triggered,
    unknown,
)
from tfpilot.core.document import format_time
from tfpilot.core.model import Checked, DispatchState, Operator, Role, WorkflowKind
from tfpilot.core.run_index import entry_key, new_entry
from tfpilot.errors import GitHubError
from tfpilot.operations.dispatch import dispatch
from tfpilot.ui import shell

DESTROY = WorkflowKind.DESTROY
VIEWER = Operator("guest", Role.VIEWER)


@pytest.fixture
def world(memory):
    """GitHub was asked a moment ago, so opening a page asks nothing by itself."""
    memory.edges.checked.put(REQUEST_ID, Checked(NOW - timedelta(minutes=1)))
    return memory


@pytest.fixture
def as_(monkeypatch):
    """Makes somebody else sit before the pages."""

    def sit(operator):
        monkeypatch.setattr(shell, "operator", lambda: operator)

    return sit


def opened(tab, world, document):
    world.store(document)
    world.snapshots.refresh()
    return tab.open_request(REQUEST_ID)


def type_id(tab, text):
    (field,) = [each for each in tab.at.text_input if each.label.startswith("Type")]
    field.set_value(text)
    return tab


def records(world):
    return [each.record for each in world.edges.dispatches.list(REQUEST_ID)]


# --- which buttons are on, and why the others are not


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (planned(), "Apply: the PR is not merged. Destroy: the request is not applied."),
        (merged(), "Plan again: the PR is not open. Destroy: the request is not applied."),
        (applied(), "Plan again: the PR is not open. Apply: the request is applied already."),
        (applied(conclusion="failure"), "Plan again: the PR is not open."),
        (
            with_run(planned(), "plan", runId=2, status="in_progress"),
            "Plan again: a plan run is not over. Apply: the PR",
        ),
        (destroying(runId=6), "Plan again, Apply, Destroy: a destroy run is not over."),
        (destroyed(), "Plan again: the PR is not open. Destroy: the request is destroyed already."),
        (request(targetRepo=None), "Plan again, Apply, Destroy: no target repository is known."),
        (
            planned(branchName="main"),
            f"Plan again: {REQUEST_ID} cannot be planned on branch 'main', which is not its own.",
        ),
    ],
)
def test_a_button_that_is_off_says_why(tab, world, document, reason):
    assert reason in opened(tab, world, document).text


@pytest.mark.parametrize(
    ("document", "label", "reason"),
    [
        (applied(), "Cleanup", "The request is not destroyed."),
        (planned(), "Drift check", "The request is not applied."),
        ({**destroyed(), "cleanupPr": {"number": 8, "merged": True}}, "Cleanup", "The cleanup PR is merged already."),
    ],
)
def test_what_is_off_in_the_menu_says_why(tab, world, document, label, reason):
    opened(tab, world, document)
    assert tab.button(label).disabled
    assert reason in tab.text


def test_what_is_possible_can_be_pressed(tab, world):
    opened(tab, world, applied())
    pressable = {label: not tab.button(label).disabled for label in ("Plan again", "Apply", "Destroy", "Drift check")}
    assert pressable == {"Plan again": False, "Apply": False, "Destroy": True, "Drift check": True}


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        (VIEWER, "Destroy: guest is a viewer and may not dispatch destroy and cleanup in dev."),
        (DEVELOPER, "Destroy: maya-k is a developer and may not dispatch destroy and cleanup in dev."),
        (APPROVER, "Destroy: tom-r is an approver and may not dispatch destroy and cleanup in dev."),
        (
            DEVELOPER,
            "Plan again, Apply: maya-k is a developer and may not dispatch plan, apply and drift check in dev.",
        ),
    ],
)
def test_a_missing_right_is_a_reason_too(tab, world, as_, operator, reason):
    as_(operator)
    opened(tab, world, applied())
    assert tab.button("Destroy").disabled
    assert reason in tab.text


def test_a_lock_that_somebody_holds_is_a_reason(tab, world):
    lock = {"holder": "web:maya-k", "operation": "apply", "acquiredAt": ago(seconds=9), "expiresAt": ago(seconds=-99)}
    opened(tab, world, {**applied(), "lock": lock})
    assert "Destroy: the request is locked by web:maya-k for apply." in tab.text
    assert not tab.has_button("Clear expired lock")


def test_what_another_writer_overwrote_is_a_reason(tab, world):
    world.edges.dispatches.add(record_of(at=NOW - timedelta(minutes=5), state=DispatchState.STARTED, run_id=6))
    opened(tab, world, applied())
    assert tab.button("Destroy").disabled
    assert "Another writer has overwritten a dispatch" in tab.text


def test_a_dispatch_that_only_our_record_knows_is_a_reason_and_can_be_looked_for(tab, world):
    world.edges.dispatches.add(record_of(at=NOW - timedelta(minutes=5)))
    opened(tab, world, applied())
    assert "Destroy: a destroy was dispatched at 2026-03-02T11:55:00.000Z and its run is not known yet." in tab.text
    assert "Open dispatch: destroy" in tab.text


def test_nothing_can_be_dispatched_for_an_archived_request(tab, memory):
    memory.archive(destroyed())
    tab.open_request(REQUEST_ID)
    assert all(tab.button(label).disabled for label in ("Plan again", "Apply", "Destroy", "Cleanup", "Drift check"))
    assert "nothing writes an archived request" in tab.text


# --- confirming


def test_a_plan_is_started_by_one_more_click_that_says_what_it_does(tab, world):
    opened(tab, world, planned()).click("Plan again")
    assert world.workflows.orders == []
    assert f"Starts `plan.yml` on `request/{REQUEST_ID}` of acme/infra · environment `dev`" in tab.text
    assert "changes no infrastructure: there is nothing to undo" in tab.text
    tab.click("Start the plan")
    (order,) = world.workflows.orders
    assert (order.workflow_file, order.ref) == ("plan.yml", f"request/{REQUEST_ID}")
    assert "GitHub started [run 9001](https://github.com/acme/infra/actions/runs/9001)" in tab.text


@pytest.mark.parametrize(
    ("kind", "document", "promise"),
    [
        ("apply", merged(), "cannot be undone from here"),
        ("drift_plan", applied(), "nothing to undo"),
        (
            "cleanup",
            destroyed(targetFiles=["envs/dev/a.tf"], targetEnvPath="envs/dev"),
            "and merges it by itself",
        ),
    ],
)
def test_each_kind_says_what_it_does_and_starts_once(tab, world, kind, document, promise):
    name = {"drift_plan": "drift check"}.get(kind, kind)
    opened(tab, world, document).click(name.capitalize())
    assert promise in tab.text
    tab.click(f"Start the {name}")
    assert [order.workflow_file for order in world.workflows.orders] == [f"{kind.replace('_', '-')}.yml"]
    assert world.stored(REQUEST_ID)["github"]["workflows"][kind]["runId"] == 9001
    assert [(each.kind.value, each.run_id) for each in records(world)] == [(kind, 9001)]


def test_a_cleanup_in_prod_says_that_a_person_has_to_merge(tab, world):
    opened(tab, world, destroyed(environment="prod", targetFiles=["a.tf"], targetEnvPath="envs/prod")).click("Cleanup")
    assert "A person has to merge that pull request" in tab.text


def test_a_destroy_with_the_typed_id_writes_the_intent_and_posts_once(tab, world):
    opened(tab, world, applied()).click("Destroy")
    assert "**This cannot be undone.**" in tab.text
    assert "Starts `destroy.yml` on `main` of acme/infra" in tab.text
    type_id(tab, REQUEST_ID).click(f"Destroy {REQUEST_ID}")
    assert "Destroy started" in tab.text
    assert "Destroying, because" in tab.text
    assert len(world.workflows.orders) == 1
    stored = world.stored(REQUEST_ID)
    assert stored["destroyRun"]["runId"] == stored["github"]["workflows"]["destroy"]["runId"] == 9001
    assert stored["github"]["destroyTriggeredAt"] == format_time(NOW)
    assert "lock" not in stored
    assert world.edges.run_index.find(DESTROY, 9001).request_id == REQUEST_ID
    assert tab.button("Destroy").disabled
    (event, *_) = world.edges.events.list(REQUEST_ID, limit=5)
    assert (event.event, event.actor) == ("destroy_dispatched", "local")


@pytest.mark.parametrize("typed", ["", "req_dev_s3_other", REQUEST_ID.upper(), f"{REQUEST_ID}x"])
def test_a_wrong_id_starts_nothing(tab, world, typed):
    opened(tab, world, applied()).click("Destroy")
    before = world.bucket.contents()
    type_id(tab, typed).click(f"Destroy {REQUEST_ID}")
    assert "What was typed is not the id of this request. Nothing was started." in tab.text
    assert world.workflows.orders == []
    assert world.bucket.contents() == before


def test_a_confirmation_can_be_cancelled(tab, world):
    opened(tab, world, applied()).click("Destroy").click("Cancel")
    assert not tab.has_button(f"Destroy {REQUEST_ID}")
    assert world.workflows.orders == []


def test_a_second_click_on_the_same_confirmation_posts_nothing_more(tab, world):
    opened(tab, world, merged()).click("Apply")
    desk = tab.at.session_state["request_desk"]
    shown = desk.proposal
    tab.click("Start the apply")
    desk.confirm(world.edges, shell.operator(), shown=shown)
    assert not desk.is_busy
    assert len(world.workflows.orders) == 1


def test_a_second_tab_gets_the_dispatch_that_is_under_way(tab, world):
    opened(tab, world, merged()).click("Apply")
    other = type(tab)().open_request(REQUEST_ID).click("Apply")
    release, start = threading.Event(), world.workflows.start

    def slowly(order):
        assert release.wait(10)
        return start(order)

    world.workflows.answer = slowly
    for each in (tab, other):
        each.button("Start the apply").click()
        each.at.run()
    try:
        assert "Dispatching the apply. It goes on if you leave the page." in tab.text
        assert tab.button("Preview repair").disabled
    finally:
        release.set()
    assert "Apply started" in tab.look().text
    assert "Apply started" in other.look().text
    assert len(world.workflows.orders) == 1


def test_a_second_tab_that_confirms_later_is_refused_and_posts_nothing(tab, world):
    opened(tab, world, merged()).click("Apply")
    other = type(tab)().open_request(REQUEST_ID).click("Apply")
    tab.click("Start the apply")
    other.click("Start the apply")
    assert "No apply was dispatched" in other.text
    assert len(world.workflows.orders) == 1


def test_a_confirmation_that_is_no_longer_possible_says_so(tab, world):
    opened(tab, world, merged()).click("Apply")
    world.store(applied())
    tab.look()
    assert "The request is applied already." in tab.text
    assert not tab.has_button("Start the apply")


def test_leaving_the_page_does_not_stop_a_dispatch(tab, world):
    opened(tab, world, merged()).click("Apply")
    release, start = threading.Event(), world.workflows.start

    def slowly(order):
        assert release.wait(10)
        return start(order)

    world.workflows.answer = slowly
    tab.button("Start the apply").click()
    tab.at.run()
    work = tab.at.session_state["request_desk"].deed.work
    tab.at.switch_page("pages/requests.py")
    release.set()
    assert work.result(10).result.run_id == 9001
    assert world.stored(REQUEST_ID)["github"]["workflows"]["apply"]["runId"] == 9001


# --- what GitHub answers


def test_a_refusal_of_github_is_shown_and_nothing_stays(tab, world):
    world.workflows.answer = refused
    opened(tab, world, merged()).click("Apply").click("Start the apply")
    assert "GitHub started no apply" in tab.text
    assert "422: no such ref" in tab.text
    assert not world.stored(REQUEST_ID)["github"]["workflows"]["apply"]
    assert [each.state for each in records(world)] == [DispatchState.REFUSED]
    assert ":red-badge[:material/block: refused]" in set(tab.table("Workflow")["Result"])
    assert not tab.button("Apply").disabled


def test_an_unknown_outcome_says_that_nothing_is_sent_again(tab, world):
    world.workflows.answer = unknown
    opened(tab, world, merged()).click("Apply").click("Start the apply")
    assert "Apply: whether a run was started is not known" in tab.text
    assert "Nothing is sent again; a repair goes on looking." in tab.text
    assert tab.button("Apply").disabled
    assert "Open dispatch: apply" in tab.text
    tab.click("Look for the run")
    assert "Apply: no run was found yet" in tab.text
    assert len(world.workflows.orders) == 1


def test_when_github_does_not_answer_before_anything_was_sent_that_is_said(tab, world, monkeypatch):
    def down():
        raise GitHubError("GitHub could not be reached", "Try again.")

    monkeypatch.setattr(world.workflows, "me", down)
    opened(tab, world, merged()).click("Apply").click("Start the apply")
    assert "GitHub could not be reached" in tab.text
    assert world.workflows.orders == []
    assert records(world) == []


# --- open dispatches


@pytest.fixture
def open_destroy(world):
    """A destroy that this portal dispatched five minutes ago; GitHub named no run."""
    world.store(applied())
    world.workflows.answer = unknown
    dispatch(world.edges, REQUEST_ID, DESTROY, operator=ADMIN)
    world.workflows.orders.clear()
    world.clock.advance(minutes=5)
    world.edges.checked.put(REQUEST_ID, Checked(world.clock() - timedelta(minutes=1)))
    world.snapshots.refresh()
    return world


def test_an_open_dispatch_says_what_was_dispatched_when_and_by_whom(tab, open_destroy):
    text = tab.open_request(REQUEST_ID).text
    assert "Dispatched 12:00, 5 min ago, by ops-lead with this portal: `destroy.yml` on `main` of acme/infra." in text
    assert "GitHub took the dispatch and named no run." in text
    assert tab.button("No run exists").disabled
    assert "No run exists: GitHub's lists may be late, so it can be said from 12:10." in text


def test_an_open_dispatch_of_the_web_app_says_that_somebody_else_dispatched_it(tab, world):
    assert "so somebody else dispatched it" in opened(tab, world, destroying(minutes=5)).text


def test_looking_finds_the_run_that_names_the_request_and_sends_nothing(tab, open_destroy):
    open_destroy.workflows.runs[DESTROY_FILE] = [seen(77, seconds=1, title=f"Destroy {REQUEST_ID}")]
    tab.open_request(REQUEST_ID).click("Look for the run")
    assert "Destroy: run found" in tab.text
    assert open_destroy.stored(REQUEST_ID)["destroyRun"]["runId"] == 77
    assert open_destroy.edges.run_index.find(DESTROY, 77).request_id == REQUEST_ID
    assert open_destroy.workflows.orders == []
    assert "Open dispatch" not in tab.text


@pytest.fixture
def ambiguous(open_destroy):
    """Two runs name nobody, and another request waits for one too."""
    other = triggered(
        with_run(applied("req_dev_s3_other"), "destroy", status="requested"), "destroyTriggeredAt", ago(minutes=5)
    )
    open_destroy.store(other)
    open_destroy.snapshots.refresh()
    open_destroy.workflows.runs[DESTROY_FILE] = [seen(78, seconds=6), seen(77, seconds=1)]
    return open_destroy


def test_several_runs_are_shown_and_the_one_that_is_chosen_is_stored(tab, ambiguous):
    tab.open_request(REQUEST_ID).click("Look for the run")
    assert "whose run it is cannot be told" in tab.text
    assert "**2 runs could be it.**" in tab.text
    assert "[78](https://github.com/acme/infra/actions/runs/78)" in tab.text
    assert "runId" not in ambiguous.stored(REQUEST_ID)["github"]["workflows"]["destroy"]
    tab.at.button(key="request_choose_destroy_78").click()
    tab.look()
    assert "is this request's now" in tab.text
    assert ambiguous.stored(REQUEST_ID)["github"]["workflows"]["destroy"]["runId"] == 78
    assert ambiguous.edges.run_index.find(DESTROY, 78).request_id == REQUEST_ID
    assert [(each.state, each.run_id) for each in records(ambiguous)] == [(DispatchState.STARTED, 78)]
    assert ambiguous.workflows.orders == []


def test_a_run_that_another_request_got_meanwhile_cannot_be_chosen(tab, ambiguous):
    tab.open_request(REQUEST_ID).click("Look for the run")
    ambiguous.edges.run_index.claim(new_entry(DESTROY, 78, "req_dev_s3_other", created_at=NOW))
    tab.at.button(key="request_choose_destroy_78").click()
    tab.look()
    assert "Refused" in tab.text
    assert "runId" not in ambiguous.stored(REQUEST_ID)["github"]["workflows"]["destroy"]
    assert ambiguous.edges.run_index.find(DESTROY, 78).request_id == "req_dev_s3_other"


def test_who_may_not_choose_sees_the_candidates_and_why(tab, ambiguous, as_):
    as_(DEVELOPER)
    tab.open_request(REQUEST_ID).click("Look for the run")
    assert tab.at.button(key="request_choose_destroy_78").disabled
    assert "This is it: maya-k is a developer and may not choose among ambiguous runs in dev." in tab.text


def test_a_viewer_may_do_nothing_about_an_open_dispatch(tab, open_destroy, as_):
    as_(VIEWER)
    tab.open_request(REQUEST_ID)
    assert tab.button("Look for the run").disabled
    assert "Look for the run: guest is a viewer and may not sync and repair in dev." in tab.text


def test_a_person_confirms_after_ten_minutes_that_no_run_exists(tab, open_destroy):
    tab.open_request(REQUEST_ID)
    open_destroy.clock.advance(minutes=6)
    tab.look().click("No run exists")
    assert "The destroy that started nothing is closed" in tab.text
    assert [each.state for each in records(open_destroy)] == [DispatchState.CLOSED]
    assert "Open dispatch" not in tab.text


def test_no_run_exists_is_refused_where_a_run_could_be_it(tab, open_destroy):
    open_destroy.workflows.runs[DESTROY_FILE] = [seen(77, seconds=1)]
    open_destroy.clock.advance(minutes=6)
    tab.open_request(REQUEST_ID).click("No run exists")
    assert "may exist" in tab.text
    assert [each.state for each in records(open_destroy)] == [DispatchState.OPEN]


def test_saying_that_no_run_exists_takes_the_right_to_that_dispatch(tab, open_destroy, as_):
    as_(APPROVER)
    open_destroy.clock.advance(minutes=6)
    tab.open_request(REQUEST_ID)
    assert tab.button("No run exists").disabled
    assert "may not dispatch destroy and cleanup in dev" in tab.text


# --- locks


EXPIRED = {"holder": "web:maya-k", "operation": "apply", "acquiredAt": ago(minutes=9), "expiresAt": ago(minutes=7)}


def test_an_expired_lock_can_be_cleared(tab, world):
    opened(tab, world, {**applied(), "lock": EXPIRED})
    tab.at.button(key="request_more_unlock").click()
    tab.look()
    assert "The lock is cleared" in tab.text
    assert "lock" not in world.stored(REQUEST_ID)
    assert not tab.has_button("Clear expired lock")


def test_clearing_a_lock_takes_an_approver(tab, world, as_):
    as_(DEVELOPER)
    opened(tab, world, {**applied(), "lock": EXPIRED})
    assert tab.button("Clear expired lock").disabled
    assert "may not clear a request lock in dev" in tab.text


# --- what is related


def test_related_tells_what_the_index_says_of_each_run(tab, world):
    document = with_run(
        with_run(applied(), "destroy", runId=6, status="completed", conclusion="failure", createdAt=ago(minutes=20)),
        "plan",
        **run(1, createdAt=ago(minutes=50)),
    )
    world.edges.run_index.claim(new_entry(WorkflowKind.APPLY, 5, REQUEST_ID, created_at=NOW))
    world.edges.run_index.claim(new_entry(DESTROY, 6, "req_dev_s3_other", created_at=NOW))
    rows = opened(tab, world, document).table("What").set_index("What")
    assert "names this request" in rows.loc["Index entry `apply/run-5`", "Which"]
    assert rows.loc["Index entry `plan/run-1`", "Which"] == ":orange-badge[:material/warning: missing]"
    assert rows.loc["Index entry `plan/run-1`", "State"] == "backfilled by the repair"
    assert "names another" in rows.loc["Index entry `destroy/run-6`", "Which"]
    assert "(request?id=req_dev_s3_other)" in rows.loc["Index entry `destroy/run-6`", "Which"]


def test_an_entry_that_is_unreadable_counts_as_missing(tab, world):
    world.bucket.write(entry_key(WorkflowKind.APPLY, 5), b"not json")
    rows = opened(tab, world, applied()).table("What").set_index("What")
    assert rows.loc["Index entry `apply/run-5`", "Which"] == ":orange-badge[:material/warning: missing]"


@pytest.mark.parametrize(
    ("lock", "which", "state"),
    [
        (None, ":green-badge[:material/lock_open: free]", ""),
        (EXPIRED, ":orange-badge[:material/lock_clock: expired]", "ended 11:53"),
        ({**EXPIRED, "expiresAt": ago(minutes=-1)}, ":blue-badge[:material/lock: held]", "until 12:01"),
    ],
)
def test_related_tells_of_the_lock(tab, world, lock, which, state):
    rows = opened(tab, world, {**applied(), **({"lock": lock} if lock else {})}).table("What").set_index("What")
    assert rows.loc["Request lock", "Which"] == which
    assert state in rows.loc["Request lock", "State"]


def test_related_tells_of_pull_requests_and_copies(tab, world):
    document = with_pull(applied(), open=False, merged=True, title="Add <b>a bucket</b>")
    document["cleanupPr"] = {"number": 8, "url": "https://github.com/acme/infra/pull/8", "merged": False, "open": True}
    world.bucket.write(
        "webhooks/github/pr-index/acme_infra/pr-7.json",
        f'{{"owner": "acme", "repo": "infra", "prNumber": 7, "requestId": "{REQUEST_ID}"}}'.encode(),
    )
    world.archive(document)
    rows = opened(tab, world, document).table("What").set_index("What")
    assert rows.loc["Pull request", "State"] == "merged"
    assert "<b>" not in rows.loc["Pull request", "Which"]
    assert rows.loc["Cleanup PR", "State"] == "open"
    assert "names this request" in rows.loc["Index entry `pr-7`", "Which"]
    assert rows.loc["Archived copy", "Which"] == f"`history/{REQUEST_ID}.json`"


def test_related_lists_our_dispatches_newest_first(tab, world):
    world.edges.dispatches.add(
        record_of(nonce="a1", at=NOW - timedelta(hours=2), state=DispatchState.REFUSED, detail="422")
    )
    world.edges.dispatches.add(record_of(nonce="b2", at=NOW - timedelta(hours=1), state=DispatchState.CLOSED))
    shown = opened(tab, world, applied()).table("Workflow")
    assert list(shown["When (UTC)"]) == ["11:00", "10:00"]
    assert list(shown["Detail"]) == ["\u2013", "422"]
    assert shown.iloc[0]["Workflow"] == "`destroy.yml` on `main`"


def test_without_dispatches_related_says_so(tab, world):
    assert "Nothing was dispatched for this request with this portal." in opened(tab, world, applied()).text


def test_the_commands_name_the_dispatch(tab, world):
    opened(tab, world, applied())
    assert any(f"python -m tfpilot dispatch KIND {REQUEST_ID}" in code.value for code in tab.at.code)


def test_hostile_text_about_runs_stays_text(tab, ambiguous):
    evil = "[a](javascript:alert(1)) <img src=x> :red[c]"
    ambiguous.workflows.runs[DESTROY_FILE] = [
        seen(78, seconds=6, title=evil, html_url="javascript:alert(1)"),
        seen(77, seconds=1),
    ]
    tab.open_request(REQUEST_ID).click("Look for the run")
    shown = [element.value for element in tab.at.markdown if "alert" in element.value]
    assert shown
    assert all("javascript:" not in value and "\\<img" in value for value in shown)
