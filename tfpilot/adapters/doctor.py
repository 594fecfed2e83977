"""Checks of the bucket, of GitHub, of what may be reset and of the clocks, for whoever wants to know what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.github import GitHubEdge, Whoami
from tfpilot.adapters.keys import ACTIVE, ARCHIVED
from tfpilot.adapters.reset_store import S3ResetStores
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import MAX_DOCUMENT_BYTES
from tfpilot.core.reset_guards import PLACE_TAG
from tfpilot.core.reset_steps import Place, Store, seen_lock_places
from tfpilot.core.reset_target import ResetTarget
from tfpilot.core.run_index import PREFIX as RUN_INDEX
from tfpilot.edges import Clock, HealthCheck
from tfpilot.errors import DocumentError, TfPilotError

GITHUB_DEADLINE: Final = timedelta(seconds=10)
MAX_SKEW: Final = timedelta(seconds=30)
"""How far the clocks may differ. Beyond it times from GitHub and from here no longer compare."""

WRITTEN: Final = (ACTIVE, ARCHIVED, "logs/", "ops/", "webhooks/github/ratelimit/", RUN_INDEX)
"""Where the portal writes."""


class ConnectionDoctor:
    """`Doctor` of a bucket, a GitHub token, and the states and lock tables of the targets of resets."""

    def __init__(
        self,
        bucket: Bucket,
        github: GitHubEdge,
        stores: S3ResetStores,
        targets: Sequence[ResetTarget] = (),
        *,
        clock: Clock,
    ) -> None:
        self._bucket = bucket
        self._github = github
        self._stores = stores
        self._targets = targets
        self._clock = clock

    def checks(self) -> Sequence[HealthCheck]:
        return [
            _checked("bucket can be listed", self._list),
            _checked("requests can be read", self._read),
            _checked("bucket takes conditional writes", self._write),
            _checked("clock agrees with the bucket's", self._bucket_clock),
            *self._github_checks(),
            *(_checked(f"reset target {each.name} can be read", partial(self._target, each)) for each in self._targets),
        ]

    def _list(self) -> str:
        found = "there is at least one request" if self._first_request() else "there is no request yet"
        return f"{self._bucket.name} at {self._bucket.endpoint}: {found}"

    def _read(self) -> str:
        key = self._first_request()
        if key is None:
            return "there is no request to read yet"
        with suppress(DocumentError):  # too large to be a request, but not kept from us
            self._bucket.find(key, limit_bytes=MAX_DOCUMENT_BYTES)
        return f"{key} could be read"

    def _first_request(self) -> str | None:
        try:
            answer = self._bucket.client.list_objects_v2(Bucket=self._bucket.name, Prefix=ACTIVE, MaxKeys=1)
        except (ClientError, BotoCoreError) as error:
            raise self._bucket.failed(error, f"list {ACTIVE}") from error
        return next((entry["Key"] for entry in answer.get("Contents", ())), None)

    def _write(self) -> str:
        for prefix in WRITTEN:
            self._bucket.check_writable(prefix)
        return f"writes over a version that does not exist were refused, as they must be, under {', '.join(WRITTEN)}"

    def _bucket_clock(self) -> str:
        try:
            answer = self._bucket.client.head_bucket(Bucket=self._bucket.name)
        except (ClientError, BotoCoreError) as error:
            raise self._bucket.failed(error, "look at the bucket") from error
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return self._compared(parsedate_to_datetime(told) if told else None)

    def _github_checks(self) -> list[HealthCheck]:
        try:
            who = self._github.whoami(deadline=GITHUB_DEADLINE)
        except TfPilotError as error:
            return [HealthCheck("GitHub answers", ok=False, detail=error.message, hint=error.hint)]
        return [
            HealthCheck("GitHub answers", ok=True, detail=f"as {who.login}{_scopes(who)}"),
            _quota(who),
            _checked("clock agrees with GitHub's", lambda: self._compared(who.at)),
        ]

    def _target(self, target: ResetTarget) -> str:
        store = self._stores.of(target)
        tag, versioning = store.tags().get(PLACE_TAG), store.versioning()
        found = [store.find(Place(Store.STATE_BUCKET, state.object_key)) for state in target.states]
        for state in target.states:
            for place in seen_lock_places(target, state.object_key):
                store.find_lock(place)
            if target.lock_mode.has_table:
                store.find_digest(state.object_key)
        states = f"{sum(each is not None for each in found)} of {len(found)} states are there"
        return f"{states}; {target.bucket} says {PLACE_TAG} = {tag or 'nothing'}, versioning {versioning}"

    def _compared(self, other: datetime | None) -> str:
        if other is None:
            return "the other side told no time"
        skew = abs(self._clock() - other)
        if skew > MAX_SKEW:
            raise TfPilotError(
                f"The clocks differ by {round(skew.total_seconds())} s", "Let NTP set this machine's clock."
            )
        return f"they differ by less than {round(skew.total_seconds()) + 1} s"


def _checked(name: str, check: Callable[[], str]) -> HealthCheck:
    try:
        return HealthCheck(name, ok=True, detail=check())
    except TfPilotError as error:
        return HealthCheck(name, ok=False, detail=error.message, hint=error.hint)


def _scopes(who: Whoami) -> str:
    return f" with scopes {', '.join(who.scopes) or 'none'}" if who.scopes is not None else ""


def _quota(who: Whoami) -> HealthCheck:
    if who.quota is None:
        return HealthCheck("GitHub quota", ok=True, detail="GitHub told no limit")
    remaining, limit = who.quota
    hint = "" if remaining else "Wait until the hour is over, or use a GitHub App, which has a quota of its own."
    return HealthCheck("GitHub quota", ok=remaining > 0, detail=f"{remaining:,} of {limit:,} calls left", hint=hint)
