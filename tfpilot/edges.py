"""What operations need from outside, each as narrow as its callers, and the bundle they get."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from tfpilot.core.bucket_rules import StoredLifecycle
from tfpilot.core.delivery import HandledDelivery, KeptDelivery, Place, SeenDelivery, StoredDelivery
from tfpilot.core.dispatch import DispatchAnswer, DispatchOrder
from tfpilot.core.index_fixes import FixRecord, FixStep, IndexMark
from tfpilot.core.index_listing import IndexListing, IndexObject, VersionHistory
from tfpilot.core.model import (
    Checked,
    Claim,
    DispatchRecord,
    FactsQuery,
    GitHubFacts,
    JsonObject,
    LifecycleEvent,
    RepoRef,
    RunIndexEntry,
    RunListing,
    Snapshot,
    Stored,
    StoredDispatch,
    Thresholds,
    WorkflowKind,
)

Clock = Callable[[], datetime]
"""The time now, aware, in UTC."""

Sleep = Callable[[timedelta], None]
"""Waits that long."""


class Documents(Protocol):
    """Request documents. Every write is conditional; a document of another version is never overwritten."""

    def get(self, request_id: str) -> Stored:
        """The active document.

        Raises NotFoundError (no such key), DocumentError (too large, not JSON, not this request) or StorageError.
        """

    def get_bytes(self, request_id: str) -> bytes:
        """The stored bytes of the active document as they are, for one that `get` cannot read. Raises as `get`."""

    def put(self, request_id: str, document: JsonObject, *, if_match: str) -> str:
        """Stores the document over the version with ETag `if_match` and answers the new ETag.

        Raises ConflictError where another version, or none, is stored now; StorageError where the store did not answer.
        """

    def find_archived(self, request_id: str) -> Stored | None:
        """The archived copy, None where there is none. Raises DocumentError or StorageError."""

    def put_archived(self, request_id: str, document: JsonObject, *, if_match: str | None) -> str:
        """Stores the archived copy over the version `if_match`, or as a new key with None. Raises as `put`."""

    def keep_archived(self, request_id: str, stored: Stored) -> str:
        """Keeps an archived copy that is about to be replaced under `ops/backups/`, once per version; the key."""


class Snapshots(Protocol):
    """All requests at a glance, from a local cache that is renewed in the background."""

    def current(self) -> Snapshot:
        """The last complete reading, at once, never waiting for storage. Starts none."""

    def refresh(self, *, older_than: timedelta = timedelta(0)) -> Snapshot:
        """A reading begun not longer ago than `older_than`: the current one, or a new one.

        On failure the last good reading with `error` set.
        """

    def note(self, request_id: str, stored: Stored) -> None:
        """Takes in one document that was just read or written, so that lists show it without waiting."""

    def progress(self) -> tuple[int, int] | None:
        """(documents read, documents to read) of the reading that is under way; None where there is none."""


class GitHub(Protocol):
    """GitHub, as far as a repair reads it."""

    def facts_for(self, query: FactsQuery, *, deadline: timedelta) -> GitHubFacts:
        """Everything GitHub answers about one request within `deadline`, each fact on its own.

        Never raises GitHubError: what could not be learned is an answer with that outcome.
        """

    def budget(self) -> tuple[int, int] | None:
        """(remaining, limit) of the hourly quota as of the last answer; None before the first. Makes no call."""


class Workflows(Protocol):
    """GitHub Actions, as far as dispatching a workflow needs it."""

    def me(self) -> Myself:
        """Who we are at GitHub, and how far its clock is from ours. Remembered; raises GitHubError."""

    def dispatch(self, order: DispatchOrder, *, deadline: timedelta) -> DispatchAnswer:
        """Sends exactly one POST that starts the workflow, whatever becomes of it. Never raises GitHubError."""

    def list_runs(self, repo: RepoRef, workflow_file: str, *, since: datetime, deadline: timedelta) -> RunListing:
        """Runs of a workflow file, newest first and unfiltered, read on until they are older than `since`.

        Raises GitHubError.
        """


class RunIndex(Protocol):
    """Which request a run belongs to (SPEC §5), one run at a time."""

    def find(self, kind: WorkflowKind, run_id: int) -> RunIndexEntry | None:
        """The entry, by one GET; None where there is none, or its body contradicts its key. Raises StorageError."""

    def claim(self, entry: RunIndexEntry) -> Claim:
        """Creates the entry unless the run has an owner: of two who claim it, one gets it. Raises StorageError."""


class IndexListings(Protocol):
    """The whole run index at a glance, from a local cache. Listing reads no object; each is read once per version."""

    def current(self) -> IndexListing:
        """The last complete listing, at once, never waiting for storage. Starts none."""

    def refresh(self, *, older_than: timedelta = timedelta(0)) -> IndexListing:
        """A listing begun not longer ago than `older_than`: the current one, or a new one. Reads no object.

        On failure the last good listing with `error` set.
        """

    def refresh_with_bodies(self, *, older_than: timedelta = timedelta(0)) -> IndexListing:
        """As `refresh`, and every object that was not read yet in its version is read."""

    def objects(self) -> Iterator[IndexObject]:
        """Every object of the last listing that was read, in the order of the keys. Raises StorageError."""

    def read(self, keys: Sequence[str]) -> Mapping[str, IndexObject]:
        """These few objects, from the cache where their version is known, else read now; without those that are gone.

        Raises StorageError.
        """

    def progress(self) -> tuple[int, int] | None:
        """(objects read, objects to read) of the reading that is under way; None where there is none."""


class IndexObjects(Protocol):
    """Single objects of the run index as they are, for fixes. Every write is conditional."""

    def find(self, key: str) -> IndexObject | None:
        """The object as it is stored now; None where there is none. Raises StorageError."""

    def put(self, key: str, content: bytes, *, if_match: str | None) -> str:
        """Stores the object over that version, with None as a new one, and answers the new ETag.

        Raises ConflictError or StorageError.
        """

    def delete(self, key: str, *, if_match: str) -> None:
        """Removes that version. Raises ConflictError, also where the object is gone, or StorageError."""

    def history(self) -> VersionHistory:
        """What object versions tell of the whole index: one call per 1000 versions, and one per earlier version.

        Raises StorageError.
        """


class IndexJournal(Protocol):
    """What was fixed in the run index, with what it takes to undo it (`ops/backups/run-index/`)."""

    def begin(self, record: FixRecord) -> None:
        """Stores a new fix, without its steps. Raises ConflictError or StorageError."""

    def intend(self, fix_id: str, step: FixStep) -> None:
        """Stores a step that is about to be carried out, with what it removes. Raises ConflictError or StorageError."""

    def done(self, fix_id: str, number: int, *, left: str) -> None:
        """Stores that a step was carried out. Raises ConflictError or StorageError."""

    def undone(self, fix_id: str, number: int, *, operator: str, at: datetime) -> None:
        """Stores that a step was taken back. Raises ConflictError or StorageError."""

    def get(self, fix_id: str) -> FixRecord:
        """A fix with all its steps. Raises NotFoundError, DocumentError or StorageError."""

    def list(self) -> Sequence[FixRecord]:
        """All fixes without their steps, the newest first. Raises StorageError."""


class IndexMarks(Protocol):
    """Which findings of the run index are ignored, and why (`ops/marks/run-index/`)."""

    def put(self, mark: IndexMark) -> None:
        """Stores the mark in place of an earlier one about the same finding; a newer one stays. Raises StorageError."""

    def list(self) -> Sequence[IndexMark]:
        """All marks, the newest first, those that ended too. Raises StorageError."""


class Lifecycle(Protocol):
    """The bucket's lifecycle configuration. It is written as a whole, and S3 knows no condition on that."""

    def read(self) -> StoredLifecycle:
        """The configuration as it is stored now, with what the portal does not know of it. Raises StorageError."""

    def put(self, configuration: JsonObject) -> None:
        """Stores the configuration in place of what is stored. Raises StorageError."""


class Dispatches(Protocol):
    """Our own records of dispatches (`ops/dispatches/`). What cannot be read as one is left out."""

    def add(self, record: DispatchRecord) -> StoredDispatch:
        """Stores a new record. Raises StorageError, or ConflictError where the nonce is taken."""

    def put(self, record: DispatchRecord, *, if_match: str) -> StoredDispatch:
        """Stores a record over the version with that ETag. Raises ConflictError or StorageError."""

    def list(self, request_id: str) -> Sequence[StoredDispatch]:
        """The records of one request, the oldest first. Raises StorageError."""

    def list_open(self) -> Sequence[StoredDispatch]:
        """The records of all requests whose run is not known, the oldest first. Raises StorageError."""

    def list_started(self) -> Sequence[StoredDispatch]:
        """The records of all requests whose run is known, the oldest first, without inputs and what they replaced.

        Raises StorageError.
        """


class Deliveries(Protocol):
    """Webhook deliveries: those that were handled, and those that are kept until they are."""

    def find(self, guid: str) -> HandledDelivery | None:
        """Our record of a delivery that was handled; None where it was not. Raises StorageError."""

    def add(self, delivery: HandledDelivery) -> None:
        """Stores that a delivery was handled; an earlier record of it stays. Raises StorageError."""

    def recent(self, *, limit: int) -> Sequence[HandledDelivery]:
        """The deliveries that were handled last, newest first. Raises StorageError."""

    def seen_by_web_app(self, *, limit: int) -> Sequence[SeenDelivery]:
        """The deliveries that the web app saw last, newest first. Raises StorageError."""

    def keep(self, delivery: KeptDelivery) -> None:
        """Keeps a delivery whole; one that is kept already stays as it is. Raises StorageError."""

    def list_kept(self, place: Place, *, limit: int) -> Sequence[StoredDelivery]:
        """The deliveries that are kept there, newest first. Raises StorageError."""

    def list_parked(self, kind: WorkflowKind, run_id: int) -> Sequence[StoredDelivery]:
        """The deliveries that wait for that run's request, the oldest first. Raises StorageError."""

    def find_kept(self, guid: str) -> StoredDelivery | None:
        """A kept delivery, a dead letter first; None where there is none. Raises StorageError."""

    def remove_kept(self, stored: StoredDelivery) -> None:
        """Removes a kept delivery in that version, where it is still there. Raises StorageError."""


class PullIndex(Protocol):
    """Which request a pull request belongs to, as the web app writes it."""

    def find(self, repo: RepoRef, number: int) -> str | None:
        """The request's id, by one GET; None where there is no entry of that repository. Raises StorageError."""


class CheckedMemos(Protocol):
    """Memo per request of GitHub's last answer (`ops/checked/`)."""

    def find(self, request_id: str) -> Checked | None:
        """The memo, None where there is none or it cannot be read. Raises StorageError."""

    def put(self, request_id: str, memo: Checked) -> None:
        """Stores the memo; a newer one that somebody stored meanwhile stays. Raises StorageError."""


class Backoffs(Protocol):
    """GitHub's "come back later", shared by all replicas and with the web app."""

    def find(self, repo: RepoRef, *, now: datetime) -> datetime | None:
        """Until when GitHub asked not to be called for this repository, None if it may be. Raises StorageError."""

    def put(self, repo: RepoRef, *, until: datetime, now: datetime, reason: str) -> None:
        """Remembers a back-off; a later one already stored stays. Raises StorageError."""


class Events(Protocol):
    """Lifecycle events of a request (`logs/<id>/`)."""

    def append(self, event: LifecycleEvent) -> None:
        """Stores the event under its millisecond; a taken one moves on by one. Raises StorageError."""

    def list(self, request_id: str, *, limit: int) -> Sequence[LifecycleEvent]:
        """The newest events, newest first; unreadable ones are left out. Raises StorageError."""


class Identity(Protocol):
    """Who a bearer token belongs to."""

    def login_of(self, token: str) -> str:
        """The GitHub login of a token. Raises SignatureError (not valid) or GitHubError."""


class Doctor(Protocol):
    """Checks of everything the portal talks to; never raises."""

    def checks(self) -> Sequence[HealthCheck]:
        """One result per connection and permission, in a fixed order."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check: what was tried, whether it held, what was seen, and what to do where it did not."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Myself:
    """Who the portal is at GitHub. `clock_ahead`: how far GitHub's clock is ahead of ours, by its last answer."""

    login: str
    clock_ahead: timedelta


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may do what, from settings: logins per role, and which environments are not prod. An empty set of allowed
    logins restricts nobody."""

    admins: str
    approvers: str
    dev_environments: frozenset[str]
    prod_allowed: frozenset[str]
    destroy_prod_allowed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GitHubRules:
    """What may be dispatched and what webhooks are believed: the allow-listed workflow file of each kind, the branch
    that requests are merged into, the kinds whose workflow has an input `dry_run`, and the secrets that sign deliveries
    (none: no delivery is taken)."""

    workflow_files: Mapping[WorkflowKind, str]
    base_branch: str = "main"
    dry_run_kinds: frozenset[WorkflowKind] = frozenset()
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Edges:
    """Everything an operation may touch."""

    documents: Documents
    snapshots: Snapshots
    github: GitHub
    workflows: Workflows
    run_index: RunIndex
    index_listings: IndexListings
    index_objects: IndexObjects
    index_journal: IndexJournal
    index_marks: IndexMarks
    lifecycle: Lifecycle
    dispatches: Dispatches
    deliveries: Deliveries
    pull_index: PullIndex
    checked: CheckedMemos
    backoffs: Backoffs
    events: Events
    identity: Identity
    doctor: Doctor
    clock: Clock
    sleep: Sleep
    thresholds: Thresholds
    rights: Rights
    rules: GitHubRules
