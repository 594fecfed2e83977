"""Who belongs to a GitHub organisation."""

from __future__ import annotations

import pytest
from github.Auth import Token

from tests.adapters.github_setup import TOKEN, portal_on, scripted
from tfpilot.adapters import membership
from tfpilot.adapters.github_client import GitHubClient
from tfpilot.adapters.github_transport import Transport, read_retry
from tfpilot.adapters.membership import GitHubMembership
from tfpilot.errors import GitHubError
from tfpilot.sandbox.github import Fault, FaultKind, World


@pytest.fixture
def world():
    world = World()
    world.add_user("portal", token=TOKEN)
    for login in ("portal", "Maya-K"):
        world.add_member("Acme", login)
    world.add_user("outsider")
    return world


@pytest.fixture
def members(world):
    with portal_on(world) as portal:
        yield GitHubMembership(portal.client)


def test_a_member_is_one_whatever_the_case_and_others_are_not(members):
    assert members.is_member("acme", "maya-k")
    assert members.is_member("ACME", "MAYA-K")
    assert not members.is_member("acme", "outsider")
    assert not members.is_member("acme", "never-heard-of")
    assert not members.is_member("another", "maya-k")


def test_what_is_public_only_is_no_membership(world, members):
    world.remove_member("acme", "portal")  # from then on GitHub sends us to the public list
    assert not members.is_member("acme", "maya-k")


def test_github_is_asked_once_in_five_minutes(world, members, monkeypatch):
    for _ in range(3):
        members.is_member("acme", "maya-k")
        members.is_member("acme", "Maya-K")
        members.is_member("acme", "outsider")
    assert len(world.calls) == 2
    monkeypatch.setattr(membership, "REMEMBERED_FOR", membership.REMEMBERED_FOR * 0)
    members.is_member("acme", "somebody")
    world.add_member("acme", "somebody")
    assert members.is_member("acme", "somebody")


@pytest.mark.parametrize("login", ["", "..", "../../user", "a/b", "a b", "a%2fb", "x" * 101, "maya-k?x=1", "*"])
def test_what_cannot_be_a_login_is_no_member_and_nobody_is_asked(world, members, login):
    assert not members.is_member("acme", login)
    assert world.calls == ()


@pytest.mark.parametrize(
    "fault", [Fault(FaultKind.STATUS, status=403), Fault(FaultKind.HTML), Fault(FaultKind.STATUS, status=401)]
)
def test_a_github_that_cannot_tell_is_an_error_and_nothing_is_remembered(world, members, fault):
    world.faults.add(fault)
    with pytest.raises(GitHubError):
        members.is_member("acme", "maya-k")
    world.faults.clear()
    assert members.is_member("acme", "maya-k")


@pytest.mark.parametrize("body", [b'{"message": "welcome"}', b"", b"null"])
def test_an_answer_in_githubs_place_lets_nobody_in(body):
    with scripted(lambda _heard: (200, {}, body)) as server:
        transport = Transport(retry=read_retry())
        members = GitHubMembership(GitHubClient(server.url, Token(TOKEN), transport))
        with pytest.raises(GitHubError):
            members.is_member("acme", "maya-k")
        transport.close()
