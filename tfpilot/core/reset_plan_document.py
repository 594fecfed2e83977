"""A reset's plan as JSON: one canonical form, the digest of what binds, and back again for a reset that goes on."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, Final

from tfpilot.core import strict
from tfpilot.core.document import format_time, is_request_id, parse_json, parse_time
from tfpilot.core.model import JsonObject, RepoRef
from tfpilot.core.reset_plan import (
    ArchiveCase,
    PlannedEntry,
    PlannedObject,
    PlannedRequest,
    PlannedState,
    ResetPlan,
    StateMode,
)
from tfpilot.core.reset_target import ResetTarget, StateTarget, Undecided
from tfpilot.core.run_index import PREFIX as INDEX_PREFIX
from tfpilot.core.terraform import LockMode, lock_id
from tfpilot.core.terraform_state import StateResource, StateSummary
from tfpilot.errors import DocumentError

FORMAT: Final = 1
ACTIVE: Final = "requests/"
HISTORY: Final = "history/"


def plan_fields(plan: ResetPlan) -> dict[str, Any]:
    """The whole plan. `binding` is what the digest is of: everything that is done, and to which versions."""
    return {
        "format": FORMAT,
        "digest": digest_of(plan),
        "plannedAt": format_time(plan.planned_at),
        "undecided": [{"requestId": each.request_id, "reason": each.reason} for each in plan.undecided],
        "binding": _binding(plan),
    }


def digest_of(plan: ResetPlan) -> str:
    """SHA-256, in hex, of what the plan does: another one where any of it differs, the same whenever it was read.

    Requests that cannot be decided are left as they are, so they do not count.
    """
    return hashlib.sha256(_canonical(_binding(plan))).hexdigest()


def render_plan(plan: ResetPlan) -> bytes:
    """The plan as it is stored and downloaded."""
    return json.dumps(plan_fields(plan), indent=2, sort_keys=True).encode()


def parse_plan(content: bytes, *, key: str) -> ResetPlan:
    """The plan in `content`. Raises DocumentError where it is none, or is not the one that its digest says."""
    stored = parse_json(content, what=key)
    try:
        plan = _plan(strict.object_in(stored))
    except (KeyError, TypeError, ValueError) as error:
        raise DocumentError(f"{key} is no plan of a reset", _HINT) from error
    if digest_of(plan) != strict.object_in(stored).get("digest"):
        raise DocumentError(f"{key} is not the plan that its digest says", _HINT)
    return plan


def find_strange_place(plan: ResetPlan) -> str:
    """A place in the plan that no reset of its target is about; empty where there is none."""
    keys = {state.object_key for state in plan.target.states}
    for state in plan.states:
        of_it = (state.object_key, lock_id(plan.target.bucket, state.object_key))
        stored = state.state.key if state.state else state.object_key
        if state.object_key not in keys or (stored, state.lock_id) != of_it:
            return state.object_key
    for request in plan.requests:
        name = f"{request.request_id}.json"
        archived = request.archived.key if request.archived else f"{HISTORY}{name}"
        is_named = is_request_id(request.request_id)
        if not is_named or (request.document.key, archived) != (f"{ACTIVE}{name}", f"{HISTORY}{name}"):
            return request.document.key
    return next((each.entry.key for each in plan.entries if not each.entry.key.startswith(INDEX_PREFIX)), "")


def differences(plan: ResetPlan, again: ResetPlan) -> tuple[str, ...]:
    """What differs between a plan that was reviewed and what is read now, a sentence each; empty where nothing does."""
    before, now = _binding(plan), _binding(again)
    told = [
        f"{what} is another one than reviewed"
        for what, field in (
            ("the target", "target"),
            ("the state mode", "stateMode"),
            ("the index choice", "withIndex"),
        )
        if before[field] != now[field]
    ]
    for what, name in (("states", "state"), ("requests", "request"), ("entries", "entry")):
        told += _list_differences(name, before[what], now[what])
    return tuple(told)


_HINT: Final = "Nothing was done. Make a new plan; what an earlier reset left is listed by `python -m tfpilot reset`."
_NAMES: Final = {"state": "objectKey", "request": "requestId", "entry": "key"}


def _list_differences(name: str, before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    field = _NAMES[name]
    old, new = {each[field]: each for each in before}, {each[field]: each for each in now}
    told = []
    for key in sorted(old.keys() | new.keys()):
        if key not in new:
            told.append(f"{name} {key} is not there any more")
        elif key not in old:
            told.append(f"{name} {key} is new")
        elif old[key] != new[key]:
            fields = [part for part in old[key] if old[key][part] != new[key][part]]
            told.append(f"{name} {key} changed: {', '.join(_WORDS.get(part, part) for part in fields)}")
    return told


_WORDS: Final = {"object": "content or version", "archived": "the copy in history", "case": "what becomes of it"}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _binding(plan: ResetPlan) -> dict[str, Any]:
    return {
        "target": _render_target(plan.target),
        "stateMode": plan.state_mode.value,
        "withIndex": plan.with_index,
        "states": sorted((_render_state(each) for each in plan.states), key=lambda each: str(each["objectKey"])),
        "requests": sorted((_render_request(each) for each in plan.requests), key=lambda each: str(each["requestId"])),
        "entries": sorted((_render_entry(each) for each in plan.entries), key=lambda each: str(each["key"])),
    }


def _render_target(target: ResetTarget) -> dict[str, Any]:
    states = [
        {
            "key": state.key,
            "targetEnvPath": state.env_path,
            "workspace": state.workspace,
            "workspaceKeyPrefix": state.workspace_key_prefix,
        }
        for state in target.states
    ]
    return {
        "name": target.name,
        "environment": target.environment,
        "owner": target.repo.owner,
        "repo": target.repo.name,
        "stateBucket": target.bucket,
        "lockMode": target.lock_mode.value,
        "lockTable": target.lock_table,
        "states": sorted(states, key=_canonical),
    }


def _render_object(planned: PlannedObject | None) -> dict[str, Any] | None:
    if planned is None:
        return None
    return {
        "key": planned.key,
        "etag": planned.etag,
        "versionId": planned.version_id,
        "sizeBytes": planned.size_bytes,
        "sha256": planned.sha256,
    }


def _render_state(state: PlannedState) -> dict[str, Any]:
    return {
        "objectKey": state.object_key,
        "targetEnvPath": state.env_path,
        "lockId": state.lock_id,
        "object": _render_object(state.state),
        "md5": state.md5,
        "digest": state.digest,
        "resources": _render_summary(state.summary),
        "replacement": state.replacement,
        "locks": sorted(state.locks),
    }


def _render_summary(summary: StateSummary | None) -> dict[str, Any] | None:
    if summary is None:
        return None
    listed = [[each.address, each.mode, each.type, each.provider, each.count] for each in summary.resources]
    return {
        "formatVersion": summary.format_version,
        "terraformVersion": summary.terraform_version,
        "serial": summary.serial,
        "lineage": summary.lineage,
        "problem": summary.problem,
        "list": sorted(listed, key=_canonical),
    }


def _render_request(request: PlannedRequest) -> dict[str, Any]:
    return {
        "requestId": request.request_id,
        "object": _render_object(request.document),
        "archived": _render_object(request.archived),
        "case": request.case.name,
        "createdBy": request.created_by,
        "lastActivity": format_time(request.last_activity) if request.last_activity else None,
    }


def _render_entry(planned: PlannedEntry) -> dict[str, Any]:
    return {
        "key": planned.entry.key,
        "requestId": planned.request_id,
        "object": _render_object(planned.entry),
    }


def _plan(stored: JsonObject) -> ResetPlan:
    bound = strict.object_in(stored["binding"])
    return ResetPlan(
        target=_target(strict.object_in(bound["target"])),
        state_mode=StateMode(strict.text_at(bound, "stateMode")),
        with_index=strict.flag_at(bound, "withIndex"),
        states=tuple(_state(each) for each in strict.objects_at(bound, "states")),
        requests=tuple(_request(each) for each in strict.objects_at(bound, "requests")),
        entries=tuple(
            PlannedEntry(_needed(strict.object_in(each["object"])), strict.text_at(each, "requestId"))
            for each in strict.objects_at(bound, "entries")
        ),
        undecided=tuple(
            Undecided(strict.text_at(each, "requestId"), strict.text_at(each, "reason"))
            for each in strict.objects_at(stored, "undecided")
        ),
        planned_at=_time(stored["plannedAt"]),
    )


def _target(stored: JsonObject) -> ResetTarget:
    states = [
        StateTarget(
            *(strict.text_at(each, name) for name in ("key", "targetEnvPath", "workspace", "workspaceKeyPrefix"))
        )
        for each in strict.objects_at(stored, "states")
    ]
    return ResetTarget(
        name=strict.text_at(stored, "name"),
        environment=strict.text_at(stored, "environment"),
        repo=RepoRef(strict.text_at(stored, "owner"), strict.text_at(stored, "repo")),
        bucket=strict.text_at(stored, "stateBucket"),
        states=tuple(sorted(states, key=lambda state: state.object_key)),
        lock_mode=LockMode(strict.text_at(stored, "lockMode")),
        lock_table=strict.text_at(stored, "lockTable"),
    )


def _undecided(stored: JsonObject) -> Undecided:
    return Undecided(strict.text_at(stored, "requestId"), strict.text_at(stored, "reason"))


def _state(stored: JsonObject) -> PlannedState:
    return PlannedState(
        object_key=strict.text_at(stored, "objectKey"),
        env_path=strict.text_at(stored, "targetEnvPath"),
        lock_id=strict.text_at(stored, "lockId"),
        state=_planned(stored["object"]),
        md5=strict.text_or_none_at(stored, "md5"),
        digest=strict.text_or_none_at(stored, "digest"),
        summary=_summary(stored["resources"]),
        replacement=strict.text_or_none_at(stored, "replacement"),
        locks=strict.texts_in(stored["locks"]),
    )


def _summary(stored: object) -> StateSummary | None:
    if stored is None:
        return None
    fields = strict.object_in(stored)
    return StateSummary(
        strict.whole_or_none_at(fields, "formatVersion"),
        strict.text_at(fields, "terraformVersion"),
        strict.whole_or_none_at(fields, "serial"),
        strict.text_at(fields, "lineage"),
        tuple(sorted((_resource(each) for each in strict.list_in(fields["list"])), key=lambda each: each.address)),
        strict.text_at(fields, "problem"),
    )


def _resource(stored: object) -> StateResource:
    *names, count = strict.list_in(stored)
    address, mode, kind, provider = strict.texts_in(names)
    return StateResource(address, mode, kind, provider, strict.whole_in(count))


def _request(stored: JsonObject) -> PlannedRequest:
    return PlannedRequest(
        request_id=strict.text_at(stored, "requestId"),
        document=_needed(strict.object_in(stored["object"])),
        archived=_planned(stored["archived"]),
        case=ArchiveCase[strict.text_at(stored, "case")],
        created_by=strict.text_at(stored, "createdBy"),
        last_activity=_time(stored["lastActivity"]) if stored["lastActivity"] else None,
    )


def _planned(stored: object) -> PlannedObject | None:
    return None if stored is None else _needed(strict.object_in(stored))


def _needed(stored: JsonObject) -> PlannedObject:
    return PlannedObject(
        strict.text_at(stored, "key"),
        strict.text_at(stored, "etag"),
        strict.text_or_none_at(stored, "versionId"),
        strict.whole_in(stored["sizeBytes"]),
        strict.text_at(stored, "sha256"),
    )


def _time(stored: object) -> datetime:
    at = parse_time(stored)
    if at is None:
        raise ValueError("not a time")
    return at
