"""A tiny S3 and DynamoDB, a dev environment in them, and a reset of it that may be killed anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.builders import NOW, request
from tfpilot.core.document import render_document
from tfpilot.core.model import RepoRef, WorkflowKind
from tfpilot.core.reset_journal import (
    Direction,
    JournalEntry,
    Progress,
    StepResult,
    plan_resume,
    plan_undo,
    read_journal,
)
from tfpilot.core.reset_plan import ReadObject, ResetPlan, StateMode, make_plan, plan_entry, plan_request, plan_state
from tfpilot.core.reset_plan_document import differences, digest_of
from tfpilot.core.reset_steps import (
    Action,
    Found,
    Move,
    Outcome,
    Place,
    ResetRecord,
    ResetStep,
    Store,
    batches,
    decide,
    fits,
    release_steps,
    steps_of,
)
from tfpilot.core.reset_target import BACKUP_PREFIX, ResetTarget, StateTarget
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.core.terraform import LockInfo, LockMode, digest_id, lock_id, lockfile_key, md5_of, parse_lock

BUCKET = "tfstate-dev"
LOCK_ID = "5f1d9a3e-0000-4000-8000-000000000001"
FOREIGN = '{"ID":"foreign","Operation":"OperationTypeApply","Who":"lena@laptop-17"}'
REQUESTS = tuple(f"req_dev_s3_{letter}" for letter in "abcd")
PLAIN, NAMED = StateTarget("dev/terraform.tfstate", "envs/dev"), StateTarget("dev/x.tfstate", "envs/dev", "blue")


class KilledError(Exception):
    """The process is gone."""


class LockedOutError(Exception):
    """A lock was not ours, or what was read again differed. The locks were given back."""


def target(mode: LockMode = LockMode.BOTH, states: Sequence[StateTarget] = (PLAIN, NAMED)) -> ResetTarget:
    table = "tf-locks-dev" if mode.has_table else ""
    return ResetTarget("payments-dev", "dev", RepoRef("acme", "infra"), BUCKET, tuple(states), mode, table)


def record(plan: ResetPlan) -> ResetRecord:
    return ResetRecord(
        reset_id="rst_20260302_1200",
        target=plan.target.name,
        digest=digest_of(plan),
        lock_id=LOCK_ID,
        operator="ops-lead",
        approved_by="",
        reason="state broken after provider upgrade",
        requests_bucket="tfpilot-requests",
        started_at=NOW,
        version="tfpilot 0.1.0",
    )


def state_bytes(serial: int = 7, *, lineage: str = "11111111-2222", resources: int = 2) -> bytes:
    listed = [
        {
            "mode": "managed",
            "type": "terraform_data",
            "name": f"r{number}",
            "provider": 'provider["terraform.io/builtin/terraform"]',
            "instances": [{"schema_version": 0, "attributes": {"password": "hunter2"}}],
        }
        for number in range(resources)
    ]
    fields = {
        "version": 4,
        "terraform_version": "1.15.5",
        "serial": serial,
        "lineage": lineage,
        "outputs": {},
        "resources": listed,
    }
    return json.dumps(fields, indent=2).encode()


def document(request_id: str, version: int = 3, **fields: Any) -> bytes:
    return render_document(request(request_id, version=version, **{"targetEnvPath": "envs/dev", **fields}))


@dataclass
class World:
    """What stands at every place. Writes are conditional on the mark that was found, as real ones are on the ETag."""

    mode: LockMode
    objects: dict[Place, bytes] = field(default_factory=dict)

    def find(self, step_place: Place) -> Found | None:
        content = self.objects.get(step_place)
        if content is None:
            return None
        is_lock_item = step_place.store is Store.LOCK_TABLE and not step_place.key.endswith("-md5")
        if is_lock_item or step_place.key.endswith(".tflock"):
            lock = parse_lock(content)
            return Found(lock.id if isinstance(lock, LockInfo) else "malformed")
        if step_place.store is Store.LOCK_TABLE:
            return Found(content.decode())
        return Found(hashlib.sha256(content).hexdigest(), hashlib.md5(content).hexdigest())

    def apply(self, step: ResetStep) -> StepResult | None:
        """Tries one write; None: it was not written, and `decide` said so."""
        content = step.content
        if step.after is not None and content is None and step.source is not None:
            content = self.objects.get(step.source)
            if content is None or not fits(step, content):
                return StepResult(step.id, Outcome.LEFT, f"{step.source} was changed or removed")
        if step.after is None:
            del self.objects[step.place]
        else:
            assert content is not None
            assert fits(step, content)
            self.objects[step.place] = content
        found = self.find(step.place)
        return StepResult(step.id, Outcome.DONE, etag=found.etag if found else "")

    def state_place(self, state: StateTarget) -> Place:
        return Place(Store.STATE_BUCKET, state.object_key)

    def digest_place(self, state: StateTarget) -> Place:
        return Place(Store.LOCK_TABLE, digest_id(BUCKET, state.object_key))

    def lock_places(self, state: StateTarget) -> list[Place]:
        table = [Place(Store.LOCK_TABLE, lock_id(BUCKET, state.object_key))] if self.mode.has_table else []
        file = [Place(Store.STATE_BUCKET, lockfile_key(state.object_key))] if self.mode.has_lockfile else []
        return file + table

    def put_state(self, state: StateTarget, content: bytes) -> None:
        """As Terraform writes a state: with its digest where there is a table."""
        self.objects[self.state_place(state)] = content
        if self.mode.has_table:
            self.objects[self.digest_place(state)] = md5_of(content).encode()

    def put_request(self, request_id: str, content: bytes, *, prefix: str = "requests") -> None:
        self.objects[Place(Store.REQUESTS_BUCKET, f"{prefix}/{request_id}.json")] = content

    def checksum_errors(self, states: Iterable[StateTarget]) -> list[str]:
        """The states that Terraform would refuse, were it not for a lock."""
        wrong = []
        for state in states:
            content, digest = self.objects.get(self.state_place(state)), self.objects.get(self.digest_place(state))
            if digest is not None and (content is None or md5_of(content).encode() != digest):
                wrong.append(state.object_key)
        return wrong

    def outside_backups(self) -> dict[Place, bytes]:
        """Everything but what a reset keeps for itself."""
        return {
            place: content
            for place, content in self.objects.items()
            if not place.key.startswith(("ops/", BACKUP_PREFIX))
        }


def dev_world(mode: LockMode = LockMode.BOTH) -> World:
    """Two states, a bystander, and four requests, in history nothing, the same, an older and a newer copy of them."""
    world = World(mode)
    world.put_state(PLAIN, state_bytes())
    world.put_state(NAMED, state_bytes(3, lineage="other"))
    for number, request_id in enumerate(REQUESTS):
        world.put_request(request_id, document(request_id))
        entry = new_entry(WorkflowKind.APPLY, 100 + number, request_id, created_at=NOW)
        place = Place(Store.REQUESTS_BUCKET, entry_key(WorkflowKind.APPLY, 100 + number))
        world.objects[place] = render_entry(entry)
    _, same, older, newer = REQUESTS
    world.put_request(same, document(same), prefix="history")
    world.put_request(older, document(older, version=2), prefix="history")
    world.put_request(newer, document(newer, version=9), prefix="history")
    world.put_request("req_dev_s3_other", document("req_dev_s3_other", targetEnvPath="envs/other"))
    return world


def read_plan(world: World, *, mode: StateMode = StateMode.REMOVE, own_lock_id: str = "") -> ResetPlan:
    """The plan as it is read now."""

    def read(place: Place) -> ReadObject | None:
        content = world.objects.get(place)
        return None if content is None else ReadObject(place.key, content, hashlib.md5(content).hexdigest(), "v1")

    chosen = target(world.mode)
    states = []
    for state in chosen.states:
        found = [found for place in world.lock_places(state) if (found := world.find(place)) is not None]
        digest = world.objects.get(world.digest_place(state))
        states.append(
            plan_state(
                object_key=state.object_key,
                env_path=state.env_path,
                lock_id=lock_id(BUCKET, state.object_key),
                mode=mode,
                read=read(world.state_place(state)),
                digest=digest.decode() if digest else None,
                locks=[each.mark for each in found if each.mark != own_lock_id],
            )
        )
    requests, entries = [], []
    for place in list(world.objects):
        stored = read(place)
        assert stored is not None
        request_id = place.key.removeprefix("requests/").removesuffix(".json")
        if place.key == f"requests/{request_id}.json" and request_id in REQUESTS:
            archived = read(Place(Store.REQUESTS_BUCKET, f"history/{request_id}.json"))
            requests.append(plan_request(stored, request_id=request_id, archived=archived))
        if place.key.startswith("webhooks/") and (planned := plan_entry(stored, request_ids=REQUESTS)):
            entries.append(planned)
    return make_plan(
        chosen,
        state_mode=mode,
        with_index=True,
        states=states,
        requests=requests,
        entries=entries,
        undecided=(),
        now=NOW,
    )


@dataclass
class Reset:
    """A reset under way, and the process that carries it out: after `kill_after` writes it is gone; None: it lives."""

    world: World
    plan: ResetPlan
    journal: list[JournalEntry] = field(default_factory=list)
    kill_after: int | None = None
    events: int = 0
    holds_lock_often: list[bool] = field(default_factory=list)
    steps: tuple[ResetStep, ...] = ()
    wrong_before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.steps = self.steps or steps_of(self.plan, self.record)
        self.wrong_before |= set(self.world.checksum_errors(self.plan.target.states))

    @property
    def record(self) -> ResetRecord:
        return record(self.plan)

    @property
    def progress(self) -> Progress:
        return read_journal(self.journal)

    def resume(self) -> None:
        self._run(plan_resume(self.steps, self.progress), Direction.APPLY)

    def undo(self) -> None:
        self._run(plan_undo(self.steps, self.progress), Direction.UNDO)

    def with_pen(self, kill_after: int | None) -> Reset:
        """Another process that takes the reset over, and may be killed as well."""
        return replace(self, kill_after=kill_after, events=0)

    def _run(self, steps: Sequence[ResetStep], direction: Direction) -> None:
        for group in batches(steps):
            results = self._carry_out(group, direction)
            stops = {Action.TAKE_LOCK, Action.COMPARE}
            if group[0].action in stops and results[0].outcome is Outcome.LEFT:
                for step in release_steps(self.plan, self.record):
                    self._carry_out((step,), direction)
                raise LockedOutError(results[0].reason)

    def _carry_out(self, group: Sequence[ResetStep], direction: Direction) -> list[StepResult]:
        self._write(direction, intents=tuple(step.id for step in group))
        outcomes = self.progress.outcomes
        results = [self._try(step, outcomes) for step in group]
        self._write(direction, results=tuple(results))
        return results

    def _try(self, step: ResetStep, outcomes: Any) -> StepResult:
        if step.action is Action.COMPARE:
            told = differences(self.plan, read_plan(self.world, mode=self.plan.state_mode, own_lock_id=LOCK_ID))
            return StepResult(step.id, Outcome.LEFT if told else Outcome.DONE, "; ".join(told))
        decision = decide(step, self.world.find(step.place), outcomes=outcomes)
        if decision.move is not Move.WRITE:
            outcome = Outcome.DONE if decision.move is Move.NOTHING else Outcome.LEFT
            return StepResult(step.id, outcome, decision.reason)
        self._live()
        result = self.world.apply(step)
        assert result is not None
        errors = set(self.world.checksum_errors(self.plan.target.states)) - self.wrong_before
        assert not errors, f"Terraform would refuse {errors} after {step.id}"
        if step.phase.name in {"DIGEST", "STATE"}:
            self.holds_lock_often.append(self._holds(step.subject))
        return result

    def _holds(self, object_key: str) -> bool:
        state = next(state for state in self.plan.target.states if state.object_key == object_key)
        return all((found := self.world.find(p)) and found.mark == LOCK_ID for p in self.world.lock_places(state))

    def _write(self, direction: Direction, **parts: Any) -> None:
        self._live()
        number = len(self.journal) + 1
        self.journal.append(JournalEntry(number, NOW, "ops-lead", direction, **parts))

    def _live(self) -> None:
        """Called right before every write, so that a kill leaves all before and nothing after it."""
        if self.kill_after is not None and self.events >= self.kill_after:
            raise KilledError
        self.events += 1
