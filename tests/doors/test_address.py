"""The portal does not start where it could not tell who comes in; with local sign-in it serves its own machine only."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from streamlit import config
from streamlit.runtime.context import ContextProxy

from tests.fakes import InMemory
from tfpilot.core.model import Role
from tfpilot.errors import ConfigError, RefusedError
from tfpilot.ui import shell
from tfpilot.ui.sign_in_start import check_start

ROOT = Path(__file__).parents[2]


def refusal(*options: str, **settings: str) -> str:
    """What a portal with these settings says when it refuses to start."""
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port=0", *options]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TFPILOT_", "GITHUB_"))}
    started = subprocess.run(
        command, cwd=ROOT, env=inherited | settings, capture_output=True, text=True, timeout=60, check=False
    )
    assert started.returncode != 0
    return started.stderr


@pytest.mark.parametrize("address", ["0.0.0.0", ""])
def test_the_portal_does_not_start_on_another_address(address: str):
    told = refusal(f"--server.address={address}")
    assert "the portal does not listen on" in told
    assert "STREAMLIT_SERVER_ADDRESS=127.0.0.1" in told


def test_the_portal_does_not_start_with_oidc_or_a_proxy_where_nobody_is_allowed_in():
    with ThreadPoolExecutor() as pool:
        told = list(pool.map(lambda mode: refusal(TFPILOT_AUTH=mode), ("oidc", "proxy")))
    for mode, said in zip(("oidc", "proxy"), told, strict=True):
        assert f"TFPILOT_AUTH={mode} is set, but not who may come in" in said


def test_the_portal_does_not_start_with_oidc_and_no_provider(tmp_path: Path):
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text('[auth]\nclient_id = "portal"\nclient_secret = "hunter2"\n')
    told = refusal(TFPILOT_AUTH="oidc", TFPILOT_ALLOWED_LOGINS="*", HOME=str(tmp_path))
    assert "lacks redirect_uri, cookie_secret, server_metadata_url" in told
    assert "hunter2" not in told


def test_a_header_that_streamlit_would_trust_does_not_go_with_oidc(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFPILOT_AUTH", "oidc")
    monkeypatch.setenv("TFPILOT_ALLOWED_LOGINS", "*")
    option = config.get_option
    trusted = {"server.trustedUserHeaders": {"X-Forwarded-User": "preferred_username"}}
    monkeypatch.setattr("streamlit.config.get_option", lambda name: trusted.get(name) or option(name))
    with pytest.raises(ConfigError, match="does not go with it"):
        check_start()


def test_settings_that_cannot_be_read_are_shown_to_this_machine_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFPILOT_AUTH", "odic")
    monkeypatch.setattr("streamlit.config.get_option", lambda _name: "127.0.0.1")
    check_start()
    monkeypatch.setattr("streamlit.config.get_option", lambda _name: "0.0.0.0")
    with pytest.raises(ConfigError, match="TFPILOT_AUTH: must be"):
        check_start()


def test_a_visitor_from_elsewhere_is_nobody(memory: InMemory, monkeypatch: pytest.MonkeyPatch):
    assert shell.operator().role is Role.ADMIN
    monkeypatch.setattr(ContextProxy, "ip_address", property(lambda _self: "192.0.2.7"))
    with pytest.raises(RefusedError, match=r"192\.0\.2\.7 may not come in"):
        shell.operator()
