"""Edges in memory. The bucket keeps the promises of the real one: the tests in tests/adapters run against both. On it
stand the same documents, memos, back-offs and events as on S3."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from tests.builders import NOW
from tests.reset_fakes import MemoryResetStores
from tfpilot.adapters.backoffs import S3Backoffs
from tfpilot.adapters.bulk import Fetched
from tfpilot.adapters.deliveries import S3Deliveries
from tfpilot.adapters.dispatches import S3Dispatches
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.events import S3Events
from tfpilot.adapters.freeze import S3Freeze
from tfpilot.adapters.index_cache import index_object
from tfpilot.adapters.index_journal import S3IndexJournal
from tfpilot.adapters.index_marks import S3IndexMarks
from tfpilot.adapters.index_objects import S3IndexObjects
from tfpilot.adapters.keys import ACTIVE, ARCHIVED, active_key, archived_key
from tfpilot.adapters.leases import S3Leases
from tfpilot.adapters.lock_records import S3LockRecords
from tfpilot.adapters.memos import S3CheckedMemos
from tfpilot.adapters.pull_index import S3PullIndex
from tfpilot.adapters.reset_journal import S3ResetJournal
from tfpilot.adapters.run_index import S3RunIndex
from tfpilot.adapters.s3 import Body, Listed, Written, bare_etag, check_size
from tfpilot.adapters.sign_outs import S3SignOuts
from tfpilot.adapters.snapshot_rows import merge, row_of
from tfpilot.core.audit import Anchor, AuditEvent, AuditRecord, StoredChains, anchor_of, next_record
from tfpilot.core.bucket_rules import StoredLifecycle, Versioning
from tfpilot.core.dispatch import DispatchAnswer, DispatchOrder, DispatchOutcome
from tfpilot.core.document import MAX_DOCUMENT_BYTES, render_document
from tfpilot.core.index_listing import (
    NO_LISTING,
    EntryVersion,
    IndexKeys,
    IndexListing,
    IndexObject,
    VersionHistory,
    find_place,
    is_folder,
)
from tfpilot.core.model import (
    FactsQuery,
    GitHubFacts,
    JsonObject,
    RepoRef,
    RunListing,
    Snapshot,
    Stored,
    Thresholds,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.reset_guards import RunsSeen
from tfpilot.core.reset_plan import ReadObject
from tfpilot.core.run_index import MAX_ENTRY_BYTES, PREFIX
from tfpilot.edges import Edges, GitHubRules, HealthCheck, Myself, ResetRules, Rights
from tfpilot.errors import ConflictError, GitHubError, NotFoundError, SignatureError, StorageError

OUTAGE = StorageError("Could not read in bucket memory: no answer in time", "Check the bucket.")


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **parts: float) -> None:
        self.now += timedelta(**parts)


class MemoryBucket:
    """A bucket in memory with S3's conditions.

    `outage` set: everything raises it. `interfere` is called once, before the next conditional write, as somebody else
    would come between. `writes` lists the keys that were written under a condition, in order.
    """

    name = "memory"
    endpoint = "memory:"

    def __init__(self, clock: Clock | None = None) -> None:
        self.outage: StorageError | None = None
        self.interfere: Callable[[], None] | None = None
        self.writes: list[str] = []
        self._clock = clock or Clock()
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._lock = threading.RLock()

    def read(self, key: str, *, limit_bytes: int) -> Body:
        self._check_reachable()
        content, _ = self._objects.get(key, (None, None))
        if content is None:
            raise NotFoundError(f"There is no {key} in bucket {self.name}")
        check_size(key, len(content), limit_bytes=limit_bytes)
        return Body(content, etag_of(content))

    def find(self, key: str, *, limit_bytes: int) -> Body | None:
        try:
            return self.read(key, limit_bytes=limit_bytes)
        except NotFoundError:
            return None

    def put(self, key: str, content: bytes, *, if_match: str | None) -> str:
        self._check_reachable()
        self._let_others_come_between(is_conditional=True)
        with self._lock:
            stored = self._objects.get(key)
            if (if_match and bare_etag(if_match)) != (stored and etag_of(stored[0])):
                raise ConflictError(f"{key} was changed by somebody else meanwhile", "Read it again.")
            self.writes.append(key)
            return self.write(key, content)

    def list_folders(self, prefix: str) -> Sequence[str]:
        names = (key.removeprefix(prefix) for key in self.list_all(prefix))
        return sorted({f"{prefix}{name.partition('/')[0]}/" for name in names if "/" in name})

    def list_all(self, prefix: str) -> Mapping[str, Listed]:
        self._check_reachable()
        with self._lock:
            return {
                key: Listed(key, etag_of(content), len(content), modified)
                for key, (content, modified) in self._objects.items()
                if key.startswith(prefix)
            }

    def write(self, key: str, content: bytes) -> str:
        """Writes without a condition, as the web app does, and answers the ETag."""
        self._objects[key] = (content, self._clock())
        return etag_of(content)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Removes an object: that version of it, or with None whatever is there, as somebody else would."""
        if if_match is not None:
            self._check_reachable()
        self._let_others_come_between(is_conditional=if_match is not None)
        with self._lock:
            stored = self._objects.get(key)
            if if_match is not None and bare_etag(if_match) != (stored and etag_of(stored[0])):
                raise ConflictError(f"{key} was changed by somebody else meanwhile", "Read it again.")
            del self._objects[key]
            if if_match is not None:
                self.writes.append(key)

    def contents(self) -> dict[str, bytes]:
        """Everything that is stored, by key."""
        return {key: content for key, (content, _) in self._objects.items()}

    def _let_others_come_between(self, *, is_conditional: bool) -> None:
        if is_conditional and self.interfere is not None:
            interfere, self.interfere = self.interfere, None
            interfere()

    def _check_reachable(self) -> None:
        if self.outage is not None:
            raise self.outage


class MemoryBulk:
    """Bulk reading of a bucket in memory."""

    def __init__(self, bucket: MemoryBucket) -> None:
        self._bucket = bucket

    def list_all(self, prefix: str) -> Mapping[str, Listed]:
        return self._bucket.list_all(prefix)

    def find(self, key: str, *, limit_bytes: int) -> ReadObject | None:
        body = self._bucket.find(key, limit_bytes=limit_bytes)
        return None if body is None else ReadObject(key, body.content, body.etag)

    def find_all(self, keys: Sequence[str], *, limit_bytes: int) -> Iterator[ReadObject | None]:
        return (self.find(key, limit_bytes=limit_bytes) for key in keys)

    def create(self, key: str, content: bytes) -> Written:
        return Written(self._bucket.put(key, content, if_match=None))

    def read_all(self, listed: Sequence[Listed], *, limit_bytes: int) -> Iterator[Fetched]:
        for each in listed:
            if each.size > limit_bytes:
                yield Fetched(each, None)
            elif (body := self._bucket.find(each.key, limit_bytes=limit_bytes)) is not None:
                yield Fetched(replace(each, etag=body.etag, size=len(body.content)), body.content)


class MemorySnapshots:
    """Snapshots of a bucket in memory, read whole each time."""

    def __init__(self, bucket: MemoryBucket, *, clock: Clock, thresholds: Thresholds | None = None) -> None:
        self._bucket = bucket
        self._bulk = MemoryBulk(bucket)
        self._clock = clock
        self._thresholds = thresholds or Thresholds()
        self._snapshot = Snapshot((), None, 0)
        self._rows: dict[str, Any] = {}

    def current(self) -> Snapshot:
        return self._snapshot

    def refresh(self, *, older_than: timedelta = timedelta(0)) -> Snapshot:
        read_at = self._snapshot.read_at
        if older_than and read_at is not None and self._clock() - read_at <= older_than:
            return self._snapshot
        try:
            listed = [*self._bucket.list_all(ACTIVE).values(), *self._bucket.list_all(ARCHIVED).values()]
            fetched = list(self._bulk.read_all(listed, limit_bytes=MAX_DOCUMENT_BYTES))
        except StorageError as error:
            self._snapshot = replace(self._snapshot, error=f"{error.message}. {error.hint}", tried_at=self._clock())
            return self._snapshot
        self._rows = {each.listed.key: row_of(each, thresholds=self._thresholds) for each in fetched}
        self._publish(self._clock())
        return self._snapshot

    def note(self, request_id: str, stored: Stored) -> None:
        content = render_document(stored.document)
        listed = Listed(active_key(request_id), stored.etag, len(content), self._clock())
        self._rows[listed.key] = row_of(Fetched(listed, content), thresholds=self._thresholds)
        if self._snapshot.read_at is not None:
            self._publish(self._snapshot.read_at)

    def progress(self) -> tuple[int, int] | None:
        return None

    def _publish(self, read_at: datetime) -> None:
        rows = merge(self._rows)
        number = self._snapshot.number + (rows != self._snapshot.rows)
        self._snapshot = Snapshot(rows, read_at, number)


class MemoryIndexListings:
    """Listings of the run index of a bucket in memory."""

    def __init__(self, bucket: MemoryBucket, *, clock: Clock) -> None:
        self._bucket = bucket
        self._bulk = MemoryBulk(bucket)
        self._clock = clock
        self._listing = NO_LISTING
        self._listed: dict[str, Listed] = {}
        self._read: dict[tuple[str, str], IndexObject] = {}
        self._bodies_read_at: datetime | None = None

    def current(self) -> IndexListing:
        return self._listing

    def refresh(self, *, older_than: timedelta = timedelta(0)) -> IndexListing:
        read_at = self._listing.read_at
        if older_than and read_at is not None and self._clock() - read_at <= older_than:
            return self._listing
        try:
            listed = {key: each for key, each in self._bucket.list_all(PREFIX).items() if not is_folder(key)}
        except StorageError as error:
            return self._failed(error)
        number = self._listing.number + (listed != self._listed)
        self._listed = listed
        places = {key: find_place(key) for key in listed}
        keys = IndexKeys(
            (*place, int(listed[key].modified.timestamp())) for key, place in places.items() if place is not None
        )
        odd = tuple(sorted(key for key, place in places.items() if place is None))
        now = self._clock()
        self._listing = IndexListing(keys, odd, keys.ages(now), 0, now, number)
        return self._with_unread()

    def refresh_with_bodies(self, *, older_than: timedelta = timedelta(0)) -> IndexListing:
        read_at = self._bodies_read_at if self._listing.bodies_missing == 0 else None
        if older_than and read_at is not None and self._clock() - read_at <= older_than:
            return self._listing
        if self.refresh().error is None:
            try:
                self.read(list(self._listed))
            except StorageError as error:
                return self._failed(error)
            self._bodies_read_at = self._listing.read_at
        return self._listing

    def objects(self) -> Iterator[IndexObject]:
        known = ((each.key, each.etag) for _, each in sorted(self._listed.items()))
        return (self._read[each] for each in known if each in self._read)

    def read(self, keys: Sequence[str]) -> Mapping[str, IndexObject]:
        wanted = [self._listed[key] for key in keys if key in self._listed]
        new = [each for each in wanted if (each.key, each.etag) not in self._read]
        fetched = {each.listed.key: each for each in self._bulk.read_all(new, limit_bytes=MAX_ENTRY_BYTES)}
        for each in fetched.values():
            self._listed[each.listed.key] = each.listed
            self._read[each.listed.key, each.listed.etag] = index_object(each)
        for each in new:
            if each.key not in fetched:
                del self._listed[each.key]
        self._with_unread()
        listed = [self._listed[each.key] for each in wanted if each.key in self._listed]
        return {each.key: self._read[each.key, each.etag] for each in listed}

    def progress(self) -> tuple[int, int] | None:
        return None

    def _with_unread(self) -> IndexListing:
        missing = sum((each.key, each.etag) not in self._read for each in self._listed.values())
        self._listing = replace(self._listing, bodies_missing=missing)
        return self._listing

    def _failed(self, error: StorageError) -> IndexListing:
        self._listing = replace(self._listing, error=f"{error.message}. {error.hint}", tried_at=self._clock())
        return self._listing


class MemoryIndexObjects(S3IndexObjects):
    """Objects of the run index in memory; `versions` are the earlier ones that a test wants to have been there."""

    def __init__(self, bucket: Any) -> None:
        super().__init__(bucket)
        self.versions: dict[str, tuple[EntryVersion, ...]] = {}

    def history(self) -> VersionHistory:
        return VersionHistory(bool(self.versions), self.versions)


class MemoryLifecycle:
    """The lifecycle configuration of a bucket in memory.

    `outage` set: everything raises it. `interfere` is called once, right after the next write, as somebody else would
    write then. `behind`: how many more readings answer what was stored before the last write. `writes` lists what was
    written.
    """

    def __init__(self) -> None:
        self.stored = StoredLifecycle({}, Versioning.NEVER)
        self.outage: StorageError | None = None
        self.interfere: Callable[[], None] | None = None
        self.behind = 0
        self.writes: list[JsonObject] = []
        self._before = self.stored

    def read(self) -> StoredLifecycle:
        self._check_reachable()
        if self.writes and self.behind:
            self.behind -= 1
            return self._before
        return self.stored

    def put(self, configuration: JsonObject) -> None:
        self._check_reachable()
        self.writes.append(configuration)
        self._before = self.stored
        self.store(configuration)
        if self.interfere is not None:
            interfere, self.interfere = self.interfere, None
            interfere()

    def store(self, configuration: JsonObject) -> None:
        """Stores it as somebody else would."""
        self.stored = replace(self.stored, configuration=configuration)

    def keep_versions(self, versioning: Versioning) -> None:
        self.stored = replace(self.stored, versioning=versioning)

    def _check_reachable(self) -> None:
        if self.outage is not None:
            raise self.outage


class FakeGitHub:
    """GitHub with scripted answers per request id; `queries` and `deadlines` tell what was asked.

    An answer may be a function of the query. Without one GitHub answers nothing: every fact is "not asked".
    """

    def __init__(self) -> None:
        self.answers: dict[str, GitHubFacts | Callable[[FactsQuery], GitHubFacts]] = {}
        self.queries: list[FactsQuery] = []
        self.deadlines: list[timedelta] = []
        self.quota: tuple[int, int] | None = None

    def facts_for(self, query: FactsQuery, *, deadline: timedelta) -> GitHubFacts:
        self.queries.append(query)
        self.deadlines.append(deadline)
        answer = self.answers.get(query.request_id, GitHubFacts())
        return answer if isinstance(answer, GitHubFacts) else answer(query)

    def budget(self) -> tuple[int, int] | None:
        return self.quota


class FakeWorkflows:
    """GitHub Actions with scripted answers; `orders` tells what was dispatched.

    `answer` says what a dispatch is answered with, by default that it started the next run id. `runs` is what the lists
    show, by workflow file, newest first; `listings` are the repositories whose runs were all listed, and `jobs` those
    that are at work, by run id.
    """

    def __init__(self, clock: Clock) -> None:
        self.login = "tfpilot-portal"
        self.orders: list[DispatchOrder] = []
        self.runs: dict[str, list[WorkflowRun]] = {}
        self.answer: Callable[[DispatchOrder], DispatchAnswer] = self.start
        self.listing_error: GitHubError | None = None
        self.listings: list[RepoRef] = []
        self.jobs: dict[int, Sequence[str]] = {}
        self.jobs_error: GitHubError | None = None
        self.is_complete = True
        self.next_run_id = 9001
        self._clock = clock

    def me(self) -> Myself:
        return Myself(self.login, timedelta(0))

    def active_runs(self, repo: RepoRef, *, deadline: timedelta) -> RunsSeen:
        if self.listing_error is not None:
            raise self.listing_error
        active = [run for runs in self.runs.values() for run in runs if run.fact.status != "completed"]
        return RunsSeen(tuple(f"run {run.fact.run_id}" for run in active), self.is_complete, 5)

    def runs_since(self, repo: RepoRef, at: datetime, *, deadline: timedelta) -> RunListing:
        self.listings.append(repo)
        if self.listing_error is not None:
            raise self.listing_error
        found = [run for runs in self.runs.values() for run in runs if run.repo == repo]
        return RunListing(tuple(found), self.is_complete)

    def running_jobs(self, repo: RepoRef, run_id: int, *, deadline: timedelta) -> Sequence[str]:
        if self.jobs_error is not None:
            raise self.jobs_error
        return self.jobs.get(run_id, ())

    def dispatch(self, order: DispatchOrder, *, deadline: timedelta) -> DispatchAnswer:
        self.orders.append(order)
        return self.answer(order)

    def start(self, _order: DispatchOrder) -> DispatchAnswer:
        run_id, self.next_run_id = self.next_run_id, self.next_run_id + 1
        url = f"https://github.com/acme/infra/actions/runs/{run_id}"
        return DispatchAnswer(DispatchOutcome.STARTED, self._clock(), run_id=run_id, html_url=url)

    def list_runs(self, repo: RepoRef, workflow_file: str, *, since: datetime, deadline: timedelta) -> RunListing:
        if self.listing_error is not None:
            raise self.listing_error
        return RunListing(tuple(self.runs.get(workflow_file, ())), self.is_complete)


class FakeIdentity:
    """Knows the tokens it is given."""

    def __init__(self, logins: Mapping[str, str]) -> None:
        self.logins = dict(logins)

    def login_of(self, token: str) -> str:
        if token not in self.logins:
            raise SignatureError("The token is not valid", "Use a valid GitHub token.")
        return self.logins[token]


class FakeMembership:
    """Knows the members it is given, as (organisation, login) in lower case. `outage` set: everything raises it."""

    def __init__(self) -> None:
        self.members: set[tuple[str, str]] = set()
        self.outage: GitHubError | None = None

    def is_member(self, org: str, login: str) -> bool:
        if self.outage is not None:
            raise self.outage
        return (org.lower(), login.lower()) in self.members


class FakeDoctor:
    """Gives the results it is given."""

    def __init__(self, results: Sequence[HealthCheck] = ()) -> None:
        self.results = results

    def checks(self) -> Sequence[HealthCheck]:
        return self.results


class MemoryAudit:
    """A chain in memory. `failing`: what the next appends raise, None for none."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.failing: StorageError | None = None
        self._lock = threading.Lock()

    def append(self, event: AuditEvent) -> AuditRecord:
        with self._lock:
            if self.failing is not None:
                raise self.failing
            after = self.records[-1] if self.records else None
            self.records.append(next_record(event, chain="memory", after=after, key=b"a-key-for-tests"))
            return self.records[-1]

    def anchor(self) -> Anchor | None:
        return anchor_of(self.records[-1], where="memory") if self.records else None

    has_key = True
    keys = (b"a-key-for-tests",)

    def read(self, *, since: datetime, until: datetime) -> list[AuditRecord]:
        return [record for record in self.records if since <= record.event.at <= until]

    def chains(self) -> StoredChains:
        return StoredChains({"memory": {record.number: record for record in self.records}}, ())

    def told(self) -> list[tuple[str, str, str]]:
        """(part, operation, subject) of each record, the oldest first."""
        return [(each.event.part.value, each.event.operation, each.event.subject) for each in self.records]


@dataclass
class InMemory:
    """Everything an operation needs, in memory, with what a test turns and looks at."""

    clock: Clock = field(default_factory=Clock)
    github: FakeGitHub = field(default_factory=FakeGitHub)
    identity: FakeIdentity = field(default_factory=lambda: FakeIdentity({"token-of-maya": "maya-k"}))
    membership: FakeMembership = field(default_factory=FakeMembership)
    doctor: FakeDoctor = field(default_factory=FakeDoctor)
    rights: Rights = field(
        default_factory=lambda: Rights(
            admins="ops-lead", approvers="tom-r", dev_environments=frozenset({"dev"}), prod_allowed=frozenset()
        )
    )
    thresholds: Thresholds = field(default_factory=Thresholds)
    rules: GitHubRules = field(
        default_factory=lambda: GitHubRules(
            workflow_files={kind: f"{kind.value.replace('_', '-')}.yml" for kind in WorkflowKind},
            webhook_secrets=("a-secret-of-sixteen-or-more",),
        )
    )

    resets: ResetRules = field(default_factory=lambda: ResetRules(requests_bucket="memory"))

    def __post_init__(self) -> None:
        self.bucket = MemoryBucket(self.clock)
        self.workflows = FakeWorkflows(self.clock)
        self.snapshots = MemorySnapshots(self.bucket, clock=self.clock, thresholds=self.thresholds)
        self.index_listings = MemoryIndexListings(self.bucket, clock=self.clock)
        self.index_objects = MemoryIndexObjects(self.bucket)
        self.lifecycle = MemoryLifecycle()
        self.reset_stores = MemoryResetStores(self.bucket)
        self.audit = MemoryAudit()
        self.sign_outs = S3SignOuts(self.bucket)

    @property
    def edges(self) -> Edges:
        return Edges(
            documents=S3Documents(self.bucket),
            snapshots=self.snapshots,
            github=self.github,
            workflows=self.workflows,
            run_index=S3RunIndex(self.bucket),
            index_listings=self.index_listings,
            index_objects=self.index_objects,
            index_journal=S3IndexJournal(self.bucket, MemoryBulk(self.bucket)),
            index_marks=S3IndexMarks(self.bucket, MemoryBulk(self.bucket)),
            lifecycle=self.lifecycle,
            dispatches=S3Dispatches(self.bucket, MemoryBulk(self.bucket)),
            deliveries=S3Deliveries(self.bucket, MemoryBulk(self.bucket)),
            pull_index=S3PullIndex(self.bucket),
            checked=S3CheckedMemos(self.bucket),
            backoffs=S3Backoffs(self.bucket),
            events=S3Events(MemoryBulk(self.bucket)),
            identity=self.identity,
            membership=self.membership,
            sign_outs=self.sign_outs,
            doctor=self.doctor,
            clock=self.clock,
            sleep=lambda duration: self.clock.advance(seconds=duration.total_seconds()),
            thresholds=self.thresholds,
            rights=self.rights,
            rules=self.rules,
            reset_stores=self.reset_stores,
            reset_journal=S3ResetJournal(self.bucket, MemoryBulk(self.bucket)),
            leases=S3Leases(self.bucket),
            lock_records=S3LockRecords(self.bucket),
            freeze=S3Freeze(self.bucket),
            audit=self.audit,
            audit_trail=self.audit,
            resets=self.resets,
        )

    def store(self, *documents: JsonObject) -> None:
        """Puts the documents among the active requests."""
        for document in documents:
            self.bucket.write(active_key(document["id"]), render_document(document))

    def archive(self, *documents: JsonObject) -> None:
        """Puts the documents among the archived copies."""
        for document in documents:
            self.bucket.write(archived_key(document["id"]), render_document(document))

    def stored(self, request_id: str) -> dict[str, Any]:
        """The active document as it is stored now."""
        return json.loads(self.bucket.contents()[active_key(request_id)])


def etag_of(content: bytes) -> str:
    """The ETag as S3 makes it of a plain object."""
    return hashlib.md5(content).hexdigest()
