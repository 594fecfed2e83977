"""Settings, read once when the process starts."""

from __future__ import annotations

from tfpilot.config.credentials import GitHubApp, check_configured, github_credentials
from tfpilot.config.settings import DoorRules, Settings, load_settings, load_targets
from tfpilot.config.sign_in import check_provider, check_sign_in

__all__ = [
    "DoorRules",
    "GitHubApp",
    "Settings",
    "check_configured",
    "check_provider",
    "check_sign_in",
    "github_credentials",
    "load_settings",
    "load_targets",
]
