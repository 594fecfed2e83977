"""Which request a pull request belongs to, as the web app writes it (`webhooks/github/pr-index/`)."""

from __future__ import annotations

import re
from typing import Final

from tfpilot.adapters.records import Records
from tfpilot.adapters.s3 import Bucket
from tfpilot.core.document import is_request_id, number_of, text_of
from tfpilot.core.model import RepoRef

PREFIX: Final = "webhooks/github/pr-index/"

_NOT_IN_KEYS: Final = re.compile(r"[^a-zA-Z0-9_.-]")


class S3PullIndex:
    """`PullIndex` on a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._records = Records(bucket)

    def find(self, repo: RepoRef, number: int) -> str | None:
        record = self._records.find(pull_key(repo, number))
        owner, name, request_id = (text_of(record.get(field)) or "" for field in ("owner", "repo", "requestId"))
        # Two repositories may share a key, so the body decides.
        is_same = f"{owner}/{name}".casefold() == str(repo).casefold() and number_of(record.get("prNumber")) == number
        return request_id if is_same and is_request_id(request_id) else None


def pull_key(repo: RepoRef, number: int) -> str:
    """Where the entry of a pull request is."""
    owner, name = (_NOT_IN_KEYS.sub("_", part) for part in (repo.owner, repo.name))
    return f"{PREFIX}{owner}_{name}/pr-{number}.json"
