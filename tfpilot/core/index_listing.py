"""The run index as its key listing shows it: which runs have an entry, and how old each is. Room for half a million."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tfpilot.core.model import RunIndexEntry, WorkflowKind
from tfpilot.core.run_index import LIFETIME, PREFIX, entry_key, find_kind_and_run, is_kind, names_its_key, parse_entry
from tfpilot.errors import DocumentError

AGE_BIN: Final = timedelta(days=10)
AGE_BINS: Final = LIFETIME // AGE_BIN + 4
"""Bins of ages, the youngest first; the last one has no upper end. The 90-day line is at the start of bin 9."""

Ages = Mapping[WorkflowKind, tuple[int, ...]]
"""How many entries there are per kind and bin of ages."""

_KINDS: Final = tuple(WorkflowKind)
_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}


@dataclass(frozen=True, slots=True)
class IndexLine:
    """One entry as its key shows it. `modified`: when it was stored, to the second."""

    kind: WorkflowKind
    run_id: int
    modified: datetime

    @property
    def key(self) -> str:
        return entry_key(self.kind, self.run_id)


@dataclass(frozen=True, slots=True)
class IndexObject:
    """One object under the prefix, as it was read.

    `content` None: not read, because it is too large or, with S3's code in `refused`, because S3 would not give it.
    """

    key: str
    etag: str
    content: bytes | None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class EntryVersion:
    """One stored version of an object, by object versioning.

    `content` None: it is the latest, which a listing reads, or too large for an entry, or gone by now.
    """

    version_id: str
    modified: datetime
    latest: bool
    content: bytes | None


@dataclass(frozen=True, slots=True)
class VersionHistory:
    """What object versions tell: `kept` says whether the bucket keeps them now. `versions`: of the keys that have more
    than one, the oldest first."""

    kept: bool
    versions: Mapping[str, tuple[EntryVersion, ...]]


class IndexKeys:
    """All entries known by their keys, the newest run first, in 17 bytes each."""

    __slots__ = ("_kinds", "_modified", "_positions", "_run_ids")

    def __init__(self, lines: Iterable[tuple[WorkflowKind, int, int]] = ()) -> None:
        """From (kind, run id, time of storing in whole seconds since 1970), in any order."""
        self._run_ids, self._kinds, self._modified = array("Q"), array("B"), array("Q")
        for run_id, kind, modified in sorted(((run, _NUMBERS[kind], at) for kind, run, at in lines), reverse=True):
            self._run_ids.append(run_id)
            self._kinds.append(kind)
            self._modified.append(modified)
        self._positions = {kind: array("I") for kind in _KINDS}
        for position, number in enumerate(self._kinds):
            self._positions[_KINDS[number]].append(position)

    def __len__(self) -> int:
        return len(self._run_ids)

    def count(self, kind: WorkflowKind | None = None) -> int:
        """How many entries the kind has; None: all together."""
        return len(self) if kind is None else len(self._positions[kind])

    def page(self, kind: WorkflowKind | None = None, *, start: int, limit: int) -> Sequence[IndexLine]:
        """The entries from `start` on, at most `limit`, the newest run first."""
        stop = min(start + limit, self.count(kind))
        wanted = range(start, stop) if kind is None else self._positions[kind][start:stop]
        return [self._line(position) for position in wanted]

    def ages(self, now: datetime) -> Ages:
        """How many entries there are per kind and age of storing."""
        stored = (self._modified[position] for position in range(len(self)))
        return count_ages(zip((_KINDS[number] for number in self._kinds), stored, strict=True), now)

    def _line(self, position: int) -> IndexLine:
        modified = datetime.fromtimestamp(self._modified[position], tz=UTC)
        return IndexLine(_KINDS[self._kinds[position]], self._run_ids[position], modified)


@dataclass(frozen=True, slots=True)
class IndexListing:
    """One complete listing of the run index.

    `odd_keys` are under the prefix and no entry's. `bodies_missing`: how many objects have not been read yet in the
    version that is stored. `error` says why the last try to renew it failed, `tried_at` when; `read_at` None: nothing
    was ever listed. `number` grows with every listing that differs.
    """

    keys: IndexKeys
    odd_keys: tuple[str, ...]
    ages: Ages
    bodies_missing: int
    read_at: datetime | None
    number: int
    error: str | None = None
    tried_at: datetime | None = None

    @property
    def objects(self) -> int:
        """How many objects there are under the prefix."""
        return len(self.keys) + len(self.odd_keys)


NO_LISTING: Final = IndexListing(
    keys=IndexKeys(), odd_keys=(), ages={}, bodies_missing=0, read_at=None, number=0, error=None, tried_at=None
)


def find_place(key: str) -> tuple[WorkflowKind, int] | None:
    """The kind and run of a key; None where it is not the key of an entry."""
    place = find_kind_and_run(key)
    return (WorkflowKind(place[0]), place[1]) if place is not None and is_kind(place[0]) else None


def is_folder(key: str) -> bool:
    """Whether it is one of the empty objects that a console makes of a folder."""
    return key == PREFIX or (key.endswith("/") and is_kind(key.removeprefix(PREFIX).removesuffix("/")))


def read_entry(found: IndexObject) -> RunIndexEntry:
    """The entry in an object, whether or not it is the one that its key promises. Raises DocumentError."""
    if found.refused:
        raise DocumentError(f"S3 does not give {found.key}: {found.refused}")
    if found.content is None:
        raise DocumentError(f"{found.key} is larger than an entry of the run index can be")
    return parse_entry(found.content, key=found.key)


def find_entry(content: bytes | None, *, key: str) -> RunIndexEntry | None:
    """The entry that the key promises; None where the content is none or another's."""
    try:
        entry = None if content is None else parse_entry(content, key=key)
    except DocumentError:
        return None
    return entry if entry is not None and names_its_key(entry, key) else None


def count_ages(entries: Iterable[tuple[WorkflowKind, int]], now: datetime) -> Ages:
    """How many there are per kind and bin of ages, from (kind, time in whole seconds since 1970)."""
    bins = {kind: [0] * AGE_BINS for kind in _KINDS}
    today, width = int(now.timestamp()), int(AGE_BIN.total_seconds())
    for kind, at in entries:
        bins[kind][min(max(today - at, 0) // width, AGE_BINS - 1)] += 1
    return {kind: tuple(counted) for kind, counted in bins.items()}
