"""One request as a list shows it, so that pages and searches never read documents."""

from __future__ import annotations

from datetime import datetime

from tfpilot.core.diagnosis import stuck_since
from tfpilot.core.document import text_of
from tfpilot.core.lifecycle import derive_status, is_destroy_superseded, stale_after
from tfpilot.core.model import NEVER, Request, RequestRow, Thresholds


def summarise(
    request: Request, *, thresholds: Thresholds, archived: bool = False, has_archived_copy: bool = False
) -> RequestRow:
    """The row of a request. What depends on the time of looking is stored as the instant at which it changes.

    An archived copy is never stuck: nothing is going to be written to it.
    """
    fails_at = None if is_destroy_superseded(request) else stale_after(request)
    return RequestRow(
        id=request.id,
        status=derive_status(request, fails_at or NEVER),
        fails_at=fails_at,
        stuck_at=None if archived else stuck_since(request, thresholds),
        stored_status=request.stored_status,
        environment=request.environment,
        project=request.project,
        module=request.module,
        repo=str(request.repo) if request.repo else "",
        created_by=request.created_by,
        pr_number=request.pr_number,
        pr_url=_pull_url(request),
        updated_at=request.updated_at or request.received_at,
        version=request.version,
        archived=archived,
        has_archived_copy=has_archived_copy,
        search=_search_text(request),
    )


def unreadable_row(request_id: str, error: str, *, updated_at: datetime | None, archived: bool = False) -> RequestRow:
    """The row of an object that is no request: quarantined with its error, never hidden."""
    return RequestRow(
        id=request_id,
        status=None,
        fails_at=None,
        stuck_at=None,
        stored_status=None,
        environment="",
        project="",
        module="",
        repo="",
        created_by="",
        pr_number=None,
        pr_url="",
        updated_at=updated_at,
        version=0,
        archived=archived,
        has_archived_copy=False,
        search=request_id.lower(),
        error=error,
    )


def _pull_url(request: Request) -> str:
    """The stored link to the pull request, where it is a web address: nothing else may become a link."""
    stored = (request.pull.url if request.pull else None) or text_of(request.raw.get("prUrl"))
    return stored if stored is not None and stored.startswith(("https://", "http://")) else ""


def _search_text(request: Request) -> str:
    shas = [run.head_sha for run in request.runs.values()] + [
        request.merged_sha,
        request.pull.head_sha if request.pull else None,
    ]
    run_ids = [run.run_id for run in request.stored_runs.values()]
    parts = [request.id, request.pr_number and f"#{request.pr_number}", request.branch, *run_ids, *shas]
    return " ".join(dict.fromkeys(str(part).lower() for part in parts if part))
