"""Lines in a request's history (`logs/<id>/`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tfpilot.core.model import LifecycleEvent, Operator
from tfpilot.edges import Edges
from tfpilot.errors import StorageError

SOURCE: Final = "ops-portal"


def note_event(
    edges: Edges, request_id: str, event: str, *, operator: Operator, data: Mapping[str, Any]
) -> tuple[str, ...]:
    """Adds one line; answers what went wrong with it, for a person: what it tells of has happened all the same."""
    line = LifecycleEvent(
        at=edges.clock(), request_id=request_id, event=event, actor=operator.login, source=SOURCE, data=data
    )
    try:
        edges.events.append(line)
    except StorageError as error:
        return (f"The line in the request's history was not written: {error.message}",)
    return ()
