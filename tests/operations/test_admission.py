"""Who may come in at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW
from tests.fakes import InMemory
from tests.reset_setup import ADMIN, PLAIN_CHOICES, SECOND, dev_environment
from tfpilot.core.model import Door, Operator, Role
from tfpilot.core.reset_plan_document import digest_of
from tfpilot.errors import GitHubError, MissingRightError, RefusedError
from tfpilot.operations.admission import admit
from tfpilot.operations.reset_approval import approve_plan, ask_for_approval

LONG_AGO = NOW - timedelta(minutes=11)


def letting_in(memory: InMemory, *logins: str, orgs: tuple[str, ...] = ()) -> InMemory:
    memory.rights = replace(memory.rights, allowed_logins=frozenset(logins), allowed_orgs=frozenset(orgs))
    return memory


def test_who_is_let_in_has_the_role_of_their_login_in_any_case(memory: InMemory):
    edges = letting_in(memory, "ops-lead", "tom-r", "maya-k").edges
    roles = {login: admit(edges, login, door=Door.PAGE).role for login in ("OPS-Lead", "Tom-R", "maya-k")}
    assert roles == {"OPS-Lead": Role.ADMIN, "Tom-R": Role.APPROVER, "maya-k": Role.DEVELOPER}


def test_where_the_settings_name_nobody_nobody_comes_in(memory: InMemory):
    for login in ("ops-lead", ""):
        with pytest.raises(MissingRightError):
            admit(memory.edges, login, door=Door.PAGE)


def test_nobody_in_particular_comes_in_where_everybody_does_and_may_only_look(memory: InMemory):
    assert admit(letting_in(memory, "*").edges, "", door=Door.PAGE).role is Role.VIEWER
    with pytest.raises(MissingRightError, match="names no login"):
        admit(letting_in(memory, "ops-lead", orgs=("acme",)).edges, "", door=Door.PAGE)


def test_members_of_any_of_the_organisations_come_in(memory: InMemory):
    letting_in(memory, orgs=("acme", "beta"))
    memory.membership.members = {("beta", "maya-k")}
    assert admit(memory.edges, "Maya-K", door=Door.PAGE).login == "Maya-K"
    with pytest.raises(MissingRightError, match=r"somebody is not let in: .* no member of acme or beta"):
        admit(memory.edges, "somebody", door=Door.PAGE)


def test_a_github_that_cannot_be_asked_lets_nobody_in_but_those_who_are_named(memory: InMemory):
    letting_in(memory, "ops-lead", orgs=("acme",))
    memory.membership.outage = GitHubError("GitHub could not be reached", "Try again later.")
    assert admit(memory.edges, "ops-lead", door=Door.PAGE).role is Role.ADMIN
    with pytest.raises(GitHubError, match="Whether maya-k may come in could not be asked: GitHub could not be reached"):
        admit(memory.edges, "maya-k", door=Door.PAGE)


def on_a_page(operator: Operator, at=LONG_AGO) -> Operator:
    return replace(operator, door=Door.PAGE, signed_in_at=at)


def test_a_reset_takes_a_fresh_sign_in(memory: InMemory):
    dev = dev_environment(memory)
    plan, before = dev.plan(), dev.contents()
    with pytest.raises(RefusedError, match="sign-in of ops-lead is more than 10 minutes old"):
        dev.apply(plan, operator=on_a_page(ADMIN))
    assert dev.contents() == before
    assert dev.apply(plan, operator=on_a_page(ADMIN, at=NOW)).stopped == ""


def test_an_approval_takes_a_fresh_sign_in(memory: InMemory):
    dev = dev_environment(memory)
    memory.rights = replace(memory.rights, admins="ops-lead, release-bot")
    plan = dev.plan()
    ask_for_approval(memory.edges, plan, operator=ADMIN, reason="state broken")
    with pytest.raises(RefusedError, match="sign-in of release-bot is more than 10 minutes old"):
        approve_plan(memory.edges, digest_of(plan), PLAIN_CHOICES, operator=on_a_page(SECOND))
    assert memory.edges.reset_journal.find_approval(digest_of(plan)) is None
    assert approve_plan(memory.edges, digest_of(plan), PLAIN_CHOICES, operator=SECOND).login == "release-bot"
