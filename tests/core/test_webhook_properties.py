"""Webhooks in any order, any number of times, and about anybody's runs: what holds whatever comes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.core.saying import REPO, having
from tests.core.strategies import JSON, STATUSES, documents, run_facts
from tests.fakes import InMemory
from tests.webhook_payloads import merged_payload, pull_payload, review_payload, run_payload
from tfpilot.core.document import apply_changes
from tfpilot.core.model import RunFact, WorkflowKind, WorkflowRun
from tfpilot.core.request import parse_request
from tfpilot.core.run_guard import guard_run, patch_workflow_run
from tfpilot.core.webhook import decide
from tfpilot.core.webhook_event import parse_event

FILES = InMemory().rules.workflow_files
KINDS = st.sampled_from(list(WorkflowKind))
RUN_ID = 101


def named(fact: RunFact, **where: Any) -> WorkflowRun:
    return WorkflowRun(fact, REPO, **{"branch": f"request/{REQUEST_ID}", "title": None, **where})


def after(document: dict[str, Any], kind: WorkflowKind, facts: Sequence[RunFact]) -> Any:
    for fact in facts:
        document = patch_workflow_run(document, kind, named(fact))
    return document


@st.composite
def events_of_one_run(draw: st.DrawFn) -> tuple[list[RunFact], list[RunFact]]:
    """What GitHub says of one run in the course of time, and the same in another order with repetitions."""
    told, attempt, at = [], 1, NOW - timedelta(minutes=60)
    for _ in range(draw(st.integers(1, 6))):
        at += timedelta(seconds=draw(st.sampled_from([0, 1, 30])))
        status = draw(st.sampled_from(["queued", "waiting", "in_progress", "completed", "completed"]))
        conclusion = draw(st.sampled_from(["success", "failure", "cancelled"])) if status == "completed" else None
        told.append(
            RunFact(
                run_id=RUN_ID,
                attempt=attempt,
                status=status,
                conclusion=conclusion,
                head_sha="c0de",
                created_at=NOW - timedelta(minutes=61),
                run_started_at=NOW - timedelta(minutes=61 - attempt),
                updated_at=at,
                html_url="https://run",
            )
        )
        attempt += status == "completed"
    heard = draw(st.permutations([*told, *draw(st.lists(st.sampled_from(told), max_size=4))]))
    return told, heard


TRACKED_OR_NOT = st.sampled_from(
    [
        request(),
        having({"github.planTriggeredAt": ago(minutes=61), "github.applyTriggeredAt": ago(minutes=61)}),
        with_run(with_run(request(), "plan", runId=RUN_ID), "destroy", runId=RUN_ID, status="requested"),
        {**request(), "applyRun": run(RUN_ID, "queued")},
    ]
)


@given(events=events_of_one_run(), kind=KINDS, document=TRACKED_OR_NOT)
def test_events_of_one_run_end_in_the_same_facts_in_whatever_order_and_number_they_come(events, kind, document):
    in_order, as_heard = events
    expected = parse_request(after(document, kind, in_order)).runs.get(kind)
    assert parse_request(after(document, kind, as_heard)).runs.get(kind) == expected
    assert expected is not None
    assert expected.run_id == RUN_ID


@given(events=events_of_one_run(), kind=KINDS)
def test_what_was_heard_once_changes_nothing_when_it_is_heard_again(events, kind):
    _, heard = events
    document = after(request(), kind, heard)
    assert after(document, kind, heard) is document


@given(document=documents(), fact=run_facts(999), kind=KINDS, branch=st.sampled_from(["main", "request/req_other"]))
def test_a_run_that_names_another_or_nobody_never_changes_a_request(document, fact, kind, branch):
    foreign = named(fact, branch=branch, title="Apply something")
    assert patch_workflow_run(document, kind, foreign) is document


@given(document=documents(), fact=run_facts(), kind=KINDS)
def test_a_run_that_the_index_gives_to_another_never_changes_a_request(document, fact, kind):
    assert patch_workflow_run(document, kind, named(fact), owner="req_other") is document


@given(document=documents(), fact=run_facts(999), kind=st.sampled_from([WorkflowKind.APPLY, WorkflowKind.DESTROY]))
def test_a_tracked_apply_or_destroy_is_never_replaced(document, fact, kind):
    tracked = parse_request(document).runs.get(kind)
    patched = patch_workflow_run(document, kind, named(fact))
    if tracked is not None and tracked.run_id is not None:
        assert patched is document


@given(document=documents(oddly=True), fact=run_facts(), kind=KINDS)
def test_one_run_fact_settles_at_once_and_keeps_what_it_does_not_know(document, fact, kind):
    patched = patch_workflow_run(document, kind, named(fact))
    assert patch_workflow_run(patched, kind, named(fact)) == patched
    assert set(document) <= set(patched)


@given(payload=JSON, document=documents(oddly=True), event=st.sampled_from(["workflow_run", "pull_request", "x"]))
def test_no_payload_breaks_anything(payload, document, event):
    for told in (payload, {"workflow_run": payload, "pull_request": payload, "review": payload}):
        decide(parse_event(event, told, workflow_files=FILES), parse_request(document), NOW)


@given(field=st.sampled_from(sorted(run_payload()["workflow_run"])), value=JSON, document=documents())
def test_a_field_of_another_type_breaks_nothing(field, value, document):
    odd = parse_event("workflow_run", run_payload(**{field: value}), workflow_files=FILES)
    decision = decide(odd, parse_request(document), NOW)
    apply_changes(document, decision.changes)


PULL_EVENTS = st.sampled_from(
    [
        pull_payload(updated_at=ago(minutes=40)),
        pull_payload(state="closed", updated_at=ago(minutes=30)),
        pull_payload(updated_at=ago(minutes=25)),
        merged_payload(),
        pull_payload(state="closed", merged=True, merged_at=ago(minutes=10), updated_at=ago(minutes=2)),
    ]
)


@settings(max_examples=50)
@given(payloads=st.lists(PULL_EVENTS, max_size=6))
def test_a_merge_once_heard_stays_whatever_comes_after_it(payloads):
    document: dict[str, Any] = with_pull(request())
    was_merged = False
    for payload in payloads:
        event = parse_event("pull_request", payload, workflow_files=FILES)
        document = apply_changes(document, decide(event, parse_request(document), NOW).changes)
        was_merged = was_merged or (event.pull is not None and event.pull.merged is True)
        pull = parse_request(document).pull
        assert pull is not None
        assert bool(pull.merged) == was_merged


VOICES = st.builds(
    lambda state, login, minutes: review_payload(state, login, submitted_at=ago(minutes=minutes)),
    st.sampled_from(["approved", "changes_requested", "commented"]),
    st.sampled_from(["ada", "bob"]),
    st.integers(1, 50),
)


@settings(max_examples=50)
@given(
    payloads=st.lists(VOICES, max_size=5, unique_by=lambda payload: payload["review"]["submitted_at"]), data=st.data()
)
def test_reviews_come_to_the_same_verdict_in_whatever_order_they_come(payloads, data):
    def verdict(order):
        document: dict[str, Any] = with_pull(request())
        for payload in order:
            event = parse_event("pull_request_review", payload, workflow_files=FILES)
            document = apply_changes(document, decide(event, parse_request(document), NOW).changes)
        return parse_request(document).approval

    assert verdict(payloads).reviews == verdict(data.draw(st.permutations(payloads))).reviews
    assert verdict(payloads).approved == verdict(data.draw(st.permutations(payloads))).approved


@given(status=STATUSES, fact=run_facts())
def test_the_guard_does_not_look_at_how_a_run_stands(status, fact):
    document = parse_request(with_run(request(), "apply", **run(fact.run_id or 0, status)))
    assert guard_run(document, WorkflowKind.APPLY, named(fact), owner=None).is_ours
