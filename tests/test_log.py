"""Log lines: JSON, on standard error, with who and what, and never a secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from tfpilot.log import configure, masked

Lines = Callable[[], list[dict[str, Any]]]

PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
    "gho_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxMjM0NSJ9.c2lnbmF0dXJl",
    PRIVATE_KEY,
]
IN_CONTEXT = [
    ("Authorization: Bearer s3cr3t-value", "s3cr3t-value"),
    ("authorization: bearer s3cr3t-value", "s3cr3t-value"),
    ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("Authorization: token 0123456789abcdef", "0123456789abcdef"),
    ("https://bucket.example/key?X-Amz-Signature=0f1e2d&x=1", "0f1e2d"),
    ("https://maya:hunter2@git.example/repo", "hunter2"),
]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What was logged since the last call; everything is as before afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure("DEBUG")

    def read() -> list[dict[str, Any]]:
        captured = capsys.readouterr()
        assert captured.out == ""
        return [json.loads(line) for line in captured.err.splitlines()]

    yield read
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_an_event_is_one_json_line_with_time_level_logger_and_facts(lines: Lines) -> None:
    structlog.get_logger("tfpilot.operations.sync").info("repaired", mode="repair", changes=3)
    (line,) = lines()
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "repaired",
        "level": "info",
        "logger": "tfpilot.operations.sync",
        "mode": "repair",
        "changes": 3,
    }


def test_request_and_operator_are_on_every_line_of_their_block_and_on_none_after_it(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_dev_a", operator="maya-k"):
        structlog.get_logger("tfpilot").info("synced")
        logging.getLogger("some.library").warning("slow answer")
    structlog.get_logger("tfpilot").info("idle")
    synced, slow, idle = lines()
    assert (synced["request_id"], synced["operator"]) == ("req_dev_a", "maya-k")
    assert (slow["request_id"], slow["operator"]) == ("req_dev_a", "maya-k")
    assert "request_id" not in idle


def test_configuring_twice_does_not_log_twice(lines: Lines) -> None:
    configure("DEBUG")
    structlog.get_logger("tfpilot").info("once")
    assert [line["event"] for line in lines()] == ["once"]


def test_events_below_the_level_are_left_out(lines: Lines) -> None:
    configure("WARNING")
    structlog.get_logger("tfpilot").info("detail")
    structlog.get_logger("tfpilot").warning("trouble")
    assert [line["event"] for line in lines()] == ["trouble"]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_token_is_masked_wherever_it_stands(lines: Lines, secret: str) -> None:
    log = structlog.get_logger("tfpilot")
    log.warning(secret)
    log.warning("answer", body={"nested": [f"before\n{secret}"]})
    logging.getLogger("some.library").warning("sent %s", secret)
    log.error("failed", exc_info=ValueError(f"first line\n{secret}"))
    logged = lines()
    assert len(logged) == 4
    fragment = secret.splitlines()[-2] if "\n" in secret else secret
    assert fragment not in json.dumps(logged)
    assert json.dumps(logged).count("***") >= 4


def test_half_a_private_key_is_masked_and_its_line_stays_json(lines: Lines) -> None:
    structlog.get_logger("tfpilot").warning("read", text=PRIVATE_KEY[:40], then="more")
    (line,) = lines()
    assert (line["text"], line["then"]) == ("***", "more")


@pytest.mark.parametrize(("text", "secret"), IN_CONTEXT)
def test_what_travels_in_a_header_or_an_address_is_masked_and_the_rest_stays(text: str, secret: str) -> None:
    assert masked(text) == text.replace(f"maya:{secret}" if "maya:" in text else secret, "***")


@pytest.mark.parametrize(
    "key", ["token", "github_token", "Authorization", "x-hub-signature", "private_key", "password"]
)
def test_a_fact_named_like_a_secret_is_masked_whatever_its_value(lines: Lines, key: str) -> None:
    structlog.get_logger("tfpilot").info("called", **{key: "plain-looking"})
    (line,) = lines()
    assert line[key] == "***"


def test_ids_shas_and_keys_of_the_bucket_stay_readable() -> None:
    text = (
        "req_dev_ec2_c5vy9j run 7310000101 at 4f2a9c1b7d3e5f60718293a4b5c6d7e8f9012345 requests/req_dev_ec2_c5vy9j.json"
    )
    assert masked(text) == text


def test_libraries_that_print_bodies_or_headers_stay_quiet_even_at_debug(lines: Lines) -> None:
    for name in ("github.Requester", "botocore.endpoint", "urllib3.connectionpool", "httpx"):
        logging.getLogger(name).debug("request body")
    assert lines() == []


def test_an_unexpected_failure_reaches_the_log_whole(lines: Lines) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug")

    try:
        broken()
    except ZeroDivisionError:
        structlog.get_logger("tfpilot").exception("failed")
    (line,) = lines()
    assert "ZeroDivisionError: a bug" in line["exception"]
    assert "in broken" in line["exception"]
