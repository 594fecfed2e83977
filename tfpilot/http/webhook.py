"""`POST /api/github/webhook`: a delivery in, as bytes, and what became of it out. Its signature is its only ticket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from tfpilot import wiring
from tfpilot.core.delivery import Delivery, check_size
from tfpilot.errors import MalformedDeliveryError, TfPilotError, UpstreamError
from tfpilot.http.answers import error_content, json_answer, status_of
from tfpilot.operations.deliveries import Disposition, OnHandled, Receipt, receive

ANSWER_WITHIN_SECONDS: Final = 8
"""GitHub waits for ten."""
MAX_AT_ONCE: Final = 16

_LOG: Final = structlog.get_logger("tfpilot.webhook")
_WORKERS: Final = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="webhook")
"""Threads of their own: a storm of deliveries must not keep people from the other routes."""


async def receive_webhook(request: HttpRequest) -> Response:
    """Answers 200 for a delivery that was handled, 202 for one that changes nothing or waits, 4xx for one that is not
    taken, and 503 where GitHub must not believe that it was."""
    try:
        receipt = await _received(await _delivery(request))
    except TfPilotError as error:
        _LOG.warning("delivery refused", delivery=_shown(request), error=error.message)
        return _error_answer(error)
    return json_answer(_answer(receipt), _status(receipt))


async def _received(delivery: Delivery) -> Receipt:
    """What became of the delivery, as soon as that is certain. Raises as `receive`, and UpstreamError where it is not
    known in time: it goes on all the same, and is recorded or kept when it is done."""
    handled: Future[Receipt] = Future()
    # In this context, so that its log lines carry the id of the HTTP request.
    in_context = copy_context().run
    work = asyncio.get_running_loop().run_in_executor(_WORKERS, in_context, _receive, delivery, handled.set_result)
    told = asyncio.wrap_future(handled)
    await asyncio.wait({told, work}, timeout=ANSWER_WITHIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        return work.result()
    work.add_done_callback(_log_late_failure)
    if told.done():
        return told.result()
    raise UpstreamError("The delivery is still being handled", "Redeliver it at GitHub if it does not show up.")


async def _delivery(request: HttpRequest) -> Delivery:
    """The delivery, read no further than we take. Raises OversizedError, or MalformedDeliveryError where it breaks
    off."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            check_size(len(body))
    except ClientDisconnect as error:
        raise MalformedDeliveryError("The delivery broke off", "Redeliver it at GitHub.") from error
    headers = request.headers
    return Delivery(
        guid=headers.get("x-github-delivery"),
        event=headers.get("x-github-event"),
        signature=headers.get("x-hub-signature-256"),
        body=bytes(body),
    )


def _receive(delivery: Delivery, on_handled: OnHandled) -> Receipt:
    receipt = receive(wiring.portal().edges, delivery, on_handled=on_handled)
    _log(receipt)
    return receipt


def _log_late_failure(work: asyncio.Future[Receipt]) -> None:
    failure = work.exception()
    if failure is not None:
        _LOG.error("delivery failed after its answer", error=str(failure), exc_info=failure)


def _status(receipt: Receipt) -> int:
    return (
        200 if receipt.disposition in (Disposition.APPLIED, Disposition.DUPLICATE) or receipt.event == "ping" else 202
    )


def _answer(receipt: Receipt) -> Mapping[str, Any]:
    if receipt.disposition is Disposition.DUPLICATE:
        return {"success": True, "duplicate": True}
    return {
        "success": True,
        "event": receipt.event,
        "decision": receipt.disposition.value,
        "reason": receipt.reason,
        "requestId": receipt.request_id,
        "kind": receipt.kind and receipt.kind.value,
    }


def _error_answer(error: TfPilotError) -> Response:
    return json_answer(error_content(error), status_of(error))


def _log(receipt: Receipt) -> None:
    if receipt.disposition is Disposition.IGNORED and not receipt.notices:
        return
    _LOG.info(
        "delivery handled",
        delivery=receipt.guid,
        github_event=receipt.event,
        disposition=receipt.disposition.value,
        request_id=receipt.request_id,
        reason=receipt.reason,
        fields=list(receipt.fields),
        notices=list(receipt.notices),
    )


def _shown(request: HttpRequest) -> str:
    return request.headers.get("x-github-delivery", "")[:64]
