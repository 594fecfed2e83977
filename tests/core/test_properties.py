"""Promises that hold for every request, however odd, and for every order in which facts arrive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.builders import NOW, REQUEST_ID, request, run, with_pull, with_run
from tests.core.saying import REPO, THRESHOLDS, having, ok, repaired, runs_of
from tests.core.strategies import (
    JSON,
    MOMENTS,
    REVIEWS,
    TEXT,
    documents,
    github_facts,
    pull_facts,
    run_facts,
)
from tfpilot.core.diagnosis import STUCK_CODES, diagnose, stuck_since
from tfpilot.core.document import parse_document, parse_json, render_document
from tfpilot.core.facts import newest_run
from tfpilot.core.lifecycle import derive_status, explain, is_due, may_ask_again, needs_repair
from tfpilot.core.listing import summarise
from tfpilot.core.model import (
    Checked,
    DiagnosisContext,
    FindingCode,
    GitHubFacts,
    JobsFact,
    LifecycleStatus,
    PullFact,
    Review,
    RunFact,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.repair import next_version, plan_query, plan_repair
from tfpilot.core.request import parse_request
from tfpilot.errors import DocumentError

TIMES = st.integers(-200, 200).map(lambda minutes: NOW + timedelta(minutes=minutes)) | MOMENTS


def everything(document: Mapping[str, Any], facts: GitHubFacts) -> Mapping[str, Any]:
    """All that is ever computed of one request; answers the document after a repair."""
    read = parse_request(document)
    context = DiagnosisContext(
        jobs={WorkflowKind.APPLY: JobsFact(101, 1, started=True)},
        blocking_runs=dict.fromkeys(WorkflowKind, "run 9"),
        no_run_listed=frozenset(WorkflowKind),
        index_owners=dict.fromkeys(WorkflowKind, None),
        overwritten=("mergedSha",),
        pull_not_found=True,
    )
    assert explain(read, NOW).status in LifecycleStatus
    assert all(finding.evidence for finding in diagnose(read, NOW, THRESHOLDS, context))
    assert summarise(read, thresholds=THRESHOLDS).search == summarise(read, thresholds=THRESHOLDS).search.lower()
    needs_repair(read, NOW, THRESHOLDS)
    is_due(read, NOW, Checked(at=NOW))
    may_ask_again(read, NOW, Checked(at=NOW))
    plan_query(read, NOW)
    return next_version(document, plan_repair(read, facts, NOW, archived=document).changes, NOW)


# --- anything may be stored


@given(value=JSON, facts=github_facts())
def test_any_json_value_as_a_document_is_handled_or_refused_as_one(value, facts):
    body = render_document(value)
    try:
        document = parse_document(body, request_id=REQUEST_ID)
    except DocumentError:
        assert not (isinstance(value, dict) and value.get("id") == REQUEST_ID)
    else:
        everything(document, facts)


@given(document=documents(oddly=True), facts=github_facts())
def test_any_json_value_in_any_place_of_a_document_is_handled(document, facts):
    after = everything(parse_document(render_document(document), request_id=REQUEST_ID), facts)
    everything(parse_document(render_document(after), request_id=REQUEST_ID), facts)


@pytest.mark.parametrize("name", ["github", "planRun", "pr", "approval"])
def test_what_stands_in_the_place_of_an_object_stays_is_said_and_stops_nothing_else(name):
    facts = GitHubFacts(
        pull=ok(PullFact(number=7, open=False, merged=True, merge_commit_sha="abc")),
        reviews=ok((Review("ines-r", "APPROVED", NOW),)),
        runs={WorkflowKind.PLAN: ok(WorkflowRun(RunFact(run_id=101, status="queued"), REPO))},
    )
    document = {"id": REQUEST_ID, "prNumber": 7, name: "precious"}
    plan = plan_repair(parse_request(document), facts, NOW)
    assert any(obstacle.startswith(f"{name} is no object") for obstacle in plan.obstacles)
    after = next_version(document, plan.changes, NOW)
    assert (after[name], after["mergedSha"]) == ("precious", "abc")


def test_what_is_more_than_a_plain_value_is_never_written_over_by_one():
    document = {
        "id": REQUEST_ID,
        "prNumber": 7,
        "mergedSha": {"sha": "old", "by": "x"},
        "approval": {"approvers": ["bob", {"login": "amy"}]},
    }
    facts = GitHubFacts(
        pull=ok(PullFact(number=7, open=False, merged=True, merge_commit_sha="abc")),
        reviews=ok((Review("ines-r", "APPROVED", NOW),)),
    )
    plan = plan_repair(parse_request(document), facts, NOW)
    after = next_version(document, plan.changes, NOW)
    assert after["mergedSha"] == document["mergedSha"]
    assert plan.obstacles == ("mergedSha holds more than a plain value",)
    assert after["approval"]["approvers"] == ["bob", "ines-r", {"login": "amy"}]


@given(body=st.binary(max_size=60) | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(body=b'{"id": "req_dev_s3_abc123"')
@example(body=b"[" * 50_000)
def test_any_bytes_are_a_document_or_refused_as_one(body):
    with pytest.raises(DocumentError):
        parse_document(body, request_id=REQUEST_ID)
    for what in (body, b'{"id": "' + body + b'"}', b'{"id": "req_dev_s3_abc123", "x": ' + body + b"}"):
        try:
            value = parse_json(what, what="It")
        except DocumentError:
            continue
        assert parse_json(render_document(value), what="It") == value


# --- nothing is lost

PARENTS = (
    "github",
    "github.workflows",
    "github.workflows.plan",
    "github.workflows.destroy",
    "github.pr",
    "github.unresolved",
    "planRun",
    "destroyRun",
    "pr",
    "pullRequest",
    "approval",
    "approval.reviews",
    "approval.reviews.ada",
    "cleanupPr",
    "config",
    "config.tags",
)


@given(document=documents(), facts=github_facts(), unknown=st.dictionaries(st.sampled_from(PARENTS), JSON, min_size=1))
def test_fields_that_nobody_here_knows_survive_at_any_depth(document, facts, unknown):
    injected = {f"{parent}.x-unknown": value for parent, value in unknown.items()} | {"x-unknown": [{"y": None}]}
    after = everything(having(injected, document), facts)
    stored = parse_document(render_document(after), request_id=REQUEST_ID)
    for path, value in injected.items():
        assert _at(stored, path) == value


def _at(document: Mapping[str, Any], path: str) -> object:
    for name in path.split("."):
        document = document[name]
    return document


@given(document=documents(), facts=github_facts())
def test_a_repair_changes_what_its_plan_names_and_nothing_else(document, facts):
    plan = plan_repair(parse_request(document), facts, NOW)
    named = {change.path for change in plan.changes} | {("version",), ("updatedAt",)}
    after = next_version(document, plan.changes, NOW)
    before, now = dict(_leaves(document)), dict(_leaves(after))
    for path in before.keys() | now.keys():
        is_named = any(path[: len(change)] == change for change in named)
        assert is_named or before.get(path) == now.get(path)


def _leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every value that stands somewhere, with its path; an empty object says nothing."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    else:
        yield path, value


# --- a second repair changes nothing


@settings(max_examples=200)
@given(document=documents(), facts=github_facts())
def test_a_second_repair_with_the_same_answers_changes_nothing(document, facts):
    once = next_version(document, plan_repair(parse_request(document), facts, NOW).changes, NOW)
    again = plan_repair(parse_request(once), facts, NOW + timedelta(minutes=7))
    assert [(change.dotted, change.before, change.after) for change in again.changes] == []


# --- facts never regress


@given(told=st.lists(run_facts(run_id=101), min_size=2, max_size=4))
def test_what_is_known_of_a_run_is_the_same_in_whatever_order_it_was_heard(told):
    outcomes = []
    for order in permutations(told):
        document = with_run(request(), "apply", runId=101)
        for fact in order:
            document = repaired(document, runs_of(apply=ok(WorkflowRun(fact, REPO))))
        outcomes.append(parse_request(document).stored_runs)
    assert all(outcome == outcomes[0] for outcome in outcomes)


@given(told=st.lists(run_facts(run_id=101), min_size=1, max_size=6))
def test_the_attempt_and_the_end_of_an_attempt_are_never_taken_back(told):
    known = None
    for fact in told:
        newer = newest_run(known, fact)
        if known is not None:
            assert newer.attempt >= known.attempt
            assert newer.attempt > known.attempt or known.conclusion is None or newer.conclusion is not None
        known = newer
    assert known.attempt == max(fact.attempt for fact in told)


@given(told=st.lists(pull_facts(number=7), min_size=1, max_size=5))
def test_once_merged_a_pull_request_stays_merged(told):
    document, merged = with_pull(request(), 7), False
    for fact in told:
        document = repaired(document, GitHubFacts(pull=ok(fact)))
        merged = merged or fact.merged
        assert bool(parse_request(document).pull.merged) is merged
        assert ("mergedSha" in document) is merged


@given(told=st.lists(REVIEWS, min_size=2, max_size=3))
def test_the_voices_of_reviewers_are_the_same_in_whatever_order_they_were_heard(told):
    voices = set()
    for order in permutations(told):
        document = with_pull(request(), 7)
        for reviews in order:
            document = repaired(document, GitHubFacts(reviews=ok(reviews)))
        stored = parse_request(document).approval
        voices.add((stored.approved, frozenset((login.casefold(), r.state) for login, r in stored.reviews.items())))
    assert len(voices) == 1


@given(document=documents(), fact=run_facts(), kind=st.sampled_from(["plan", "apply", "destroy"]))
def test_after_github_told_of_the_tracked_run_both_places_agree(document, fact, kind):
    tracked = with_run(document, kind, **run(fact.run_id, "queued"))
    after = repaired(tracked, runs_of(**{kind: ok(WorkflowRun(fact, REPO))}))
    stored = parse_request(after).stored_runs
    if parse_request(tracked).runs.get(WorkflowKind(kind)):
        assert stored[f"github.workflows.{kind}"] == stored[f"{kind}Run"]


# --- a row is its request


@given(document=documents(oddly=True), now=TIMES)
def test_a_row_has_the_status_of_its_request_at_any_time(document, now):
    read = parse_request(document)
    row = summarise(read, thresholds=THRESHOLDS)
    assert row.status_at(now) is derive_status(read, now)
    drift = any(finding.code is FindingCode.STATUS_DRIFT for finding in diagnose(read, now, THRESHOLDS))
    assert row.has_drift_at(now) is drift


@given(document=documents(oddly=True), now=TIMES)
def test_a_row_is_stuck_exactly_while_a_finding_says_so(document, now):
    read = parse_request(document)
    found = [finding for finding in diagnose(read, now, THRESHOLDS) if finding.code in STUCK_CODES]
    assert summarise(read, thresholds=THRESHOLDS).is_stuck_at(now) is bool(found)
    since = stuck_since(read, THRESHOLDS)
    assert (since is not None and now > since) is bool(found)
