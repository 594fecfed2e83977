"""How the portal signs in at GitHub as an App."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.adapters.github_setup import SOON, outcomes, portal_at, query, scripted, settings
from tfpilot.adapters.github import GitHubEdge, TokenCredential
from tfpilot.adapters.github_auth import AppCredential
from tfpilot.core.model import FactOutcome
from tfpilot.errors import ConfigError, GitHubError

THERE = datetime(2031, 1, 1, tzinfo=UTC)
"""GitHub's clock, years away from ours."""
HEADERS = {"date": format_datetime(THERE, usegmt=True)}


@pytest.fixture(scope="module")
def credential():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return AppCredential(app_id=7, installation_id=42, private_key=pem)


def github(*, lifetime=timedelta(hours=1), refusal=None):
    """GitHub as an App sees it: a numbered token for each POST, an empty list for the rest."""
    given = iter(range(1, 100))

    def answer(heard):
        if heard.method == "POST":
            if refusal is not None:
                return refusal
            token = {"token": f"ghs_{next(given)}", "expires_at": (THERE + lifetime).isoformat()}
            return 201, HEADERS, json.dumps(token).encode()
        if heard.path == "/app":
            return 200, HEADERS, b'{"slug": "tfpilot"}'
        return 200, HEADERS, b"[]"

    return answer


def refused(status: int):
    return status, HEADERS, json.dumps({"message": "Not Found" if status == 404 else "Bad credentials"}).encode()


def test_the_app_proves_itself_for_its_installation_and_asks_with_the_token_it_got(credential):
    with scripted(github()) as server, portal_at(server.url, credential) as portal:
        facts = portal.facts_for(query(), deadline=SOON)
    post, read = server.heard
    signed = post.headers["authorization"].removeprefix("Bearer ")
    assert jwt.decode(signed, options={"verify_signature": False})["iss"] == "7"
    assert post.path == "/app/installations/42/access_tokens"
    assert read.headers["authorization"] == "token ghs_1"
    assert facts.cleanup_pull.outcome is FactOutcome.NOT_FOUND
    assert facts.calls == 2


def test_all_threads_share_one_token(credential):
    with (
        scripted(github()) as server,
        portal_at(server.url, credential) as portal,
        ThreadPoolExecutor(8) as callers,
    ):
        list(callers.map(lambda _: portal.facts_for(query(branch="request/req_dev_1"), deadline=SOON), range(8)))
    assert [heard.method for heard in server.heard].count("POST") == 1
    assert {heard.headers["authorization"] for heard in server.heard if heard.method == "GET"} == {"token ghs_1"}


def test_a_token_is_renewed_some_minutes_before_it_ends(credential):
    with scripted(github(lifetime=timedelta(minutes=4))) as server, portal_at(server.url, credential) as portal:
        for _ in range(2):
            portal.facts_for(query(), deadline=SOON)
    reads = [heard.headers["authorization"] for heard in server.heard if heard.method == "GET"]
    assert reads == ["token ghs_1", "token ghs_2"]


@pytest.mark.parametrize("status", [404, 401, 403])
def test_an_installation_that_is_gone_never_looks_like_a_missing_pull_request(credential, status):
    with scripted(github(refusal=refused(status))) as server, portal_at(server.url, credential) as portal:
        facts = portal.facts_for(query(pr_number=7), deadline=SOON)
    assert {outcomes(facts)[name] for name in ("pull", "reviews", "cleanup_pull")} == {"unauthorized"}
    assert "installation 42" in facts.pull.detail


@pytest.mark.parametrize(
    "odd",
    [
        (201, HEADERS, b"{}"),
        (201, HEADERS, b'{"token": "ghs_1", "expires_at": "later"}'),
        (201, {}, b'{"token": "ghs_1", "expires_at": "2031-01-01T01:00:00Z"}'),
        (201, HEADERS, b"<html>"),
    ],
)
def test_an_answer_without_a_usable_token_is_malformed(credential, odd):
    with scripted(github(refusal=odd)) as server, portal_at(server.url, credential) as portal:
        facts = portal.facts_for(query(), deadline=SOON)
    assert facts.cleanup_pull.outcome is FactOutcome.MALFORMED
    assert [heard.method for heard in server.heard] == ["POST"]


def test_who_we_are_is_the_app(credential):
    with scripted(github()) as server, portal_at(server.url, credential) as portal:
        told = portal.whoami(deadline=SOON)
    assert (told.login, told.at) == ("tfpilot[bot]", THERE)


def test_the_scopes_of_a_classic_token_are_told():
    headers = {**HEADERS, "x-oauth-scopes": "repo, workflow"}
    with scripted(lambda _heard: (200, headers, b'{"login": "maya"}')) as server, portal_at(server.url) as portal:
        assert portal.whoami(deadline=SOON).scopes == ("repo", "workflow")


def test_who_we_are_cannot_be_told_with_a_wrong_token():
    with (
        scripted(lambda _heard: refused(401)) as server,
        portal_at(server.url) as portal,
        pytest.raises(GitHubError) as caught,
    ):
        portal.whoami(deadline=SOON)
    assert caught.value.outcome == "unauthorized"


def test_a_private_key_that_cannot_sign_is_said_at_the_start():
    with pytest.raises(ConfigError) as caught:
        GitHubEdge(settings("http://127.0.0.1:1", AppCredential(7, 42, "-----BEGIN nonsense")))
    assert "nonsense" not in str(caught.value)


def test_secrets_are_not_in_what_is_printed(credential):
    assert credential.private_key not in repr(settings("http://127.0.0.1:1", credential))
    assert "ghp_secret" not in repr(settings("http://127.0.0.1:1", TokenCredential("ghp_secret")))
