"""The portal's commands in processes of their own, on a dev environment; and real Terraform in it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.doors.door_setup import environment_of
from tests.reality.real_dev import RealDev
from tests.terraform_cli import Outcome, Terraform, write_config
from tfpilot.core.terraform import DEFAULT_WORKSPACE

ROOT = Path(__file__).parents[2]
RESOURCES = {"queue": "payments", "topics": ["a", {"name": "b"}]}
TIMEOUT_SECONDS = 120
REASON = "state broken after provider upgrade"


@dataclass
class Commands:
    """`python -m tfpilot reset …` as the admin ops-lead. What it needs of the environment is in `directory`."""

    dev: RealDev
    github_url: str
    directory: Path

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._targets.write_text(targets_toml(self.dev))

    def ask(self, *arguments: str, code: int = 0) -> Any:
        """What the command answers with `--json`; it must end with that code."""
        ended = subprocess.run(
            self._line(*arguments, "--json"),
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert ended.returncode == code, ended.stderr + ended.stdout
        return json.loads(ended.stdout)

    def apply(self, plan: Any, *more: str, code: int = 0) -> Any:
        """Carries out a plan that a command printed."""
        return self.ask(*apply_arguments(plan), *more, code=code)

    def undo(self, reset_id: str) -> Any:
        """Looks at the undo first, as a person would."""
        preview = self.ask("undo", reset_id)
        assert all(step["free"] for step in preview["steps"])
        return self.ask("undo", reset_id, "--type", preview["phrase"])

    @contextmanager
    def held(self, *arguments: str) -> Iterator[Held]:
        """A command that stands still where it tells of its first step, for nobody reads what it prints."""
        reading, writing = os.pipe()
        process = None
        try:
            _fill(writing)
            process = subprocess.Popen(
                self._line(*arguments), cwd=ROOT, env=self._environment, stdout=writing, stderr=subprocess.STDOUT
            )
            os.close(writing)
            with os.fdopen(reading, "rb") as output:
                yield Held(process, output)
        finally:
            if process is not None:
                process.kill()
                process.wait()

    def _line(self, *arguments: str) -> Sequence[str]:
        return [sys.executable, "-m", "tfpilot", "reset", *arguments]

    @property
    def _targets(self) -> Path:
        return self.directory / "targets.toml"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **environment_of(self.dev.requests, self.github_url),
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "TFPILOT_SSE": "none",
            "TFPILOT_CACHE_DIR": str(self.directory / "cache"),
            "TFPILOT_RESET_TARGETS": str(self._targets),
            "AWS_ENDPOINT_URL_DYNAMODB": self.dev.dynamodb_endpoint,
        }


@dataclass
class Held:
    """A command that stands still."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def end(self) -> str:
        """Lets it go on to its end, which must be a good one. What it printed."""
        told = self.output.read().replace(b"\0", b"").decode()
        assert self.process.wait(TIMEOUT_SECONDS) == 0, told
        return told


def _fill(writing: int) -> None:
    """Leaves no room in a pipe, with what is no text."""
    size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, b"\0" * size)


def apply_arguments(plan: Any) -> tuple[str, ...]:
    """What it takes to carry out a plan that a command printed."""
    acknowledged = ("--acknowledge", "resources", "--acknowledge", "people")
    confirmed = ("--digest", plan["digest"], "--type", plan["phrase"], "--reason", REASON)
    return ("apply", plan["binding"]["target"]["name"], *confirmed, *acknowledged)


def targets_toml(dev: RealDev) -> str:
    """The file that TFPILOT_RESET_TARGETS names."""
    target = dev.target
    fields = {
        "name": target.name,
        "environment": target.environment,
        "repo": str(target.repo),
        "state_bucket": target.bucket,
        "lock_mode": target.lock_mode.value,
        **({"lock_table": target.lock_table} if target.lock_table else {}),
    }
    lines = ["[[targets]]", *_lines(fields)]
    for state in target.states:
        lines += ["[[targets.states]]", *_lines({"key": state.key, "target_env_path": state.env_path})]
        lines += _lines({"workspace": state.workspace}) if state.workspace != DEFAULT_WORKSPACE else []
    return "\n".join(lines) + "\n"


def _lines(fields: dict[str, str]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in fields.items()]


def terraform_in(dev: RealDev, directory: Path, *, more: str = "", **resources: object) -> Terraform:
    """Terraform in a directory where it never was, with the configuration of the environment's one state."""
    [state] = dev.states
    write_config(
        directory,
        bucket=dev.state_bucket,
        key=state.key,
        mode=dev.mode,
        table=dev.table,
        s3_endpoint=dev.requests.endpoint_url or "",
        dynamodb_endpoint=dev.dynamodb_endpoint,
        access_key=dev.requests.access_key or "",
        secret_key=dev.requests.secret_key or "",
        resources=resources or RESOURCES,
        more=more,
    )
    workspace = {} if state.workspace == DEFAULT_WORKSPACE else {"TF_WORKSPACE": state.workspace}
    return Terraform(directory, workspace)


def succeeded(outcome: Outcome) -> None:
    assert outcome.rc == 0, outcome.output


def reset_ids(dev: RealDev) -> list[str]:
    """The ids of the resets that were begun."""
    folders = dev.bucket.list_folders("ops/resets/")
    return [folder.removeprefix("ops/resets/").rstrip("/") for folder in folders]
