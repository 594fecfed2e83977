"""Who may dispatch what, and where."""

from __future__ import annotations

import pytest

from tests.builders import REQUEST_ID, request
from tests.dispatch_setup import ADMIN, APPROVER, DEVELOPER, SYSTEM, applied
from tests.fakes import InMemory
from tests.operations.dispatching import destroy
from tfpilot.core.model import Operator, Role, WorkflowKind
from tfpilot.edges import Rights
from tfpilot.errors import MissingRightError, RefusedError
from tfpilot.operations.dispatch import dispatch

DESTROY, CLEANUP = WorkflowKind.DESTROY, WorkflowKind.CLEANUP


@pytest.mark.parametrize("kind", list(WorkflowKind))
@pytest.mark.parametrize("environment", ["dev", "prod"])
@pytest.mark.parametrize(
    ("operator", "may"),
    [
        (Operator("", Role.VIEWER), set()),
        (DEVELOPER, set()),
        (SYSTEM, set()),
        (APPROVER, {WorkflowKind.PLAN, WorkflowKind.APPLY, WorkflowKind.DRIFT_PLAN}),
        (ADMIN, set(WorkflowKind)),
    ],
)
def test_who_may_dispatch_what(memory, kind, environment, operator, may):
    memory.store(request(environment=environment))
    error = RefusedError if kind in may else MissingRightError
    with pytest.raises(error) as refusal:
        dispatch(memory.edges, REQUEST_ID, kind, operator=operator)
    assert isinstance(refusal.value, MissingRightError) == (kind not in may)
    assert memory.bucket.writes == []


@pytest.mark.parametrize(
    ("prod", "destroy_prod", "kind", "may"),
    [
        ((), (), DESTROY, True),
        (("ops-lead",), (), DESTROY, True),
        (("OPS-Lead",), ("Ops-LEAD",), DESTROY, True),
        (("somebody",), (), DESTROY, False),
        (("somebody",), ("ops-lead",), DESTROY, False),
        ((), ("somebody",), DESTROY, False),
        (("ops-lead",), ("somebody",), DESTROY, False),
        ((), ("somebody",), CLEANUP, True),
        ((), ("somebody",), WorkflowKind.APPLY, True),
        (("somebody",), (), CLEANUP, False),
    ],
)
@pytest.mark.parametrize("environment", ["prod", "dev"])
def test_the_lists_of_people_restrict_prod_alone_and_admins_too(prod, destroy_prod, kind, may, environment):
    rights = Rights("ops-lead", "tom-r", frozenset({"dev"}), frozenset(prod), frozenset(destroy_prod))
    memory = InMemory(rights=rights)
    memory.store(request(environment=environment))
    with pytest.raises(RefusedError) as refusal:
        dispatch(memory.edges, REQUEST_ID, kind, operator=ADMIN)
    assert isinstance(refusal.value, MissingRightError) == (environment == "prod" and not may)


def test_a_refusal_by_the_destroy_list_names_it():
    rights = Rights("ops-lead", "", frozenset({"dev"}), frozenset(), frozenset({"somebody"}))
    memory = InMemory(rights=rights)
    memory.store(applied(environment="prod"))
    with pytest.raises(MissingRightError) as refusal:
        destroy(memory)
    assert refusal.value.hint == "TFPILOT_DESTROY_PROD_ALLOWED_USERS names who may."
