"""With local sign-in the portal serves the machine it runs on, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from streamlit.runtime.context import ContextProxy

from tfpilot.core.model import Role
from tfpilot.errors import RefusedError
from tfpilot.ui import shell

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("address", ["0.0.0.0", ""])
def test_the_portal_does_not_start_on_another_address(address: str):
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port=0", f"--server.address={address}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TFPILOT_", "GITHUB_"))}
    started = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert started.returncode != 0
    assert "the portal does not listen on" in started.stderr
    assert "STREAMLIT_SERVER_ADDRESS=127.0.0.1" in started.stderr


def test_a_visitor_from_elsewhere_is_nobody(monkeypatch: pytest.MonkeyPatch):
    assert shell.operator().role is Role.ADMIN
    monkeypatch.setattr(ContextProxy, "ip_address", property(lambda _self: "192.0.2.7"))
    with pytest.raises(RefusedError, match=r"192\.0\.2\.7 may not come in"):
        shell.operator()
