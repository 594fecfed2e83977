"""Webhooks out: what GitHub would tell of each change, signed."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx
import structlog

from tfpilot.sandbox.github.render import Json, Renderer
from tfpilot.sandbox.github.state import Pull, Review, Run
from tfpilot.sandbox.github.world import Change, World

API_URL: Final = "https://api.github.com"
TIMEOUT_S: Final = 10
HOOK_ID: Final = 1001

log = structlog.get_logger("tfpilot.sandbox.github")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook as it is sent: `headers` sign the bytes of `body`, which is `payload` as JSON."""

    event: str
    payload: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes


Sink = Callable[[Delivery], None]


class Hook:
    """A webhook of all repositories: each change of the world from now on goes to `sink`, unless `drop` is set.

    The sink is called in the thread that made the change, after the change. Deliveries are numbered, so the same
    world gives the same ones.
    """

    def __init__(self, world: World, sink: Sink, *, secret: str, api_url: str = API_URL) -> None:
        self.drop = False
        self._world = world
        self._sink = sink
        self._secret = secret.encode()
        self._render = Renderer(world, api_url)
        self._numbers = itertools.count(1)
        world.subscribe(self._deliver)

    def _deliver(self, change: Change) -> None:
        number = next(self._numbers)
        if not self.drop:
            self._sink(self._delivery(change, number))

    def _delivery(self, change: Change, number: int) -> Delivery:
        payload = self._payload(change)
        body = json.dumps(payload).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/stand-in",
            "X-GitHub-Delivery": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{API_URL}/deliveries/{number}")),
            "X-GitHub-Event": change.event,
            "X-GitHub-Hook-ID": str(HOOK_ID),
            "X-Hub-Signature-256": f"sha256={hmac.new(self._secret, body, hashlib.sha256).hexdigest()}",
        }
        return Delivery(change.event, payload, headers, body)

    def _payload(self, change: Change) -> Json:
        repo = self._world.repo(change.subject.repo_id)
        return {
            "action": change.action,
            **self._subject(change.subject),
            "repository": self._render.places.full_repo(repo),
            "sender": self._render.places.user(change.sender),
        }

    def _subject(self, subject: Pull | Review | Run) -> Json:
        if isinstance(subject, Pull):
            return {"number": subject.number, "pull_request": self._render.pulls.pull(subject)}
        if isinstance(subject, Run):
            workflow = self._world.workflow(subject.workflow_id)
            actions = self._render.actions
            return {"workflow_run": actions.run(subject), "workflow": actions.workflow(workflow)}
        # Here, and nowhere else, GitHub writes the state of a review in lower case.
        review = self._render.pulls.review(subject) | {"state": subject.state.lower()}
        pull = self._world.pull(self._world.repo(subject.repo_id).full_name, subject.pull_number)
        return {"review": review, "pull_request": self._render.pulls.listed_pull(pull)}


@contextmanager
def posting_to(url: str) -> Iterator[Sink]:
    """A sink that posts every delivery to `url` once, in order and in the background; the end waits for the last one.

    A receiver that does not answer loses the delivery, as it would GitHub's.
    """
    waiting: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
    thread = threading.Thread(target=_post_all, args=(url, waiting), name="github-webhooks")
    thread.start()
    try:
        yield waiting.put
    finally:
        waiting.put(None)
        thread.join()


def _post_all(url: str, waiting: queue.SimpleQueue[Delivery | None]) -> None:
    with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
        while (delivery := waiting.get()) is not None:
            try:
                client.post(url, content=delivery.body, headers=delivery.headers)
            except httpx.HTTPError as error:
                log.warning("webhook lost", delivery=delivery.headers["X-GitHub-Delivery"], error=str(error))
