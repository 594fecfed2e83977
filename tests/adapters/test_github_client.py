"""One question to GitHub over the wire: what is sent, how often, and what an odd answer becomes."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from email.utils import formatdate

import pytest
from github.Auth import Token

from tests.adapters.github_setup import SOON, TOKEN, scripted
from tfpilot.adapters.github_client import GitHubClient
from tfpilot.adapters.github_transport import Allowance, Transport, read_retry
from tfpilot.errors import GitHubError, RateLimitedError

BODY = "the-body-of-the-answer"
OK = (200, {}, b'{"number": 7}')


@contextmanager
def client_of(url: str, *, retry=True):
    transport = Transport(retry=read_retry() if retry else None)
    try:
        yield GitHubClient(url, Token(TOKEN), transport)
    finally:
        transport.close()


@contextmanager
def dripping(serve_one):
    """A server for one connection, which `serve_one` answers by hand."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # the portal hangs up, as it should
                connection.recv(65536)
                serve_one(connection)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def said(status: int, message: object = BODY, **headers: str):
    """An error as GitHub writes one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps({"message": message}).encode()


def get(url: str, *, allowance: Allowance | None = None, path: str = "/thing"):
    with client_of(url) as client:
        return client.get(path, what="the thing", allowance=allowance or Allowance(SOON))


def refusal_of(answer, *, allowance: Allowance | None = None) -> GitHubError:
    with scripted(lambda _heard: answer) as server, pytest.raises(GitHubError) as caught:
        get(server.url, allowance=allowance)
    return caught.value


def test_a_read_names_the_api_version_and_signs_in():
    with scripted(lambda _heard: OK) as server:
        reply = get(server.url)
    (heard,) = server.heard
    assert reply.data["number"] == 7
    assert heard.headers["x-github-api-version"] == "2022-11-28"
    assert heard.headers["authorization"] == f"token {TOKEN}"


@pytest.mark.parametrize(
    "answer",
    [
        said(403, "API rate limit exceeded for user 7", x_ratelimit_remaining="0"),
        said(403, "API rate limit exceeded for user 7", x_ratelimit_remaining="0", x_ratelimit_reset="9999999999"),
        said(403, "You have exceeded a secondary rate limit. Please wait."),
        said(403, "You have triggered an abuse detection mechanism."),
        said(403, "Whatever words come next year", retry_after="120"),
        said(403, "Whatever words come next year", x_ratelimit_remaining="0"),
        said(429, "Too many requests"),
        said(429, "Slow down", retry_after="120"),
        said(429, "Slow down", retry_after="soon"),
        (429, {"content-type": "text/html"}, b"<html>busy</html>"),
    ],
)
@pytest.mark.usefixtures("hasty_retries")
def test_a_rate_limit_is_known_in_all_its_forms_and_never_waited_out(answer):
    with scripted(lambda _heard: answer) as server, pytest.raises(RateLimitedError) as caught:
        get(server.url)
    assert caught.value.outcome == "rate limited"
    assert caught.value.retry_after >= timedelta(seconds=1)
    assert len(server.heard) <= 4


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (said(403, "any", retry_after="120"), timedelta(seconds=120)),
        (said(429, "any", retry_after="99999999"), timedelta(days=1)),
        (said(429, "any", retry_after="soon"), timedelta(seconds=60)),
        (said(429, "any"), timedelta(seconds=60)),
    ],
)
def test_the_wait_is_what_github_named_else_a_minute_and_never_absurd(answer, wait):
    assert refusal_of(answer).retry_after == wait


@pytest.mark.usefixtures("hasty_retries")
def test_the_end_of_a_quota_is_counted_by_github_s_own_clock():
    headers = {"date": formatdate(1_000_000_000, usegmt=True), "x-ratelimit-remaining": "0"}
    answer = (403, {**headers, "x-ratelimit-reset": "1000000600"}, b'{"message": "API rate limit exceeded"}')
    error = refusal_of(answer)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == timedelta(seconds=601)


def test_a_short_wait_is_waited_and_the_answer_taken():
    answers = iter([said(429, "Slow down", retry_after="1"), OK])
    with scripted(lambda _heard: next(answers)) as server:
        assert get(server.url).data["number"] == 7
    assert len(server.heard) == 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (said(401, "Bad credentials"), "unauthorized"),
        (said(401, "Requires authentication"), "unauthorized"),
        (said(403, "Resource not accessible by integration"), "forbidden"),
        ((403, {}, b"<html>blocked</html>"), "forbidden"),
        (said(404, "Not Found"), "not found"),
        (said(404, "Nothing here"), "malformed"),
        ((404, {}, b"<html>no such page</html>"), "malformed"),
        ((404, {}, b""), "malformed"),
        (said(410, "Gone"), "failed"),
        (said(422, "Validation Failed"), "failed"),
        (said(422, ["not", "a", "text"]), "malformed"),
        ((404, {}, b"[1]"), "malformed"),
        ((202, {}, b"{}"), "unreachable"),
        ((200, {}, b'{"number": '), "malformed"),
        ((200, {}, b"[" * 100_000), "malformed"),
        ((200, {"content-length": "500"}, b'{"number": 7}'), "malformed"),
        ((200, {"content-encoding": "gzip"}, b"not gzip at all"), "malformed"),
        ((200, {"x-ratelimit-remaining": "many", "x-ratelimit-limit": "5000"}, b"{}"), "malformed"),
        ((301, {"location": "http://127.0.0.1:1/thing"}, b""), "malformed"),
        ((302, {"location": "https://evil.example/thing"}, b""), "malformed"),
        ((301, {"location": "/thing"}, b""), "malformed"),
    ],
)
def test_an_odd_answer_is_an_error_of_ours_without_the_token_or_the_body(answer, outcome):
    error = refusal_of(answer)
    assert error.outcome == outcome
    assert BODY not in error.message + error.hint
    assert TOKEN not in error.message + error.hint


def test_an_answer_is_read_as_utf_8_also_where_it_does_not_say_so():
    with scripted(lambda _heard: (200, {}, '{"title": "Caf\u00e9"}'.encode())) as server:
        assert get(server.url).data["title"] == "Caf\u00e9"


def test_a_refusal_names_the_permission_that_github_would_accept():
    error = refusal_of(said(403, "No", x_accepted_github_permissions="actions=read"))
    assert error.message == "GitHub does not let the token read the thing (403; it needs actions=read)"


@pytest.mark.usefixtures("hasty_retries")
def test_a_server_that_is_not_there_is_unreachable():
    with scripted(lambda _heard: OK) as server:
        url = server.url
    with pytest.raises(GitHubError) as caught:
        get(url)
    assert caught.value.outcome == "unreachable"


def test_a_redirect_keeps_the_query_and_is_told():
    def moved(heard):
        if heard.path.startswith("/old"):
            return 301, {"location": heard.path.replace("/old", "/new")}, b""
        return OK

    with scripted(moved) as server:
        reply = get(server.url, path="/old?head=acme:cleanup/req_1")
    assert reply.redirected
    assert [heard.path for heard in server.heard] == [
        "/old?head=acme%3Acleanup%2Freq_1",
        "/new?head=acme%3Acleanup%2Freq_1",
    ]


def test_a_redirect_without_a_query_gets_ours():
    with scripted(lambda heard: OK if "/new" in heard.path else (307, {"location": "/new"}, b"")) as server:
        get(server.url, path="/old?state=all")
    assert server.heard[-1].path == "/new?state=all"


def test_a_body_that_drips_ends_at_the_deadline():
    over = threading.Event()

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n[")
        while not over.wait(0.05):
            connection.sendall(b" ")

    with dripping(drip) as url, pytest.raises(GitHubError) as caught:
        get(url, allowance=Allowance(timedelta(milliseconds=300)))
    over.set()
    assert caught.value.outcome == "timeout"


def test_a_body_larger_than_any_answer_of_github_is_not_kept():
    error = refusal_of((200, {}, b" " * (33 * 1024 * 1024)))
    assert error.outcome == "malformed"


@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize("answer", [said(502), said(403, "any", retry_after="1"), said(503, retry_after="1")])
def test_a_post_is_sent_once_whatever_happens(answer, retry):
    with (
        scripted(lambda _heard: answer) as server,
        client_of(server.url, retry=retry) as client,
        pytest.raises(GitHubError),
    ):
        client.post("/thing", what="the thing", allowance=Allowance(SOON), body={"ref": "main"})
    assert [heard.method for heard in server.heard] == ["POST"]


def test_a_post_whose_answer_is_lost_is_not_sent_again():
    with (
        scripted(lambda _heard: (200, {"content-length": "99"}, b"{")) as server,
        client_of(server.url) as client,
        pytest.raises(GitHubError),
    ):
        client.post("/thing", what="the thing", allowance=Allowance(SOON), body={})
    assert len(server.heard) == 1


def test_a_redirected_post_is_not_sent_anywhere_else():
    with (
        scripted(lambda _heard: (307, {"location": "/new"}, b"")) as server,
        client_of(server.url) as client,
        pytest.raises(GitHubError),
    ):
        client.post("/thing", what="the thing", allowance=Allowance(SOON), body={})
    assert [heard.path for heard in server.heard] == ["/thing"]


def test_one_connection_serves_one_question_after_another():
    ports = set()
    with scripted(lambda heard: (ports.add(heard.port), OK)[1]) as server, client_of(server.url) as client:
        for _ in range(5):
            client.get("/thing", what="the thing", allowance=Allowance(SOON))
    assert len(ports) == 1
