"""Who did what: records in chains, one per replica, each sealed over the one before, so that a change shows (SPEC §8).

A chain is numbered from 1 without gaps. A seal is an HMAC-SHA256, by a key that the bucket does not hold, of the record
and of the seal before it. An anchor is a copy of a seal somewhere else: what is cut off behind it is missed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from tfpilot.core.document import format_time, member_of, number_of, object_of, parse_time, text_of
from tfpilot.core.model import Door, JsonObject
from tfpilot.errors import DocumentError

FIRST: Final = 1
NO_SEAL: Final = ""
"""What stands for the seal before the first record of a chain."""


class Part(StrEnum):
    """What a record tells: that something is about to be done, or what became of it."""

    INTENT = "intent"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that somebody did, or wanted to. `subject` is what it was about: a request, a target, a lock.

    `of` is the id of the intent that an outcome belongs to; empty for an intent, and for a refusal before any. `data`
    are further facts, as texts and numbers; no secret ever.
    """

    at: datetime
    actor: str
    role: str
    door: Door
    operation: str
    subject: str
    part: Part
    reason: str = ""
    of: str = ""
    data: Mapping[str, str | int] | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An event in its place in a chain. `before` is the seal of the record before it."""

    chain: str
    number: int
    event: AuditEvent
    before: str
    seal: str

    @property
    def id(self) -> str:
        """What an outcome names its intent by."""
        return f"{self.chain}/{self.number}"


@dataclass(frozen=True, slots=True)
class Anchor:
    """The seal of one record, as it was kept elsewhere: in the chain's head object, or in a receipt (`where`)."""

    chain: str
    number: int
    seal: str
    where: str


class Flaw(StrEnum):
    """What is wrong with the first bad link of a chain, by the words a person reads."""

    MISSING = "the record is missing"
    UNREADABLE = "the record cannot be read"
    MISPLACED = "the record says that it belongs elsewhere"
    UNLINKED = "the record does not follow the one before it"
    ALTERED = "the record is not as it was sealed"
    REPLACED = "the record is not the one that was anchored"
    CUT_OFF = "records up to an anchor are missing at the end"


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """The first bad link of a chain, and where an anchor that tells of it is kept (empty: the chain itself tells)."""

    number: int
    flaw: Flaw
    where: str = ""


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a check of one chain found. `verified` records from the first on are as they were sealed, and `anchored` is
    the number of the last one that an anchor confirms; those after it could be cut off without a trace."""

    chain: str
    verified: int
    anchored: int
    broken: BrokenLink | None

    @property
    def unanchored(self) -> int:
        """How many records at the end no anchor confirms yet."""
        return max(0, self.verified - self.anchored)


@dataclass(frozen=True, slots=True)
class StoredChains:
    """All that is stored: each chain's records by their numbers (None: what cannot be read), and the heads."""

    chains: Mapping[str, Mapping[int, AuditRecord | None]]
    heads: Sequence[Anchor]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a check of the whole audit found: one report per chain, by its name. `has_key`: whether the seals are by a
    key at all, so that they show forgery."""

    chains: Sequence[ChainReport]
    has_key: bool

    @property
    def broken(self) -> Sequence[ChainReport]:
        """The chains with a bad link."""
        return [chain for chain in self.chains if chain.broken is not None]

    @property
    def verified(self) -> int:
        """How many records are as they were sealed."""
        return sum(chain.verified for chain in self.chains)

    @property
    def unanchored(self) -> int:
        """How many of them no anchor confirms yet."""
        return sum(chain.unanchored for chain in self.chains)


def next_record(event: AuditEvent, *, chain: str, after: AuditRecord | None, key: bytes) -> AuditRecord:
    """The event as the next record of a chain. `after` None: it is the first."""
    unsealed = AuditRecord(
        chain=chain,
        number=FIRST if after is None else after.number + 1,
        event=event,
        before=NO_SEAL if after is None else after.seal,
        seal="",
    )
    return replace(unsealed, seal=seal_of(unsealed, key=key))


def seal_of(record: AuditRecord, *, key: bytes) -> str:
    """The seal that the record must have, in hex."""
    fields = {name: value for name, value in record_fields(record).items() if name != "seal"}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    return hmac.new(key, canonical, hashlib.sha256).hexdigest()


def anchor_of(record: AuditRecord, *, where: str) -> Anchor:
    """What is kept elsewhere of a record."""
    return Anchor(record.chain, record.number, record.seal, where)


def verify_chain(
    chain: str, records: Mapping[int, AuditRecord | None], anchors: Iterable[Anchor], *, keys: Sequence[bytes]
) -> ChainReport:
    """Checks a chain from its first record on, up to the first bad link.

    `records`: what is stored under each number, None for what cannot be read as a record. `keys`: those that may have
    sealed it.
    """
    kept = sorted((anchor for anchor in anchors if anchor.chain == chain), key=lambda anchor: anchor.number)
    last = max([*records, *(anchor.number for anchor in kept)], default=0)
    before, verified, broken = NO_SEAL, 0, None
    for number in range(FIRST, last + 1):
        flaw = _flaw(chain, number, records, before, keys=keys)
        confirmed = [anchor for anchor in kept if anchor.number == number]
        if flaw is None and records[number] is not None:
            before = _sealed(records[number])
            contradicting = next((each for each in confirmed if not _same(each.seal, before)), None)
            if contradicting is not None:
                broken = BrokenLink(number, Flaw.REPLACED, contradicting.where)
                break
            verified = number
            continue
        broken = _broken(number, flaw or Flaw.UNREADABLE, records, kept)
        break
    anchored = max((anchor.number for anchor in kept if anchor.number <= verified), default=0)
    return ChainReport(chain, verified, anchored, broken)


def verify_all(stored: StoredChains, anchors: Sequence[Anchor], *, keys: Sequence[bytes], has_key: bool) -> AuditReport:
    """Checks every chain that is stored, and every one that only an anchor still tells of."""
    known = (*stored.heads, *anchors)
    names = sorted({*stored.chains, *(anchor.chain for anchor in known)})
    return AuditReport(
        tuple(verify_chain(name, stored.chains.get(name, {}), known, keys=keys) for name in names), has_key
    )


def merged(chains: Iterable[Iterable[AuditRecord]]) -> tuple[AuditRecord, ...]:
    """The records of all chains as one, newest first; within one instant by chain and number."""
    records = [record for chain in chains for record in chain]
    return tuple(sorted(records, key=lambda each: (each.event.at, each.chain, each.number), reverse=True))


def open_intents(records: Sequence[AuditRecord]) -> tuple[AuditRecord, ...]:
    """The intents that no record tells the outcome of: under way, or their process is gone. In the order given."""
    settled = {record.event.of for record in records if record.event.part is not Part.INTENT}
    return tuple(each for each in records if each.event.part is Part.INTENT and each.id not in settled)


def record_fields(record: AuditRecord) -> dict[str, Any]:
    """A record as it is stored."""
    event = record.event
    return {
        "chain": record.chain,
        "number": record.number,
        "at": format_time(event.at),
        "actor": event.actor,
        "role": event.role,
        "door": event.door.value,
        "operation": event.operation,
        "subject": event.subject,
        "part": event.part.value,
        "reason": event.reason,
        "of": event.of,
        "data": dict(event.data or {}),
        "before": record.before,
        "seal": record.seal,
    }


def parse_record(stored: JsonObject, *, key: str) -> AuditRecord:
    """The record in a stored object, whatever its seal. Raises DocumentError where it is none."""
    at, number = parse_time(stored.get("at")), number_of(stored.get("number"))
    names = ("chain", "actor", "role", "operation", "subject", "reason", "of", "before", "seal")
    texts = {name: stored.get(name) for name in names}
    door, part = member_of(Door, stored.get("door")), member_of(Part, stored.get("part"))
    are_texts = all(isinstance(text, str) for text in texts.values())
    if at is None or number is None or door is None or part is None or not are_texts:
        raise DocumentError(f"{key} is no audit record", "`python -m tfpilot audit verify` says which chain it breaks.")
    event = AuditEvent(
        at=at,
        actor=str(texts["actor"]),
        role=str(texts["role"]),
        door=door,
        operation=str(texts["operation"]),
        subject=str(texts["subject"]),
        part=part,
        reason=str(texts["reason"]),
        of=str(texts["of"]),
        data=dict(object_of(stored.get("data"))),
    )
    return AuditRecord(str(texts["chain"]), number, event, str(texts["before"]), str(texts["seal"]))


def render_batch(records: Sequence[AuditRecord]) -> JsonObject:
    """Records that are stored together, as they are stored."""
    return {"records": [record_fields(record) for record in records]}


def parse_batch(stored: JsonObject, *, key: str) -> tuple[AuditRecord, ...]:
    """The records in a stored object, whatever their seals. Raises DocumentError where one is none."""
    records = stored.get("records")
    if not isinstance(records, list):
        raise DocumentError(
            f"{key} holds no audit records", "`python -m tfpilot audit verify` says which chain it breaks."
        )
    return tuple(parse_record(object_of(record), key=key) for record in records)


def anchor_fields(anchor: Anchor) -> dict[str, Any]:
    """An anchor as it is kept."""
    return {"chain": anchor.chain, "number": anchor.number, "seal": anchor.seal}


def parse_anchor(stored: JsonObject, *, where: str) -> Anchor | None:
    """The anchor in a stored object; None where it is none."""
    chain, number, seal = text_of(stored.get("chain")), number_of(stored.get("number")), text_of(stored.get("seal"))
    return None if chain is None or number is None or seal is None else Anchor(chain, number, seal, where)


def _flaw(
    chain: str, number: int, records: Mapping[int, AuditRecord | None], before: str, *, keys: Sequence[bytes]
) -> Flaw | None:
    if number not in records:
        return Flaw.MISSING
    record = records[number]
    if record is None:
        return Flaw.UNREADABLE
    if (record.chain, record.number) != (chain, number):
        return Flaw.MISPLACED
    if not any(_same(record.seal, seal_of(record, key=key)) for key in keys):
        return Flaw.ALTERED
    return None if _same(record.before, before) else Flaw.UNLINKED


def _broken(
    number: int, flaw: Flaw, records: Mapping[int, AuditRecord | None], anchors: Sequence[Anchor]
) -> BrokenLink:
    """A missing end is told by the anchor that knows of it."""
    if flaw is not Flaw.MISSING or any(later > number for later in records):
        return BrokenLink(number, flaw)
    return BrokenLink(number, Flaw.CUT_OFF, next(each.where for each in anchors if each.number >= number))


def _sealed(record: AuditRecord | None) -> str:
    return record.seal if record is not None else NO_SEAL


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def chains_of(numbers: Iterable[tuple[str, int]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The numbers of each chain in their order, by the chains' names."""
    found: dict[str, list[int]] = {}
    for chain, number in numbers:
        found.setdefault(chain, []).append(number)
    for chain in sorted(found):
        yield chain, tuple(sorted(found[chain]))
