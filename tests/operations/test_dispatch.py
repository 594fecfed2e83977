"""Dispatching a workflow: one POST whatever happens, the intent before it, and nothing left behind after a refusal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_run
from tests.dispatch_setup import ADMIN, applied, destroyed, destroying, merged, planned, refused, seen, told, unknown
from tests.fakes import OUTAGE, InMemory, MemorySnapshots
from tests.operations.dispatching import (
    Broken,
    at_write,
    content,
    destroy,
    events,
    records,
    states,
    status,
    stored_without_version,
    web_app_stores,
)
from tfpilot.adapters.keys import active_key, dispatches_prefix
from tfpilot.core.dispatch import DispatchAnswer, DispatchEnd, DispatchOrder, DispatchOutcome
from tfpilot.core.document import format_time
from tfpilot.core.lifecycle import is_destroy_stale
from tfpilot.core.model import (
    DispatchState,
    FactOutcome,
    GitHubFacts,
    LifecycleStatus,
    Operator,
    RepoRef,
    Role,
    Stored,
    WorkflowKind,
)
from tfpilot.core.request import parse_request
from tfpilot.errors import ArchivedError, GitHubError, MalformedIdError, NotFoundError, RefusedError
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.open_dispatches import look_for_run

DESTROY, CLEANUP = WorkflowKind.DESTROY, WorkflowKind.CLEANUP


# One POST


@pytest.mark.parametrize(
    ("kind", "document", "ref"),
    [
        (WorkflowKind.PLAN, planned(), f"request/{REQUEST_ID}"),
        (WorkflowKind.APPLY, merged(), "main"),
        (WorkflowKind.DESTROY, applied(), "main"),
        (WorkflowKind.CLEANUP, destroyed(targetFiles=["a.tf"], targetEnvPath="envs/dev"), "main"),
        (WorkflowKind.DRIFT_PLAN, applied(), "main"),
    ],
)
def test_each_kind_is_dispatched_with_one_post_and_its_run_is_stored_indexed_and_recorded(memory, kind, document, ref):
    memory.store(document)
    result = dispatch(memory.edges, REQUEST_ID, kind, operator=ADMIN)
    assert (result.end, result.run_id, result.notices) == (DispatchEnd.STARTED, 9001, ())
    [order] = memory.workflows.orders
    assert (order.ref, order.inputs["request_id"], order.inputs["environment"]) == (ref, REQUEST_ID, "dev")
    fact = parse_request(memory.stored(REQUEST_ID)).runs[kind]
    assert (fact.run_id, fact.status, fact.conclusion) == (9001, "requested", None)
    entry = memory.edges.run_index.find(kind, 9001)
    assert entry is not None
    assert entry.request_id == REQUEST_ID
    [record] = records(memory)
    assert (record.state, record.run_id, record.settled_by) == (DispatchState.STARTED, 9001, "ops-lead")
    assert "lock" not in memory.stored(REQUEST_ID)
    assert events(memory) == [f"{kind.value}_dispatched"]


def test_the_intent_and_the_lock_are_stored_before_github_is_asked(memory):
    memory.store(destroyed(conclusion="failure"))
    memory.github.answers[REQUEST_ID] = told(DESTROY, run_id=6, status="completed", conclusion="failure")
    at_post: list[dict[str, Any]] = []

    def answer(order: DispatchOrder) -> DispatchAnswer:
        at_post.append(memory.stored(REQUEST_ID))
        assert states(memory) == [DispatchState.OPEN]
        return memory.workflows.start(order)

    memory.workflows.answer = answer
    destroy(memory)
    [document] = at_post
    assert document["github"]["destroyTriggeredAt"] == format_time(NOW)
    assert document["github"]["workflows"]["destroy"] == document["destroyRun"] == {"status": "requested"}
    assert document["lock"]["holder"].startswith("ops-portal:ops-lead:")
    assert document["lock"]["expiresAt"] == format_time(NOW + timedelta(minutes=2))


def test_the_id_of_the_run_before_is_never_used_again(memory):
    memory.store(destroyed(conclusion="failure"))
    memory.github.answers[REQUEST_ID] = told(DESTROY, run_id=6, status="completed", conclusion="failure")
    assert destroy(memory).run_id == 9001
    stored = memory.stored(REQUEST_ID)
    assert (stored["github"]["workflows"]["destroy"]["runId"], stored["destroyRun"]["runId"]) == (9001, 9001)
    assert "conclusion" not in stored["github"]["workflows"]["destroy"]


def test_github_is_asked_by_its_own_clock(memory):
    memory.store(applied())
    memory.workflows.me = lambda: replace(type(memory.workflows).me(memory.workflows), clock_ahead=timedelta(minutes=3))
    destroy(memory)
    assert memory.stored(REQUEST_ID)["github"]["destroyTriggeredAt"] == format_time(NOW + timedelta(minutes=3))


def test_a_second_dispatch_while_the_first_runs_is_refused_and_sends_nothing(memory):
    memory.store(applied())
    destroy(memory)
    with pytest.raises(RefusedError, match="a destroy run is not over"):
        destroy(memory)
    assert len(memory.workflows.orders) == 1


@pytest.mark.parametrize(
    ("request_id", "error"),
    [("../x", MalformedIdError), ("req_nobody", NotFoundError), ("req_archived", ArchivedError)],
)
def test_what_is_no_active_request_is_told_and_nothing_is_sent(memory, request_id, error):
    memory.archive(request("req_archived"))
    with pytest.raises(error):
        destroy(memory, request_id=request_id)
    assert (memory.workflows.orders, memory.bucket.writes) == ([], [])


# Refused


def test_what_is_not_eligible_is_refused_without_a_write(memory):
    memory.store(merged())
    with pytest.raises(RefusedError, match=f"No destroy was dispatched for {REQUEST_ID}: the request is not applied"):
        destroy(memory)
    assert (memory.workflows.orders, memory.bucket.writes) == ([], [])


def test_a_refused_post_takes_everything_back_and_leaves_no_lock(memory):
    before = destroyed(conclusion="failure")
    memory.store(before)
    memory.github.answers[REQUEST_ID] = told(DESTROY, run_id=6, attempt=1, status="completed", conclusion="failure")
    memory.workflows.answer = refused
    dispatched = destroyed(conclusion="failure")
    with pytest.raises(RefusedError, match=r"GitHub started no destroy .*: GitHub answered 422: no such ref"):
        destroy(memory)
    assert stored_without_version({**content(memory), "destroyRun": None}) == stored_without_version(
        {**dispatched, "destroyRun": None}
    )
    assert [(each.state, each.detail) for each in records(memory)] == [
        (DispatchState.REFUSED, "GitHub answered 422: no such ref")
    ]
    assert events(memory) == ["destroy_dispatch_refused"]


def test_after_a_refused_post_the_next_one_is_not_kept_out(memory):
    memory.store(applied())
    memory.workflows.answer = refused
    with pytest.raises(RefusedError):
        destroy(memory)
    memory.workflows.answer = memory.workflows.start
    assert destroy(memory, operator=Operator("OPS-LEAD", Role.ADMIN)).end is DispatchEnd.STARTED
    assert len(memory.workflows.orders) == 2


def test_a_refused_cleanup_says_why_in_the_request(memory):
    memory.store(destroyed(targetFiles=["a.tf"], targetEnvPath="envs/dev"))
    memory.workflows.answer = refused
    with pytest.raises(RefusedError):
        dispatch(memory.edges, REQUEST_ID, CLEANUP, operator=ADMIN)
    assert parse_request(memory.stored(REQUEST_ID)).cleanup_error == "GitHub answered 422: no such ref"
    github = memory.stored(REQUEST_ID)["github"]
    assert (github["cleanupTriggeredForDestroyRunId"], github["cleanupDispatchAttemptedAt"]) == (6, format_time(NOW))
    assert "cleanupTriggeredAt" not in github


def test_a_plan_that_cannot_be_sent_gives_the_lock_back(memory):
    memory.store(planned(branchName="main"))
    with pytest.raises(RefusedError, match="which is not its own"):
        dispatch(memory.edges, REQUEST_ID, WorkflowKind.PLAN, operator=ADMIN)
    assert "lock" not in memory.stored(REQUEST_ID)
    assert (memory.workflows.orders, records(memory)) == ([], [])


def test_where_github_does_not_say_who_we_are_nothing_is_written(memory):
    memory.store(applied())

    def nobody():
        raise GitHubError("GitHub could not be reached for user of the token")

    memory.workflows.me = nobody
    with pytest.raises(GitHubError):
        destroy(memory)
    assert (memory.workflows.orders, memory.bucket.writes) == ([], [])


# A destroy after a destroy


@pytest.mark.parametrize(
    ("fact", "why"),
    [
        ({"status": "in_progress", "attempt": 2}, "so it may still run"),
        ({"status": "in_progress"}, "so it may still run"),
        ({"status": "completed", "conclusion": "success"}, "the request is destroyed already"),
        ({"status": "completed", "conclusion": "action_required"}, "waits for a person's approval"),
    ],
)
def test_a_stored_failure_sends_nothing_where_github_says_something_else(memory, fact, why):
    memory.store(destroyed(conclusion="failure"))
    memory.github.answers[REQUEST_ID] = told(DESTROY, run_id=6, updated_at=NOW, **fact)
    with pytest.raises(RefusedError, match=why):
        destroy(memory)
    assert memory.workflows.orders == []
    assert "lock" not in memory.stored(REQUEST_ID)


def test_where_github_does_not_tell_what_became_of_the_destroy_nothing_is_sent(memory):
    memory.store(destroyed(conclusion="failure"))
    memory.github.answers[REQUEST_ID] = GitHubFacts()
    with pytest.raises(RefusedError, match=r"GitHub did not tell what became of destroy run 6: not asked"):
        destroy(memory)
    assert memory.workflows.orders == []


@pytest.mark.parametrize("conclusion", ["failure", "skipped", "cancelled"])
def test_a_stale_destroy_that_github_says_is_over_is_stored_and_sent_again(memory, conclusion):
    memory.store(destroying(minutes=20, runId=6))
    memory.github.answers[REQUEST_ID] = told(DESTROY, run_id=6, status="completed", conclusion=conclusion)
    assert destroy(memory).run_id == 9001
    [query] = memory.github.queries
    assert [(each.kind, each.run_id) for each in query.runs] == [(DESTROY, 6)]


def test_a_stale_destroy_that_still_runs_is_not_sent_again(memory):
    memory.store(destroying(minutes=20, runId=6))
    memory.github.answers[REQUEST_ID] = told(DESTROY, run_id=6, status="in_progress")
    with pytest.raises(RefusedError, match="so it may still run"):
        destroy(memory)
    assert memory.workflows.orders == []


def test_a_stale_destroy_without_a_run_is_looked_for_and_not_sent_again(memory):
    memory.store(destroying(minutes=20, status="requested"))
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    assert memory.workflows.orders == []


def test_a_destroy_that_began_after_github_was_asked_is_seen(memory):
    memory.store(destroyed(conclusion="failure"))
    memory.github.answers[REQUEST_ID] = told(DESTROY, run_id=6, attempt=1, status="completed", conclusion="failure")
    other = with_run(memory.stored(REQUEST_ID), "destroy", **run(7, conclusion="failure", createdAt=ago(minutes=1)))
    at_write(memory, 2, lambda: web_app_stores(memory, {**other, "lock": memory.stored(REQUEST_ID)["lock"]}))
    with pytest.raises(RefusedError, match="so it may still run"):
        destroy(memory)
    assert memory.workflows.orders == []


# Unknown


def test_an_unknown_outcome_is_looked_for_and_never_sent_again_by_anybody(memory):
    memory.store(applied())
    memory.workflows.answer = unknown
    first = destroy(memory)
    assert first.end is DispatchEnd.UNKNOWN
    assert "GitHub took the dispatch and named no run" in first.reason
    assert status(memory) is LifecycleStatus.DESTROYING
    memory.clock.advance(minutes=3)
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    assert destroy(memory, operator=Operator("another-admin", Role.ADMIN)).end is DispatchEnd.UNKNOWN
    restarted = InMemory(clock=memory.clock)
    restarted.bucket, restarted.workflows = memory.bucket, memory.workflows
    restarted.snapshots = MemorySnapshots(memory.bucket, clock=memory.clock)
    assert destroy(restarted).end is DispatchEnd.UNKNOWN
    assert len(memory.workflows.orders) == 1


def test_an_unknown_destroy_gets_stale_and_is_still_not_sent_again(memory):
    memory.store(applied())
    memory.workflows.answer = unknown
    destroy(memory)
    memory.clock.advance(minutes=15, seconds=1)
    assert is_destroy_stale(parse_request(memory.stored(REQUEST_ID)), memory.clock())
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    assert len(memory.workflows.orders) == 1


@pytest.mark.parametrize("looks", [0, 1, 2, 3])
def test_a_run_that_the_lists_show_late_is_found_in_the_same_dispatch(memory, looks):
    memory.store(applied())
    memory.workflows.answer = unknown
    lists = memory.workflows.list_runs
    asked: list[int] = []

    def late(*args: Any, **options: Any):
        memory.workflows.runs["destroy.yml"] = [seen(9001)] if len(asked) >= looks else []
        asked.append(1)
        return lists(*args, **options)

    memory.workflows.list_runs = late
    result = destroy(memory)
    assert (result.end, result.run_id) == (DispatchEnd.FOUND, 9001)
    assert parse_request(memory.stored(REQUEST_ID)).runs[DESTROY].run_id == 9001
    assert events(memory) == ["destroy_dispatch_unknown", "destroy_run_found"]
    assert len(memory.workflows.orders) == 1


def test_the_time_of_the_post_by_githubs_clock_decides_what_is_old(memory):
    memory.store(applied())
    memory.workflows.answer = lambda order: replace(unknown(order), at=NOW + timedelta(seconds=20))
    memory.workflows.runs["destroy.yml"] = [seen(8999, seconds=14)]
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    memory.workflows.runs["destroy.yml"] = [seen(9001, seconds=15), seen(8999, seconds=14)]
    assert destroy(memory).run_id == 9001


def test_the_run_before_is_not_taken_though_it_is_the_requests_own_and_young_enough(memory):
    failed = with_run(applied(), "destroy", **run(6, conclusion="startup_failure", createdAt=ago(seconds=3)))
    memory.store({**failed, "github": {**failed["github"], "destroyTriggeredAt": ago(seconds=3)}})
    memory.github.answers[REQUEST_ID] = told(DESTROY, run_id=6, status="completed", conclusion="startup_failure")
    memory.workflows.answer = unknown
    memory.workflows.runs["destroy.yml"] = [seen(6, seconds=-3, title=f"Destroy {REQUEST_ID}")]
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    assert "runId" not in memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]
    memory.workflows.runs["destroy.yml"].insert(0, seen(9001, seconds=1, title=f"Destroy {REQUEST_ID}"))
    assert destroy(memory).run_id == 9001


def test_when_storage_goes_away_after_the_post_the_outcome_is_unknown_and_not_an_error(memory):
    memory.store(applied())

    def breaks(order: DispatchOrder) -> DispatchAnswer:
        memory.bucket.outage = OUTAGE
        return unknown(order)

    memory.workflows.answer = breaks
    result = destroy(memory)
    assert result.end is DispatchEnd.UNKNOWN
    assert "Could not read in bucket memory" in result.reason
    memory.bucket.outage = None
    memory.clock.advance(minutes=3)
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    assert len(memory.workflows.orders) == 1


# The index


def test_a_request_that_was_archived_while_github_answered_does_not_hide_that_a_run_was_started(memory):
    memory.store(applied())

    def archives(order: DispatchOrder) -> DispatchAnswer:
        memory.archive(memory.stored(REQUEST_ID))
        memory.bucket.delete(active_key(REQUEST_ID))
        return memory.workflows.start(order)

    memory.workflows.answer = archives
    result = destroy(memory)
    assert (result.end, result.run_id) == (DispatchEnd.STARTED, 9001)
    assert any("archived" in notice for notice in result.notices)
    assert memory.edges.run_index.find(DESTROY, 9001).request_id == REQUEST_ID
    assert active_key(REQUEST_ID) not in memory.bucket.contents()


def test_an_index_that_fails_at_the_claim_never_breaks_the_dispatch(memory):
    memory.store(applied())
    edges = replace(memory.edges, run_index=Broken())
    result = dispatch(edges, REQUEST_ID, DESTROY, operator=ADMIN)
    assert (result.end, result.run_id) == (DispatchEnd.STARTED, 9001)
    assert result.notices == ("The run index was not written: The index is away",)
    assert parse_request(memory.stored(REQUEST_ID)).runs[DESTROY].run_id == 9001


def test_a_run_that_the_index_gives_to_another_is_taken_by_nobody(memory):
    memory.store(applied(), applied("req_other"))
    dispatch(memory.edges, "req_other", DESTROY, operator=ADMIN)
    memory.workflows.next_run_id = 9001
    result = destroy(memory)
    assert (result.end, result.run_id) == (DispatchEnd.AMBIGUOUS, 9001)
    assert "which the run index gives to req_other" in result.reason
    assert "runId" not in memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]
    assert states(memory) == [DispatchState.OPEN]


def test_a_run_without_an_index_entry_that_only_our_record_knows_is_taken_by_nobody_else(memory):
    memory.store(applied(), applied("req_other"))
    edges = replace(memory.edges, run_index=Broken())
    dispatch(edges, "req_other", DESTROY, operator=ADMIN)
    web_app_stores(memory, applied("req_other"))
    memory.workflows.runs["destroy.yml"] = [seen(9001)]
    memory.workflows.answer = unknown
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    assert memory.edges.run_index.find(DESTROY, 9001) is None


# What stands in the way


def test_a_document_that_would_lose_something_is_not_dispatched(memory):
    memory.store({**applied(), "destroyRun": "a note of somebody"})
    with pytest.raises(RefusedError, match="destroyRun is no object"):
        destroy(memory)
    assert (memory.workflows.orders, memory.stored(REQUEST_ID)["destroyRun"]) == ([], "a note of somebody")


def test_lists_show_the_destroy_at_once(memory):
    memory.store(applied())
    memory.snapshots.refresh()
    destroy(memory)
    [row] = memory.snapshots.current().rows
    assert row.status is LifecycleStatus.DESTROYING


def test_a_record_of_a_dispatch_holds_what_was_asked_and_no_secret(memory):
    memory.store(applied())
    destroy(memory)
    [key] = [key for key in memory.bucket.contents() if key.startswith(dispatches_prefix(REQUEST_ID))]
    [record] = records(memory)
    assert key.endswith(f"{record.nonce}.json")
    assert (record.repo, record.workflow_file, record.ref) == (RepoRef("acme", "infra"), "destroy.yml", "main")
    assert record.inputs == {"request_id": REQUEST_ID, "environment": "dev"}


def test_a_found_run_is_not_stored_over_a_dispatch_that_came_after_it(memory):
    memory.store(destroying(minutes=5, status="requested"))
    stored = memory.edges.documents.get(REQUEST_ID)
    later = destroying(minutes=1, status="requested")
    web_app_stores(memory, later)
    memory.workflows.runs["destroy.yml"] = [seen(9001, at=NOW - timedelta(minutes=5), title=REQUEST_ID)]
    before = parse_request(Stored(stored.document, stored.etag).document)
    result = look_for_run(memory.edges, before, DESTROY, operator=ADMIN)
    assert result.run_id == 9001
    assert any("was not stored" in notice for notice in result.notices)
    assert "runId" not in memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]


def test_outcomes_that_are_no_answer_are_facts_too(memory):
    memory.store(destroyed(conclusion="failure"))
    memory.github.answers[REQUEST_ID] = lambda query: GitHubFacts(
        runs={DESTROY: replace(told(DESTROY)(query).runs[DESTROY], outcome=FactOutcome.FORBIDDEN, value=None)}
    )
    with pytest.raises(RefusedError, match="GitHub did not tell what became of destroy run 6: forbidden"):
        destroy(memory)


def test_an_answer_that_names_no_run_is_unknown_whatever_it_calls_itself(memory):
    memory.store(applied())
    memory.workflows.answer = lambda _order: DispatchAnswer(DispatchOutcome.STARTED, NOW)
    assert destroy(memory).end is DispatchEnd.UNKNOWN
    assert status(memory) is LifecycleStatus.DESTROYING
