"""Settings of the sign-in: what must be set before anybody is served."""

from __future__ import annotations

from typing import Any

import pytest

from tfpilot.config import check_provider, check_sign_in, load_settings
from tfpilot.config.sign_in import CALLBACK
from tfpilot.errors import ConfigError

SECTION = {
    "redirect_uri": "https://ops.example.com/oauth2callback",
    "cookie_secret": "0123456789abcdef0123456789abcdef",
    "client_id": "portal",
    "client_secret": "hunter2",
    "server_metadata_url": "https://login.example.com/.well-known/openid-configuration",
}
PROXY = {"TFPILOT_PROXY_HEADER": "X-Forwarded-User", "TFPILOT_PROXY_SECRET": "0123456789abcdef"}


pytestmark = pytest.mark.usefixtures("bare_environment")


def check(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check_sign_in(load_settings())


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check(monkeypatch, **variables)
    return caught.value


def provider_refusal(section: dict[str, Any] | None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        check_provider(section)
    told = f"{caught.value.message} {caught.value.hint}"
    for value in (section or {}).values():
        assert len(str(value)) < 2 or str(value) == CALLBACK or str(value) not in told
    return caught.value


def test_local_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch)


@pytest.mark.parametrize("mode", ["oidc", "proxy"])
def test_with_nobody_allowed_the_portal_is_not_set_up(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(monkeypatch, TFPILOT_AUTH=mode, **PROXY)
    assert f"TFPILOT_AUTH={mode} is set, but not who may come in" in error.message
    assert "TFPILOT_ALLOWED_LOGINS=*" in error.hint


@pytest.mark.parametrize(
    "allowed", [{"TFPILOT_ALLOWED_LOGINS": "*"}, {"TFPILOT_ALLOWED_LOGINS": "maya-k"}, {"TFPILOT_ALLOWED_ORGS": "acme"}]
)
def test_either_list_is_enough(allowed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, TFPILOT_AUTH="oidc", **allowed)
    check(monkeypatch, TFPILOT_AUTH="proxy", **allowed, **PROXY)


def test_logins_and_orgs_count_whatever_their_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFPILOT_ALLOWED_LOGINS", "Maya-K, ines")
    monkeypatch.setenv("TFPILOT_ALLOWED_ORGS", "Acme")
    rights = load_settings().rights
    assert (rights.allowed_logins, rights.allowed_orgs) == ({"maya-k", "ines"}, {"acme"})


@pytest.mark.parametrize("missing", [["TFPILOT_PROXY_HEADER"], ["TFPILOT_PROXY_SECRET"], list(PROXY)])
def test_a_proxy_needs_its_header_and_its_secret(missing: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: value for name, value in PROXY.items() if name not in missing}
    error = refusal(monkeypatch, TFPILOT_AUTH="proxy", TFPILOT_ALLOWED_LOGINS="*", **given)
    assert " and ".join(missing) in error.message


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TFPILOT_AUTH", "odic", "must be 'local', 'proxy' or 'oidc'"),
        ("TFPILOT_PROXY_SECRET", "fifteen-letters", "at least 16"),
        ("TFPILOT_PROXY_SECRET", "sixteen letters!", "one word"),
        ("TFPILOT_PROXY_HEADER", "X Forwarded", "must be the name of a header"),
        ("TFPILOT_PROXY_HEADER", "x-tfpilot-proxy-secret", "that the proxy alone sets"),
        ("TFPILOT_PROXY_HEADER", "Cookie", "that the proxy alone sets"),
        ("TFPILOT_LOGIN_CLAIM", "a claim", "must be the name of a claim"),
        ("TFPILOT_ALLOWED_LOGINS", ",", "names nobody"),
        ("TFPILOT_ALLOWED_ORGS", "acme/infra", "must name GitHub organisations"),
        ("TFPILOT_ALLOWED_ORGS", "*", "must name GitHub organisations"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(monkeypatch, **{variable: value}).message
    assert variable in message
    assert said in message
    assert "SECRET" not in variable or value not in message


def test_the_secret_of_the_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFPILOT_PROXY_SECRET", "plugh-plugh-plugh")
    assert "plugh" not in repr(load_settings())


def test_a_complete_section_of_the_provider_passes() -> None:
    check_provider(SECTION)
    check_provider(
        {
            **SECTION,
            "redirect_uri": "http://localhost:{port}/oauth2callback",
            "server_metadata_url": "http://127.0.0.1:9400/x",
        }
    )


@pytest.mark.parametrize("section", [None, {}])
def test_without_a_section_of_the_provider_that_is_said(section: dict[str, Any] | None) -> None:
    error = provider_refusal(section)
    assert "no section [auth]" in error.message
    assert "docs/SIGN_IN.md" in error.hint


@pytest.mark.parametrize("name", list(SECTION))
@pytest.mark.parametrize("value", [None, "", " ", 7])
def test_what_the_section_lacks_is_named(name: str, value: Any) -> None:
    given = {**SECTION, name: value} if value is not None else {key: SECTION[key] for key in SECTION if key != name}
    assert provider_refusal(given).message == f"The section [auth] of Streamlit's secrets lacks {name}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cookie_secret", "0123456789abcdef0123456789abcde"),
        ("redirect_uri", "https://ops.example.com/elsewhere"),
        ("redirect_uri", "http://ops.example.com/oauth2callback"),
        ("redirect_uri", "/oauth2callback"),
        ("redirect_uri", "https://[ops/oauth2callback"),
        ("server_metadata_url", "http://login.example.com/x"),
    ],
)
def test_what_would_not_be_safe_is_refused_without_its_value(name: str, value: str) -> None:
    assert name in provider_refusal({**SECTION, name: value}).message
