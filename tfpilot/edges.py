"""What operations need from outside, each as narrow as its callers, and the bundle they get."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from tfpilot.core import delivery
from tfpilot.core.audit import Anchor, AuditEvent, AuditRecord, StoredChains
from tfpilot.core.bucket_rules import StoredLifecycle, Versioning
from tfpilot.core.delivery import HandledDelivery, KeptDelivery, SeenDelivery, StoredDelivery
from tfpilot.core.dispatch import DispatchAnswer, DispatchOrder
from tfpilot.core.freeze import FreezeNotice
from tfpilot.core.index_fixes import FixRecord, FixStep, IndexMark
from tfpilot.core.index_listing import IndexListing, IndexObject, VersionHistory
from tfpilot.core.lease import HeldLease, Lease
from tfpilot.core.lock_release import LockRecord
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
from tfpilot.core.reset_confirm import Approval, ApprovalRequest
from tfpilot.core.reset_guards import RunsSeen
from tfpilot.core.reset_journal import JournalEntry, StopRequest, StoredReset
from tfpilot.core.reset_plan import ReadObject, ResetPlan
from tfpilot.core.reset_steps import Found, Place, ResetRecord
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import StoredLock

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

    def active_runs(self, repo: RepoRef, *, deadline: timedelta) -> RunsSeen:
        """The runs of the allow-listed workflows that are not over, whoever started them. Raises GitHubError."""

    def runs_since(self, repo: RepoRef, at: datetime, *, deadline: timedelta) -> RunListing:
        """The runs of the allow-listed workflows that may have been under way at that instant or later, by one listing.

        A run lasts 35 days at most, so it reaches back that much further. Raises GitHubError.
        """

    def running_jobs(self, repo: RepoRef, run_id: int, *, deadline: timedelta) -> Sequence[str]:
        """The jobs of a run that are at work, of every attempt, each with the step it is at. Raises GitHubError."""


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

    def list_kept(self, place: delivery.Place, *, limit: int) -> Sequence[StoredDelivery]:
        """The deliveries that are kept there, newest first. Raises StorageError."""

    def list_parked(self, kind: WorkflowKind, run_id: int) -> Sequence[StoredDelivery]:
        """The deliveries that wait for that run's request, the oldest first. Raises StorageError."""

    def find_kept(self, guid: str) -> StoredDelivery | None:
        """A kept delivery, a dead letter first; None where there is none. Raises StorageError."""

    def remove_kept(self, stored: StoredDelivery) -> None:
        """Removes a kept delivery in that version, where it is still there. Raises StorageError."""


class ResetStore(Protocol):
    """The places of one target: its state bucket, its lock table, and the requests bucket. Every write is conditional.

    Whatever is read or written raises StorageError where a store did not answer: a write may then have happened.
    """

    def find(self, place: Place) -> Found | None:
        """What stands there now; None where nothing does. Raises DocumentError where it cannot be told."""

    def read(self, place: Place, *, version_id: str | None = None) -> ReadObject | None:
        """An object of a bucket, or an earlier version of it; None where there is none. Raises DocumentError."""

    def read_all(self, keys: Sequence[str]) -> Mapping[str, ReadObject]:
        """These objects of the requests bucket, by key, without those that are not there. Raises DocumentError."""

    def find_lock(self, place: Place) -> StoredLock | None:
        """The lock that is held there; None where none is. Raises DocumentError."""

    def find_lock_item(self, place: Place) -> JsonObject | None:
        """Every attribute of a lock item, in DynamoDB's own JSON; None where there is no item."""

    def find_digest(self, object_key: str) -> str | None:
        """The digest item of a state; None where there is none. Raises DocumentError where it says nothing."""

    def write(
        self, place: Place, content: bytes, *, over: Found | None, encrypted_like: ReadObject | None = None
    ) -> Found:
        """Writes over what was found, with None only where nothing stands, and answers what stands there then.

        Raises ConflictError, also where a first try had been carried out and its answer was lost.
        """

    def remove(self, place: Place, *, found: Found) -> None:
        """Removes what was found. Raises ConflictError, also where nothing is there."""

    def remove_lock(self, place: Place, lock: StoredLock) -> None:
        """Removes exactly that lock. Raises ConflictError, also where none is there."""

    def tags(self) -> Mapping[str, str]:
        """The tags of the state bucket."""

    def versioning(self) -> Versioning:
        """Whether the state bucket keeps versions."""


class ResetStores(Protocol):
    """The places of any target."""

    def of(self, target: ResetTarget) -> ResetStore:
        """The places of that target. Asks no store."""


class ResetJournal(Protocol):
    """What is known of every reset (`ops/resets/<id>/`). Nothing in it is ever changed or removed."""

    def begin(self, record: ResetRecord, plan: ResetPlan) -> None:
        """Stores a new reset with its plan. Raises ConflictError or StorageError."""

    def add(self, reset_id: str, entry: JournalEntry) -> None:
        """Stores an entry. Raises ConflictError where its number is taken: another process goes on with the reset."""

    def get(self, reset_id: str) -> StoredReset:
        """A reset with its plan and its whole journal.

        Raises MalformedIdError, NotFoundError, DocumentError (part of it cannot be read) or StorageError.
        """

    def entries(self, reset_id: str, *, after: int) -> Sequence[JournalEntry]:
        """The entries with higher numbers than that, in order. Raises DocumentError or StorageError."""

    def list(self) -> Sequence[ResetRecord]:
        """All resets, the newest first. Raises DocumentError or StorageError."""

    def put_receipt(self, reset_id: str, number: int, *, as_json: bytes, as_markdown: str) -> None:
        """Stores the receipt after that entry; one that is there already stays. Raises StorageError."""

    def has_receipt(self, reset_id: str) -> bool:
        """Whether the reset came to an end after its last entry. Raises StorageError."""

    def ask_to_stop(self, reset_id: str, request: StopRequest) -> None:
        """Asks whoever carries out the reset to stop after the present step. Raises StorageError."""

    def find_stop(self, reset_id: str) -> StopRequest | None:
        """The last request to stop; None where there is none. Raises StorageError."""

    def ask_for_approval(self, request: ApprovalRequest) -> None:
        """Stores that a second admin is asked; an earlier question about the digest stays. Raises StorageError."""

    def find_request(self, digest: str) -> ApprovalRequest | None:
        """The question about a digest; None where nobody asked. Raises StorageError."""

    def approve(self, approval: Approval) -> None:
        """Stores a second admin's approval; an earlier one of the digest stays. Raises StorageError."""

    def find_approval(self, digest: str) -> Approval | None:
        """The approval of a digest; None where there is none. Raises StorageError."""


class Leases(Protocol):
    """Who works on what (`ops/leases/`), so that no two processes work on the same."""

    def take(self, lease: Lease, *, now: datetime) -> HeldLease:
        """Takes the lease, or takes it over where it is past its end. Raises ConflictError, naming who holds it."""

    def renew(self, held: HeldLease, *, until: datetime) -> HeldLease:
        """Holds it longer. Raises ConflictError where somebody took it over, StorageError."""

    def release(self, held: HeldLease) -> None:
        """Gives it back; does nothing where somebody took it over. Raises StorageError."""

    def find(self, name: str, *, now: datetime) -> Lease | None:
        """The lease that is held now; None where nobody holds it. Raises StorageError."""


class Freeze(Protocol):
    """An admin's stop of all writing (`ops/freeze.json`)."""

    def find(self, *, max_age: timedelta = timedelta(0)) -> FreezeNotice | None:
        """The freeze, None where nobody froze the portal; as it was at most `max_age` ago.

        Raises StorageError, also where it cannot be told.
        """

    def put(self, notice: FreezeNotice) -> None:
        """Freezes the portal. Raises ConflictError where it is frozen already, or StorageError."""

    def lift(self) -> FreezeNotice | None:
        """Lifts the freeze, and answers which it was; None where there was none.

        Raises ConflictError (another one was put meanwhile) or StorageError.
        """


class AuditLog(Protocol):
    """This process's own chain of audit records (`ops/audit/`). It only grows."""

    def append(self, event: AuditEvent) -> AuditRecord:
        """Stores the event as the next record. Raises StorageError: it may then be stored all the same."""

    def anchor(self) -> Anchor | None:
        """Keeps the seal of the last record in the chain's head object, and answers it; None where there is no record.

        Raises StorageError.
        """


class AuditTrail(Protocol):
    """The audit records of all replicas. `keys` may have sealed them; `has_key`: whether one is set at all."""

    has_key: bool

    @property
    def keys(self) -> Sequence[bytes]: ...

    def read(self, *, since: datetime, until: datetime) -> Sequence[AuditRecord]:
        """The records of that time, both ends included, in no order; those that cannot be read are left out.

        Raises StorageError.
        """

    def chains(self) -> StoredChains:
        """Everything that is stored, for a check. Raises StorageError."""


class LockRecords(Protocol):
    """What was known of Terraform locks right before they were released by hand (`ops/backups/locks/`)."""

    def add(self, record: LockRecord) -> str:
        """Stores the record, and answers its key. Raises ConflictError where its id is taken, StorageError."""


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


class Membership(Protocol):
    """Who belongs to which GitHub organisation."""

    def is_member(self, org: str, login: str) -> bool:
        """Whether GitHub says so, as of the last minutes. Raises GitHubError where it could not be asked."""


class SignOuts(Protocol):
    """Sign-ins that their owners have ended (`ops/signouts/`), by `core.sign_in.sign_in_key`."""

    def add(self, key: str, *, at: datetime) -> None:
        """From now on it counts nowhere: in this process at once, and for the others once it is stored.

        Raises StorageError where it could not be stored."""

    def has(self, key: str) -> bool:
        """Whether the bucket, or this process, knows it as ended. Raises StorageError."""

    def has_here(self, key: str) -> bool:
        """Whether this process knows it as ended. Asks nobody."""


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
    """Who may do what, from settings: logins per role, and which environments are not prod. An empty set of logins that
    may write to prod restricts nobody. `allowed_logins` and `allowed_orgs`: who may come in at all."""

    admins: str
    approvers: str
    dev_environments: frozenset[str]
    prod_allowed: frozenset[str]
    destroy_prod_allowed: frozenset[str] = frozenset()
    read_only: bool = False
    """Nobody writes, whatever their role."""
    allowed_logins: frozenset[str] = frozenset()
    allowed_orgs: frozenset[str] = frozenset()


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
class ResetRules:
    """What may be reset, from settings; `lease_for` is how long a process that died keeps others from going on."""

    requests_bucket: str = ""
    targets: tuple[ResetTarget, ...] = ()
    deny_terms: tuple[str, ...] = ()
    undo_days: int = 30
    needs_second_admin: bool = False
    lease_for: timedelta = timedelta(seconds=60)


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
    reset_stores: ResetStores
    reset_journal: ResetJournal
    leases: Leases
    lock_records: LockRecords
    freeze: Freeze
    audit: AuditLog
    audit_trail: AuditTrail
    identity: Identity
    membership: Membership
    sign_outs: SignOuts
    doctor: Doctor
    clock: Clock
    sleep: Sleep
    thresholds: Thresholds
    rights: Rights
    rules: GitHubRules
    resets: ResetRules
