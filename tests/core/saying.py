"""Short words for what tests of the core say: requests with single fields set, GitHub's answers, findings by code."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.builders import NOW
from tests.builders import request as stored_request
from tfpilot.core.diagnosis import diagnose
from tfpilot.core.document import apply_changes
from tfpilot.core.lifecycle import derive_status
from tfpilot.core.model import (
    Answer,
    DiagnosisContext,
    FactOutcome,
    FieldChange,
    Finding,
    FindingCode,
    GitHubFacts,
    LifecycleStatus,
    PullFact,
    RepoRef,
    Request,
    Review,
    RunFact,
    Thresholds,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.core.repair import plan_repair
from tfpilot.core.request import parse_request

REPO = RepoRef("acme", "infra")
THRESHOLDS = Thresholds()


def having(fields: Mapping[str, Any], document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A new request, or `document`, with the fields at their dotted paths."""
    changes = [FieldChange(tuple(path.split(".")), None, value, "") for path, value in fields.items()]
    return apply_changes(stored_request() if document is None else document, changes)


def parsed(fields: Mapping[str, Any]) -> Request:
    """A new request with the fields at their dotted paths, as values."""
    return parse_request(having(fields))


def status_of(fields: Mapping[str, Any], now: datetime = NOW) -> LifecycleStatus:
    return derive_status(parsed(fields), now)


def before(now: datetime = NOW, **parts: float) -> datetime:
    return now - timedelta(**parts)


def findings(
    fields: Mapping[str, Any], now: datetime = NOW, context: DiagnosisContext | None = None
) -> dict[FindingCode, Finding]:
    """The findings of a new request with these fields, by code."""
    return {finding.code: finding for finding in diagnose(parsed(fields), now, THRESHOLDS, context)}


def ok(value: Any) -> Answer[Any]:
    return Answer(FactOutcome.OK, value)


NOT_FOUND: Answer[Any] = Answer(FactOutcome.NOT_FOUND, detail="404")
FORBIDDEN: Answer[Any] = Answer(FactOutcome.FORBIDDEN, detail="403")
TIMEOUT: Answer[Any] = Answer(FactOutcome.TIMEOUT, detail="no answer in time")
RATE_LIMITED: Answer[Any] = Answer(FactOutcome.RATE_LIMITED, detail="403", retry_after=timedelta(minutes=7))


def answer_run(run_id: int, status: str = "completed", conclusion: str | None = None, **fields: Any) -> Answer[Any]:
    """GitHub's answer about a run; a completed one succeeded unless said otherwise."""
    ended = (conclusion or "success") if status == "completed" else None
    return ok(WorkflowRun(RunFact(run_id, fields.pop("attempt", 1), status, ended, **fields), REPO))


def answer_pull(number: int = 7, **fields: Any) -> Answer[Any]:
    """GitHub's answer about a pull request, open unless said otherwise."""
    is_open = fields.pop("open", not fields.get("merged", False))
    url = f"https://github.com/acme/infra/pull/{number}"
    return ok(PullFact(number=number, url=url, open=is_open, merged=fields.pop("merged", False), **fields))


def merged_pull(number: int = 7, sha: str = "5ea1", **fields: Any) -> Answer[Any]:
    return answer_pull(number, merged=True, merged_at=before(minutes=30), merge_commit_sha=sha, **fields)


def answer_reviews(*said: tuple[str, str]) -> Answer[Any]:
    """GitHub's list of reviews, oldest first: (login, state) each."""
    began = before(hours=2)
    return ok(tuple(Review(login, state, began + timedelta(minutes=n)) for n, (login, state) in enumerate(said)))


def runs_of(**answers: Answer[Any]) -> GitHubFacts:
    """What GitHub answered about the runs: `runs_of(plan=answer_run(5))`."""
    return GitHubFacts(runs={WorkflowKind(kind): answer for kind, answer in answers.items()})


def repaired(document: Mapping[str, Any], facts: GitHubFacts, now: datetime = NOW) -> dict[str, Any]:
    """The document after a repair with these answers, without its new version and time."""
    return apply_changes(document, plan_repair(parse_request(document), facts, now).changes)
