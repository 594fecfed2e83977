"""Which settings of the sign-in go together; checked before the server starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from tfpilot.config.fields import LOOPBACK, PROXY_PROOF_HEADER
from tfpilot.config.settings import Settings
from tfpilot.core.sign_in import SignInMode
from tfpilot.errors import ConfigError

SHORTEST_COOKIE_SECRET: Final = 32
CALLBACK: Final = "/oauth2callback"

_NEEDED: Final = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")
_HINT: Final = "docs/SIGN_IN.md shows the section [auth] of .streamlit/secrets.toml."


def check_sign_in(settings: Settings) -> None:
    """Passes where the settings say who may come in and how they are known. Raises ConfigError."""
    if settings.auth is SignInMode.LOCAL:
        return
    if not settings.allowed_logins and not settings.allowed_orgs:
        raise ConfigError(
            f"TFPILOT_AUTH={settings.auth} is set, but not who may come in.",
            "Set TFPILOT_ALLOWED_LOGINS or TFPILOT_ALLOWED_ORGS; TFPILOT_ALLOWED_LOGINS=* lets in everybody who can "
            "sign in.",
        )
    if settings.auth is SignInMode.PROXY:
        _check_proxy(settings)


def check_provider(section: Mapping[str, Any] | None) -> None:
    """Passes where Streamlit's secrets have what its login needs, by their section `auth` (None: there is none).

    Raises ConfigError, which names what is wrong and never its value.
    """
    if not section:
        raise ConfigError("TFPILOT_AUTH=oidc is set, but Streamlit's secrets have no section [auth].", _HINT)
    missing = [name for name in _NEEDED if not isinstance(section.get(name), str) or not section[name].strip()]
    if missing:
        raise ConfigError(f"The section [auth] of Streamlit's secrets lacks {', '.join(missing)}.", _HINT)
    if len(section["cookie_secret"]) < SHORTEST_COOKIE_SECRET:
        raise ConfigError(
            f"The cookie_secret in the section [auth] has less than {SHORTEST_COOKIE_SECRET} characters.",
            "Whoever guesses it can sign in as anybody. Make one with: openssl rand -hex 32",
        )
    for name, ends in (("redirect_uri", CALLBACK), ("server_metadata_url", "")):
        if not _is_safe_url(section[name], ends=ends):
            raise ConfigError(
                f"The {name} in the section [auth] must be an https:// address{f' that ends in {ends}' if ends else ''}"
                "; http:// is for this machine only.",
                _HINT,
            )


def _check_proxy(settings: Settings) -> None:
    values = {"TFPILOT_PROXY_HEADER": settings.proxy_header, "TFPILOT_PROXY_SECRET": settings.proxy_secret}
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ConfigError(
            f"TFPILOT_AUTH=proxy is set, {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not.",
            f"The proxy sends the login in TFPILOT_PROXY_HEADER, and TFPILOT_PROXY_SECRET in {PROXY_PROOF_HEADER}; "
            "docs/SIGN_IN.md shows one.",
        )


def _is_safe_url(url: str, *, ends: str) -> bool:
    try:
        parts = urlsplit(url.replace("{port}", "1"))
        host = parts.hostname
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)
    return is_safe and bool(host) and url.endswith(ends)
