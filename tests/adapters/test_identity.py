"""Whose a bearer token is."""

from __future__ import annotations

import pytest

from tests.adapters.github_setup import scripted
from tfpilot.adapters import identity
from tfpilot.adapters.identity import GitHubIdentity
from tfpilot.errors import GitHubError, SignatureError
from tfpilot.sandbox.github import Fault, FaultKind, World, serve


@pytest.fixture
def world():
    world = World()
    world.add_user("maya", token="ghp_maya")
    world.add_user("lia", token="ghp_lia")
    return world


@pytest.fixture
def known(world):
    with serve(world) as stand_in:
        identity = GitHubIdentity(stand_in.url)
        yield identity
        identity.close()


def test_a_token_belongs_to_its_login(known):
    assert (known.login_of("ghp_maya"), known.login_of("ghp_lia")) == ("maya", "lia")


def test_github_is_asked_once_a_minute_for_each_token(world, known):
    for _ in range(3):
        known.login_of("ghp_maya")
        known.login_of("ghp_lia")
    assert len(world.calls) == 2


def test_after_a_minute_github_is_asked_again(world, known, monkeypatch):
    monkeypatch.setattr(identity, "REMEMBERED_FOR", identity.REMEMBERED_FOR * 0)
    known.login_of("ghp_maya")
    world.add_user("maya", token="ghp_other")
    with pytest.raises(SignatureError):
        known.login_of("ghp_maya")


def test_a_token_that_github_does_not_know_is_refused_and_not_asked_again(world, known):
    for _ in range(3):
        with pytest.raises(SignatureError) as caught:
            known.login_of("ghp_guess")
    assert "ghp_guess" not in caught.value.message + caught.value.hint
    assert len(world.calls) == 1


@pytest.mark.parametrize("token", ["", " ", "two words", "line\nbreak", "caf\u00e9", "x" * 2000])
def test_what_cannot_be_a_token_is_refused_without_asking(world, known, token):
    with pytest.raises(SignatureError):
        known.login_of(token)
    assert world.calls == ()


@pytest.mark.parametrize("fault", [Fault(FaultKind.STATUS, status=403), Fault(FaultKind.HTML), Fault(FaultKind.EMPTY)])
def test_a_github_that_cannot_tell_is_an_error_and_nothing_is_remembered(world, known, fault):
    world.faults.add(fault)
    with pytest.raises(GitHubError):
        known.login_of("ghp_maya")
    world.faults.clear()
    assert known.login_of("ghp_maya") == "maya"


def test_only_the_newest_tokens_are_remembered(monkeypatch):
    monkeypatch.setattr(identity, "_MOST_REMEMBERED", 2)
    with scripted(lambda _heard: (200, {}, b'{"login": "maya"}')) as server:
        known = GitHubIdentity(server.url)
        for token in ("one", "two", "three", "three", "one"):
            known.login_of(token)
        known.close()
    assert [heard.headers["authorization"] for heard in server.heard] == [
        "token one",
        "token two",
        "token three",
        "token one",
    ]
