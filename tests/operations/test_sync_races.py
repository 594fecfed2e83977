"""Repairs among other writers on the real S3 server: nobody's acknowledged change is lost, whoever else writes."""

from __future__ import annotations

import itertools
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import obstore
import pytest
from obstore.exceptions import PreconditionError

from tests.adapters.faulty_s3 import FaultyS3
from tests.builders import NOW, ago, request, stuck_planning, with_pull, with_run
from tests.fakes import InMemory
from tfpilot.adapters.bulk import Bulk, connect
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.events import S3Events
from tfpilot.adapters.keys import active_key, events_prefix
from tfpilot.adapters.s3 import Bucket, BucketSettings, bare_etag
from tfpilot.core.document import format_time, parse_document, render_document
from tfpilot.core.model import (
    Answer,
    FactOutcome,
    FactsQuery,
    GitHubFacts,
    JsonObject,
    Operator,
    PullFact,
    RepoRef,
    Review,
    Role,
    RunFact,
    SyncMode,
    SyncResult,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.edges import Edges
from tfpilot.operations.sync import sync

pytestmark = pytest.mark.server

WRITERS = 16
OPERATOR = Operator("ops-lead", Role.ADMIN)
IDS = tuple(f"req_dev_s3_race{number}" for number in range(8))
RUN_ID = 101
MERGED_SINCE_ATTEMPT = 3


def test_sixteen_writers_on_the_same_requests_lose_nothing_of_each_other(versioned: Portal) -> None:
    repairs = [partial(versioned.repair, request_id) for request_id in IDS * 20]
    edits = [partial(versioned.edit_carefully, request_id) for request_id in IDS * 230]
    done = storm(repairs + edits)
    assert len(done) == 2000
    for request_id in IDS:
        written = writes_in(done, request_id)
        edited = [edit for edit in done if isinstance(edit, Edit) and edit.request_id == request_id]
        history = versioned.history_of(request_id)
        assert_one_version_per_write(history, written, others=len(edited))
        assert_only_grows(history)
        assert set(notes_in(history[-1].document)) == {edit.note for edit in edited}
        assert attempts_in(history[-1].document) == {max(versioned.github.heard[request_id])}
        assert versioned.bases_of_repairs(history) == versioned.predecessors_of_repairs(history)
        assert len(versioned.bucket.list_all(events_prefix(request_id))) == len(written)


def test_a_repair_that_comes_late_leaves_the_newer_fact_of_another_one(portal: Portal) -> None:
    request_id = IDS[0]
    for result in storm([partial(portal.repair, request_id)] * 32):
        assert result.request.runs[WorkflowKind.PLAN].attempt >= result.facts.runs[WorkflowKind.PLAN].value.fact.attempt
    assert attempts_in(portal.document(request_id)) == {32}


def test_no_repair_destroys_what_an_app_wrote_that_looks_at_no_version(portal: Portal) -> None:
    repairs = [partial(portal.repair, request_id) for request_id in IDS * 12]
    apps = [partial(portal.edit_blindly, request_id, times=25) for request_id in IDS]
    done = storm(repairs, beside=apps)
    for request_id in IDS:
        [edits] = [edits for edits in done if isinstance(edits, list) and edits[0].request_id == request_id]
        assert notes_in(portal.document(request_id)) == [edit.note for edit in edits]
        assert writes_in(done, request_id)


def test_one_repair_brings_back_every_fact_that_such_an_app_overwrote(portal: Portal) -> None:
    forms = {request_id: portal.document(request_id) for request_id in IDS}
    repairs = [partial(portal.repair, request_id) for request_id in IDS * 4]
    storm(repairs, beside=[partial(portal.edit_blindly, request_id, times=10) for request_id in IDS])
    portal.github.stand_still()
    for request_id, form in forms.items():
        portal.app_stores({**form, "configuredBy": "a form opened long ago", "labels": {"team": request_id}})
        result = portal.repair(request_id)
        repaired, last = portal.document(request_id), max(portal.github.heard[request_id])
        assert result.written
        assert attempts_in(repaired) == {last}
        assert (repaired["github"]["pr"]["merged"], repaired["mergedSha"]) == (True, "c0ffee")
        review = {"state": "APPROVED", "submittedAt": format_time(NOW + timedelta(seconds=last))}
        assert repaired["approval"] == {"approved": True, "approvers": ["tom-r"], "reviews": {"tom-r": review}}
        assert (repaired["configuredBy"], repaired["labels"]) == ("a form opened long ago", {"team": request_id})
        assert not portal.repair(request_id).written


def test_a_repair_whose_answer_was_lost_knows_that_it_wrote(door: FaultyS3, behind_door: Portal) -> None:
    for request_id in IDS[:3]:
        door.lose_answer("PUT")
        result = behind_door.repair(request_id)
        assert result.written
        assert_one_version_per_write(behind_door.history_of(request_id), [result], others=0)


def test_sixteen_writers_whose_answers_get_lost_lose_nothing_and_repeat_nothing(
    door: FaultyS3, behind_door: Portal
) -> None:
    done: list[Any] = []
    for _ in range(4):
        door.lose_answer("PUT")
        door.lose_answer("PUT")  # a write is tried three times, so none is given up
        repairs = [partial(behind_door.repair, request_id) for request_id in IDS * 2]
        done += storm(repairs + [partial(behind_door.edit_carefully, request_id) for request_id in IDS * 2])
    for request_id in IDS:
        history = behind_door.history_of(request_id)
        assert [version.document["version"] for version in history] == list(range(1, len(history) + 1))
        assert_only_grows(history)
        assert len(notes_in(history[-1].document)) == 8
        for result in writes_in(done, request_id):
            assert history[result.request.version - 1].document == result.request.raw
        assert behind_door.bases_of_repairs(history) == behind_door.predecessors_of_repairs(history)


class MovingGitHub:
    """GitHub where every question finds the request one attempt further, until it stands still."""

    def __init__(self) -> None:
        self.heard: dict[str, list[int]] = defaultdict(list)
        self._next = {request_id: itertools.count(1) for request_id in IDS}
        self._moving = True

    def facts_for(self, query: FactsQuery, *, deadline: timedelta) -> GitHubFacts:
        if self._moving:
            number = next(self._next[query.request_id])
            self.heard[query.request_id].append(number)
            return facts_at(number, query.request_id)
        return facts_at(max(self.heard[query.request_id]), query.request_id)

    def stand_still(self) -> None:
        self._moving = False

    def budget(self) -> tuple[int, int] | None:
        return None


def run_of(request_id: str) -> int:
    """The id of the request's plan run."""
    return RUN_ID + IDS.index(request_id)


def facts_at(attempt: int, request_id: str) -> GitHubFacts:
    """GitHub's answers when the plan is at that attempt: a newer review each time, and at some time a merge."""
    at = NOW + timedelta(seconds=attempt)
    merged = attempt >= MERGED_SINCE_ATTEMPT
    pull = PullFact(7, "https://github.com/acme/infra/pull/7", not merged, merged, at if merged else None)
    fact = RunFact(run_of(request_id), attempt, "completed", "success", f"{attempt:040x}", NOW, NOW, at)
    return GitHubFacts(
        pull=Answer(FactOutcome.OK, replace(pull, merge_commit_sha="c0ffee") if merged else pull),
        reviews=Answer(FactOutcome.OK, (Review("tom-r", "APPROVED", at),)),
        runs={WorkflowKind.PLAN: Answer(FactOutcome.OK, WorkflowRun(fact, RepoRef("acme", "infra")))},
    )


class LoggedDocuments(S3Documents):
    """The documents on S3. `based_on` tells of each acknowledged write, by its ETag, the version it was planned on."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket)
        self.based_on: dict[str, str] = {}

    def put(self, request_id: str, document: JsonObject, *, if_match: str) -> str:
        etag = super().put(request_id, document, if_match=if_match)
        self.based_on[etag] = if_match
        return etag


@dataclass(frozen=True)
class Edit:
    """A change by the web app that S3 acknowledged."""

    request_id: str
    note: str


@dataclass(frozen=True)
class Version:
    """One version that was ever stored."""

    etag: str
    document: JsonObject


@dataclass(frozen=True)
class Portal:
    """The portal on a bucket, and the web app with a client of its own."""

    edges: Edges
    documents: LoggedDocuments
    github: MovingGitHub
    bucket: Bucket
    app: Any
    numbers: Iterator[int]

    def repair(self, request_id: str) -> SyncResult:
        return sync(self.edges, request_id, mode=SyncMode.REPAIR, operator=OPERATOR)

    def edit_carefully(self, request_id: str) -> Edit:
        """One field changed under If-Match, again until nobody else came first."""
        while True:
            with suppress(PreconditionError):
                return self._edit(request_id, mode_of=lambda etag: {"e_tag": etag})

    def edit_blindly(self, request_id: str, *, times: int) -> list[Edit]:
        """One field changed after the other, each in what was just read, and over whatever is stored by then."""
        return [self._edit(request_id, mode_of=lambda _: "overwrite") for _ in range(times)]

    def app_stores(self, document: JsonObject) -> None:
        obstore.put(self.app, active_key(document["id"]), render_document(document))

    def document(self, request_id: str) -> dict[str, Any]:
        return json.loads(obstore.get(self.app, active_key(request_id)).bytes().to_bytes())

    def history_of(self, request_id: str) -> list[Version]:
        """Every version that was ever stored, oldest first. Fails where one of them is torn."""
        key = active_key(request_id)
        pages = self.bucket.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket.name, Prefix=key)
        newest_first = [stored for page in pages for stored in page["Versions"]]

        def read(stored: Any) -> Version:
            answer = obstore.get(self.app, key, options={"version": stored["VersionId"]})
            document = parse_document(answer.bytes().to_bytes(), request_id=request_id)
            return Version(bare_etag(stored["ETag"]), document)

        with ThreadPoolExecutor(WRITERS) as pool:
            return list(pool.map(read, reversed(newest_first)))

    def bases_of_repairs(self, history: list[Version]) -> dict[str, str]:
        """The version on which each repair in the history was planned."""
        return {
            each.etag: self.documents.based_on[each.etag] for each in history if each.etag in self.documents.based_on
        }

    def predecessors_of_repairs(self, history: list[Version]) -> dict[str, str]:
        """The version that each repair in the history replaced."""
        pairs = itertools.pairwise(history)
        return {newer.etag: older.etag for older, newer in pairs if newer.etag in self.documents.based_on}

    def _edit(self, request_id: str, *, mode_of: Callable[[str], Any]) -> Edit:
        edit = Edit(request_id, f"note {next(self.numbers)}")
        stored = obstore.get(self.app, active_key(request_id))
        document = json.loads(stored.bytes().to_bytes())
        changed = {**document, "version": document["version"] + 1, "notes": [*notes_in(document), edit.note]}
        mode = mode_of(stored.meta["e_tag"])
        obstore.put(self.app, active_key(request_id), render_document(changed), mode=mode)
        return edit


@pytest.fixture
def portal(bucket: Bucket, memory: InMemory) -> Portal:
    return portal_on(bucket, bucket, memory)


@pytest.fixture
def versioned(bucket: Bucket, memory: InMemory) -> Portal:
    """A portal on a bucket that keeps every version.

    For writers that all use conditions: with versions, SeaweedFS lets a write without any come between the check and
    the write of one with a condition. Without versions it does not, nor does S3.
    """
    keep_versions(bucket)
    return portal_on(bucket, bucket, memory)


@pytest.fixture
def door(bucket_settings: BucketSettings) -> Iterator[FaultyS3]:
    """A door to the bucket that loses answers."""
    with FaultyS3(bucket_settings.endpoint_url or "") as opened:
        yield opened


@pytest.fixture
def behind_door(door: FaultyS3, bucket_settings: BucketSettings, memory: InMemory) -> Portal:
    """A portal that sees a bucket with every version through the door; the web app does not."""
    direct = Bucket(bucket_settings)
    keep_versions(direct)
    return portal_on(Bucket(replace(bucket_settings, endpoint_url=door.url)), direct, memory)


def keep_versions(bucket: Bucket) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})


def portal_on(bucket: Bucket, same_bucket: Bucket, memory: InMemory) -> Portal:
    """Requests and their history lines are in `bucket`; the web app, and who looks afterwards, use `same_bucket`."""
    documents, github = LoggedDocuments(bucket), MovingGitHub()
    events = S3Events(Bulk(bucket))
    edges = replace(memory.edges, documents=documents, github=github, events=events, clock=ticking())
    portal = Portal(edges, documents, github, same_bucket, connect(same_bucket), itertools.count(1))
    for document in first_versions():
        portal.app_stores(document)
    return portal


def first_versions() -> Iterator[JsonObject]:
    """Requests that are planning: of every other one the id of the run is still to be learned."""
    for number, request_id in enumerate(IDS):
        intended = with_run(with_pull(request(request_id)), "plan", status="requested", createdAt=ago(hours=1))
        yield intended if number % 2 else stuck_planning(request_id, run_id=run_of(request_id))


def ticking() -> Callable[[], datetime]:
    """A clock that is a little later whenever somebody looks at it, so that no two events share a millisecond."""
    ticks = itertools.count(1)
    return lambda: NOW + timedelta(milliseconds=next(ticks))


def storm(jobs: list[Callable[[], Any]], *, beside: Sequence[Callable[[], Any]] = ()) -> list[Any]:
    """What the jobs came to: well mixed, as many at a time as there are writers, with those `beside` from the start."""
    mixed = random.Random(7).sample(jobs, len(jobs))
    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(lambda job: job(), [*beside, *mixed]))


def writes_in(done: list[Any], request_id: str) -> list[SyncResult]:
    """The repairs of the request that say they wrote."""
    results = [result for result in done if isinstance(result, SyncResult) and result.written]
    return [result for result in results if result.request.id == request_id]


def notes_in(document: JsonObject) -> list[str]:
    return list(document.get("notes", ()))


def attempts_in(document: JsonObject) -> set[int]:
    """The attempts that the document names, in the canonical place and in the mirror."""
    facts = (document["github"].get("workflows", {}).get("plan", {}), document.get("planRun", {}))
    return {fact["attempt"] for fact in facts if "attempt" in fact}


def assert_one_version_per_write(history: list[Version], written: list[SyncResult], *, others: int) -> None:
    """Every acknowledged write made the next version, and each repair the one that it answered."""
    assert [version.document["version"] for version in history] == list(range(1, 2 + len(written) + others))
    for result in written:
        assert history[result.request.version - 1].document == result.request.raw
        assert result.notices == ()


def assert_only_grows(history: list[Version]) -> None:
    """Nobody's note disappears from one version to the next, each stands there once, and no fact goes back."""
    for older, newer in itertools.pairwise(history):
        notes = notes_in(newer.document)
        assert notes[: len(notes_in(older.document))] == notes_in(older.document)
        assert len(set(notes)) == len(notes)
        assert max(attempts_in(newer.document), default=0) >= max(attempts_in(older.document), default=0)
