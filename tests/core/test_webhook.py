"""What webhooks change in a request, and why, or why nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.core.saying import before, having
from tests.fakes import InMemory
from tests.webhook_payloads import (
    SECRET,
    cleanup_payload,
    delivery,
    merged_payload,
    pull_payload,
    review_payload,
    run_payload,
    sign,
)
from tfpilot.core.changes import pull_changes
from tfpilot.core.delivery import Delivery, check_event, check_guid, check_signature, check_size, parse_payload
from tfpilot.core.document import apply_changes
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import LifecycleStatus, PullFact, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.core.webhook import Action, Decision, decide
from tfpilot.core.webhook_event import kind_of_run, parse_event
from tfpilot.errors import ConfigError, MalformedDeliveryError, OversizedError, SignatureError

FILES = InMemory().rules.workflow_files
OTHER = "req_dev_s3_other"
EXAMPLES = sorted((Path(__file__).parents[1] / "data" / "webhooks").glob("*.json"))


def decided(event: str, payload: Any, document: dict[str, Any] | None = None) -> Decision:
    seen = parse_event(event, payload, workflow_files=FILES)
    return decide(seen, parse_request(document) if document is not None else None, NOW)


def after(event: str, payload: Any, document: dict[str, Any]) -> dict[str, Any]:
    return apply_changes(document, decided(event, payload, document).changes)


def ignored(event: str, payload: Any, document: dict[str, Any] | None = None) -> str:
    decision = decided(event, payload, document)
    assert (decision.action, decision.changes) == (Action.IGNORE, ())
    return decision.reason


# --- who may speak


def test_a_delivery_that_any_of_the_secrets_signed_is_believed():
    for secret in ("the-old-secret-16ch", SECRET):
        check_signature(delivery("ping", {}, secret=secret), (SECRET, "the-old-secret-16ch"))


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        "sha256=",
        "sha256=" + "0" * 64,
        sign(b"{}")[7:],
        "sha1=" + sign(b"{}")[7:],
        sign(b"{} "),
        sign(b"{}", secret="another-secret-16-ch"),
        sign(b"{}").upper(),
        "sha256=é",
        "sha256=\ud800",
    ],
)
def test_a_forged_or_unsigned_delivery_is_refused(signature: str | None):
    with pytest.raises(SignatureError):
        check_signature(Delivery("guid-1", "ping", signature, b"{}"), (SECRET,))


def test_without_a_secret_no_delivery_is_believed():
    with pytest.raises(ConfigError) as caught:
        check_signature(delivery("ping", {}), ())
    assert "GITHUB_WEBHOOK_SECRET" in caught.value.hint


@pytest.mark.parametrize("guid", [None, "", "../../requests/x", "a b", "-a", "x" * 129, "a/b", "a\n"])
def test_a_delivery_without_an_id_that_can_be_one_is_refused(guid: str | None):
    with pytest.raises(MalformedDeliveryError):
        check_guid(Delivery(guid, "ping", "", b""))


@pytest.mark.parametrize("event", [None, "", "Ping", "a b", "x" * 65])
def test_a_delivery_without_the_name_of_an_event_is_refused(event: str | None):
    with pytest.raises(MalformedDeliveryError):
        check_event(Delivery("guid-1", event, "", b""))


def test_five_megabytes_are_taken_and_one_byte_more_is_not():
    check_size(5 * 1024 * 1024)
    with pytest.raises(OversizedError):
        check_size(5 * 1024 * 1024 + 1)


def test_a_form_is_refused_with_the_setting_that_sends_json():
    with pytest.raises(MalformedDeliveryError) as caught:
        parse_payload(b"payload=%7B%7D")
    assert "application/json" in caught.value.hint
    assert parse_payload(b"[1]") == {}


# --- payloads


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_githubs_own_examples_old_and_new_are_read_and_change_no_request_of_ours(example: Path):
    payload = json.loads(example.read_bytes())
    event = example.name.partition(".")[0]
    assert ignored(event, payload, with_pull(request()))
    seen = parse_event(event, payload, workflow_files=FILES)
    assert (seen.run is None) == (event != "workflow_run")
    about = payload.get("workflow_run", payload)["repository"]
    assert str(seen.repo) == about["full_name"]


def test_there_are_examples():
    assert len(EXAMPLES) == 6


def test_an_example_that_says_completed_in_its_action_is_queued_by_its_status():
    example = next(path for path in EXAMPLES if path.name == "workflow_run.completed.0.json")
    seen = parse_event("workflow_run", json.loads(example.read_bytes()), workflow_files=FILES)
    assert seen.run is not None
    assert (seen.run.fact.status, seen.run.fact.conclusion) == ("queued", None)
    assert seen.run.path == ".github/workflows/syntax.yml"


@pytest.mark.parametrize("event", ["workflow_run", "pull_request", "pull_request_review", "ping", "push", "x"])
@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "x",
        7,
        {},
        {"workflow_run": 3, "pull_request": [], "review": "x", "repository": 1, "sender": []},
        {"workflow_run": {"id": "7", "path": 3, "name": [], "head_branch": {}, "repository": "x"}},
        {"pull_request": {"number": "7", "head": None, "base": 4, "merged": "yes", "state": 1}, "number": -1},
    ],
)
def test_a_payload_of_any_other_shape_changes_nothing_and_breaks_nothing(event: str, payload: Any):
    assert ignored(event, payload, with_pull(request()))


def test_fields_of_another_type_read_as_absent_and_the_others_count():
    odd = run_payload(run_attempt="2", head_sha=7, updated_at=1700000000, pull_requests={"a": 1}, actor=3)
    document = with_run(request(), "plan", **run(101, "queued"))
    stored = after("workflow_run", odd, document)["github"]["workflows"]["plan"]
    assert (stored["status"], stored["conclusion"], stored["attempt"]) == ("completed", "success", 1)


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        (".github/workflows/plan.yml", "Apply", WorkflowKind.PLAN),
        (".github/workflows/drift-plan.yml@refs/heads/main", None, WorkflowKind.DRIFT_PLAN),
        (".github/workflows/lint.yml", "Terraform Plan", None),
        ("elsewhere/.github/workflows/plan.yml", "Terraform Plan", None),
        (None, "Terraform Plan", WorkflowKind.PLAN),
        (None, "Nightly drift-plan", WorkflowKind.DRIFT_PLAN),
        (None, "Cleanup after destroy", WorkflowKind.DESTROY),
        (None, None, None),
    ],
)
def test_the_kind_is_told_by_the_workflow_file_and_only_without_one_by_its_name(path, name, kind):
    assert kind_of_run(path, name, FILES) is kind


def test_a_run_or_pull_request_of_a_fork_names_nobody_whatever_its_branch_is_called():
    fork = {"full_name": "stranger/infra"}
    assert ignored("workflow_run", run_payload(head_repository=fork), request())
    head = {"ref": f"request/{REQUEST_ID}", "sha": "bad", "repo": fork}
    assert ignored("pull_request", pull_payload(head=head), request())
    gone = {"ref": f"cleanup/{REQUEST_ID}", "sha": "bad", "repo": None}
    assert ignored("pull_request", pull_payload(9, head=gone), with_pull(request()))


# --- runs


def test_what_is_applied_is_said_with_its_reason_and_its_fields():
    decision = decided("workflow_run", run_payload(), with_run(request(), "plan", **run(101, "queued")))
    assert (decision.kind, decision.request_id, decision.action) == (WorkflowKind.PLAN, REQUEST_ID, Action.APPLY)
    assert decision.reason == f"run 101 is the plan run of {REQUEST_ID}"
    assert "github.workflows.plan.conclusion" in [change.dotted for change in decision.changes]


def test_a_run_of_a_foreign_workflow_is_ignored_by_its_file():
    reason = ignored("workflow_run", run_payload(path=".github/workflows/lint.yml"), request())
    assert reason == ".github/workflows/lint.yml is none of our workflows"


def test_a_status_or_conclusion_that_nobody_knows_is_kept_as_it_is():
    document = with_run(request(), "plan", **run(101, "queued"))
    told = run_payload(status="meditating", conclusion="levitated")
    stored = after("workflow_run", told, document)["github"]["workflows"]["plan"]
    assert (stored["status"], stored["conclusion"]) == ("meditating", "levitated")


def test_the_action_of_a_payload_counts_for_nothing():
    document = with_run(request(), "plan", **run(101, "queued"))
    queued = {**run_payload(status="in_progress", conclusion=None), "action": "completed"}
    assert derive_status(parse_request(after("workflow_run", queued, document)), NOW) is LifecycleStatus.PLANNING


def test_without_a_request_the_id_that_is_named_is_told_and_nothing_decided():
    decision = decided("workflow_run", run_payload())
    assert (decision.request_id, decision.action) == (REQUEST_ID, Action.IGNORE)


def test_a_commit_titled_apply_does_not_turn_a_plan_into_an_apply():
    """The kind was taken from the title, and a plan run was stored as the apply of the request."""
    told = run_payload(display_title=f"Apply {REQUEST_ID} to dev, then destroy the old one")
    changed = after("workflow_run", told, request())
    assert set(changed["github"]["workflows"]) == {"plan"}
    nameless = run_payload(path=None, name="Terraform plan", display_title=f"Apply {REQUEST_ID}")
    assert set(after("workflow_run", nameless, request())["github"]["workflows"]) == {"plan"}


@pytest.mark.parametrize("kind", ["cleanup", "drift_plan"])
def test_the_second_cleanup_or_drift_run_is_seen_and_so_is_one_that_was_started_again(kind: str):
    """The first run pinned the kind: every later one was ignored, and so was a higher attempt of the same."""
    first = run_payload(50, kind, created_at=ago(hours=2), conclusion="failure")
    document = after("workflow_run", first, request())
    again = run_payload(50, kind, created_at=ago(hours=2), run_attempt=2, status="in_progress", conclusion=None)
    document = after("workflow_run", again, document)
    assert document["github"]["workflows"][kind]["attempt"] == 2
    assert document["github"]["workflows"][kind]["conclusion"] is None
    document = after("workflow_run", run_payload(51, kind), document)
    assert (document["github"]["workflows"][kind]["runId"]) == 51


def test_right_after_a_dispatch_the_previous_run_of_the_branch_is_not_taken_for_the_new_one():
    """The newest run of the branch was taken: it was the one before."""
    document = having({"github.planTriggeredAt": ago(minutes=1)})
    reason = ignored("workflow_run", run_payload(100, created_at=ago(minutes=30)), document)
    assert "older than the dispatch" in reason
    assert decided("workflow_run", run_payload(101, created_at=ago(minutes=1)), document).applies


# --- pull requests


def test_a_merge_is_stored_with_its_commit_wherever_readers_look():
    changed = after("pull_request", merged_payload(), with_pull(request()))
    assert (changed["mergedSha"], changed["pr"]["merged"], changed["github"]["pr"]["open"]) == ("5ea1", True, False)
    assert changed["github"]["pr"]["updatedAt"] == ago(minutes=10)


def test_a_trial_merge_of_an_open_pull_request_is_not_taken_for_its_merge():
    changed = after("pull_request", pull_payload(), with_pull(request()))
    assert "mergedSha" not in changed
    assert "mergeCommitSha" not in changed["github"]["pr"]


def test_a_pull_request_that_the_request_does_not_know_yet_is_found_by_its_branch():
    changed = after("pull_request", pull_payload(12), request())
    assert (changed["prNumber"], changed["github"]["pr"]["number"]) == (12, 12)
    stranger = pull_payload(12, head={"ref": "main-fix", "sha": "c0de", "repo": {"full_name": "acme/infra"}})
    assert "not from a branch" in ignored("pull_request", stranger, request())


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        (pull_payload(12), {}),
        (pull_payload(6), {"previousPrs": [6]}),
        (merged_payload(6), {"previousPrs": [6]}),
        (review_payload(number=6), {"previousPrs": [6]}),
    ],
)
def test_a_foreign_or_replaced_pull_request_changes_nothing(payload: dict[str, Any], fields: dict[str, Any]):
    event = "pull_request_review" if "review" in payload else "pull_request"
    ignored(event, payload, {**with_pull(request()), **fields})


def test_a_replaced_pull_request_changes_nothing_even_where_the_current_one_is_not_known():
    document = {**request(), "previousPrs": [7]}
    assert "replaced" in ignored("pull_request", merged_payload(7), document)


def test_a_pull_request_of_another_repository_with_the_same_number_changes_nothing():
    elsewhere = merged_payload(base={"repo": {"full_name": "acme/other"}})
    assert "acme/other" in ignored("pull_request", elsewhere, with_pull(request()))
    same = merged_payload(base={"repo": {"full_name": "Acme/INFRA"}})
    assert decided("pull_request", same, with_pull(request())).applies


def test_an_event_that_says_nothing_of_a_merge_or_is_older_never_unmerges():
    """An event without `merged`, or one that came late, made a merged request unmerged."""
    merged = after("pull_request", merged_payload(), with_pull(request()))
    silent = pull_payload(updated_at=ago(minutes=1))
    del silent["pull_request"]["merged"], silent["pull_request"]["merged_at"]
    late = pull_payload(updated_at=ago(minutes=30))
    for told in (silent, late):
        changed = after("pull_request", told, merged)
        assert derive_status(parse_request(changed), NOW) is LifecycleStatus.MERGED
        assert (changed["github"]["pr"]["merged"], changed["pr"]["open"]) == (True, False)
    assert ignored("pull_request", late, merged)


def test_an_event_without_merged_takes_no_answer_away():
    silent = pull_payload(state="closed")
    del silent["pull_request"]["merged"], silent["pull_request"]["merged_at"]
    changed = after("pull_request", silent, with_pull(request()))
    assert (changed["github"]["pr"]["open"], changed["github"]["pr"]["merged"]) == (False, False)


def test_closed_and_opened_again_ends_open_in_whatever_order_it_is_heard():
    closed, reopened = pull_payload(state="closed", updated_at=ago(minutes=9)), pull_payload(updated_at=ago(minutes=8))
    first = pull_payload(updated_at=ago(minutes=30))
    for order in ([first, closed, reopened], [first, reopened, closed], [first, closed, reopened, closed]):
        document = with_pull(request())
        for payload in order:
            document = after("pull_request", payload, document)
        assert document["github"]["pr"]["open"] is True


def test_an_old_event_with_a_merge_that_was_missed_is_still_news():
    known = having({"github.pr.updatedAt": ago(minutes=1)}, with_pull(request()))
    assert after("pull_request", merged_payload(), known)["mergedSha"] == "5ea1"


def test_a_repair_that_asked_before_the_event_came_does_not_take_it_back():
    document = after("pull_request", pull_payload(state="closed", updated_at=ago(minutes=1)), with_pull(request()))
    asked_earlier = PullFact(number=7, open=True, merged=False, updated_at=before(minutes=2))
    assert tuple(pull_changes(parse_request(document), asked_earlier)) == ()
    asked_later = PullFact(number=7, open=True, merged=False, updated_at=before(minutes=0))
    changes = {change.dotted: change.after for change in pull_changes(parse_request(document), asked_later)}
    assert (changes["github.pr.open"], changes["github.pr.updatedAt"]) == (True, ago())


def test_the_same_pull_request_event_again_changes_nothing():
    document = after("pull_request", merged_payload(), with_pull(request()))
    assert "nothing new" in ignored("pull_request", merged_payload(), document)


def test_the_cleanup_pull_request_does_not_become_the_requests_own():
    """Its title holds the request's id, and it overwrote the request's own pull request."""
    document = with_pull(request())
    closed = cleanup_payload(state="closed", merged=True, merged_at=ago(minutes=3), updated_at=ago(minutes=3))
    changed = after("pull_request", closed, document)
    assert (changed["cleanupPr"]["number"], changed["cleanupPr"]["merged"]) == (9, True)
    assert (changed["github"]["pr"], changed["prNumber"]) == (document["github"]["pr"], 7)
    assert "mergedSha" not in changed
    assert [step["step"] for step in changed["timeline"]] == ["Cleanup PR opened", "Cleanup PR merged"]
    assert "pr" not in after("pull_request", cleanup_payload(), request())


def test_events_of_cleanup_pull_requests_end_the_same_in_whatever_order_they_come():
    opened = cleanup_payload(9)
    closed = cleanup_payload(9, state="closed", updated_at=ago(minutes=10))
    newer = cleanup_payload(12, updated_at=ago(minutes=5))
    for order in ([opened, closed, newer], [newer, closed, opened], [closed, newer, opened]):
        document = with_pull(request())
        for payload in order:
            document = after("pull_request", payload, document)
        assert (document["cleanupPr"]["number"], document["cleanupPr"]["status"]) == (12, "open")
    document = after("pull_request", opened, after("pull_request", closed, request()))
    assert document["cleanupPr"]["status"] == "closed"


# --- reviews


def test_a_review_that_comes_in_lower_case_counts():
    """Webhooks write the states in lower case, the API in upper case; only one of them was understood."""
    changed = after("pull_request_review", review_payload("approved"), with_pull(request()))
    assert (changed["approval"]["approved"], changed["approval"]["approvers"]) == (True, ["tom-r"])
    assert changed["approval"]["reviews"]["tom-r"]["state"] == "APPROVED"


def test_one_reviewers_approval_does_not_hide_anothers_objection():
    """No voice was kept per reviewer: whoever spoke last decided."""
    document = with_pull(request())
    document = after("pull_request_review", review_payload("changes_requested", "ada"), document)
    document = after("pull_request_review", review_payload("approved", "tom-r"), document)
    assert not parse_request(document).approval.approved
    document = after("pull_request_review", review_payload("dismissed", "ada"), document)
    assert document["approval"]["approved"] is True


def test_a_review_that_comes_late_does_not_undo_a_later_one_of_the_same_person():
    later = review_payload("changes_requested", submitted_at=ago(minutes=1))
    document = after("pull_request_review", later, with_pull(request()))
    changed = after("pull_request_review", review_payload("approved", "Tom-R", submitted_at=ago(minutes=2)), document)
    assert not parse_request(changed).approval.approved
    assert changed["approval"]["reviews"]["tom-r"]["state"] == "CHANGES_REQUESTED"


@pytest.mark.parametrize(
    "payload",
    [
        review_payload("commented"),
        review_payload("pending"),
        review_payload(""),
        review_payload("approved", login="Maya-K"),
        review_payload("approved", number=8),
        {**cleanup_payload(), "review": {"state": "approved", "user": {"login": "tom-r"}}},
    ],
)
def test_comments_the_authors_own_voice_and_other_pull_requests_do_not_count(payload: dict[str, Any]):
    ignored("pull_request_review", payload, with_pull(request()))


def test_who_approves_the_cleanup_does_not_approve_a_request_whose_own_pull_request_is_not_known():
    approves = {**cleanup_payload(), "review": {"state": "approved", "user": {"login": "tom-r"}}}
    assert "cleanup" in ignored("pull_request_review", approves, request())


def test_an_objection_after_the_merge_does_not_withdraw_the_approval():
    document = having({"approval": {"approved": True, "approvers": ["tom-r"]}}, with_pull(request(), merged=True))
    changed = after("pull_request_review", review_payload("changes_requested"), document)
    assert changed["approval"]["approved"] is True


# --- whose it is


@pytest.mark.parametrize(
    "branch", [f"request/{REQUEST_ID}", f"refs/heads/update/{REQUEST_ID}/rev-3", f"cleanup/{REQUEST_ID}"]
)
def test_runs_of_every_branch_of_a_request_are_found_not_only_of_the_first(branch: str):
    """Only `request/` branches were understood."""
    seen = parse_event("workflow_run", run_payload(head_branch=branch, display_title=None), workflow_files=FILES)
    assert seen.named == (REQUEST_ID,)


def test_the_branch_counts_before_the_title_and_the_title_before_the_name():
    told = run_payload(head_branch=f"request/{REQUEST_ID}", display_title=OTHER, name="plan req_third")
    assert parse_event("workflow_run", told, workflow_files=FILES).named == (REQUEST_ID, OTHER, "req_third")
