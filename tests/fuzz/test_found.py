"""What fuzzing found, each once: bytes that a parser answered with an error of Python's own, or with none to go by."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.core.reset_world import state_bytes
from tests.fakes import MemoryBucket, MemoryBulk
from tests.fuzz import samples
from tests.fuzz.parsers import PARSERS
from tfpilot.adapters.github_errors import server_time
from tfpilot.adapters.index_journal import S3IndexJournal, render_step
from tfpilot.core.document import render_document
from tfpilot.core.reset_plan_document import plan_fields
from tfpilot.core.terraform_state import empty_state
from tfpilot.errors import ConfigError, DocumentError

BY_NAME = {parser.name: parser for parser in PARSERS}


def parse(name: str, content: bytes) -> object:
    return BY_NAME[name].parse(content)


def changed(name: str, **fields: Any) -> bytes:
    return json.dumps({**json.loads(BY_NAME[name].samples[0]), **fields}).encode()


@pytest.mark.parametrize("field", ["kind", "state"])
def test_a_record_of_a_dispatch_with_a_list_for_a_word_is_none(field):
    assert parse("dispatch", changed("dispatch", **{field: []})) is None


@pytest.mark.parametrize("field", ["door", "part"])
def test_an_audit_record_with_an_object_for_a_word_is_none(field):
    with pytest.raises(DocumentError, match="is no audit record"):
        parse("audit record", changed("audit record", **{field: {}}))


def test_an_index_entry_with_a_list_for_its_kind_is_refused_with_what_to_do():
    with pytest.raises(DocumentError, match="kind cannot be used") as refused:
        parse("entry of the run index", changed("entry of the run index", kind=[]))
    assert "run-index audit" in refused.value.hint


def test_an_approval_that_was_asked_for_in_a_list_of_modes_was_not_asked_for():
    assert parse("asked approval", changed("asked approval", stateMode=["remove"])) == (None, None)


@pytest.mark.parametrize("body", ["\ud800", "é", "no base64!", "a"])
def test_a_kept_delivery_whose_body_is_no_base64_is_none(body):
    assert parse("kept delivery", changed("kept delivery", bodyBase64=body)) == []


@pytest.mark.parametrize("content", [{"text": "\ud800"}, {"base64": "é"}, {"base64": "a"}])
def test_a_step_of_a_fix_whose_backup_cannot_be_read_is_refused(content):
    with pytest.raises(DocumentError, match="Step 1 of the fix cannot be read"):
        parse("fix of the run index", changed("fix of the run index", before=content))


def test_an_object_that_is_no_step_does_not_hide_a_fix():
    bucket, of = MemoryBucket(), "ops/backups/run-index/fix-1/"
    bucket.write(f"{of}fix.json", render_document({"fixId": "fix-1", "at": samples.MARK["at"]}))
    bucket.write(f"{of}000001.json", render_document(render_step(samples.FIX)))
    bucket.write(f"{of}7.json", b"{}")
    assert [step.number for step in S3IndexJournal(bucket, MemoryBulk(bucket)).get("fix-1").steps] == [1]


@pytest.mark.parametrize("state", [state_bytes(lineage="\ud800"), state_bytes(serial=10**4000), state_bytes(2**63)])
def test_a_state_whose_lineage_or_serial_nobody_can_continue_is_not_emptied(state):
    with pytest.raises(DocumentError, match="cannot be emptied"):
        empty_state(state)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("requests", 0, "requestId"), 7),
        (("entries", 0, "object", "key"), None),
        (("states", 0, "locks"), [1, "a"]),
        (("target", "name"), []),
        (("withIndex",), "yes"),
    ],
)
def test_a_plan_with_values_of_other_types_is_none_whatever_its_digest(path, value):
    fields = json.loads(json.dumps(plan_fields(samples.PLAN)))
    place = fields["binding"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(DocumentError, match="is no plan of a reset"):
        parse("plan of a reset, sealed anew", json.dumps(fields).encode())


@pytest.mark.parametrize(
    "date", ["Mon, 02 Mar 99999999999999999999 12:00:00 GMT", "Mon, 02 Mar 2026 12:00:00 +9999999999999"]
)
def test_a_date_that_no_calendar_has_is_no_time(date):
    assert server_time({"date": date}) is None


@pytest.mark.parametrize("content", [b"a = " + b"[" * 100_000, b"a = " + b"9" * 5000, b"a\x00 = 1", b"\xff"])
def test_a_file_of_targets_that_toml_cannot_hold_is_refused(content):
    with pytest.raises(ConfigError, match="cannot be read"):
        parse("file of targets", content)


@pytest.mark.parametrize(
    "content",
    [
        {"k" * 5000: 1},
        {"targets": [{"name": "x" * 5000}]},
        {"targets": [{**samples.TARGET_TABLES["targets"][0], "k" * 5000: 1}]},
        {"targets": [{**samples.TARGET_TABLES["targets"][0], "environment": ["x"] * 5000}]},
    ],
)
def test_what_is_wrong_with_a_target_is_told_in_a_few_words(content):
    with pytest.raises(ConfigError) as refused:
        parse("tables of targets", json.dumps(content).encode())
    assert len(refused.value.message) < 300
