"""Who may do what: one test per way of saying no (SPEC §8)."""

from __future__ import annotations

import pytest

from tfpilot.core.model import Operator, Role
from tfpilot.core.roles import Right, check_right, role_of
from tfpilot.errors import MissingRightError

DEV, PROD = "dev", "prod"


@pytest.mark.parametrize(
    ("login", "role"),
    [
        ("ops-lead", Role.ADMIN),
        ("OPS-Lead", Role.ADMIN),
        ("tom-r", Role.APPROVER),
        ("both", Role.ADMIN),
        ("maya-k", Role.DEVELOPER),
        ("ops", Role.DEVELOPER),
        ("", Role.VIEWER),
        (None, Role.VIEWER),
    ],
)
def test_a_login_has_the_highest_role_that_names_it(login, role):
    assert role_of(login, admins=" Ops-Lead , both,", approvers="both,TOM-R") is role


def test_with_empty_lists_everybody_is_a_developer():
    assert role_of("maya-k", admins="", approvers=" , ,") is Role.DEVELOPER


def check(role, right=Right.SYNC, environment=DEV, login="maya-k", prod_allowed=()):
    check_right(
        Operator(login, role), right, environment=environment, dev_environments={DEV, "test"}, prod_allowed=prod_allowed
    )


@pytest.mark.parametrize(
    ("role", "environment"),
    [
        (Role.DEVELOPER, DEV),
        (Role.DEVELOPER, "test"),
        (Role.APPROVER, DEV),
        (Role.APPROVER, PROD),
        (Role.ADMIN, PROD),
        (Role.SYSTEM, DEV),
        (Role.SYSTEM, PROD),
    ],
)
def test_who_may_sync(role, environment):
    check(role, environment=environment)


@pytest.mark.parametrize("role", list(Role))
def test_everybody_may_read_everywhere(role):
    check(role, Right.READ, environment=PROD, prod_allowed={"nobody"})


def test_a_viewer_may_not_sync():
    with pytest.raises(MissingRightError, match="maya-k is a viewer"):
        check(Role.VIEWER)
    with pytest.raises(MissingRightError, match="Nobody is a viewer"):
        check(Role.VIEWER, login="")


@pytest.mark.parametrize("environment", [PROD, "staging", "Dev", ""])
def test_a_developer_may_not_sync_outside_the_dev_environments(environment):
    with pytest.raises(MissingRightError, match="counts as prod") as refused:
        check(Role.DEVELOPER, environment=environment)
    assert "approver" in refused.value.hint


@pytest.mark.parametrize("role", [Role.APPROVER, Role.ADMIN])
def test_a_list_of_people_restricts_prod_for_admins_too(role):
    with pytest.raises(MissingRightError, match="not among those") as refused:
        check(role, environment=PROD, prod_allowed={"ada"})
    assert "TFPILOT_PROD_ALLOWED_USERS" in refused.value.hint


def test_a_person_on_the_list_may_write_prod_in_any_case():
    check(Role.APPROVER, environment=PROD, login="Ada", prod_allowed={"aDA"})


def test_the_list_grants_no_role():
    with pytest.raises(MissingRightError, match="developer"):
        check(Role.DEVELOPER, environment=PROD, login="ada", prod_allowed={"ada"})


def test_the_list_does_not_concern_dev_nor_the_portal_itself():
    check(Role.DEVELOPER, environment=DEV, prod_allowed={"ada"})
    check(Role.SYSTEM, environment=PROD, prod_allowed={"ada"})
