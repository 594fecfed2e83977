"""What a repair does beside the document: the run index, the cleanup after a destroy, and what others overwrote."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, stuck_planning, with_pull, with_run
from tests.core.saying import NOT_FOUND, REPO, TIMEOUT, answer_pull, answer_run, before, having, merged_pull
from tests.fakes import OUTAGE, InMemory
from tests.webhook_payloads import delivery, run_payload
from tfpilot.core.dispatch import DispatchAnswer, DispatchOutcome
from tfpilot.core.model import (
    CleanupDispatch,
    FactOutcome,
    FindingCode,
    GitHubFacts,
    IndexBackfill,
    LifecycleStatus,
    Operator,
    Role,
    RunFact,
    SyncMode,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.run_index import new_entry
from tfpilot.operations.browse import open_request
from tfpilot.operations.deliveries import Disposition, receive
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.run_events import apply_run
from tfpilot.operations.sync import sync

MAYA = Operator("maya-k", Role.DEVELOPER)
LEAD = Operator("ops-lead", Role.ADMIN)
PORTAL = Operator("system", Role.SYSTEM)
PLAN, APPLY, DESTROY = WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DESTROY
CLEANUP, DRIFT = WorkflowKind.CLEANUP, WorkflowKind.DRIFT_PLAN
OTHER = "req_dev_s3_other1"
RAN_AT = before(hours=1)
DESTROYED_AT = before(minutes=20)


def repair(memory: InMemory, operator: Operator = PORTAL, **options):
    return sync(memory.edges, REQUEST_ID, mode=SyncMode.REPAIR, operator=operator, **options)


def github_says(memory: InMemory, **runs) -> None:
    memory.github.answers[REQUEST_ID] = GitHubFacts(
        pull=answer_pull(),
        cleanup_pull=runs.pop("cleanup_pull", NOT_FOUND),
        runs={WorkflowKind(kind): answer for kind, answer in runs.items()},
    )


def listed(run_id: int, *, title: str = "Terraform destroy", actor: str = "tfpilot-portal", created_at=NOW, **fact):
    """A run that somebody dispatched on main, as a list shows it."""
    found = RunFact(run_id, 1, fact.pop("status", "queued"), created_at=created_at, **fact)
    return WorkflowRun(found, REPO, title=title, branch="main", event="workflow_dispatch", actor=actor)


class BrokenIndex:
    """A run index that does not answer."""

    def find(self, kind, run_id):
        raise OUTAGE

    def claim(self, entry):
        raise OUTAGE


# --- the run index


def test_a_repair_adds_the_index_entry_that_a_tracked_run_lacks(memory):
    memory.store(stuck_planning())
    github_says(memory, plan=answer_run(101, created_at=RAN_AT))
    result = repair(memory)
    assert result.done == (IndexBackfill(PLAN, 101, RAN_AT),)
    assert memory.edges.run_index.find(PLAN, 101) == new_entry(PLAN, 101, REQUEST_ID, created_at=RAN_AT)
    assert not repair(memory).wrote


def test_an_entry_that_would_be_expired_already_is_not_written(memory):
    memory.store(stuck_planning())
    github_says(memory, plan=answer_run(101, created_at=NOW - timedelta(days=90)))
    assert repair(memory).done == ()
    assert memory.edges.run_index.find(PLAN, 101) is None


def test_a_run_that_is_found_by_name_and_older_than_the_index_keeps_runs_gets_no_entry(memory):
    memory.store(having({"github.workflows.plan": None}, with_pull(request())))
    github_says(memory, plan=answer_run(101, created_at=NOW - timedelta(days=91)))
    repair(memory)
    assert memory.stored(REQUEST_ID)["github"]["workflows"]["plan"]["runId"] == 101
    assert memory.edges.run_index.find(PLAN, 101) is None


def test_an_entry_that_names_another_request_is_left_alone_and_said(memory):
    memory.store(stuck_planning())
    memory.edges.run_index.claim(new_entry(PLAN, 101, OTHER, created_at=RAN_AT))
    github_says(memory, plan=answer_run(101, created_at=RAN_AT))
    result = repair(memory)
    assert result.plan.crossed == (f"plan: the run index gives run 101 to {OTHER}",)
    assert memory.edges.run_index.find(PLAN, 101).request_id == OTHER
    codes = {finding.code for finding in open_request(memory.edges, REQUEST_ID).findings}
    assert FindingCode.INDEX_CROSSED in codes


def test_a_preview_shows_the_missing_entry_and_writes_none(memory):
    memory.store(stuck_planning())
    github_says(memory, plan=answer_run(101, created_at=RAN_AT))
    assert repair(memory, dry_run=True).plan.steps == (IndexBackfill(PLAN, 101, RAN_AT),)
    assert memory.bucket.writes == []


def test_an_index_that_does_not_answer_never_keeps_a_request_from_being_repaired(memory):
    memory.store(stuck_planning())
    github_says(memory, plan=answer_run(101, created_at=RAN_AT))
    edges = replace(memory.edges, run_index=BrokenIndex())
    result = sync(edges, REQUEST_ID, mode=SyncMode.REPAIR, operator=PORTAL)
    assert result.written
    assert result.explanation.status is LifecycleStatus.PLAN_READY
    assert any("run index could not be read" in obstacle for obstacle in result.plan.obstacles)


def test_a_missing_entry_is_told_until_a_repair_adds_it(memory):
    memory.store(stuck_planning())
    github_says(memory, plan=answer_run(101, created_at=RAN_AT))
    assert FindingCode.INDEX_MISSING in {each.code for each in open_request(memory.edges, REQUEST_ID).findings}
    repair(memory)
    assert FindingCode.INDEX_MISSING not in {each.code for each in open_request(memory.edges, REQUEST_ID).findings}


# --- runs that are found


def destroying_without_run(**fields):
    """A destroy that the web app dispatched two minutes ago; its run id was never stored."""
    applied = with_run(with_pull(request(), open=False, merged=True), "apply", **run(102, createdAt=ago(minutes=50)))
    dispatched = {"github.destroyTriggeredAt": ago(minutes=2), "github.workflows.destroy": {"status": "requested"}}
    return having({**dispatched, **fields}, applied)


def test_a_run_that_names_the_request_is_claimed_before_it_is_stored(memory):
    memory.store(destroying_without_run())
    github_says(memory, apply=answer_run(102), destroy=answer_run(103, "in_progress", created_at=before(minutes=2)))
    repair(memory)
    assert memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]["runId"] == 103
    assert memory.edges.run_index.find(DESTROY, 103).request_id == REQUEST_ID


def test_a_run_that_another_request_has_claimed_is_never_taken(memory):
    memory.store(destroying_without_run())
    memory.edges.run_index.claim(new_entry(DESTROY, 103, OTHER, created_at=NOW))
    github_says(memory, apply=answer_run(102), destroy=answer_run(103, "in_progress", created_at=before(minutes=2)))
    result = repair(memory)
    assert result.facts.runs[DESTROY].outcome is FactOutcome.CROSSED
    assert "runId" not in memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]


def test_a_preview_of_a_found_run_claims_nothing(memory):
    memory.store(destroying_without_run())
    github_says(memory, destroy=answer_run(103, "in_progress", created_at=before(minutes=2)))
    result = repair(memory, dry_run=True)
    assert any(change.dotted == "github.workflows.destroy.runId" for change in result.plan.changes)
    assert memory.bucket.writes == []


def test_an_index_that_cannot_be_read_is_no_unclaimed_run(memory):
    memory.store(destroying_without_run())
    github_says(memory, destroy=answer_run(103, "in_progress", created_at=before(minutes=2)), apply=answer_run(102))
    edges = replace(memory.edges, run_index=BrokenIndex())
    result = sync(edges, REQUEST_ID, mode=SyncMode.REPAIR, operator=PORTAL)
    assert result.facts.runs[DESTROY].outcome is FactOutcome.FAILED
    assert "runId" not in memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]


@pytest.mark.parametrize("kind", [CLEANUP, DRIFT])
def test_a_newer_cleanup_or_drift_run_takes_the_place_of_the_known_one(memory, kind):
    known = run(201, createdAt=ago(days=2), updatedAt=ago(days=2))
    memory.store(with_run(with_run(request(), "apply", **run(102)), kind.value, **known))
    github_says(memory, **{kind.value: answer_run(202, "in_progress", created_at=RAN_AT, updated_at=RAN_AT)})
    repair(memory)
    stored = memory.stored(REQUEST_ID)["github"]["workflows"][kind.value]
    assert (stored["runId"], stored["status"], stored["conclusion"]) == (202, "in_progress", None)
    assert memory.edges.run_index.find(kind, 202).request_id == REQUEST_ID


def test_an_older_run_never_takes_the_place_of_the_known_one(memory):
    memory.store(with_run(request(), "drift_plan", **run(202, createdAt=ago(hours=1))))
    github_says(memory, drift_plan=answer_run(201, created_at=before(days=2)))
    repair(memory)
    assert memory.stored(REQUEST_ID)["github"]["workflows"]["drift_plan"]["runId"] == 202


# --- our own dispatches


def applied() -> dict:
    pull = with_pull(request(), open=False, merged=True)
    return with_run(with_run(pull, "plan", **run(101)), "apply", **run(102, createdAt=ago(minutes=50)))


def unknown_dispatch(memory: InMemory) -> None:
    """We dispatched a destroy and GitHub named no run."""
    memory.workflows.answer = lambda _: DispatchAnswer(DispatchOutcome.UNKNOWN, memory.clock(), detail="204")
    dispatch(memory.edges, REQUEST_ID, DESTROY, operator=LEAD)


def test_a_repair_finds_the_run_of_our_dispatch_that_names_nobody(memory):
    memory.store(applied())
    unknown_dispatch(memory)
    memory.workflows.runs["destroy.yml"] = [listed(301)]
    github_says(memory, apply=answer_run(102), destroy=NOT_FOUND)
    repair(memory)
    assert memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]["runId"] == 301
    assert memory.edges.run_index.find(DESTROY, 301).request_id == REQUEST_ID
    [record] = memory.edges.dispatches.list(REQUEST_ID)
    assert (record.record.state, record.record.run_id) == ("started", 301)


def test_of_two_dispatches_that_wait_for_the_same_run_neither_takes_it_by_itself(memory):
    memory.store(applied(), {**applied(), "id": OTHER, "github": destroying_without_run()["github"]})
    unknown_dispatch(memory)
    memory.workflows.runs["destroy.yml"] = [listed(301)]
    github_says(memory, apply=answer_run(102), destroy=NOT_FOUND)
    result = repair(memory)
    assert result.facts.runs[DESTROY].outcome is FactOutcome.AMBIGUOUS
    assert memory.edges.run_index.find(DESTROY, 301) is None
    [finding] = [each for each in open_request(memory.edges, REQUEST_ID).findings if each.code == "RUN_UNKNOWN"]
    assert "choose" in finding.next_action


def test_a_run_that_the_web_apps_dispatch_may_have_started_is_left_to_a_person_and_not_said_to_be_none(memory):
    """The run named nobody, so that the request was said to have no run at all and was offered to be closed."""
    memory.store(destroying_without_run())
    memory.workflows.runs["destroy.yml"] = [listed(301)]
    github_says(memory, apply=answer_run(102), destroy=NOT_FOUND)
    memory.clock.advance(minutes=11)
    assert repair(memory).facts.runs[DESTROY].outcome is FactOutcome.AMBIGUOUS
    codes = {each.code for each in open_request(memory.edges, REQUEST_ID).findings}
    assert ("RUN_UNKNOWN" in codes, "NOT_DISPATCHED" in codes) == (True, False)
    assert memory.edges.run_index.find(DESTROY, 301) is None


def test_a_dispatch_of_the_web_app_without_any_run_is_said_to_have_started_none(memory):
    memory.store(destroying_without_run())
    github_says(memory, apply=answer_run(102), destroy=NOT_FOUND)
    memory.clock.advance(minutes=11)
    assert repair(memory).facts.runs[DESTROY].outcome is FactOutcome.NOT_FOUND
    assert "NOT_DISPATCHED" in {each.code for each in open_request(memory.edges, REQUEST_ID).findings}


def test_what_webhooks_said_of_a_run_before_a_repair_found_it_counts_and_waits_no_longer(memory):
    memory.store(applied())
    unknown_dispatch(memory)
    ended = run_payload(
        301, "destroy", **{name: ago() for name in ("created_at", "run_started_at", "updated_at")},
        display_title="Terraform", head_branch="main",
    )  # fmt: skip
    assert receive(memory.edges, delivery("workflow_run", ended)).disposition is Disposition.PARKED
    memory.workflows.runs["destroy.yml"] = [listed(301)]
    github_says(memory, apply=answer_run(102), destroy=NOT_FOUND)
    repair(memory)
    assert memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]["conclusion"] == "success"
    assert [key for key in memory.bucket.contents() if key.startswith("ops/parked/")] == []


def test_the_run_before_a_dispatch_is_never_taken_for_the_new_one(memory):
    """It ended within the seconds by which GitHub's clock and ours may differ."""
    failed = run(401, conclusion="startup_failure", createdAt=ago(seconds=3), updatedAt=ago(seconds=2))
    before_it = with_run(applied(), "destroy", **failed)
    memory.store(having({"github.destroyTriggeredAt": ago(seconds=4)}, before_it))
    answer = answer_run(401, conclusion="startup_failure", created_at=before(seconds=3), updated_at=before(seconds=2))
    github_says(memory, apply=answer_run(102), destroy=answer)
    unknown_dispatch(memory)
    result = repair(memory)
    assert result.facts.runs[DESTROY].outcome is FactOutcome.NOT_FOUND
    outcome = apply_run(memory.edges, REQUEST_ID, DESTROY, named(answer.value), actor="github")
    assert (outcome.written, "before our dispatch" in outcome.decision.reason) == (False, True)
    destroy = memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]
    assert (destroy["status"], destroy.get("runId"), destroy.get("conclusion")) == ("requested", None, None)


def named(found: WorkflowRun) -> WorkflowRun:
    """The run as a webhook tells of it, with the request in its title."""
    return replace(found, title=f"destroy {REQUEST_ID}", branch="main", path=".github/workflows/destroy.yml")


# --- what others overwrite


def test_what_a_blind_writer_overwrites_of_a_dispatch_is_found_and_put_back(memory):
    before_it = applied()
    memory.store(before_it)
    result = dispatch(memory.edges, REQUEST_ID, DESTROY, operator=LEAD)
    memory.store({**before_it, "labels": {"team": "core"}})
    view = open_request(memory.edges, REQUEST_ID)
    assert FindingCode.OVERWRITTEN_FACT in {finding.code for finding in view.findings}
    github_says(memory, apply=answer_run(102), destroy=answer_run(result.run_id, "in_progress", created_at=NOW))
    repair(memory)
    stored = memory.stored(REQUEST_ID)
    assert stored["github"]["workflows"]["destroy"]["runId"] == stored["destroyRun"]["runId"] == result.run_id
    assert (stored["github"]["destroyTriggeredAt"], stored["labels"]) == (ago(minutes=0), {"team": "core"})
    view = open_request(memory.edges, REQUEST_ID)
    assert FindingCode.OVERWRITTEN_FACT not in {finding.code for finding in view.findings}
    assert view.explanation.status is LifecycleStatus.DESTROYING


def test_an_overwritten_dispatch_is_put_back_even_where_github_does_not_answer_about_it(memory):
    before_it = applied()
    memory.store(before_it)
    result = dispatch(memory.edges, REQUEST_ID, DESTROY, operator=LEAD)
    memory.store(before_it)
    github_says(memory, apply=answer_run(102), destroy=TIMEOUT)
    repair(memory)
    assert memory.stored(REQUEST_ID)["github"]["workflows"]["destroy"]["runId"] == result.run_id


def test_a_newer_dispatch_of_the_web_app_is_no_overwriting(memory):
    memory.store(applied())
    dispatch(memory.edges, REQUEST_ID, DESTROY, operator=LEAD)
    memory.clock.advance(minutes=30)
    newer = having({"github.destroyTriggeredAt": ago(minutes=-25), "github.workflows.destroy": run(777)}, applied())
    memory.store(newer)
    assert FindingCode.OVERWRITTEN_FACT not in {each.code for each in open_request(memory.edges, REQUEST_ID).findings}


# --- the cleanup after a destroy


def destroyed(**fields) -> dict:
    """A destroyed request of which no cleanup was ever dispatched."""
    gone = with_run(applied(), "destroy", **run(401, createdAt=ago(minutes=20), updatedAt=ago(minutes=15)))
    files = {"targetFiles": ["envs/dev/tfpilot.s3.tf"], "targetEnvPath": "envs/dev"}
    return having({"github.destroyTriggeredAt": ago(minutes=20), **files, **fields}, gone)


def says_destroyed(memory: InMemory, **told) -> None:
    ended = answer_run(401, created_at=DESTROYED_AT, updated_at=before(minutes=15))
    github_says(memory, **{"apply": answer_run(102), "destroy": ended, "cleanup": NOT_FOUND, **told})


def test_the_cleanup_after_a_destroy_is_dispatched_once(memory):
    memory.store(destroyed())
    says_destroyed(memory)
    result = repair(memory)
    assert any(isinstance(step, CleanupDispatch) for step in result.done)
    [order] = memory.workflows.orders
    assert (order.workflow_file, order.ref, order.inputs["auto_merge"]) == ("cleanup.yml", "main", "true")
    github = memory.stored(REQUEST_ID)["github"]
    assert (github["cleanupTriggeredForDestroyRunId"], github["cleanupDispatchStatus"]) == (401, "dispatched")
    assert memory.edges.run_index.find(CLEANUP, github["workflows"]["cleanup"]["runId"]).request_id == REQUEST_ID
    says_destroyed(memory, cleanup=answer_run(9001, "queued", created_at=NOW))
    repair(memory)
    assert len(memory.workflows.orders) == 1


def test_the_archived_copy_tells_of_the_cleanup_too(memory):
    memory.store(destroyed())
    says_destroyed(memory)
    repair(memory)
    archived = memory.edges.documents.find_archived(REQUEST_ID).document
    assert archived["github"]["cleanupTriggeredForDestroyRunId"] == 401


def test_who_may_not_clean_up_repairs_the_rest_and_is_told_who_may(memory):
    memory.store(destroyed())
    says_destroyed(memory)
    result = repair(memory, operator=MAYA)
    [step] = [step for step in result.plan.steps if isinstance(step, CleanupDispatch)]
    assert "may not dispatch the cleanup" in step.refusal
    assert memory.workflows.orders == []
    assert result.archived


@pytest.mark.parametrize(
    "told",
    [
        {"cleanup_pull": TIMEOUT},
        {"cleanup": TIMEOUT},
        {"cleanup_pull": answer_pull(8, created_at=before(minutes=10), head_branch=f"cleanup/{REQUEST_ID}")},
        {"cleanup_pull": merged_pull(8, created_at=before(minutes=10), head_branch=f"cleanup/{REQUEST_ID}")},
        {"cleanup": answer_run(402, "in_progress", created_at=before(minutes=10))},
        {"cleanup": answer_run(402, conclusion="failure", created_at=before(minutes=10))},
        {"destroy": TIMEOUT, "cleanup_pull": TIMEOUT},
    ],
)
def test_no_cleanup_is_dispatched_where_there_is_a_newer_one_or_github_cannot_tell(memory, told):
    memory.store(destroyed())
    says_destroyed(memory, **told)
    repair(memory)
    assert memory.workflows.orders == []


def test_a_cleanup_pr_of_an_earlier_destroy_keeps_nothing_from_being_cleaned_up(memory):
    memory.store(destroyed())
    old = answer_pull(8, created_at=before(days=3), open=False, head_branch=f"cleanup/{REQUEST_ID}")
    says_destroyed(memory, cleanup_pull=old)
    repair(memory)
    assert len(memory.workflows.orders) == 1


def test_a_cleanup_that_could_not_be_dispatched_is_tried_again_and_then_never_more(memory):
    memory.store(destroyed())
    says_destroyed(memory)
    memory.workflows.answer = lambda _: DispatchAnswer(DispatchOutcome.REFUSED, memory.clock(), detail="404: no file")
    assert any("404: no file" in notice for notice in repair(memory).notices)
    github = memory.stored(REQUEST_ID)["github"]
    assert (github["cleanupDispatchStatus"], github["cleanupDispatchLastError"]) == ("error", "404: no file")
    memory.workflows.answer = memory.workflows.start
    repair(memory)
    says_destroyed(memory, cleanup=answer_run(9001, "queued", created_at=NOW))
    for _ in range(3):
        memory.clock.advance(minutes=31)
        repair(memory)
    assert len(memory.workflows.orders) == 2
    github = memory.stored(REQUEST_ID)["github"]
    assert (github["cleanupDispatchStatus"], github.get("cleanupDispatchLastError")) == ("dispatched", None)


def test_a_cleanup_whose_outcome_is_unknown_is_looked_for_and_never_sent_again(memory):
    memory.store(destroyed())
    says_destroyed(memory)
    memory.workflows.answer = lambda _: DispatchAnswer(DispatchOutcome.UNKNOWN, memory.clock(), detail="timeout")
    repair(memory)
    assert memory.stored(REQUEST_ID)["github"]["cleanupDispatchStatus"] == "pending"
    memory.workflows.runs["cleanup.yml"] = [listed(501, title="cleanup", created_at=NOW)]
    memory.clock.advance(minutes=31)
    repair(memory)
    github = memory.stored(REQUEST_ID)["github"]
    assert (github["workflows"]["cleanup"]["runId"], github["cleanupDispatchStatus"]) == (501, "dispatched")
    assert len(memory.workflows.orders) == 1
