"""Stored bytes, ids and single fields: what is read, what is refused, and that nothing is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.builders import REQUEST_ID, request
from tfpilot.core.document import (
    apply_changes,
    check_request_id,
    format_time,
    is_request_id,
    number_of,
    parse_document,
    parse_json,
    parse_time,
    render_document,
)
from tfpilot.core.model import ABSENT, FieldChange
from tfpilot.errors import DocumentError, MalformedIdError


def read(body: bytes):
    return parse_document(body, request_id=REQUEST_ID)


def with_field(text: str) -> bytes:
    return f'{{"id": "{REQUEST_ID}", "x": {text}}}'.encode()


# --- ids


@pytest.mark.parametrize("text", ["req_a", "req_dev_s3_abc123", "req_" + "a" * 124])
def test_what_the_web_app_calls_a_request_is_an_id(text):
    assert check_request_id(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "req_",
        "REQ_a",
        "req_A",
        "req-a",
        " req_a",
        "req_a\n",
        "req_\x00",
        "../req_a",
        "req_../x",
        "req_a/b",
        "req_é",
        "req_\u0661",
        "req_" + "a" * 125,
        "req_" + "a" * 10_000,
    ],
)
def test_anything_else_is_refused_with_a_short_message(text):
    assert not is_request_id(text)
    with pytest.raises(MalformedIdError) as refused:
        check_request_id(text)
    assert len(refused.value.message) < 200
    assert "req_" in refused.value.hint


# --- bytes


def test_a_document_is_read_as_it_was_written():
    assert read(render_document(request())) == request()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"id": "req_\xc3\x28"}', "not UTF-8"),
        (b"null", "null, not an object"),
        (b"[]", "array, not an object"),
        (b'"text"', "string, not an object"),
        (b"12", "number, not an object"),
        (b"true", "boolean, not an object"),
        (b"{}", "its id is None"),
        (b'{"id": "req_other"}', "req_other"),
        (b'{"id": ["req_dev_s3_abc123"]}', "its id is"),
        (with_field("NaN"), "NaN"),
        (with_field("Infinity"), "Infinity"),
        (with_field("-Infinity"), "Infinity"),
        (with_field("1e400"), "too large"),
        (with_field("9" * 5000), "not JSON"),
        (with_field("1") + b"{}", "not JSON"),
        (with_field("[" * 200 + "]" * 200), "nested deeper"),
        (b"[" * 200_000, "nested"),
        (b'{"a":' * 200_000, "nested"),
    ],
)
def test_what_is_no_document_of_this_request_says_why(body, why):
    with pytest.raises(DocumentError) as refused:
        read(body)
    assert why in refused.value.message
    assert REQUEST_ID in refused.value.message
    assert len(refused.value.message) < 300
    assert refused.value.hint


def test_a_document_may_be_nested_a_hundred_levels_deep():
    deepest = with_field("[" * 99 + "]" * 99)
    assert read(deepest)["id"] == REQUEST_ID
    with pytest.raises(DocumentError):
        read(with_field("[" * 100 + "]" * 100))


def test_of_two_fields_with_one_name_the_last_counts_as_it_does_for_the_web_app():
    assert read(with_field('1, "x": 2'))["x"] == 2


def test_half_a_surrogate_pair_survives_a_write():
    document = read(with_field('"\\ud800"'))
    assert read(render_document(document)) == document
    assert b"\\ud800" in render_document(document)


@pytest.mark.parametrize("text", ['"é ≠ 🚀"', "1152921504606846977", "0.1", "1e-7", '""', '{"": {"a b": [null, {}]}}'])
def test_every_value_survives_a_write(text):
    assert read(render_document(read(with_field(text))))["x"] == json.loads(text)


def test_a_document_is_written_as_the_web_app_writes_it():
    assert render_document({"id": "req_a", "who": "Zoë"}) == '{\n  "id": "req_a",\n  "who": "Zoë"\n}'.encode()


def test_any_json_value_can_be_read_where_no_request_is_expected():
    assert parse_json(b"[1, null]", what="The memo") == [1, None]
    with pytest.raises(DocumentError, match="The memo is not JSON"):
        parse_json(b"{]", what="The memo")


# --- times and numbers


@pytest.mark.parametrize(
    "text",
    ["2026-03-02T12:00:00Z", "2026-03-02T12:00:00.000Z", "2026-03-02T12:00:00.000000000Z", "2026-03-02T14:00:00+02:00"],
)
def test_one_instant_has_many_spellings(text):
    assert parse_time(text) == datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        1772445600,
        True,
        [],
        {},
        "2026-03-02",
        "2026-03-02T12:00:00",
        "2026-03-02 12:00:00Z",
        "2026-13-02T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-03-02T25:00:00Z",
        "2026-03-02T12:00:00+99:00",
        " 2026-03-02T12:00:00Z",
        "2026-03-02T12:00:00Z\n",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-02:00",
    ],
)
def test_what_names_no_instant_is_no_time(value):
    assert parse_time(value) is None


def test_a_time_is_written_with_milliseconds_in_utc():
    assert format_time(datetime(2026, 3, 2, 12, 0, 0, 1999, tzinfo=UTC)) == "2026-03-02T12:00:00.001Z"
    assert format_time(parse_time("2026-03-02T14:00:00+02:00")) == "2026-03-02T12:00:00.000Z"


@pytest.mark.parametrize("value", [1, 1.0, 2**63 - 1])
def test_ids_and_attempts_are_whole_numbers_from_one_on(value):
    assert number_of(value) == int(value)


@pytest.mark.parametrize("value", [0, -1, 2**63, 1.5, 1e300, float("inf"), float("nan"), True, "1", None])
def test_other_values_are_no_number(value):
    assert number_of(value) is None


# --- changes


def change(path: str, after):
    return FieldChange(tuple(path.split(".")), ABSENT, after, "")


def test_a_change_touches_its_field_alone_and_keeps_the_order():
    document = {"b": 1, "a": {"y": 1, "x": {"deep": [1]}}, "c": 3}
    changed = apply_changes(document, [change("a.z", 2), change("b", 4)])
    assert changed == {"b": 4, "a": {"y": 1, "x": {"deep": [1]}, "z": 2}, "c": 3}
    assert list(changed) == ["b", "a", "c"]
    assert document == {"b": 1, "a": {"y": 1, "x": {"deep": [1]}}, "c": 3}


def test_a_field_can_be_removed_and_removed_again():
    assert apply_changes({"a": {"b": 1, "c": 2}}, [change("a.b", ABSENT), change("a.b", ABSENT)]) == {"a": {"c": 2}}


@pytest.mark.parametrize("parent", [None, "text", 1, [1]])
def test_something_that_holds_no_fields_gives_way_to_an_object(parent):
    assert apply_changes({"a": parent}, [change("a.b", 1)]) == {"a": {"b": 1}}
