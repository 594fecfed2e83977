"""`explain-webhook --jsonl`: what webhooks would change, offline, one line in and one line out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfpilot.cli.explain import answers_by_line
from tfpilot.core.answers import change_answer
from tfpilot.core.document import parse_json, parse_time
from tfpilot.core.model import WorkflowKind
from tfpilot.core.request import parse_request
from tfpilot.core.webhook import decide, named_by
from tfpilot.core.webhook_event import parse_event
from tfpilot.errors import DocumentError

_HINT = (
    'Send {"event": "workflow_run", "payload": {…}, "request": {…}, "now": "ISO time"}; the request may be left out.'
)


def explain_webhook_lines(
    lines: Iterable[bytes], workflow_files: Mapping[WorkflowKind, str]
) -> Iterator[dict[str, Any]]:
    """One answer per line that is not blank, in order. A line that cannot be used answers `error` and its number."""
    return answers_by_line(lines, lambda line, what: _explained(line, what, workflow_files), hint=_HINT)


def _explained(line: bytes, what: str, workflow_files: Mapping[WorkflowKind, str]) -> dict[str, Any]:
    asked = parse_json(line, what=what)
    if not isinstance(asked, dict) or not isinstance(asked.get("event"), str) or "payload" not in asked:
        raise DocumentError(f"{what} holds no event with its payload")
    now, document = parse_time(asked.get("now")), asked.get("request")
    if now is None:
        raise DocumentError(f"{what} holds no time with a zone in `now`")
    if document is not None and not isinstance(document, dict):
        raise DocumentError(f"{what} holds a request that is no object")
    event = parse_event(asked["event"], asked["payload"], workflow_files=workflow_files)
    decision = decide(event, parse_request(document) if document is not None else None, now)
    is_ours = decision.applies or (decision.verdict is not None and decision.verdict.is_ours)
    return {
        "kind": decision.kind.value if decision.kind else None,
        "request_id": decision.request_id if is_ours else named_by(event),
        "decision": decision.action.value,
        "reason": decision.reason,
        "changes": [change_answer(change) for change in decision.changes],
    }
