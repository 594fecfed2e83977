"""Printing answers, as lines for people or as JSON, and failures, with the exit code they mean."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import typer

from tfpilot.errors import ConfigError, MalformedIdError, TfPilotError

DONE: Final = 0
FAILED: Final = 1
MISUSE: Final = 2

_MISUSES: Final = (ConfigError, MalformedIdError)


def show(line: str) -> None:
    """One line for a person. Control characters, which stored text may hold, are shown as escapes."""
    typer.echo("".join(char if char.isprintable() else repr(char)[1:-1] for char in line))


def show_json(answer: Mapping[str, Any] | list[Any]) -> None:
    """One JSON value on one line."""
    typer.echo(json.dumps(answer, allow_nan=False))


def show_failure(error: TfPilotError, *, as_json: bool, subject: str = "") -> None:
    """What went wrong and what to do: as JSON on standard output, else on standard error."""
    if as_json:
        named = {"id": subject} if subject else {}
        show_json({**named, "success": False, "error": error.message, "hint": error.hint})
        return
    for line in (f"{f'{subject}: ' if subject else ''}{error.message}", error.hint):
        if line:
            typer.echo("".join(char if char.isprintable() else repr(char)[1:-1] for char in line), err=True)


def exit_code_of(error: TfPilotError) -> int:
    """2 where the caller must change what was asked or configured, else 1."""
    return MISUSE if isinstance(error, _MISUSES) else FAILED


@contextmanager
def failures_shown(*, as_json: bool) -> Iterator[None]:
    """Ends the command with the failure's exit code where the block fails in a way we expect."""
    try:
        yield
    except TfPilotError as error:
        show_failure(error, as_json=as_json)
        sys.exit(exit_code_of(error))
