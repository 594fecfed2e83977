"""Terraform's side of the seeded dev environments: which of them may be reset, their states, digests and locks.

`payments-dev` can be reset at once. `orders-dev` can as soon as somebody releases the lock that a cancelled run left
behind. `ledger-dev` is in use: requests and runs are under way, a person holds one of its states, and the lock of the
other is one that Terraform itself cannot release.
"""

from __future__ import annotations

import json
import tomllib
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tfpilot.core.model import WorkflowKind
from tfpilot.core.reset_target import ResetTarget, parse_targets
from tfpilot.core.terraform import digest_id, lock_id, lockfile_key, md5_of
from tfpilot.sandbox.github import World
from tfpilot.sandbox.seeded import resources
from tfpilot.sandbox.seeded.resources import TERRAFORM_VERSION, render_state, terraform_data
from tfpilot.sandbox.seeded.settled import CUT_OFF

TARGETS: Final = """\
# What may be reset in the sandbox. docs/DEV_RESET.md says what the fields mean.

[[targets]]
name = "payments-dev"
environment = "dev"
repo = "northwind-infra/payments-dev-terraform"
state_bucket = "tfpilot-tfstate-payments-dev"
lock_mode = "lockfile"

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"
workspace = "blue"

[[targets]]
name = "orders-dev"
environment = "dev"
repo = "northwind-infra/orders-terraform"
state_bucket = "tfpilot-tfstate-orders-dev"
lock_mode = "dynamodb"
lock_table = "tfpilot-locks-dev"

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"

[[targets]]
name = "ledger-dev"
environment = "dev"
repo = "northwind-infra/payments-terraform"
state_bucket = "tfpilot-tfstate-ledger-dev"
lock_mode = "both"
lock_table = "tfpilot-locks-dev"

[[targets.states]]
key = "dev/terraform.tfstate"
target_env_path = "envs/dev"

[[targets.states]]
key = "dev/reporting/terraform.tfstate"
target_env_path = "envs/dev"
"""
"""The file that TFPILOT_RESET_TARGETS names."""

MAIN: Final = "dev/terraform.tfstate"
BLUE: Final = f"env:/blue/{MAIN}"
REPORTING: Final = "dev/reporting/terraform.tfstate"
PERSON: Final = "lena@laptop-17"
PERSON_HOLDS_FOR: Final = timedelta(minutes=80)
RUNNER: Final = "runner@fv-az812-44"

_RUNNER_LOCKS_AFTER: Final = timedelta(seconds=40)
_NANOSECONDS: Final = "418273951"
"""Terraform tells the time of a lock that precisely."""

Item = Mapping[str, str]
"""One item of a lock table: its attributes, all of them texts."""


@dataclass(frozen=True, slots=True)
class TerraformSeed:
    """What the state buckets hold, by bucket and key, and the lock tables, by table."""

    targets: tuple[ResetTarget, ...]
    objects: Mapping[str, Mapping[str, bytes]]
    items: Mapping[str, Sequence[Item]]


def compose_states(world: World, *, now: datetime) -> TerraformSeed:
    """Everything that Terraform left behind, of the stories that `world` was told before.

    The same world and `now` give the same bytes.
    """
    targets = {target.name: target for target in parse_targets(tomllib.loads(TARGETS))}
    stores = _Stores()
    for (name, key), content in _states().items():
        stores.keep(targets[name], key, content)
    orders, ledger = targets["orders-dev"], targets["ledger-dev"]
    cut_off_at = _start_of(world, orders, WorkflowKind.APPLY, CUT_OFF)
    stores.lock(orders, MAIN, who=RUNNER, operation="OperationTypeApply", at=cut_off_at + _RUNNER_LOCKS_AFTER)
    stores.lock(ledger, MAIN, who=PERSON, operation="OperationTypePlan", at=now - PERSON_HOLDS_FOR)
    stores.lock_for_nobody(ledger, REPORTING)
    return TerraformSeed(tuple(targets.values()), stores.objects, stores.items)


def _states() -> Mapping[tuple[str, str], bytes]:
    """By target and key."""
    payments = terraform_data(resources.PAYMENTS, of="payments-dev")
    blue = terraform_data(resources.PAYMENTS_BLUE, of="payments-dev blue")
    return {
        ("payments-dev", MAIN): render_state(payments, name="payments-dev", serial=14),
        ("payments-dev", BLUE): render_state(blue, name="payments-dev blue", serial=3),
        ("orders-dev", MAIN): render_state(resources.orders(), name="orders-dev", serial=27),
        ("ledger-dev", MAIN): render_state(resources.ledger(), name="ledger-dev", serial=61),
        ("ledger-dev", REPORTING): render_state(resources.reporting(), name="ledger-dev reporting", serial=5),
    }


class _Stores:
    """Buckets and tables as Terraform leaves them, in the lock mode of each target."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, bytes]] = defaultdict(dict)
        self.items: dict[str, list[Item]] = defaultdict(list)

    def keep(self, target: ResetTarget, key: str, content: bytes) -> None:
        """An apply stored the state, and its digest."""
        self.objects[target.bucket][key] = content
        if target.lock_mode.has_table:
            digest = {"LockID": digest_id(target.bucket, key), "Digest": md5_of(content)}
            self.items[target.lock_table].append(digest)

    def lock(self, target: ResetTarget, key: str, *, who: str, operation: str, at: datetime) -> None:
        """Somebody took the lock, and did not release it."""
        path = lock_id(target.bucket, key)
        info = {
            "ID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://sandbox.invalid/{path}")),
            "Operation": operation,
            "Info": "",
            "Who": who,
            "Version": TERRAFORM_VERSION,
            "Created": f"{at:%Y-%m-%dT%H:%M:%S}.{_NANOSECONDS}Z",
            "Path": path,
        }
        content = json.dumps(info, separators=(",", ":"))
        if target.lock_mode.has_table:
            self.items[target.lock_table].append({"LockID": path, "Info": content})
        if target.lock_mode.has_lockfile:
            self.objects[target.bucket][lockfile_key(key)] = content.encode()

    def lock_for_nobody(self, target: ResetTarget, key: str) -> None:
        """A script that was to take the lock left out who it is for."""
        self.items[target.lock_table].append({"LockID": lock_id(target.bucket, key)})


def _start_of(world: World, target: ResetTarget, kind: WorkflowKind, request_id: str) -> datetime:
    """When that run of the request began. Raises LookupError where the world has none."""
    title = f"{kind.value} {request_id} ({target.environment})"
    for run in world.runs(world.repo(str(target.repo))):
        if run.title == title:
            return run.created_at
    raise LookupError(f"{target.repo} has no run {title!r}")
