"""`run-index lifecycle`: shows, plans, and applies only what was shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.builders import REQUEST_ID
from tests.doors.door_setup import DEVELOPER, Reality, json_lines, token_of
from tfpilot.adapters.lifecycle import S3Lifecycle
from tfpilot.cli.lifecycle import lifecycle_commands
from tfpilot.core.bucket_rules import rules_of
from tfpilot.core.model import WorkflowKind
from tfpilot.core.retention import RULE_ID
from tfpilot.core.run_index import entry_key

pytestmark = pytest.mark.server

LOGS: dict[str, Any] = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}


@pytest.fixture(autouse=True)
def entry(reality: Reality) -> None:
    """One entry in the index of a bucket that has a rule of somebody else's."""
    reality.write(entry_key(WorkflowKind.APPLY, 7), json.dumps({"requestId": REQUEST_ID}).encode())
    S3Lifecycle(reality.bucket).put({"Rules": [LOGS]})


def lifecycle(*arguments: str) -> Result:
    result = CliRunner().invoke(lifecycle_commands, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def stored_ids(reality: Reality) -> list[str]:
    return [rule["ID"] for rule in rules_of(S3Lifecycle(reality.bucket).read().configuration)]


def test_show_tells_the_cover_the_simulation_and_the_versions() -> None:
    result = lifecycle("show")
    assert result.exit_code == 0
    assert "No lifecycle rule is about the run index" in result.stdout
    assert "apply       removes 0 of 1 today, 0 in 30 days" in result.stdout
    assert "Versions of objects: never" in result.stdout


def test_show_as_json_is_one_object() -> None:
    (told,) = json_lines(lifecycle("show", "--json"))
    assert (told["covered"], told["versioning"], told["unknown"]) == (False, "never", [])
    assert told["removes"]["apply"] == {"stored": 1, "today": 0, "in30Days": 0}
    assert told["removedAfterDays"] == {kind.value: None for kind in WorkflowKind}
    assert told["configuration"]["Rules"] == [LOGS]


def test_plan_shows_the_difference_and_the_digest_and_writes_nothing(reality: Reality) -> None:
    (told,) = json_lines(lifecycle("plan", "--json"))
    result = lifecycle("plan")
    assert f'+      "ID": "{RULE_ID}",' in result.stdout
    assert f"run-index lifecycle apply --digest {told['digest']}" in result.stdout
    assert told["changes"]
    assert stored_ids(reality) == ["logs"]


@pytest.mark.parametrize("given", [(), ("--digest", "0123456789ab")])
def test_apply_without_the_digest_of_the_plan_is_refused_and_tells_it(given: tuple[str, ...], reality: Reality) -> None:
    (plan,) = json_lines(lifecycle("plan", "--json"))
    result = lifecycle("apply", *given)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"--digest {plan['digest']}" in result.stderr
    assert stored_ids(reality) == ["logs"]


def test_apply_writes_what_was_shown_and_tells_what_stands_now(reality: Reality) -> None:
    (plan,) = json_lines(lifecycle("plan", "--json"))
    result = lifecycle("apply", "--digest", plan["digest"])
    assert result.exit_code == 0
    assert "written and read back" in result.stdout
    assert f"Rule {RULE_ID} removes entries after 90 days" in result.stdout
    assert stored_ids(reality) == ["logs", RULE_ID]


def test_apply_to_a_covered_bucket_writes_nothing_and_needs_no_digest() -> None:
    (plan,) = json_lines(lifecycle("plan", "--json"))
    lifecycle("apply", "--digest", plan["digest"])
    (told,) = json_lines(lifecycle("apply", "--json"))
    assert (told["success"], told["written"], told["covered"]) == (True, False, True)
    assert "Nothing to write." in lifecycle("plan").stdout


def test_apply_is_refused_where_the_rules_changed_since_the_plan(reality: Reality) -> None:
    (plan,) = json_lines(lifecycle("plan", "--json"))
    S3Lifecycle(reality.bucket).put({"Rules": [{**LOGS, "ID": "newer"}]})
    result = lifecycle("apply", "--digest", plan["digest"], "--json")
    (told,) = json_lines(result)
    assert (result.exit_code, told["success"]) == (1, False)
    assert stored_ids(reality) == ["newer"]


def test_noncurrent_versions_are_part_of_the_plan_that_was_shown(reality: Reality) -> None:
    reality.bucket.client.put_bucket_versioning(
        Bucket=reality.bucket.name, VersioningConfiguration={"Status": "Enabled"}
    )
    assert "--noncurrent-days" in lifecycle("plan").stdout
    assert "apply --noncurrent-days 7 --digest" in lifecycle("plan", "--noncurrent-days", "7").stdout
    (plan,) = json_lines(lifecycle("plan", "--noncurrent-days", "7", "--json"))
    assert lifecycle("apply", "--digest", plan["digest"]).exit_code == 1
    assert lifecycle("apply", "--digest", plan["digest"], "--noncurrent-days", "7").exit_code == 0
    ours = rules_of(S3Lifecycle(reality.bucket).read().configuration)[1]
    assert ours["NoncurrentVersionExpiration"] == {"NoncurrentDays": 7}


def test_a_developer_may_look_and_plan_but_not_apply(reality: Reality, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", token_of(DEVELOPER))
    (plan,) = json_lines(lifecycle("plan", "--json"))
    result = lifecycle("apply", "--digest", plan["digest"])
    assert result.exit_code == 1
    assert "may not install the lifecycle rule" in result.stderr
    assert stored_ids(reality) == ["logs"]


@pytest.mark.parametrize(
    "given", [("plan", "--noncurrent-days", "0"), ("plan", "--noncurrent-days", "soon"), ("prune",)]
)
def test_arguments_that_make_no_sense_are_misuse(given: tuple[str, ...]) -> None:
    assert lifecycle(*given).exit_code == 2
