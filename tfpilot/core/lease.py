"""A lease: one process works on something, and others wait until it gives it back or its time is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tfpilot.core.document import format_time, parse_time, text_of
from tfpilot.core.model import JsonObject


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds what until when. `holder` is one process's own word for itself, `operator` whom it works for."""

    name: str
    holder: str
    operator: str
    doing: str
    until: datetime


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease that is ours, in the version that we wrote."""

    lease: Lease
    etag: str


def lease_fields(lease: Lease) -> dict[str, str]:
    """A lease as it is stored."""
    return {
        "name": lease.name,
        "holder": lease.holder,
        "operator": lease.operator,
        "doing": lease.doing,
        "until": format_time(lease.until),
    }


def parse_lease(stored: JsonObject) -> Lease | None:
    """The lease in a stored object; None where it is none, which holds nobody off."""
    name, holder, until = text_of(stored.get("name")), text_of(stored.get("holder")), parse_time(stored.get("until"))
    if name is None or holder is None or until is None:
        return None
    return Lease(name, holder, text_of(stored.get("operator")) or "", text_of(stored.get("doing")) or "", until)
