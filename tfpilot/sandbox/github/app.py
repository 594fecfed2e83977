"""The stand-in's ASGI application: addresses, who asks, quota, and the headers every answer of GitHub has."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tfpilot.sandbox.github import endpoints
from tfpilot.sandbox.github.asking import Asked, ProblemError, Reply
from tfpilot.sandbox.github.faults import parse_fault
from tfpilot.sandbox.github.misbehave import Misbehaviour
from tfpilot.sandbox.github.quota import Budget
from tfpilot.sandbox.github.render import Renderer
from tfpilot.sandbox.github.state import User
from tfpilot.sandbox.github.wire import (
    DOCUMENTATION_URL,
    find_caller,
    json_response,
    limit_message,
    problem_body,
    rate_headers,
)
from tfpilot.sandbox.github.world import World

KEY_HEADER: Final = "X-Standin-Key"
TOOL_PATH: Final = "/_standin/faults"

REPO_ENDPOINTS: Final[tuple[tuple[str, str, endpoints.Endpoint], ...]] = (
    ("GET", "", endpoints.get_repo),
    ("GET", "/pulls", endpoints.list_pulls),
    ("GET", "/pulls/{number:int}", endpoints.get_pull),
    ("PUT", "/pulls/{number:int}/merge", endpoints.merge_pull),
    ("GET", "/pulls/{number:int}/reviews", endpoints.list_reviews),
    ("POST", "/pulls/{number:int}/reviews", endpoints.add_review),
    ("PUT", "/pulls/{number:int}/reviews/{review_id:int}/dismissals", endpoints.dismiss_review),
    ("GET", "/actions/workflows", endpoints.list_workflows),
    ("GET", "/actions/workflows/{workflow}", endpoints.get_workflow),
    ("GET", "/actions/workflows/{workflow}/runs", endpoints.list_workflow_runs),
    ("POST", "/actions/workflows/{workflow}/dispatches", endpoints.dispatch),
    ("GET", "/actions/runs", endpoints.list_runs),
    ("GET", "/actions/runs/{run_id:int}", endpoints.get_run),
    ("GET", "/actions/runs/{run_id:int}/jobs", endpoints.list_jobs),
    ("GET", "/actions/runs/{run_id:int}/attempts/{attempt:int}", endpoints.get_attempt),
    ("GET", "/actions/runs/{run_id:int}/attempts/{attempt:int}/jobs", endpoints.list_attempt_jobs),
    ("POST", "/actions/runs/{run_id:int}/rerun", endpoints.rerun),
)
ENDPOINTS: Final = (
    ("GET", "/user", endpoints.get_user),
    ("GET", "/rate_limit", endpoints.get_rate_limit),
    ("GET", "/orgs/{org}/members/{login}", endpoints.check_member),
    ("GET", "/orgs/{org}/public_members/{login}", endpoints.check_public_member),
    ("POST", "/graphql", endpoints.graphql),
    *(
        (method, prefix + path, endpoint)
        for prefix in ("/repos/{owner}/{name}", "/repositories/{repo_id:int}")
        for method, path, endpoint in REPO_ENDPOINTS
    ),
)


def build_app(world: World, *, key: str) -> Starlette:
    """The application over a world. `key` opens `/_standin/faults` to tests that have no hold of the world."""
    api = Api(world)
    routes = [Route(path, api.route(endpoint), methods=[method]) for method, path, endpoint in ENDPOINTS]
    tool = FaultTool(world, key)
    app = Starlette(
        routes=[Route(TOOL_PATH, tool.answer, methods=["POST", "DELETE"]), *routes],
        middleware=[Middleware(Misbehaviour, world=world)],
        exception_handlers={404: api.not_found, 405: api.not_found},
    )
    app.router.redirect_slashes = False
    return app


class Api:
    """What all endpoints share: nobody is answered without a token, beyond the quota, or without GitHub's headers."""

    def __init__(self, world: World) -> None:
        self._world = world

    def route(self, endpoint: endpoints.Endpoint) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint as Starlette calls it, off the event loop: what it changes is told to webhooks at once."""

        async def answer(request: Request) -> Response:
            body = await request.body()
            return await run_in_threadpool(self._answer, endpoint, request, body)

        return answer

    async def not_found(self, request: Request, _exc: Exception) -> Response:
        """The answer to an address that GitHub does not know, or not with this method."""
        caller = find_caller(self._world, request)
        return self._send(Reply(problem_body(404, "Not Found"), 404), self._budget(caller))

    def _answer(self, endpoint: endpoints.Endpoint, request: Request, body: bytes) -> Response:
        caller = find_caller(self._world, request)
        if caller is None:
            has_token = "authorization" in request.headers
            message = "Bad credentials" if has_token else "Requires authentication"
            return self._send(Reply(problem_body(401, message), 401), self._budget(None))
        self._world.simulate(self._world.now())
        try:
            self._check_quota(endpoint, caller)
            reply = endpoint(self._world, self._asked(request, caller, body))
        except ProblemError as problem:
            return self._send(_problem_reply(problem), self._spend(endpoint, caller))
        return self._answer_once(reply, request, endpoint, caller)

    def _answer_once(self, reply: Reply, request: Request, endpoint: endpoints.Endpoint, caller: User) -> Response:
        """The answer, or 304 at no cost where the caller has it already. Its tag differs from one caller to another."""
        if request.method != "GET":
            return self._send(reply, self._spend(endpoint, caller))
        seed = json.dumps([caller.id, reply.payload, dict(reply.headers)])
        tag = f'W/"{hashlib.sha256(seed.encode()).hexdigest()}"'
        tagged = {**reply.headers, "etag": tag, "cache-control": "private, max-age=60, s-maxage=60"}
        if request.headers.get("if-none-match") == tag:
            return self._send(Reply(None, 304, tagged), self._budget(caller))
        return self._send(Reply(reply.payload, reply.status, tagged), self._spend(endpoint, caller))

    def _asked(self, request: Request, caller: User, body: bytes) -> Asked:
        api_url = str(request.base_url).rstrip("/")
        return Asked(
            method=request.method,
            path=request.url.path,
            api_url=api_url,
            place=request.path_params,
            query=dict(request.query_params),
            body=_json_object(body),
            user=caller,
            render=Renderer(self._world, api_url),
        )

    def _check_quota(self, endpoint: endpoints.Endpoint, caller: User) -> None:
        if endpoint is not endpoints.get_rate_limit and not self._world.quota.budget(caller.login).remaining:
            raise ProblemError(403, limit_message(caller.login))

    def _spend(self, endpoint: endpoints.Endpoint, caller: User) -> Budget:
        is_free = endpoint is endpoints.get_rate_limit
        return self._world.quota.budget(caller.login) if is_free else self._world.quota.spend(caller.login)

    def _budget(self, caller: User | None) -> Budget:
        return self._world.quota.budget(caller.login if caller else "")

    def _send(self, reply: Reply, budget: Budget) -> Response:
        return json_response(
            reply.payload,
            status=reply.status,
            at=self._world.now(),
            headers={**rate_headers(budget), **reply.headers},
        )


class FaultTool:
    """`POST /_standin/faults` puts a fault in force, `DELETE` ends them all; both need the server's key."""

    def __init__(self, world: World, key: str) -> None:
        self._world = world
        self._key = key

    async def answer(self, request: Request) -> Response:
        try:
            self._check_key(request.headers.get(KEY_HEADER, ""))
            if request.method == "DELETE":
                self._world.faults.clear()
            else:
                self._world.faults.add(parse_fault(_json_object(await request.body())))
        except ProblemError as problem:
            return self._send(problem_body(problem.status, problem.message), problem.status)
        except ValueError as error:
            return self._send(problem_body(422, str(error)), 422)
        return self._send(None, HTTPStatus.NO_CONTENT)

    def _check_key(self, given: str) -> None:
        if not secrets.compare_digest(given.encode(), self._key.encode()):
            raise ProblemError(403, f"{KEY_HEADER} is not this server's")

    def _send(self, payload: object, status: int) -> Response:
        return json_response(payload, status=status, at=self._world.now(), headers={})


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body or b"{}")
    except ValueError:
        raise ProblemError(400, "Problems parsing JSON") from None
    if not isinstance(parsed, dict):
        raise ProblemError(400, "Body should be a JSON object")
    return parsed


def _problem_reply(problem: ProblemError) -> Reply:
    if not problem.location:
        return Reply(problem_body(problem.status, problem.message), problem.status)
    moved = {"message": problem.message, "url": problem.location, "documentation_url": DOCUMENTATION_URL}
    return Reply(moved, problem.status, {"location": problem.location})
