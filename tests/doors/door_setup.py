"""The portal behind its doors, as tests of HTTP and commands turn and look at it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import uvicorn
from botocore.exceptions import ClientError
from starlette.applications import Starlette
from typer.testing import Result

from tests.adapters.github_setup import FILES, REPO
from tests.builders import NOW, REQUEST_ID, ago, stuck_planning
from tests.fakes import Clock, InMemory
from tfpilot import wiring
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.config import DoorRules, load_settings
from tfpilot.core.document import render_document
from tfpilot.core.model import (
    Answer,
    FactOutcome,
    FactsQuery,
    GitHubFacts,
    PullFact,
    RunFact,
    WorkflowKind,
    WorkflowRun,
)
from tfpilot.sandbox.github import World
from tfpilot.wiring import Place, Portal

ADMIN = "ops-lead"
APPROVER = "tom-r"
DEVELOPER = "maya-k"
TOKENS = {f"ghp_{login.replace('-', '')}0123456789": login for login in (ADMIN, APPROVER, DEVELOPER, "release-bot")} | {
    "ghp_nobody0123456789": ""
}
UNHURRIED = DoorRules(rate_per_minute=1_000_000)
"""The rules of a door that all tests share, who together ask more often than one caller may."""
PLACE = Place(bucket="memory", region="eu-west-2", github_url="http://127.0.0.1")


def token_of(login: str) -> str:
    return next(token for token, owner in TOKENS.items() if owner == login)


@dataclass
class Door:
    """The portal's HTTP door. `get`, `post` and `ask` send the admin's token, unless told otherwise."""

    url: str
    client: httpx.Client

    def ask(self, method: str, path: str, *, token: str | None = token_of(ADMIN), **options: Any) -> httpx.Response:
        headers = {**options.pop("headers", {}), **({"authorization": f"Bearer {token}"} if token else {})}
        return self.client.request(method, f"{self.url}{path}", headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def repair(self, request_id: str = REQUEST_ID, *, dry_run: bool = False, **options: Any) -> httpx.Response:
        query = "repair=1&dry_run=1" if dry_run else "repair=1"
        return self.post(f"/api/requests/{request_id}/sync?{query}", **options)

    def raw(self, target: str, *, method: str = "GET", token: str = token_of(ADMIN)) -> tuple[int, bytes]:
        """The status and body for a target that is sent as it is, which a well-behaved client would tidy up."""
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request(method, target, headers={"authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The address of the application on loopback, until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, http="h11", log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, name="served")
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def wait_until(happened: Callable[[], object], *, seconds: float = 30) -> None:
    """Returns as soon as it happened; fails where it does not in that time."""
    ends = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < ends, "it did not happen in time"
        threading.Event().wait(0.005)


def use(memory: InMemory) -> None:
    """From now on these edges are the process's portal."""
    wiring.use(Portal(memory.edges, load_settings(), PLACE))


def all_good(query: FactsQuery) -> GitHubFacts:
    """GitHub's answers where everything went well: the pull request is merged and each run succeeded."""
    pull = PullFact(
        number=query.pr_number or 7,
        url=f"https://github.com/{query.repo}/pull/{query.pr_number or 7}",
        open=False,
        merged=True,
        merged_at=NOW,
        merge_commit_sha="a" * 40,
        head_branch=query.branch,
        created_at=NOW,
        updated_at=NOW,
    )
    runs = {
        asked.kind: Answer(FactOutcome.OK, succeeded(query, asked.kind, asked.run_id or 900 + number))
        for number, asked in enumerate(query.runs)
    }
    return GitHubFacts(
        pull=Answer(FactOutcome.OK, pull),
        reviews=Answer(FactOutcome.OK, ()),
        cleanup_pull=Answer(FactOutcome.NOT_FOUND, detail="there is none"),
        runs=runs,
        calls=3 + len(runs),
    )


def plan_succeeded(query: FactsQuery) -> GitHubFacts:
    """GitHub's answers where the pull request is open and the plan succeeded."""
    pull = PullFact(number=query.pr_number, open=True, merged=False, created_at=NOW, updated_at=NOW)
    run_id = next(asked.run_id for asked in query.runs if asked.kind is WorkflowKind.PLAN)
    return GitHubFacts(
        pull=Answer(FactOutcome.OK, pull),
        reviews=Answer(FactOutcome.OK, ()),
        cleanup_pull=Answer(FactOutcome.NOT_FOUND, detail="there is none"),
        runs={WorkflowKind.PLAN: Answer(FactOutcome.OK, succeeded(query, WorkflowKind.PLAN, run_id or 1))},
        calls=4,
    )


def succeeded(query: FactsQuery, kind: WorkflowKind, run_id: int) -> WorkflowRun:
    fact = RunFact(run_id=run_id, attempt=1, status="completed", conclusion="success", created_at=NOW, updated_at=NOW)
    return WorkflowRun(fact, query.repo, path=f".github/workflows/{FILES[kind]}")


@dataclass
class Reality:
    """A real bucket and GitHub's stand-in, and what somebody else sees and does there."""

    bucket: Bucket
    world: World
    clock: Clock
    github_url: str
    stack: ExitStack = field(repr=False, default_factory=ExitStack)

    def serve_portal(self) -> Portal:
        """A portal of the real adapters, as the environment configures it; the process's from now on."""
        portal = wiring.build(self.stack, load_settings())
        wiring.use(portal)
        return portal

    def store(self, *documents: dict[str, Any]) -> None:
        for document in documents:
            self.write(f"requests/{document['id']}.json", render_document(document))

    def write(self, key: str, content: bytes) -> None:
        self.bucket.client.put_object(Bucket=self.bucket.name, Key=key, Body=content)

    def read(self, key: str) -> bytes | None:
        try:
            return self.bucket.client.get_object(Bucket=self.bucket.name, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None

    def content(self, request_id: str = REQUEST_ID) -> bytes:
        """The active document, byte by byte."""
        content = self.read(f"requests/{request_id}.json")
        assert content is not None
        return content

    def document(self, request_id: str = REQUEST_ID) -> dict[str, Any]:
        return json.loads(self.content(request_id))

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(self.bucket.list_all(prefix))

    def stuck_request(self, request_id: str = REQUEST_ID) -> None:
        """A request that says its plan is in progress, and GitHub, where it succeeded and the PR was approved."""
        run = self.world.add_run(
            REPO,
            FILES[WorkflowKind.PLAN],
            branch=f"request/{request_id}",
            conclusion="success",
            title=request_id,
            at=self.clock(),
        )
        pull = self.world.add_pull(REPO, branch=f"request/{request_id}", title=request_id, number=7)
        self.world.add_review(REPO, pull.number, login="tom-r", state="APPROVED")
        self.store(stuck_planning(request_id, run_id=run.id))


def environment_of(bucket: BucketSettings, github_url: str) -> dict[str, str]:
    """The settings of a portal on that bucket and that GitHub."""
    return {
        "TFPILOT_REQUESTS_BUCKET": bucket.name,
        "TFPILOT_DEFAULT_REGION": bucket.region or "",
        "TFPILOT_ADMINS": ADMIN,
        "TFPILOT_APPROVERS": APPROVER,
        "AWS_ENDPOINT_URL_S3": bucket.endpoint_url or "",
        "AWS_ACCESS_KEY_ID": bucket.access_key or "",
        "AWS_SECRET_ACCESS_KEY": bucket.secret_key or "",
        "GITHUB_API_URL": github_url,
        "GITHUB_TOKEN": token_of(ADMIN),
    }


Tfpilot = Callable[..., Result]


def json_lines(result: Result) -> list[Any]:
    """What a command printed with `--json`, a value per line."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def changed(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents, each changed a minute after the one before, so that the last is the newest."""
    return [
        {**document, "updatedAt": ago(minutes=len(documents) - number)} for number, document in enumerate(documents)
    ]
