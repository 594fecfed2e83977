"""One request as a list shows it, so that pages and searches never read documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from tfpilot.core.diagnosis import BEFORE_START, stuck_since
from tfpilot.core.document import text_of
from tfpilot.core.lifecycle import (
    derive_status,
    is_destroy_superseded,
    lacks_run,
    may_become_due,
    repair_after,
    stale_after,
)
from tfpilot.core.model import NEVER, OpenIntent, Request, RequestRow, Thresholds, TrackedRun, WorkflowKind
from tfpilot.core.request import LEGACY_RUNS, canonical_run

_OLDEST: Final = datetime.min.replace(tzinfo=UTC)
_QUEUEING: Final = frozenset({WorkflowKind.PLAN, WorkflowKind.APPLY})


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
        occupies="" if archived else _run_in_progress(request),
        waits=_is_held_back(request),
        tracked=tracked_runs(request),
        intents=open_intents(request),
        repair_at=None if archived else repair_after(request, thresholds),
        is_unsettled=not archived and may_become_due(request),
    )


def tracked_runs(request: Request) -> tuple[TrackedRun, ...]:
    """Every run that the document names, of each kind the one that counts first."""
    found: dict[tuple[WorkflowKind, int], TrackedRun] = {}
    for kind in WorkflowKind:
        counting = request.runs.get(kind)
        stored = [request.stored_runs.get(path) for path in (".".join(canonical_run(kind)), LEGACY_RUNS.get(kind, ""))]
        for fact in (counting, *stored):
            if fact is not None and fact.run_id is not None:
                found.setdefault(
                    (kind, fact.run_id),
                    TrackedRun(
                        kind=kind,
                        run_id=fact.run_id,
                        created_at=fact.created_at,
                        current=fact is counting,
                        waits=fact is counting and fact.conclusion is None,
                    ),
                )
    return tuple(found.values())


def open_intents(request: Request) -> tuple[OpenIntent, ...]:
    """The dispatches, ours or the web app's, that have neither a run id nor an end."""
    return tuple(
        OpenIntent(kind, trigger.at if (trigger := request.triggers.get(kind)) else None)
        for kind in WorkflowKind
        if lacks_run(request, kind)
    )


def newest_first(updated_at: datetime | None, request_id: str) -> tuple[float, str]:
    """Sorts rows as every list shows them: the newest change first, then by id; without a time, last."""
    return (-(updated_at or _OLDEST).timestamp(), request_id)


def waiting_kinds(request: Request) -> frozenset[WorkflowKind]:
    """The plan and apply runs that GitHub has not started yet: so is one that waits behind another."""
    held = {kind for kind, run in request.runs.items() if run.conclusion is None and run.status in BEFORE_START}
    return frozenset(held & _QUEUEING)


def _is_held_back(request: Request) -> bool:
    """Whether nothing but waiting keeps the request from going on."""
    active = {kind for kind, run in request.runs.items() if run.is_active and kind in _QUEUEING}
    return bool(active) and active == waiting_kinds(request) and WorkflowKind.DESTROY not in request.triggers


def occupants(rows: Iterable[RequestRow]) -> Mapping[tuple[str, str], RequestRow]:
    """The request whose apply or destroy is in progress, by repository and environment; one where there are several."""
    return {(row.repo, row.environment): row for row in rows if row.occupies}


def settle_queues(rows: Sequence[RequestRow]) -> Sequence[RequestRow]:
    """The rows, without the mark of being stuck where a request waits behind another of its environment (SPEC §3)."""
    busy = occupants(rows)
    return [_settled(row, busy.get((row.repo, row.environment))) if row.waits else row for row in rows]


def _settled(row: RequestRow, occupant: RequestRow | None) -> RequestRow:
    return row if occupant is None or occupant.id == row.id else replace(row, stuck_at=None)


def _run_in_progress(request: Request) -> str:
    for kind in (WorkflowKind.APPLY, WorkflowKind.DESTROY):
        run = request.runs.get(kind)
        if run is not None and run.conclusion is None and run.status == "in_progress":
            return f"{kind.value} run {run.run_id or 'without a known id'} of {request.id}"
    return ""


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
