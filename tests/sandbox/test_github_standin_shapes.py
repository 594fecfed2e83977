"""Every answer of the stand-in has the shape that GitHub's own description gives it."""

import json
from collections.abc import Callable
from typing import Any

import githubkit_schemas.v2022_11_28.models as shapes
import httpx
import pytest
from pydantic import BaseModel, TypeAdapter

from tfpilot.sandbox.github import Delivery, Hook, World

Get = Callable[..., Any]


def check_shape(payload: Any, model: type[BaseModel]) -> None:
    """The payload has all the fields of the model, of their types, and none that GitHub does not have."""
    TypeAdapter(model).validate_json(json.dumps(payload))
    known = {field.alias or name for name, field in model.model_fields.items()}
    assert set(payload) <= known, f"not in {model.__name__}: {set(payload) - known}"


@pytest.fixture
def run_id(world: World) -> int:
    """A pull request with a run that failed once, has jobs, and was started again."""
    world.add_pull("acme/infra", branch="request/req_1", title="req_1", author="noor")
    run = world.add_run("acme/infra", "plan.yml", branch="request/req_1", conclusion="failure")
    world.add_job(run.id, conclusion="failure")
    world.rerun(run.id, actor="maya")
    world.add_job(run.id, status="queued")
    world.add_job(run.id, name="never", conclusion="cancelled", is_started=False)
    return run.id


def test_who_asks(http: httpx.Client) -> None:
    check_shape(http.get("/user").json(), shapes.PrivateUser)


def test_quota(http: httpx.Client) -> None:
    answer = http.get("/rate_limit").json()
    check_shape(answer, shapes.RateLimitOverview)
    assert answer["resources"]["core"]["limit"] == 5000


def test_repository(get: Get) -> None:
    check_shape(get(""), shapes.FullRepository)


@pytest.mark.parametrize("end", ["open", "closed", "merged"])
def test_pull_request_by_itself_and_in_a_list(world: World, get: Get, end: str) -> None:
    pull = world.add_pull("acme/infra", branch="request/req_1", author="noor")
    if end == "merged":
        world.merge_pull("acme/infra", pull.number, by="maya")
    elif end == "closed":
        world.close_pull("acme/infra", pull.number)
    check_shape(get(f"/pulls/{pull.number}"), shapes.PullRequest)
    for listed in get("/pulls", state="all"):
        check_shape(listed, shapes.PullRequestSimple)
        assert "merged" not in listed


def test_reviews_in_every_state(world: World, get: Get) -> None:
    pull = world.add_pull("acme/infra", branch="request/req_1")
    for state in ("APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED", "PENDING"):
        world.add_review("acme/infra", pull.number, login="maya", state=state)
    reviews = get(f"/pulls/{pull.number}/reviews")
    for review in reviews:
        check_shape(review, shapes.PullRequestReview)
    assert [review["state"] for review in reviews if "submitted_at" not in review] == ["PENDING"]


def test_workflows(get: Get) -> None:
    listed = get("/actions/workflows")
    check_shape(listed, shapes.ReposOwnerRepoActionsWorkflowsGetResponse200)
    check_shape(get("/actions/workflows/plan.yml"), shapes.Workflow)
    assert get(f"/actions/workflows/{listed['workflows'][0]['id']}") == listed["workflows"][0]


def test_runs_and_their_attempts(get: Get, run_id: int) -> None:
    check_shape(get("/actions/runs"), shapes.ReposOwnerRepoActionsRunsGetResponse200)
    for path in ("", "/attempts/1", "/attempts/2"):
        check_shape(get(f"/actions/runs/{run_id}{path}"), shapes.WorkflowRun)
    for listed in get("/actions/workflows/plan.yml/runs")["workflow_runs"]:
        check_shape(listed, shapes.WorkflowRun)


def test_jobs_whether_or_not_they_started(get: Get, run_id: int) -> None:
    listed = get(f"/actions/runs/{run_id}/jobs", filter="all")
    check_shape(listed, shapes.ReposOwnerRepoActionsRunsRunIdJobsGetResponse200)
    for job in listed["jobs"]:
        check_shape(job, shapes.Job)
    assert [job["runner_id"] for job in listed["jobs"]] == [1, None, 0]


def test_writes(world: World, http: httpx.Client) -> None:
    pull = world.add_pull("acme/infra", branch="request/req_1")
    path = f"/repos/acme/infra/pulls/{pull.number}"
    review = http.post(f"{path}/reviews", json={"event": "APPROVE", "body": "fine"}).json()
    check_shape(review, shapes.PullRequestReview)
    check_shape(http.put(f"{path}/reviews/{review['id']}/dismissals").json(), shapes.PullRequestReview)
    check_shape(http.put(f"{path}/merge").json(), shapes.PullRequestMergeResult)
    started = http.post(
        "/repos/acme/infra/actions/workflows/plan.yml/dispatches", json={"ref": "main", "return_run_details": True}
    )
    check_shape(started.json(), shapes.WorkflowDispatchResponse)


def test_what_is_not_there(http: httpx.Client) -> None:
    answer = http.get("/repos/acme/infra/pulls/404")
    assert answer.status_code == 404
    check_shape(answer.json(), shapes.BasicError)
    assert answer.json()["message"] == "Not Found"


def test_webhooks(world: World) -> None:
    told: list[Delivery] = []
    Hook(world, told.append, secret="s3cret")
    pull = world.add_pull("acme/infra", branch="request/req_1", author="noor")
    world.dismiss_review(world.add_review("acme/infra", pull.number, login="maya", state="APPROVED").id)
    world.merge_pull("acme/infra", pull.number, by="maya")
    run = world.add_run("acme/infra", "apply.yml")
    world.update_run(run.id, status="in_progress")
    world.update_run(run.id, conclusion="success")
    expected = [
        ("opened", shapes.WebhookPullRequestOpened),
        ("submitted", shapes.WebhookPullRequestReviewSubmitted),
        ("dismissed", shapes.WebhookPullRequestReviewDismissed),
        ("closed", shapes.WebhookPullRequestClosed),
        ("requested", shapes.WebhookWorkflowRunRequested),
        ("in_progress", shapes.WebhookWorkflowRunInProgress),
        ("completed", shapes.WebhookWorkflowRunCompleted),
    ]
    assert [delivery.payload["action"] for delivery in told] == [action for action, _ in expected]
    for delivery, (_, model) in zip(told, expected, strict=True):
        check_shape(delivery.payload, model)
