"""What most stories have in common: each chapter goes on from the one before."""

from __future__ import annotations

from tfpilot.core.model import WorkflowKind
from tfpilot.sandbox.seeded.tale import Tale

PLAN = WorkflowKind.PLAN
APPLY = WorkflowKind.APPLY
DESTROY = WorkflowKind.DESTROY
CLEANUP = WorkflowKind.CLEANUP
DRIFT_PLAN = WorkflowKind.DRIFT_PLAN

APPROVED = "APPROVED"
CHANGES_REQUESTED = "CHANGES_REQUESTED"
COMMENTED = "COMMENTED"


def opened(tale: Tale) -> Tale:
    """The pull request is open."""
    return tale.after(minutes=2).open_pull()


def planned(tale: Tale) -> Tale:
    """The plan succeeded."""
    return opened(tale).after(seconds=40).start(PLAN).after(minutes=2, seconds=50).finish(PLAN)


def approved(tale: Tale) -> Tale:
    """A reviewer approved on GitHub."""
    return planned(tale).after(minutes=4).review("sven-o", APPROVED)


def merged(tale: Tale) -> Tale:
    """The pull request is merged."""
    return approved(tale).after(minutes=1).merge("sven-o")


def applied(tale: Tale) -> Tale:
    """The apply succeeded."""
    return merged(tale).after(seconds=30).start(APPLY).after(minutes=4, seconds=12).finish(APPLY)


def destroyed(tale: Tale) -> Tale:
    """A week after the apply, the destroy succeeded."""
    return applied(tale).after(days=7).start(DESTROY).after(minutes=6, seconds=5).finish(DESTROY)


def cleaned(tale: Tale) -> Tale:
    """The cleanup pull request is open."""
    cleaning = destroyed(tale).after(seconds=20).dispatch_cleanup()
    return cleaning.after(minutes=1).open_cleanup_pull().after(seconds=15).finish(CLEANUP)


def gone(tale: Tale) -> Tale:
    """Everything is over: destroyed, cleaned up, and archived in its final form."""
    return cleaned(tale).after(hours=2).merge_cleanup_pull("lia-r").archive()
