"""The seeded world: the same every time, and with everything in it that an operator can meet."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import pytest

from tests.fakes import Clock, InMemory
from tfpilot.core.model import FindingCode, LifecycleStatus
from tfpilot.core.request import parse_request
from tfpilot.core.selection import RequestFilter
from tfpilot.edges import Edges
from tfpilot.errors import DocumentError
from tfpilot.operations.browse import RequestView, list_fresh_requests, open_request
from tfpilot.sandbox.github import World
from tfpilot.sandbox.seed import PLOTS, compose
from tfpilot.sandbox.seeded.lost import HERO, HERO_PULL, HERO_RUN
from tfpilot.sandbox.seeded.stage import INFRAS
from tfpilot.sandbox.seeded.unreadable import UNREADABLE

NOW = datetime(2026, 11, 20, 14, 20, tzinfo=UTC)

REACHABLE = {
    FindingCode.STALE_DESTROY,
    FindingCode.STUCK_PLANNING,
    FindingCode.STUCK_APPLYING,
    FindingCode.RUN_UNKNOWN,
    FindingCode.NOT_DISPATCHED,
    FindingCode.QUEUED,
    FindingCode.WAITING_APPROVAL,
    FindingCode.MISSING_PR,
    FindingCode.MISSING_RUN,
    FindingCode.STATUS_DRIFT,
    FindingCode.SPLIT_FACTS,
    FindingCode.STATE_UNKNOWN,
    FindingCode.NEVER_STARTED,
    FindingCode.NOTHING_DESTROYED,
    FindingCode.CLEANUP_FAILED,
    FindingCode.ABANDONED,
    FindingCode.LOCK_EXPIRED,
    FindingCode.INDEX_MISSING,
    FindingCode.INDEX_CROSSED,
    FindingCode.OVERWRITTEN_FACT,
}


@dataclass(frozen=True)
class Seeded:
    world: World
    objects: Mapping[str, bytes]
    edges: Edges

    @cached_property
    def views(self) -> list[RequestView]:
        """Every request that can be read, as its page shows it."""
        return [open_request(self.edges, plot.request_id) for plot in PLOTS]

    def view(self, request_id: str) -> RequestView:
        return open_request(self.edges, request_id)


def seed(now: datetime = NOW) -> Seeded:
    world, memory = World(clock=lambda: now), InMemory(clock=Clock(now))
    objects = compose(world, now=now)
    for key, content in objects.items():
        memory.bucket.write(key, content)
    return Seeded(world, objects, memory.edges)


@pytest.fixture(scope="module")
def seeded() -> Seeded:
    return seed()


def codes(view: RequestView) -> set[FindingCode]:
    return {finding.code for finding in view.findings}


def test_the_same_moment_gives_the_same_world_and_the_same_bytes(seeded: Seeded) -> None:
    again = seed()
    assert again.objects == seeded.objects
    for infra in INFRAS:
        first, second = seeded.world.repo(infra.full_name), again.world.repo(infra.full_name)
        assert seeded.world.pulls(first) == again.world.pulls(second)
        assert seeded.world.runs(first) == again.world.runs(second)


def test_a_later_moment_gives_the_same_requests_with_later_times(seeded: Seeded) -> None:
    later = seed(NOW + timedelta(days=3, seconds=0.75))
    assert [key for key in later.objects if key.startswith("requests/")] == [
        key for key in seeded.objects if key.startswith("requests/")
    ]
    was, now = seeded.view(HERO).request, later.view(HERO).request
    assert now.received_at == was.received_at + timedelta(days=3)
    assert now.pr_number == was.pr_number


def test_there_are_about_ninety_requests_in_six_repositories(seeded: Seeded) -> None:
    found = list_fresh_requests(seeded.edges, RequestFilter())
    assert 80 <= len(found.selection.rows) <= 100
    assert {row.repo for row in found.selection.rows} >= {infra.full_name for infra in INFRAS}
    assert set(found.selection.environments) == {"dev", "staging", "prod"}


def test_every_status_occurs_more_than_once_and_applied_most(seeded: Seeded) -> None:
    counts = list_fresh_requests(seeded.edges, RequestFilter()).selection.by_status
    assert all(counts[status] >= 2 for status in LifecycleStatus), counts
    assert max(counts, key=counts.__getitem__) is LifecycleStatus.APPLIED


@pytest.mark.parametrize("code", sorted(REACHABLE))
def test_every_finding_can_be_seen(seeded: Seeded, code: FindingCode) -> None:
    assert any(code in codes(view) for view in seeded.views)


@pytest.mark.parametrize("request_id", sorted(UNREADABLE))
def test_what_is_no_request_is_a_row_with_its_error(seeded: Seeded, request_id: str) -> None:
    with pytest.raises(DocumentError) as failure:
        seeded.view(request_id)
    rows = {row.id: row for row in list_fresh_requests(seeded.edges, RequestFilter()).selection.rows}
    assert rows[request_id].status is None
    assert rows[request_id].error
    assert failure.value.message in rows[request_id].error


def test_unreadable_objects_fail_each_for_a_reason_of_its_own(seeded: Seeded) -> None:
    rows = list_fresh_requests(seeded.edges, RequestFilter()).selection.rows
    errors = " | ".join(row.error for row in rows if row.error)
    for reason in ("not JSON", "not UTF-8", "JSON array", "says that its id is", "nested deeper"):
        assert reason in errors


def test_the_hero_is_stuck_in_planning_since_a_lost_webhook(seeded: Seeded) -> None:
    view = seeded.view(HERO)
    assert view.explanation.status is LifecycleStatus.PLANNING
    assert {FindingCode.STUCK_PLANNING, FindingCode.SPLIT_FACTS} <= codes(view)
    assert view.request.pr_number == HERO_PULL
    stored = {path: (fact.run_id, fact.status) for path, fact in view.request.stored_runs.items()}
    assert stored == {"github.workflows.plan": (HERO_RUN, "queued"), "planRun": (HERO_RUN, "in_progress")}
    run = seeded.world.run(HERO_RUN)
    assert run.latest.conclusion == "success"
    assert run.updated_at - run.created_at == timedelta(minutes=3)


def test_stuck_requests_were_asked_about_a_moment_ago_so_that_opening_one_leaves_it_to_the_operator(
    seeded: Seeded,
) -> None:
    for view in seeded.views:
        if view.needs_repair:
            assert view.checked is not None, view.request.id
            assert view.checked.at == NOW


def test_a_destroyed_request_has_an_archived_copy_that_is_older_than_the_active_one(seeded: Seeded) -> None:
    list_fresh_requests(seeded.edges, RequestFilter())
    view = seeded.view("req_dev_s3_z3hd5r")
    archived = seeded.edges.documents.find_archived(view.request.id)
    assert view.has_archived_copy
    assert archived is not None
    assert parse_request(archived.document).version < view.request.version


def test_archived_requests_are_only_readable(seeded: Seeded) -> None:
    archived = [view for view in seeded.views if view.archived]
    assert len(archived) >= 2
    rows = list_fresh_requests(seeded.edges, RequestFilter(archived=True)).selection.rows
    assert {row.id for row in rows} == {view.request.id for view in archived}


def test_a_revision_does_not_look_applied_because_its_predecessor_was(seeded: Seeded) -> None:
    view = seeded.view("req_dev_iam_k7hd3c")
    assert view.request.has_previous_pulls
    assert view.stored.document["applyRun"]["conclusion"] == "success"
    assert view.stored.document["mergedSha"]
    assert view.explanation.status is LifecycleStatus.PLAN_READY


def test_every_run_that_was_heard_of_lately_has_its_index_entry(seeded: Seeded) -> None:
    heard = [
        (kind, run.run_id)
        for view in seeded.views
        if view.request.id != HERO  # of whose plan run nobody wrote the entry
        for kind, run in view.request.runs.items()
        if run.run_id is not None and run.created_at is not None and NOW - run.created_at < timedelta(days=89)
    ]
    missing = [
        (kind, run_id)
        for kind, run_id in heard
        if f"webhooks/github/run-index/{kind.value}/run-{run_id}.json" not in seeded.objects
    ]
    assert len(heard) > 60
    assert missing == []


def test_hostile_text_is_stored_as_it_was_typed(seeded: Seeded) -> None:
    document = seeded.view("req_dev_s3_p8ge3l").stored.document
    assert document["project"].startswith("<script>")
    assert document["module"].startswith("@")
    assert document["pr"]["url"].startswith("javascript:")


def test_nothing_happens_after_now(seeded: Seeded) -> None:
    for infra in INFRAS:
        for run in seeded.world.runs(seeded.world.repo(infra.full_name)):
            assert run.updated_at <= NOW
    for view in seeded.views:
        assert view.request.updated_at <= NOW
        assert all(event.at <= NOW for event in view.events)
