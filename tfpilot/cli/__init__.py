"""The commands: `python -m tfpilot …`. Each reads its arguments, calls one operation and prints the answer.

Exit codes: 0 done, 1 failed, 2 misuse.
"""

from __future__ import annotations

from tfpilot.cli.app import main

__all__ = ["main"]
