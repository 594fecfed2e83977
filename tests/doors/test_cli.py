"""The commands: what they print, for people and for machines, and the exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.builders import REQUEST_ID, ago, request, run, stuck_planning, with_run
from tests.doors.door_setup import ADMIN, DEVELOPER, Reality, Tfpilot, changed, json_lines, token_of
from tests.fakes import InMemory
from tfpilot import wiring
from tfpilot.config import load_settings
from tfpilot.core.document import render_document
from tfpilot.core.model import Door, Operator, Role
from tfpilot.wiring import Place, Portal

ROOT = Path(__file__).resolve().parents[2]
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def stuck(reality: Reality) -> Reality:
    """The settings of a bucket with one stuck request, whose plan GitHub knows to be over."""
    reality.stuck_request()
    return reality


def in_another_process(*arguments: str, given: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tfpilot", *arguments],
        input=given,
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


# Nothing configured


@pytest.mark.parametrize("arguments", [("requests", "list"), ("requests", "show", REQUEST_ID), ("doctor",)])
def test_with_nothing_configured_a_command_names_the_two_ways_on_and_exits_2(arguments: tuple, tfpilot: Tfpilot):
    result = tfpilot(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Nothing is configured" in result.stderr
    assert "TFPILOT_REQUESTS_BUCKET and GITHUB_TOKEN" in result.stderr
    assert "TFPILOT_SANDBOX=1" in result.stderr


def test_with_nothing_configured_json_says_the_same_for_machines(tfpilot: Tfpilot):
    result = tfpilot("sync", REQUEST_ID, "--json")
    (told,) = json_lines(result)
    assert (result.exit_code, told["success"]) == (2, False)
    assert "Nothing is configured" in told["error"]
    assert told["hint"]


@pytest.mark.parametrize(
    ("name", "value"), [("TFPILOT_REQUESTS_BUCKET", "a-bucket"), ("GITHUB_TOKEN", "ghp_0123456789abcdef")]
)
def test_half_a_configuration_is_misuse_and_says_what_is_missing(name, value, tfpilot: Tfpilot, monkeypatch):
    monkeypatch.setenv(name, value)
    result = tfpilot("requests", "list")
    assert result.exit_code == 2
    assert "Only half is configured" in result.stderr
    assert "ghp_0123456789abcdef" not in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "no-such-profile"),
        ("AWS_ENDPOINT_URL", "no-url"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "sometimes"),
        ("AWS_CONFIG_FILE", __file__),
    ],
)
def test_settings_of_aws_that_cannot_be_used_are_misuse_and_named(name, value, tfpilot: Tfpilot, monkeypatch):
    monkeypatch.setenv("TFPILOT_REQUESTS_BUCKET", "a-bucket")
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_0123456789abcdef")
    monkeypatch.setenv(name, value)
    result = tfpilot("requests", "list")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "The AWS SDK cannot use its settings" in result.stderr
    assert value in result.stderr
    assert "AWS_PROFILE" in result.stderr


# Help and misuse

COMMANDS = [
    (),
    ("requests",),
    ("requests", "list"),
    ("requests", "show"),
    ("sync",),
    ("explain",),
    ("doctor",),
    ("sandbox",),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: tuple[str, ...], tfpilot: Tfpilot):
    result = tfpilot(*command, "--help")
    text = ESCAPES.sub("", result.stdout)
    assert result.exit_code == 0
    assert "Usage:" in text
    assert len([line for line in text.splitlines() if line.strip(" │╭╮╰╯─")]) > 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("requests", "nonsense"),
        ("requests", "list", "--status", "plannin"),
        ("requests", "list", "--limit", "0"),
        ("requests", "list", "--limit", "many"),
        ("requests", "list", "--nonsense"),
        ("requests", "show"),
        ("requests", "show", "req_a", "req_b"),
        ("sync",),
        ("sync", "--repair"),
    ],
)
def test_arguments_that_make_no_sense_are_misuse(arguments: tuple[str, ...], tfpilot: Tfpilot):
    result = tfpilot(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


# Looking


@pytest.mark.server
def test_the_list_is_a_line_per_request_newest_first_with_its_marks_and_how_many_there_are(
    stuck: Reality, tfpilot: Tfpilot
):
    stuck.store(*changed([request(f"req_dev_{number}") for number in range(3)]))
    result = tfpilot("requests", "list", "--limit", "3")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert [line.split()[0] for line in lines[:3]] == ["req_dev_2", "req_dev_1", "req_dev_0"]
    assert lines[3] == "3 of 4, newest change first"
    (only_stuck,) = tfpilot("requests", "list", "--stuck").stdout.splitlines()[:-1]
    assert only_stuck.split()[:2] == [REQUEST_ID, "planning"]
    assert only_stuck.endswith("stuck")


@pytest.mark.server
def test_the_list_in_json_has_the_rows_that_http_has(stuck: Reality, tfpilot: Tfpilot):
    (told,) = json_lines(tfpilot("requests", "list", "--json"))
    assert set(told) == {"requests", "total"}
    assert told["total"] == 1
    assert (told["requests"][0]["id"], told["requests"][0]["stuck"]) == (REQUEST_ID, True)


@pytest.mark.server
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--status", "planning"), 1),
        (("--status", "applied", "--status", "planning"), 1),
        (("--status", "applied"), 0),
        (("--environment", "dev"), 1),
        (("--environment", "prod"), 0),
        (("--search", "ABC123"), 1),
        (("--search", "#7"), 1),
        (("--search", "#8"), 0),
        (("--archived",), 1),
    ],
)
def test_the_list_can_be_filtered(options: tuple[str, ...], expected: int, stuck: Reality, tfpilot: Tfpilot):
    stuck.write("history/req_dev_old_1.json", render_document(request("req_dev_old_1")))
    (told,) = json_lines(tfpilot("requests", "list", "--json", *options))
    assert told["total"] == expected


@pytest.mark.server
def test_showing_a_request_says_why_it_has_its_status_and_what_is_wrong(stuck: Reality, tfpilot: Tfpilot):
    result = tfpilot("requests", "show", REQUEST_ID)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{REQUEST_ID}: planning\n  because ")
    assert "(rule 11)" in result.stdout
    assert "github.workflows.plan" in result.stdout
    assert "STUCK_PLANNING since" in result.stdout
    (told,) = json_lines(tfpilot("requests", "show", REQUEST_ID, "--json"))
    assert set(told) == {"request", "archived", "hasArchivedCopy", "explanation", "findings", "needsRepair"}
    assert told["request"]["status"] == "planning"


@pytest.mark.server
def test_an_unknown_request_fails_with_1_and_a_malformed_id_with_2(reality: Reality, tfpilot: Tfpilot):
    unknown = tfpilot("requests", "show", "req_unknown")
    assert (unknown.exit_code, "req_unknown" in unknown.stderr) == (1, True)
    malformed = tfpilot("requests", "show", "Req-1")
    assert (malformed.exit_code, "not a request id" in malformed.stderr) == (2, True)


@pytest.mark.server
def test_what_stored_texts_would_do_to_a_terminal_is_shown_and_not_done(reality: Reality, tfpilot: Tfpilot):
    odd = "\x1b]0;owned\x07\nreq_fake  applied"
    document = with_run(request(module=odd, project=odd), "plan", **run(5, odd))
    reality.store(document)
    reality.write("requests/\u202eodd \x9b2J.json", b"{}")
    for result in (tfpilot("requests", "list"), tfpilot("requests", "show", REQUEST_ID)):
        assert result.exit_code == 0
        assert not set(result.stdout) & set("\x1b\x9b\u202e\x07")
        assert not [line for line in result.stdout.splitlines() if line.startswith("req_fake")]


# Sync


@pytest.mark.server
def test_a_dry_run_shows_the_changes_and_writes_nothing_and_the_repair_does_them(stuck: Reality, tfpilot: Tfpilot):
    before, keys = stuck.content(), stuck.keys()
    preview = tfpilot("sync", REQUEST_ID, "--repair", "--dry-run")
    assert preview.exit_code == 0
    assert preview.stdout.startswith(f"{REQUEST_ID}: planning → approved, would write ")
    assert "github.workflows.plan.conclusion: absent → success" in preview.stdout
    assert (stuck.content(), stuck.keys()) == (before, keys)
    repaired = tfpilot("sync", REQUEST_ID, "--repair")
    assert repaired.exit_code == 0
    assert repaired.stdout.startswith(f"{REQUEST_ID}: planning → approved, wrote ")
    assert stuck.document()["version"] == 2
    assert tfpilot("sync", REQUEST_ID, "--repair").stdout.startswith(f"{REQUEST_ID}: approved, nothing to write\n")


@pytest.mark.server
def test_a_sync_in_json_tells_what_http_tells(stuck: Reality, tfpilot: Tfpilot):
    (told,) = json_lines(tfpilot("sync", REQUEST_ID, "--repair", "--json"))
    assert (told["id"], told["success"]) == (REQUEST_ID, True)
    assert (told["sync"]["mode"], told["sync"]["written"]) == ("repair", True)
    assert told["sync"]["facts"]["plan"] == "ok"
    assert [change["path"] for change in told["sync"]["changes"]]


@pytest.mark.server
def test_without_repair_github_is_asked_only_where_something_looks_wrong(stuck: Reality, tfpilot: Tfpilot):
    assert "planning → approved" in tfpilot("sync", REQUEST_ID).stdout
    again = tfpilot("sync", REQUEST_ID)
    assert (again.exit_code, "GitHub was not asked" in again.stdout) == (0, True)


@pytest.mark.server
def test_of_several_requests_one_that_fails_does_not_stop_the_others_and_is_named(stuck: Reality, tfpilot: Tfpilot):
    stuck.write("requests/req_broken.json", b"{")
    stuck.write("history/req_old.json", render_document(request("req_old")))
    result = tfpilot("sync", "req_unknown", "req_broken", "req_old", REQUEST_ID, "--repair")
    assert result.exit_code == 1
    assert "planning → approved" in result.stdout
    assert [name for name in ("req_unknown", "req_broken", "req_old") if f"{name}: " in result.stderr] == [
        "req_unknown",
        "req_broken",
        "req_old",
    ]
    told = json_lines(tfpilot("sync", "req_unknown", REQUEST_ID, "--json"))
    assert [(each["id"], each["success"]) for each in told] == [("req_unknown", False), (REQUEST_ID, True)]


@pytest.mark.server
def test_a_malformed_id_among_several_makes_the_exit_code_2_and_the_others_are_done(stuck: Reality, tfpilot: Tfpilot):
    result = tfpilot("sync", "Nonsense", REQUEST_ID, "--repair")
    assert result.exit_code == 2
    assert "planning → approved" in result.stdout


@pytest.mark.server
def test_a_command_acts_as_the_owner_of_its_github_token(stuck: Reality, tfpilot: Tfpilot, monkeypatch):
    stuck.store({**stuck.document(), "environment": "prod"})
    before = stuck.content()
    monkeypatch.setenv("GITHUB_TOKEN", token_of(DEVELOPER))
    refused = tfpilot("sync", REQUEST_ID, "--repair")
    assert (refused.exit_code, "may not sync and repair in prod" in refused.stderr) == (1, True)
    assert stuck.content() == before
    assert tfpilot("sync", REQUEST_ID, "--repair", "--dry-run").exit_code == 0
    monkeypatch.setenv("GITHUB_TOKEN", token_of(ADMIN))
    assert tfpilot("sync", REQUEST_ID, "--repair").exit_code == 0
    (key,) = stuck.keys(f"logs/{REQUEST_ID}/")
    assert json.loads(stuck.read(key) or b"")["actor"] == ADMIN


@pytest.mark.server
def test_a_token_that_github_refuses_changes_nothing_and_is_not_printed(stuck: Reality, tfpilot: Tfpilot, monkeypatch):
    before = stuck.content()
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_expired0123456789")
    result = tfpilot("sync", REQUEST_ID, "--repair")
    assert result.exit_code == 1
    assert "does not know this token" in result.stderr
    assert "ghp_expired" not in result.output
    assert stuck.content() == before


def test_in_the_sandbox_a_command_acts_as_the_sandboxs_admin_whatever_token_is_set(memory: InMemory, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_of_the_real_github")
    monkeypatch.setenv("TFPILOT_SANDBOX", "1")
    place = Place("sandbox", "eu-west-2", "http://127.0.0.1", is_sandbox=True, bearer=token_of(ADMIN))
    assert wiring.operator_of(Portal(memory.edges, load_settings(), place)) == Operator(ADMIN, Role.ADMIN, Door.COMMAND)


def test_a_command_with_a_github_app_acts_as_the_system(memory: InMemory):
    place = Place("b", "eu-west-2", "http://127.0.0.1")
    assert wiring.operator_of(Portal(memory.edges, load_settings(), place)) == Operator(
        "system", Role.SYSTEM, Door.COMMAND
    )


# Storage that fails


@pytest.mark.server
@pytest.mark.parametrize("arguments", [("requests", "list"), ("requests", "show", REQUEST_ID), ("sync", REQUEST_ID)])
def test_a_bucket_that_does_not_exist_fails_with_1_and_says_so(arguments, stuck: Reality, tfpilot, monkeypatch):
    monkeypatch.setenv("TFPILOT_REQUESTS_BUCKET", "no-such-bucket")
    result = tfpilot(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "NoSuchBucket" in result.stderr
    assert "TFPILOT_REQUESTS_BUCKET" in result.stderr


# Doctor


def checks(result) -> dict[str, Any]:
    (told,) = json_lines(result)
    return {check["name"]: check for check in told}


@pytest.mark.server
def test_the_doctor_finds_nothing_wrong_where_nothing_is(stuck: Reality, tfpilot: Tfpilot):
    stuck.clock.now = datetime.now(UTC)
    keys = stuck.keys()
    result = tfpilot("doctor")
    assert result.exit_code == 0, result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok"] * 7
    assert f"as {ADMIN}" in result.stdout
    assert stuck.keys() == keys
    assert all(set(check) == {"name", "ok", "detail", "hint"} for check in checks(tfpilot("doctor", "--json")).values())


@pytest.mark.server
@pytest.mark.parametrize(
    ("setting", "failing", "said"),
    [
        (("TFPILOT_REQUESTS_BUCKET", "no-such-bucket"), "bucket can be listed", "NoSuchBucket"),
        (("AWS_SECRET_ACCESS_KEY", "wr0ng-key"), "bucket can be listed", "SignatureDoesNotMatch"),
        (("AWS_ACCESS_KEY_ID", "nobody"), "bucket takes conditional writes", "InvalidAccessKeyId"),
        (("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"), "bucket can be listed", "127.0.0.1:9"),
        (("GITHUB_TOKEN", "ghp_wr0ng-token"), "GitHub answers", "does not accept the token"),
        (("GITHUB_API_URL", "http://127.0.0.1:9"), "GitHub answers", "could not be reached"),
    ],
)
@pytest.mark.usefixtures("hasty_retries")
def test_the_doctor_says_what_does_not_hold_and_what_to_do(
    setting: tuple[str, str], failing: str, said: str, stuck: Reality, *, tfpilot: Tfpilot, monkeypatch
):
    monkeypatch.setenv(*setting)
    result = tfpilot("doctor", "--json")
    assert result.exit_code == 1
    check = checks(result)[failing]
    assert check["ok"] is False
    assert said in f"{check['detail']} {check['hint']}"
    assert check["hint"]
    assert "wr0ng" not in result.output


@pytest.mark.server
def test_the_doctor_sees_a_clock_that_is_wrong(stuck: Reality, tfpilot: Tfpilot):
    stuck.clock.now = datetime.now(UTC)
    stuck.clock.advance(seconds=40)
    result = tfpilot("doctor", "--json")
    assert result.exit_code == 1
    assert "clocks differ" in checks(result)["clock agrees with the bucket's"]["detail"]


# As a process of its own


def test_a_process_without_settings_exits_2_and_prints_no_traceback(tmp_path: Path):
    done = in_another_process("requests", "list")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Nothing is configured" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_process_explains_without_settings_or_home():
    line = json.dumps({"request": stuck_planning(), "now": ago()}).encode()
    done = in_another_process("explain", "--jsonl", "-", given=line + b"\nnonsense\n")
    assert done.returncode == 1
    assert [json.loads(each).get("status") for each in done.stdout.splitlines()] == ["planning", None]


@pytest.mark.server
def test_a_process_repairs_and_a_terminal_without_arrows_does_not_stop_it(stuck: Reality):
    done = in_another_process("sync", REQUEST_ID, "--repair", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert b"planning \\u2192 approved, wrote" in done.stdout
    assert done.stderr == b""
    assert stuck.document()["github"]["workflows"]["plan"]["conclusion"] == "success"


@pytest.mark.server
def test_a_reader_that_goes_away_ends_the_list_quietly(stuck: Reality):
    stuck.store(*[request(f"req_dev_{number:04}") for number in range(30)])
    process = subprocess.Popen(
        [sys.executable, "-m", "tfpilot", "requests", "list"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert b"Traceback" not in said


@pytest.mark.server
def test_the_sandbox_runs_until_it_is_interrupted_and_its_file_opens_it_to_other_commands(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "tfpilot", "sandbox", "--dir", str(tmp_path / "sandbox")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        first = process.stdout.readline().decode()
        file = first.partition(": . ")[2].strip()
        exports = dict(re.findall(r"^export (\w+)=(.*)$", Path(file).read_text(), re.MULTILINE))
        listed = in_another_process(
            "requests", "list", "--stuck", "--json", **{k: v.strip("'") for k, v in exports.items()}
        )
        assert listed.returncode == 0, listed.stderr
        told = json.loads(listed.stdout)
        assert told["total"] >= 1
        repaired = in_another_process(
            "sync", told["requests"][0]["id"], "--repair", **{k: v.strip("'") for k, v in exports.items()}
        )
        assert repaired.returncode == 0, repaired.stderr
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        process.stdout.close()
        assert process.wait(60) == 0
    assert b"going down" in rest
    assert not Path(file).exists()
