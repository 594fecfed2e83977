"""`explain-webhook --jsonl`: what a webhook would change and why, offline, a line in and a line out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import NOW, REQUEST_ID, ago, request, run, with_pull, with_run
from tests.doors.door_setup import Tfpilot, json_lines
from tests.webhook_payloads import merged_payload, review_payload, run_payload
from tfpilot.core.document import format_time

FIELDS = {"kind", "request_id", "decision", "reason", "changes"}


def line(event: str, payload: Any, document: Any = None, **fields: Any) -> str:
    given = {} if document is None else {"request": document}
    return json.dumps({"event": event, "payload": payload, "now": format_time(NOW), **given, **fields})


def explained(tfpilot: Tfpilot, *lines: str, exit_code: int = 0) -> list[dict[str, Any]]:
    result = tfpilot("explain-webhook", "--jsonl", "-", given="\n".join(lines))
    assert result.exit_code == exit_code
    return json_lines(result)


def test_a_webhook_is_explained_without_any_setting_or_network(tfpilot: Tfpilot):
    document = with_run(request(), "plan", **run(101, "queued"))
    (told,) = explained(tfpilot, line("workflow_run", run_payload(), document))
    assert set(told) == FIELDS
    assert (told["kind"], told["request_id"], told["decision"]) == ("plan", REQUEST_ID, "apply")
    assert {"path": "github.workflows.plan.status", "before": "queued", "after": "completed"}.items() <= told[
        "changes"
    ][0].items()


def test_what_is_ignored_says_why_and_changes_nothing(tfpilot: Tfpilot):
    document = having_apply(55)
    told = explained(
        tfpilot,
        line("workflow_run", run_payload(101, "apply"), document),
        line("pull_request", merged_payload(8), with_pull(request())),
        line("pull_request_review", review_payload("commented"), with_pull(request())),
        line("push", {}, document),
    )
    assert [each["decision"] for each in told] == ["ignore"] * 4
    assert [each["changes"] for each in told] == [[]] * 4
    assert [each["reason"] for each in told] == [
        "the request tracks apply run 55",
        "the request's pull request is #7",
        "a review that says commented does not count",
        "events of the kind push are not handled",
    ]


def having_apply(run_id: int) -> dict[str, Any]:
    return with_run(request(), "apply", **run(run_id, "queued"))


def test_without_a_request_the_kind_and_the_id_that_is_named_are_told(tfpilot: Tfpilot):
    (told,) = explained(tfpilot, line("workflow_run", run_payload(display_title="for req_never_was")))
    assert (told["kind"], told["request_id"], told["decision"]) == ("plan", REQUEST_ID, "ignore")


def test_a_foreign_run_is_not_said_to_be_the_given_requests(tfpilot: Tfpilot):
    foreign = run_payload(kind="apply", display_title="for req_other")
    (told,) = explained(tfpilot, line("workflow_run", foreign, request()))
    assert (told["request_id"], told["decision"]) == ("req_other", "ignore")


def test_the_workflow_files_of_the_settings_count(tfpilot: Tfpilot, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GITHUB_PLAN_WORKFLOW_FILE", "terraform-plan.yaml")
    payload = run_payload(path=".github/workflows/terraform-plan.yaml")
    told = explained(tfpilot, line("workflow_run", payload), line("workflow_run", run_payload()))
    assert [each["kind"] for each in told] == ["plan", None]


@pytest.mark.parametrize("payload", [None, [], 7, "x", {}])
def test_a_payload_of_any_shape_is_explained(tfpilot: Tfpilot, payload: Any):
    (told,) = explained(tfpilot, line("workflow_run", payload))
    assert (told["kind"], told["request_id"], told["decision"]) == (None, None, "ignore")


def test_lines_that_cannot_be_used_keep_their_place_and_make_the_exit_code_1(tfpilot: Tfpilot):
    good = line("workflow_run", run_payload())
    bad = [
        "{",
        "[]",
        "{}",
        json.dumps({"event": "ping", "now": ago()}),
        json.dumps({"event": 7, "payload": {}, "now": ago()}),
        line("ping", {}, now="yesterday"),
        line("ping", {}, document=[]),
        line("ping", {}, document="x"),
    ]
    told = explained(tfpilot, good, *bad, good, exit_code=1)
    assert [("error" in each) for each in told] == [False, *[True] * len(bad), False]
    assert [each["line"] for each in told[1:-1]] == list(range(2, len(bad) + 2))


def test_a_file_is_read_as_standard_input_is(tfpilot: Tfpilot, tmp_path: Path):
    text = line("pull_request", merged_payload(), with_pull(request())) + "\n"
    (tmp_path / "in.jsonl").write_text(text)
    from_file = tfpilot("explain-webhook", "--jsonl", str(tmp_path / "in.jsonl"))
    assert (from_file.exit_code, from_file.stdout) == (
        0,
        tfpilot("explain-webhook", "--jsonl", "-", given=text).stdout,
    )
    assert tfpilot("explain-webhook", "--jsonl", str(tmp_path / "missing")).exit_code == 2
    assert "explain-webhook --jsonl" in tfpilot("explain-webhook").stderr
