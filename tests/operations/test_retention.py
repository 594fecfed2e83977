"""The portal's lifecycle rule is installed only as it was shown, over what was read, and is read back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, REQUEST_ID
from tests.fakes import OUTAGE, InMemory
from tfpilot.adapters.lifecycle import S3Lifecycle
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.bucket_rules import Versioning
from tfpilot.core.model import Operator, Role, WorkflowKind
from tfpilot.core.retention import RULE_ID, Removal
from tfpilot.core.run_index import entry_key, new_entry, render_entry
from tfpilot.errors import ConflictError, MissingRightError, RefusedError, StorageError
from tfpilot.operations.retention import (
    apply_retention,
    plan_retention,
    read_stored_days,
    show_retention,
)

ADMIN = Operator("ops-lead", Role.ADMIN)
LOGS: dict[str, Any] = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}
THEIRS = {"Rules": [LOGS]}


def index(memory: InMemory, *ages: timedelta) -> None:
    """Entries of apply runs that were stored so long ago."""
    now = memory.clock.now
    for run_id, age in enumerate(ages, 1):
        memory.clock.now = now - age
        entry = new_entry(WorkflowKind.APPLY, run_id, REQUEST_ID, created_at=memory.clock.now)
        memory.bucket.write(entry_key(WorkflowKind.APPLY, run_id), render_entry(entry))
    memory.clock.now = now


def test_looking_shows_the_rules_and_what_ours_would_remove(memory: InMemory) -> None:
    memory.lifecycle.store(THEIRS)
    memory.lifecycle.keep_versions(Versioning.ENABLED)
    index(memory, timedelta(days=1), timedelta(days=70), timedelta(days=100))
    retention = show_retention(memory.edges, read_stored_days(memory.edges))
    assert not retention.coverage.is_covered
    assert retention.removals[WorkflowKind.APPLY] == Removal(stored=3, today=1, later=2)
    assert any("delete markers" in notice for notice in retention.notices)
    assert memory.lifecycle.writes == []


def test_looking_tells_what_the_portal_does_not_know(memory: InMemory) -> None:
    memory.lifecycle.stored = replace(memory.lifecycle.stored, configuration=THEIRS, unknown=("Rule/Surprise",))
    assert "Rule/Surprise" in " ".join(show_retention(memory.edges, {}).notices)


def test_a_listing_that_failed_is_an_error_and_no_simulation_of_nothing(memory: InMemory) -> None:
    memory.bucket.outage = OUTAGE
    with pytest.raises(StorageError, match="cannot be listed"):
        read_stored_days(memory.edges)


def test_a_plan_writes_nothing(memory: InMemory) -> None:
    memory.lifecycle.store(THEIRS)
    assert plan_retention(memory.edges).after is not None
    assert memory.lifecycle.writes == []


def test_what_was_planned_is_written_beside_the_other_rules_and_read_back(memory: InMemory) -> None:
    memory.lifecycle.store(THEIRS)
    applied = apply_retention(memory.edges, plan_retention(memory.edges), operator=ADMIN)
    assert (applied.written, applied.coverage.is_covered) == (True, True)
    (stored,) = memory.lifecycle.writes
    assert stored["Rules"][0] == LOGS
    assert stored["Rules"][1]["ID"] == RULE_ID
    assert applied.stored == memory.lifecycle.stored


def test_applying_to_a_covered_bucket_writes_nothing(memory: InMemory) -> None:
    apply_retention(memory.edges, plan_retention(memory.edges), operator=ADMIN)
    again = apply_retention(memory.edges, plan_retention(memory.edges), operator=ADMIN)
    assert (again.written, again.coverage.is_covered) == (False, True)
    assert len(memory.lifecycle.writes) == 1


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER, Role.APPROVER, Role.SYSTEM])
def test_only_an_admin_may_install_the_rule(memory: InMemory, role: Role) -> None:
    plan = plan_retention(memory.edges)
    with pytest.raises(MissingRightError, match="install the lifecycle rule"):
        apply_retention(memory.edges, plan, operator=Operator("somebody", role))
    assert memory.lifecycle.writes == []


def test_a_configuration_that_changed_since_the_plan_is_refused(memory: InMemory) -> None:
    plan = plan_retention(memory.edges)
    memory.lifecycle.store(THEIRS)
    with pytest.raises(RefusedError, match="rule logs is there too"):
        apply_retention(memory.edges, plan, operator=ADMIN)
    assert memory.lifecycle.stored.configuration == THEIRS


def test_versioning_that_changed_since_the_plan_is_refused(memory: InMemory) -> None:
    plan = plan_retention(memory.edges)
    memory.lifecycle.keep_versions(Versioning.ENABLED)
    with pytest.raises(RefusedError, match="versioning is enabled, not never"):
        apply_retention(memory.edges, plan, operator=ADMIN)
    assert memory.lifecycle.writes == []


def test_unknown_elements_that_came_since_the_plan_are_refused(memory: InMemory) -> None:
    plan = plan_retention(memory.edges)
    memory.lifecycle.stored = replace(memory.lifecycle.stored, unknown=("Rule/Surprise",))
    with pytest.raises(RefusedError, match="Rule/Surprise"):
        apply_retention(memory.edges, plan, operator=ADMIN)
    assert memory.lifecycle.writes == []


def test_what_somebody_else_wrote_over_it_is_told_loudly(memory: InMemory) -> None:
    plan = plan_retention(memory.edges)
    memory.lifecycle.interfere = lambda: memory.lifecycle.store(THEIRS)
    with pytest.raises(ConflictError, match=f"rule {RULE_ID} is missing; rule logs is there too"):
        apply_retention(memory.edges, plan, operator=ADMIN)


def test_what_the_portal_does_not_know_and_finds_afterwards_is_told_loudly(memory: InMemory) -> None:
    plan = plan_retention(memory.edges)

    def surprise() -> None:
        memory.lifecycle.stored = replace(memory.lifecycle.stored, unknown=("Rule/Surprise",))

    memory.lifecycle.interfere = surprise
    with pytest.raises(ConflictError, match="Rule/Surprise is there too"):
        apply_retention(memory.edges, plan, operator=ADMIN)


def test_a_bucket_that_shows_the_write_late_is_read_again(memory: InMemory) -> None:
    plan = plan_retention(memory.edges)
    memory.lifecycle.behind = 3
    assert apply_retention(memory.edges, plan, operator=ADMIN).written
    assert memory.clock.now == NOW + timedelta(seconds=7)


def test_a_bucket_that_never_shows_the_write_is_an_error(memory: InMemory) -> None:
    plan = plan_retention(memory.edges)
    memory.lifecycle.behind = 99
    with pytest.raises(ConflictError, match="is not what was written"):
        apply_retention(memory.edges, plan, operator=ADMIN)


def test_an_outage_is_an_error_and_not_an_empty_configuration(memory: InMemory) -> None:
    memory.lifecycle.outage = OUTAGE
    for ask in (lambda: show_retention(memory.edges, {}), lambda: plan_retention(memory.edges)):
        with pytest.raises(StorageError):
            ask()


@pytest.mark.server
def test_on_the_real_server_the_other_rules_mean_the_same_afterwards(memory: InMemory, bucket: Bucket) -> None:
    lifecycle = S3Lifecycle(bucket)
    lifecycle.put(THEIRS)
    edges = replace(memory.edges, lifecycle=lifecycle)
    applied = apply_retention(edges, plan_retention(edges), operator=ADMIN)
    assert (applied.written, applied.coverage.is_covered) == (True, True)
    assert lifecycle.read().configuration["Rules"][0] == LOGS
    assert not apply_retention(edges, plan_retention(edges), operator=ADMIN).written
