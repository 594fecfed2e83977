"""What one reset would do: exact objects, each with the version that was read, and a digest of all of it (SPEC §7)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tfpilot.core.document import number_of, parse_document, parse_time, text_of
from tfpilot.core.model import JsonObject
from tfpilot.core.request import parse_request
from tfpilot.core.reset_target import ResetTarget, Undecided
from tfpilot.core.run_index import parse_entry
from tfpilot.core.terraform import md5_of
from tfpilot.core.terraform_state import StateSummary, empty_state, read_state
from tfpilot.errors import DocumentError


class StateMode(StrEnum):
    """What becomes of a state: it is removed, or an empty one of the same lineage follows it."""

    REMOVE = "remove"
    EMPTY = "empty"


class ArchiveCase(StrEnum):
    """What stands in `history/` for a request, and with it what becomes of the request."""

    NEW = "nothing there: copied"
    IDENTICAL = "identical there: kept"
    OLDER = "older there: backed up, then replaced"
    KEPT = "newer there: kept, ours put aside"


@dataclass(frozen=True, slots=True)
class ReadObject:
    """An object as it was read. `version_id` None: the bucket keeps no versions.

    `encryption` and `kms_key` are how the store encrypts it, by S3's names; empty where it does not say.
    """

    key: str
    content: bytes
    etag: str
    version_id: str | None = None
    encryption: str = ""
    kms_key: str = ""


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """An object of the plan, without its content: states hold secrets."""

    key: str
    etag: str
    version_id: str | None
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PlannedState:
    """One state. `state` None: there is none; `digest` None: no digest item.

    `md5` is that of the bytes; `replacement` what takes their place, None for a removal. `locks` are those of others.
    """

    object_key: str
    env_path: str
    lock_id: str
    state: PlannedObject | None
    md5: str | None
    digest: str | None
    summary: StateSummary | None
    replacement: str | None = None
    locks: tuple[str, ...] = ()

    @property
    def digest_is_wrong(self) -> bool:
        """Whether Terraform refuses this state already now, because bytes and digest do not fit."""
        return self.digest is not None and self.digest != self.md5


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request that leaves `requests/`. `archived`: what stands in `history/` now, None where nothing does."""

    request_id: str
    document: PlannedObject
    archived: PlannedObject | None
    case: ArchiveCase
    created_by: str
    last_activity: datetime | None


@dataclass(frozen=True, slots=True)
class PlannedEntry:
    """One entry that leaves the run index, and the request that it names."""

    entry: PlannedObject
    request_id: str


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """What a person confirms. Its lists are in order of their keys. `undecided` are left as they are."""

    target: ResetTarget
    state_mode: StateMode
    with_index: bool
    states: tuple[PlannedState, ...]
    requests: tuple[PlannedRequest, ...]
    entries: tuple[PlannedEntry, ...]
    undecided: tuple[Undecided, ...]
    planned_at: datetime

    @property
    def objects(self) -> tuple[PlannedObject, ...]:
        """Every object that leaves its place."""
        states = tuple(each.state for each in self.states if each.state is not None)
        return (*states, *(each.document for each in self.requests), *(each.entry for each in self.entries))

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.objects)

    @property
    def resource_count(self) -> int:
        """How many cloud resources lose their state."""
        return sum(each.summary.managed_count for each in self.states if each.summary is not None)


@dataclass(frozen=True, slots=True)
class Person:
    """Who made affected requests, how many, and when one of them last changed."""

    login: str
    request_count: int
    last_activity: datetime | None


def planned_object(read: ReadObject) -> PlannedObject:
    """What the plan keeps of an object that was read."""
    return PlannedObject(read.key, read.etag, read.version_id, len(read.content), sha256_of(read.content))


def sha256_of(content: bytes) -> str:
    """How this reset tells content apart, whatever a store makes its ETags of."""
    return hashlib.sha256(content).hexdigest()


def plan_state(
    *,
    object_key: str,
    env_path: str,
    lock_id: str,
    mode: StateMode,
    read: ReadObject | None,
    digest: str | None,
    locks: Iterable[str] = (),
) -> PlannedState:
    """What becomes of one state. `locks` are the ids, or descriptions, of locks that are not the reset's own.

    Raises DocumentError where the state is to be emptied and cannot be continued.
    """
    emptied = read is not None and mode is StateMode.EMPTY
    return PlannedState(
        object_key=object_key,
        env_path=env_path,
        lock_id=lock_id,
        state=planned_object(read) if read else None,
        md5=md5_of(read.content) if read else None,
        digest=digest,
        summary=read_state(read.content) if read else None,
        replacement=empty_state(read.content).decode() if read and emptied else None,
        locks=tuple(sorted(locks)),
    )


def plan_request(read: ReadObject, *, request_id: str, archived: ReadObject | None) -> PlannedRequest:
    """What becomes of one request. Raises DocumentError where the active document cannot be read."""
    document = parse_document(read.content, request_id=request_id)
    request = parse_request(document)
    return PlannedRequest(
        request_id=request_id,
        document=planned_object(read),
        archived=planned_object(archived) if archived else None,
        case=archive_case(read.content, archived.content if archived else None, request_id=request_id),
        created_by=request.created_by,
        last_activity=request.updated_at or request.received_at,
    )


def plan_entry(read: ReadObject, *, request_ids: Collection[str]) -> PlannedEntry | None:
    """The entry as one to remove; None where it names no request of the reset, or cannot be read."""
    try:
        entry = parse_entry(read.content, key=read.key)
    except DocumentError:
        return None  # the audit of the run index tells of it
    return PlannedEntry(planned_object(read), entry.request_id) if entry.request_id in request_ids else None


def make_plan(
    target: ResetTarget,
    *,
    state_mode: StateMode,
    with_index: bool,
    states: Iterable[PlannedState],
    requests: Iterable[PlannedRequest],
    entries: Iterable[PlannedEntry],
    undecided: Iterable[Undecided],
    now: datetime,
) -> ResetPlan:
    """The plan, whatever the order in which its parts were read."""
    return ResetPlan(
        target=target,
        state_mode=state_mode,
        with_index=with_index,
        states=tuple(sorted(states, key=lambda each: each.object_key)),
        requests=tuple(sorted(requests, key=lambda each: each.request_id)),
        entries=tuple(sorted(entries, key=lambda each: each.entry.key)) if with_index else (),
        undecided=tuple(sorted(undecided, key=lambda each: each.request_id)),
        planned_at=now,
    )


def archive_case(active: bytes, archived: bytes | None, *, request_id: str) -> ArchiveCase:
    """What becomes of a request, by what stands in `history/`.

    A copy is older where neither its version nor its `updatedAt` is later, and one of them is earlier. Whatever is not
    certainly older is kept: then nothing is lost, because ours is put aside.
    """
    if archived is None:
        return ArchiveCase.NEW
    if archived == active:
        return ArchiveCase.IDENTICAL
    try:
        ours = _age(parse_document(active, request_id=request_id))
        theirs = _age(parse_document(archived, request_id=request_id))
    except DocumentError:
        return ArchiveCase.KEPT
    pairs = list(zip(ours, theirs, strict=True))
    is_older = all(mine >= other for mine, other in pairs) and any(mine > other for mine, other in pairs)
    return ArchiveCase.OLDER if is_older else ArchiveCase.KEPT


def people_of(plan: ResetPlan) -> tuple[Person, ...]:
    """Whom the reset concerns, most requests first."""
    groups: dict[str, list[PlannedRequest]] = {}
    for request in plan.requests:
        groups.setdefault(request.created_by, []).append(request)
    people = [
        Person(login, len(made), max((each.last_activity for each in made if each.last_activity), default=None))
        for login, made in groups.items()
    ]
    return tuple(sorted(people, key=lambda person: (-person.request_count, person.login)))


def count_cases(plan: ResetPlan) -> Mapping[ArchiveCase, int]:
    """How many requests meet what in `history/`, every case named."""
    return {case: sum(request.case is case for request in plan.requests) for case in ArchiveCase}


def _age(document: JsonObject) -> tuple[float, float]:
    updated_at = parse_time(text_of(document.get("updatedAt")))
    return float(number_of(document.get("version")) or 0), updated_at.timestamp() if updated_at else 0.0
