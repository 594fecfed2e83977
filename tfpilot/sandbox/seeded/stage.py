"""Where the seeded requests happen: repositories, workflows, and the objects that end up in the bucket."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tfpilot.adapters.dispatches import render_record
from tfpilot.adapters.keys import dispatch_key
from tfpilot.core.model import DispatchRecord, JsonObject, WorkflowKind
from tfpilot.sandbox.github import Run, World

ORGANISATION: Final = "northwind-infra"
BOT: Final = "tfpilot-bot"
"""The web app's own account: it opens pull requests and dispatches workflows."""
REPOS_EXIST_SINCE: Final = timedelta(days=800)


@dataclass(frozen=True, slots=True)
class Infra:
    """An infra repository as documents name it. `renamed_to`: GitHub knows it by that name now."""

    project: str
    repo: str
    first_pull: int
    renamed_to: str = ""

    @property
    def full_name(self) -> str:
        return f"{ORGANISATION}/{self.repo}"


CORE: Final = Infra("core", "core-terraform", first_pull=371)
PAYMENTS: Final = Infra("payments", "payments-terraform", first_pull=88)
DATA: Final = Infra("data", "data-terraform", first_pull=140)
PLATFORM: Final = Infra("platform", "network-terraform", first_pull=23, renamed_to="platform-terraform")
PAYMENTS_DEV: Final = Infra("payments", "payments-dev-terraform", first_pull=12)
ORDERS: Final = Infra("orders", "orders-terraform", first_pull=31)
INFRAS: Final = (CORE, PAYMENTS, DATA, PLATFORM, PAYMENTS_DEV, ORDERS)

WORKFLOW_FILES: Final[Mapping[WorkflowKind, str]] = {
    WorkflowKind.PLAN: "plan.yml",
    WorkflowKind.APPLY: "apply.yml",
    WorkflowKind.DESTROY: "destroy.yml",
    WorkflowKind.CLEANUP: "cleanup.yml",
    WorkflowKind.DRIFT_PLAN: "drift-plan.yml",
}
_WORKFLOW_NAMES: Final[Mapping[WorkflowKind, str]] = {
    WorkflowKind.PLAN: "Terraform plan",
    WorkflowKind.APPLY: "Terraform apply",
    WorkflowKind.DESTROY: "Terraform destroy",
    WorkflowKind.CLEANUP: "Terraform cleanup",
    WorkflowKind.DRIFT_PLAN: "Terraform drift plan",
}


class Stage:
    """GitHub, the instant the stories lead up to, and what the bucket will hold: `objects`, by key."""

    def __init__(self, world: World, now: datetime) -> None:
        self.world = world
        self.now = now
        self.objects: dict[str, bytes] = {}
        self._run_ids = itertools.count(7_309_980_017, 53)
        self._runs: dict[tuple[str, WorkflowKind], Run] = {}
        for infra in INFRAS:
            self._build(infra)

    def keep(self, key: str, value: JsonObject) -> None:
        """The value becomes a JSON object of the bucket, as the web app indents it."""
        self.objects[key] = json.dumps(value, indent=2, ensure_ascii=False).encode()

    def keep_compact(self, key: str, value: JsonObject) -> None:
        """As `keep`, on one line: how index entries are written."""
        self.objects[key] = json.dumps(value, separators=(",", ":")).encode()

    def keep_dispatch(self, record: DispatchRecord) -> None:
        """This portal's own record of a dispatch."""
        self.keep(dispatch_key(record.request_id, record.nonce), render_record(record))

    def drop(self, key: str) -> None:
        """The object was never written."""
        del self.objects[key]

    def next_pull(self, infra: Infra) -> int:
        """The number of the repository's next pull request."""
        pulls = self.world.pulls(self.world.repo(infra.full_name))
        return max((pull.number for pull in pulls), default=infra.first_pull - 1) + 1

    def next_run_id(self) -> int:
        return next(self._run_ids)

    def remember(self, request_id: str, kind: WorkflowKind, run: Run) -> None:
        """The run is this request's latest of its kind."""
        self._runs[request_id, kind] = run

    def run_of(self, request_id: str, kind: WorkflowKind) -> Run:
        """The latest run that a story told before had of that kind, as GitHub has it now."""
        return self.world.run(self._runs[request_id, kind].id)

    def rename_repos(self) -> None:
        """Renames on GitHub what was renamed after all these requests were made."""
        for infra in INFRAS:
            if infra.renamed_to:
                self.world.rename_repo(infra.full_name, to=f"{ORGANISATION}/{infra.renamed_to}")

    def _build(self, infra: Infra) -> None:
        self.world.add_repo(infra.full_name, at=self.now - REPOS_EXIST_SINCE)
        for kind, file in WORKFLOW_FILES.items():
            self.world.add_workflow(infra.full_name, file, name=_WORKFLOW_NAMES[kind], run_name=_run_name(kind))


def _run_name(kind: WorkflowKind) -> str:
    return f"{kind.value} ${{{{ inputs.request_id }}}} (${{{{ inputs.environment }}}})"
