"""What the value of one variable may look like. Every message says what is allowed and repeats no value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from tfpilot.core.model import WorkflowKind

LONGEST_STUCK_MINUTES: Final = 7 * 24 * 60
LONGEST_UNDO_DAYS: Final = 3650
SHORTEST_AUDIT_KEY: Final = 32
SHORTEST_WEBHOOK_SECRET: Final = 16
SHORTEST_PROXY_SECRET: Final = 16
PROXY_PROOF_HEADER: Final = "X-TfPilot-Proxy-Secret"
"""What the proxy sends TFPILOT_PROXY_SECRET in."""
MOST_PER_MINUTE: Final = 1_000_000
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _full_match(pattern: str, what: str) -> AfterValidator:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"must be {what}")
        return value

    return AfterValidator(check)


def _url(value: str) -> str:
    # The standard library's own messages repeat parts of the value, which may hold a password.
    problem = "must be a URL such as https://host or https://host:port/path, without user name, query and fragment"
    try:
        parts = urlsplit(value)
        reachable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(problem) from None
    if not reachable or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(problem)
    return value.rstrip("/")


def _url_for_token(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("must begin with https://, because the token travels with every call")
    return value


def _token(value: SecretStr) -> SecretStr:
    # A line end would make every call fail with a message that repeats the token.
    token = value.get_secret_value().strip()
    if re.fullmatch(r"[!-~]+", token) is None:
        raise ValueError("must be one word of printable ASCII characters")
    return SecretStr(token)


def _switch(value: object) -> object:
    switches = {"1": True, "true": True, "0": False, "false": False}
    key = str(value).strip().lower()
    if key not in switches:
        raise ValueError("must be 1 or 0")
    return switches[key]


def _names(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = frozenset(name.strip() for name in value.split(",")) - {""}
    if not names:
        raise ValueError("names nobody and nothing: give names separated by commas, or leave it unset")
    return names


def _lower(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _kinds(names: frozenset[str]) -> frozenset[WorkflowKind]:
    known = [kind.value for kind in WorkflowKind]
    if not names <= set(known):
        raise ValueError(f"must name kinds of workflows, separated by commas: {', '.join(known)}")
    return frozenset(WorkflowKind(name) for name in names)


def _each_at_least(shortest: int) -> AfterValidator:
    """One secret, or several separated by commas, none of them so short that it can be guessed offline from something
    that it signed."""

    def check(value: SecretStr) -> SecretStr:
        if any(len(part.strip()) < shortest for part in value.get_secret_value().split(",")):
            raise ValueError(f"must have at least {shortest} characters (each, where several are given)")
        return value

    return AfterValidator(check)


def _proxy_secret(value: SecretStr) -> SecretStr:
    # Whoever guesses it is an admin. A header carries printable ASCII as it is, and nothing else.
    if re.fullmatch(rf"[!-~]{{{SHORTEST_PROXY_SECRET},}}", value.get_secret_value()) is None:
        raise ValueError(f"must be one word of at least {SHORTEST_PROXY_SECRET} printable ASCII characters")
    return value


def _identity_header(name: str) -> str:
    if name.lower() in {PROXY_PROOF_HEADER.lower(), "host", "cookie", "authorization", "origin"}:
        raise ValueError("must be a header that the proxy alone sets, such as X-Forwarded-User")
    return name


def _orgs(names: frozenset[str]) -> frozenset[str]:
    if any(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}", name) is None for name in names):
        raise ValueError("must name GitHub organisations, separated by commas, as they stand in their addresses")
    return names


def _hosts(names: frozenset[str]) -> frozenset[str]:
    hosts = frozenset(name.lower() for name in names)
    if not all(re.fullmatch(r"\*|(\*\.)?[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]", host) for host in hosts):
        raise ValueError(
            "must name hosts as a browser does, without scheme and port, separated by commas: "
            "portal.example.com, *.example.com, [::1], or * for every host"
        )
    return hosts


def _directory(value: Path) -> Path:
    problem = "must be a directory that this user can reach, or one that does not exist yet"
    try:
        path = value.expanduser().absolute()
        usable = path.is_dir() or not path.exists()
    except (RuntimeError, OSError):
        raise ValueError(problem) from None
    if not usable:
        raise ValueError(problem)
    return path


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


BucketName = Annotated[str, _full_match(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}", "the name of a bucket, without s3://")]
Region = Annotated[str, _full_match(r"[a-z0-9-]+", "the name of a region, such as eu-west-2")]
Branch = Annotated[str, _full_match(r"[^\s~^:?*\[\\]+", "the name of a branch")]
AppId = Annotated[str, _full_match(r"[A-Za-z0-9._-]+", "the app's id (a number) or its client id")]
WorkflowFile = Annotated[str, _full_match(r"[\w.-]+\.ya?ml", "a file name in .github/workflows, such as plan.yml")]
Token = Annotated[SecretStr, AfterValidator(_token)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Minutes = Annotated[int, Field(ge=1, le=LONGEST_STUCK_MINUTES)]
Days = Annotated[int, Field(ge=1, le=LONGEST_UNDO_DAYS)]
Url = Annotated[str, AfterValidator(_url)]
TokenUrl = Annotated[Url, AfterValidator(_url_for_token)]
Directory = Annotated[Path, AfterValidator(_directory)]
Names = Annotated[frozenset[str], NoDecode, BeforeValidator(_names)]
Logins = Annotated[Names, AfterValidator(_lower)]
Hosts = Annotated[Names, AfterValidator(_hosts)]
Rate = Annotated[int, Field(ge=1, le=MOST_PER_MINUTE)]
Kinds = Annotated[frozenset[WorkflowKind], NoDecode, AfterValidator(_kinds), BeforeValidator(_names)]
AuditKey = Annotated[SecretStr, _each_at_least(SHORTEST_AUDIT_KEY)]
WebhookSecret = Annotated[SecretStr, _each_at_least(SHORTEST_WEBHOOK_SECRET)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)]
ProxySecret = Annotated[SecretStr, AfterValidator(_proxy_secret)]
IdentityHeader = Annotated[
    str, _full_match(r"[A-Za-z][A-Za-z0-9-]*", "the name of a header"), AfterValidator(_identity_header)
]
Claim = Annotated[str, _full_match(r"[!-~]{1,200}", "the name of a claim, such as preferred_username")]
Orgs = Annotated[Logins, AfterValidator(_orgs)]
