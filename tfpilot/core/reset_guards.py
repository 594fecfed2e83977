"""Why a reset may not be made: every guard is a check of its own, and what cannot be checked is refused (SPEC §7)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Generic, TypeVar

from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.model import ACTIVE_STATUSES, Operator, RequestRow, Role
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.terraform import LockInfo, MalformedLock
from tfpilot.errors import ConfigError, RefusedError

T = TypeVar("T")

DEFAULT_ENVIRONMENTS: Final = frozenset({"dev"})
DENY_TERMS: Final = ("prod", "production", "live")
PLACE_TAG: Final = "tfpilot:environment"
SHARE_LIMIT_PERCENT: Final = 90
INTENT_COUNTS_FOR: Final = timedelta(days=1)
"""How long a dispatch without a known run may still become one; later a complete listing of GitHub's runs decides."""

_PROD_PREFIX: Final = "prod"
_HARMLESS: Final = frozenset({"product", "products"})
_SHOWN: Final = 5


class Guard(StrEnum):
    """The guards in the order of the checklist, by the words a person reads."""

    ROLE = "Role is admin"
    ENVIRONMENT = "Environment allowed"
    DENY_TERMS = "No deny term"
    PLACE = "Bucket proves its place"
    REQUESTS = "No active request"
    RUNS = "No active GitHub run"
    LOCKS = "No Terraform lock held"
    VERSIONING = "Versioning is on"
    SHARE = "Share of all requests"
    WRITING = "Writing is allowed"


class Verdict(StrEnum):
    """What a guard says. Only PASSED lets a reset go on."""

    PASSED = "passed"
    REFUSED = "refused"
    UNCHECKED = "could not be checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the checklist: `why` is a person's reading of it, `hint` what to do where it did not pass."""

    guard: Guard
    verdict: Verdict
    why: str
    hint: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASSED


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """Something that was looked up. `value` None: it could not be, and `problem` says why."""

    value: T | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A request of the environment and repository that something may still happen to."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunsSeen:
    """The runs of the repository's workflows that are not over. `complete`: the listing left none out."""

    active: tuple[str, ...]
    complete: bool
    workflow_count: int


@dataclass(frozen=True, slots=True)
class SeenLock:
    """A Terraform lock that is held: the LockID or the key of the lockfile, and what it says."""

    place: str
    lock: LockInfo | MalformedLock

    @property
    def id(self) -> str:
        """The id by which it can be released; empty for a malformed one."""
        return self.lock.id if isinstance(self.lock, LockInfo) else ""

    @property
    def holder(self) -> str:
        """Who holds it since when, for a person."""
        if isinstance(self.lock, MalformedLock):
            return f"not readable: {self.lock.reason}"
        since = f" since {self.lock.created:%Y-%m-%d %H:%M} UTC" if self.lock.created else ""
        return f"held by {self.lock.who or 'nobody named'}{since}"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests the reset takes, and how many active ones there are in all."""

    in_scope: int
    total: int


@dataclass(frozen=True, slots=True)
class GuardEvidence:
    """Everything the guards look at. `own_lock_id`: Terraform's lock with this id is the reset's own."""

    operator: Operator
    allowed_environments: Collection[str]
    added_deny_terms: Collection[str]
    tags: Reading[Mapping[str, str]]
    in_flight: Reading[tuple[InFlight, ...]]
    runs: Reading[RunsSeen]
    locks: Reading[tuple[SeenLock, ...]]
    versioning: Reading[Versioning]
    counts: Reading[Counts]
    read_only: bool
    frozen: Reading[str]
    """The reason of a freeze; empty where nothing is frozen."""
    own_lock_id: str = ""
    accepts_no_versioning: bool = False
    accepts_most_requests: bool = False


def run_guards(target: ResetTarget, evidence: GuardEvidence) -> tuple[Check, ...]:
    """One check per guard, in the order of the checklist."""
    return (
        check_role(evidence.operator),
        check_environment(target, evidence.allowed_environments),
        check_deny_terms(target, evidence.added_deny_terms),
        check_place(target, evidence.tags),
        check_requests(evidence.in_flight),
        check_runs(evidence.runs),
        check_locks(evidence.locks, own_lock_id=evidence.own_lock_id),
        check_versioning(evidence.versioning, accepted=evidence.accepts_no_versioning),
        check_share(evidence.counts, accepted=evidence.accepts_most_requests),
        check_writing(read_only=evidence.read_only, frozen=evidence.frozen),
    )


UNDO_GUARDS: Final = (Guard.ROLE, Guard.ENVIRONMENT, Guard.DENY_TERMS, Guard.PLACE, Guard.WRITING)
"""Those that an undo needs: whether this is the person and the place. Terraform's lock says whether somebody is there.
"""


def refuse_unless_passed(
    target: ResetTarget, checks: Iterable[Check], *, needed: Iterable[Guard] = tuple(Guard)
) -> None:
    """Raises RefusedError, with each guard's own text, unless every one that is needed was checked and passed."""
    given = tuple(checks)
    missing = [guard for guard in needed if guard not in {check.guard for check in given}]
    refused = [check for check in given if not check.passed]
    if not refused and not missing:
        return
    texts = [f"{check.guard}: {check.why}" for check in refused] + [f"{guard}: not checked" for guard in missing]
    hints = [check.hint for check in refused if check.hint]
    raise RefusedError(f"{target.name} is not reset. {'; '.join(texts)}", " ".join(hints))


def check_role(operator: Operator) -> Check:
    """Only an admin resets."""
    who = operator.login or "nobody"
    if operator.role is Role.ADMIN:
        return _passed(Guard.ROLE, f"{who} is admin")
    return _refused(Guard.ROLE, f"{who} is {operator.role.value}, not admin", "Ask an admin.")


def check_environment(target: ResetTarget, allowed: Collection[str]) -> Check:
    """The environment is written out in the allow-list."""
    if target.environment in allowed:
        return _passed(Guard.ENVIRONMENT, f"{target.environment} is in the allow-list")
    listed = ", ".join(sorted(allowed)) or "nothing"
    return _refused(
        Guard.ENVIRONMENT,
        f"{target.environment} is not in the allow-list, which has {listed}",
        "TFPILOT_RESET_ENVIRONMENTS names the environments that may be reset.",
    )


def check_deny_terms(target: ResetTarget, added: Collection[str] = ()) -> Check:
    """No name of the target says that it is not for development. `added` are terms beside the built-in ones."""
    terms = tuple(dict.fromkeys((*DENY_TERMS, *added)))
    found = [
        f"{what} {name} says {', '.join(words)}" for what, name in _names(target) if (words := denied(name, terms))
    ]
    if not found:
        return _passed(Guard.DENY_TERMS, f"no {', '.join(terms)} in environment, bucket, key, table")
    return _refused(Guard.DENY_TERMS, "; ".join(found), "This cannot be switched off. Such a place is never reset.")


def check_place(target: ResetTarget, tags: Reading[Mapping[str, str]]) -> Check:
    """The state bucket itself says which environment it is for."""
    if tags.value is None:
        return _unchecked(Guard.PLACE, "the tags of the state bucket", tags.problem)
    stored = tags.value.get(PLACE_TAG)
    if stored == target.environment:
        return _passed(Guard.PLACE, f"tag {PLACE_TAG} = {stored}")
    said = "has no tag" if stored is None else f"says {stored!r} in its tag"
    return _refused(
        Guard.PLACE,
        f"bucket {target.bucket} {said} {PLACE_TAG}, and {target.environment} is needed",
        f"If the bucket really is of {target.environment}, its owner tags it {PLACE_TAG}={target.environment}.",
    )


def check_requests(in_flight: Reading[tuple[InFlight, ...]]) -> Check:
    """No request of the environment and repository plans, applies or destroys."""
    if in_flight.value is None:
        return _unchecked(Guard.REQUESTS, "the requests", in_flight.problem)
    if not in_flight.value:
        return _passed(Guard.REQUESTS, "none plans, applies or destroys")
    listed = _few([f"{each.request_id} ({each.reason})" for each in in_flight.value])
    return _refused(Guard.REQUESTS, f"in flight: {listed}", "Wait for them, or repair what is stuck.")


def check_runs(runs: Reading[RunsSeen]) -> Check:
    """GitHub, asked completely, has no run that is not over."""
    if runs.value is None:
        return _unchecked(Guard.RUNS, "the runs at GitHub", runs.problem)
    seen = runs.value
    if seen.active:
        return _refused(
            Guard.RUNS, f"not over: {_few(seen.active)}", "Wait for the run, or cancel it at GitHub and look again."
        )
    if not seen.complete:
        return _unchecked(Guard.RUNS, "the runs at GitHub", "the listing is not complete")
    return _passed(Guard.RUNS, f"complete listing of {seen.workflow_count} workflows, 0 active")


def check_locks(locks: Reading[tuple[SeenLock, ...]], *, own_lock_id: str = "") -> Check:
    """Nobody but the reset itself holds a lock of one of the states; a malformed lock is held by somebody."""
    if locks.value is None:
        return _unchecked(Guard.LOCKS, "Terraform's locks", locks.problem)
    foreign = [lock for lock in locks.value if not lock.id or lock.id != own_lock_id]
    if not foreign:
        return _passed(Guard.LOCKS, "held by this reset alone" if locks.value else "every state is free")
    listed = _few([f"{lock.place} {lock.holder}" for lock in foreign])
    return _refused(Guard.LOCKS, listed, "Ask who holds it, or release the lock on the page Locks first.")


def check_versioning(versioning: Reading[Versioning], *, accepted: bool) -> Check:
    """The state bucket keeps versions, or somebody accepts that only the backup remains."""
    if versioning.value is None:
        return _unchecked(Guard.VERSIONING, "whether the state bucket keeps versions", versioning.problem)
    if versioning.value is Versioning.ENABLED:
        return _passed(Guard.VERSIONING, "state bucket: Enabled")
    said = f"state bucket: {'suspended' if versioning.value is Versioning.SUSPENDED else 'never enabled'}"
    if accepted:
        return _passed(Guard.VERSIONING, f"{said}; accepted")
    return _refused(
        Guard.VERSIONING, said, "Enable versioning, or accept that the backup of the reset is the only other copy."
    )


def check_share(counts: Reading[Counts], *, accepted: bool) -> Check:
    """The reset does not take nearly all requests there are, or somebody accepts that it does."""
    if counts.value is None:
        return _unchecked(Guard.SHARE, "how many requests there are", counts.problem)
    part, total = counts.value.in_scope, counts.value.total
    percent = 100 * part / total if total else 0.0
    said = f"{percent:.1f} %, limit {SHARE_LIMIT_PERCENT} %"
    if 100 * part <= SHARE_LIMIT_PERCENT * total:
        return _passed(Guard.SHARE, said)
    said = f"{part} of {total} requests, more than {SHARE_LIMIT_PERCENT} %"
    if accepted:
        return _passed(Guard.SHARE, f"{said}; accepted")
    return _refused(Guard.SHARE, said, "Check that the target is the right one, then accept the number.")


def check_writing(*, read_only: bool, frozen: Reading[str]) -> Check:
    """The portal may write: it is neither read-only nor frozen."""
    if read_only:
        return _refused(Guard.WRITING, "the portal is read-only", "TFPILOT_READ_ONLY says so.")
    if frozen.value is None:
        return _unchecked(Guard.WRITING, "whether the portal is frozen", frozen.problem)
    if frozen.value:
        return _refused(Guard.WRITING, f"frozen: {frozen.value}", "An admin lifts the freeze.")
    return _passed(Guard.WRITING, "neither frozen nor read-only")


def why_in_flight(row: RequestRow, now: datetime) -> str | None:
    """Why something may still happen to a request; None where nothing does.

    A dispatch whose run nobody knows counts for a day: after that, GitHub's complete listing of runs decides.
    """
    status = row.status_at(now)
    if status in ACTIVE_STATUSES:
        return status.value
    if row.occupies:
        return f"{row.occupies} is not over"
    for intent in row.intents:
        if intent.at is None or now - intent.at <= INTENT_COUNTS_FOR:
            return f"{intent.kind.value} was dispatched, its run is not known"
    return None


def denied(name: str, terms: Iterable[str] = DENY_TERMS) -> tuple[str, ...]:
    """The words in a name that say it is not for development.

    Words end at whatever is neither letter nor digit, digits do not count, nor does case. A word that begins with
    `prod` is denied whatever the terms are, but for product and products.
    """
    words = _words(name)
    wanted = [(term, _words(term)) for term in terms]
    found = [term for term, parts in wanted if parts and _contains(words, parts)]
    found += [word for word in words if word.startswith(_PROD_PREFIX) and word not in _HARMLESS]
    return tuple(dict.fromkeys(found))


def parse_deny_terms(listed: str) -> tuple[str, ...]:
    """The terms of TFPILOT_RESET_DENY_TERMS, separated by commas. Raises ConfigError for one that nothing can match."""
    terms = tuple(term for part in listed.split(",") if (term := part.strip()))
    for term in terms:
        if not _words(term):
            raise ConfigError(
                f"The deny term {term!r} has no letter, so no name can have it",
                "TFPILOT_RESET_DENY_TERMS takes words separated by commas; digits in them do not count.",
            )
    return terms


def _names(target: ResetTarget) -> list[tuple[str, str]]:
    keys = [key for state in target.states for key in dict.fromkeys((state.key, state.object_key))]
    table = [("table", target.lock_table)] if target.lock_table else []
    return [
        ("environment", target.environment),
        ("bucket", target.bucket),
        *(("key", key) for key in keys),
        *table,
    ]


def _words(name: str) -> list[str]:
    """Letters as a person reads them: full-width ones and digits in circles are the plain ones."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    parts = re.split(r"[\W_]+", plain)
    words = ["".join(char for char in part if not char.isnumeric()) for part in parts]
    return [word for word in words if word]


def _contains(words: list[str], parts: list[str]) -> bool:
    return any(words[start : start + len(parts)] == parts for start in range(len(words) - len(parts) + 1))


def _few(listed: Collection[str]) -> str:
    shown = list(listed)[:_SHOWN]
    more = len(listed) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _passed(guard: Guard, why: str) -> Check:
    return Check(guard, Verdict.PASSED, why)


def _refused(guard: Guard, why: str, hint: str) -> Check:
    return Check(guard, Verdict.REFUSED, why, hint)


def _unchecked(guard: Guard, what: str, problem: str) -> Check:
    return Check(
        guard,
        Verdict.UNCHECKED,
        f"{what} could not be checked{f': {problem}' if problem else ''}",
        "What cannot be checked counts as refused. Look again when it can be.",
    )
