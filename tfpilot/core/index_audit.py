"""What is wrong with the run index: entries against requests, both ways (SPEC §5)."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from tfpilot.core.document import format_time
from tfpilot.core.index_fixes import FixKind, IndexFix, MustHold
from tfpilot.core.index_listing import (
    Ages,
    EntryVersion,
    IndexObject,
    count_ages,
    find_entry,
    find_place,
    is_folder,
    read_entry,
)
from tfpilot.core.model import (
    DispatchRecord,
    DispatchState,
    RequestRow,
    RunIndexEntry,
    Severity,
    TrackedRun,
    WorkflowKind,
)
from tfpilot.core.run_index import (
    LIFETIME,
    entry_key,
    find_kind_and_run,
    is_expired,
    names_its_key,
    new_entry,
    render_entry,
)
from tfpilot.errors import DocumentError

ORPHAN_AFTER: Final = timedelta(hours=24)
EXPIRY_TOLERANCE: Final = timedelta(minutes=1)
FUTURE_TOLERANCE: Final = timedelta(minutes=5)


class IndexCode(StrEnum):
    """What can be wrong with the run index, the order in which findings of one severity are listed."""

    CROSSED = "CROSSED"
    DOUBLE_TRACKED = "DOUBLE_TRACKED"
    OVERWRITTEN = "OVERWRITTEN"
    MALFORMED = "MALFORMED"
    KEY_BODY_MISMATCH = "KEY_BODY_MISMATCH"
    UNKNOWN_KIND = "UNKNOWN_KIND"
    STRAY_KEY = "STRAY_KEY"
    MISSING = "MISSING"
    ORPHAN = "ORPHAN"
    BAD_EXPIRY = "BAD_EXPIRY"
    FUTURE = "FUTURE"
    SUPERSEDED = "SUPERSEDED"
    ARCHIVED_ONLY = "ARCHIVED_ONLY"
    EXPIRED = "EXPIRED"


SEVERITIES: Final[Mapping[IndexCode, Severity]] = {
    **dict.fromkeys(IndexCode, Severity.WARNING),
    IndexCode.CROSSED: Severity.CRITICAL,
    IndexCode.DOUBLE_TRACKED: Severity.CRITICAL,
    IndexCode.OVERWRITTEN: Severity.CRITICAL,
    IndexCode.SUPERSEDED: Severity.INFO,
    IndexCode.ARCHIVED_ONLY: Severity.INFO,
    IndexCode.EXPIRED: Severity.INFO,
}


@dataclass(frozen=True, slots=True)
class IndexFinding:
    """One thing that is wrong with one key of the run index; code and key tell findings apart.

    `kind` and `run_id` are None where the key names no run. `fix` None: there is no safe one, `next_action` says what
    a person can do.
    """

    code: IndexCode
    key: str
    kind: WorkflowKind | None
    run_id: int | None
    requests: tuple[str, ...]
    evidence: tuple[str, ...]
    next_action: str
    fix: IndexFix | None = None

    @property
    def severity(self) -> Severity:
        return SEVERITIES[self.code]


@dataclass(frozen=True, slots=True)
class IndexAudit:
    """All findings, the worst first, of so many objects and requests. `ages` count the entries by their own time."""

    findings: tuple[IndexFinding, ...]
    objects: int
    requests: int
    ages: Ages


@dataclass(frozen=True, slots=True)
class _Tracker:
    """A request that names a run."""

    row: RequestRow
    run: TrackedRun

    @property
    def says(self) -> str:
        where = "archived request" if self.row.archived else "request"
        beside = "" if self.run.current else ", beside the run that counts"
        return f"{where} {self.row.id} tracks it as its {self.run.kind.value} run{beside}"


@dataclass(frozen=True, slots=True)
class _Known:
    """What the entries are compared with."""

    now: datetime
    rows: Mapping[str, RequestRow]
    trackers: Mapping[int, Sequence[_Tracker]]
    started: Mapping[tuple[WorkflowKind, int], Sequence[DispatchRecord]] = field(default_factory=dict)
    versions: Mapping[str, Sequence[EntryVersion]] = field(default_factory=dict)

    def environments(self, *request_ids: str) -> tuple[str, ...]:
        """Those of the requests that are known, each once."""
        rows = (self.rows.get(each) for each in request_ids)
        return tuple(dict.fromkeys(row.environment for row in rows if row is not None))


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry that is the one its key promises, with the object that holds it."""

    found: IndexObject
    entry: RunIndexEntry

    def finding(self, code: IndexCode, evidence: Iterable[str], next_action: str, *others: str) -> IndexFinding:
        entry = self.entry
        requests = tuple(dict.fromkeys((entry.request_id, *others)))
        return IndexFinding(code, self.found.key, entry.kind, entry.run_id, requests, tuple(evidence), next_action)

    def removal(self, code: IndexCode, known: _Known, must_hold: MustHold) -> IndexFix:
        owner = self.entry.request_id
        return _removal(self.found, code, must_hold=must_hold, request_id=owner, environments=known.environments(owner))


def audit(
    objects: Iterable[IndexObject],
    requests: Sequence[RequestRow],
    *,
    now: datetime,
    records: Iterable[DispatchRecord] = (),
    versions: Mapping[str, Sequence[EntryVersion]] | None = None,
) -> IndexAudit:
    """Everything that is wrong, from one reading of all objects and all requests, the requests read first.

    `records` (our own, of dispatches) and `versions` (of the objects that have several) show what was overwritten.
    """
    known = _known(requests, now, records=records, versions=versions or {})
    findings: list[IndexFinding] = []
    times = {kind: array("q") for kind in WorkflowKind}
    unseen = _wanted(known)
    count = 0
    for found in objects:
        if is_folder(found.key):
            continue
        count += 1
        unseen.discard(found.key)
        holder = _holder(found)
        if isinstance(holder, IndexFinding):
            findings.append(_with_environments(holder, known))
            continue
        times[holder.entry.kind].append(int(holder.entry.created_at.timestamp()))
        findings.extend(finding for rule in _RULES if (finding := rule(holder, known)) is not None)
    findings += [*_double_tracked(known), *_missing(known, unseen)]
    ages = count_ages(((kind, at) for kind, made in times.items() for at in made), now)
    return IndexAudit(tuple(sorted(findings, key=_order)), count, len(known.rows), ages)


def waits_for(row: RequestRow, kind: WorkflowKind, run_id: int) -> bool:
    """Whether the request waits for that run, or for one of its kind whose id it does not know."""
    return any(run.kind is kind and run.run_id == run_id and run.waits for run in row.tracked) or any(
        intent.kind is kind for intent in row.intents
    )


def _known(
    requests: Sequence[RequestRow],
    now: datetime,
    *,
    records: Iterable[DispatchRecord],
    versions: Mapping[str, Sequence[EntryVersion]],
) -> _Known:
    trackers: dict[int, list[_Tracker]] = {}
    for row in requests:
        for run in row.tracked:
            trackers.setdefault(run.run_id, []).append(_Tracker(row, run))
    started: dict[tuple[WorkflowKind, int], list[DispatchRecord]] = {}
    for record in records:
        if record.state is DispatchState.STARTED and record.run_id is not None:
            started.setdefault((record.kind, record.run_id), []).append(record)
    return _Known(now, {row.id: row for row in requests}, trackers, started, versions)


# What one object says by itself


def _holder(found: IndexObject) -> _Entry | IndexFinding:
    """The entry in an object, or what is wrong with its key or body."""
    place = find_kind_and_run(found.key)
    if place is None:
        return _of_key(
            IndexCode.STRAY_KEY,
            found,
            "the key is not <kind>/run-<run id>.json",
            "Nobody reads it. Find out who writes it before it is removed by hand.",
        )
    if find_place(found.key) is None:
        return _of_key(
            IndexCode.UNKNOWN_KIND,
            found,
            f"{place[0]!r} is no kind of workflow: {', '.join(WorkflowKind)}",
            "Nobody reads it. Find out who writes it before it is removed by hand.",
        )
    try:
        entry = read_entry(found)
    except DocumentError as error:
        return _malformed(found, error.message)
    if names_its_key(entry, found.key):
        return _Entry(found, entry)
    mismatch = _of_key(
        IndexCode.KEY_BODY_MISMATCH,
        found,
        f"the body says {entry.kind.value} run {entry.run_id} of request {entry.request_id}",
        "A look-up answers nothing for it. See at GitHub whose run it is, then correct the object by hand.",
    )
    return replace(mismatch, requests=(entry.request_id,))


def _malformed(found: IndexObject, reason: str) -> IndexFinding:
    finding = _of_key(
        IndexCode.MALFORMED, found, reason, "Remove it: a look-up answers nothing for it, and it blocks the run."
    )
    if found.content is None:
        return replace(finding, next_action="It cannot be read. Look at the object in the bucket.")
    return replace(finding, fix=_removal(found, IndexCode.MALFORMED, must_hold=MustHold.NOTHING))


def _with_environments(finding: IndexFinding, known: _Known) -> IndexFinding:
    """The finding with the requests that track its run, whose environments its fix is a matter of."""
    trackers = known.trackers.get(finding.run_id or 0, ())
    requests = tuple(dict.fromkeys((*finding.requests, *(each.row.id for each in trackers))))
    evidence = (*finding.evidence, *(each.says for each in trackers))
    fix = finding.fix and replace(finding.fix, environments=known.environments(*requests))
    return replace(finding, requests=requests, evidence=evidence, fix=fix)


def _of_key(code: IndexCode, found: IndexObject, evidence: str, next_action: str) -> IndexFinding:
    kind, run_id = find_place(found.key) or (None, None)
    return IndexFinding(code, found.key, kind, run_id, (), (evidence,), next_action)


def _removal(
    found: IndexObject,
    code: IndexCode,
    *,
    must_hold: MustHold,
    request_id: str = "",
    environments: tuple[str, ...] = (),
) -> IndexFix:
    return IndexFix(code.value, FixKind.REMOVE, found.key, found.etag, None, request_id, must_hold, environments)


# An entry against the requests


def _orphan(held: _Entry, known: _Known) -> IndexFinding | None:
    entry = held.entry
    if entry.request_id in known.rows or known.now - entry.created_at <= ORPHAN_AFTER:
        return None
    evidence = f"request {entry.request_id} is neither active nor archived"
    dated = f"the run was created at {format_time(entry.created_at)}"
    finding = held.finding(IndexCode.ORPHAN, [evidence, dated], "Remove it, after both places were asked once more.")
    return replace(finding, fix=held.removal(IndexCode.ORPHAN, known, MustHold.NO_SUCH_REQUEST))


def _archived_only(held: _Entry, known: _Known) -> IndexFinding | None:
    row = known.rows.get(held.entry.request_id)
    if row is None or not row.archived:
        return None
    evidence = f"request {row.id} is archived, nothing active exists"
    return held.finding(IndexCode.ARCHIVED_ONLY, [evidence], "Nothing needs to be done: it goes when it expires.")


def _crossed(held: _Entry, known: _Known) -> IndexFinding | None:
    owner = held.entry.request_id
    others = [each for each in known.trackers.get(held.entry.run_id, ()) if each.row.id != owner]
    if not others:
        return None
    evidence = [f"the entry names request {owner}", *(each.says for each in others)]
    action = "See at GitHub whose run it is, then repair the request that tracks another's run."
    return held.finding(IndexCode.CROSSED, evidence, action, *(each.row.id for each in others))


def _superseded(held: _Entry, known: _Known) -> IndexFinding | None:
    entry, row = held.entry, known.rows.get(held.entry.request_id)
    if row is None or row.archived:
        return None
    current = next((run for run in row.tracked if run.kind is entry.kind and run.current), None)
    if current is None or current.run_id == entry.run_id:
        return None
    evidence = f"request {row.id} tracks {entry.kind.value} run {current.run_id} now"
    return held.finding(IndexCode.SUPERSEDED, [evidence], "Nothing needs to be done: it is an earlier run.")


def _expired(held: _Entry, known: _Known) -> IndexFinding | None:
    entry = held.entry
    if not is_expired(entry, known.now):
        return None
    finding = held.finding(IndexCode.EXPIRED, [f"it expired at {format_time(entry.expires_at)}"], "Remove it.")
    row = known.rows.get(entry.request_id)
    if row is not None and waits_for(row, entry.kind, entry.run_id):
        return replace(finding, next_action=f"Keep it: request {row.id} still waits for a {entry.kind.value} run.")
    if row is not None and row.error is not None:
        return replace(finding, next_action=f"Keep it until request {row.id} can be read again: {row.error}.")
    if known.now <= entry.created_at + LIFETIME:
        return replace(finding, next_action="Keep it: its expiry is wrong, the run is younger than 90 days.")
    return replace(finding, fix=held.removal(IndexCode.EXPIRED, known, MustHold.NOBODY_WAITS))


def _bad_expiry(held: _Entry, _known: _Known) -> IndexFinding | None:
    entry = held.entry
    if abs(entry.expires_at - (entry.created_at + LIFETIME)) <= EXPIRY_TOLERANCE:
        return None
    times = f"created at {format_time(entry.created_at)}, expires at {format_time(entry.expires_at)}"
    evidence = f"{times}: not 90 days later"
    return held.finding(
        IndexCode.BAD_EXPIRY, [evidence], "Find out who wrote it. Nothing reads the expiry but this audit."
    )


def _future(held: _Entry, known: _Known) -> IndexFinding | None:
    if held.entry.created_at - known.now <= FUTURE_TOLERANCE:
        return None
    evidence = f"created at {format_time(held.entry.created_at)}, which is not yet"
    return held.finding(IndexCode.FUTURE, [evidence], "Check the clock of whoever wrote it.")


def _overwritten(held: _Entry, known: _Known) -> IndexFinding | None:
    recorded, earlier = _recorded_others(held, known), _earlier_others(held, known)
    if not recorded and not earlier:
        return None
    evidence = [f"the entry names request {held.entry.request_id}"]
    evidence += [f"our dispatch of {format_time(each.triggered_at)} started it for request {each.request_id}"
                 for each in recorded]  # fmt: skip
    evidence += [f"the version of {format_time(version.modified)} named request {entry.request_id}"
                 for version, entry in earlier]  # fmt: skip
    owners = dict.fromkeys([*(each.request_id for each in recorded), *(entry.request_id for _, entry in earlier)])
    finding = held.finding(IndexCode.OVERWRITTEN, evidence, "See at GitHub whose run it is.", *owners)
    content = _content_before(held, known, recorded=recorded, earlier=earlier)
    first = next(iter(owners))
    row = known.rows.get(first)
    if len(owners) > 1 or content is None or row is None or row.archived:
        return finding
    concerned = known.environments(first, held.entry.request_id)
    fix = IndexFix(IndexCode.OVERWRITTEN.value, FixKind.RESTORE, held.found.key, held.found.etag, content, first,
                   MustHold.NOTHING, concerned)  # fmt: skip
    return replace(finding, next_action=f"Write the entry for request {first} again.", fix=fix)


def _recorded_others(held: _Entry, known: _Known) -> Sequence[DispatchRecord]:
    entry = held.entry
    started = known.started.get((entry.kind, entry.run_id), ())
    return [record for record in started if record.request_id != entry.request_id]


def _earlier_others(held: _Entry, known: _Known) -> Sequence[tuple[EntryVersion, RunIndexEntry]]:
    """The earlier versions that name another request, the oldest first."""
    versions = known.versions.get(held.found.key, ())
    entries = ((version, find_entry(version.content, key=held.found.key)) for version in versions if not version.latest)
    return [(each, entry) for each, entry in entries if entry and entry.request_id != held.entry.request_id]


def _content_before(
    held: _Entry,
    known: _Known,
    *,
    recorded: Sequence[DispatchRecord],
    earlier: Sequence[tuple[EntryVersion, RunIndexEntry]],
) -> bytes | None:
    """What to write again: the version as it was, else a new entry by our record, with the run's own time."""
    if earlier:
        return earlier[0][0].content
    record = recorded[0]
    trackers = known.trackers.get(held.entry.run_id, ())
    tracked = next((each.run.created_at for each in trackers if each.row.id == record.request_id), None)
    created_at = tracked or record.posted_at or record.triggered_at
    entry = new_entry(held.entry.kind, held.entry.run_id, record.request_id, created_at=created_at)
    return None if is_expired(entry, known.now) else render_entry(entry)


_RULES: Final[tuple[Callable[[_Entry, _Known], IndexFinding | None], ...]] = (
    _orphan,
    _archived_only,
    _crossed,
    _superseded,
    _expired,
    _bad_expiry,
    _future,
    _overwritten,
)


# The requests against the entries


def _double_tracked(known: _Known) -> Iterator[IndexFinding]:
    for run_id, trackers in known.trackers.items():
        requests = tuple(dict.fromkeys(each.row.id for each in trackers))
        if len(requests) > 1:
            kind = trackers[0].run.kind
            yield IndexFinding(
                IndexCode.DOUBLE_TRACKED,
                entry_key(kind, run_id),
                kind,
                run_id,
                requests,
                tuple(each.says for each in trackers),
                "See at GitHub whose run it is, then repair the other request.",
            )


def _wanted(known: _Known) -> set[str]:
    """The keys of the runs that an active request tracks. What is archived gets no events any more."""
    return {entry_key(each.run.kind, run_id) for run_id, trackers in known.trackers.items() for each in trackers
            if _counts(each)}  # fmt: skip


def _missing(known: _Known, unseen: set[str]) -> Iterator[IndexFinding]:
    """The young runs of active requests that have no entry."""
    for run_id, trackers in known.trackers.items():
        young = [each for each in trackers if _counts(each) and _is_young(each, known.now)]
        for kind in dict.fromkeys(each.run.kind for each in young):
            key = entry_key(kind, run_id)
            of_kind = [each for each in young if each.run.kind is kind]
            if key in unseen:
                yield _missing_entry(key, of_kind, known, is_only_owner=len({each.row.id for each in trackers}) == 1)


def _counts(each: _Tracker) -> bool:
    return each.run.current and not each.row.archived


def _missing_entry(key: str, trackers: Sequence[_Tracker], known: _Known, *, is_only_owner: bool) -> IndexFinding:
    row, run = trackers[0].row, trackers[0].run
    requests = tuple(dict.fromkeys(each.row.id for each in trackers))
    evidence = tuple(each.says for each in trackers)
    finding = IndexFinding(IndexCode.MISSING, key, run.kind, run.run_id, requests, evidence, "")
    if not is_only_owner:
        return replace(finding, next_action="First find out whose run it is: more than one request tracks it.")
    if run.created_at is None:
        return replace(finding, next_action="Repair the request: when the run was created is not known.")
    entry = new_entry(run.kind, run.run_id, row.id, created_at=run.created_at)
    fix = IndexFix(IndexCode.MISSING.value, FixKind.BACKFILL, key, "", render_entry(entry), row.id,
                   MustHold.STILL_TRACKED, known.environments(row.id))  # fmt: skip
    return replace(finding, next_action="Write the entry, unless somebody does meanwhile.", fix=fix)


def _is_young(each: _Tracker, now: datetime) -> bool:
    """Whether the run is younger than 90 days; without its time, whether the request changed in that time."""
    at = each.run.created_at or each.row.updated_at
    return at is not None and now <= at + LIFETIME


def _order(finding: IndexFinding) -> tuple[int, int, str]:
    return _RANKS[finding.severity], _POSITIONS[finding.code], finding.key


_RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}
_POSITIONS: Final = {code: position for position, code in enumerate(IndexCode)}
