"""A bucket's lifecycle configuration, as S3's API names its parts: what each rule is about, when two mean the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tfpilot.core.document import object_of, text_of
from tfpilot.core.model import JsonObject

ENABLED: Final = "Enabled"
MINIMUM_SIZE: Final = "TransitionDefaultMinimumObjectSize"
USUAL_MINIMUM_SIZE: Final = "all_storage_classes_128K"
"""What S3 takes where nobody said."""

_SCOPE: Final = frozenset({"Filter", "Prefix"})


class Versioning(StrEnum):
    """Whether the bucket keeps versions."""

    NEVER = "never"
    ENABLED = "enabled"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class StoredLifecycle:
    """The configuration as it was read; empty where the bucket has none. Times in it are ISO texts.

    `unknown`: paths of elements that the portal does not know. They are not in `configuration`, and would be lost if it
    were written.
    """

    configuration: JsonObject
    versioning: Versioning
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects a rule is about: those that pass all of it. Sizes in bytes; None: any."""

    prefix: str
    tags: tuple[tuple[str, str], ...] = ()
    larger_than: int | None = None
    smaller_than: int | None = None


def rules_of(configuration: JsonObject) -> tuple[JsonObject, ...]:
    """The rules, in their order."""
    rules = configuration.get("Rules")
    return tuple(object_of(rule) for rule in rules) if isinstance(rules, list) else ()


def name_of(rule: JsonObject) -> str:
    """The rule's id; empty where it has none, which some stores allow."""
    return text_of(rule.get("ID")) or ""


def is_enabled(rule: JsonObject) -> bool:
    """Whether the rule does anything."""
    return rule.get("Status") == ENABLED


def scope_of(rule: JsonObject) -> Scope:
    """Which objects the rule is about, however it says so: by a filter, or by a prefix of its own as rules once did."""
    if "Filter" not in rule:
        return Scope(text_of(rule.get("Prefix")) or "")
    chosen = object_of(rule["Filter"])
    both = object_of(chosen.get("And"))
    tags = [*_objects(both.get("Tags")), *_objects([chosen["Tag"]] if "Tag" in chosen else [])]
    parts = {**chosen, **both}
    return Scope(
        prefix=text_of(parts.get("Prefix")) or "",
        tags=tuple(sorted((str(tag.get("Key")), str(tag.get("Value"))) for tag in tags)),
        larger_than=_size(parts.get("ObjectSizeGreaterThan")),
        smaller_than=_size(parts.get("ObjectSizeLessThan")),
    )


def has_old_form(configuration: JsonObject) -> bool:
    """Whether its rules name prefixes without a filter. S3 takes no configuration in which some do and some do not."""
    rules = rules_of(configuration)
    return bool(rules) and not any("Filter" in rule for rule in rules)


def normal(configuration: JsonObject) -> str:
    """A text that is equal for two configurations that mean the same: the order of rules, tags and transitions, and the
    form of a rule's scope, mean nothing."""
    rules = sorted(_normal_rule(rule) for rule in rules_of(configuration))
    return json.dumps([_others(configuration), rules], sort_keys=True)


def differences(expected: JsonObject, found: JsonObject) -> tuple[str, ...]:
    """What `found` has not, has besides, or has otherwise than `expected`, a sentence each; empty where they mean the
    same."""
    wanted, there = _by_name(expected), _by_name(found)
    told = [
        *(f"rule {name or 'without id'} is missing" for name in sorted(wanted.keys() - there.keys())),
        *(f"rule {name or 'without id'} is there too" for name in sorted(there.keys() - wanted.keys())),
        *(
            f"rule {name or 'without id'} differs"
            for name in sorted(wanted)
            if there.get(name) not in {None, wanted[name]}
        ),
    ]
    settings, others = _others(expected), _others(found)
    told += [
        f"{name} is {others.get(name)}, not {settings.get(name)}"
        for name in sorted(settings.keys() | others.keys())
        if settings.get(name) != others.get(name)
    ]
    return tuple(told)


def pretty(configuration: JsonObject) -> list[str]:
    """The configuration as lines of JSON for a person."""
    return json.dumps(configuration, indent=2, sort_keys=True).splitlines()


def _by_name(configuration: JsonObject) -> dict[str, tuple[str, ...]]:
    names = {name_of(rule) for rule in rules_of(configuration)}
    return {
        name: tuple(sorted(_normal_rule(rule) for rule in rules_of(configuration) if name_of(rule) == name))
        for name in names
    }


def _others(configuration: JsonObject) -> dict[str, Any]:
    """The settings beside the rules."""
    usual = {MINIMUM_SIZE: USUAL_MINIMUM_SIZE}
    return {**usual, **{name: value for name, value in configuration.items() if name != "Rules"}}


def _normal_rule(rule: JsonObject) -> str:
    scope = scope_of(rule)
    actions = {name: _normal_value(value) for name, value in rule.items() if name not in _SCOPE}
    chosen = [scope.prefix, scope.tags, scope.larger_than, scope.smaller_than]
    return json.dumps([name_of(rule), chosen, actions], sort_keys=True)


def _normal_value(value: object) -> object:
    """Lists in a rule are of actions, whose order means nothing."""
    if isinstance(value, list):
        return sorted((json.dumps(each, sort_keys=True) for each in value), key=str)
    return value


def _objects(value: object) -> Iterable[Mapping[str, Any]]:
    return [object_of(each) for each in value] if isinstance(value, list) else []


def _size(value: object) -> int | None:
    return value if isinstance(value, int) else None
