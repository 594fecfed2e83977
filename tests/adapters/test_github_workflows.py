"""Dispatching and listing against GitHub's stand-in: one POST that starts a run, and lists that say where they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.adapters.github_setup import FILES, REPO, TOKEN, github_world, portal_on, scripted, settings
from tfpilot.adapters.github import GitHubEdge
from tfpilot.adapters.github_workflows import GitHubWorkflows
from tfpilot.core.dispatch import DispatchOrder, DispatchOutcome
from tfpilot.core.model import RepoRef, WorkflowKind
from tfpilot.errors import GitHubError
from tfpilot.sandbox.github import Fault, FaultKind, RunDetails, World

DESTROY = FILES[WorkflowKind.DESTROY]
ORDER = DispatchOrder(RepoRef("acme", "infra"), DESTROY, "main", {"request_id": "req_dev_1", "environment": "dev"})
SOON = timedelta(seconds=15)
POSTS = "*/dispatches"


@pytest.fixture
def world() -> World:
    return github_world()


@pytest.fixture
def workflows(world: World) -> Iterator[GitHubWorkflows]:
    with portal_on(world) as edge:
        yield GitHubWorkflows(edge)


def started(world: World) -> list[int]:
    return [run.id for run in world.runs(world.repo(REPO))]


def sent(world: World) -> int:
    return world.dispatches()[DESTROY, "req_dev_1"]


def test_who_we_are_is_asked_once(world, workflows):
    assert [workflows.me().login for _ in range(3)] == ["portal"] * 3
    assert [call.path for call in world.calls] == ["/user"]


def test_one_post_starts_the_run_and_names_it(world, workflows):
    answer = workflows.dispatch(ORDER, deadline=SOON)
    [run] = world.runs(world.repo(REPO))
    assert (answer.outcome, answer.run_id) == (DispatchOutcome.STARTED, run.id)
    assert answer.html_url is not None
    assert answer.html_url.endswith(f"/acme/infra/actions/runs/{run.id}")
    assert (run.branch, run.event, run.actor) == ("main", "workflow_dispatch", "portal")
    assert sent(world) == 1


def test_an_older_server_names_no_run_and_is_not_asked_again(world, workflows):
    world.run_details = RunDetails.IGNORED
    answer = workflows.dispatch(ORDER, deadline=SOON)
    assert (answer.outcome, answer.run_id) == (DispatchOutcome.UNKNOWN, None)
    assert (len(started(world)), sent(world)) == (1, 1)


def test_a_server_that_refuses_the_field_is_asked_without_it_and_never_with_it_again(world, workflows):
    world.run_details = RunDetails.REFUSED
    assert workflows.dispatch(ORDER, deadline=SOON).outcome is DispatchOutcome.UNKNOWN
    assert (len(started(world)), sent(world)) == (1, 2)
    assert workflows.dispatch(ORDER, deadline=SOON).outcome is DispatchOutcome.UNKNOWN
    assert (len(started(world)), sent(world)) == (2, 3)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_a_4xx_is_a_refusal_with_what_github_said(world, workflows, status):
    world.faults.add(Fault(FaultKind.STATUS, path=POSTS, status=status, message="No ref found for: main"))
    answer = workflows.dispatch(ORDER, deadline=SOON)
    assert (answer.outcome, sent(world)) == (DispatchOutcome.REFUSED, 1)
    assert "No ref found for: main" in answer.detail
    assert TOKEN not in answer.detail


@pytest.mark.parametrize(
    "fault",
    [
        Fault(FaultKind.STATUS, path=POSTS, status=408, acts=True),
        Fault(FaultKind.STATUS, path=POSTS, status=500, acts=True),
        Fault(FaultKind.STATUS, path=POSTS, status=502, acts=True),
        Fault(FaultKind.STATUS, path=POSTS, status=503, acts=True),
        Fault(FaultKind.DISCONNECT, path=POSTS, acts=True),
        Fault(FaultKind.HTML, path=POSTS, acts=True),
        Fault(FaultKind.EMPTY, path=POSTS, acts=True),
        Fault(FaultKind.TRUNCATED, path=POSTS, acts=True),
        Fault(FaultKind.FIELDS, path=POSTS, fields={"workflow_run_id": None}),
        Fault(FaultKind.FIELDS, path=POSTS, fields={"workflow_run_id": "7"}),
        Fault(FaultKind.FIELDS, path=POSTS, fields={"workflow_run_id": True}),
        Fault(FaultKind.FIELDS, path=POSTS, fields={"workflow_run_id": -7}),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.fields.get('workflow_run_id')}",
)
def test_whatever_else_goes_wrong_is_unknown_after_one_post(world, workflows, fault):
    world.faults.add(fault)
    answer = workflows.dispatch(ORDER, deadline=SOON)
    assert (answer.outcome, answer.run_id) == (DispatchOutcome.UNKNOWN, None)
    assert (len(started(world)), sent(world)) == (1, 1)


@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.DRIP])
def test_a_dispatch_that_times_out_was_sent_when_it_was_sent_and_not_when_we_gave_up(world, workflows, kind):
    world.faults.add(Fault(kind, path=POSTS, acts=True, delay_s=0.5 if kind is FaultKind.DRIP else 0))
    answer = workflows.dispatch(ORDER, deadline=timedelta(seconds=1.5))
    [call] = [call for call in world.calls if call.is_dispatch]
    assert answer.outcome is DispatchOutcome.UNKNOWN
    assert answer.at < call.at + timedelta(seconds=1)  # the stand-in's times have whole seconds


def test_a_slow_answer_does_not_make_the_dispatch_younger_than_its_run(world, workflows):
    world.run_details = RunDetails.IGNORED
    world.faults.add(Fault(FaultKind.SLOW, path=POSTS, acts=True, delay_s=2.5))
    answer = workflows.dispatch(ORDER, deadline=SOON)
    [call] = [call for call in world.calls if call.is_dispatch]
    assert answer.at < call.at + timedelta(seconds=1)


def test_a_renamed_repository_is_dispatched_where_it_is_now(world, workflows):
    world.rename_repo(REPO, to="acme/platform")
    answer = workflows.dispatch(ORDER, deadline=SOON)
    assert (answer.outcome, started(world)) == (DispatchOutcome.STARTED, [answer.run_id])
    assert workflows.dispatch(ORDER, deadline=SOON).outcome is DispatchOutcome.STARTED
    assert len([call for call in world.calls if call.is_dispatch]) == 3


def test_a_server_that_sends_every_post_elsewhere_has_refused_it():
    with scripted(lambda heard: (307, {"location": f"{heard.path}/x"}, b"")) as server:
        answer = GitHubWorkflows(GitHubEdge(settings(server.url))).dispatch(ORDER, deadline=SOON)
    assert (answer.outcome, len(server.heard)) == (DispatchOutcome.REFUSED, 3)


@pytest.mark.usefixtures("hasty_retries")
def test_a_server_that_cannot_be_reached_is_unknown():
    with scripted(lambda _heard: (200, {}, b"{}")) as server:
        url = server.url
    answer = GitHubWorkflows(GitHubEdge(settings(url))).dispatch(ORDER, deadline=timedelta(seconds=2))
    assert answer.outcome is DispatchOutcome.UNKNOWN


# Lists


def listed(workflows: GitHubWorkflows, *, since: datetime):
    return workflows.list_runs(RepoRef("acme", "infra"), DESTROY, since=since, deadline=SOON)


def add(world: World, number: int, *, minutes: float = 0) -> list[int]:
    now = world.now()
    return [
        world.add_run(REPO, DESTROY, event="workflow_dispatch", at=now - timedelta(minutes=minutes, seconds=each)).id
        for each in range(number)
    ]


def test_runs_come_newest_first_with_what_tells_whose_they_are(world, workflows):
    ids = add(world, 3)
    world.add_run(REPO, FILES[WorkflowKind.APPLY])
    found = listed(workflows, since=world.now() - timedelta(hours=1))
    assert ([run.fact.run_id for run in found.runs], found.complete) == (ids, True)
    run = found.runs[0]
    assert (run.branch, run.event, run.actor, run.title) == ("main", "workflow_dispatch", "octocat", DESTROY)


@pytest.mark.parametrize("number", [0, 99, 100, 101])
def test_a_list_is_read_until_it_ends(world, workflows, number):
    add(world, number)
    found = listed(workflows, since=world.now() - timedelta(hours=1))
    assert (len(found.runs), found.complete) == (number, True)


def test_a_list_is_read_no_further_than_one_page_of_older_runs(world, workflows):
    add(world, 10)
    add(world, 250, minutes=60)
    world.clear_calls()
    assert listed(workflows, since=world.now() - timedelta(minutes=30)).complete
    assert len(world.calls) == 2


def test_a_list_that_goes_on_for_ever_says_that_it_does_not_reach_back(world, workflows):
    add(world, 1001)
    found = listed(workflows, since=datetime(2020, 1, 1, tzinfo=UTC))
    assert (len(found.runs), found.complete) == (1000, False)


@pytest.mark.parametrize("status", [404, 502])
@pytest.mark.usefixtures("hasty_retries")
def test_a_list_that_github_does_not_give_is_an_error_and_no_empty_list(world, workflows, status):
    world.faults.add(Fault(FaultKind.STATUS, path="*/runs", status=status))
    with pytest.raises(GitHubError):
        listed(workflows, since=world.now())


def test_all_runs_of_the_known_workflows_are_listed_at_once_with_those_that_may_have_lasted_until_then(
    world, workflows
):
    now = world.now()
    world.add_repo(REPO, workflows={file: file for file in [*FILES.values(), "deploy.yml"]})
    world.add_run(REPO, "deploy.yml", at=now)
    ids = [
        world.add_run(REPO, FILES[kind], at=now - timedelta(days=days)).id
        for kind, days in ((WorkflowKind.APPLY, 0), (WorkflowKind.PLAN, 34), (WorkflowKind.PLAN, 40))
    ]
    world.clear_calls()
    found = workflows.runs_since(RepoRef("acme", "infra"), now, deadline=SOON)
    assert ([run.fact.run_id for run in found.runs], found.complete) == (ids, True)
    assert len(world.calls) == 1


@pytest.mark.parametrize("status", [404, 502])
def test_runs_and_jobs_that_github_does_not_give_are_an_error_and_no_empty_list(world, workflows, status):
    world.faults.add(Fault(FaultKind.STATUS, path="*/actions/runs*", status=status))
    with pytest.raises(GitHubError):
        workflows.runs_since(RepoRef("acme", "infra"), world.now(), deadline=SOON)
    with pytest.raises(GitHubError):
        workflows.running_jobs(RepoRef("acme", "infra"), 1, deadline=SOON)


JOBS = [
    {"run_id": 7, "name": "terraform", "status": "in_progress", "steps": [
        {"name": "Set up job", "status": "completed"}, {"name": "terraform apply", "status": "in_progress"}]},
    {"run_id": 7, "name": "notify", "status": "in_progress", "steps": []},
    {"run_id": 7, "name": "lint", "status": "completed"},
    {"run_id": 7, "name": "later", "status": "queued"},
    {"run_id": 7, "name": "approve", "status": "waiting"},
]  # fmt: skip


def jobs_answered(jobs):
    def answer(heard):
        assert heard.path.startswith("/repos/acme/infra/actions/runs/7/jobs?filter=all")
        return 200, {"content-type": "application/json"}, json.dumps({"jobs": jobs}).encode()

    with scripted(answer) as server:
        edge = GitHubWorkflows(GitHubEdge(settings(server.url)))
        return edge.running_jobs(RepoRef("acme", "infra"), 7, deadline=SOON)


def test_the_jobs_at_work_are_told_with_their_step():
    assert jobs_answered(JOBS) == ["job terraform, step “terraform apply”", "job notify"]


def test_a_run_without_jobs_has_none_at_work():
    assert jobs_answered([]) == []


def test_a_job_of_another_run_is_no_answer():
    with pytest.raises(GitHubError, match="another run"):
        jobs_answered([{**JOBS[0], "run_id": 8}])


def test_the_jobs_of_a_run_in_the_stand_in_are_read(world, workflows):
    run = world.add_run(REPO, DESTROY, status="in_progress", started_at=world.now())
    world.add_job(run.id, name="checks", conclusion="success")
    world.add_job(run.id, name="approve", status="queued", is_started=False)
    assert workflows.running_jobs(RepoRef("acme", "infra"), run.id, deadline=SOON) == []
    world.add_job(run.id, name="terraform", status="in_progress")
    assert workflows.running_jobs(RepoRef("acme", "infra"), run.id, deadline=SOON) == ["job terraform"]
