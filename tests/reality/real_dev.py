"""A dev environment on real stores that may be reset: buckets on SeaweedFS, a lock table on ministack, and the portal's
own adapters between them and the operations. GitHub alone is in memory: no run of it is under way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tests.core.reset_world import document, state_bytes
from tests.fakes import InMemory
from tests.reset_setup import ADMIN, PLAIN_CHOICES, confirmation_of
from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.events import S3Events
from tfpilot.adapters.freeze import S3Freeze
from tfpilot.adapters.index_listing import BucketIndexListings
from tfpilot.adapters.keys import active_key, archived_key
from tfpilot.adapters.leases import S3Leases
from tfpilot.adapters.lock_table import DIGEST, connect_tables
from tfpilot.adapters.reset_journal import S3ResetJournal
from tfpilot.adapters.reset_store import S3ResetStores
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.adapters.snapshot import BucketSnapshots
from tfpilot.core.model import Operator, RepoRef, WorkflowKind
from tfpilot.core.reset_confirm import undo_phrase_of
from tfpilot.core.reset_guards import PLACE_TAG
from tfpilot.core.reset_plan import ResetPlan
from tfpilot.core.reset_steps import Store, lock_places
from tfpilot.core.reset_target import BACKUP_PREFIX, ResetTarget, StateTarget
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.core.terraform import LockMode, digest_id, md5_of
from tfpilot.edges import Edges, ResetRules
from tfpilot.operations.reset import Ended, apply_reset, plan_reset, undo_reset
from tfpilot.operations.reset_views import Choices, read_reset

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REPO = RepoRef("acme", "infra")
DEFAULT_STATE = StateTarget("dev/terraform.tfstate", "envs/dev")
NAMED_STATE = StateTarget("dev/terraform.tfstate", "envs/dev", "blue")
PRIVATE = ("ops/", "logs/", BACKUP_PREFIX)
"""What the portal keeps for itself; an undo leaves it."""

Contents = dict[tuple[str, str], str | bytes]
"""Objects and items, by the name of their bucket or table and their key."""

_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class RealDev:
    """Where everything of one dev environment is; it may be told to another process as JSON."""

    requests: BucketSettings
    state_bucket: str
    table: str
    dynamodb_endpoint: str
    mode: LockMode
    states: tuple[StateTarget, ...] = (DEFAULT_STATE,)
    lease_for: timedelta = timedelta(seconds=60)

    def told(self) -> str:
        """All of it for `heard`."""
        fields = asdict(self) | {"lease_for": self.lease_for.total_seconds()}
        return json.dumps(fields)

    @staticmethod
    def heard(told: str) -> RealDev:
        """What another process told."""
        fields = json.loads(told)
        return RealDev(
            **{
                **fields,
                "requests": BucketSettings(**fields["requests"]),
                "mode": LockMode(fields["mode"]),
                "states": tuple(StateTarget(**each) for each in fields["states"]),
                "lease_for": timedelta(seconds=fields["lease_for"]),
            }
        )

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket of the requests."""
        return Bucket(self.requests)

    @cached_property
    def state(self) -> Bucket:
        """The bucket of the states."""
        return self.bucket.sibling(self.state_bucket)

    @cached_property
    def tables(self) -> DynamoDBClient:
        return connect_tables(self.bucket.session, endpoint_url=self.dynamodb_endpoint)

    @cached_property
    def bulk(self) -> Bulk:
        return Bulk(self.bucket)

    @cached_property
    def state_bulk(self) -> Bulk:
        return Bulk(self.state)

    @property
    def target(self) -> ResetTarget:
        table = self.table if self.mode.has_table else ""
        return ResetTarget("payments-dev", "dev", REPO, self.state_bucket, self.states, self.mode, table)

    @property
    def rules(self) -> ResetRules:
        return ResetRules(requests_bucket=self.requests.name, targets=(self.target,), lease_for=self.lease_for)

    # What is there

    def contents(self) -> Contents:
        """Every object and every item that is not the portal's own, by its place."""
        found: Contents = {}
        for bucket, bulk in ((self.requests.name, self.bulk), (self.state_bucket, self.state_bulk)):
            keys = [key for key in bulk.list_all("") if not key.startswith(PRIVATE)]
            for read in bulk.find_all(keys, limit_bytes=_MAX_BYTES):
                if read is not None:
                    found[bucket, read.key] = read.content
        return {**found, **{(self.table, name): value for name, value in self.items().items()}}

    def items(self) -> dict[str, str]:
        """Every item of the lock table, as JSON without its id."""
        if not self.mode.has_table:
            return {}
        items = self.tables.scan(TableName=self.table, ConsistentRead=True)["Items"]
        return {item["LockID"]["S"]: json.dumps({k: v for k, v in item.items() if k != "LockID"}) for item in items}

    def keys(self, prefix: str) -> list[str]:
        """The keys of the requests bucket that begin so."""
        return sorted(self.bulk.list_all(prefix))

    def checksum_errors(self) -> list[str]:
        """The states that Terraform would refuse, were it not for a lock: the digest is of other bytes, or of none."""
        wrong = []
        for state in self.states if self.mode.has_table else ():
            name = digest_id(self.state_bucket, state.object_key)
            item = self.tables.get_item(TableName=self.table, Key={"LockID": {"S": name}}, ConsistentRead=True)
            read = self.state_bulk.find(state.object_key, limit_bytes=_MAX_BYTES)
            if "Item" in item and (read is None or md5_of(read.content) != item["Item"][DIGEST]["S"]):
                wrong.append(state.object_key)
        return wrong

    # What others did

    def put(self, key: str, content: bytes, *, bucket: str | None = None) -> None:
        """Writes without a condition, as others do."""
        self.bucket.client.put_object(Bucket=bucket or self.requests.name, Key=key, Body=content)

    def put_state(self, state: StateTarget, content: bytes) -> None:
        """As Terraform writes a state: with its digest where there is a table."""
        self.put(state.object_key, content, bucket=self.state_bucket)
        if self.mode.has_table:
            name = digest_id(self.state_bucket, state.object_key)
            item: Any = {"LockID": {"S": name}, DIGEST: {"S": md5_of(content)}}
            self.tables.put_item(TableName=self.table, Item=item)

    def put_request(self, request_id: str, *, number: int | None = None, **fields: Any) -> bytes:
        """A request of the target; with a number, also the run index entry of that run."""
        content = document(request_id, **{"updatedAt": "2026-03-02T11:00:00.000Z", **fields})
        self.put(active_key(request_id), content)
        if number is not None:
            entry = new_entry(WorkflowKind.APPLY, number, request_id, created_at=datetime.now(UTC))
            self.put(entry_key(WorkflowKind.APPLY, number), render_entry(entry))
        return content

    def put_archived(self, request_id: str, **fields: Any) -> bytes:
        """A copy in history."""
        content = document(request_id, **{"updatedAt": "2026-03-02T10:00:00.000Z", **fields})
        self.put(archived_key(request_id), content)
        return content

    def put_bystanders(self, count: int) -> None:
        """Requests of the same environment and repository, but of another folder."""
        for number in range(count):
            self.put_request(f"req_dev_other_{number}", targetEnvPath="envs/other")

    def free_locks(self) -> None:
        """Nobody holds a lock of the environment any more."""
        for state in self.states:
            for place in lock_places(self.target, state.object_key):
                if place.store is Store.LOCK_TABLE:
                    self.tables.delete_item(TableName=self.table, Key={"LockID": {"S": place.key}})
                else:
                    self.state.client.delete_object(Bucket=self.state_bucket, Key=place.key)

    def mark_place(self, *, versioning: bool = True) -> None:
        """The tag by which the state bucket proves what it is for, and its versions."""
        tags: Any = {"TagSet": [{"Key": PLACE_TAG, "Value": "dev"}]}
        self.bucket.client.put_bucket_tagging(Bucket=self.state_bucket, Tagging=tags)
        if versioning:
            self.bucket.client.put_bucket_versioning(
                Bucket=self.state_bucket, VersioningConfiguration={"Status": "Enabled"}
            )

    def put_back(self, before: Mapping[tuple[str, str], str | bytes]) -> None:
        """Everything as it was, without the portal's help, and nothing of the portal's own."""
        now = self.contents()
        for name, bulk in ((self.requests.name, self.bulk), (self.state_bucket, self.state_bulk)):
            keys = [key for key in bulk.list_all("") if (name, key) not in before]
            self._remove(name, keys)
        for (store, key), content in before.items():
            if now.get((store, key)) == content:
                continue
            if isinstance(content, bytes):
                self.put(key, content, bucket=store)
            else:
                item = {"LockID": {"S": key}, **json.loads(content)}
                self.tables.put_item(TableName=store, Item=item)
        for name in self.items():
            if (self.table, name) not in before:
                self.tables.delete_item(TableName=self.table, Key={"LockID": {"S": name}})

    def _remove(self, bucket: str, keys: Sequence[str]) -> None:
        if keys:
            self.bucket.client.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )


def fill_small(dev: RealDev) -> Contents:
    """One state, and what `fill_requests` puts there; as they are then."""
    dev.put_state(dev.states[0], state_bytes())
    return fill_requests(dev)


def fill_requests(dev: RealDev) -> Contents:
    """Two requests, one of them with an older copy in history, their index entries, and a bystander; everything as it
    is then."""
    dev.mark_place()
    dev.put_request("req_dev_s3_a", number=101)
    dev.put_request("req_dev_s3_b", number=102, version=3)
    dev.put_archived("req_dev_s3_b", version=2)
    dev.put_bystanders(1)
    return dev.contents()


@dataclass
class Portal:
    """The portal's operations on a dev environment, as one admin uses them."""

    dev: RealDev
    edges: Edges
    memory: InMemory

    def plan(self, choices: Choices = PLAIN_CHOICES, *, operator: Operator = ADMIN) -> ResetPlan:
        return plan_reset(self.edges, self.dev.target.name, choices, operator=operator)

    def apply(self, plan: ResetPlan, choices: Choices = PLAIN_CHOICES, **options: Any) -> Ended:
        return apply_reset(self.edges, plan, choices, confirmation_of(plan), operator=ADMIN, **options)

    def undo(self, reset_id: str, **options: Any) -> Ended:
        plan = read_reset(self.edges, reset_id).plan
        return undo_reset(self.edges, reset_id, typed=undo_phrase_of(plan), operator=ADMIN, **options)


@contextmanager
def portal_on(dev: RealDev, *, clock: Callable[[], datetime] | None = None) -> Iterator[Portal]:
    """The operations on the real adapters, until the block ends."""
    now = clock or _now
    memory = InMemory()
    snapshots = BucketSnapshots(dev.bucket, dev.bulk, clock=now, thresholds=memory.thresholds)
    listings = BucketIndexListings(dev.bucket, dev.bulk, clock=now)
    edges = replace(
        memory.edges,
        documents=S3Documents(dev.bucket),
        snapshots=snapshots,
        index_listings=listings,
        events=S3Events(dev.bulk),
        reset_stores=S3ResetStores(dev.bucket, dev.bulk, dynamodb_endpoint=dev.dynamodb_endpoint),
        reset_journal=S3ResetJournal(dev.bucket, dev.bulk),
        leases=S3Leases(dev.bucket),
        freeze=S3Freeze(dev.bucket),
        clock=now,
        resets=dev.rules,
    )
    try:
        yield Portal(dev, edges, memory)
    finally:
        snapshots.close()
        listings.close()


def _now() -> datetime:
    return datetime.now(UTC)
