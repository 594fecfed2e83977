"""Who came in, from what a sign-in tells (SPEC §8): whether it counts, for how long, and who is let in at all."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from tfpilot.core.model import NEVER, Door, Operator
from tfpilot.errors import ProxyError, RefusedError, SignInError

LONGEST: Final = timedelta(hours=12)
"""For how long one sign-in counts."""
FRESH_FOR: Final = timedelta(minutes=10)
"""How old a sign-in may be for what cannot be taken back easily."""
MOST_AHEAD: Final = timedelta(minutes=5)
"""How far the provider's clock may be ahead of ours."""
EVERYBODY: Final = "*"
"""Among the allowed logins: whoever has signed in."""

# ASCII only: a letter that merely folds to another one must not make anybody an admin.
_LOGIN: Final = re.compile(r"[!-~]{1,100}")


class SignInMode(StrEnum):
    """How visitors of the pages say who they are (`TFPILOT_AUTH`)."""

    LOCAL = "local"
    PROXY = "proxy"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody with a sign-in that counts. `login` is empty where the provider told none; `key` names this sign-in, for
    ending it everywhere."""

    login: str
    at: datetime
    key: str


def read_claims(claims: Mapping[str, Any], *, login_claim: str, now: datetime) -> SignedIn:
    """Who the provider says has signed in. Raises SignInError where that does not count, or not any more.

    A time that is missing or unreadable counts as too long ago: it proves nothing.
    """
    issued_at = _time(claims.get("iat"))
    if issued_at is None:
        raise SignInError("This sign-in does not tell when it was made", "Sign in again.")
    if now - issued_at > LONGEST:
        hours = int(LONGEST.total_seconds() // 3600)
        raise SignInError(f"This sign-in is older than {hours} hours", "Sign in again.")
    if issued_at - now > MOST_AHEAD:
        raise SignInError(
            "This sign-in was made in the future",
            "Sign in again; where that does not help, the clocks of the portal and of the provider differ.",
        )
    return SignedIn(login_in(claims.get(login_claim)), _proven_at(claims, issued_at), sign_in_key(claims))


def login_in(value: object) -> str:
    """The login that somebody tells about a person; empty where it cannot be one."""
    return value if isinstance(value, str) and _LOGIN.fullmatch(value) else ""


def sign_in_key(claims: Mapping[str, Any]) -> str:
    """The name of one sign-in: 64 hex digits that differ from one sign-in to the next and tell nothing about it."""
    told = [claims.get(name) for name in ("sub", "iat", "nonce", "at_hash")]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def signed_out() -> SignInError:
    """The refusal of a sign-in that its owner has ended."""
    return SignInError("This sign-in was ended: somebody signed out of it", "Sign in again.")


def login_from_proxy(logins: Sequence[str], secrets: Sequence[str], *, secret: str) -> str:
    """The login in the proxy's header, by all values of it and of the header with the secret; empty where it names
    nobody. Raises ProxyError unless the one secret is right: then anybody may have set the header."""
    given = secrets[0] if len(secrets) == 1 else ""
    # Bytes: text that is not ASCII cannot be compared in constant time.
    if not secret or not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode()):
        raise ProxyError(
            "This portal is reached only through its proxy, and this visit did not come from there",
            "Open the portal at the proxy's address. If you did, the proxy sends no X-TfPilot-Proxy-Secret, or another "
            "one than TFPILOT_PROXY_SECRET.",
        )
    if len(logins) > 1:
        raise ProxyError(
            "The proxy names several people at once", "It must replace the header that visitors send, not add to it."
        )
    return login_in(logins[0]) if logins else ""


def is_listed(login: str, allowed_logins: Collection[str]) -> bool:
    """Whether the login is among the allowed ones, whatever its case; nobody in particular only by `*`."""
    folded = {allowed.casefold() for allowed in allowed_logins}
    return EVERYBODY in folded or (bool(login) and login != EVERYBODY and login.casefold() in folded)


def is_fresh(operator: Operator, now: datetime) -> bool:
    """Whether the operator has signed in a short while ago. Who did not sign in by a page is not asked."""
    if operator.door is not Door.PAGE or operator.signed_in_at is None:
        return True
    return now - operator.signed_in_at <= FRESH_FOR


def check_fresh(operator: Operator, now: datetime) -> None:
    """Raises RefusedError unless `is_fresh`."""
    if not is_fresh(operator, now):
        minutes = int(FRESH_FOR.total_seconds() // 60)
        raise RefusedError(
            f"The sign-in of {operator.login} is more than {minutes} minutes old, and this needs a fresh one",
            "Nothing was done. Sign in again, then repeat it.",
        )


def _proven_at(claims: Mapping[str, Any], issued_at: datetime) -> datetime:
    """When the person last showed who they are: a provider that remembers them issues new sign-ins without it."""
    if "auth_time" not in claims:
        return issued_at
    return min(_time(claims["auth_time"]) or NEVER, issued_at)


def _time(value: object) -> datetime | None:
    """The time in seconds since 1970; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        return None
