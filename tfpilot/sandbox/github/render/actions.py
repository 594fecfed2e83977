"""Workflows, runs and jobs as GitHub writes them."""

from __future__ import annotations

from collections.abc import Sequence

from tfpilot.sandbox.github.render.places import Json, PlaceRenderer, html_url_of, node_id, time_text
from tfpilot.sandbox.github.render.pulls import ends_of
from tfpilot.sandbox.github.state import COMPLETED, Attempt, Job, Repo, Run, Workflow
from tfpilot.sandbox.github.world import World


class ActionsRenderer:
    """Payloads of what is asked for under `/actions`."""

    def __init__(self, world: World, places: PlaceRenderer, api_url: str) -> None:
        self._world = world
        self._places = places
        self._api_url = api_url

    def workflow(self, workflow: Workflow) -> Json:
        repo = self._world.repo(workflow.repo_id)
        html_url = html_url_of(repo)
        return {
            "id": workflow.id,
            "node_id": node_id("Workflow", workflow.id),
            "name": workflow.name,
            "path": workflow.path,
            "state": "active",
            "created_at": time_text(workflow.created_at),
            "updated_at": time_text(workflow.created_at),
            "url": f"{self._api_url}/repos/{repo.full_name}/actions/workflows/{workflow.id}",
            "html_url": f"{html_url}/blob/{repo.default_branch}/{workflow.path}",
            "badge_url": f"{html_url}/workflows/{workflow.file}/badge.svg",
        }

    def run(self, run: Run, attempt: Attempt | None = None) -> Json:
        """A run in its latest attempt, or as an earlier one left it."""
        shown = attempt or run.latest
        repo = self._world.repo(run.repo_id)
        workflow = self._world.workflow(run.workflow_id)
        return {
            "id": run.id,
            "name": workflow.name,
            "node_id": node_id("WorkflowRun", run.id),
            "head_branch": run.branch,
            "head_sha": run.head_sha,
            "path": workflow.path,
            "display_title": run.title,
            "run_number": run.number,
            "event": run.event,
            "status": shown.status,
            "conclusion": shown.conclusion,
            "workflow_id": workflow.id,
            "check_suite_id": run.id,
            "check_suite_node_id": node_id("CheckSuite", run.id),
            **self._run_urls(run, shown, repo),
            "pull_requests": self._pulls_of(run, repo),
            "created_at": time_text(run.created_at),
            "updated_at": time_text(shown.updated_at),
            "actor": self._places.user(run.actor),
            "run_attempt": shown.number,
            "referenced_workflows": [],
            "run_started_at": time_text(shown.started_at),
            "triggering_actor": self._places.user(shown.actor),
            "head_commit": _commit(run),
            "repository": self._places.minimal_repo(repo),
            "head_repository": self._places.minimal_repo(repo),
        }

    def job(self, job: Job, run: Run) -> Json:
        """A job. One that no runner took has no runner and no steps, and its creation for a start, as on GitHub."""
        repo = self._world.repo(run.repo_id)
        url = f"{self._api_url}/repos/{repo.full_name}"
        return {
            "id": job.id,
            "run_id": run.id,
            "workflow_name": self._world.workflow(run.workflow_id).name,
            "head_branch": run.branch,
            "run_url": f"{url}/actions/runs/{run.id}",
            "run_attempt": job.attempt,
            "node_id": node_id("CheckRun", job.id),
            "head_sha": run.head_sha,
            "url": f"{url}/actions/jobs/{job.id}",
            "html_url": f"{html_url_of(repo)}/actions/runs/{run.id}/job/{job.id}",
            "status": job.status,
            "conclusion": job.conclusion,
            "created_at": time_text(job.created_at),
            "started_at": time_text(job.started_at or job.created_at),
            "completed_at": time_text(job.completed_at),
            "name": job.name,
            "steps": _steps(job),
            "check_run_url": f"{url}/check-runs/{job.id}",
            "labels": ["ubuntu-latest"],
            **_runner(job),
        }

    def dispatched(self, run: Run) -> Json:
        """The details of a run that a dispatch has just made."""
        repo = self._world.repo(run.repo_id)
        return {
            "workflow_run_id": run.id,
            "run_url": f"{self._api_url}/repos/{repo.full_name}/actions/runs/{run.id}",
            "html_url": f"{html_url_of(repo)}/actions/runs/{run.id}",
        }

    def _run_urls(self, run: Run, shown: Attempt, repo: Repo) -> Json:
        repo_url = f"{self._api_url}/repos/{repo.full_name}"
        url = f"{repo_url}/actions/runs/{run.id}"
        return {
            "url": url,
            "html_url": f"{html_url_of(repo)}/actions/runs/{run.id}",
            "jobs_url": f"{url}/jobs",
            "logs_url": f"{url}/logs",
            "check_suite_url": f"{repo_url}/check-suites/{run.id}",
            "artifacts_url": f"{url}/artifacts",
            "cancel_url": f"{url}/cancel",
            "rerun_url": f"{url}/rerun",
            "previous_attempt_url": f"{url}/attempts/{shown.number - 1}" if shown.number > 1 else None,
            "workflow_url": f"{repo_url}/actions/workflows/{run.workflow_id}",
        }

    def _pulls_of(self, run: Run, repo: Repo) -> list[Json]:
        """Only open pull requests with the run's head: a merged one has none left, as on GitHub."""
        pulls = (pull for pull in self._world.pulls(repo) if pull.is_open and pull.branch == run.branch)
        url = f"{self._api_url}/repos/{repo.full_name}"
        place = {"id": repo.id, "url": url, "name": repo.name}
        return [
            {
                "id": pull.id,
                "number": pull.number,
                "url": f"{url}/pulls/{pull.number}",
                **{
                    end: {"ref": ref, "sha": sha, "repo": place}
                    for end, (ref, sha) in zip(("head", "base"), ends_of(pull), strict=True)
                },
            }
            for pull in pulls
        ]


def _commit(run: Run) -> Json:
    person = {"name": run.actor, "email": f"{run.actor}@users.noreply.github.com"}
    return {
        "id": run.head_sha,
        "tree_id": run.head_sha,
        "message": run.title,
        "timestamp": time_text(run.created_at),
        "author": person,
        "committer": person,
    }


def _steps(job: Job) -> Sequence[Json]:
    if job.started_at is None:
        return []
    step = {"name": "Set up job", "status": "completed", "conclusion": "success", "number": 1}
    return [{**step, "started_at": time_text(job.started_at), "completed_at": time_text(job.started_at)}]


def _runner(job: Job) -> Json:
    if job.started_at is not None:
        return {"runner_id": 1, "runner_name": "GitHub Actions 1", "runner_group_id": 0, "runner_group_name": ""}
    number, name = (0, "") if job.status == COMPLETED else (None, None)
    return {"runner_id": number, "runner_name": name, "runner_group_id": number, "runner_group_name": name}
