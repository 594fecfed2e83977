"""One repair of everything in the seeded world, by the real operation, over the real S3 server and the real client."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes import Clock, InMemory
from tfpilot.adapters.backoffs import S3Backoffs
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.dispatches import S3Dispatches
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.events import S3Events
from tfpilot.adapters.github import GitHubEdge, GitHubSettings, TokenCredential
from tfpilot.adapters.github_workflows import GitHubWorkflows
from tfpilot.adapters.memos import S3CheckedMemos
from tfpilot.adapters.run_index import S3RunIndex
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.diagnosis import STUCK_CODES
from tfpilot.core.model import FactOutcome, FindingCode, LifecycleStatus, Operator, Role, SyncMode, SyncResult
from tfpilot.edges import Edges
from tfpilot.errors import ArchivedError, DocumentError, RefusedError, TfPilotError
from tfpilot.operations.browse import RequestView, open_request
from tfpilot.operations.sync import sync
from tfpilot.sandbox.github import World, serve
from tfpilot.sandbox.seed import PLOTS, plant
from tfpilot.sandbox.seeded import healthy, lost, settled
from tfpilot.sandbox.seeded.lost import HERO, HERO_RUN
from tfpilot.sandbox.seeded.stage import WORKFLOW_FILES
from tfpilot.sandbox.seeded.unreadable import UNREADABLE
from tfpilot.sandbox.storage import LocalS3

pytestmark = pytest.mark.server

NOW = datetime(2026, 11, 20, 14, 20, tzinfo=UTC)
TOKEN = "sandbox-portal"
ADMIN = Operator("ops-lead", Role.ADMIN)

REQUESTS = [*(plot.request_id for plot in PLOTS), *UNREADABLE]
LONG_DISCUSSION = "req_prod_s3_c2hy7g"
STILL_STUCK = {
    "req_prod_rds_t7mq2x": "GitHub says that the apply is still running",
    "req_prod_sqs_k5yf9j": "GitHub has deleted the apply run",
    "req_staging_iam_z4tp9m": "the apply was never dispatched",
}
REFUSED: Mapping[str, type[TfPilotError]] = {
    **dict.fromkeys(UNREADABLE, DocumentError),
    "req_dev_ec2_s7kh2d": ArchivedError,
    "req_staging_s3_y9wb5j": ArchivedError,
    "req_dev_sqs_x2bd6w": RefusedError,
}
HEALED = {
    HERO: LifecycleStatus.APPROVED,
    "req_dev_s3_h4kz8w": LifecycleStatus.FAILED,
    "req_dev_ecr_p2jq5m": LifecycleStatus.FAILED,
    "req_staging_sqs_b7nt3e": LifecycleStatus.PLAN_READY,
    "req_dev_ecr_y6cs4u": LifecycleStatus.PLAN_READY,
    "req_dev_sqs_q9wm5a": LifecycleStatus.PLAN_READY,
    "req_prod_ecr_y2fx6t": LifecycleStatus.APPLIED,
    "req_staging_iam_r3vd9k": LifecycleStatus.APPLIED,
    "req_prod_rds_k8vq3h": LifecycleStatus.APPLIED,
    "req_prod_ec2_m8cx2r": LifecycleStatus.APPLIED,
    "req_dev_ecr_n9cm2p": LifecycleStatus.DESTROYED,
    "req_dev_iam_d8sv4q": LifecycleStatus.DESTROYED,
    "req_staging_sqs_f5pm9x": LifecycleStatus.MERGED,
    "req_dev_ec2_u3gk7z": LifecycleStatus.APPROVED,
    LONG_DISCUSSION: LifecycleStatus.APPROVED,
    "req_prod_iam_j6wt2k": LifecycleStatus.PLAN_READY,
    "req_staging_ecr_v4nb8r": LifecycleStatus.PLAN_READY,
}
"""What GitHub knows better, and where the request stands once we know it too."""


@dataclass(frozen=True)
class Repaired:
    """The world before and after two repairs of everything. A request that was refused has its error."""

    edges: Edges
    before: Mapping[str, RequestView]
    after: Mapping[str, RequestView]
    first: Mapping[str, SyncResult | TfPilotError]
    second: Mapping[str, SyncResult | TfPilotError]
    etags_after_first: Mapping[str, str]
    etags_after_second: Mapping[str, str]
    etags_after_third: Mapping[str, str]

    def cleaned_up(self) -> frozenset[str]:
        """The requests whose cleanup the first repair dispatched: of them GitHub has news."""
        return frozenset(name for name, result in self.repaired().items() if result.cleanup)

    def repaired(self) -> Mapping[str, SyncResult]:
        return {name: result for name, result in self.first.items() if isinstance(result, SyncResult)}


@pytest.fixture(scope="module")
def repaired(s3_server: LocalS3) -> Iterator[Repaired]:
    settings = s3_server.create_bucket(f"seed-{uuid.uuid4().hex[:12]}")
    world = World(clock=lambda: NOW)
    world.add_user("tfpilot-portal", token=TOKEN)
    plant(world, settings, now=NOW)
    bucket, clock = Bucket(settings), Clock(NOW + timedelta(minutes=1))
    with serve(world) as stand_in, closing(GitHubEdge(_github(stand_in.url))) as github:
        edges = _edges(bucket, github, clock)
        before = _views(edges)
        first = _repair_all(edges)
        after, etags_after_first = _views(edges), _etags(bucket)
        clock.advance(minutes=1)
        second, etags_after_second = _repair_all(edges), _etags(bucket)
        clock.advance(minutes=1)
        _repair_all(edges, [name for name, result in second.items() if isinstance(result, SyncResult) and result.wrote])
        yield Repaired(edges, before, after, first, second, etags_after_first, etags_after_second, _etags(bucket))


def _github(url: str) -> GitHubSettings:
    return GitHubSettings(url, TokenCredential(TOKEN), WORKFLOW_FILES)


def _edges(bucket: Bucket, github: GitHubEdge, clock: Clock) -> Edges:
    return replace(
        InMemory(clock=clock).edges,
        documents=S3Documents(bucket),
        checked=S3CheckedMemos(bucket),
        backoffs=S3Backoffs(bucket),
        events=S3Events(bucket, Bulk(bucket)),
        run_index=S3RunIndex(bucket),
        dispatches=S3Dispatches(bucket, Bulk(bucket)),
        github=github,
        workflows=GitHubWorkflows(github),
    )


def _repair_all(edges: Edges, wanted: Sequence[str] = REQUESTS) -> Mapping[str, SyncResult | TfPilotError]:
    def repair(request_id: str) -> SyncResult | TfPilotError:
        try:
            return sync(edges, request_id, mode=SyncMode.REPAIR, operator=ADMIN)
        except TfPilotError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(wanted, pool.map(repair, wanted), strict=True))


def _views(edges: Edges) -> Mapping[str, RequestView]:
    return {plot.request_id: open_request(edges, plot.request_id) for plot in PLOTS}


def _etags(bucket: Bucket) -> Mapping[str, str]:
    """The version of every document, active and archived."""
    found = {**bucket.list_all("requests/"), **bucket.list_all("history/")}
    return {key: listed.etag for key, listed in found.items()}


def _codes(view: RequestView) -> set[FindingCode]:
    return {finding.code for finding in view.findings}


def test_only_what_cannot_be_repaired_is_refused_and_says_why(repaired: Repaired) -> None:
    refused = {name: type(result) for name, result in repaired.first.items() if isinstance(result, TfPilotError)}
    assert refused == REFUSED


def test_nothing_goes_wrong_beside_the_documents(repaired: Repaired) -> None:
    assert {name: result.notices for name, result in repaired.repaired().items() if result.notices} == {}


def test_every_fact_is_answered(repaired: Repaired) -> None:
    assert [name for name, result in repaired.repaired().items() if result.degraded] == []


def test_nothing_is_stuck_any_more_but_what_github_itself_leaves_open(repaired: Repaired) -> None:
    was = {name for name, view in repaired.before.items() if STUCK_CODES & _codes(view)}
    still = {name for name, view in repaired.after.items() if STUCK_CODES & _codes(view)}
    assert len(was) >= 9
    assert still == set(STILL_STUCK)


@pytest.mark.parametrize("request_id", HEALED)
def test_a_request_comes_to_where_github_has_it(repaired: Repaired, request_id: str) -> None:
    assert repaired.before[request_id].explanation.status is not HEALED[request_id]
    assert repaired.after[request_id].explanation.status is HEALED[request_id]


@pytest.mark.parametrize("request_id", [plot.request_id for plot in lost.PLOTS])
def test_a_lost_webhook_is_made_up_for(repaired: Repaired, request_id: str) -> None:
    result = repaired.repaired()[request_id]
    assert result.written
    assert result.plan.changes


@pytest.mark.parametrize("request_id", [plot.request_id for plot in (*healthy.PLOTS, *settled.PLOTS)])
def test_a_healthy_request_is_left_alone(repaired: Repaired, request_id: str) -> None:
    result = repaired.repaired()[request_id]
    assert [change.dotted for change in result.plan.changes] == []
    assert not result.written
    assert repaired.before[request_id].stored == repaired.after[request_id].stored


def test_a_second_repair_of_everything_writes_nothing(repaired: Repaired) -> None:
    written = {name for name, result in repaired.second.items() if isinstance(result, SyncResult) and result.written}
    assert written == repaired.cleaned_up()
    changed = {key for key, etag in repaired.etags_after_second.items() if repaired.etags_after_first[key] != etag}
    assert {key.rpartition("/")[2].removesuffix(".json") for key in changed} == repaired.cleaned_up()


def test_a_destroyed_request_without_cleanup_gets_one_and_then_nothing_more(repaired: Repaired) -> None:
    assert repaired.cleaned_up() == {"req_dev_iam_e7rk3v", "req_dev_iam_d8sv4q", "req_dev_sqs_o3wr8d"}
    assert repaired.etags_after_third == repaired.etags_after_second


def test_a_repair_makes_at_most_eight_calls_to_github(repaired: Repaired) -> None:
    """One more for the jobs of an interrupted run, and one per further page of reviews. The second repair is counted:
    the first one learned where the renamed repository is."""
    many = {
        name: result.facts.calls
        for name, result in repaired.second.items()
        if isinstance(result, SyncResult) and result.facts.calls > 8 + (name == LONG_DISCUSSION) + _jobs_asked(result)
    }
    assert many == {}


def _jobs_asked(result: SyncResult) -> int:
    return sum(answer.outcome is not FactOutcome.NOT_ASKED for answer in result.facts.jobs.values())


def test_the_hero_gets_its_plan_and_its_approval(repaired: Repaired) -> None:
    result, view = repaired.repaired()[HERO], repaired.after[HERO]
    document = view.stored.document
    assert result.plan.status_before is LifecycleStatus.PLANNING
    assert result.plan.status_after is LifecycleStatus.APPROVED
    for fact in (document["planRun"], document["github"]["workflows"]["plan"]):
        assert (fact["runId"], fact["status"], fact["conclusion"]) == (HERO_RUN, "completed", "success")
    assert document["approval"]["approved"] is True
    assert list(document["approval"]["reviews"]) == ["ines-r"]
    assert view.events[0].event == "request_repaired"
    assert not _codes(view) & {FindingCode.STUCK_PLANNING, FindingCode.SPLIT_FACTS}


def test_a_lost_merge_is_kept_with_its_commit(repaired: Repaired) -> None:
    document = repaired.after["req_staging_sqs_f5pm9x"].stored.document
    assert document["mergedSha"] == document["github"]["pr"]["mergeCommitSha"]
    assert document["pr"]["merged"] is True


def test_a_request_whose_run_belongs_to_another_keeps_what_it_has(repaired: Repaired) -> None:
    result = repaired.repaired()["req_staging_ec2_h9wd4k"]
    assert [text for text in result.plan.crossed if "req_staging_ec2_g3mb7y" in text]
    assert not any(change.dotted.startswith(("applyRun", "github.workflows.apply")) for change in result.plan.changes)


@pytest.mark.parametrize("request_id", ["req_prod_sqs_k5yf9j", "req_prod_iam_a4cn8w", "req_dev_s3_v5ty3g"])
def test_a_run_that_github_deleted_is_remembered_as_unresolved(repaired: Repaired, request_id: str) -> None:
    view = repaired.after[request_id]
    assert view.request.unresolved
    assert not view.needs_repair


def test_a_deleted_pull_request_is_said_and_the_rest_is_kept(repaired: Repaired) -> None:
    result, view = repaired.repaired()["req_dev_iam_t4hc7q"], repaired.after["req_dev_iam_t4hc7q"]
    assert result.facts.pull.outcome is FactOutcome.NOT_FOUND
    assert FindingCode.MISSING_PR in _codes(view)
    assert view.explanation.status is LifecycleStatus.PLAN_READY


def test_jobs_tell_an_apply_that_was_interrupted_from_one_that_never_started(repaired: Repaired) -> None:
    assert FindingCode.STATE_UNKNOWN in _codes(repaired.after["req_prod_ec2_q3zy6b"])
    assert FindingCode.STATE_UNKNOWN in _codes(repaired.after["req_dev_ec2_z6fp2s"])
    assert FindingCode.NEVER_STARTED in _codes(repaired.after["req_prod_s3_u7mk2x"])


def test_legacy_facts_get_their_canonical_place_and_keep_their_own(repaired: Repaired) -> None:
    before = repaired.before["req_staging_ecr_c6qz4t"].stored.document
    after = repaired.after["req_staging_ecr_c6qz4t"].stored.document
    assert "github" not in before
    assert after["github"]["workflows"]["apply"]["runId"] == before["applyRun"]["runId"]
    assert after["pullRequest"] == before["pullRequest"]
    assert after["config"] == before["config"]


def test_hostile_addresses_are_replaced_by_githubs_and_other_text_stays(repaired: Repaired) -> None:
    after = repaired.after["req_dev_s3_p8ge3l"].stored.document
    assert after["pr"]["url"].startswith("https://github.com/northwind-infra/core-terraform/pull/")
    assert after["project"].startswith("<script>")


@pytest.mark.parametrize("request_id", ["req_dev_s3_z3hd5r", "req_dev_rds_t6cw3n", "req_dev_ecr_n9cm2p"])
def test_a_destroyed_request_has_its_final_form_in_the_archive(repaired: Repaired, request_id: str) -> None:
    archived = repaired.edges.documents.find_archived(request_id)
    assert archived is not None
    assert archived.document == repaired.after[request_id].stored.document


def test_a_merged_cleanup_is_a_step_of_the_timeline_once(repaired: Repaired) -> None:
    document = repaired.after["req_dev_rds_t6cw3n"].stored.document
    steps = [step["step"] for step in document["timeline"]]
    assert steps == ["Cleanup PR opened", "Cleanup PR merged"]
    assert document["cleanupPr"]["merged"] is True
