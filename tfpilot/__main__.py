"""`python -m tfpilot`."""

from tfpilot.cli import main

main()
