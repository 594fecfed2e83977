"""What answers right and wrong have in common: headers, error bodies, who asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

from tfpilot.sandbox.github.quota import Budget
from tfpilot.sandbox.github.state import User
from tfpilot.sandbox.github.world import World

DOCUMENTATION_URL: Final = "https://docs.github.com/rest"


def find_caller(world: World, connection: HTTPConnection) -> User | None:
    """Whose token the call carries, None where it is nobody's."""
    return world.find_user_by_token(connection.headers.get("authorization", "").partition(" ")[2].strip())


def rate_headers(budget: Budget) -> dict[str, str]:
    return {
        "x-ratelimit-limit": str(budget.limit),
        "x-ratelimit-remaining": str(budget.remaining),
        "x-ratelimit-used": str(budget.used),
        "x-ratelimit-reset": str(int(budget.reset_at.timestamp())),
        "x-ratelimit-resource": "core",
    }


def json_response(payload: object, *, status: int, at: datetime, headers: Mapping[str, str]) -> Response:
    """An answer as GitHub sends it at that time; no body where `payload` is None."""
    body = None if payload is None else json.dumps(payload).encode()
    media = {} if payload is None else {"content-type": "application/json; charset=utf-8"}
    return Response(
        body,
        status_code=status,
        headers={
            "date": format_datetime(at.astimezone(UTC), usegmt=True),
            "server": "github.com",
            "x-github-api-version-selected": "2022-11-28",
            "x-github-media-type": "github.v3; format=json",
            **media,
            **headers,
        },
    )


def problem_body(status: int, message: str) -> dict[str, str]:
    return {"message": message, "documentation_url": DOCUMENTATION_URL, "status": str(status)}


def limit_message(login: str) -> str:
    """What the hourly limit says, in the words that clients know it by."""
    return f"API rate limit exceeded for user ID {login}."
