"""Earlier versions of the objects under a prefix, where the bucket keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from tfpilot.adapters.s3 import Bucket
from tfpilot.adapters.s3_errors import code_of
from tfpilot.core.index_listing import EntryVersion, VersionHistory

_READ_AT_ONCE: Final = 16
_GONE: Final = frozenset({"NoSuchVersion", "NoSuchKey", "404"})


@dataclass(frozen=True, slots=True)
class _Listed:
    key: str
    version_id: str
    modified: datetime
    latest: bool
    size: int


def read_versions(bucket: Bucket, prefix: str, *, limit_bytes: int) -> VersionHistory:
    """The versions of every key that has more than one, the oldest first. Latest ones are not read: a listing does.

    One call for whether versions are kept, one per 1000 versions, and one per earlier version. Raises StorageError.
    """
    try:
        kept = bucket.client.get_bucket_versioning(Bucket=bucket.name).get("Status") == "Enabled"
        several = {key: found for key, found in _by_key(_list(bucket, prefix)).items() if len(found) > 1}
        wanted = [each for found in several.values() for each in found]
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            read = pool.map(partial(_read, bucket, limit_bytes=limit_bytes), wanted)
            versions: dict[str, list[EntryVersion]] = {}
            for each, version in zip(wanted, read, strict=True):
                versions.setdefault(each.key, []).append(version)
    except (ClientError, BotoCoreError) as error:
        raise bucket.failed(error, f"read the versions under {prefix}") from error
    return VersionHistory(kept, {key: tuple(found) for key, found in versions.items()})


def _list(bucket: Bucket, prefix: str) -> Iterable[_Listed]:
    for page in bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name, Prefix=prefix):
        for entry in page.get("Versions", ()):
            yield _Listed(
                entry["Key"], entry["VersionId"], entry["LastModified"], entry["IsLatest"], entry.get("Size", 0)
            )


def _by_key(listed: Iterable[_Listed]) -> Mapping[str, list[_Listed]]:
    """The versions of each key, the oldest first: a listing gives the newest first, also within one second."""
    found: dict[str, list[_Listed]] = {}
    for each in listed:
        found.setdefault(each.key, []).insert(0, each)
    return found


def _read(bucket: Bucket, listed: _Listed, *, limit_bytes: int) -> EntryVersion:
    content = None if listed.latest or listed.size > limit_bytes else _content(bucket, listed)
    return EntryVersion(listed.version_id, listed.modified, listed.latest, content)


def _content(bucket: Bucket, listed: _Listed) -> bytes | None:
    """The bytes; None where the version was removed meanwhile."""
    try:
        answer = bucket.client.get_object(Bucket=bucket.name, Key=listed.key, VersionId=listed.version_id)
        with closing(answer["Body"]) as stream:
            return stream.read()
    except ClientError as error:
        if code_of(error) in _GONE:
            return None
        raise
