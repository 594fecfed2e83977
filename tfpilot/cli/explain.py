"""`explain --jsonl`: the status and findings of documents, offline, one line in and one line out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tfpilot.core.answers import findings_answer
from tfpilot.core.diagnosis import diagnose
from tfpilot.core.document import parse_json, parse_time
from tfpilot.core.lifecycle import explain, is_destroy_failed, needs_repair
from tfpilot.core.model import Thresholds
from tfpilot.core.request import parse_request
from tfpilot.errors import DocumentError


def explain_lines(lines: Iterable[bytes], thresholds: Thresholds) -> Iterator[dict[str, Any]]:
    """One answer per line that is not blank, in order. A line that cannot be used answers `error` and its number."""
    hint = 'Send {"request": {…}, "now": "ISO time"}.'
    return answers_by_line(lines, lambda line, what: _explained(line, what, thresholds), hint=hint)


def answers_by_line(
    lines: Iterable[bytes], explain_line: Callable[[bytes, str], dict[str, Any]], *, hint: str
) -> Iterator[dict[str, Any]]:
    """What `explain_line` answers to each line that is not blank, in order; where it raises DocumentError, the number
    of the line, the error and the hint."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield explain_line(line, f"Line {number}")
        except DocumentError as error:
            yield {"line": number, "error": error.message, "hint": hint}


def _explained(line: bytes, what: str, thresholds: Thresholds) -> dict[str, Any]:
    asked = parse_json(line, what=what)
    if not isinstance(asked, dict) or not isinstance(asked.get("request"), dict):
        raise DocumentError(f"{what} holds no request object")
    now = parse_time(asked.get("now"))
    if now is None:
        raise DocumentError(f"{what} holds no time with a zone in `now`")
    request = parse_request(asked["request"])
    explanation = explain(request, now)
    return {
        "status": explanation.status.value,
        "rule": explanation.rule,
        "destroy_stale": explanation.destroy_stale,
        "destroy_failed": is_destroy_failed(request),
        "needs_repair": needs_repair(request, now, thresholds),
        "findings": findings_answer(diagnose(request, now, thresholds)),
    }
