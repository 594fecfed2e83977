"""What stands before pages and routes: ids, names of the host, TLS, sizes, how often one may ask, and who asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest
import streamlit
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.builders import REQUEST_ID, request, stuck_planning, with_pull
from tests.doors.door_setup import (
    ADMIN,
    APPROVER,
    DEVELOPER,
    UNHURRIED,
    Door,
    Reality,
    plan_succeeded,
    served,
    token_of,
    wait_until,
)
from tests.fakes import InMemory
from tests.webhook_payloads import merged_payload, sign
from tfpilot import log, wiring
from tfpilot.adapters import remembered
from tfpilot.config import DoorRules
from tfpilot.core.delivery import MAX_BODY_BYTES as MOST_DELIVERED
from tfpilot.http import guards, routes
from tfpilot.http.body_limits import MAX_BODY_BYTES
from tfpilot.http.middleware import INLINE_SCRIPT
from tfpilot.http.paths import WEBHOOK

SYNC = f"/api/requests/{REQUEST_ID}/sync?repair=1"
HSTS = "strict-transport-security"


async def page(_request: object) -> Response:
    """As one of Streamlit's answers: with cookies that say nothing of TLS."""
    answer = Response("page")
    answer.set_cookie("_streamlit_user", "x", httponly=True)
    answer.set_cookie("already", "x", secure=True)
    return answer


@contextmanager
def door_with(rules: DoorRules) -> Iterator[Door]:
    """A door of its own, with nobody counted yet."""
    app = Starlette(routes=[*routes, Route("/page", page)], middleware=guards(rules))
    with served(app) as url, httpx.Client(timeout=30, verify=False) as client:
        yield Door(url, client)


@pytest.fixture
def own_door() -> Iterator[Door]:
    with door_with(UNHURRIED) as door:
        yield door


def refused(answer: httpx.Response, status: int) -> str:
    """The error of a refusal, which is JSON with a hint and the id of the request."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["success"] is False
    assert told["hint"]
    assert told["requestId"] == answer.headers["x-request-id"]
    return told["error"]


# Ids


@pytest.mark.parametrize("path", ["/healthz", "/api/requests", "/api/nothing", f"/api/requests/{REQUEST_ID}", "/x"])
def test_every_answer_has_an_id_the_callers_own_where_it_can_be_one(path: str, door: Door, memory: InMemory):
    assert door.get(path, headers={"X-Request-Id": "ci.run-7_b"}).headers["x-request-id"] == "ci.run-7_b"
    made = {door.get(path).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize("given", ["", "x" * 65, "two words", 'a"b', "a;b", "a/b", "<b>", b"caf\xe9", b"\xd9\xa3"])
def test_what_cannot_be_an_id_is_replaced(given, door: Door, memory: InMemory):
    made = door.get("/api/nothing", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)


def test_a_failure_tells_its_id_and_so_does_the_log(door: Door, memory: InMemory, capfd):
    log.configure("INFO")
    refused(door.get("/api/requests", token=None, headers={"X-Request-Id": "asked-1"}), 401)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "refused" in line]
    assert [line["http_request_id"] for line in lines] == ["asked-1"]


def test_the_log_of_a_repair_and_of_a_delivery_carries_the_id_of_its_request(door: Door, memory: InMemory, capfd):
    log.configure("INFO")
    memory.store(with_pull(stuck_planning()))
    memory.github.answers[REQUEST_ID] = plan_succeeded
    door.post(SYNC, headers={"X-Request-Id": "repair-1"})
    deliver(door, **{"X-Request-Id": "delivery-1"})
    ids: dict[str, str] = {}

    def is_told() -> bool:
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
        ids.update({line["event"]: line.get("http_request_id", "") for line in lines})
        return "delivery handled" in ids  # which is told after the answer

    wait_until(is_told)
    assert (ids["request written"], ids["delivery handled"]) == ("repair-1", "delivery-1")


# Names of the host


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8501", "[::1]:8501", "LOCALHOST:1"])
def test_by_default_the_portal_answers_by_the_names_of_this_machine(host: str, own_door: Door, memory: InMemory):
    for path in ("/page", "/api/requests"):
        assert own_door.get(path, headers={"host": host}).is_success


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "192.0.2.7", "", "a b"])
def test_under_any_other_name_nothing_is_told_and_nothing_done(host: str, own_door: Door, memory: InMemory):
    memory.store(stuck_planning())
    for path in ("/page", "/api/requests", SYNC):
        assert "this name" in refused(own_door.post(path, headers={"host": host}), 400)
    assert memory.stored(REQUEST_ID) == stuck_planning()


def test_probes_are_answered_by_any_name(own_door: Door, memory: InMemory):
    memory.snapshots.refresh()
    for path in ("/healthz", "/readyz"):
        assert own_door.get(path, headers={"host": "10.0.0.7:8501"}, token=None).is_success


def test_the_names_are_those_of_the_setting(memory: InMemory, monkeypatch):
    monkeypatch.setenv("TFPILOT_ALLOWED_HOSTS", "portal.example.com, *.ops.example.com")
    with door_with(wiring.door_rules()) as door:
        status = {
            host: door.get("/page", headers={"host": host}).status_code
            for host in ("portal.example.com", "a.ops.example.com", "ops.example.com.evil", "localhost")
        }
    assert list(status.values()) == [200, 200, 400, 400]


def test_every_name_is_allowed_only_where_that_is_written_out(memory: InMemory, monkeypatch):
    monkeypatch.setenv("TFPILOT_ALLOWED_HOSTS", "*")
    with door_with(wiring.door_rules()) as door:
        assert door.get("/page", headers={"host": "anything.example"}).is_success


@pytest.mark.parametrize("name", ["TFPILOT_ALLOWED_HOSTS", "TFPILOT_RATE_LIMIT_PER_MINUTE", "TFPILOT_SSE"])
def test_settings_that_cannot_be_used_leave_the_defaults(name: str, monkeypatch):
    monkeypatch.setenv("TFPILOT_ALLOWED_HOSTS", "*")
    monkeypatch.setenv(name, "https://portal.example.com/")
    assert wiring.door_rules() == DoorRules()


# Headers


def test_the_policy_names_streamlits_own_script():
    index = (Path(streamlit.__file__).parent / "static" / "index.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", index, re.DOTALL)
    assert f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}" == INLINE_SCRIPT


def test_behind_tls_browsers_are_told_to_stay_there_and_to_keep_cookies_there(own_door: Door, memory: InMemory):
    plain = own_door.get("/page")
    assert HSTS not in plain.headers
    assert [cookie.count("; Secure") for cookie in plain.headers.get_list("set-cookie")] == [0, 1]
    for forwarded in ("https", "HTTPS, http"):
        secure = own_door.get("/page", headers={"X-Forwarded-Proto": forwarded})
        assert secure.headers[HSTS] == "max-age=31536000; includeSubDomains"
        assert [cookie.count("; Secure") for cookie in secure.headers.get_list("set-cookie")] == [1, 1]
    assert HSTS not in own_door.get("/page", headers={"X-Forwarded-Proto": "http, https"}).headers


# Sizes


def in_pieces(size_bytes: int) -> Iterator[bytes]:
    for _ in range(size_bytes // 1024):
        yield b"x" * 1024


def test_a_body_within_the_limit_is_taken_and_a_larger_one_refused(own_door: Door, memory: InMemory):
    memory.store(stuck_planning())
    memory.github.answers[REQUEST_ID] = plan_succeeded
    assert "more than 65,536 bytes" in refused(own_door.post(SYNC, content=b"x" * (MAX_BODY_BYTES + 1)), 413)
    assert "more than 65,536 bytes" in refused(own_door.post(SYNC, content=in_pieces(MAX_BODY_BYTES + 1024)), 413)
    assert memory.stored(REQUEST_ID) == stuck_planning()
    assert own_door.post(SYNC, content=in_pieces(MAX_BODY_BYTES)).is_success
    assert own_door.post(SYNC, content=b"x" * MAX_BODY_BYTES).is_success


def test_a_delivery_that_says_it_is_too_large_is_refused_before_it_is_read(own_door: Door, memory: InMemory):
    connection = HTTPConnection(urlsplit(own_door.url).netloc, timeout=30)
    connection.putrequest("POST", WEBHOOK)
    connection.putheader("content-length", str(MOST_DELIVERED + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


# How often


def deliver(door: Door, **headers: str) -> httpx.Response:
    body = json.dumps(merged_payload()).encode()
    sent = {"X-GitHub-Event": "pull_request", "X-GitHub-Delivery": "g-1", "X-Hub-Signature-256": sign(body), **headers}
    return door.post(WEBHOOK, token=None, content=body, headers=sent)


def test_whoever_asks_too_often_is_told_when_to_come_back_and_nobody_else_is(memory: InMemory):
    with door_with(DoorRules(rate_per_minute=3)) as door:
        assert [door.get("/api/requests").status_code for _ in range(3)] == [200] * 3
        answer = door.get("/api/requests")
        assert "more than 3 requests" in refused(answer, 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.json()["retryAfterMs"] > 0
        assert door.get("/api/requests", token=token_of(APPROVER)).is_success
        assert door.get("/healthz").is_success
        assert door.get("/page").is_success


def test_a_new_token_each_time_is_no_way_around_and_github_is_not_asked_about_it(memory: InMemory, monkeypatch):
    asked: list[str] = []
    real = memory.identity.login_of
    monkeypatch.setattr(memory.identity, "login_of", lambda token: (asked.append(token), real(token))[1])
    with door_with(DoorRules(rate_per_minute=4)) as door:
        assert door.get("/api/requests").is_success
        guesses = [door.get("/api/requests", token=f"ghp_guess{number}").status_code for number in range(6)]
        assert guesses == [401] * 3 + [429] * 3
        assert len(asked) == 4
        assert door.get("/api/requests").is_success, "a token that was let in is not held to what others do"


def test_a_token_that_is_not_valid_any_more_counts_as_a_stranger(memory: InMemory):
    with door_with(DoorRules(rate_per_minute=4)) as door:
        assert door.get("/api/requests").is_success
        del memory.identity.logins[token_of(ADMIN)]
        assert [door.get("/api/requests").status_code for _ in range(5)] == [401, 401, 401, 401, 429]


def test_forged_deliveries_are_limited_and_githubs_own_from_the_same_address_are_not(memory: InMemory):
    memory.store(with_pull(request()))
    forged = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
    with door_with(DoorRules(rate_per_minute=2)) as door:
        assert [deliver(door, **forged).status_code for _ in range(4)] == [401, 401, 429, 429]
        answer = deliver(door, **forged)
        assert "retry-after" in answer.headers
        refused(answer, 429)
        assert [deliver(door).status_code for _ in range(4)] == [200] * 4


# Who asks

READS_AND_WRITES = [
    ("GET", "/api/requests"),
    ("GET", f"/api/requests/{REQUEST_ID}"),
    ("GET", SYNC),
    ("POST", SYNC),
    ("POST", f"/api/requests/{REQUEST_ID}/sync"),
    ("GET", "/api/run-index/plan/101"),
    ("GET", "/api/run-index/audit?records=1&versions=1"),
    ("POST", WEBHOOK),
]


def test_every_route_under_api_is_among_those_that_cookies_are_tried_on():
    tried = [re.compile(route.path_regex.pattern) for route in routes if getattr(route, "methods", None)]
    paths = [path.partition("?")[0] for _, path in READS_AND_WRITES]
    untried = [pattern.pattern for pattern in tried if not any(pattern.match(path) for path in paths)]
    assert untried == ["^/healthz$", "^/readyz$"]


@pytest.mark.parametrize(("method", "path"), READS_AND_WRITES)
def test_no_cookie_and_no_header_of_a_proxy_authorises_anything(method: str, path: str, door: Door, memory: InMemory):
    memory.store(with_pull(stuck_planning()))
    memory.github.answers[REQUEST_ID] = plan_succeeded
    before = memory.bucket.contents()
    token = token_of(ADMIN)
    signed_in = base64.b64encode(json.dumps({"email": ADMIN, "is_logged_in": True}).encode()).decode()
    cookies = {
        "_streamlit_user": f'"{signed_in}"',
        "_streamlit_user_tokens": token,
        "_streamlit_xsrf": "2|x|y|1",
        "_streamlit_session": token,
        "Authorization": f"Bearer {token}",
    }
    headers = {
        "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "X-Streamlit-Xsrf": "2|x|y|1",
        "X-Forwarded-User": ADMIN,
        "X-Forwarded-Email": ADMIN,
        "X-Remote-User": ADMIN,
        "X-Auth-Request-User": ADMIN,
        "Proxy-Authorization": f"Bearer {token}",
        "X-GitHub-Event": "pull_request",
        "X-GitHub-Delivery": "g-1",
        "Sec-Fetch-Site": "same-origin",
    }
    answer = door.ask(method, path, token=None, headers=headers, content=json.dumps(merged_payload()).encode())
    refused(answer, 401)
    assert memory.bucket.contents() == before
    assert memory.github.queries == []


@pytest.mark.server
def test_a_token_that_was_revoked_is_refused_when_the_minute_is_over(door: Door, reality: Reality, monkeypatch):
    now = 0.0
    monkeypatch.setattr(remembered, "time", SimpleNamespace(monotonic=lambda: now))
    reality.stuck_request()
    reality.serve_portal()
    token = token_of(DEVELOPER)
    assert door.get("/api/requests", token=token).is_success
    before = reality.content()
    reality.world.add_user(DEVELOPER, token="ghp_another0123456789")
    now = 60.0
    refused(door.post(SYNC, token=token), 401)
    assert reality.content() == before
    assert door.get("/api/requests", token=token_of(APPROVER)).is_success
