"""GitHub's "come back later", in the objects that the web app reads and writes too."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from tfpilot.adapters.records import Records
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import format_time, parse_time
from tfpilot.core.model import JsonObject, RepoRef

_PREFIX: Final = "webhooks/github/ratelimit/"
_ALL_REPOS: Final = f"{_PREFIX}global.json"
_NOT_IN_A_KEY: Final = re.compile(r"[^a-zA-Z0-9_.-]")


class S3Backoffs:
    """`Backoffs` on a bucket. Two repositories can share a key (`a_b/c`, `a/b_c`): both then wait for either."""

    def __init__(self, bucket: Bucket) -> None:
        self._records = Records(bucket)

    def find(self, repo: RepoRef, *, now: datetime) -> datetime | None:
        stored = (parse_time(self._records.find(key).get("until")) for key in (_key(repo), _ALL_REPOS))
        return max((until for until in stored if until is not None and until > now), default=None)

    def put(self, repo: RepoRef, *, until: datetime, now: datetime, reason: str) -> None:
        def is_as_late(stored: JsonObject) -> bool:
            other = parse_time(stored.get("until"))
            return other is not None and format_time(other) >= format_time(until)

        record = {
            "until": format_time(until),
            "setAt": format_time(now),
            "retryAfterMs": max(0, round((until - now).total_seconds() * 1000)),
            "reason": reason,
        }
        self._records.put_newest(_key(repo), record, stays=is_as_late)


def _key(repo: RepoRef) -> str:
    return f"{_PREFIX}{_NOT_IN_A_KEY.sub('_', repo.owner)}_{_NOT_IN_A_KEY.sub('_', repo.name)}.json"
