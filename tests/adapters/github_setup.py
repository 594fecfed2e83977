"""A request as GitHub knows it, the portal's client on it, and a server that answers exactly what a test wrote."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tfpilot.adapters.github import GitHubEdge, GitHubSettings, TokenCredential
from tfpilot.adapters.github_auth import AppCredential
from tfpilot.core.model import FactsQuery, GitHubFacts, RepoRef, RunQuestion, WorkflowKind
from tfpilot.sandbox.github import World, serve

TOKEN = "ghp_portal"
REPO = "acme/infra"
OURS = "req_dev_1"
FILES = {kind: f"{kind.value.replace('_', '-')}.yml" for kind in WorkflowKind}
SOON = timedelta(seconds=15)


def github_world() -> World:
    """GitHub with one repository that has all workflows, and an account for the portal."""
    world = World()
    world.add_user("portal", token=TOKEN)
    world.add_repo(REPO, workflows={file: file for file in FILES.values()})
    return world


def request_on(world: World, request_id: str = OURS) -> FactsQuery:
    """A request with a pull request and a finished run of each kind; the query asks for all of it by id."""
    pull = world.add_pull(REPO, branch=f"request/{request_id}", title=f"Infra request {request_id}")
    runs = [
        RunQuestion(kind, run_id=add_run(world, kind, request_id).id, ask_jobs=kind is WorkflowKind.APPLY)
        for kind in WorkflowKind
    ]
    return query(request_id, pr_number=pull.number, runs=tuple(runs))


def add_run(world: World, kind: WorkflowKind, request_id: str = OURS, *, conclusion: str | None = "success", **told):
    told = {"branch": f"request/{request_id}", "title": f"{kind} {request_id}", **told}
    return world.add_run(REPO, FILES[kind], conclusion=conclusion, **told)


def query(
    request_id: str = OURS,
    *,
    pr_number: int | None = None,
    branch: str | None = None,
    runs: tuple[RunQuestion, ...] = (),
) -> FactsQuery:
    return FactsQuery(request_id, RepoRef(*REPO.split("/")), pr_number, branch, f"cleanup/{request_id}", runs)


def settings(base_url: str, credential: TokenCredential | AppCredential | None = None) -> GitHubSettings:
    return GitHubSettings(base_url, credential or TokenCredential(TOKEN), FILES)


@contextmanager
def portal_at(base_url: str, credential: TokenCredential | AppCredential | None = None) -> Iterator[GitHubEdge]:
    edge = GitHubEdge(settings(base_url, credential))
    try:
        yield edge
    finally:
        edge.close()


@contextmanager
def portal_on(world: World, credential: TokenCredential | None = None) -> Iterator[GitHubEdge]:
    with serve(world) as stand_in, portal_at(stand_in.url, credential) as edge:
        yield edge


def outcomes(facts: GitHubFacts) -> dict[str, str]:
    return {name: answer.outcome.value for name, answer in facts.answers().items()}


ALL_OK = dict.fromkeys(("pull", "reviews", *FILES), "ok") | {"cleanup_pull": "not found"}


@dataclass
class Heard:
    """One request as it arrived; `port` is the caller's, so one per connection."""

    method: str
    path: str
    headers: dict[str, str]
    port: int


@dataclass
class Scripted:
    """A server that answers each request with what `answer` writes for it: status, headers, body."""

    answer: Callable[[Heard], tuple[int, dict[str, str], bytes]]
    url: str = ""
    heard: list[Heard] = field(default_factory=list)


@contextmanager
def scripted(answer: Callable[[Heard], tuple[int, dict[str, str], bytes]]) -> Iterator[Scripted]:
    script = Scripted(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            heard = Heard(
                self.command,
                self.path,
                {name.lower(): value for name, value in self.headers.items()},
                self.client_address[1],
            )
            script.heard.append(heard)
            status, headers, body = script.answer(heard)
            self.send_response_only(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            if int(headers.get("content-length", len(body))) != len(body):
                self.close_connection = True

        do_GET = do_POST = _reply  # noqa: N815  # the names that http.server calls

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
