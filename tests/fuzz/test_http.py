"""Whatever is sent to the HTTP door: no failure of ours, no write by who may not, no secret in an answer or in the log.

TFPILOT_FUZZ_CASES=5 tries five times as many. A failure prints what was sent, and the line that sends it again.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes, unquote

import httpx
import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from tests.builders import REQUEST_ID, request, run, stuck_planning, with_pull, with_run
from tests.doors.door_setup import ADMIN, APPROVER, DEVELOPER, PLACE, TOKENS, UNHURRIED, plan_succeeded, token_of
from tests.fakes import InMemory
from tests.webhook_payloads import (
    SECRET,
    cleanup_payload,
    merged_payload,
    pull_payload,
    review_payload,
    run_payload,
    sign,
)
from tfpilot import log, wiring
from tfpilot.config import Settings
from tfpilot.core.model import WorkflowKind
from tfpilot.core.run_index import entry_key
from tfpilot.http import guards, routes
from tfpilot.http.paths import WEBHOOK, is_api
from tfpilot.wiring import Portal

CASES = 2_000 * int(os.environ.get("TFPILOT_FUZZ_CASES", "1"))
PROD_ID = "req_prod_rds_f00d01"
ARCHIVED_ID = "req_dev_sqs_0ldone"
EXAMPLES = sorted((Path(__file__).parents[1] / "data" / "webhooks").glob("*.json"))
SETTINGS = Settings()
STRANGER = "ghp_stranger0123456789"
SECRETS = [*TOKENS, SECRET, STRANGER]


@dataclass(frozen=True)
class Sent:
    """One request, as it goes to the door."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    token: str | None = None
    is_signed: bool = False

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def may_write(self) -> bool:
        """Whether anything may be written for it: a sync of who may, or a delivery with a good signature."""
        if self.path == WEBHOOK:
            return self.is_signed and self.method == "POST"
        is_sync = self.path.startswith("/api/requests/") and self.path.endswith("/sync")
        return is_sync and self.method in {"GET", "POST", "HEAD"} and bool(self.token and TOKENS.get(self.token))


@dataclass(repr=False)
class Fuzzed:
    """The real application on edges in memory, in this process, and what it said to its log."""

    loop: asyncio.Runner
    client: httpx.AsyncClient = field(init=False)
    aim: dict[str, Any] = field(default_factory=dict)
    said: io.StringIO = field(default_factory=io.StringIO)
    memory: InMemory = field(default_factory=InMemory)

    def start_over(self) -> dict[str, bytes]:
        """A new world; answers what is stored in it."""
        self.memory = memory = InMemory()
        memory.identity.logins = {token: login for token, login in TOKENS.items() if login}
        planned = with_run(with_pull(stuck_planning()), "plan", **run(101, "in_progress"))
        memory.store(planned, request(PROD_ID, environment="prod"))
        memory.archive(request(ARCHIVED_ID))
        memory.bucket.write(entry_key(WorkflowKind.PLAN, 101), b"not json")
        memory.github.answers[REQUEST_ID] = plan_succeeded
        wiring.use(Portal(memory.edges, SETTINGS, PLACE))
        return memory.bucket.contents()

    def send(self, sent: Sent) -> tuple[httpx.Response, str]:
        """The answer, and what was logged meanwhile."""
        self.said.seek(0)
        self.said.truncate()
        headers = [*sent.headers, *([(b"authorization", f"Bearer {sent.token}".encode())] if sent.token else [])]
        asked = self.client.build_request(sent.method, "http://localhost/", headers=headers, content=sent.body)
        path, _, query = sent.target.partition("?")
        # Past the client, which would tidy it up, to the application as a server would hand it over.
        self.aim = {"path": sent.path, "raw_path": path.encode(), "query_string": query.encode()}
        with redirect_stderr(self.said):
            answer = self.loop.run(self.client.send(asked))
        return answer, self.said.getvalue()


@pytest.fixture(scope="module")
def door() -> Iterator[Fuzzed]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.configure("DEBUG")
    app = Starlette(routes=routes, middleware=guards(UNHURRIED))
    with asyncio.Runner() as loop:
        fuzzed = Fuzzed(loop)

        async def aimed(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, **fuzzed.aim}, receive, send)

        transport = httpx.ASGITransport(aimed, raise_app_exceptions=False)
        client = fuzzed.client = httpx.AsyncClient(transport=transport)
        yield fuzzed
        loop.run(client.aclose())
    wiring.use(None)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def check(door: Fuzzed, sent: Sent) -> None:
    """Everything that holds whatever is sent."""
    before = door.start_over()
    answer, said = door.send(sent)
    told = answer.text + "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
    if answer.status_code >= 500:
        is_ours = sent.path == "/readyz" or sent.method == "HEAD" or "hint" in answer.json()
        assert (answer.status_code, is_ours) == (503, True), told
    if is_api(sent.path):
        assert answer.headers["content-type"] == "application/json", told
        assert isinstance(answer.json() if answer.content else {}, dict)
        if answer.status_code >= 400 and answer.content:
            assert answer.json()["error"]
            assert answer.json()["hint"]
            assert len(answer.content) < 2_000
    assert len(answer.headers["x-request-id"]) <= 64
    assert "content-security-policy" in answer.headers
    if (
        not sent.may_write
        or 400 <= answer.status_code < 500
        or "dry_run=1" in sent.target.rpartition("?")[2].split("&")
    ):
        assert door.memory.bucket.contents() == before
    assert not [secret for secret in SECRETS if secret in told], told
    assert not [secret for secret in SECRETS if secret in said], said
    assert "Traceback" not in said, said


# What is sent

BYTES = st.binary(max_size=40)
TEXT = st.text(max_size=40)
ENCODED = st.one_of(
    TEXT.map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="/~")),
    BYTES.map(quote_from_bytes),
    st.sampled_from(
        ["..", "%2e%2e", "%2f", "%00", "%0a", "%0d%0aX-Owned:1", "%e2%80%a8", "%ed%a0%80", "%ff", "//", "/", "~", ";x"]
    ),
    st.sampled_from([200, 1_025, 5_000]).map("a".__mul__),
    st.sampled_from([*TOKENS, STRANGER, f"Bearer%20{STRANGER}"]),
)
ID = st.one_of(st.sampled_from([REQUEST_ID, PROD_ID, ARCHIVED_ID, "req_dev_none_1", "undefined"]), ENCODED)
KIND = st.one_of(st.sampled_from([*(kind.value for kind in WorkflowKind), "drift-plan", "PLAN"]), ENCODED)
NUMBER = st.one_of(st.integers(-2, 10**40).map(str), st.sampled_from(["101", "1e3", "0x1", "٣", "NaN"]), ENCODED)
PATHS = st.one_of(
    st.just("/api/requests"),
    ID.map(lambda name: f"/api/requests/{name}"),
    ID.map(lambda name: f"/api/requests/{name}/sync"),
    ID.map(lambda name: f"/api/requests/{name}/sync"),
    st.builds("/api/run-index/{}/{}".format, KIND, NUMBER),
    st.just("/api/run-index/audit"),
    st.just(WEBHOOK),
    st.lists(ENCODED, max_size=4).map(lambda parts: "/api/" + "/".join(parts)),
    st.lists(ENCODED, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(["/healthz", "/readyz", "/metrics", "/api", "//api/requests", "/API/requests", "/api/../healthz"]),
)
VALUE = st.one_of(
    st.sampled_from(["1", "0", "true", "false", "", "planning", "planning,failed", "dev,prod", "50", "501", "-1"]),
    ENCODED,
    NUMBER,
)
NAMES = [
    "repair", "hydrate", "dry_run", "status", "environment", "q", "stuck", "drift", "archived", "limit", "cursor",
    "records", "versions",
]  # fmt: skip
QUERIES = st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), ENCODED), VALUE), max_size=5).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
METHODS = st.one_of(
    st.sampled_from(["GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"]),
    st.from_regex(r"[A-Z!#$%&'*+.^_`|~-]{1,30}", fullmatch=True),
)
HEADER_VALUES = st.one_of(
    st.binary(max_size=60).map(lambda value: value.translate(None, b"\r\n\0")),
    st.sampled_from([b"", b"application/json", b"0", b"99999999999999999999", b"chunked", b"https", b"localhost"]),
    st.sampled_from([f"Bearer {token}".encode() for token in SECRETS] + [f"_streamlit_user={STRANGER}".encode()]),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"Authorization", b"Cookie", b"X-Request-Id", b"X-Forwarded-Proto", b"X-Forwarded-For", b"Host",
                b"Content-Type", b"Content-Length", b"Transfer-Encoding", b"X-GitHub-Event", b"X-GitHub-Delivery",
                b"X-Hub-Signature-256", b"Accept-Encoding", b"Range", b"X-Http-Method-Override", b"X-Odd",
            ]
        ),
        HEADER_VALUES,
    ),
    max_size=4,
).map(tuple)  # fmt: skip
CALLERS = st.sampled_from([None, STRANGER, token_of(ADMIN), token_of(APPROVER), token_of(DEVELOPER)])
BODIES = st.one_of(st.just(b""), BYTES, st.sampled_from([b"x" * 65_537, b"[" * 5_000, b"{}"]))
REQUESTS = st.builds(
    lambda method, path, query, headers, body, token: Sent(
        method, f"{path}?{query}" if query else path, headers, body, token
    ),
    METHODS, PATHS, QUERIES, HEADERS, BODIES, CALLERS,
)  # fmt: skip

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    TEXT,
    st.sampled_from(
        [REQUEST_ID, PROD_ID, "../x", "\ud800", "\0", "2026-13-99T99:99:99Z", "9" * 5_000, SECRET, STRANGER]
    ),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)
PAYLOADS: list[tuple[str, Mapping[str, Any]]] = [
    ("workflow_run", run_payload()),
    ("workflow_run", run_payload(202, "destroy")),
    ("pull_request", pull_payload()),
    ("pull_request", merged_payload()),
    ("pull_request", cleanup_payload()),
    ("pull_request_review", review_payload()),
    *((path.name.partition(".")[0], json.loads(path.read_bytes())) for path in EXAMPLES),
]


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything within a payload."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


PLACES = [list(places(payload)) for _, payload in PAYLOADS]


@st.composite
def deliveries(draw: st.DrawFn) -> Sent:
    """A webhook as GitHub sends it, with a few things changed; signed, or not as it should be."""
    number = draw(st.integers(0, len(PAYLOADS) - 1))
    event, payload = PAYLOADS[number]
    changed = json.loads(json.dumps(payload))
    for place in draw(st.lists(st.sampled_from(PLACES[number]), max_size=4)):
        put(changed, place, draw(ODD))
    body = json.dumps(changed).encode()
    body = draw(st.sampled_from([body] * 8 + [body[:-7], body + b"x", b"\xff" + body, b"[" * 5_000, b"null", b""]))
    good = sign(body)
    signature = draw(
        st.sampled_from([good] * 6 + [sign(body, secret="another-secret-of-16"), good[:-1], good.upper(), "", SECRET])
    )
    guid = draw(st.one_of(st.sampled_from(["guid-1", "", "../x", STRANGER]), st.uuids().map(str)))
    names = [event] * 6 + ["push", "ping", "", "Workflow_Run", "../x"]
    headers = {
        "X-GitHub-Event": draw(st.sampled_from(names)),
        "X-GitHub-Delivery": guid,
        "X-Hub-Signature-256": signature,
    }
    sent = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return Sent("POST", WEBHOOK, sent, body, draw(CALLERS), is_signed=signature == good)


def put(value: Any, place: tuple[str | int, ...], odd: Any) -> None:
    """Puts the odd value there, if an earlier change has left the place."""
    *way, last = place
    for key in way:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(value, (dict, list)) and (isinstance(value, dict) or (isinstance(last, int) and last < len(value))):
        value[last] = odd


HOW = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


@settings(HOW, max_examples=CASES * 7 // 10)
@given(REQUESTS)
@example(Sent("GET", f"/api/requests/{REQUEST_ID}/sync?repair=1", token=token_of(ADMIN)))
@example(Sent("HEAD", f"/api/requests/{REQUEST_ID}/sync?repair=1", token=None))
@example(Sent("POST", f"/api/requests/{PROD_ID}/sync?repair=1", token=token_of(DEVELOPER)))
def test_no_request_hurts(door: Fuzzed, sent: Sent):
    check(door, sent)


@settings(HOW, max_examples=CASES * 3 // 10)
@given(deliveries())
def test_no_delivery_hurts(door: Fuzzed, sent: Sent):
    check(door, sent)


def test_the_checks_would_see_a_write_a_failure_and_a_secret(door: Fuzzed, monkeypatch):
    """What is sent reaches what it is meant to reach."""
    repair = Sent("POST", f"/api/requests/{REQUEST_ID}/sync?repair=1", token=token_of(ADMIN))
    before = door.start_over()
    answer, said = door.send(repair)
    assert (answer.status_code, door.memory.bucket.contents() == before) == (200, False)
    assert "request written" in said
    monkeypatch.setattr(Sent, "may_write", property(lambda _sent: False))
    with pytest.raises(AssertionError):
        check(door, repair)
    monkeypatch.setattr("tests.fakes.FakeIdentity.login_of", lambda _self, token: 1 / 0)
    with pytest.raises(AssertionError):
        check(door, repair)
