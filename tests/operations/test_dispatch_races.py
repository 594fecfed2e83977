"""Many dispatches at once on the real S3 server, through two replicas, with GitHub's stand-in, whose lists are late and
disorderly: no run has two requests, no request is sent twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.adapters.conftest import seed
from tests.adapters.github_setup import FILES, REPO, TOKEN, portal_at
from tests.builders import request, with_pull, with_run
from tests.dispatch_setup import ADMIN
from tests.fakes import InMemory
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.deliveries import S3Deliveries
from tfpilot.adapters.dispatches import S3Dispatches
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.events import S3Events
from tfpilot.adapters.github_workflows import GitHubWorkflows
from tfpilot.adapters.keys import active_key
from tfpilot.adapters.run_index import S3RunIndex
from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.snapshot import BucketSnapshots
from tfpilot.core.dispatch import DispatchAnswer, DispatchEnd, DispatchOrder, DispatchResult
from tfpilot.core.document import format_time, parse_document, render_document
from tfpilot.core.lifecycle import lacks_run
from tfpilot.core.model import DispatchState, RepoRef, Request, RunListing, Thresholds, WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.core.run_index import parse_entry
from tfpilot.edges import Edges, Myself
from tfpilot.errors import ConflictError, RefusedError, TfPilotError
from tfpilot.operations.dispatch import dispatch
from tfpilot.operations.open_dispatches import choose_run, look_for_run
from tfpilot.operations.rewrite import read_request
from tfpilot.sandbox.github import Fault, FaultKind, Lists, Run, RunDetails, Workflow, World, serve

pytestmark = pytest.mark.server

DESTROY = WorkflowKind.DESTROY
IDS = tuple(f"req_dev_race_{number}" for number in range(64))
LOOKS = 20
"""How often each open dispatch is looked for afterwards."""
NAMED = "Destroy ${{ inputs.request_id }}"
UNNAMED = ""
LATE = Lists(late_calls=16, seed=7)
"""Less than LOOKS, so that the last one that is looked for is shown in time."""
INDEX = "webhooks/github/run-index/destroy/"
PATIENCE_SECONDS = 60


def utc_now() -> datetime:
    return datetime.now(UTC)


class Reality(World):
    """The stand-in, which remembers what it started for whom."""

    def __init__(self, **how: Any) -> None:
        super().__init__(rate_limit=1_000_000, **how)
        self.started: dict[int, str] = {}

    def dispatch(self, workflow: Workflow, *, ref: str, inputs: Mapping[str, object], actor: str) -> Run:
        run = super().dispatch(workflow, ref=ref, inputs=inputs, actor=actor)
        self.started[run.id] = str(inputs["request_id"])
        return run

    def show_all(self) -> None:
        """From now on no list is late."""
        self.lists = Lists()

    def start_by_hand(self, actor: str) -> None:
        repo = self.repo(REPO)
        workflow = self.find_workflow(repo, FILES[DESTROY])
        assert workflow is not None
        self.dispatch(workflow, ref="main", inputs={"request_id": "req_dev_by_hand", "environment": "dev"}, actor=actor)


@dataclass
class AtOnce:
    """GitHub's workflows; every dispatch waits until as many others are about to be sent, and `between` is called while
    they are under way."""

    workflows: GitHubWorkflows
    barrier: threading.Barrier
    between: Callable[[], None] = field(default=lambda: None)

    def me(self) -> Myself:
        return self.workflows.me()

    def dispatch(self, order: DispatchOrder, *, deadline: timedelta) -> DispatchAnswer:
        self.barrier.wait(PATIENCE_SECONDS)
        self.between()
        return self.workflows.dispatch(order, deadline=deadline)

    def list_runs(self, repo: RepoRef, workflow_file: str, *, since: datetime, deadline: timedelta) -> RunListing:
        return self.workflows.list_runs(repo, workflow_file, since=since, deadline=deadline)


@dataclass
class Scene:
    """Two replicas of the portal on one bucket and one GitHub."""

    bucket: Bucket
    world: Reality
    replicas: Sequence[Edges]
    ids: Sequence[str]

    def edges_for(self, request_id: str) -> Edges:
        return self.replicas[IDS.index(request_id) % len(self.replicas)]

    def dispatch_all(self) -> Mapping[str, DispatchResult]:
        jobs = [lambda each=each: dispatch(self.edges_for(each), each, DESTROY, operator=ADMIN) for each in self.ids]
        return dict(zip(self.ids, at_once(jobs), strict=True))

    def look_again(self, *, times: int = LOOKS) -> None:
        """Looks for the run of every open dispatch, all at once, a bounded number of times."""
        for _ in range(times):
            open_ones = [each for each in self.ids if lacks_run(self.request(each), DESTROY)]
            if not open_ones:
                return
            at_once([lambda each=each: self.look(each) for each in open_ones])

    def look(self, request_id: str) -> DispatchResult:
        edges = self.edges_for(request_id)
        return look_for_run(edges, read_request(edges, request_id), DESTROY, operator=ADMIN)

    def request(self, request_id: str) -> Request:
        content = self.bucket.read(active_key(request_id), limit_bytes=10**6).content
        return parse_request(parse_document(content, request_id=request_id))

    def runs(self) -> dict[str, int]:
        """The run of each request whose run is known."""
        facts = {each: self.request(each).runs[DESTROY] for each in self.ids}
        return {each: fact.run_id for each, fact in facts.items() if fact.run_id is not None}

    def run_of(self, request_id: str) -> int:
        return next(run_id for run_id, owner in self.world.started.items() if owner == request_id)

    def entries(self) -> dict[int, str]:
        keys = self.bucket.list_all(INDEX)
        found = [parse_entry(self.bucket.read(key, limit_bytes=10**6).content, key=key) for key in keys]
        return {each.run_id: each.request_id for each in found}

    def states(self, request_id: str) -> list[DispatchState]:
        return [each.record.state for each in self.replicas[0].dispatches.list(request_id)]


def at_once(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


Build = Callable[..., Scene]


@pytest.fixture(autouse=True)
def one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatch looks for its run once: the further looks follow one round after another."""
    monkeypatch.setattr("tfpilot.operations.dispatch.LOOK_AGAIN_AFTER", ())


@pytest.fixture
def scene(bucket: Bucket) -> Iterator[Build]:
    """`scene(run_name, count=64, run_details=…)`: all requests are applied, and one destroy goes on at a time."""
    with ExitStack() as stack:

        def build(
            run_name: str, *, count: int = len(IDS), parties: int = 0, faults: Sequence[Fault] = (), **how: Any
        ) -> Scene:
            world = Reality(**how)
            world.add_user("portal", token=TOKEN)
            world.add_repo(REPO)
            world.add_workflow(REPO, FILES[DESTROY], run_name=run_name, concurrency="destroy-${{ inputs.environment }}")
            for fault in faults:
                world.faults.add(fault)
            stand_in = stack.enter_context(serve(world))
            seed(bucket, {active_key(each): render_document(applied_an_hour_ago(each)) for each in IDS})
            barrier = threading.Barrier(parties or count)
            replicas = [_replica(stack, bucket, stand_in.url, world, barrier) for _ in range(2)]
            return Scene(bucket, world, replicas, IDS[:count])

        yield build


def applied_an_hour_ago(request_id: str) -> dict[str, Any]:
    applied = {
        "runId": 1 + IDS.index(request_id),
        "status": "completed",
        "conclusion": "success",
        "createdAt": format_time(utc_now() - timedelta(hours=1)),
    }
    return with_run(with_pull(request(request_id), open=False, merged=True), "apply", **applied)


def _replica(stack: ExitStack, bucket: Bucket, url: str, world: Reality, barrier: threading.Barrier) -> Edges:
    bulk = Bulk(bucket)
    snapshots = BucketSnapshots(bucket, bulk, clock=utc_now, thresholds=Thresholds())
    stack.enter_context(closing(snapshots))
    workflows = GitHubWorkflows(stack.enter_context(portal_at(url)))
    counted = threading.Lock()
    sent = Counter[str]()

    def between() -> None:
        """Now and then somebody starts one by hand, with another login or our own, and GitHub goes on."""
        with counted:
            sent["dispatches"] += 1
            number = sent["dispatches"]
        if number % 8 == 0:
            world.start_by_hand("tom-r" if number % 16 else "portal")
            world.step()

    return replace(
        InMemory().edges,
        documents=S3Documents(bucket),
        snapshots=snapshots,
        workflows=AtOnce(workflows, barrier, between),
        run_index=S3RunIndex(bucket),
        dispatches=S3Dispatches(bucket, bulk),
        deliveries=S3Deliveries(bucket, bulk),
        events=S3Events(bulk),
        clock=utc_now,
        sleep=lambda _duration: None,
    )


def assert_nobody_shares(scene: Scene) -> None:
    """Every request has its own run or says openly that it has none; each was started once."""
    started = Counter(owner for owner in scene.world.started.values() if owner in IDS)
    assert started == dict.fromkeys(scene.ids, 1)
    runs, entries = scene.runs(), scene.entries()
    assert {run_id: request_id for request_id, run_id in runs.items()} == {
        run_id: owner for run_id, owner in entries.items() if owner in runs
    }
    assert all(scene.world.started[run_id] == request_id for request_id, run_id in runs.items())
    assert all(scene.world.started[run_id] == owner for run_id, owner in entries.items())
    for request_id in scene.ids:
        state = DispatchState.STARTED if request_id in runs else DispatchState.OPEN
        assert scene.states(request_id) == [state]
        assert scene.request(request_id).lock is None


def posts(scene: Scene) -> set[int]:
    """How many POSTs arrived per request."""
    counted = scene.world.dispatches()
    return {counted[FILES[DESTROY], request_id] for request_id in scene.ids}


@pytest.mark.parametrize("run_name", [NAMED, UNNAMED], ids=["named", "unnamed"])
def test_sixty_four_destroys_at_once_each_get_the_run_that_github_names(scene: Build, run_name: str) -> None:
    github = scene(run_name, lists=LATE)
    results = github.dispatch_all()
    assert {result.end for result in results.values()} == {DispatchEnd.STARTED}
    assert len(github.runs()) == len(IDS)
    assert_nobody_shares(github)
    assert posts(github) == {1}


def test_sixty_four_destroys_at_once_find_their_runs_by_name_in_late_and_disorderly_lists(scene: Build) -> None:
    github = scene(NAMED, lists=LATE, run_details=RunDetails.IGNORED)
    github.dispatch_all()
    github.look_again()
    assert len(github.runs()) == len(IDS)
    assert_nobody_shares(github)
    assert posts(github) == {1}


def test_sixty_four_destroys_whose_runs_name_nobody_stay_open_until_a_person_chooses(scene: Build) -> None:
    github = scene(UNNAMED, lists=LATE, run_details=RunDetails.IGNORED)
    results = github.dispatch_all()
    assert {result.end for result in results.values()} <= {DispatchEnd.AMBIGUOUS, DispatchEnd.UNKNOWN}
    assert_nobody_shares(github)
    github.world.show_all()
    for request_id in IDS[:3]:
        choose_run(github.edges_for(request_id), request_id, DESTROY, github.run_of(request_id), operator=ADMIN)
    assert github.runs() == {request_id: github.run_of(request_id) for request_id in IDS[:3]}
    with pytest.raises(RefusedError, match="is no candidate"):
        choose_run(github.edges_for(IDS[4]), IDS[4], DESTROY, github.run_of(IDS[0]), operator=ADMIN)
    assert_nobody_shares(github)
    assert posts(github) == {1}


def test_a_server_that_refuses_to_be_asked_for_the_run_starts_one_all_the_same(scene: Build) -> None:
    github = scene(NAMED, count=16, lists=LATE, run_details=RunDetails.REFUSED)
    github.dispatch_all()
    github.look_again()
    assert len(github.runs()) == len(github.ids)
    assert_nobody_shares(github)
    assert posts(github) <= {1, 2}


@pytest.mark.parametrize("run_name", [NAMED, UNNAMED], ids=["named", "unnamed"])
def test_where_answers_get_lost_after_github_acted_nothing_is_sent_again(scene: Build, run_name: str) -> None:
    lost = Fault(FaultKind.DISCONNECT, path="*/dispatches", method="POST", times=12, acts=True)
    github = scene(run_name, count=24, lists=LATE, faults=[lost])
    results = github.dispatch_all()
    github.look_again(times=LOOKS if run_name == NAMED else 2)
    named = sum(result.end is DispatchEnd.STARTED for result in results.values())
    assert 0 < named <= len(github.ids) - 12
    assert_nobody_shares(github)
    assert len(github.runs()) == (len(github.ids) if run_name == NAMED else named)
    assert posts(github) == {1}


@pytest.mark.parametrize("details", [RunDetails.SUPPORTED, RunDetails.IGNORED])
def test_thirty_two_who_destroy_the_same_request_at_once_send_one_post(scene: Build, details: RunDetails) -> None:
    github = scene(NAMED, parties=1, run_details=details)
    request_id = IDS[0]

    def destroy(number: int) -> DispatchResult | TfPilotError:
        try:
            return dispatch(github.replicas[number % 2], request_id, DESTROY, operator=ADMIN)
        except (RefusedError, ConflictError) as refusal:
            return refusal

    results = at_once([lambda number=number: destroy(number) for number in range(32)])
    assert github.world.dispatches()[FILES[DESTROY], request_id] == 1
    assert list(github.world.started.values()) == [request_id]
    assert github.request(request_id).runs[DESTROY].run_id == github.run_of(request_id)
    assert github.request(request_id).lock is None
    assert any(isinstance(result, DispatchResult) for result in results)
    assert github.entries() == {github.run_of(request_id): request_id}
