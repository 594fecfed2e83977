"""Stored JSON and the values in it: bytes, ids, times and single fields. Unknown fields pass through untouched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NoReturn, TypeVar

from tfpilot.core.model import ABSENT, FieldChange, JsonObject
from tfpilot.errors import DocumentError, MalformedIdError

Named = TypeVar("Named", bound=StrEnum)

MAX_DOCUMENT_BYTES: Final = 5 * 1024 * 1024
MAX_DEPTH: Final = 100
MAX_ID_LENGTH: Final = 128

_REQUEST_ID: Final = re.compile(r"req_[a-z0-9_]+")
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")
_YEARS: Final = range(1970, 9001)
_SHOWN_LENGTH: Final = 60
_TOO_LARGE: Final = 2**63


def is_request_id(text: str) -> bool:
    """Whether the text can be a request id (SPEC §0), at most 128 characters."""
    return len(text) <= MAX_ID_LENGTH and _REQUEST_ID.fullmatch(text) is not None


def check_request_id(text: str) -> str:
    """The id itself. Raises MalformedIdError where the text cannot be one."""
    if is_request_id(text):
        return text
    shown = text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}… ({len(text)} characters)"
    raise MalformedIdError(
        f"{shown!r} is not a request id",
        f"A request id is req_ and then a to z, 0 to 9 or _, at most {MAX_ID_LENGTH} characters: req_dev_s3_abc123.",
    )


def parse_document(body: bytes, *, request_id: str) -> JsonObject:
    """The request document in `body`.

    Raises DocumentError where it is not UTF-8 JSON, is nested deeper than 100 levels, holds a number JSON cannot carry,
    or is not the document of `request_id`.
    """
    document = parse_json(body, what=f"The document of {request_id}")
    if not isinstance(document, dict):
        raise DocumentError(
            f"The document of {request_id} is a JSON {_json_type(document)}, not an object", _REPAIR_BY_HAND
        )
    if document.get("id") != request_id:
        raise DocumentError(
            f"The document of {request_id} says that its id is {shown(document.get('id'))}", _REPAIR_BY_HAND
        )
    return document


def parse_json(body: bytes, *, what: str) -> object:
    """Any JSON value. Raises DocumentError, naming the object by `what`, where `body` is no JSON we can write back."""
    try:
        value: object = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise DocumentError(f"{what} is not UTF-8 (byte {error.start})", _REPAIR_BY_HAND) from error
    except RecursionError as error:
        raise DocumentError(f"{what} is nested too deeply", _REPAIR_BY_HAND) from error
    except ValueError as error:
        raise DocumentError(f"{what} is not JSON: {error}", _REPAIR_BY_HAND) from error
    if _is_deeper_than(value, MAX_DEPTH):
        raise DocumentError(f"{what} is nested deeper than {MAX_DEPTH} levels", _REPAIR_BY_HAND)
    return value


def render_document(document: JsonObject) -> bytes:
    """The bytes to store: UTF-8 JSON, 2-space indent, as the web app writes it."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, legal as an escape in JSON and nowhere else
        return json.dumps(document, indent=2, allow_nan=False).encode("ascii")


def parse_time(value: object) -> datetime | None:
    """The instant, in UTC, that an ISO-8601 text with a zone names; None for anything else.

    A year before 1970 or after 9000 is a placeholder ("0001-01-01T00:00:00Z") and no time: nothing happened then.
    """
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        return None
    try:
        at = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if at.year in _YEARS else None


def format_time(at: datetime) -> str:
    """The instant as `Date.toISOString()` writes it: milliseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def text_of(value: object) -> str | None:
    """The text, None where it is empty or something else."""
    return value if isinstance(value, str) and value else None


def number_of(value: object) -> int | None:
    """The whole number above 0 that fits 63 bits, None where it is something else. Ids and attempts start at 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _TOO_LARGE else None


def member_of(names: type[Named], value: object) -> Named | None:
    """The member that the text names, None where it names none or is something else."""
    return next((member for member in names if member.value == value), None)


def flag_of(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def object_of(value: object) -> JsonObject:
    """The object, an empty one where the value is something else."""
    return value if isinstance(value, Mapping) else {}


def shown(value: object) -> str:
    """What is stored, for a sentence: as Python writes it, so without line breaks or controls, and not too long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def field_at(document: JsonObject, path: Iterable[str]) -> object:
    """What stands at `path`, ABSENT where nothing does."""
    value: object = document
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return ABSENT
        value = value[name]
    return value


def apply_changes(document: JsonObject, changes: Iterable[FieldChange]) -> dict[str, Any]:
    """A new document with the changed fields; everything else as it was, in the same order.

    Something that is no object in the middle of a path is replaced by one: it could not hold the field.
    """
    changed = dict(document)
    for change in changes:
        _set(changed, change.path, change.after)
    return changed


def _set(target: dict[str, Any], path: tuple[str, ...], after: object) -> None:
    name, rest = path[0], path[1:]
    if rest:
        child = dict(object_of(target.get(name)))
        _set(child, rest, after)
        target[name] = child
    elif after is ABSENT:
        target.pop(name, None)
    else:
        target[name] = after


_REPAIR_BY_HAND: Final = (
    "Nothing was changed. Compare the object's earlier versions in the bucket and restore a good one."
)
_JSON_TYPES: Final = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array"}


def _json_type(value: object) -> str:
    return _JSON_TYPES.get(type(value), "value")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return number


def _is_deeper_than(value: object, limit: int) -> bool:
    level: list[Any] = [value]
    for _ in range(limit):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: object) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()
