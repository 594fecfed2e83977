"""How an answer goes wrong on demand, and which call it happens to."""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter


class FaultKind(StrEnum):
    """What happens instead of, or to, the answer."""

    SLOW = "slow"
    """Nothing but the delay that every fault may have."""
    STATUS = "status"
    """An error with `status` and `message`."""
    PRIMARY_LIMIT = "primary_limit"
    """403, the hour's quota is used up; it is renewed `retry_after_s` from now."""
    SECONDARY_LIMIT = "secondary_limit"
    """`status` (403 or 429) with `Retry-After: retry_after_s`; without the header where that is None."""
    HANG = "hang"
    """No answer until the caller gives up or the stand-in stops."""
    DISCONNECT = "disconnect"
    """The connection is closed without an answer."""
    DRIP = "drip"
    """The right answer, a byte every `delay_s`."""
    HTML = "html"
    """A sign-in page with status 200, as a proxy answers."""
    EMPTY = "empty"
    """Status 200 and no body."""
    TRUNCATED = "truncated"
    """The right answer, broken off in the middle of its JSON."""
    FIELDS = "fields"
    """The right answer with `fields` put over it: dotted paths, `*` for every item of a list."""
    INSTEAD = "instead"
    """The right answer to another question: the path `instead`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the calls it meets: `method` and `path` are shell patterns, and `*` crosses slashes.

    It happens `times` times, for ever with None. `delay_s` passes before it. With `acts` GitHub does what it was asked
    and only the answer is lost, as when a dispatch times out. `status` 0 is the kind's usual one. `headers` are put
    over those of the answer.
    """

    kind: FaultKind
    path: str = "*"
    method: str = "*"
    times: int | None = None
    delay_s: float = 0.0
    acts: bool = False
    status: int = 0
    message: str = ""
    retry_after_s: int | None = 60
    fields: Mapping[str, Any] = field(default_factory=dict)
    instead: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def meets(self, method: str, path: str) -> bool:
        return _matches(self.method.upper(), method) and _matches(self.path, path)


def parse_fault(given: Mapping[str, Any]) -> Fault:
    """The fault a JSON object describes, by the names of Fault. Raises ValueError with what is wrong."""
    unknown = sorted(given.keys() - {known.name for known in fields(Fault)})
    if unknown:
        raise ValueError(f"a fault has no {', '.join(unknown)}")
    return TypeAdapter(Fault).validate_python(given)


class FaultBook:
    """The faults in force. The first one added that meets a call happens to it, and no other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that happens to this call, and is one time nearer to its end."""
        with self._lock:
            for at, fault in enumerate(self._faults):
                if fault.meets(method, path):
                    self._use(at)
                    return fault
        return None

    def _use(self, at: int) -> None:
        fault = self._faults[at]
        if fault.times is None:
            return
        if fault.times <= 1:
            del self._faults[at]
        else:
            self._faults[at] = replace(fault, times=fault.times - 1)


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(fnmatch.translate(pattern), text) is not None
