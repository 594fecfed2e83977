"""The routes: read what was asked, call one operation, answer in JSON. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, Final

import structlog
from starlette.concurrency import run_in_threadpool
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
from tfpilot.core.roles import role_of
from tfpilot.errors import NotFoundError, SignatureError, TfPilotError
from tfpilot.http import parameters
from tfpilot.http.answers import error_answer, json_answer
from tfpilot.http.webhook import receive_webhook
from tfpilot.log import log_sync
from tfpilot.operations.browse import list_fresh_requests, open_request
from tfpilot.operations.sync import sync
from tfpilot.wiring import Portal

_LOG: Final = structlog.get_logger("tfpilot.http")

Answer = Callable[[Portal, HttpRequest, Operator], Mapping[str, Any]]


def _with_bearer(answer: Answer) -> Callable[[HttpRequest], Awaitable[Response]]:
    """The route of an operation: who asks is told by the bearer token alone, and every failure is JSON."""

    @wraps(answer)
    async def route(request: HttpRequest) -> Response:
        try:
            return json_answer(await run_in_threadpool(_answered, answer, request))
        except TfPilotError as error:
            _LOG.info("refused", path=request.url.path[:200], error=error.message)
            return error_answer(error)

    return route


def _answered(answer: Answer, request: HttpRequest) -> Mapping[str, Any]:
    portal = wiring.portal()
    return answer(portal, request, _operator(portal, request))


def _operator(portal: Portal, request: HttpRequest) -> Operator:
    """Who sends the request. Raises SignatureError without a token that GitHub knows."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise SignatureError(
            "This needs a bearer token", "Send `Authorization: Bearer <GitHub token>`; a cookie does not count."
        )
    login = portal.edges.identity.login_of(token.strip())
    rights = portal.edges.rights
    return Operator(login, role_of(login, admins=rights.admins, approvers=rights.approvers))


@_with_bearer
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


@_with_bearer
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


@_with_bearer
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
    Route("/api/github/webhook", receive_webhook, methods=["POST"]),
    Route("/api", _Unknown()),
    Route("/api/{rest:rest}", _Unknown()),
]
