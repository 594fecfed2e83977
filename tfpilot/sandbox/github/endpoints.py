"""What each REST endpoint does to the world and answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlencode

from tfpilot.sandbox.github.asking import Asked, ProblemError, Reply, page_of
from tfpilot.sandbox.github.filters import select_pulls, select_runs, within_search
from tfpilot.sandbox.github.state import COMPLETED, Job, Pull, Repo, Run, RunDetails, Workflow
from tfpilot.sandbox.github.world import World

MAX_INPUTS: Final = 25
REVIEW_EVENTS: Final = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
    "": "PENDING",
}

Endpoint = Callable[[World, Asked], Reply]


def get_user(_world: World, asked: Asked) -> Reply:
    return Reply(asked.render.places.private_user(asked.user))


def get_rate_limit(world: World, asked: Asked) -> Reply:
    return Reply(asked.render.places.rate_limit(world.quota.budget(asked.user.login)))


def check_member(world: World, asked: Asked) -> Reply:
    """204 for a member, to members; to others GitHub tells only who shows it in public."""
    org, login = asked.place["org"], asked.place["login"]
    if not world.is_member(org, asked.user.login):
        raise ProblemError(302, "Found", location=f"{asked.api_url}/orgs/{org}/public_members/{login}")
    if not world.is_member(org, login):
        raise ProblemError(404, "Not Found")
    return Reply(None, status=204)


def check_public_member(world: World, asked: Asked) -> Reply:
    """Every member of the stand-in shows it in public."""
    if not world.is_member(asked.place["org"], asked.place["login"]):
        raise ProblemError(404, "Not Found")
    return Reply(None, status=204)


def get_repo(world: World, asked: Asked) -> Reply:
    return Reply(asked.render.places.full_repo(_repo(world, asked)))


def list_pulls(world: World, asked: Asked) -> Reply:
    repo = _repo(world, asked)
    page, links = page_of(select_pulls(world.pulls(repo), repo, asked.query), asked)
    return Reply([asked.render.pulls.listed_pull(pull) for pull in page], headers=links)


def get_pull(world: World, asked: Asked) -> Reply:
    return Reply(asked.render.pulls.pull(_pull(world, asked)))


def merge_pull(world: World, asked: Asked) -> Reply:
    pull = _pull(world, asked)
    if not pull.is_open:
        raise ProblemError(405, "Pull Request is not mergeable")
    merged = world.merge_pull(_repo(world, asked).full_name, pull.number, by=asked.user.login)
    return Reply({"sha": merged.merge_commit_sha, "merged": True, "message": "Pull Request successfully merged"})


def list_reviews(world: World, asked: Asked) -> Reply:
    """Oldest first; one that is not submitted only for its author."""
    seen = [
        review
        for review in world.reviews(_pull(world, asked))
        if review.state != "PENDING" or review.login == asked.user.login
    ]
    page, links = page_of(seen, asked)
    return Reply([asked.render.pulls.review(review) for review in page], headers=links)


def add_review(world: World, asked: Asked) -> Reply:
    state = REVIEW_EVENTS.get(asked.body.get("event", ""))
    if state is None:
        raise ProblemError(422, "Unprocessable Entity")
    pull = _pull(world, asked)
    review = world.add_review(
        _repo(world, asked).full_name,
        pull.number,
        login=asked.user.login,
        state=state,
        body=asked.body.get("body", ""),
    )
    return Reply(asked.render.pulls.review(review))


def dismiss_review(world: World, asked: Asked) -> Reply:
    if asked.place["review_id"] not in {review.id for review in world.reviews(_pull(world, asked))}:
        raise ProblemError(404, "Not Found")
    return Reply(asked.render.pulls.review(world.dismiss_review(asked.place["review_id"], by=asked.user.login)))


def list_workflows(world: World, asked: Asked) -> Reply:
    workflows = world.workflows(_repo(world, asked))
    page, links = page_of(workflows, asked)
    shown = [asked.render.actions.workflow(workflow) for workflow in page]
    return Reply({"total_count": len(workflows), "workflows": shown}, headers=links)


def get_workflow(world: World, asked: Asked) -> Reply:
    return Reply(asked.render.actions.workflow(_workflow(world, asked)))


def list_runs(world: World, asked: Asked) -> Reply:
    return _runs_reply(world.list_runs(_repo(world, asked)), asked)


def list_workflow_runs(world: World, asked: Asked) -> Reply:
    workflow = _workflow(world, asked)
    return _runs_reply([run for run in world.list_runs(_repo(world, asked)) if run.workflow_id == workflow.id], asked)


def get_run(world: World, asked: Asked) -> Reply:
    return Reply(asked.render.actions.run(_run(world, asked)))


def get_attempt(world: World, asked: Asked) -> Reply:
    run = _run(world, asked)
    attempt = run.find_attempt(asked.place["attempt"])
    if attempt is None:
        raise ProblemError(404, "Not Found")
    return Reply(asked.render.actions.run(run, attempt))


def list_jobs(world: World, asked: Asked) -> Reply:
    """The jobs of the latest attempt, or with `filter=all` of every one."""
    run = _run(world, asked)
    jobs = world.jobs(run)
    if asked.query.get("filter", "latest") != "all":
        jobs = tuple(job for job in jobs if job.attempt == run.latest.number)
    return _jobs_reply(jobs, run, asked)


def list_attempt_jobs(world: World, asked: Asked) -> Reply:
    run = _run(world, asked)
    return _jobs_reply([job for job in world.jobs(run) if job.attempt == asked.place["attempt"]], run, asked)


def rerun(world: World, asked: Asked) -> Reply:
    run = _run(world, asked)
    if run.latest.status != COMPLETED:
        raise ProblemError(403, "This workflow is already running")
    world.rerun(run.id, actor=asked.user.login)
    return Reply({}, status=201)


def dispatch(world: World, asked: Asked) -> Reply:
    """Starts a run. Its details are answered where the caller asks for them and the server knows how."""
    workflow = _workflow(world, asked)
    inputs = asked.body.get("inputs") or {}
    _check_dispatch(world, asked, inputs)
    run = world.dispatch(workflow, ref=asked.body["ref"], inputs=inputs, actor=asked.user.login)
    has_details = asked.body.get("return_run_details") is True and world.run_details is RunDetails.SUPPORTED
    return Reply(asked.render.actions.dispatched(run)) if has_details else Reply(None, status=204)


def graphql(_world: World, _asked: Asked) -> Reply:
    raise ProblemError(501, "GraphQL is not answered here")


def _check_dispatch(world: World, asked: Asked, inputs: object) -> None:
    if not asked.body.get("ref"):
        raise ProblemError(422, 'Invalid request.\n\n"ref" wasn\'t supplied.')
    if not isinstance(inputs, dict):
        raise ProblemError(422, 'Invalid request.\n\n"inputs" is not an object.')
    if len(inputs) > MAX_INPUTS:
        raise ProblemError(422, f"you may only define up to {MAX_INPUTS} `inputs` for a `workflow_dispatch` event")
    if "return_run_details" in asked.body and world.run_details is RunDetails.REFUSED:
        raise ProblemError(422, 'Invalid request.\n\n"return_run_details" is not a permitted key.')


def _runs_reply(runs: Sequence[Run], asked: Asked) -> Reply:
    selected = select_runs(runs, asked.query)
    page, links = page_of(within_search(selected, asked.query), asked)
    is_brief = asked.flag("exclude_pull_requests")
    shown = [asked.render.actions.run(run) | ({"pull_requests": []} if is_brief else {}) for run in page]
    return Reply({"total_count": len(selected), "workflow_runs": shown}, headers=links)


def _jobs_reply(jobs: Sequence[Job], run: Run, asked: Asked) -> Reply:
    page, links = page_of(jobs, asked)
    return Reply(
        {"total_count": len(jobs), "jobs": [asked.render.actions.job(job, run) for job in page]}, headers=links
    )


def _repo(world: World, asked: Asked) -> Repo:
    """The repository of the address. One that was renamed is somewhere else now: 301, and 307 for what writes."""
    if "repo_id" in asked.place:
        known = world.find_repo(asked.place["repo_id"])
    else:
        known = world.find_repo(f"{asked.place['owner']}/{asked.place['name']}")
    if known is None:
        raise ProblemError(404, "Not Found")
    if "repo_id" not in asked.place and not _is_named(known, asked):
        raise ProblemError(301 if asked.method == "GET" else 307, "Moved Permanently", location=_location(known, asked))
    return known


def _is_named(repo: Repo, asked: Asked) -> bool:
    return repo.full_name.lower() == f"{asked.place['owner']}/{asked.place['name']}".lower()


def _location(repo: Repo, asked: Asked) -> str:
    rest = asked.path.removeprefix(f"/repos/{asked.place['owner']}/{asked.place['name']}")
    query = f"?{urlencode(asked.query)}" if asked.query else ""
    return f"{asked.api_url}/repositories/{repo.id}{rest}{query}"


def _pull(world: World, asked: Asked) -> Pull:
    pull = world.find_pull(_repo(world, asked), asked.place["number"])
    if pull is None:
        raise ProblemError(404, "Not Found")
    return pull


def _workflow(world: World, asked: Asked) -> Workflow:
    workflow = world.find_workflow(_repo(world, asked), asked.place["workflow"])
    if workflow is None:
        raise ProblemError(404, "Not Found")
    return workflow


def _run(world: World, asked: Asked) -> Run:
    run = world.find_run(_repo(world, asked), asked.place["run_id"])
    if run is None:
        raise ProblemError(404, "Not Found")
    return run
