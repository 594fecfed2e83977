"""An admin's stop of all writing, and the portal's own setting that it only reads (SPEC §8)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tfpilot.core.document import format_time, parse_time, text_of
from tfpilot.core.model import JsonObject
from tfpilot.errors import FrozenError, RefusedError

MAX_REASON: Final = 500
_UNKNOWN: Final = "unknown"
_NO_REASON: Final = "no reason was given"


@dataclass(frozen=True, slots=True)
class FreezeNotice:
    """Who froze the portal, why, and when (None: that cannot be read)."""

    by: str
    reason: str
    at: datetime | None


def check_writing(*, frozen: FreezeNotice | None, read_only: bool) -> None:
    """Returns where the portal may write. Raises FrozenError."""
    if read_only:
        raise FrozenError(
            "The portal is read-only: TFPILOT_READ_ONLY says so",
            "Nothing was done. Use a portal that may write, or have whoever runs this one change the setting.",
        )
    if frozen is not None:
        raise FrozenError(
            f"The portal is frozen by {frozen.by}: {frozen.reason}",
            "Nothing was done. An admin lifts the freeze, on the page Settings and health or by `freeze lift`.",
        )


def check_freeze_reason(reason: str) -> str:
    """The reason without blanks around it. Raises RefusedError where there is none, or it is too long."""
    text = reason.strip()
    if not text or len(text) > MAX_REASON:
        raise RefusedError(
            "No reason was given for the freeze" if not text else "The reason for the freeze is too long",
            f"Say in at most {MAX_REASON} characters why nobody may write: everybody reads it on every page.",
        )
    return text


def notice_fields(notice: FreezeNotice) -> dict[str, Any]:
    """A freeze as it is stored."""
    return {"by": notice.by, "reason": notice.reason, "at": format_time(notice.at) if notice.at is not None else None}


def parse_notice(stored: JsonObject) -> FreezeNotice:
    """The freeze in a stored object. One that tells little is a freeze all the same."""
    return FreezeNotice(
        by=text_of(stored.get("by")) or _UNKNOWN,
        reason=text_of(stored.get("reason")) or _NO_REASON,
        at=parse_time(stored.get("at")),
    )
