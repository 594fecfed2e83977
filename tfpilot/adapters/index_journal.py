"""What was fixed in the run index: `ops/backups/run-index/<fix id>/`, an object for each thing that happened.

`fix.json` is the fix, `<n>.json` a step with what it is about to remove, `<n>-done.json` that it was carried out and
`<n>-undone.json` that it was taken back.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from tfpilot.adapters.bulk import Bulk
from tfpilot.adapters.keys import INDEX_FIXES, SUFFIX
from tfpilot.adapters.records import MAX_RECORD_BYTES, parse_record
from tfpilot.adapters.s3 import Bucket, Listed
from tfpilot.core.document import format_time, parse_time, render_document, text_of
from tfpilot.core.index_fixes import FixKind, FixRecord, FixStep, IndexFix, MustHold
from tfpilot.core.model import JsonObject
from tfpilot.errors import DocumentError, MalformedIdError, NotFoundError

_FIX: Final = "fix"
_STEP: Final = re.compile(r"[0-9]{6}")
_ID: Final = re.compile(r"fix-[a-z0-9-]{1,60}")


class S3IndexJournal:
    """`IndexJournal` on a bucket."""

    def __init__(self, bucket: Bucket, bulk: Bulk) -> None:
        self._bucket = bucket
        self._bulk = bulk

    def begin(self, record: FixRecord) -> None:
        fields = {
            "fixId": record.fix_id,
            "operator": record.operator,
            "at": format_time(record.at),
            "digest": record.digest,
        }
        self._add(record.fix_id, _FIX, fields)

    def intend(self, fix_id: str, step: FixStep) -> None:
        self._add(fix_id, _name(step.number), render_step(step))

    def done(self, fix_id: str, number: int, *, left: str) -> None:
        self._add(fix_id, f"{_name(number)}-done", {"left": left})

    def undone(self, fix_id: str, number: int, *, operator: str, at: datetime) -> None:
        self._add(fix_id, f"{_name(number)}-undone", {"operator": operator, "at": format_time(at)})

    def get(self, fix_id: str) -> FixRecord:
        records = self._read(self._bulk.list_all(_prefix(fix_id)).values())
        names = {key.removeprefix(_prefix(fix_id)).removesuffix(SUFFIX): record for key, record in records.items()}
        record = parse_fix(names.get(_FIX, {}))
        if record is None:
            raise NotFoundError(f"There is no fix {fix_id}", "`python -m tfpilot run-index fixes` lists them.")
        numbers = sorted(int(name) for name in names if _STEP.fullmatch(name))
        steps = tuple(_step(number, names) for number in numbers)
        return FixRecord(record.fix_id, record.operator, record.at, record.digest, steps)

    def list(self) -> Sequence[FixRecord]:
        listed = self._bulk.list_all(INDEX_FIXES)
        found = self._read(each for key, each in listed.items() if key.endswith(f"/{_FIX}{SUFFIX}"))
        records = [record for stored in found.values() if (record := parse_fix(stored)) is not None]
        return sorted(records, key=lambda record: (record.at, record.fix_id), reverse=True)

    def _add(self, fix_id: str, name: str, fields: JsonObject) -> None:
        self._bucket.put(f"{_prefix(fix_id)}{name}{SUFFIX}", render_document(fields), if_match=None)

    def _read(self, listed: Iterable[Listed]) -> Mapping[str, JsonObject]:
        fetched = self._bulk.read_all(list(listed), limit_bytes=MAX_RECORD_BYTES)
        return {each.listed.key: parse_record(each.content or b"", key=each.listed.key) for each in fetched}


def render_step(step: FixStep) -> JsonObject:
    """A step as it is stored before it is carried out."""
    fix = step.fix
    return {
        "code": fix.code,
        "kind": fix.kind.name,
        "key": fix.key,
        "etag": fix.etag,
        "requestId": fix.request_id,
        "mustHold": fix.must_hold.name,
        "environments": list(fix.environments),
        "before": _render_bytes(step.before),
        "after": _render_bytes(fix.content),
    }


def parse_step(number: int, stored: JsonObject) -> FixStep:
    """The step in a stored object. Raises DocumentError where it is none."""
    key, kind, must_hold = (text_of(stored.get(name)) for name in ("key", "kind", "mustHold"))
    environments = stored.get("environments")
    if (
        key is None
        or kind is None
        or must_hold is None
        or kind not in FixKind.__members__
        or must_hold not in MustHold.__members__
    ):
        raise _unreadable(number)
    fix = IndexFix(
        code=text_of(stored.get("code")) or "",
        kind=FixKind[kind],
        key=key,
        etag=text_of(stored.get("etag")) or "",
        content=_parse_bytes(stored.get("after"), number),
        request_id=text_of(stored.get("requestId")) or "",
        must_hold=MustHold[must_hold],
        environments=tuple(each for each in environments if isinstance(each, str))
        if isinstance(environments, list)
        else (),
    )
    return FixStep(number, fix, _parse_bytes(stored.get("before"), number))


def parse_fix(stored: JsonObject) -> FixRecord | None:
    """The fix in a stored object, without its steps; None where it is none."""
    fix_id, at = text_of(stored.get("fixId")), parse_time(stored.get("at"))
    if fix_id is None or at is None:
        return None
    return FixRecord(fix_id, text_of(stored.get("operator")) or "", at, text_of(stored.get("digest")) or "")


def _step(number: int, names: Mapping[str, JsonObject]) -> FixStep:
    step = parse_step(number, names[_name(number)])
    done = names.get(f"{_name(number)}-done")
    left = done.get("left") if done is not None else None
    undone = f"{_name(number)}-undone" in names
    return FixStep(number, step.fix, step.before, left if isinstance(left, str) else None, undone)


def _prefix(fix_id: str) -> str:
    if _ID.fullmatch(fix_id) is None:
        raise MalformedIdError(f"{fix_id[:60]!r} is not the id of a fix", "It was told when the fix was applied.")
    return f"{INDEX_FIXES}{fix_id}/"


def _name(number: int) -> str:
    return f"{number:06}"


def _render_bytes(content: bytes | None) -> Mapping[str, str] | None:
    """Text as it is, anything else in base64, so that a person can read a backup."""
    if content is None:
        return None
    try:
        return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


def _parse_bytes(stored: object, number: int) -> bytes | None:
    if not isinstance(stored, Mapping):
        return None
    text, encoded = stored.get("text"), stored.get("base64")
    try:
        if isinstance(text, str):
            return text.encode("utf-8")
        return base64.b64decode(encoded) if isinstance(encoded, str) else None
    except ValueError as error:  # half a surrogate pair, or no base64
        raise _unreadable(number) from error


def _unreadable(number: int) -> DocumentError:
    return DocumentError(f"Step {number} of the fix cannot be read", "Look at it under ops/backups/run-index/.")
