"""Signing in for real: a provider, a portal that asks it, and Chromium; and a portal behind a proxy."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Browser, BrowserContext, Page, expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from websockets.sync.client import connect

from tests.browser.conftest import (
    PATIENCE_MS,
    RunningPortal,
    find_free_port,
    settle,
    start_portal,
    wait_until_it_answers,
)
from tests.browser.test_dev_reset import TARGET, go_to_confirm

pytestmark = pytest.mark.browser

COOKIE = "_streamlit_user"
COOKIE_SECRET = "0123456789abcdef0123456789abcdef"
PROXY_SECRET = "a-secret-of-the-proxy"
PEOPLE = {"u-lead": "Ops-Lead", "u-dana": "dev-dana", "u-none": "stranger"}
MINUTE, HOUR = 60, 3600


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of a real OpenID provider."""
    users = [User(sub=sub, claims={"preferred_username": login}) for sub, login in PEOPLE.items()]
    with run_server_in_thread(user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def oidc(portal: RunningPortal, provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a portal that asks the provider."""
    home, port = tmp_path_factory.mktemp("oidc"), find_free_port()
    url = f"http://localhost:{port}"
    secrets = home / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text(
        f'[auth]\nredirect_uri = "{url}/oauth2callback"\ncookie_secret = "{COOKIE_SECRET}"\nclient_id = "portal"\n'
        f'client_secret = "portal-secret"\nserver_metadata_url = "{provider}/.well-known/openid-configuration"\n'
        'client_kwargs = { scope = "openid profile", prompt = "login" }\n'
    )
    settings = {"TFPILOT_AUTH": "oidc", "TFPILOT_ALLOWED_LOGINS": "ops-lead, dev-dana", "HOME": str(home)}
    yield from running(port, home, portal, settings)


@pytest.fixture(scope="module")
def proxied(portal: RunningPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a portal that believes a proxy."""
    settings = {
        "TFPILOT_AUTH": "proxy",
        "TFPILOT_PROXY_HEADER": "X-Forwarded-User",
        "TFPILOT_PROXY_SECRET": PROXY_SECRET,
        "TFPILOT_ALLOWED_LOGINS": "*",
    }
    yield from running(find_free_port(), tmp_path_factory.mktemp("proxied"), portal, settings)


def running(port: int, home: Path, portal: RunningPortal, settings: dict[str, str]) -> Iterator[str]:
    """The address of another portal on the same sandbox, while it runs."""
    log = home / "portal.log"
    own = {"TFPILOT_CACHE_DIR": str(home / "cache"), "TFPILOT_SSE": "none", **settings}
    process = start_portal(port, log, **{**portal.environment, **own})
    try:
        url = f"http://localhost:{port}"
        wait_until_it_answers(f"{url}/readyz", process, log)
        yield url
    finally:
        process.kill()  # what it stands on is another's
        process.wait()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visitor()`: a page in a browser of its own, with the cookies given."""
    contexts: list[BrowserContext] = []

    def come(*cookies: Any) -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        contexts.append(context)
        context.add_cookies(list(cookies))
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        return page

    yield come
    for context in contexts:
        context.close()


def sign_in(page: Page, url: str, sub: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=sub).click()


def cookie_of(page: Page) -> Any:
    return next(cookie for cookie in page.context.cookies() if cookie["name"] == COOKIE)


def cookie(url: str, *, age: int, proven: int | None = None, **changes: Any) -> dict[str, str]:
    """A cookie that this portal signed for Ops-Lead so many seconds ago."""
    at = int(time.time()) - age
    claims = {
        "sub": "u-lead",
        "iat": at,
        "auth_time": int(time.time()) - (age if proven is None else proven),
        "nonce": f"of-{age}-{proven}",
        "preferred_username": "Ops-Lead",
        "origin": url,
        "is_logged_in": True,
        "provider": "default",
        **changes,
    }
    return {"name": COOKIE, "value": signed(json.dumps(claims)), "url": url}


def signed(value: str) -> str:
    return create_signed_value(COOKIE_SECRET, COOKIE, value).decode()


def expect_pages(page: Page) -> None:
    expect(page.get_by_role("textbox", name="Find a request")).to_be_visible()


def expect_no_pages(page: Page, said: str) -> None:
    expect(page.get_by_text(said)).to_be_visible()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    settle(page)
    expect(page.get_by_role("textbox", name="Find a request")).to_have_count(0)


def test_sign_in_leads_to_the_page_asked_for_and_sign_out_ends_every_copy_of_the_cookie(
    oidc: str, portal: RunningPortal, visitor: Callable[..., Page]
):
    expect.set_options(timeout=PATIENCE_MS)
    page = visitor()
    page.goto(f"{oidc}/locks?q=payments")
    expect_no_pages(page, "You then come to the page that you asked for.")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="u-lead").click()
    page.wait_for_url(re.compile(r"/locks\?q=payments"))
    expect(page.get_by_text("Ops-Lead · admin")).to_be_visible()

    copied = cookie_of(page)
    thief = visitor(copied)
    thief.goto(oidc)
    expect_pages(thief)

    page.get_by_role("button", name="Sign out").click()
    page.locator("form button, form input[type=submit]").first.click()  # the provider asks too
    page.wait_for_url(re.compile(re.escape(oidc)))
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert [each["name"] for each in page.context.cookies() if each["name"] == COOKIE] == []
    listed = portal.s3.list_objects_v2(Bucket=portal.bucket, Prefix="ops/signouts/")
    assert listed["KeyCount"] >= 1

    thief.get_by_role("textbox", name="Find a request").fill("req")
    thief.get_by_role("textbox", name="Find a request").press("Enter")
    expect_no_pages(thief, "somebody signed out of it")
    assert "somebody signed out of it" in seen_by(oidc, cookie=copied["value"])


def test_each_login_has_its_role_and_who_is_not_allowed_stays_out(oidc: str, visitor: Callable[..., Page]):
    page = visitor()
    sign_in(page, f"{oidc}/dev_reset", "u-dana")
    expect(page.get_by_text("dev-dana · developer")).to_be_visible()
    expect(page.get_by_role("button", name="Make the plan")).to_be_disabled()
    told = seen_by(oidc, cookie=cookie(oidc, age=0, preferred_username="stranger")["value"])
    assert "The login stranger is not let in" in told
    assert "shell_find" not in told


def test_a_cookie_counts_for_twelve_hours(oidc: str, visitor: Callable[..., Page]):
    assert "shell_find" in seen_by(oidc, cookie=cookie(oidc, age=12 * HOUR - MINUTE)["value"])
    page = visitor(cookie(oidc, age=12 * HOUR + MINUTE))
    page.goto(oidc)
    expect_no_pages(page, "older than 12 hours")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="u-lead").click()
    expect_pages(page)


def test_a_malformed_cookie_is_no_sign_in_and_no_failure(oidc: str):
    values = [
        "x",
        signed("not json"),
        signed("[]"),
        signed("7"),
        signed("chunks-999999999"),
        cookie(oidc, age=0)["value"][:-2],
    ]
    with httpx.Client(base_url=oidc) as client:
        for value in [*values, "\u00ff", '"', "a|b|c"]:
            headers = {"cookie": f"{COOKIE}={value}; {COOKIE}_tokens={value}".encode("latin-1")}
            for path in ("/", "/locks", "/_stcore/health", "/auth/logout", "/auth/login?provider=x", "/oauth2callback"):
                assert client.get(path, headers=headers).status_code < 400, (value, path)
            assert client.get("/api/requests", headers=headers).status_code == 401
    assert "shell_find" in seen_by(oidc, cookie=cookie(oidc, age=0)["value"])
    for value in values:
        told = seen_by(oidc, cookie=value)
        assert "shell_find" not in told
        assert "You then come to" in seen_by(oidc, cookie=value, query="q=x")


def test_a_reset_takes_a_fresh_sign_in(oidc: str, visitor: Callable[..., Page]):
    page = visitor(cookie(oidc, age=MINUTE, proven=11 * MINUTE))
    go_to_confirm(page, oidc)
    expect(page.get_by_text("Sign in again first", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name=f"Reset {TARGET}")).to_be_disabled()
    page.get_by_role("button", name="Sign in again").click()
    page.get_by_role("button", name="u-lead").click()
    page.wait_for_url(re.compile(f"/dev_reset.target={TARGET}"))
    expect(page.get_by_text("Ops-Lead · admin")).to_be_visible()


def seen_by(url: str, *headers: tuple[str, str], cookie: str = "", query: str = "") -> str:
    """Everything that a visitor with these headers, or that cookie, is sent, asking as a browser does."""
    token = httpx.get(f"{url}/_stcore/health").cookies.get("_streamlit_xsrf") or "none"
    sent = [("Cookie", f"_streamlit_xsrf={token}; {COOKIE}={cookie}")] if cookie else []
    stream = f"{url.replace('http', 'ws')}/_stcore/stream"
    told = ""
    with connect(
        stream, origin=url, subprotocols=["streamlit", token], additional_headers=[*headers, *sent], max_size=None
    ) as socket:
        asked = BackMsg()
        asked.rerun_script.query_string = query
        socket.send(asked.SerializeToString())
        while True:
            message = ForwardMsg()
            message.ParseFromString(socket.recv(timeout=PATIENCE_MS / 1000))
            told += str(message)
            if message.WhichOneof("type") == "script_finished":
                return told.replace("\\\\", "")


def test_the_header_of_a_proxy_counts_with_its_secret_alone(proxied: str):
    who = ("X-Forwarded-User", "Ops-Lead")
    assert "shell_find" in (told := seen_by(proxied, who, ("X-TfPilot-Proxy-Secret", PROXY_SECRET)))
    assert "Lead" in told
    for headers in (
        [],
        [who],
        [who, ("X-TfPilot-Proxy-Secret", f"{PROXY_SECRET}x")],
        [("Cookie", "X-Forwarded-User=a")],
    ):
        told = seen_by(proxied, *headers)
        assert "reached only through its proxy" in told
        assert "shell_find" not in told
        assert PROXY_SECRET not in told
