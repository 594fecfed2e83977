"""Which workflow runs may change a request, and what one run fact changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import REQUEST_ID, ago, request, run, with_pull, with_run
from tests.core.saying import before, having
from tfpilot.core.document import parse_time
from tfpilot.core.model import RepoRef, RunFact, WorkflowKind, WorkflowRun
from tfpilot.core.request import parse_request
from tfpilot.core.run_guard import Guarded, can_have_started, guard_run, patch_workflow_run

PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
CLEANUP, DRIFT = WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN
OTHER = "req_dev_s3_other"


def told(run_id: int | None = 101, *, created: str | None = ago(minutes=10), **fields: Any) -> WorkflowRun:
    """A run that names the request in its title, on the main branch."""
    fact = RunFact(
        run_id=run_id,
        attempt=1,
        status=fields.pop("status", "completed"),
        conclusion=fields.pop("conclusion", "success"),
        created_at=parse_time(created),
        updated_at=before(minutes=5),
    )
    repo = fields.pop("repo", RepoRef("acme", "infra"))
    return WorkflowRun(fact, repo, **{"title": f"for {REQUEST_ID}", "branch": "main", **fields})


def guarded(document: dict[str, Any], kind: WorkflowKind, seen: WorkflowRun, owner: str | None = None) -> Guarded:
    return guard_run(parse_request(document), kind, seen, owner=owner).guarded


def test_the_run_that_the_request_tracks_changes_it_whatever_it_is_called_and_wherever_it_ran():
    document = with_run(request(), "destroy", **run(5, "queued"))
    seen = told(5, title=None, branch=None, repo=RepoRef("acme", "renamed"))
    assert guarded(document, DESTROY, seen) is Guarded.TRACKED


def test_a_run_with_another_id_than_the_tracked_one_changes_nothing():
    document = with_run(request(), "apply", **run(5, "queued"))
    verdict = guard_run(parse_request(document), APPLY, told(6), owner=None)
    assert (verdict.guarded, verdict.reason) == (Guarded.FOREIGN, "the request tracks apply run 5")


def test_a_run_of_the_request_of_which_it_knows_none_yet_has_to_be_claimed():
    verdict = guard_run(parse_request(request()), APPLY, told(6), owner=None)
    assert (verdict.guarded, verdict.needs_claim) == (Guarded.NEW, True)


def test_a_run_that_the_index_gives_to_another_request_is_left_alone_whatever_it_is_called():
    assert guarded(request(), APPLY, told(), owner=OTHER) is Guarded.FOREIGN
    tracked = with_run(request(), "apply", **run(101, "queued"))
    assert guarded(tracked, APPLY, told(), owner=OTHER) is Guarded.FOREIGN


def test_a_run_that_the_index_gives_to_the_request_needs_no_name():
    assert guarded(request(), APPLY, told(title="Apply", branch="main"), owner=REQUEST_ID) is Guarded.NEW


@pytest.mark.parametrize(
    "where",
    [
        {"title": "Apply"},
        {"title": f"for {REQUEST_ID}x"},
        {"branch": f"request/{OTHER}"},
        {"branch": f"cleanup/{OTHER}"},
        {"repo": RepoRef("acme", "other")},
        {"repo": RepoRef("", "")},
    ],
)
def test_a_run_that_names_another_request_or_nobody_or_is_elsewhere_is_not_taken(where: dict[str, Any]):
    assert guarded(request(), APPLY, told(**where)) is Guarded.FOREIGN


def test_repositories_are_the_same_in_whatever_case():
    assert guarded(request(), APPLY, told(repo=RepoRef("ACME", "Infra"))) is Guarded.NEW


def test_a_request_that_names_no_repository_takes_no_run():
    assert guarded(request(targetRepo=None), APPLY, told()) is Guarded.FOREIGN


def test_a_run_without_an_id_is_nobodys():
    assert guarded(request(), APPLY, told(None)) is Guarded.FOREIGN


@pytest.mark.parametrize(("seconds", "expected"), [(0, Guarded.NEW), (5, Guarded.NEW), (5.001, Guarded.FOREIGN)])
def test_after_a_dispatch_only_a_run_that_is_not_older_counts_with_five_seconds_for_the_clocks(seconds, expected):
    document = having({"github.applyTriggeredAt": ago(minutes=10)})
    assert guarded(document, APPLY, told(created=ago(minutes=10, seconds=seconds))) is expected


def test_after_a_dispatch_a_run_that_does_not_say_when_it_was_created_is_not_taken():
    document = having({"github.applyTriggeredAt": ago(minutes=10)})
    assert guarded(document, APPLY, told(created=None)) is Guarded.FOREIGN
    assert guarded(request(), APPLY, told(created=None)) is Guarded.NEW


def test_after_a_retry_the_failed_run_is_not_taken_again_even_where_the_index_gives_it_to_the_request():
    failed = with_run(request(), "destroy", **run(5, conclusion="failure", createdAt=ago(hours=1)))
    retried = having({"github.destroyTriggeredAt": ago(minutes=2)}, failed)
    assert guarded(retried, DESTROY, told(5, created=ago(hours=1)), owner=REQUEST_ID) is Guarded.FOREIGN
    assert guarded(retried, DESTROY, told(6, created=ago(minutes=2)), owner=REQUEST_ID) is Guarded.NEW


@pytest.mark.parametrize("kind", [CLEANUP, DRIFT])
def test_a_newer_cleanup_or_drift_run_takes_the_place_of_the_known_one_and_an_older_does_not(kind: WorkflowKind):
    document = with_run(request(), kind.value, **run(50, createdAt=ago(minutes=30)))
    assert guarded(document, kind, told(51)) is Guarded.REPLACES
    assert guarded(document, kind, told(49, created=ago(hours=2))) is Guarded.FOREIGN


@pytest.mark.parametrize("kind", [APPLY, DESTROY])
def test_a_newer_apply_or_destroy_run_never_takes_the_place_of_the_known_one(kind: WorkflowKind):
    document = with_run(request(), kind.value, **run(50, createdAt=ago(minutes=30)))
    assert guarded(document, kind, told(51, branch=f"request/{REQUEST_ID}")) is Guarded.FOREIGN


def test_a_newer_plan_takes_the_place_only_where_it_ran_on_the_requests_own_branch():
    document = with_run(request(), "plan", **run(50, createdAt=ago(minutes=30)))
    for branch in (f"request/{REQUEST_ID}", f"refs/heads/request/{REQUEST_ID}"):
        assert guarded(document, PLAN, told(51, branch=branch)) is Guarded.REPLACES
    for branch in ("main", None, f"update/{REQUEST_ID}/rev-2"):
        assert guarded(document, PLAN, told(51, branch=branch)) is Guarded.FOREIGN


def test_the_plan_of_the_cleanup_pull_request_is_not_the_requests_plan():
    assert guarded(request(), PLAN, told(branch=f"cleanup/{REQUEST_ID}")) is Guarded.FOREIGN


def test_a_plan_from_before_the_current_revision_is_not_taken():
    document = {**with_pull(request(), createdAt=ago(minutes=5)), "previousPrs": [3]}
    assert guarded(document, PLAN, told(branch=f"request/{REQUEST_ID}")) is Guarded.FOREIGN


def test_of_two_runs_that_were_created_in_the_same_second_the_higher_id_is_newer():
    document = with_run(request(), "cleanup", **run(50, createdAt=ago(minutes=10)))
    assert guarded(document, CLEANUP, told(51)) is Guarded.REPLACES
    assert guarded(document, CLEANUP, told(49)) is Guarded.FOREIGN


def test_a_run_fact_is_written_to_both_places_and_everything_else_stays():
    document = with_run(request(notes={"kept": [1]}), "apply", **run(101, "queued", message="by hand"))
    patched = patch_workflow_run(document, APPLY, told())
    assert patched["github"]["workflows"]["apply"]["conclusion"] == patched["applyRun"]["conclusion"] == "success"
    assert (patched["github"]["workflows"]["apply"]["message"], patched["notes"]) == ("by hand", {"kept": [1]})
    assert document["github"]["workflows"]["apply"]["status"] == "queued"


def test_a_document_that_nothing_changes_is_given_back_as_it_is():
    document = patch_workflow_run(with_run(request(), "apply", **run(101, "queued")), APPLY, told())
    for seen in (told(), told(status="in_progress", conclusion=None), told(7)):
        assert patch_workflow_run(document, APPLY, seen) is document


def test_a_run_that_was_started_again_replaces_its_own_conclusion():
    document = with_run(request(), "apply", **run(101, conclusion="failure"))
    seen = told(status="in_progress", conclusion=None)
    again = WorkflowRun(RunFact(run_id=101, attempt=2, status="in_progress"), seen.repo)
    patched = patch_workflow_run(document, APPLY, again)
    stored = patched["github"]["workflows"]["apply"]
    assert (stored["attempt"], stored["status"], stored["conclusion"]) == (2, "in_progress", None)


def test_the_run_that_replaces_another_leaves_nothing_of_it():
    earlier = run(50, conclusion="failure", createdAt=ago(minutes=30), headSha="01d", completedAt=None)
    patched = patch_workflow_run(with_run(request(), "cleanup", **earlier), CLEANUP, told(51))
    stored = patched["github"]["workflows"]["cleanup"]
    assert (stored["runId"], stored["conclusion"], stored["headSha"]) == (51, "success", None)


def test_a_field_that_is_in_the_way_is_left_as_it_is_and_the_other_place_is_written():
    document = {**with_run(request(), "apply", **run(101, "queued")), "applyRun": "by hand"}
    patched = patch_workflow_run(document, APPLY, told())
    assert (patched["applyRun"], patched["github"]["workflows"]["apply"]["conclusion"]) == ("by hand", "success")


@pytest.mark.parametrize(
    ("dispatched", "created", "expected"),
    [
        (ago(minutes=10), ago(minutes=10, seconds=5), True),
        (ago(minutes=10), ago(minutes=10, seconds=6), False),
        (ago(hours=25), ago(hours=1), True),
        (ago(hours=25, seconds=1), ago(hours=1), False),
        (None, ago(hours=1), True),
        (ago(hours=1), None, True),
    ],
)
def test_a_dispatch_can_have_started_what_began_after_it_within_a_day(dispatched, created, expected):
    assert can_have_started(parse_time(dispatched), told(created=created)) is expected
