"""What can be done with the portal, by the words the audit uses, and how a list of it is sorted."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Deed(StrEnum):
    """One kind of write."""

    SYNC = "sync"
    REPAIR = "repair"
    DISPATCH = "dispatch"
    CLEAN_UP = "cleanup after destroy"
    FIND_RUN = "find run"
    CHOOSE_RUN = "choose run"
    CLOSE_DISPATCH = "close dispatch"
    CLEAR_LOCK = "clear request lock"
    WEBHOOK = "webhook"
    REPLAY = "replay delivery"
    FIX_INDEX = "fix run index"
    UNDO_INDEX_FIX = "undo run index fix"
    IGNORE_FINDING = "ignore finding"
    STOP_IGNORING = "stop ignoring finding"
    SET_RETENTION = "lifecycle rule"
    RELEASE_STATE_LOCK = "release Terraform lock"
    PLAN_RESET = "plan reset"
    ASK_FOR_APPROVAL = "ask for approval"
    APPROVE_RESET = "approve reset"
    RESET = "reset"
    RESUME_RESET = "resume reset"
    UNDO_RESET = "undo reset"
    STOP_RESET = "stop reset"
    FREEZE = "freeze"
    LIFT_FREEZE = "lift freeze"
    EXPORT_AUDIT = "export audit"


class DeedGroup(StrEnum):
    """Deeds that are looked for together, by the words of the filter."""

    REPAIRS = "Repairs"
    DISPATCHES = "Dispatches"
    INDEX = "Index"
    LOCKS = "Locks"
    RESETS = "Resets"
    SETTINGS = "Settings"


GROUP_OF: Final[Mapping[Deed, DeedGroup]] = {
    Deed.SYNC: DeedGroup.REPAIRS,
    Deed.REPAIR: DeedGroup.REPAIRS,
    Deed.WEBHOOK: DeedGroup.REPAIRS,
    Deed.REPLAY: DeedGroup.REPAIRS,
    Deed.DISPATCH: DeedGroup.DISPATCHES,
    Deed.CLEAN_UP: DeedGroup.DISPATCHES,
    Deed.FIND_RUN: DeedGroup.DISPATCHES,
    Deed.CHOOSE_RUN: DeedGroup.DISPATCHES,
    Deed.CLOSE_DISPATCH: DeedGroup.DISPATCHES,
    Deed.CLEAR_LOCK: DeedGroup.LOCKS,
    Deed.RELEASE_STATE_LOCK: DeedGroup.LOCKS,
    Deed.FIX_INDEX: DeedGroup.INDEX,
    Deed.UNDO_INDEX_FIX: DeedGroup.INDEX,
    Deed.IGNORE_FINDING: DeedGroup.INDEX,
    Deed.STOP_IGNORING: DeedGroup.INDEX,
    Deed.SET_RETENTION: DeedGroup.SETTINGS,
    Deed.PLAN_RESET: DeedGroup.RESETS,
    Deed.ASK_FOR_APPROVAL: DeedGroup.RESETS,
    Deed.APPROVE_RESET: DeedGroup.RESETS,
    Deed.RESET: DeedGroup.RESETS,
    Deed.RESUME_RESET: DeedGroup.RESETS,
    Deed.UNDO_RESET: DeedGroup.RESETS,
    Deed.STOP_RESET: DeedGroup.RESETS,
    Deed.FREEZE: DeedGroup.SETTINGS,
    Deed.LIFT_FREEZE: DeedGroup.SETTINGS,
    Deed.EXPORT_AUDIT: DeedGroup.SETTINGS,
}
"""Every deed has its group."""

DESTRUCTIVE: Final = frozenset(
    {
        Deed.RELEASE_STATE_LOCK,
        Deed.RESET,
        Deed.RESUME_RESET,
        Deed.UNDO_RESET,
        Deed.FIX_INDEX,
        Deed.UNDO_INDEX_FIX,
        Deed.SET_RETENTION,
    }
)
"""What removes something: its end is anchored, and not even its outcome may go unrecorded without being told."""
