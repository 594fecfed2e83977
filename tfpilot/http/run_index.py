"""The routes of the run index: one entry, and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request as HttpRequest

from tfpilot.core.index_report import AuditSource, report_answer
from tfpilot.core.model import Operator
from tfpilot.core.run_index import entry_fields
from tfpilot.http import parameters
from tfpilot.http.bearer import with_bearer
from tfpilot.operations.index_audit import audit_index
from tfpilot.operations.run_index import look_up
from tfpilot.wiring import Portal


@with_bearer
def show_entry(portal: Portal, request: HttpRequest, _operator: Operator) -> Mapping[str, Any]:
    """The entry of a run; 404 where there is none that can be used, 400 for what cannot be a kind or run id."""
    kind, _, run_id = request.path_params["place"].partition("/")
    return {"success": True, "entry": entry_fields(look_up(portal.edges, kind, run_id))}


@with_bearer
def show_audit(portal: Portal, request: HttpRequest, _operator: Operator) -> Mapping[str, Any]:
    """The audit, from readings at most a minute old; `records=1` and `versions=1` look at those too."""
    wanted = [source for source in AuditSource if parameters.flag(request.query_params, source.value)]
    return {"success": True, **report_answer(audit_index(portal.edges, sources=wanted))}
