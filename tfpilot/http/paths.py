"""Which paths are routes of ours, as the guards tell them apart."""

from __future__ import annotations

from typing import Final

WEBHOOK: Final = "/api/github/webhook"


def is_api(path: str) -> bool:
    """Whether a path is under `/api`, where every answer is JSON."""
    return path == "/api" or path.startswith("/api/")
