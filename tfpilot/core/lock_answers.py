"""What `--json` says of Terraform locks, field by field."""

from __future__ import annotations

from typing import Any

from tfpilot.core.document import format_time
from tfpilot.core.lock_release import Released
from tfpilot.core.state_locks import HolderRun, JudgedLock, LockReading
from tfpilot.core.terraform import LockInfo


def lock_answer(judged: JudgedLock) -> dict[str, Any]:
    """One lock. What a malformed one does not say is null."""
    lock = judged.lock
    info = lock.lock if isinstance(lock.lock, LockInfo) else None
    return {
        "target": lock.target,
        "key": lock.object_key,
        "verdict": judged.verdict.value,
        "evidence": list(judged.evidence),
        "lockId": info.id if info else None,
        "typeToRelease": lock.handle,
        "operation": info.operation if info else None,
        "who": info.who if info else None,
        "info": info.info if info else None,
        "terraformVersion": info.version if info else None,
        "created": format_time(lock.created) if lock.created else None,
        "lockMode": lock.mode.value,
        "places": [{"store": part.place.store.value, "key": part.place.key} for part in lock.parts],
        "isHalf": lock.other is not None,
        "runs": [_run_answer(holder) for holder in judged.runs],
        "resetId": judged.reset_id or None,
        "canBeReleased": not judged.refusal,
        "refusal": judged.refusal or None,
    }


def reading_answer(reading: LockReading) -> dict[str, Any]:
    """What one reading of a state's lock saw, place by place."""
    return {
        "at": format_time(reading.at),
        "places": [
            {
                "store": seen.place.store.value,
                "key": seen.place.key,
                "held": seen.stored is not None,
                "version": seen.stored.version if seen.stored else None,
            }
            for seen in reading.places
        ],
    }


def released_answer(released: Released) -> dict[str, Any]:
    """What a release came to."""
    return {
        "success": released.is_free,
        "target": released.record.judged.lock.target,
        "key": released.record.judged.lock.object_key,
        "lockId": released.record.judged.lock.handle,
        "places": [
            {"store": part.place.store.value, "key": part.place.key, "outcome": part.outcome.value}
            for part in released.parts
        ],
        "record": released.record_key,
    }


def _run_answer(holder: HolderRun) -> dict[str, Any]:
    fact = holder.run.fact
    return {
        "runId": fact.run_id,
        "workflow": holder.run.file,
        "status": fact.status,
        "conclusion": fact.conclusion,
        "url": fact.html_url,
        "requestId": holder.request_id or None,
    }
