"""What this process does to targets: a reset, its resume, its undo. It goes on when every tab is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from weakref import WeakKeyDictionary

import structlog

from tfpilot.core.model import Operator
from tfpilot.core.reset_steps import ResetRecord
from tfpilot.edges import Edges, ResetJournal
from tfpilot.errors import TfPilotError
from tfpilot.operations.reset import Ended
from tfpilot.ui.background import BACKGROUND

_LOG: Final = structlog.get_logger("tfpilot.reset")


class DeedVerb(StrEnum):
    """What is done to a target."""

    APPLY = "reset"
    RESUME = "resume of a reset"
    UNDO = "undo of a reset"


@dataclass(slots=True)
class Deed:
    """One of them. `reset_id` is empty until the reset is stored; `ended_at` is None while it goes on."""

    verb: DeedVerb
    target: str
    digest: str
    operator: Operator
    reset_id: str = ""
    ended_at: datetime | None = None
    work: Future[Ended] = field(init=False)

    @property
    def is_over(self) -> bool:
        return self.work.done()

    @property
    def error(self) -> BaseException | None:
        """Why it failed; None where it did not, or goes on."""
        return self.work.exception() if self.is_over else None

    def begun(self, record: ResetRecord) -> None:
        """Called when the reset is stored, before its first step."""
        self.reset_id = record.reset_id


class Deeds:
    """The last deed of each target."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deeds: dict[str, Deed] = {}

    def of(self, target: str) -> Deed | None:
        with self._lock:
            return self._deeds.get(target)

    def begin(self, edges: Edges, deed: Deed, work: Callable[[Deed], Ended]) -> Deed:
        """Starts it; where one of the target goes on in this process, that one is answered instead."""
        with self._lock:
            going_on = self._deeds.get(deed.target)
            if going_on is not None and not going_on.is_over:
                return going_on
            deed.work = BACKGROUND.submit(("reset", deed.target), lambda: _carried_out(edges, deed, work))
            self._deeds[deed.target] = deed
            return deed


_DEEDS: Final[WeakKeyDictionary[ResetJournal, Deeds]] = WeakKeyDictionary()
_DEEDS_LOCK: Final = threading.Lock()


def deeds_of(edges: Edges) -> Deeds:
    """What this process does to the targets of these edges."""
    with _DEEDS_LOCK:
        return _DEEDS.setdefault(edges.reset_journal, Deeds())


def _carried_out(edges: Edges, deed: Deed, work: Callable[[Deed], Ended]) -> Ended:
    told = {"verb": deed.verb.value, "target": deed.target, "digest": deed.digest, "operator": deed.operator.login}
    _LOG.info("reset begins", **told)
    try:
        ended = work(deed)
    except TfPilotError as error:
        _LOG.warning("reset stops", reset=deed.reset_id, error=error.message, **told)
        raise
    except Exception:
        _LOG.exception("reset stops unexpectedly", reset=deed.reset_id, **told)
        raise
    finally:
        deed.ended_at = edges.clock()
    stage = ended.receipt.stage.value
    _LOG.info("reset ends", reset=deed.reset_id, stage=stage, stopped=ended.stopped, **told)
    return ended
