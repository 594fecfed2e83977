"""What a repair does beside the document, in words and as rows of the table of changes."""

from __future__ import annotations

from collections.abc import Sequence

from tfpilot.core.model import ArchiveCopy, CleanupDispatch, IndexBackfill, RepairStep
from tfpilot.ui import words

_ABSENT = ":gray[absent]"


def text_of(step: RepairStep) -> str:
    """What the step does, in a few words."""
    if isinstance(step, IndexBackfill):
        return f"adds the index entry of {step.kind.value.replace('_', ' ')} run {step.run_id}"
    if isinstance(step, CleanupDispatch):
        return "leaves the cleanup to an admin" if step.refusal else "dispatches the cleanup"
    return "writes the final copy to history/"


def counts_of(steps: Sequence[RepairStep]) -> list[str]:
    """How many there are of each: 2 index entries, 1 cleanup, 1 archived copy."""
    entries = sum(isinstance(step, IndexBackfill) for step in steps)
    cleanups = sum(isinstance(step, CleanupDispatch) and not step.refusal for step in steps)
    copies = sum(isinstance(step, ArchiveCopy) for step in steps)
    counted = (
        (entries, f"{entries} index {'entry' if entries == 1 else 'entries'}"),
        (cleanups, "1 cleanup"),
        (copies, "1 archived copy"),
    )
    return [text for count, text in counted if count]


def cells_of(step: RepairStep) -> tuple[str, str, str, str, str]:
    """The cells of its row: field, change, stored, what comes, source."""
    if isinstance(step, IndexBackfill):
        entry = f"run index {words.code(f'{step.kind.value}/run-{step.run_id}')}"
        return entry, ":gray-badge[:material/add: added]", _ABSENT, "**this request**", "backfill, with the run's time"
    if isinstance(step, CleanupDispatch):
        badge = ":gray-badge[:material/bolt: started]"
        if step.refusal:
            badge = ":orange-badge[:material/block: needs an admin]"
        after = words.plain(step.refusal) or "**dispatched once**"
        return "cleanup workflow", badge, _ABSENT, after, f"destroy run {step.destroy_run_id}"
    return (
        "archived copy",
        ":gray-badge[:material/add: written]",
        words.NOTHING,
        "**final document**",
        "the request is destroyed",
    )
