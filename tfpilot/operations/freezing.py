"""An admin's stop of all writing, and its end (SPEC §8)."""

from __future__ import annotations

from tfpilot.core.deeds import Deed
from tfpilot.core.freeze import FreezeNotice, check_freeze_reason
from tfpilot.core.model import Operator
from tfpilot.core.roles import Right
from tfpilot.edges import Edges
from tfpilot.operations.acting import act
from tfpilot.operations.rights import SHOWN_FREEZE_AGE, check_may

PORTAL = "portal"


def freeze_portal(edges: Edges, *, reason: str, operator: Operator) -> FreezeNotice:
    """From now on nobody writes, by any door, until the freeze is lifted; running work ends its present step.

    Raises MissingRightError, RefusedError (no reason), ConflictError (frozen already) or StorageError.
    """
    with act(edges, operator, Deed.FREEZE, PORTAL) as deed:
        check_may(edges, operator, Right.FREEZE, environment=None)
        notice = FreezeNotice(operator.login, check_freeze_reason(reason), edges.clock())
        deed.begin(reason=notice.reason)
        edges.freeze.put(notice)
    return notice


def lift_freeze(edges: Edges, *, operator: Operator) -> FreezeNotice | None:
    """Lifts the freeze and answers which it was, None where there was none.

    Raises MissingRightError, ConflictError (another one was put meanwhile) or StorageError.
    """
    with act(edges, operator, Deed.LIFT_FREEZE, PORTAL) as deed:
        check_may(edges, operator, Right.FREEZE, environment=None)
        if edges.freeze.find() is None:
            return None
        deed.begin()
        lifted = edges.freeze.lift()
        deed.tell(was=lifted.reason if lifted is not None else "")
    return lifted


def find_freeze(edges: Edges) -> FreezeNotice | None:
    """The freeze, for a page to show: as it was a few seconds ago at most. Raises StorageError."""
    return edges.freeze.find(max_age=SHOWN_FREEZE_AGE)
