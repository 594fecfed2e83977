"""`run-index`: what the commands print, write and answer as exit codes, on a real bucket."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, ago, request, run, with_run
from tests.doors.door_setup import DEVELOPER, Reality, Tfpilot, json_lines, token_of
from tfpilot.core.document import render_document
from tfpilot.core.model import WorkflowKind
from tfpilot.core.run_index import entry_key, new_entry, render_entry

pytestmark = pytest.mark.server

PLAN = WorkflowKind.PLAN


def content_of(request_id: str, run_id: int, *, age: timedelta = timedelta(hours=1)) -> bytes:
    return render_entry(new_entry(PLAN, run_id, request_id, created_at=NOW - age))


@pytest.fixture
def indexed(reality: Reality) -> Reality:
    """A request with an entry, one whose run has none, an expired entry and one that is no JSON."""
    for request_id, run_id in (("req_a", 1), ("req_missing", 2)):
        reality.store(with_run(request(request_id), "plan", **run(run_id, createdAt=ago(hours=1))))
    reality.write(entry_key(PLAN, 1), content_of("req_a", 1))
    reality.write(entry_key(PLAN, 3), content_of("req_a", 3, age=timedelta(days=91)))
    reality.write(entry_key(PLAN, 4), b"{")
    return reality


def one(tfpilot: Tfpilot, *arguments: str, code: int = 0) -> Any:
    result = tfpilot("run-index", *arguments, "--json")
    assert result.exit_code == code, result.output
    [answer] = json_lines(result)
    return answer


def everything(reality: Reality) -> dict[str, bytes | None]:
    keys = reality.keys()
    return {key: reality.read(key) for key in keys}


def found(answer: Any) -> set[tuple[str, int]]:
    return {(finding["code"], finding["runId"]) for finding in answer["findings"]}


def test_get_shows_whose_a_run_is(indexed: Reality, tfpilot: Tfpilot):
    assert one(tfpilot, "get", "plan", "1") == json.loads(content_of("req_a", 1))
    assert "plan run 1 belongs to req_a" in tfpilot("run-index", "get", "plan", "1").stdout


@pytest.mark.parametrize(("place", "code"), [(("plan", "9"), 1), (("plan", "4"), 1), (("deploy", "1"), 2),
                                             (("plan", "x"), 2)])  # fmt: skip
def test_get_exits_1_without_an_entry_and_2_for_what_cannot_be_one(
    indexed: Reality, tfpilot: Tfpilot, place: tuple[str, str], code: int
):
    assert one(tfpilot, "get", *place, code=code)["success"] is False


def test_list_shows_the_newest_runs_first_and_what_cannot_be_used(indexed: Reality, tfpilot: Tfpilot):
    answer = one(tfpilot, "list", "--limit", "2")
    assert ([each["runId"] for each in answer["entries"]], answer["total"]) == ([4, 3], 3)
    assert answer["entries"][0]["entry"] is None
    assert answer["entries"][1]["entry"]["requestId"] == "req_a"
    assert one(tfpilot, "list", "--kind", "destroy")["total"] == 0
    lines = tfpilot("run-index", "list").stdout
    assert "3 of 3, the newest run first" in lines


def test_audit_exits_1_where_there_are_findings_and_0_where_all_are_ignored(indexed: Reality, tfpilot: Tfpilot):
    answer = one(tfpilot, "audit", code=1)
    assert found(answer) == {("MISSING", 2), ("EXPIRED", 3), ("SUPERSEDED", 3), ("MALFORMED", 4)}
    assert "4 findings, 0 ignored, of 3 entries and 2 requests" in tfpilot("run-index", "audit").stdout
    for finding in answer["findings"]:
        one(tfpilot, "ignore", finding["code"], finding["key"], "--reason", "known")
    assert one(tfpilot, "audit")["findings"] == []
    assert "ignored by ops-lead" in tfpilot("run-index", "audit").stdout
    one(tfpilot, "unignore", "MISSING", entry_key(PLAN, 2), "--reason", "look again")
    assert found(one(tfpilot, "audit", code=1)) == {("MISSING", 2)}


@pytest.mark.parametrize("command", [("backfill",), ("prune",), ("fix", "MALFORMED", "EXPIRED")])
def test_without_apply_a_plan_is_shown_and_nothing_written(indexed: Reality, tfpilot: Tfpilot, command: tuple[str]):
    before = everything(indexed)
    assert one(tfpilot, *command)["steps"]
    assert "nothing was written; add --apply" in tfpilot("run-index", *command).stdout
    assert everything(indexed) == before


def test_backfill_writes_the_missing_entry_and_undo_removes_it(indexed: Reality, tfpilot: Tfpilot):
    answer = one(tfpilot, "backfill", "--apply")
    assert [result["outcome"] for result in answer["results"]] == ["done"]
    assert indexed.read(entry_key(PLAN, 2)) == content_of("req_missing", 2)
    assert [each["fixId"] for each in one(tfpilot, "fixes")] == [answer["fixId"]]
    assert [result["outcome"] for result in one(tfpilot, "undo", answer["fixId"])["results"]] == ["done"]
    assert indexed.read(entry_key(PLAN, 2)) is None


def test_prune_removes_what_expired_keeps_a_backup_and_undo_brings_it_back(indexed: Reality, tfpilot: Tfpilot):
    before = indexed.read(entry_key(PLAN, 3))
    result = tfpilot("run-index", "prune", "--apply")
    assert (result.exit_code, "undo: python -m tfpilot run-index undo fix-" in result.stdout) == (0, True)
    assert indexed.read(entry_key(PLAN, 3)) is None
    fix_id = result.stdout.split("run-index undo ")[1].strip()
    one(tfpilot, "undo", fix_id)
    assert indexed.read(entry_key(PLAN, 3)) == before


def test_a_step_that_is_not_done_makes_the_command_fail(indexed: Reality, tfpilot: Tfpilot):
    answer = one(tfpilot, "prune", "--apply")
    indexed.write(entry_key(PLAN, 3), content_of("req_a", 3))
    undone = one(tfpilot, "undo", answer["fixId"], code=1)
    assert [result["outcome"] for result in undone["results"]] == ["changed meanwhile"]
    assert indexed.read(entry_key(PLAN, 3)) == content_of("req_a", 3)


def test_versions_show_what_was_overwritten_and_it_is_written_again(indexed: Reality, tfpilot: Tfpilot):
    client, name = indexed.bucket.client, indexed.bucket.name
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    indexed.write(entry_key(PLAN, 1), content_of("req_a", 1))
    indexed.write(entry_key(PLAN, 1), content_of("req_missing", 1))
    assert ("OVERWRITTEN", 1) not in found(one(tfpilot, "audit", code=1))
    assert ("OVERWRITTEN", 1) in found(one(tfpilot, "audit", "--versions", code=1))
    one(tfpilot, "fix", "OVERWRITTEN", "--versions", "--apply")
    assert indexed.read(entry_key(PLAN, 1)) == content_of("req_a", 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("fix",),
        ("fix", "NONSENSE"),
        ("ignore", "NONSENSE", "key", "--reason", "x"),
        ("ignore", "MISSING", "key"),
        ("undo", "../x"),
        ("list", "--limit", "0"),
    ],
)
def test_misuse_exits_2(indexed: Reality, tfpilot: Tfpilot, arguments: tuple[str, ...]):
    assert tfpilot("run-index", *arguments).exit_code == 2


def test_a_developer_may_backfill_and_not_prune(indexed: Reality, tfpilot: Tfpilot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_TOKEN", token_of(DEVELOPER))
    assert one(tfpilot, "backfill", "--apply")["fixId"]
    assert "maya-k is a developer and may not" in one(tfpilot, "prune", "--apply", code=1)["error"]
    assert indexed.read(entry_key(PLAN, 3)) is not None


def test_an_orphan_is_removed_after_both_places_said_404_and_stays_where_one_did_not(
    reality: Reality, tfpilot: Tfpilot
):
    reality.write(entry_key(PLAN, 5), content_of("req_gone", 5, age=timedelta(days=2)))
    reality.write(entry_key(PLAN, 6), content_of("req_old", 6, age=timedelta(days=2)))
    reality.write("history/req_old.json", render_document(request("req_old")))
    assert found(one(tfpilot, "audit", code=1)) == {("ORPHAN", 5), ("ARCHIVED_ONLY", 6)}
    one(tfpilot, "fix", "ORPHAN", "--apply")
    assert (reality.read(entry_key(PLAN, 5)), reality.read(entry_key(PLAN, 6)) is not None) == (None, True)
