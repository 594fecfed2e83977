"""The values everything else speaks of. One word per thing; see docs/ARCHITECTURE.md for where they travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

JsonObject = Mapping[str, Any]
"""A JSON object as `json.loads` gives it. Treated as read-only everywhere."""


class Absent:
    """Marks a field that is not in the document at all, which JSON null is not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()

NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Earlier than anything that happened here."""


class WorkflowKind(StrEnum):
    """The five workflows of an infra repo, by the names the run index uses."""

    PLAN = "plan"
    APPLY = "apply"
    DESTROY = "destroy"
    CLEANUP = "cleanup"
    DRIFT_PLAN = "drift_plan"


class LifecycleStatus(StrEnum):
    """Derived status of a request (SPEC §2), in lifecycle order."""

    REQUEST_CREATED = "request_created"
    PLANNING = "planning"
    PLAN_READY = "plan_ready"
    APPROVED = "approved"
    MERGED = "merged"
    APPLYING = "applying"
    APPLIED = "applied"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    FAILED = "failed"


ACTIVE_STATUSES: Final = frozenset({LifecycleStatus.PLANNING, LifecycleStatus.APPLYING, LifecycleStatus.DESTROYING})

ACTIVE_RUN_STATUSES: Final = frozenset({"queued", "in_progress", "waiting", "pending", "requested"})
FAILED_CONCLUSIONS: Final = frozenset(
    {"failure", "cancelled", "timed_out", "action_required", "startup_failure", "stale"}
)
EMPTY_CONCLUSIONS: Final = frozenset({"skipped", "neutral"})
"""Concluded without having planned, applied or destroyed anything."""
SUCCESS: Final = "success"
REQUESTED: Final = "requested"
"""The run status of an intent: dispatched by us or the web app, run id not known yet."""


UNMAINTAINED_STATUS: Final = "created"
"""What the web app stores once, at creation, and never maintains: no claim about the status, so never a drift."""


def is_drift(stored_status: str | None, status: LifecycleStatus) -> bool:
    """Whether a stored status claims something else than the derived one."""
    return stored_status not in (None, UNMAINTAINED_STATUS, status.value)


class Role(StrEnum):
    """What a person may do (SPEC §8); `SYSTEM` is the portal acting by itself."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    APPROVER = "approver"
    ADMIN = "admin"
    SYSTEM = "system"


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class FindingCode(StrEnum):
    """What can be wrong with one request (SPEC §3)."""

    STALE_DESTROY = "STALE_DESTROY"
    STUCK_PLANNING = "STUCK_PLANNING"
    STUCK_APPLYING = "STUCK_APPLYING"
    RUN_UNKNOWN = "RUN_UNKNOWN"
    NOT_DISPATCHED = "NOT_DISPATCHED"
    WAITING_APPROVAL = "WAITING_APPROVAL"
    QUEUED = "QUEUED"
    MISSING_PR = "MISSING_PR"
    MISSING_RUN = "MISSING_RUN"
    STATUS_DRIFT = "STATUS_DRIFT"
    SPLIT_FACTS = "SPLIT_FACTS"
    STATE_UNKNOWN = "STATE_UNKNOWN"
    NEVER_STARTED = "NEVER_STARTED"
    NOTHING_DESTROYED = "NOTHING_DESTROYED"
    CLEANUP_FAILED = "CLEANUP_FAILED"
    ABANDONED = "ABANDONED"
    INDEX_MISSING = "INDEX_MISSING"
    INDEX_CROSSED = "INDEX_CROSSED"
    LOCK_EXPIRED = "LOCK_EXPIRED"
    OVERWRITTEN_FACT = "OVERWRITTEN_FACT"
    UNREADABLE = "UNREADABLE"


class SyncMode(StrEnum):
    """AUTO asks GitHub only where it helps; REPAIR always does."""

    AUTO = "auto"
    REPAIR = "repair"


class FactOutcome(StrEnum):
    """What became of asking GitHub for one fact. CROSSED: it is another request's; AMBIGUOUS: of several runs none is
    certainly ours."""

    OK = "ok"
    NOT_ASKED = "not asked"
    NOT_FOUND = "not found"
    FORBIDDEN = "forbidden"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate limited"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    MALFORMED = "malformed"
    CROSSED = "crossed"
    AMBIGUOUS = "ambiguous"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RepoRef:
    """A GitHub repository by owner and name."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class RunFact:
    """One attempt of one workflow run, as stored or as GitHub gives it. None is "not known".

    `attempt` counts from 1; a missing one counts as 1. Without `run_id` it is an intent: dispatched, id not known yet.
    """

    run_id: int | None = None
    attempt: int | None = None
    status: str | None = None
    conclusion: str | None = None
    head_sha: str | None = None
    created_at: datetime | None = None
    run_started_at: datetime | None = None
    updated_at: datetime | None = None
    url: str | None = None
    html_url: str | None = None

    @property
    def is_active(self) -> bool:
        """GitHub says the run is not over, and no conclusion contradicts it."""
        return self.conclusion is None and self.status in ACTIVE_RUN_STATUSES

    @property
    def is_failed(self) -> bool:
        return self.conclusion in FAILED_CONCLUSIONS

    @property
    def is_success(self) -> bool:
        return self.conclusion == SUCCESS

    @property
    def is_waiting_for_person(self) -> bool:
        """A person must approve before the run goes on (SPEC §3, WAITING_APPROVAL)."""
        return self.conclusion == "action_required" or (self.conclusion is None and self.status == "waiting")


@dataclass(frozen=True, slots=True)
class PullFact:
    """A pull request, as stored or as GitHub gives it. None is "not known"."""

    number: int | None = None
    url: str | None = None
    open: bool | None = None
    merged: bool | None = None
    merged_at: datetime | None = None
    merge_commit_sha: str | None = None
    head_sha: str | None = None
    head_branch: str | None = None
    title: str | None = None
    author: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.open is True and not self.merged

    @property
    def is_closed_unmerged(self) -> bool:
        return self.open is False and not self.merged


@dataclass(frozen=True, slots=True)
class Review:
    """One review of a pull request. `state` is upper-case, as the REST API writes it."""

    login: str
    state: str
    submitted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """GitHub's answer about one run: the fact, and what tells whose run it is.

    `path` is the workflow file (`.github/workflows/plan.yml`, possibly with `@ref`), `title` the display title.
    """

    fact: RunFact
    repo: RepoRef
    path: str | None = None
    name: str | None = None
    title: str | None = None
    branch: str | None = None
    event: str | None = None
    actor: str | None = None

    @property
    def file(self) -> str:
        """The name of the workflow file; empty where GitHub names none."""
        return (self.path or "").partition("@")[0].rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class RunListing:
    """Runs, newest first. `complete`: every run since the instant that was asked for is among them."""

    runs: tuple[WorkflowRun, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class RunIndexEntry:
    """What the run index says of one run: whose it is (SPEC §5). `created_at` is the run's own time."""

    kind: WorkflowKind
    run_id: int
    request_id: str
    created_at: datetime
    expires_at: datetime


class ClaimOutcome(StrEnum):
    """What became of claiming a run for a request."""

    NEW = "claimed"
    OWN = "was ours already"
    TAKEN = "belongs to another request"


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a claim. `owner` is the request that has the run; None where the entry in the way is unreadable."""

    outcome: ClaimOutcome
    owner: str | None

    @property
    def holds(self) -> bool:
        """Whether the run is the claimant's now."""
        return self.outcome is not ClaimOutcome.TAKEN


class DispatchState(StrEnum):
    """How far one dispatch came, by our own record of it.

    OPEN: a run may have been started, its id is not known. STARTED: the id is known. REFUSED: GitHub said no, nothing
    started. CLOSED: a person confirmed that no run exists.
    """

    OPEN = "open"
    STARTED = "started"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class DispatchRecord:
    """Our own record of one dispatch (`ops/dispatches/<id>/<nonce>.json`), which no other application writes.

    `triggered_at` is the trigger time in the document; `posted_at` GitHub's time of the POST, None before it.
    `replaced` holds the document's changes by the intent, for taking it back. `detail` is for a person.
    """

    request_id: str
    nonce: str
    kind: WorkflowKind
    repo: RepoRef
    workflow_file: str
    ref: str
    inputs: Mapping[str, str]
    operator: str
    triggered_at: datetime
    state: DispatchState = DispatchState.OPEN
    posted_at: datetime | None = None
    run_id: int | None = None
    replaced: tuple[FieldChange, ...] = ()
    settled_at: datetime | None = None
    settled_by: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StoredDispatch:
    """A record as it was read, with the ETag that a conditional write needs."""

    record: DispatchRecord
    etag: str


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run that a request names, as a list of requests keeps it.

    `current` False: the document still holds the id beside the run that counts now. `waits`: the request waits for the
    end of this run.
    """

    kind: WorkflowKind
    run_id: int
    created_at: datetime | None
    current: bool
    waits: bool


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """A dispatch whose run id a request does not know yet. `at` None: its trigger time is unknown or unreadable."""

    kind: WorkflowKind
    at: datetime | None


@dataclass(frozen=True, slots=True)
class TriggerTime:
    """When a workflow was dispatched, from the document. `at` is None where something is stored that is no time."""

    at: datetime | None
    path: str


@dataclass(frozen=True, slots=True)
class Approval:
    """The stored approval: the flag, who is named, and what each reviewer said on GitHub (login → Review)."""

    approved: bool
    approvers: tuple[str, ...]
    reviews: Mapping[str, Review]


@dataclass(frozen=True, slots=True)
class RequestLock:
    """The request's own lock. `expires_at` None: not readable."""

    holder: str
    operation: str
    acquired_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Request:
    """A request document as values: facts joined from both places (SPEC §1), and the raw document they came from.

    `runs` and `triggers` hold only the kinds that are present. `stored_runs` keeps both sides of each fact,
    by field path, for what compares them.
    """

    raw: JsonObject
    id: str
    version: int
    project: str
    environment: str
    module: str
    created_by: str
    repo: RepoRef | None
    base_branch: str | None
    branch: str | None
    merged_sha: str | None
    stored_status: str | None
    received_at: datetime | None
    updated_at: datetime | None
    pr_number: int | None
    pull: PullFact | None
    stored_pulls: Mapping[str, PullFact]
    runs: Mapping[WorkflowKind, RunFact]
    stored_runs: Mapping[str, RunFact]
    triggers: Mapping[WorkflowKind, TriggerTime]
    approval: Approval
    has_previous_pulls: bool
    cleanup_pull: PullFact | None
    cleanup_error: str | None
    lock: RequestLock | None
    unresolved: Mapping[WorkflowKind, int]


@dataclass(frozen=True, slots=True)
class FactUsed:
    """A stored field a decision rests on: its path and what stands there."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A derived status, the rule of SPEC §2 that fired, and the facts it used.

    `destroy_stale`: the destroy outlived 15 minutes without a result, so the status is `failed` by rule 3.
    """

    status: LifecycleStatus
    rule: int
    reason: str
    facts: tuple[FactUsed, ...]
    destroy_stale: bool = False
    destroy_superseded: bool = False


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How long a run may be active before it counts as stuck."""

    planning: timedelta = timedelta(minutes=15)
    applying: timedelta = timedelta(minutes=60)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a request, since when, and what to do. `since` None: not known."""

    code: FindingCode
    severity: Severity
    since: datetime | None
    evidence: tuple[str, ...]
    next_action: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Memo of GitHub's last answer about a request (`ops/checked/`).

    `at`: when GitHub answered, `facts` what became of each fact, empty where it never did. `jobs`: per kind, what only
    the jobs of a run tell. `tried_at`: when GitHub was last asked in vain, None where it answered the last time.
    """

    at: datetime
    facts: Mapping[str, str] = field(default_factory=dict)
    jobs: Mapping[WorkflowKind, JobsFact] = field(default_factory=dict)
    tried_at: datetime | None = None

    @property
    def asked_at(self) -> datetime:
        """When GitHub was last asked, whether it answered or not."""
        return max(self.at, self.tried_at or self.at)


@dataclass(frozen=True, slots=True)
class JobsFact:
    """Whether any job of one attempt of a run had started."""

    run_id: int
    attempt: int
    started: bool


@dataclass(frozen=True, slots=True)
class DiagnosisContext:
    """What the document cannot know. Empty offline: findings that need it are then left out.

    `blocking_runs` names, per kind, the run of the same environment that ours waits behind. `no_run_listed` holds the
    kinds for which a complete listing showed no run. `index_owners` maps a tracked kind to the owner its index entry
    names (None: no entry). `overwritten` lists the field paths that our own records say were overwritten. `ambiguous`
    holds the kinds of which several runs could be the dispatched one.
    """

    jobs: Mapping[WorkflowKind, JobsFact] = field(default_factory=dict)
    blocking_runs: Mapping[WorkflowKind, str] = field(default_factory=dict)
    no_run_listed: frozenset[WorkflowKind] = frozenset()
    index_owners: Mapping[WorkflowKind, str | None] = field(default_factory=dict)
    overwritten: tuple[str, ...] = ()
    pull_not_found: bool = False
    ambiguous: frozenset[WorkflowKind] = frozenset()


@dataclass(frozen=True, slots=True)
class RunQuestion:
    """One run to ask GitHub for: by id where it is known, else by looking for the request's name in the workflow's
    newest runs, created at `not_before` or later. `or_newer`: a newer one of the request in place of the known one,
    which was created at `not_before`."""

    kind: WorkflowKind
    run_id: int | None = None
    not_before: datetime | None = None
    ask_jobs: bool = False
    or_newer: bool = False


@dataclass(frozen=True, slots=True)
class FactsQuery:
    """What to ask GitHub about one request. `pr_number` None with `branch`: look the pull request up by its branch."""

    request_id: str
    repo: RepoRef
    pr_number: int | None
    branch: str | None
    cleanup_branch: str | None
    runs: tuple[RunQuestion, ...]


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What became of one question to GitHub. `value` is set only where `outcome` is ok; `detail` is for a person."""

    outcome: FactOutcome
    value: T | None = None
    detail: str = ""
    retry_after: timedelta | None = None


NOT_ASKED: Final[Answer[Any]] = Answer(FactOutcome.NOT_ASKED)


@dataclass(frozen=True, slots=True)
class GitHubFacts:
    """Everything GitHub answered about one request, each fact on its own. `calls` counts HTTP requests sent.

    `jobs` holds only what was asked beside a run that was cancelled or timed out.
    """

    pull: Answer[PullFact] = NOT_ASKED
    reviews: Answer[tuple[Review, ...]] = NOT_ASKED
    cleanup_pull: Answer[PullFact] = NOT_ASKED
    runs: Mapping[WorkflowKind, Answer[WorkflowRun]] = field(default_factory=dict)
    jobs: Mapping[WorkflowKind, Answer[JobsFact]] = field(default_factory=dict)
    calls: int = 0

    def answers(self) -> Mapping[str, Answer[Any]]:
        """Every answer by the name that HTTP and pages show: pull, reviews, cleanup_pull, the run kinds, and
        `<kind>_jobs` where the jobs of a run were asked for."""
        named: dict[str, Answer[Any]] = {
            "pull": self.pull,
            "reviews": self.reviews,
            "cleanup_pull": self.cleanup_pull,
        }
        for kind in WorkflowKind:
            named[kind.value] = self.runs.get(kind, NOT_ASKED)
        for kind, jobs in self.jobs.items():
            if jobs.outcome is not FactOutcome.NOT_ASKED:
                named[f"{kind.value}_jobs"] = jobs
        return named


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a document that a repair writes. `after` ABSENT removes it. `source` says why, for a person."""

    path: tuple[str, ...]
    before: Any
    after: Any
    source: str

    @property
    def dotted(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class ArchiveCopy:
    """The destroyed request's final document goes to `history/`; an older copy there is kept first."""

    request_id: str


@dataclass(frozen=True, slots=True)
class IndexBackfill:
    """The run index gets the entry that it lacks for a run that the request tracks."""

    kind: WorkflowKind
    run_id: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CleanupDispatch:
    """The cleanup after a destroy is dispatched. `refusal` says why the operator may not; empty where they may."""

    destroy_run_id: int
    refusal: str = ""


RepairStep = IndexBackfill | CleanupDispatch | ArchiveCopy
"""What a repair does beside writing the document, in order."""


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What a repair would do. `crossed` tells a person which runs belong to another request and were left alone,
    `obstacles` which fields were left as they are, because writing them would lose what stands there."""

    request_id: str
    changes: tuple[FieldChange, ...]
    steps: tuple[RepairStep, ...]
    status_before: LifecycleStatus
    status_after: LifecycleStatus
    crossed: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()


class Door(StrEnum):
    """Where somebody came in."""

    PAGE = "page"
    HTTP = "HTTP"
    COMMAND = "command"
    WEBHOOK = "webhook"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Operator:
    """Who asks: login as GitHub writes it, role, and the door they came in by.

    `signed_in_at`: when they last proved to their sign-in who they are; None where that cannot be known.
    """

    login: str
    role: Role
    door: Door = Door.SYSTEM
    signed_in_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it was read: parsed JSON, and the ETag a conditional write needs."""

    document: JsonObject
    etag: str


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync did, or with `dry_run` would do.

    `asked` False: AUTO found nothing that GitHub could settle, and `reason` says why. `written`: the document changed
    in storage. `done`: the steps beside it that were taken, and `cleanup` what came of dispatching one. `degraded`:
    something could not be learned; `retry_after` is how long GitHub asked us to wait. `notices` tell a person what went
    wrong beside the document, which is stored.
    """

    request: Request
    explanation: Explanation
    mode: SyncMode
    dry_run: bool
    asked: bool
    reason: str
    plan: RepairPlan
    facts: GitHubFacts
    written: bool
    done: tuple[RepairStep, ...] = ()
    cleanup: str = ""
    degraded: bool = False
    retry_after: timedelta | None = None
    notices: tuple[str, ...] = ()

    @property
    def wrote(self) -> bool:
        """Whether anything was written, in the document or beside it."""
        return self.written or bool(self.done)

    @property
    def archived(self) -> bool:
        """Whether the final copy was written to `history/`."""
        return any(isinstance(step, ArchiveCopy) for step in self.done)


@dataclass(frozen=True, slots=True)
class LifecycleEvent:
    """One line of a request's history (`logs/<id>/`)."""

    at: datetime
    request_id: str
    event: str
    actor: str
    source: str
    data: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request as a list shows it: everything a filter, a search or a table cell needs, without the document.

    `status` holds until `fails_at`; strictly after it the status is `failed` (a destroy gone stale). `stuck_at` is when
    the request becomes (or became) stuck. `error` is set for an object that is no request: quarantined, never hidden.
    `search` is lower-case text: id, PR number, run ids, branch, shas. `occupies` names the apply or destroy run that
    is in progress, which others of the environment wait for; `waits`: its own runs have not started yet. `tracked` are
    the runs it names, `intents` its dispatches without a known run. `repair_at` is when it begins to need repair;
    `is_unsettled`: GitHub is asked about it now and then even where nothing looks wrong.
    """

    id: str
    status: LifecycleStatus | None
    fails_at: datetime | None
    stuck_at: datetime | None
    stored_status: str | None
    environment: str
    project: str
    module: str
    repo: str
    created_by: str
    pr_number: int | None
    pr_url: str
    updated_at: datetime | None
    version: int
    archived: bool
    has_archived_copy: bool
    search: str
    error: str | None = None
    occupies: str = ""
    waits: bool = False
    tracked: tuple[TrackedRun, ...] = ()
    intents: tuple[OpenIntent, ...] = ()
    repair_at: datetime | None = None
    is_unsettled: bool = False

    def needs_repair_at(self, now: datetime) -> bool:
        """Whether GitHub must be asked, because the document alone cannot be right."""
        return self.repair_at is not None and now > self.repair_at

    def status_at(self, now: datetime) -> LifecycleStatus | None:
        """The derived status at `now`; None where the object is unreadable."""
        return LifecycleStatus.FAILED if self.fails_at is not None and now > self.fails_at else self.status

    def is_stuck_at(self, now: datetime) -> bool:
        return self.stuck_at is not None and now > self.stuck_at

    def has_drift_at(self, now: datetime) -> bool:
        """Whether the stored status claims something else than the derived one."""
        status = self.status_at(now)
        return status is not None and is_drift(self.stored_status, status)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete reading of all requests, newest change first. `error` says why the last try to renew it failed,
    `tried_at` when; `read_at` None: nothing was ever read. `number` grows with every reading that differs."""

    rows: tuple[RequestRow, ...]
    read_at: datetime | None
    number: int
    error: str | None = None
    tried_at: datetime | None = None
