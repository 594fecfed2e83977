"""A Terraform state as an operator may see it: which resources it knows, never what their attributes are."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tfpilot.core.document import object_of, parse_json, text_of
from tfpilot.core.model import JsonObject
from tfpilot.errors import DocumentError

MANAGED: Final = "managed"
DATA: Final = "data"

_KNOWN_VERSION: Final = 4
_SERIALS: Final = range(2**63)
"""Those that can be counted on from, in whatever reads them."""
_FIRST_SERIALS: Final = frozenset({0, 1})
_MODULE_VERSIONS: Final = frozenset({1, 2, 3})
"""The formats of Terraform before 0.12: resources by module, the index a part of the name."""
_OLD_NAME: Final = re.compile(r"(?P<data>data\.)?(?P<type>[^.]+)\.(?P<name>.+?)(?:\.(?P<index>\d+))?")
_ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class StateResource:
    """One address in a state. `count` is above 1 where objects that were to be replaced are still there (deposed)."""

    address: str
    mode: str
    type: str
    provider: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class StateSummary:
    """What a state says of itself, and its resources by address. None and empty: it does not say.

    `problem` says why the resources may not be all of them; empty where they are.
    """

    format_version: int | None
    terraform_version: str
    serial: int | None
    lineage: str
    resources: tuple[StateResource, ...]
    problem: str = ""

    @property
    def managed_count(self) -> int:
        """How many cloud resources lose their state; data sources are none."""
        return sum(resource.count for resource in self.resources if resource.mode != DATA)


@dataclass(frozen=True, slots=True)
class TypeCount:
    """How many resources of one type a state has, and their addresses."""

    type: str
    mode: str
    count: int
    addresses: tuple[str, ...]


def read_state(content: bytes) -> StateSummary:
    """What the state in `content` says. Never fails: what cannot be read is told in `problem`."""
    try:
        stored = parse_json(content, what="The state")
    except DocumentError as error:
        return _unreadable(error.message)
    if not isinstance(stored, dict):
        return _unreadable("The state is JSON, but no object")
    version = _whole(stored.get("version"))
    resources = tuple(_old_resources(stored) if version in _MODULE_VERSIONS else _resources(stored))
    return StateSummary(
        format_version=version,
        terraform_version=text_of(stored.get("terraform_version")) or "",
        serial=_whole(stored.get("serial")),
        lineage=text_of(stored.get("lineage")) or "",
        resources=_by_address(resources),
        problem=_problem(stored, version),
    )


def count_types(resources: Iterable[StateResource]) -> tuple[TypeCount, ...]:
    """The resources by type, cloud resources before data sources, in order of the names."""
    groups: dict[tuple[bool, str, str], list[StateResource]] = {}
    for resource in resources:
        groups.setdefault((resource.mode == DATA, resource.type, resource.mode), []).append(resource)
    return tuple(
        TypeCount(kind, mode, sum(each.count for each in found), tuple(sorted(each.address for each in found)))
        for (_, kind, mode), found in sorted(groups.items())
    )


def empty_state(content: bytes) -> bytes:
    """A state without resources that follows the one in `content`: the same lineage, the next serial.

    Raises DocumentError where that is not known, or the state has another format than the present one.
    """
    summary = read_state(content)
    if (
        summary.format_version != _KNOWN_VERSION
        or not summary.lineage
        or summary.serial is None
        or summary.serial not in _SERIALS
    ):
        raise _cannot_be_emptied()
    fields = {
        "version": _KNOWN_VERSION,
        "terraform_version": summary.terraform_version,
        "serial": summary.serial + 1,
        "lineage": summary.lineage,
        "outputs": {},
        "resources": [],
    }
    try:
        return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError as error:  # half a surrogate pair, which no lineage that Terraform made has
        raise _cannot_be_emptied() from error


def is_of_new_workspace(content: bytes) -> bool:
    """Whether this is the state that Terraform itself puts where a named workspace has none, as soon as it looks there
    (`init` and `plan` do): it never held anything, so nothing was applied."""
    try:
        stored = object_of(parse_json(content, what="The state"))
    except DocumentError:
        return False
    is_new = stored.get("version") == _KNOWN_VERSION and _whole(stored.get("serial")) in _FIRST_SERIALS
    return is_new and all(name in stored and not stored[name] for name in ("resources", "outputs"))


def _cannot_be_emptied() -> DocumentError:
    return DocumentError(
        "The state cannot be emptied: its format, lineage or serial is not one that can be continued",
        "Remove the state instead.",
    )


def _unreadable(problem: str) -> StateSummary:
    return StateSummary(None, "", None, "", (), problem)


def _problem(stored: JsonObject, version: int | None) -> str:
    if version is None:
        return "The state does not say which format it has"
    if version != _KNOWN_VERSION and version not in _MODULE_VERSIONS:
        return f"The state has format {version}, which is not known: there may be resources that are not listed"
    listed = stored.get("modules" if version in _MODULE_VERSIONS else "resources")
    entries = listed if isinstance(listed, list) else []
    if not isinstance(listed, list):
        return "" if listed is None else "The state's resources are no list"
    if version == _KNOWN_VERSION and not all(_is_resource(entry) for entry in entries):
        return "The state lists something that is no resource"
    return "" if all(isinstance(entry, Mapping) for entry in entries) else "The state lists something that is no module"


def _is_resource(entry: object) -> bool:
    stored = object_of(entry)
    return all(text_of(stored.get(name)) for name in ("mode", "type", "name"))


def _resources(stored: JsonObject) -> Iterator[StateResource]:
    listed = stored.get("resources")
    for entry in listed if isinstance(listed, list) else ():
        if not _is_resource(entry):
            continue
        instances = entry.get("instances")
        for instance in instances if isinstance(instances, list) else ():
            address = _address(entry) + _index(object_of(instance).get("index_key"))
            yield StateResource(address, entry["mode"], entry["type"], text_of(entry.get("provider")) or "")


def _address(entry: JsonObject) -> str:
    mode = "" if entry["mode"] == MANAGED else f"{entry['mode']}."
    module = text_of(entry.get("module"))
    return f"{module + '.' if module else ''}{mode}{entry['type']}.{entry['name']}"


def _index(key: object) -> str:
    if isinstance(key, str):
        return f"[{json.dumps(key, ensure_ascii=False)}]"
    return f"[{key}]" if isinstance(key, int) and not isinstance(key, bool) else ""


def _old_resources(stored: JsonObject) -> Iterator[StateResource]:
    modules = stored.get("modules")
    for module in modules if isinstance(modules, list) else ():
        prefix = _old_module(object_of(module).get("path"))
        for name, entry in object_of(object_of(module).get("resources")).items():
            yield _old_resource(prefix, name, object_of(entry))


def _old_module(path: object) -> str:
    names = [str(name) for name in path] if isinstance(path, list) else []
    return "".join(f"module.{name}." for name in (names[1:] if names[:1] == [_ROOT] else names))


def _old_resource(prefix: str, name: str, entry: JsonObject) -> StateResource:
    match = _OLD_NAME.fullmatch(name)
    address = name if match is None or match["index"] is None else f"{name.rpartition('.')[0]}[{match['index']}]"
    deposed = entry.get("deposed")
    count = len(deposed) if isinstance(deposed, list) else 0
    return StateResource(
        address=f"{prefix}{address}",
        mode=DATA if match is not None and match["data"] else MANAGED,
        type=text_of(entry.get("type")) or (match["type"] if match else ""),
        provider=text_of(entry.get("provider")) or "",
        count=count + bool(entry.get("primary")) or 1,
    )


def _by_address(resources: Iterable[StateResource]) -> tuple[StateResource, ...]:
    """One per address, in order of the addresses."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for each in resources:
        counts[each.address, each.mode, each.type, each.provider] += each.count
    return tuple(StateResource(*names, count) for names, count in sorted(counts.items()))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
