"""Retention of the run index (SPEC §5): what the bucket's lifecycle rules do to it, and the rule that the portal can
install."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from tfpilot.core.bucket_rules import (
    ENABLED,
    Scope,
    StoredLifecycle,
    Versioning,
    differences,
    has_old_form,
    is_enabled,
    name_of,
    normal,
    pretty,
    rules_of,
    scope_of,
)
from tfpilot.core.document import number_of, object_of
from tfpilot.core.index_listing import IndexKeys
from tfpilot.core.model import JsonObject, WorkflowKind
from tfpilot.core.run_index import LIFETIME, MAX_ENTRY_BYTES, PREFIX
from tfpilot.errors import RefusedError

RULE_ID: Final = "tfpilot-run-index"
LEAST_DAYS: Final = LIFETIME.days
MOST_DAYS: Final = 95
LATER: Final = timedelta(days=30)
"""How far the simulation looks ahead."""

StoredDays = Mapping[WorkflowKind, Mapping[int, int]]
"""How many entries of a kind were stored on a day in UTC, by its ordinal."""

_DIGEST_LENGTH: Final = 12
_PAGE: Final = 10_000


class Fit(StrEnum):
    """What an enabled or disabled rule about the run index does to it."""

    FITS = "fits"
    TOO_SHORT = "too short"
    TOO_LONG = "too long"
    DISABLED = "disabled"
    NARROWED = "narrowed"
    BY_DATE = "by date"


@dataclass(frozen=True, slots=True)
class RuleReading:
    """One rule that expires entries. `kinds`: those that it is about as a whole; `days` None: it names a date."""

    rule: str
    kinds: tuple[WorkflowKind, ...]
    fit: Fit
    days: int | None

    @property
    def sentence(self) -> str:
        """What the rule does, for a person."""
        subject = f"Rule {self.rule or 'without id'}"
        every = "entries" if len(self.kinds) == len(WorkflowKind) else f"entries of {_named(self.kinds)}"
        after = f"after {self.days} days"
        return {
            Fit.FITS: f"{subject} removes {every} {after}",
            Fit.TOO_SHORT: f"{subject} removes {every} {after}, before their {LEAST_DAYS} days are over",
            Fit.TOO_LONG: f"{subject} removes {every} only {after}",
            Fit.DISABLED: f"{subject} is disabled",
            Fit.NARROWED: f"{subject} removes only some entries, by their tags, sizes or names",
            Fit.BY_DATE: f"{subject} removes {every} of any age from a date on",
        }[self.fit]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the rules do to the run index together. `days`: after how many an entry of the kind is removed, None: never;
    `noncurrent_days`: likewise its noncurrent versions."""

    readings: tuple[RuleReading, ...]
    days: Mapping[WorkflowKind, int | None]
    noncurrent_days: Mapping[WorkflowKind, int | None]

    @property
    def is_covered(self) -> bool:
        """Whether entries of every kind are removed when their time is over, and none earlier."""
        has_date = any(reading.fit is Fit.BY_DATE for reading in self.readings)
        return not has_date and not self.uncovered

    @property
    def uncovered(self) -> tuple[WorkflowKind, ...]:
        """The kinds whose entries are removed too early, too late or never."""
        return tuple(kind for kind, days in self.days.items() if days is None or not LEAST_DAYS <= days <= MOST_DAYS)

    @property
    def sentence(self) -> str:
        """Whether a rule covers the run index, for a person."""
        if self.is_covered:
            return f"Entries of every kind are removed when they are {LEAST_DAYS} to {MOST_DAYS} days old"
        if not self.readings:
            return "No lifecycle rule is about the run index: entries stay for ever"
        if self.uncovered:
            return f"No lifecycle rule removes entries of {_named(self.uncovered)} at {LEAST_DAYS} to {MOST_DAYS} days"
        return "A lifecycle rule removes entries of any age"


@dataclass(frozen=True, slots=True)
class Removal:
    """How many entries there are, and how many of them a rule has removed by now and by `LATER` from now."""

    stored: int
    today: int
    later: int


@dataclass(frozen=True, slots=True)
class LifecyclePlan:
    """The configuration that was read, and the one to write in its place: `after` is None where nothing is to do.

    `difference`: lines of both, as `diff -u` shows them. `digest` names what was read and what would be written.
    `noncurrent_days`: what the plan was made with.
    """

    before: StoredLifecycle
    after: JsonObject | None
    difference: tuple[str, ...]
    notices: tuple[str, ...]
    digest: str
    noncurrent_days: int | None = None

    @property
    def command(self) -> str:
        """What to type to carry it out."""
        asked = "" if self.noncurrent_days is None else f" --noncurrent-days {self.noncurrent_days}"
        return f"run-index lifecycle apply{asked} --digest {self.digest}"


def coverage_of(configuration: JsonObject) -> Coverage:
    """What the rules do to the run index."""
    rules = rules_of(configuration)
    return Coverage(
        readings=tuple(reading for rule in rules if (reading := _read(rule)) is not None),
        days={kind: _least(configuration, kind, _expiry_days) for kind in WorkflowKind},
        noncurrent_days={kind: _least(configuration, kind, _noncurrent_days) for kind in WorkflowKind},
    )


def count_stored_days(keys: IndexKeys) -> StoredDays:
    """On which days the entries of a listing were stored."""
    counted: dict[WorkflowKind, dict[int, int]] = {kind: {} for kind in WorkflowKind}
    for start in range(0, len(keys), _PAGE):
        for line in keys.page(start=start, limit=_PAGE):
            days, day = counted[line.kind], line.modified.astimezone(UTC).toordinal()
            days[day] = days.get(day, 0) + 1
    return counted


def simulate(stored: StoredDays, now: datetime, *, days: int = LEAST_DAYS) -> Mapping[WorkflowKind, Removal]:
    """What a rule of that many days would remove of the entries that are stored now, per kind.

    S3 removes an object at the midnight in UTC after its days are over.
    """

    def removed(kind: WorkflowKind, at: datetime) -> int:
        last = at.astimezone(UTC).toordinal() - days - 1
        return sum(count for day, count in stored.get(kind, {}).items() if day <= last)

    return {
        kind: Removal(sum(stored.get(kind, {}).values()), removed(kind, now), removed(kind, now + LATER))
        for kind in WorkflowKind
    }


def versioning_notices(stored: StoredLifecycle) -> tuple[str, ...]:
    """What object versioning means for the rule."""
    if stored.versioning is Versioning.NEVER:
        return ()
    adds = (
        "The bucket keeps versions: a rule only adds delete markers, and the entries stay as noncurrent versions"
        if stored.versioning is Versioning.ENABLED
        else "Versioning is suspended: a rule removes entries, but versions from before stay as noncurrent ones"
    )
    found = coverage_of(stored.configuration).noncurrent_days.values()
    days = [each for each in found if each is not None]
    if len(days) < len(found):
        return (f"{adds}, until a rule expires those too. The portal's rule can: --noncurrent-days",)
    return (f"{adds}, which expire after {max(days)} days",)


def plan_rule(stored: StoredLifecycle, *, noncurrent_days: int | None = None) -> LifecyclePlan:
    """The plan to have the run index covered by the portal's own rule, and with `noncurrent_days` its noncurrent
    versions too. Every other rule and setting stays. Raises RefusedError.
    """
    check_known(stored)
    _check_noncurrent(stored, noncurrent_days)
    before = stored.configuration
    merged = before if _is_enough(before, noncurrent_days) else _merged(before, noncurrent_days)
    is_same = normal(merged) == normal(before)
    told = list(difflib.unified_diff(pretty(before), pretty(merged), "stored", "planned", lineterm=""))
    return LifecyclePlan(
        before=stored,
        after=None if is_same else merged,
        difference=() if is_same else tuple(told),
        notices=(*_obstacles(merged), *versioning_notices(StoredLifecycle(merged, stored.versioning))),
        digest=_digest(stored, merged),
        noncurrent_days=noncurrent_days,
    )


def check_known(stored: StoredLifecycle) -> None:
    """Raises RefusedError where the configuration has elements that the portal would lose."""
    if stored.unknown:
        raise RefusedError(
            f"The bucket's lifecycle configuration has what the portal does not know: {', '.join(stored.unknown)}",
            f"Nothing was written: it would be lost. Add the rule {RULE_ID} with the tool that made the others.",
        )


def check_digest(plan: LifecyclePlan, digest: str | None) -> None:
    """Raises RefusedError where the digest is not that of the plan; the hint tells the one to give."""
    if digest == plan.digest:
        return
    what = "No plan was named" if digest is None else f"The plan is not {digest} any more"
    raise RefusedError(
        f"{what}: nothing was written", f"Look at the plan as it is now, and if it is right: {plan.command}"
    )


def check_unchanged(plan: LifecyclePlan, stored: StoredLifecycle) -> None:
    """Raises RefusedError where the bucket is not as it was when the plan was made."""
    check_known(stored)
    found = list(differences(plan.before.configuration, stored.configuration))
    if stored.versioning is not plan.before.versioning:
        found.append(f"versioning is {stored.versioning.value}, not {plan.before.versioning.value}")
    if found:
        raise RefusedError(
            f"The bucket was changed since the plan was made: {'; '.join(found)}",
            "Nothing was written. Plan again.",
        )


def _read(rule: JsonObject) -> RuleReading | None:
    """What a rule does to entries; None where it expires none of them."""
    scope, expiry = scope_of(rule), object_of(rule.get("Expiration"))
    days, has_date = _expiry_days(rule), "Date" in expiry
    if not _touches(scope) or (days is None and not has_date):
        return None
    kinds = tuple(kind for kind in WorkflowKind if _is_about(scope, kind))
    return RuleReading(name_of(rule), kinds, _fit(rule, scope, kinds, days), days)


def _fit(rule: JsonObject, scope: Scope, kinds: tuple[WorkflowKind, ...], days: int | None) -> Fit:
    if not is_enabled(rule):
        return Fit.DISABLED
    if _is_narrow(scope) or not kinds:
        return Fit.NARROWED
    if days is None:
        return Fit.BY_DATE
    if days < LEAST_DAYS:
        return Fit.TOO_SHORT
    return Fit.FITS if days <= MOST_DAYS else Fit.TOO_LONG


def _touches(scope: Scope) -> bool:
    return PREFIX.startswith(scope.prefix) or scope.prefix.startswith(PREFIX)


def _is_about(scope: Scope, kind: WorkflowKind) -> bool:
    """Whether every entry of the kind has the prefix."""
    return f"{PREFIX}{kind.value}/".startswith(scope.prefix)


def _is_narrow(scope: Scope) -> bool:
    """Whether some entries may be left out. None is empty, and none larger than an entry can be."""
    is_size = (scope.larger_than or 0) > 0 or (scope.smaller_than is not None and scope.smaller_than <= MAX_ENTRY_BYTES)
    return is_size or bool(scope.tags)


def _least(configuration: JsonObject, kind: WorkflowKind, days_of: Callable[[JsonObject], int | None]) -> int | None:
    """The least days among the rules that are about every entry of the kind: of several rules S3 follows that one."""
    scopes = ((scope_of(rule), days_of(rule)) for rule in rules_of(configuration) if is_enabled(rule))
    found = (days for scope, days in scopes if days is not None and _is_about(scope, kind) and not _is_narrow(scope))
    return min(found, default=None)


def _expiry_days(rule: JsonObject) -> int | None:
    return number_of(object_of(rule.get("Expiration")).get("Days"))


def _noncurrent_days(rule: JsonObject) -> int | None:
    """None also where the rule keeps some versions whatever their age."""
    expiry = object_of(rule.get("NoncurrentVersionExpiration"))
    return None if expiry.get("NewerNoncurrentVersions") else number_of(expiry.get("NoncurrentDays"))


def _check_noncurrent(stored: StoredLifecycle, noncurrent_days: int | None) -> None:
    if noncurrent_days is None:
        return
    if noncurrent_days < 1:
        raise RefusedError(f"Noncurrent versions cannot expire after {noncurrent_days} days", "Give 1 day or more.")
    if stored.versioning is Versioning.NEVER:
        raise RefusedError(
            "The bucket never kept versions: there are no noncurrent ones to expire", "Plan without --noncurrent-days."
        )


def _is_enough(configuration: JsonObject, noncurrent_days: int | None) -> bool:
    """Whether the rules do already what the plan is to reach."""
    coverage = coverage_of(configuration)
    noncurrent = coverage.noncurrent_days.values()
    return coverage.is_covered and (
        noncurrent_days is None or all(days is not None and days <= noncurrent_days for days in noncurrent)
    )


def _merged(configuration: JsonObject, noncurrent_days: int | None) -> JsonObject:
    """The configuration with our rule in its place, or at the end. What else our rule has stays too."""
    rules = rules_of(configuration)
    ours = next((rule for rule in rules if name_of(rule) == RULE_ID), None)
    _check_ours(ours)
    kept = {name: value for name, value in (ours or {}).items() if name not in {"Filter", "Prefix"}}
    scope = {"Prefix": PREFIX} if has_old_form(configuration) else {"Filter": {"Prefix": PREFIX}}
    noncurrent = {} if noncurrent_days is None else {"NoncurrentVersionExpiration": {"NoncurrentDays": noncurrent_days}}
    rule = {**kept, "ID": RULE_ID, "Status": ENABLED, **scope, "Expiration": {"Days": LEAST_DAYS}, **noncurrent}
    others = [rule if each is ours else each for each in rules]
    return {**configuration, "Rules": others if ours is not None else [*rules, rule]}


def _check_ours(ours: JsonObject | None) -> None:
    if ours is not None and not scope_of(ours).prefix.startswith(PREFIX):
        raise RefusedError(
            f"The rule {RULE_ID} is about {scope_of(ours).prefix or 'the whole bucket'}, not about the run index",
            "Nothing was written. Give that rule another id first.",
        )


def _obstacles(configuration: JsonObject) -> Iterator[str]:
    """Rules of others that remove entries too early, whatever ours says, which is right in what is planned."""
    for reading in coverage_of(configuration).readings:
        if reading.fit in {Fit.TOO_SHORT, Fit.BY_DATE}:
            yield f"{reading.sentence}. It stays as it is: change it where it was made"


def _digest(stored: StoredLifecycle, merged: JsonObject) -> str:
    read = [normal(stored.configuration), stored.versioning.value, normal(merged)]
    return hashlib.sha256(json.dumps(read).encode()).hexdigest()[:_DIGEST_LENGTH]


def _named(kinds: tuple[WorkflowKind, ...]) -> str:
    return ", ".join(kind.value for kind in kinds)
