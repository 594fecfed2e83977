"""Which settings go together: a bucket with GitHub, and one way into GitHub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from tfpilot.config.settings import Settings
from tfpilot.errors import ConfigError


@dataclass(frozen=True, slots=True)
class GitHubApp:
    """What it takes to act as one installation of a GitHub App. `private_key` is PEM text."""

    app_id: str
    installation_id: int
    private_key: SecretStr


def check_configured(settings: Settings) -> None:
    """Passes where the portal has something to work on: the sandbox, or a bucket and GitHub. Raises ConfigError."""
    if settings.sandbox:
        return
    github = _github_variables(settings)
    if settings.requests_bucket is None and not github:
        raise ConfigError(
            "Nothing is configured: the portal knows neither a bucket nor GitHub.",
            "Set TFPILOT_REQUESTS_BUCKET and GITHUB_TOKEN (or a GitHub App) to work on real requests, "
            "or TFPILOT_SANDBOX=1 to try the portal on a local world of its own.",
        )
    if settings.requests_bucket is None:
        raise ConfigError(
            f"Only half is configured: {_listed(github)} set, TFPILOT_REQUESTS_BUCKET is not.",
            "Set TFPILOT_REQUESTS_BUCKET to the bucket that holds `requests/`.",
        )
    github_credentials(settings)


def github_credentials(settings: Settings) -> SecretStr | GitHubApp:
    """The token or the GitHub App that the portal acts with. Raises ConfigError where it is not exactly one of them."""
    app = [name for name in _github_variables(settings) if name != "GITHUB_TOKEN"]
    if settings.github_token is not None and app:
        raise ConfigError(
            f"{_listed(['GITHUB_TOKEN', *app])} set, and only one of the two can count.",
            "Keep GITHUB_TOKEN, or the GITHUB_APP_… variables.",
        )
    if settings.github_token is not None:
        return settings.github_token
    if not app:
        raise ConfigError(
            "Only half is configured: TFPILOT_REQUESTS_BUCKET is set, GitHub credentials are not.",
            "Set GITHUB_TOKEN, or GITHUB_APP_ID, GITHUB_APP_INSTALLATION_ID and GITHUB_APP_PRIVATE_KEY[_FILE].",
        )
    return _github_app(settings, app)


def _github_app(settings: Settings, present: list[str]) -> GitHubApp:
    app_id, installation_id = settings.github_app_id, settings.github_app_installation_id
    key = _private_key(settings)
    if app_id is None or installation_id is None or key is None:
        absent = {
            "GITHUB_APP_ID": app_id,
            "GITHUB_APP_INSTALLATION_ID": installation_id,
            "GITHUB_APP_PRIVATE_KEY (or GITHUB_APP_PRIVATE_KEY_FILE)": key,
        }
        missing = [name for name, value in absent.items() if value is None]
        raise ConfigError(
            f"The GitHub App is only half configured: {_listed(present)} set, {_listed(missing)} not.",
            "A GitHub App needs all three: its id, the id of its installation, and its private key.",
        )
    return GitHubApp(app_id, installation_id, key)


def _private_key(settings: Settings) -> SecretStr | None:
    given, file = settings.github_app_private_key, settings.github_app_private_key_file
    if given is not None and file is not None:
        raise ConfigError(
            "GITHUB_APP_PRIVATE_KEY and GITHUB_APP_PRIVATE_KEY_FILE are both set, and only one can count.",
            "Keep one of the two.",
        )
    if file is not None:
        return _as_pem(_read_key(file), "GITHUB_APP_PRIVATE_KEY_FILE")
    if given is not None:
        # Where a variable holds one line only, its line ends are written as \n.
        return _as_pem(given.get_secret_value().replace("\\n", "\n"), "GITHUB_APP_PRIVATE_KEY")
    return None


def _read_key(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(
            f"The private key {file} (GITHUB_APP_PRIVATE_KEY_FILE) cannot be read: {why}.",
            "Name the .pem file that GitHub gave you, and let the portal's user read it.",
        ) from None


def _as_pem(text: str, variable: str) -> SecretStr:
    if not re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----", text):
        raise ConfigError(
            f"{variable} does not hold a private key.",
            "A key begins with -----BEGIN … PRIVATE KEY-----; give the whole text of the .pem file.",
        )
    return SecretStr(text.strip() + "\n")


def _github_variables(settings: Settings) -> list[str]:
    given = {
        "GITHUB_TOKEN": settings.github_token,
        "GITHUB_APP_ID": settings.github_app_id,
        "GITHUB_APP_INSTALLATION_ID": settings.github_app_installation_id,
        "GITHUB_APP_PRIVATE_KEY": settings.github_app_private_key,
        "GITHUB_APP_PRIVATE_KEY_FILE": settings.github_app_private_key_file,
    }
    return [name for name, value in given.items() if value is not None]


def _listed(names: list[str]) -> str:
    verb = "is" if len(names) == 1 else "are"
    head, last = names[:-1], names[-1]
    return f"{', '.join(head)} and {last} {verb}" if head else f"{last} {verb}"
