"""What stands before every page and route, from the outside in."""

from __future__ import annotations

from starlette.middleware import Middleware

from tfpilot.config import DoorRules
from tfpilot.http.body_limits import BodyLimits
from tfpilot.http.hosts import AllowedHosts
from tfpilot.http.middleware import SecurityHeaders, UnexpectedFailures
from tfpilot.http.rate_limits import RateLimits
from tfpilot.http.request_ids import RequestIds


def guards(rules: DoorRules) -> list[Middleware]:
    """The middleware of the door. Even a refusal has an id and the security headers; a caller is counted before
    anything that it sends is read."""
    return [
        Middleware(RequestIds),
        Middleware(SecurityHeaders),
        Middleware(UnexpectedFailures),
        Middleware(AllowedHosts, allowed=rules.allowed_hosts),
        Middleware(RateLimits, per_minute=rules.rate_per_minute),
        Middleware(BodyLimits),
    ]
