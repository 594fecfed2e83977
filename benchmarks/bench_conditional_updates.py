"""Sixteen threads that change the same eight documents: what it costs, and whose changes are lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from moto.server import ThreadedMotoServer

from benchmarks.measure import measured, request_document, show_table
from tfpilot.adapters.documents import S3Documents
from tfpilot.adapters.keys import active_key
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.errors import ConflictError
from tfpilot.sandbox.local_server import REGION
from tfpilot.sandbox.storage import LocalS3

THREADS: Final = 16
UPDATES: Final = 800
DOCUMENTS: Final = [request_document(number) for number in range(8)]

Change = Callable[[dict[str, Any]], dict[str, Any]]
Update = Callable[[str, Change], int]
"""Changes one document and answers how often it had to try."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round of updates came to."""

    updates_per_second: float
    cpu_ms_per_update: float
    tries_per_update: float
    lost: int


def tfpilot_update(bucket: Bucket) -> Update:
    """As a repair writes: under the version that was read, again after a lost race."""
    documents = S3Documents(bucket)

    def update(request_id: str, change: Change) -> int:
        tries = 0
        while True:
            tries += 1
            stored = documents.get(request_id)
            try:
                documents.put(request_id, change(dict(stored.document)), if_match=stored.etag)
            except ConflictError:
                continue
            return tries

    return update


def plain_update(bucket: Bucket) -> Update:
    """As most scripts write: get_object, put_object."""

    def update(request_id: str, change: Change) -> int:
        key = active_key(request_id)
        with bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"] as body:
            document = json.loads(body.read())
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=json.dumps(change(document)).encode())
        return 1

    return update


def run_round(bucket: Bucket, update: Update) -> Outcome:
    """UPDATES changes by THREADS threads, each leaving a mark of its own."""
    for document in DOCUMENTS:
        content = json.dumps({**document, "marks": []}).encode()
        bucket.client.put_object(Bucket=bucket.name, Key=active_key(document["id"]), Body=content)
    ids = [document["id"] for document in DOCUMENTS]

    def leave_mark(mark: int) -> int:
        return update(ids[mark % len(ids)], lambda document: {**document, "marks": [*document["marks"], mark]})

    with measured() as cost, ThreadPoolExecutor(THREADS) as pool:
        tries = sum(pool.map(leave_mark, range(UPDATES)))
    documents = S3Documents(bucket)
    kept = {mark for request_id in ids for mark in documents.get(request_id).document["marks"]}
    return Outcome(UPDATES / cost.wall_seconds, cost.cpu_seconds * 1000 / UPDATES, tries / UPDATES, UPDATES - len(kept))


@contextmanager
def moto_bucket(like: BucketSettings) -> Iterator[Bucket]:
    """A bucket of moto, served in this process."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line per request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        bucket = Bucket(replace(like, endpoint_url=f"http://127.0.0.1:{port}"))
        bucket.client.create_bucket(Bucket=bucket.name, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield bucket
    finally:
        server.stop()


def main() -> None:
    rows = []
    with LocalS3() as server:
        settings = server.create_bucket("benchmark")
        bucket = Bucket(settings)
        rows.append(
            ("tfpilot: If-Match, read again and plan again", "SeaweedFS", run_round(bucket, tfpilot_update(bucket)))
        )
        rows.append(("boto3: get_object, put_object", "SeaweedFS", run_round(bucket, plain_update(bucket))))
        with moto_bucket(settings) as fake:
            rows.append(
                (
                    "tfpilot: If-Match, read again and plan again",
                    "moto (same process)",
                    run_round(fake, tfpilot_update(fake)),
                )
            )
    show_table(
        f"{UPDATES} updates of {len(DOCUMENTS)} documents by {THREADS} threads",
        ("writer", "server", "updates/s", "client CPU ms/update", "tries/update", "lost updates"),
        [
            (writer, server_name, each.updates_per_second, each.cpu_ms_per_update, each.tries_per_update, each.lost)
            for writer, server_name, each in rows
        ],
    )


if __name__ == "__main__":
    main()
