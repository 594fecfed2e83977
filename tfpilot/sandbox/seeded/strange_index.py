"""What stands under the run index that no story of a request explains: each shows one finding of the audit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.document import format_time
from tfpilot.core.model import JsonObject
from tfpilot.core.run_index import LIFETIME, PREFIX

_GONE: Final = "req_dev_ec2_b7ht2n"
_KNOWN: Final = "req_dev_ec2_s7kh2d"


def strange_entries(now: datetime) -> Mapping[str, bytes]:
    """The objects by key; the same `now` gives the same bytes."""
    orphan = _entry("destroy", 7309870066, _GONE, created_at=now - timedelta(days=31))
    short = _entry("plan", 7309998120, _KNOWN, created_at=now - timedelta(days=12))
    short = {**short, "expiresAt": format_time(now + timedelta(days=18))}
    other = _entry("apply", 7309990001, _KNOWN, created_at=now - timedelta(days=9))
    future = _entry("drift_plan", 7309999990, _KNOWN, created_at=now + timedelta(hours=3))
    expired = {
        f"{PREFIX}apply/run-{7309110000 + days}.json": _entry(
            "apply", 7309110000 + days, _KNOWN, created_at=now - timedelta(days=days)
        )
        for days in (91, 92, 94)
    }
    entries = {
        f"{PREFIX}destroy/run-7309870066.json": orphan,
        f"{PREFIX}plan/run-7309998120.json": short,
        f"{PREFIX}apply/run-7309990777.json": other,
        f"{PREFIX}drift_plan/run-7309999990.json": future,
        f"{PREFIX}rollback/run-7309990555.json": {**other, "kind": "rollback", "runId": 7309990555},
        **expired,
    }
    rendered = {key: json.dumps(entry, separators=(",", ":")).encode() for key, entry in entries.items()}
    return {
        **rendered,
        f"{PREFIX}cleanup/run-7309912345.json": b"<html><body>502 Bad Gateway</body></html>",
        f"{PREFIX}README.txt": b"Entries are written by the portal. Do not edit.",
    }


def _entry(kind: str, run_id: int, request_id: str, *, created_at: datetime) -> JsonObject:
    return {
        "kind": kind,
        "runId": run_id,
        "requestId": request_id,
        "createdAt": format_time(created_at),
        "expiresAt": format_time(created_at + LIFETIME),
    }
