"""The audit of one write: what is about to be done, then what became of it, and every refusal (SPEC §8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from tfpilot.core.audit import Anchor, AuditEvent, AuditRecord, Part, anchor_of
from tfpilot.core.deeds import DESTRUCTIVE, Deed
from tfpilot.core.model import FieldChange, Operator, Role
from tfpilot.edges import Edges
from tfpilot.errors import ConflictError, FrozenError, RefusedError, StorageError, TfPilotError

_LOG: Final = structlog.get_logger("tfpilot.audit")
_MAX_REASON: Final = 1000

Fact = str | int


class Act:
    """One write by one operator, on its way. What it is about to do is recorded by `begin`, before anything is done."""

    def __init__(self, edges: Edges, operator: Operator, deed: Deed, subject: str) -> None:
        self._edges = edges
        self._operator = operator
        self.deed = deed
        self.subject = subject
        self._intent: AuditRecord | None = None
        self._told: dict[str, Fact] = {}

    @property
    def began(self) -> bool:
        """Whether something may have been done."""
        return self._intent is not None

    def begin(self, **facts: Fact) -> Anchor:
        """Records that it is about to be done, once, and answers the record's anchor. Call it before the first write.

        Raises StorageError where it cannot be recorded: then nothing may be done.
        """
        if self._intent is None:
            try:
                self._intent = self._append(Part.INTENT, facts=facts)
            except StorageError as error:
                raise StorageError(
                    f"Nothing was done, since it could not be recorded: {error.message}", error.hint
                ) from error
        return anchor_of(self._intent, where="")

    def tell(self, **facts: Fact) -> None:
        """Adds what came of it to the outcome."""
        self._told |= facts

    def end(self, part: Part, reason: str = "") -> None:
        """Records what became of it. Raises StorageError where that cannot be recorded."""
        self._append(part, reason=reason[:_MAX_REASON], facts=self._told)
        if self.deed in DESTRUCTIVE and self.began:
            self._edges.audit.anchor()

    def _append(self, part: Part, *, facts: dict[str, Fact], reason: str = "") -> AuditRecord:
        return self._edges.audit.append(
            AuditEvent(
                at=self._edges.clock(),
                actor=self._operator.login,
                role=self._operator.role.value,
                door=self._operator.door,
                operation=self.deed.value,
                subject=self.subject,
                part=part,
                reason=reason,
                of=self._intent.id if self._intent is not None else "",
                data=facts,
            )
        )


def fields_told(changes: Iterable[FieldChange]) -> str:
    """The names of the fields, as a fact of the audit: their values stay in the request's own history."""
    return ", ".join(change.dotted for change in changes)[:_MAX_REASON]


@contextmanager
def act(edges: Edges, operator: Operator, deed: Deed, subject: str) -> Iterator[Act]:
    """Watches over one write. A refusal in it is recorded, and, once it began, its outcome; both go on unchanged.

    An outcome that cannot be recorded is told by StorageError where something was removed; else it is logged, and the
    record of the beginning stays without one, which the audit shows.
    """
    one = Act(edges, operator, deed, subject)
    try:
        yield one
    except (RefusedError, ConflictError) as refusal:
        if one.began or not _is_idle(refusal, operator):
            _end(one, Part.REFUSED, refusal.message)
        raise
    except TfPilotError as failure:
        if one.began:
            _end(one, Part.FAILED, failure.message)
        raise
    except BaseException as failure:
        if one.began:
            _end(one, Part.FAILED, f"ended unexpectedly: {type(failure).__name__}")
        raise
    if one.began:
        _finish(one)


def _is_idle(refusal: TfPilotError, operator: Operator) -> bool:
    """The portal itself asks whether it may heal something each time somebody looks at it: while nothing may be
    written, that is no news. Neither is a race that it lost before it began."""
    return operator.role is Role.SYSTEM and isinstance(refusal, (FrozenError, ConflictError))


def _finish(one: Act) -> None:
    try:
        one.end(Part.DONE)
    except StorageError as error:
        if one.deed not in DESTRUCTIVE:
            _log(one, Part.DONE, error)
            return
        raise StorageError(
            f"It is done, but that could not be recorded: {error.message}",
            f"The audit shows the {one.deed.value} of {one.subject} as one without an outcome. {error.hint}".strip(),
        ) from error


def _end(one: Act, part: Part, reason: str) -> None:
    """Records what went wrong; that it went wrong is told in any case."""
    try:
        one.end(part, reason)
    except StorageError as error:
        _log(one, part, error)


def _log(one: Act, part: Part, error: StorageError) -> None:
    _LOG.error("not recorded", deed=one.deed.value, subject=one.subject, part=part.value, error=error.message)
