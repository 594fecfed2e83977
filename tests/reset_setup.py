"""A dev environment in memory that may be reset, and the operator's way through the wizard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.builders import request
from tests.core.reset_world import NAMED, PLAIN, REQUESTS, document, state_bytes, target
from tests.fakes import InMemory
from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.document import render_document
from tfpilot.core.model import Operator, Role, WorkflowKind
from tfpilot.core.reset_confirm import Acknowledgement, phrase_of, undo_phrase_of
from tfpilot.core.reset_plan import ResetPlan
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.core.terraform import LockMode
from tfpilot.operations.reset import Confirmation, Ended, apply_reset, plan_reset, undo_reset
from tfpilot.operations.reset_views import Choices

ADMIN = Operator("ops-lead", Role.ADMIN)
SECOND = Operator("release-bot", Role.ADMIN)
PLAIN_CHOICES = Choices()
OTHER = "req_dev_other"


@dataclass
class DevEnvironment:
    """Two states, four requests with their index entries (in history nothing, the same, an older and a newer copy),
    and ten requests of others."""

    memory: InMemory
    target: ResetTarget

    def plan(self, choices: Choices = PLAIN_CHOICES, *, operator: Operator = ADMIN) -> ResetPlan:
        return plan_reset(self.memory.edges, self.target.name, choices, operator=operator)

    def apply(
        self, plan: ResetPlan, choices: Choices = PLAIN_CHOICES, *, operator: Operator = ADMIN, **options: Any
    ) -> Ended:
        return apply_reset(self.memory.edges, plan, choices, confirmation_of(plan), operator=operator, **options)

    def undo(self, ended: Ended, *, operator: Operator = ADMIN) -> Ended:
        plan = ended.receipt.plan
        return undo_reset(
            self.memory.edges, ended.receipt.record.reset_id, typed=undo_phrase_of(plan), operator=operator
        )

    def contents(self) -> dict[Any, Any]:
        """Everything outside what a reset, and others, keep for themselves."""
        stores, requests = self.memory.reset_stores, self.memory.bucket.contents()
        kept = {key: value for key, value in requests.items() if not key.startswith(("ops/", "logs/"))}
        states = {key: value for key, value in stores.objects.items() if not key[1].startswith("tfpilot-ops-backup/")}
        return {**kept, **states, **stores.items}


def dev_environment(memory: InMemory, mode: LockMode = LockMode.BOTH) -> DevEnvironment:
    """Fills the memory."""
    chosen = target(mode)
    memory.resets = replace(memory.resets, targets=(chosen,))
    stores = memory.reset_stores
    stores.put_state(chosen, PLAIN.object_key, state_bytes())
    stores.put_state(chosen, NAMED.object_key, state_bytes(3, lineage="other"))
    stores.bucket_tags[chosen.bucket] = {"tfpilot:environment": "dev"}
    stores.versionings[chosen.bucket] = Versioning.ENABLED
    for number, request_id in enumerate(REQUESTS):
        memory.bucket.write(f"requests/{request_id}.json", document(request_id))
        entry = new_entry(WorkflowKind.APPLY, 100 + number, request_id, created_at=memory.clock())
        memory.bucket.write(entry_key(WorkflowKind.APPLY, 100 + number), render_entry(entry))
    _, same, older, newer = REQUESTS
    memory.bucket.write(f"history/{same}.json", document(same))
    memory.bucket.write(f"history/{older}.json", document(older, version=2))
    memory.bucket.write(f"history/{newer}.json", document(newer, version=9))
    for number in range(10):
        other = f"{OTHER}{number}"
        memory.bucket.write(f"requests/{other}.json", render_document(request(other, targetEnvPath="envs/other")))
    return DevEnvironment(memory, chosen)


def confirmation_of(plan: ResetPlan, **changes: Any) -> Confirmation:
    """What a person does to confirm that plan."""
    fields: dict[str, Any] = {
        "digest": digest_of(plan),
        "typed": phrase_of(plan),
        "acknowledged": frozenset(Acknowledgement),
        "reason": "state broken after provider upgrade",
    }
    return Confirmation(**{**fields, **changes})
