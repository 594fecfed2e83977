"""Dispatching a workflow for a request: who is eligible, what is written, whose run it is (SPEC §6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tfpilot.core.model import RepoRef


@dataclass(frozen=True, slots=True)
class DispatchOrder:
    """What GitHub is asked to start: the workflow file, on which ref, with which inputs."""

    repo: RepoRef
    workflow_file: str
    ref: str
    inputs: Mapping[str, str]


class DispatchOutcome(StrEnum):
    """What one POST came to. REFUSED started nothing; UNKNOWN may have started a run."""

    STARTED = "started"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DispatchAnswer:
    """GitHub's answer to a dispatch. `at`: its time by GitHub's clock. `run_id` and `html_url` only where it started
    and GitHub named the run; `detail` is for a person."""

    outcome: DispatchOutcome
    at: datetime
    run_id: int | None = None
    html_url: str | None = None
    detail: str = ""
