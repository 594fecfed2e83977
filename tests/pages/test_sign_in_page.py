"""Signing in: what a visitor sees before, with and after a sign-in, on the pages themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from streamlit.runtime.context import ContextProxy

from tests.builders import NOW, request
from tests.fakes import OUTAGE, InMemory
from tests.pages.conftest import Tab
from tests.pages.test_dev_reset_page import go_to_confirm
from tests.reset_setup import dev_environment
from tfpilot import wiring
from tfpilot.config import Settings
from tfpilot.core.sign_in import SignInMode, sign_in_key

AUTH = {
    "redirect_uri": "http://localhost:8501/oauth2callback",
    "cookie_secret": "0123456789abcdef0123456789abcdef",
    "client_id": "portal",
    "client_secret": "portal-secret",
    "server_metadata_url": "http://localhost:9400/.well-known/openid-configuration",
}
PROXY_SECRET = "a-secret-of-the-proxy"


def portal_with(memory: InMemory, **settings: Any) -> None:
    memory.rights = replace(memory.rights, allowed_logins=frozenset({"ops-lead", "maya-k", "tom-r"}))
    memory.store(request())
    place = wiring.Place(bucket="tfpilot-requests", region="eu-west-2", github_url="https://api.github.com")
    wiring.use(wiring.Portal(memory.edges, Settings.model_construct(**settings), place))


def claims(login: str = "ops-lead", *, age: timedelta = timedelta(0), **changes: Any) -> dict[str, Any]:
    at = int((NOW - age).timestamp())
    return {"is_logged_in": True, "sub": login, "iat": at, "auth_time": at, "preferred_username": login, **changes}


@pytest.fixture
def oidc(memory: InMemory, tab: Tab) -> Tab:
    """A tab of somebody who has not signed in."""
    portal_with(memory, auth=SignInMode.OIDC)
    return signed_in(tab, {"is_logged_in": False})


def signed_in(tab: Tab, told: Mapping[str, Any]) -> Tab:
    tab.at.secrets["auth"] = AUTH
    tab.at.user = dict(told)
    return tab


def another(told: Mapping[str, Any]) -> Tab:
    return signed_in(Tab(), told)


def shows_pages(tab: Tab) -> bool:
    return any(element.key == "shell_find" for element in tab.at.text_input)


def test_who_has_not_signed_in_sees_the_way_in_and_nothing_else(oidc: Tab):
    oidc.open_list(q="something")
    assert not shows_pages(oidc)
    assert [button.label for button in oidc.at.button] == ["Sign in"]
    assert "tfpilot-requests" not in oidc.text
    assert not oidc.at.error
    oidc.at.switch_page("pages/locks.py")
    assert not shows_pages(oidc.look())


@pytest.mark.parametrize(("login", "role"), [("Ops-Lead", "admin"), ("tom-r", "approver"), ("maya-k", "developer")])
def test_who_has_signed_in_is_shown_with_their_role(login: str, role: str, oidc: Tab):
    tab = signed_in(oidc, claims(login)).open_list()
    assert shows_pages(tab)
    assert f"{login} · {role}" in tab.text
    assert tab.has_button("Sign out")


def test_who_is_not_let_in_is_told_so_and_can_be_somebody_else(oidc: Tab):
    tab = signed_in(oidc, claims("stranger")).open_list()
    assert not shows_pages(tab)
    assert "login stranger is not let in" in tab.text
    assert [button.label for button in tab.at.button] == ["Sign in as somebody else", "Sign out"]


def test_who_is_let_in_without_a_login_may_only_look(memory: InMemory, oidc: Tab):
    memory.rights = replace(memory.rights, allowed_logins=frozenset({"*"}))
    wiring.use(replace(wiring.portal(), edges=memory.edges))
    tab = signed_in(oidc, claims(preferred_username=None)).open_list()
    assert "nobody · viewer" in tab.text


@pytest.mark.parametrize(
    "told",
    [
        claims(age=timedelta(hours=12, seconds=1)),
        claims(age=-timedelta(minutes=6)),
        claims(iat=None),
        claims(iat="soon"),
        claims(iat=[1]),
    ],
)
def test_a_sign_in_that_is_too_old_or_strange_is_refused_and_can_be_made_again(told: dict[str, Any], oidc: Tab):
    tab = signed_in(oidc, told).open_list()
    assert not shows_pages(tab)
    assert "Please sign in again" in tab.text
    assert tab.has_button("Sign in")


def test_an_open_tab_ends_with_its_sign_in(memory: InMemory, oidc: Tab):
    tab = signed_in(oidc, claims()).open_list()
    memory.clock.advance(hours=12)
    assert shows_pages(tab.look())
    memory.clock.advance(seconds=1)
    assert not shows_pages(tab.look())


def test_who_signs_out_is_out_and_a_copy_of_the_cookie_counts_for_nothing(memory: InMemory, oidc: Tab):
    told = claims()
    tab, other_tab = signed_in(oidc, told).open_list(), another(told).open_list()
    tab.click("Sign out")
    assert not shows_pages(tab)
    assert f"ops/signouts/{sign_in_key(told)}.json" in memory.bucket.list_all("ops/signouts/")
    assert not shows_pages(other_tab.look())
    copied = another(told).open_list()
    assert not shows_pages(copied)
    assert "somebody signed out of it" in copied.text
    assert shows_pages(another(claims(nonce="a new one")).open_list())


def test_another_process_knows_within_half_a_minute(memory: InMemory, oidc: Tab):
    told = claims()
    tab = signed_in(oidc, told).open_list()
    memory.bucket.write(f"ops/signouts/{sign_in_key(told)}.json", b"{}")
    memory.clock.advance(seconds=29)
    assert shows_pages(tab.look())
    assert not shows_pages(another(told).open_list())
    memory.clock.advance(seconds=1)
    assert not shows_pages(tab.look())


def test_a_bucket_that_does_not_answer_lets_nobody_new_in_and_others_for_five_minutes(memory: InMemory, oidc: Tab):
    tab = signed_in(oidc, claims()).open_list()
    memory.bucket.outage = OUTAGE
    new = another(claims()).open_list()
    assert not shows_pages(new)
    assert "Storage cannot be reached" in new.text
    memory.clock.advance(minutes=4)
    assert shows_pages(tab.look())
    memory.clock.advance(minutes=1)
    assert not shows_pages(tab.look())


def test_a_sign_out_that_cannot_be_stored_is_said_until_it_is(memory: InMemory, oidc: Tab):
    told = claims()
    tab = signed_in(oidc, told).open_list()
    memory.bucket.outage = OUTAGE
    tab.click("Sign out")
    assert not shows_pages(tab)
    assert "could not be stored" in tab.text
    memory.bucket.outage = None
    tab.click("Store it now")
    assert len(memory.bucket.list_all("ops/signouts/")) == 1
    assert "could not be stored" not in tab.text


def test_the_settings_decide_which_claim_is_the_login(memory: InMemory, oidc: Tab):
    portal_with(memory, auth=SignInMode.OIDC, login_claim="github")
    assert "ops-lead · admin" in signed_in(oidc, claims("maya-k", github="ops-lead")).open_list().text


# A fresh sign-in before a reset


@pytest.fixture
def dev(memory: InMemory, oidc: Tab) -> Tab:
    dev_environment(memory)
    portal_with(memory, auth=SignInMode.OIDC)
    return oidc


def test_a_reset_asks_for_a_fresh_sign_in(dev: Tab):
    tab = go_to_confirm(signed_in(dev, claims(age=timedelta(minutes=11))))
    assert "needs a fresh sign-in" in tab.text
    assert tab.has_button("Sign in again")
    assert "Sign in again first." in tab.text
    assert tab.button("Reset payments-dev").disabled


def test_after_a_fresh_sign_in_a_reset_asks_for_the_rest(dev: Tab):
    tab = go_to_confirm(signed_in(dev, claims(age=timedelta(minutes=9))))
    assert not tab.has_button("Sign in again")
    assert "Both sentences have to be true and ticked." in tab.text


def test_who_may_not_reset_has_no_button_for_it(dev: Tab):
    tab = signed_in(dev, claims("maya-k")).open_reset()
    assert tab.button("Make the plan").disabled
    assert "maya-k is a developer and may not reset" in tab.text


# A proxy


@pytest.fixture
def proxy(memory: InMemory, tab: Tab) -> Tab:
    portal_with(memory, auth=SignInMode.PROXY, proxy_header="X-Forwarded-User", proxy_secret=SecretStr(PROXY_SECRET))
    return tab


def with_headers(monkeypatch: pytest.MonkeyPatch, **headers: list[str]) -> None:
    told = {name.replace("_", "-").lower(): values for name, values in headers.items()}
    fake = SimpleNamespace(get_all=lambda name: told.get(name.lower(), []))
    monkeypatch.setattr(ContextProxy, "headers", property(lambda _self: fake))


def test_the_header_of_the_proxy_tells_who_it_is(proxy: Tab, monkeypatch: pytest.MonkeyPatch):
    with_headers(monkeypatch, X_Forwarded_User=["Tom-R"], X_TfPilot_Proxy_Secret=[PROXY_SECRET])
    tab = proxy.open_list()
    assert "Tom-R · approver" in tab.text
    assert not tab.has_button("Sign out")


@pytest.mark.parametrize("secrets", [[], ["wrong"], [PROXY_SECRET, PROXY_SECRET]])
def test_without_the_secret_the_header_counts_for_nothing(
    secrets: list[str], proxy: Tab, monkeypatch: pytest.MonkeyPatch
):
    with_headers(monkeypatch, X_Forwarded_User=["ops-lead"], X_TfPilot_Proxy_Secret=secrets)
    tab = proxy.open_list()
    assert not shows_pages(tab)
    assert "reached only through its proxy" in tab.text
    assert PROXY_SECRET not in tab.text


def test_whom_the_proxy_knows_and_the_settings_do_not_stays_out(proxy: Tab, monkeypatch: pytest.MonkeyPatch):
    with_headers(monkeypatch, X_Forwarded_User=["stranger"], X_TfPilot_Proxy_Secret=[PROXY_SECRET])
    tab = proxy.open_list()
    assert not shows_pages(tab)
    assert "login stranger is not let in" in tab.text
