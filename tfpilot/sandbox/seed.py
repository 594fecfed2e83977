"""The sandbox's world of some ninety requests: what GitHub knows of them, and what the bucket holds."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from tfpilot.adapters.bulk import connect
from tfpilot.adapters.keys import active_key
from tfpilot.adapters.s3 import Bucket, BucketSettings
from tfpilot.adapters.s3_errors import storage_error
from tfpilot.core.model import WorkflowKind
from tfpilot.errors import ConflictError
from tfpilot.sandbox.github import Delivery, Hook, World
from tfpilot.sandbox.seeded import healthy, lost, odd, settled
from tfpilot.sandbox.seeded.stage import Stage
from tfpilot.sandbox.seeded.strange_index import strange_entries
from tfpilot.sandbox.seeded.tale import Plot, Tale
from tfpilot.sandbox.seeded.told import dead_letter, happened_at, seen_by_web_app
from tfpilot.sandbox.seeded.unreadable import UNREADABLE

PLOTS: Final[tuple[Plot, ...]] = tuple(
    sorted((*healthy.PLOTS, *lost.PLOTS, *odd.PLOTS, *settled.PLOTS), key=lambda plot: plot.begins, reverse=True)
)
"""Every story, the oldest request first."""

UNSTORED: Final = "req_dev_s3_h4kz8w"
"""The request whose last delivery this portal could not store, and kept."""

_WRITERS: Final = 32


def plant(world: World, bucket: BucketSettings, *, now: datetime) -> None:
    """Tells every story to the world, and stores in the bucket what the web app made of it.

    The same world and `now` give the same ids, numbers and bytes. The bucket must be empty and its settings complete:
    raises ConflictError where a key is taken, StorageError where the bucket does not answer.
    """
    store(bucket, compose(world, now=now))


def compose(world: World, *, now: datetime) -> Mapping[str, bytes]:
    """The objects of the bucket by key, after every story was told to the world. `now` counts in whole seconds."""
    stage = Stage(world, now.replace(microsecond=0))
    told: list[Delivery] = []
    Hook(world, told.append, secret=secrets.token_hex(16))
    for plot in PLOTS:
        tale = Tale(stage, plot)
        plot.tell(tale)
        tale.end()
    told.sort(key=happened_at)
    unstored = stage.run_of(UNSTORED, WorkflowKind.PLAN)
    stage.rename_repos()
    return {
        **stage.objects,
        **{active_key(request_id): content for request_id, content in UNREADABLE.items()},
        **strange_entries(stage.now),
        **seen_by_web_app(told),
        **dead_letter(told, run_id=unstored.id),
    }


def store(settings: BucketSettings, objects: Mapping[str, bytes]) -> None:
    """Stores new objects; raises as `plant`. By obstore, because the portal waits for it when it starts."""
    bucket = Bucket(settings)
    target = connect(bucket)

    def put(key: str, content: bytes) -> None:
        try:
            obstore.put(target, key, content, attributes={"Content-Type": "application/json"}, mode="create")
        except AlreadyExistsError as error:
            raise ConflictError(f"{key} is in bucket {bucket.name} already", "Empty the sandbox's bucket.") from error
        except (BaseError, OSError) as error:
            raise storage_error(error, doing=f"write {key}", bucket=bucket.name, endpoint=bucket.endpoint) from error

    with ThreadPoolExecutor(_WRITERS) as pool:
        list(pool.map(put, objects.keys(), objects.values()))
