"""Checks of the bucket, of GitHub and of the clocks, for a person who wants to know what is wrong."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.github import GitHubEdge, Whoami
from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.s3_errors import code_of
from tfpilot.edges import Clock, HealthCheck
from tfpilot.errors import TfPilotError

GITHUB_DEADLINE: Final = timedelta(seconds=10)
MAX_SKEW: Final = timedelta(seconds=30)
"""How far the clocks may differ. Beyond it times from GitHub and from here no longer compare."""

_REFUSED_AS_WANTED: Final = frozenset({"PreconditionFailed", "NoSuchKey", "404", "412"})


class ConnectionDoctor:
    """`Doctor` of a bucket and a GitHub token."""

    def __init__(self, bucket: Bucket, github: GitHubEdge, *, clock: Clock) -> None:
        self._bucket = bucket
        self._github = github
        self._clock = clock

    def checks(self) -> Sequence[HealthCheck]:
        return [
            _checked("bucket can be listed", self._list),
            _checked("bucket takes conditional writes", self._write),
            _checked("clock agrees with the bucket's", self._bucket_clock),
            *self._github_checks(),
        ]

    def _list(self) -> str:
        try:
            answer = self._bucket.client.list_objects_v2(Bucket=self._bucket.name, Prefix="requests/", MaxKeys=1)
        except (ClientError, BotoCoreError) as error:
            raise self._bucket.failed(error, "list requests/") from error
        found = "there is at least one request" if answer["KeyCount"] else "there is no request yet"
        return f"{self._bucket.name} at {self._bucket.endpoint}: {found}"

    def _write(self) -> str:
        """A write on a condition that cannot hold: whoever may write is told so, and nothing is stored."""
        nothing = '"00000000000000000000000000000000"'
        key = f"ops/checked/doctor-{secrets.token_hex(8)}.json"
        try:
            self._bucket.client.put_object(Bucket=self._bucket.name, Key=key, Body=b"{}", IfMatch=nothing)
        except ClientError as error:
            if code_of(error) in _REFUSED_AS_WANTED:
                return "a write over a version that does not exist was refused, as it must be"
            raise self._bucket.failed(error, f"write {key}") from error
        except BotoCoreError as error:
            raise self._bucket.failed(error, f"write {key}") from error
        raise TfPilotError(
            f"The store wrote {key} although its condition could not hold",
            "This store ignores conditions, so that updates would be lost: use another one.",
        )

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
