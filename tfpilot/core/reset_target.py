"""What may be reset: the entries of the file that TFPILOT_RESET_TARGETS names, and which requests belong to one.

[[targets]]
name = "payments-dev"
environment = "dev"
repo = "northwind-infra/payments-terraform"
state_bucket = "tfpilot-tfstate-payments-dev"
lock_mode = "both"                # dynamodb, lockfile or both
lock_table = "tfpilot-locks-dev"  # not with lockfile

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"
workspace = "blue"                # left out: the default workspace
workspace_key_prefix = "env:"     # left out: Terraform's own
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tfpilot.core.document import shown, text_of
from tfpilot.core.model import JsonObject, RepoRef, Request
from tfpilot.core.terraform import (
    DEFAULT_WORKSPACE,
    DIGEST_SUFFIX,
    LOCKFILE_SUFFIX,
    WORKSPACE_PREFIX,
    LockMode,
    state_key,
)
from tfpilot.errors import ConfigError

BACKUP_PREFIX: Final = "tfpilot-ops-backup/"
"""Where in the state bucket the backups of a reset are; no workspace of a backend can have it as its prefix."""

_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_PATH: Final = r"[A-Za-z0-9_.@:=+,-]+(?:/[A-Za-z0-9_.@:=+,-]+)*"
_FORMS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "name": (re.compile(r"[a-z0-9][a-z0-9-]{0,62}"), "a to z, 0 to 9 and -, at most 63 characters"),
    "environment": (re.compile(_WORD), "letters, digits, -, _ and ."),
    "repo": (re.compile(rf"[A-Za-z0-9-]+/{_WORD}"), "owner/name"),
    "state_bucket": (re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"), "a bucket's name"),
    "lock_table": (re.compile(r"[A-Za-z0-9_.-]{3,255}"), "a table's name"),
    "key": (re.compile(_PATH), "the exact key of one state, no pattern and no prefix"),
    "target_env_path": (re.compile(_PATH), "a folder of the repository, like envs/dev"),
    "workspace": (re.compile(r"[A-Za-z0-9_.-]+"), "a workspace's name"),
    "workspace_key_prefix": (re.compile(_PATH), "a prefix without / at either end"),
}
_TARGET_FIELDS: Final = frozenset({
    "name", "environment", "repo", "state_bucket", "lock_mode", "lock_table", "states",
})  # fmt: skip
_STATE_FIELDS: Final = frozenset({"key", "target_env_path", "workspace", "workspace_key_prefix"})
_HINT: Final = "Correct the file that TFPILOT_RESET_TARGETS names; docs/DEV_RESET.md shows a complete one."


@dataclass(frozen=True, slots=True)
class StateTarget:
    """One state: the backend's `key`, its workspace, and the `targetEnvPath` of the requests that it belongs to."""

    key: str
    env_path: str
    workspace: str = DEFAULT_WORKSPACE
    workspace_key_prefix: str = WORKSPACE_PREFIX

    @property
    def object_key(self) -> str:
        """The key of the state object, the workspace included."""
        return state_key(self.key, workspace=self.workspace, workspace_key_prefix=self.workspace_key_prefix)


@dataclass(frozen=True, slots=True)
class ResetTarget:
    """What one reset is about. `states` are in order of their object keys; `lock_table` is empty with lockfiles."""

    name: str
    environment: str
    repo: RepoRef
    bucket: str
    states: tuple[StateTarget, ...]
    lock_mode: LockMode
    lock_table: str = ""


class Belonging(StrEnum):
    """Whether a request belongs to a target."""

    INSIDE = "in scope"
    OUTSIDE = "not in scope"
    UNDECIDED = "cannot be decided"


@dataclass(frozen=True, slots=True)
class Undecided:
    """A request that is left as it is, and why nobody can tell whether it belongs to the target."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scope:
    """The requests of a target, and those that are left because it cannot be decided; each in order of the ids."""

    request_ids: tuple[str, ...]
    undecided: tuple[Undecided, ...]


def parse_targets(document: Mapping[str, Any]) -> tuple[ResetTarget, ...]:
    """The targets in a parsed file, in its order. Raises ConfigError, naming target and field."""
    unknown = sorted(set(document) - {"targets"})
    if unknown:
        raise ConfigError(f"The reset targets have a field {shown(unknown[0])}, which means nothing", _HINT)
    listed = document.get("targets", [])
    if not isinstance(listed, list):
        raise ConfigError("The reset targets are no list: each is a table [[targets]]", _HINT)
    targets = tuple(_parse_target(entry, number) for number, entry in enumerate(listed, start=1))
    _check_apart(targets)
    return targets


def find_target(targets: Iterable[ResetTarget], name: str) -> ResetTarget | None:
    """The target of that name; None where there is none."""
    return next((target for target in targets if target.name == name), None)


def scope_of(target: ResetTarget, requests: Iterable[Request], *, unreadable: Iterable[str] = ()) -> Scope:
    """Which active requests belong to the target. `unreadable` are ids of objects that are no request."""
    inside: list[str] = []
    undecided = [Undecided(request_id, "the document cannot be read") for request_id in unreadable]
    for request in requests:
        belonging, reason = belongs_to(target, request)
        if belonging is Belonging.INSIDE:
            inside.append(request.id)
        elif belonging is Belonging.UNDECIDED:
            undecided.append(Undecided(request.id, reason))
    return Scope(tuple(sorted(inside)), tuple(sorted(undecided, key=lambda each: each.request_id)))


def belongs_to(target: ResetTarget, request: Request) -> tuple[Belonging, str]:
    """Whether the request belongs to the target, and why not: its environment, repository and `targetEnvPath` match.

    One that certainly differs puts it outside; one that is missing or odd, with the others matching, leaves it open.
    """
    answers = (_environment(target, request), _repo(target, request), _env_path(target, request))
    outside = [reason for belonging, reason in answers if belonging is Belonging.OUTSIDE]
    if outside:
        return Belonging.OUTSIDE, outside[0]
    unsure = [reason for belonging, reason in answers if belonging is Belonging.UNDECIDED]
    return (Belonging.UNDECIDED, "; ".join(unsure)) if unsure else (Belonging.INSIDE, "")


def _environment(target: ResetTarget, request: Request) -> tuple[Belonging, str]:
    if not request.environment:
        return Belonging.UNDECIDED, "environment is missing"
    if request.environment == target.environment:
        return Belonging.INSIDE, ""
    if request.environment.strip().casefold() == target.environment.casefold():
        return Belonging.UNDECIDED, f"environment is written {shown(request.environment)}"
    return Belonging.OUTSIDE, f"environment is {request.environment}"


def _repo(target: ResetTarget, request: Request) -> tuple[Belonging, str]:
    """GitHub's names do not tell upper from lower case."""
    if request.repo is None:
        return Belonging.UNDECIDED, "targetOwner or targetRepo is missing"
    if str(request.repo).casefold() == str(target.repo).casefold():
        return Belonging.INSIDE, ""
    return Belonging.OUTSIDE, f"the repository is {request.repo}"


def _env_path(target: ResetTarget, request: Request) -> tuple[Belonging, str]:
    stored = text_of(request.raw.get("targetEnvPath"))
    if stored is None:
        return Belonging.UNDECIDED, "targetEnvPath is missing"
    path = stored.removeprefix("./").removesuffix("/")
    if path in {state.env_path for state in target.states}:
        return Belonging.INSIDE, ""
    if _FORMS["target_env_path"][0].fullmatch(path) is None or _goes_up(path):
        return Belonging.UNDECIDED, f"targetEnvPath is {shown(stored)}"
    return Belonging.OUTSIDE, f"targetEnvPath is {stored}"


def _parse_target(entry: object, number: int) -> ResetTarget:
    if not isinstance(entry, dict):
        raise ConfigError(f"Reset target {number} is no table", _HINT)
    named = entry.get("name")
    called = f"Reset target {named if _is_name(named) else number}"
    _check_known(entry, _TARGET_FIELDS, called)
    mode = _lock_mode(entry, called)
    owner, _, repo = _text(entry, "repo", called).partition("/")
    return ResetTarget(
        name=_text(entry, "name", called),
        environment=_text(entry, "environment", called),
        repo=RepoRef(owner, repo),
        bucket=_text(entry, "state_bucket", called),
        states=_states(entry.get("states"), called),
        lock_mode=mode,
        lock_table=_lock_table(entry, mode, called),
    )


def _lock_mode(entry: JsonObject, called: str) -> LockMode:
    stored = entry.get("lock_mode")
    if not isinstance(stored, str) or stored not in set(LockMode):
        allowed = ", ".join(mode.value for mode in LockMode)
        raise ConfigError(f"{called}: lock_mode is {_said(stored)}, not one of {allowed}", _HINT)
    return LockMode(stored)


def _lock_table(entry: JsonObject, mode: LockMode, called: str) -> str:
    if mode.has_table:
        return _text(entry, "lock_table", called)
    if "lock_table" in entry:
        raise ConfigError(f"{called}: lock_table is given, but lock_mode {mode.value} has no table", _HINT)
    return ""


def _states(listed: object, called: str) -> tuple[StateTarget, ...]:
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{called}: states is {'empty' if listed == [] else _said(listed)}, not a list", _HINT)
    states = tuple(_state(entry, f"{called}, state {number}") for number, entry in enumerate(listed, start=1))
    return tuple(sorted(states, key=lambda state: state.object_key))


def _state(entry: object, called: str) -> StateTarget:
    if not isinstance(entry, dict):
        raise ConfigError(f"{called}: states holds something that is no table", _HINT)
    _check_known(entry, _STATE_FIELDS, called)
    state = StateTarget(
        key=_text(entry, "key", called),
        env_path=_env_path_of(entry, called),
        workspace=_text(entry, "workspace", called, default=DEFAULT_WORKSPACE),
        workspace_key_prefix=_text(entry, "workspace_key_prefix", called, default=WORKSPACE_PREFIX),
    )
    if _goes_up(state.object_key) or state.object_key.startswith(BACKUP_PREFIX) or _is_no_state(state.object_key):
        raise ConfigError(f"{called}: key is {shown(state.key)}, which is no state's", _HINT)
    return state


def _env_path_of(entry: JsonObject, called: str) -> str:
    path = _text(entry, "target_env_path", called)
    if _goes_up(path):
        raise ConfigError(
            f"{called}: target_env_path is {shown(path)}, {_FORMS['target_env_path'][1]} is needed", _HINT
        )
    return path


def _text(entry: JsonObject, field: str, called: str, *, default: str | None = None) -> str:
    stored = entry.get(field, default)
    pattern, form = _FORMS[field]
    if not isinstance(stored, str) or pattern.fullmatch(stored) is None:
        raise ConfigError(f"{called}: {field} is {_said(stored)}, {form} is needed", _HINT)
    return stored


def _check_known(entry: JsonObject, known: frozenset[str], called: str) -> None:
    unknown = sorted(str(name) for name in set(entry) - known)
    if unknown:
        raise ConfigError(f"{called}: {shown(unknown[0])} is no field that means anything", _HINT)


def _check_apart(targets: tuple[ResetTarget, ...]) -> None:
    """No two targets share a name or a state: each is reset by one person at a time."""
    names: set[str] = set()
    states: dict[tuple[str, str], str] = {}
    for target in targets:
        if target.name in names:
            raise ConfigError(f"Reset target {target.name}: name is taken by another target", _HINT)
        names.add(target.name)
        for state in target.states:
            owner = states.setdefault((target.bucket, state.object_key), target.name)
            if owner != target.name or sum(each.object_key == state.object_key for each in target.states) > 1:
                raise ConfigError(
                    f"Reset target {target.name}: key {shown(state.object_key)} is listed by {owner}, too", _HINT
                )


def _goes_up(path: str) -> bool:
    return any(part in {"", ".", ".."} for part in path.split("/"))


def _is_no_state(object_key: str) -> bool:
    return object_key.endswith((LOCKFILE_SUFFIX, DIGEST_SUFFIX))


def _is_name(stored: object) -> bool:
    return isinstance(stored, str) and _FORMS["name"][0].fullmatch(stored) is not None


def _said(stored: object) -> str:
    return "missing" if stored is None else shown(stored)
