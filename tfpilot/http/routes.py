"""The routes: read what was asked, call one operation, answer in JSON. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tfpilot import wiring
from tfpilot.core.answers import (
    request_answer,
    row_answer,
    sync_answer,
    view_answer,
)
from tfpilot.core.listing import newest_first
from tfpilot.core.model import Operator, RequestRow
from tfpilot.errors import NotFoundError
from tfpilot.http import parameters
from tfpilot.http.answers import error_answer, json_answer
from tfpilot.http.bearer import with_bearer
from tfpilot.http.paths import WEBHOOK
from tfpilot.http.run_index import show_audit, show_entry
from tfpilot.http.webhook import receive_webhook
from tfpilot.log import log_sync
from tfpilot.operations.browse import list_fresh_requests, open_request
from tfpilot.operations.sync import sync
from tfpilot.wiring import Portal


@with_bearer
def _list(portal: Portal, request: HttpRequest, _operator: Operator) -> Mapping[str, Any]:
    size, after = parameters.limit(request.query_params), parameters.after(request.query_params)
    found = list_fresh_requests(portal.edges, parameters.request_filter(request.query_params))
    rows = list(_after(found.selection.rows, after))
    page = rows[:size]
    return {
        "success": True,
        "requests": [row_answer(row, found.at) for row in page],
        "total": len(found.selection.rows),
        "nextCursor": parameters.cursor_of(page[-1]) if len(rows) > size else None,
        "readAt": found.snapshot.read_at.isoformat() if found.snapshot.read_at else None,
    }


def _after(rows: Iterable[RequestRow], after: tuple[datetime | None, str] | None) -> Iterator[RequestRow]:
    for row in rows:
        if after is None or newest_first(row.updated_at, row.id) > newest_first(*after):
            yield row


@with_bearer
def _show(portal: Portal, request: HttpRequest, _operator: Operator) -> Mapping[str, Any]:
    view = open_request(portal.edges, request.path_params["id"])
    return {
        "success": True,
        **view_answer(
            view.stored.document,
            view.explanation,
            view.findings,
            archived=view.archived,
            has_archived_copy=view.has_archived_copy,
            needs_repair=view.needs_repair,
        ),
    }


@with_bearer
def _sync(portal: Portal, request: HttpRequest, operator: Operator) -> Mapping[str, Any]:
    query = request.query_params
    result = sync(
        portal.edges,
        request.path_params["id"],
        mode=parameters.sync_mode(query),
        operator=operator,
        dry_run=parameters.flag(query, "dry_run"),
    )
    log_sync(result, operator)
    return {
        "success": True,
        "request": request_answer(result.request.raw, result.explanation),
        "sync": sync_answer(result),
    }


async def _healthz(_request: HttpRequest) -> Response:
    return json_answer({"status": "ok"})


async def _readyz(_request: HttpRequest) -> Response:
    reason = wiring.why_not_ready()
    return json_answer({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)


class _Unknown:
    """Answers 404, in JSON. An ASGI application, which a route gives every method there is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = f"{scope['method'][:20]} {scope['path'][:200]}"
        answer = error_answer(NotFoundError(f"There is no {asked}", "docs/ARCHITECTURE.md lists the routes."))
        await answer(scope, receive, send)


class _Rest(Convertor[str]):
    """The rest of a path, line breaks included: with `path` a trailing one would be cut off before anybody sees it."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("rest", _Rest())


routes: Final = [
    Route("/healthz", _healthz),
    Route("/readyz", _readyz),
    Route("/api/requests", _list),
    Route("/api/requests/{id:rest}/sync", _sync, methods=["GET", "POST"]),
    Route("/api/requests/{id:rest}", _show),
    Route(WEBHOOK, receive_webhook, methods=["POST"]),
    Route("/api/run-index/audit", show_audit),
    Route("/api/run-index/{place:rest}", show_entry),
    Route("/api", _Unknown()),
    Route("/api/{rest:rest}", _Unknown()),
]
