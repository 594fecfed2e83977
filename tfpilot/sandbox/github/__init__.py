"""A stateful stand-in for GitHub on loopback, to be spoken to with the ordinary client.

    world = World()                                     # or World(clock=..., rate_limit=..., pace=...)
    token = world.add_user("maya", token="ghp_maya").token
    world.add_repo("acme/infra", workflows={"plan.yml": "Plan", "apply.yml": "Apply"})
    pull = world.add_pull("acme/infra", branch="request/req_1", title="req_1")
    run = world.add_run("acme/infra", "plan.yml", branch="request/req_1", status="in_progress")
    with serve(world) as stand_in:
        github = Github(base_url=stand_in.url, auth=Auth.Token(token), lazy=True)

`World` is what GitHub knows: its methods are what people and workflows do there, and every change is answered over
REST from then on, and told to the hooks connected to it. It may be changed from any thread while it is served.
`Fault` says how an answer goes wrong; `world.faults.add(Fault(FaultKind.STATUS, path="*/pulls/7", status=502))`.
`Hook(world, sink, secret=...)` sends webhooks, `hook.drop = True` loses them; `posting_to(url)` is a sink that posts.
With `acts=True` GitHub does what it was asked, and only the answer is lost. `Lists` says how late lists of runs are,
`add_workflow(..., concurrency="destroy-${{ inputs.environment }}")` which runs wait for each other.
`world.calls` is every REST call that arrived, `world.clear_calls()` forgets them; `world.dispatches()` counts the POSTs
that started a workflow, or should have, by workflow file and request id.

Repositories are named `owner/name`; times are aware UTC, in whole seconds as GitHub's are.
"""

from tfpilot.sandbox.github.faults import Fault, FaultKind
from tfpilot.sandbox.github.hooks import Delivery, Hook, posting_to
from tfpilot.sandbox.github.server import StandIn, serve
from tfpilot.sandbox.github.state import Call, Job, Lists, Pace, Pull, Repo, Review, Run, RunDetails, User, Workflow
from tfpilot.sandbox.github.world import Change, World

__all__ = [
    "Call",
    "Change",
    "Delivery",
    "Fault",
    "FaultKind",
    "Hook",
    "Job",
    "Lists",
    "Pace",
    "Pull",
    "Repo",
    "Review",
    "Run",
    "RunDetails",
    "StandIn",
    "User",
    "Workflow",
    "World",
    "posting_to",
    "serve",
]
