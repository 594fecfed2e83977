"""`locks`: what the commands print, remove and answer as exit codes, on a real bucket."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.github_setup import FILES, REPO
from tests.doors.door_setup import APPROVER, Reality, Tfpilot, json_lines, token_of
from tests.lock_setup import LOCK, lock_text
from tfpilot import wiring
from tfpilot.core.model import WorkflowKind

pytestmark = pytest.mark.server

KEY, MALFORMED, FREE = "dev/a.tfstate", "dev/b.tfstate", "dev/c.tfstate"
REASON = ("--reason", "its runner is gone")


@pytest.fixture
def locked(reality: Reality, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reality:
    """A target with a runner's lock, a malformed one and a free state, and the run that is over."""
    file = tmp_path / "targets.toml"
    states = "".join(
        f'[[targets.states]]\nkey = "{key}"\ntarget_env_path = "envs/dev"\n' for key in (KEY, MALFORMED, FREE)
    )
    file.write_text(
        f'[[targets]]\nname = "core-dev"\nenvironment = "dev"\nrepo = "{REPO}"\n'
        f'state_bucket = "{reality.bucket.name}"\nlock_mode = "lockfile"\n{states}'
    )
    monkeypatch.setenv("TFPILOT_RESET_TARGETS", str(file))
    reality.clock.now = datetime.now(UTC)  # the edge compares GitHub's clock with the machine's own

    def sleep(duration: timedelta) -> None:
        reality.clock.advance(seconds=duration.total_seconds())

    monkeypatch.setattr(wiring, "_sleep", sleep)
    taken = reality.clock.now - timedelta(hours=3)
    reality.write(f"{KEY}.tflock", lock_text(since=taken).encode())
    reality.write(f"{MALFORMED}.tflock", b"no json")
    reality.world.add_run(
        REPO,
        FILES[WorkflowKind.APPLY],
        branch="request/req_dev_a",
        conclusion="cancelled",
        at=taken - timedelta(minutes=1),
        updated_at=taken + timedelta(minutes=5),
    )
    return reality


def one(tfpilot: Tfpilot, *arguments: str, code: int = 0) -> Any:
    result = tfpilot("locks", *arguments, "--json")
    assert result.exit_code == code, result.output
    [answer] = json_lines(result)
    return answer


def test_list_shows_every_lock_with_its_verdict_and_how_many_states_are_free(locked: Reality, tfpilot: Tfpilot):
    answer = one(tfpilot, "list")
    assert [(lock["key"], lock["verdict"]) for lock in answer["locks"]] == [(KEY, "dead"), (MALFORMED, "malformed")]
    assert (answer["free"], answer["targets"], answer["unread"]) == (1, 1, [])
    dead = answer["locks"][0]
    assert (dead["who"], dead["lockId"], dead["runs"][0]["requestId"]) == ("runner@fv-az812-44", LOCK, "req_dev_a")
    lines = tfpilot("locks", "list").stdout
    assert "no job is running" in lines
    assert "2 locks of 1 targets; 1 further state keys are free" in lines


def test_show_tells_what_to_type(locked: Reality, tfpilot: Tfpilot):
    assert f"--lock-id {LOCK}" in tfpilot("locks", "show", "core-dev", KEY).stdout
    assert f"--lock-id {MALFORMED}.tflock" in tfpilot("locks", "show", "core-dev", MALFORMED).stdout
    assert one(tfpilot, "show", "core-dev", FREE)["locks"] == []
    assert "core-dev dev/c.tfstate is free" in tfpilot("locks", "show", "core-dev", FREE).stdout


def test_unlock_reads_twice_keeps_what_stood_there_and_removes_it(locked: Reality, tfpilot: Tfpilot):
    stood = locked.read(f"{KEY}.tflock")
    result = tfpilot("locks", "unlock", "core-dev", KEY, "--lock-id", LOCK, *REASON)
    assert result.exit_code == 0, result.output
    assert "The second follows in 30 s" in result.stdout
    assert (locked.read(f"{KEY}.tflock"), locked.read(f"{MALFORMED}.tflock")) == (None, b"no json")
    [key] = locked.keys("ops/backups/locks/")
    kept = json.loads(locked.read(key) or b"")
    assert kept["places"][0]["text"].encode() == stood
    assert (kept["releasedBy"], kept["reason"]) == ("ops-lead", "its runner is gone")


def test_a_malformed_lock_is_unlocked_by_the_key_of_its_place(locked: Reality, tfpilot: Tfpilot):
    answer = one(tfpilot, "unlock", "core-dev", MALFORMED, "--lock-id", f"{MALFORMED}.tflock", *REASON)
    assert (answer["success"], answer["places"][0]["outcome"]) == (True, "removed")
    assert locked.read(f"{MALFORMED}.tflock") is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("core-dev", KEY, "--lock-id", "another", *REASON), "The lock id is typed"),
        (("core-dev", KEY, "--lock-id", LOCK, "--reason", ""), "A reason is given"),
        (("core-dev", FREE, "--lock-id", LOCK, *REASON), "No lock of core-dev dev/c.tfstate is held"),
        (("core-dev", "other.tfstate", "--lock-id", LOCK, *REASON), "has no state other.tfstate"),
        (("nowhere", KEY, "--lock-id", LOCK, *REASON), "There is no reset target nowhere"),
    ],
)
def test_what_is_refused_exits_1_and_removes_nothing(
    locked: Reality, tfpilot: Tfpilot, arguments: tuple[str, ...], said: str
):
    before = locked.keys()
    assert said in one(tfpilot, "unlock", *arguments, code=1)["error"]
    stored = locked.keys()
    assert [key for key in stored if not key.startswith("ops/audit/")] == before


def test_an_approver_may_not_unlock(locked: Reality, tfpilot: Tfpilot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_TOKEN", token_of(APPROVER))
    told = one(tfpilot, "unlock", "core-dev", KEY, "--lock-id", LOCK, *REASON, code=1)["error"]
    assert "tom-r is an approver and may not release a Terraform lock" in told
    assert locked.read(f"{KEY}.tflock") is not None


def test_a_target_that_cannot_be_read_is_told_and_exits_1(locked: Reality, tfpilot: Tfpilot, tmp_path: Path):
    file = tmp_path / "targets.toml"
    other = file.read_text().replace("core-dev", "gone-dev").replace(locked.bucket.name, "no-such-bucket-of-ours")
    file.write_text(f"{file.read_text()}\n{other}")
    answer = one(tfpilot, "list", code=1)
    assert [each["target"] for each in answer["unread"]] == ["gone-dev"]
    assert len(answer["locks"]) == 2
    assert "unread     gone-dev" in tfpilot("locks", "list").stdout


@pytest.mark.parametrize(
    "arguments", [("unlock", "core-dev", KEY), ("unlock", "core-dev", KEY, "--lock-id", LOCK), ("show", "core-dev"), ()]
)
def test_misuse_exits_2(locked: Reality, tfpilot: Tfpilot, arguments: tuple[str, ...]):
    assert tfpilot("locks", *arguments).exit_code == 2
