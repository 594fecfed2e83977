"""`explain --jsonl`: offline, a line in and a line out, in the same order."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.builders import NOW, ago, request, run, stuck_planning, with_run
from tests.doors.door_setup import Tfpilot, json_lines
from tfpilot.cli.explain import explain_lines
from tfpilot.core.document import format_time
from tfpilot.core.model import Thresholds


def line(document: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"request": document, "now": format_time(NOW), **fields})


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("explain asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_document_is_explained_without_any_setting_or_network(tfpilot: Tfpilot):
    result = tfpilot("explain", "--jsonl", "-", given=line(stuck_planning()))
    assert result.exit_code == 0
    (told,) = json_lines(result)
    assert set(told) == {"status", "rule", "destroy_stale", "destroy_failed", "needs_repair", "findings"}
    assert (told["status"], told["rule"], told["needs_repair"]) == ("planning", 11, True)
    assert (told["destroy_stale"], told["destroy_failed"]) == (False, False)
    assert "STUCK_PLANNING" in [finding["code"] for finding in told["findings"]]


def test_a_stale_destroy_is_said_to_be_stale_and_not_failed(tfpilot: Tfpilot):
    document = with_run(request(), "destroy", **run(3, "in_progress", createdAt=ago(hours=1)))
    document["github"]["destroyTriggeredAt"] = ago(minutes=16)
    (told,) = json_lines(tfpilot("explain", "--jsonl", "-", given=line(document)))
    assert (told["status"], told["rule"]) == ("failed", 3)
    assert (told["destroy_stale"], told["destroy_failed"]) == (True, False)


def test_now_is_the_lines_own(tfpilot: Tfpilot):
    early = json.dumps({"request": stuck_planning(), "now": ago(minutes=50)})
    late = json.dumps({"request": stuck_planning(), "now": "2026-03-02T14:00:00+02:00"})
    told = json_lines(tfpilot("explain", "--jsonl", "-", given=f"{early}\n{late}\n"))
    assert [each["needs_repair"] for each in told] == [False, True]


def test_a_file_is_read_as_standard_input_is(tfpilot: Tfpilot, tmp_path: Path):
    text = f"{line(stuck_planning())}\n{line(request())}\n"
    (tmp_path / "in.jsonl").write_text(text)
    from_file = tfpilot("explain", "--jsonl", str(tmp_path / "in.jsonl"))
    assert from_file.exit_code == 0
    assert from_file.stdout == tfpilot("explain", "--jsonl", "-", given=text).stdout


def test_lines_that_cannot_be_used_keep_their_place_and_make_the_exit_code_1(tfpilot: Tfpilot):
    good = line(request())
    bad = [
        "{",
        "[]",
        "null",
        "7",
        "{}",
        '{"request": []}',
        '{"request": null, "now": "2026-03-02T12:00:00Z"}',
        json.dumps({"request": request()}),
        line(request(), now="yesterday"),
        line(request(), now="2026-03-02T12:00:00"),
        line(request(), now=7),
        line({**request(), "x": float("nan")}),
        "[" * 100_000,
        "\ufeff" + good,
    ]
    result = tfpilot("explain", "--jsonl", "-", given="\n".join([good, *bad, good]))
    assert result.exit_code == 1
    told = json_lines(result)
    assert len(told) == len(bad) + 2
    assert told[0]["status"] == told[-1]["status"] == "request_created"
    assert [each["line"] for each in told[1:-1]] == list(range(2, len(bad) + 2))
    assert all(each["error"].startswith(f"Line {each['line']} ") and each["hint"] for each in told[1:-1])


def test_blank_lines_are_passed_over_and_still_counted(tfpilot: Tfpilot):
    result = tfpilot("explain", "--jsonl", "-", given=f"\n  \n{line(request())}\r\n\t\nnonsense\n\n")
    told = json_lines(result)
    assert len(told) == 2
    assert told[1]["line"] == 5


def test_bytes_that_are_no_text_are_told_by_line(tfpilot: Tfpilot):
    result = tfpilot("explain", "--jsonl", "-", given=b"\xff\xfe\n" + line(request()).encode())
    assert result.exit_code == 1
    assert [("error" in each) for each in json_lines(result)] == [True, False]


@pytest.mark.parametrize("given", ["", "\n\n", " "])
def test_nothing_in_is_nothing_out(given: str, tfpilot: Tfpilot):
    result = tfpilot("explain", "--jsonl", "-", given=given)
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_huge_line_is_explained_and_the_next_one_too(tfpilot: Tfpilot):
    huge = line({**stuck_planning(), "log": "x" * 20_000_000})
    result = tfpilot("explain", "--jsonl", "-", given=f"{huge}\n{line(request())}")
    assert [each["status"] for each in json_lines(result)] == ["planning", "request_created"]
    assert len(result.stdout) < 10_000


def test_an_answer_comes_before_the_next_line_is_read():
    def lines():
        yield line(request()).encode()
        raise AssertionError("the second line was read before the first was answered")

    assert next(explain_lines(lines(), Thresholds()))["status"] == "request_created"


@pytest.mark.parametrize("document", [{}, {"id": 7}, {"github": 3, "planRun": [], "approval": "x"}])
def test_a_document_that_says_nothing_is_a_request_that_was_created(document: dict[str, Any], tfpilot: Tfpilot):
    (told,) = json_lines(tfpilot("explain", "--jsonl", "-", given=line(document)))
    assert (told["status"], told["rule"]) == ("request_created", 12)


def test_texts_of_a_document_never_break_a_line_in_two(tfpilot: Tfpilot):
    document = {**stuck_planning(), "branchName": "a\nb\u2028c\ud800", "status": "x\ny"}
    result = tfpilot("explain", "--jsonl", "-", given=line(document))
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert result.stdout.isascii()


def test_thresholds_of_the_settings_count(tfpilot: Tfpilot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFPILOT_STUCK_PLANNING_MINUTES", "90")
    (told,) = json_lines(tfpilot("explain", "--jsonl", "-", given=line(stuck_planning())))
    assert told["needs_repair"] is False


def test_a_setting_that_cannot_be_used_is_misuse_and_named(tfpilot: Tfpilot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFPILOT_STUCK_PLANNING_MINUTES", "soon")
    result = tfpilot("explain", "--jsonl", "-", given=line(request()))
    assert result.exit_code == 2
    assert "TFPILOT_STUCK_PLANNING_MINUTES" in result.stdout


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "missing/in.jsonl"])
def test_a_file_that_cannot_be_read_is_misuse_and_says_why(name: str, tfpilot: Tfpilot, tmp_path: Path):
    result = tfpilot("explain", "--jsonl", str(tmp_path / name))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be read" in result.stderr


def test_without_a_file_standard_input_is_read(tfpilot: Tfpilot):
    given = line(stuck_planning())
    result = tfpilot("explain", "--jsonl", "--json", given=given)
    assert result.exit_code == 0
    assert result.stdout == tfpilot("explain", "--jsonl", "-", given=given).stdout


def test_without_jsonl_the_command_says_what_it_needs(tfpilot: Tfpilot):
    result = tfpilot("explain")
    assert result.exit_code == 2
    assert "--jsonl" in result.stderr
