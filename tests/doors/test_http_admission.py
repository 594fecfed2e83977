"""Where the settings say who may come in, they count for `/api` too; commands act with the portal's own token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import REQUEST_ID, request
from tests.doors.door_setup import ADMIN, DEVELOPER, Door, Reality, Tfpilot, token_of, use
from tests.doors.test_http import failed
from tests.fakes import InMemory
from tfpilot import wiring
from tfpilot.errors import GitHubError


def letting_in(memory: InMemory, *logins: str, orgs: tuple[str, ...] = ()) -> None:
    memory.rights = replace(memory.rights, allowed_logins=frozenset(logins), allowed_orgs=frozenset(orgs))
    memory.store(request())
    use(memory)


def test_with_no_list_every_token_of_github_may_read(door: Door, memory: InMemory):
    letting_in(memory)
    assert door.get(f"/api/requests/{REQUEST_ID}", token=token_of(DEVELOPER)).status_code == 200


def test_with_a_list_only_its_logins_may(door: Door, memory: InMemory):
    letting_in(memory, ADMIN)
    assert door.get("/api/requests").status_code == 200
    for path in ("/api/requests", f"/api/requests/{REQUEST_ID}", "/api/run-index/audit"):
        assert f"{DEVELOPER} is not let in" in failed(door.get(path, token=token_of(DEVELOPER)), 403)
    failed(door.repair(token=token_of(DEVELOPER)), 403)
    assert memory.bucket.writes == []


def test_members_of_an_organisation_may_and_others_are_told_which(door: Door, memory: InMemory):
    letting_in(memory, orgs=("acme",))
    memory.membership.members = {("acme", DEVELOPER)}
    assert door.get("/api/requests", token=token_of(DEVELOPER)).status_code == 200
    assert "no member of acme" in failed(door.get("/api/requests"), 403)


def test_a_github_that_cannot_tell_lets_nobody_in(door: Door, memory: InMemory):
    letting_in(memory, orgs=("acme",))
    memory.membership.outage = GitHubError("GitHub could not be reached", "Try again later.")
    assert "could not be asked" in failed(door.get("/api/requests"), 503)


@pytest.mark.server
def test_the_membership_is_asked_of_github_with_the_portals_own_token(
    door: Door, reality: Reality, monkeypatch: pytest.MonkeyPatch, tfpilot: Tfpilot
):
    monkeypatch.setenv("TFPILOT_ALLOWED_ORGS", "Acme")
    for login in ("release-bot", ADMIN):
        reality.world.add_member("acme", login)
    assert wiring.portal().settings.github_token is not None
    assert door.get("/api/requests").status_code == 200
    assert f"{DEVELOPER} is not let in" in failed(door.get("/api/requests", token=token_of(DEVELOPER)), 403)
