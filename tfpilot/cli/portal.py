"""The portal for one command, and who the command acts as. Imported late: offline commands need neither boto3 nor
PyGithub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tfpilot.config import load_settings
from tfpilot.core.model import Operator

if TYPE_CHECKING:
    from tfpilot.wiring import Portal


@contextmanager
def command_portal() -> Iterator[Portal]:
    """The portal that the settings name, until the block ends. Raises TfPilotError."""
    from tfpilot import log, wiring

    settings = load_settings()
    log.configure(settings.log_level if settings.log_level != "INFO" else "WARNING")
    with ExitStack() as stack:
        yield wiring.build(stack, settings)


def operator_of(portal: Portal) -> Operator:
    """Who a command acts as. Raises SignatureError or GitHubError."""
    from tfpilot import wiring

    return wiring.operator_of(portal)
