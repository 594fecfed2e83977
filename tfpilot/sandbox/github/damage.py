"""The wrong answers: those in place of the right one, and those that are the right one, spoiled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from starlette.responses import Response

from tfpilot.sandbox.github.faults import Fault, FaultKind
from tfpilot.sandbox.github.quota import Budget
from tfpilot.sandbox.github.wire import json_response, limit_message, problem_body, rate_headers
from tfpilot.sandbox.github.world import World

SIGN_IN_PAGE: Final = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Single sign-on</body></html>"
SECONDARY_MESSAGE: Final = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
MADE_OF_THE_RIGHT_ANSWER: Final = frozenset(
    {FaultKind.SLOW, FaultKind.DRIP, FaultKind.TRUNCATED, FaultKind.FIELDS, FaultKind.INSTEAD}
)
MESSAGES: Final = {401: "Bad credentials", 403: "Resource not accessible by personal access token", 404: "Not Found"}


def needs_right_answer(fault: Fault) -> bool:
    """GitHub does what it was asked: the fault spoils its answer, or says that it acts."""
    return fault.acts or fault.kind in MADE_OF_THE_RIGHT_ANSWER


def find_replacement(fault: Fault, world: World, *, login: str) -> Response | None:
    """The answer in place of the right one, None where the fault is made of that."""
    make = REPLACEMENTS.get(fault.kind)
    return make(fault, world, login) if make else None


def spoiled(fault: Fault, right: Response) -> Response:
    """The right answer with the fault's damage done to its body."""
    body = bytes(right.body)
    if fault.kind is FaultKind.TRUNCATED:
        body = body[: len(body) // 2]
    elif fault.kind is FaultKind.FIELDS:
        body = json.dumps(_overlaid(json.loads(body), fault.fields)).encode()
    headers = {name: value for name, value in right.headers.items() if name != "content-length"}
    return Response(body, status_code=right.status_code, headers=headers)


def _error(fault: Fault, world: World, login: str) -> Response:
    status = fault.status or 500
    message = fault.message or MESSAGES.get(status, "Server Error")
    return _problem(world, status, message, rate_headers(world.quota.budget(login)))


def _primary_limit(fault: Fault, world: World, login: str) -> Response:
    limit = world.quota.budget(login).limit
    spent = Budget(limit, limit, world.now() + timedelta(seconds=fault.retry_after_s or 0))
    return _problem(world, 403, fault.message or limit_message(login), rate_headers(spent))


def _secondary_limit(fault: Fault, world: World, login: str) -> Response:
    wait = {} if fault.retry_after_s is None else {"retry-after": str(fault.retry_after_s)}
    headers = {**rate_headers(world.quota.budget(login)), **wait}
    return _problem(world, fault.status or 403, fault.message or SECONDARY_MESSAGE, headers)


def _html(fault: Fault, _world: World, _login: str) -> Response:
    return Response(SIGN_IN_PAGE, status_code=fault.status or 200, media_type="text/html")


def _empty(fault: Fault, _world: World, _login: str) -> Response:
    return Response(b"", status_code=fault.status or 200, media_type="application/json")


REPLACEMENTS: Final[Mapping[FaultKind, Callable[[Fault, World, str], Response]]] = {
    FaultKind.STATUS: _error,
    FaultKind.PRIMARY_LIMIT: _primary_limit,
    FaultKind.SECONDARY_LIMIT: _secondary_limit,
    FaultKind.HTML: _html,
    FaultKind.EMPTY: _empty,
}


def _problem(world: World, status: int, message: str, headers: Mapping[str, str]) -> Response:
    return json_response(problem_body(status, message), status=status, at=world.now(), headers=headers)


def _overlaid(payload: object, fields: Mapping[str, object]) -> object:
    for path, value in fields.items():
        _put(payload, path.split("."), value)
    return payload


def _put(target: object, path: Sequence[str], value: object) -> None:
    """Puts the value at the path; a name that leads nowhere raises TypeError, as a mistake of the test."""
    first, *rest = path
    if isinstance(target, list):
        for at in range(len(target)) if first == "*" else [int(first)]:
            target[at] = _with(target[at], rest, value)
    elif isinstance(target, dict):
        target[first] = _with(target.get(first), rest, value)
    else:
        raise TypeError(f"nothing to put {first!r} into")


def _with(held: object, rest: Sequence[str], value: object) -> object:
    if not rest:
        return value
    _put(held, rest, value)
    return held
