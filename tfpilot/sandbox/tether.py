"""Runs a command that ends with the thread that started it, however that ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def command_line(command: Sequence[str]) -> list[str]:
    """What to start instead of `command` (which begins with a full path). The process becomes the command: same pid.

    On Linux it gets SIGTERM when the starting thread ends; elsewhere the command runs as it is.
    """
    return [sys.executable, "-I", __file__, str(os.getpid()), *command]


def _become(command: list[str], *, parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # else it ended before it could be tied to us
        os.execv(command[0], command)  # noqa: S606 - no shell takes part: the command is a list


if __name__ == "__main__":
    _become(sys.argv[2:], parent=int(sys.argv[1]))
