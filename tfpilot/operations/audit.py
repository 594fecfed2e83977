"""Looking at the audit, and checking that nobody has changed it (SPEC §8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.audit import Anchor, AuditRecord, AuditReport, merged, open_intents, verify_all
from tfpilot.edges import Edges

LONGEST: Final = timedelta(days=90)
"""How far back a list of the audit reaches at most."""


@dataclass(frozen=True, slots=True)
class Activity:
    """The records of a time, newest first, and which of them began something whose outcome nobody recorded."""

    records: tuple[AuditRecord, ...]
    open: frozenset[str]
    since: datetime
    at: datetime


def list_activity(edges: Edges, *, last: timedelta) -> Activity:
    """What was done and refused in the last time, at most 90 days, by every replica. Raises StorageError."""
    now = edges.clock()
    since = now - min(last, LONGEST)
    records = merged([edges.audit_trail.read(since=since, until=now)])
    return Activity(records, frozenset(record.id for record in open_intents(records)), since, now)


def verify_audit(edges: Edges) -> AuditReport:
    """Checks every chain from its first record on, against its head and the receipts of resets. Raises StorageError."""
    trail = edges.audit_trail
    return verify_all(trail.chains(), _receipts(edges), keys=trail.keys, has_key=trail.has_key)


def _receipts(edges: Edges) -> tuple[Anchor, ...]:
    return tuple(record.audited_as for record in edges.reset_journal.list() if record.audited_as is not None)
