"""The sandbox as a whole: it starts with everything in place, can be used from elsewhere, and leaves nothing behind."""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tfpilot.adapters.s3 import Bucket
from tfpilot.config import load_settings
from tfpilot.sandbox.github import World
from tfpilot.sandbox.run import ADMIN, APPROVER, DEVELOPER, Sandbox, token_of
from tfpilot.sandbox.seed import PLOTS, compose
from tfpilot.sandbox.storage import LocalS3

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def sandbox(s3_server: LocalS3) -> Iterator[Sandbox]:
    """A running sandbox; `s3_server` says where the S3 server is not installed."""
    with Sandbox() as running:
        yield running


def test_the_bucket_holds_the_seeded_world(sandbox: Sandbox) -> None:
    stored = Bucket(sandbox.bucket).list_all("")
    expected = compose(World(clock=sandbox.world.now), now=sandbox.world.now())
    assert sandbox.bucket.name == "tfpilot-requests"
    assert len(stored) == len(expected)
    assert {key for key in stored if key.startswith("requests/")} == {
        key for key in expected if key.startswith("requests/")
    }
    assert len(PLOTS) > 60


@pytest.mark.parametrize("login", [ADMIN, APPROVER, DEVELOPER])
def test_people_sign_in_with_fixed_tokens(sandbox: Sandbox, login: str) -> None:
    answer = httpx.get(f"{sandbox.github_url}/user", headers={"authorization": f"Bearer {token_of(login)}"})
    assert answer.json()["login"] == login


def test_the_portal_has_an_account_of_its_own_and_the_bearer_is_the_admins(sandbox: Sandbox) -> None:
    answer = httpx.get(f"{sandbox.github_url}/user", headers={"authorization": f"Bearer {sandbox.github_token}"})
    assert answer.json()["login"] not in {ADMIN, APPROVER, DEVELOPER}
    assert sandbox.bearer_token == token_of(ADMIN)


def test_everything_listens_on_loopback_only(sandbox: Sandbox) -> None:
    for url in (sandbox.github_url, sandbox.bucket.endpoint_url):
        assert httpx.URL(url).host == "127.0.0.1"


def test_a_shell_gets_what_a_command_needs_from_a_file_that_only_this_user_can_read(sandbox: Sandbox) -> None:
    lines = sandbox.environment_file.read_text().splitlines()
    exported = dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in lines)
    assert all(line.startswith("export ") for line in lines)
    assert exported == sandbox.environment()
    assert stat.S_IMODE(sandbox.environment_file.stat().st_mode) == 0o600


def test_a_command_with_these_variables_works_on_the_sandbox_as_its_admin(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert not settings.sandbox
    assert settings.requests_bucket == sandbox.bucket.name
    assert settings.github_api_url == sandbox.github_url
    assert settings.github_token is not None
    assert settings.github_token.get_secret_value() == token_of(ADMIN)
    assert settings.rights.admins == ADMIN


def test_the_standin_takes_faults_with_the_sandboxs_key_alone(sandbox: Sandbox) -> None:
    url, fault = f"{sandbox.github_url}/_standin/faults", {"kind": "status", "path": "*/pulls/1", "status": 502}
    assert httpx.post(url, json=fault, headers={"X-Standin-Key": "guess"}).status_code == 403
    assert httpx.post(url, json=fault, headers={"X-Standin-Key": sandbox.standin_key}).status_code == 204
    assert httpx.delete(url, headers={"X-Standin-Key": sandbox.standin_key}).status_code == 204


def test_it_starts_anew_on_the_data_of_an_earlier_run_and_leaves_no_credentials_behind(
    s3_server: LocalS3, tmp_path: Path
) -> None:
    with Sandbox(tmp_path / "data") as first:
        bucket = Bucket(first.bucket)
        bucket.put("requests/req_dev_s3_left0ver.json", b"{}", if_match=None)
        github_url, environment_file = first.github_url, first.environment_file
        planted = len(bucket.list_all("")) - 1
    assert not environment_file.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(github_url)
    with Sandbox(tmp_path / "data") as second:
        stored = Bucket(second.bucket).list_all("")
        assert "requests/req_dev_s3_left0ver.json" not in stored
        assert len(stored) == planted


def test_a_temporary_one_is_gone_when_it_ends(s3_server: LocalS3) -> None:
    with Sandbox() as temporary:
        directory = temporary.environment_file.parent
        assert directory.is_dir()
    assert not directory.exists()
