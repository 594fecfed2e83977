"""Where Terraform's S3 backend keeps a state, its lock and its digest, and what a lock says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from tfpilot.core.document import format_time, parse_json, parse_time
from tfpilot.errors import DocumentError

DEFAULT_WORKSPACE: Final = "default"
WORKSPACE_PREFIX: Final = "env:"
"""What the backend takes where `workspace_key_prefix` is not set."""

LOCKFILE_SUFFIX: Final = ".tflock"
DIGEST_SUFFIX: Final = "-md5"

_FIELDS: Final = ("ID", "Operation", "Info", "Who", "Version", "Created", "Path")


class LockMode(StrEnum):
    """Which of its two locks the backend takes. The digest lives in the lock table, so `lockfile` has none."""

    DYNAMODB = "dynamodb"
    LOCKFILE = "lockfile"
    BOTH = "both"

    @property
    def has_table(self) -> bool:
        """Whether the lock table holds a lock item, and the digest of the state."""
        return self is not LockMode.LOCKFILE

    @property
    def has_lockfile(self) -> bool:
        """Whether a `.tflock` object beside the state is the lock, or one half of it."""
        return self is not LockMode.DYNAMODB


@dataclass(frozen=True, slots=True)
class LockInfo:
    """Who holds a lock, and for what, as Terraform itself says it. `created` None: not readable as a time."""

    id: str
    operation: str
    info: str
    who: str
    version: str
    created: datetime | None
    path: str


@dataclass(frozen=True, slots=True)
class MalformedLock:
    """A lock that holds and that Terraform cannot release: what is wrong with it, and the text as it is stored.

    `text` None: the item has no Info at all.
    """

    reason: str
    text: str | None


@dataclass(frozen=True, slots=True)
class StoredLock:
    """A lock as it is stored. `version` is what a removal on condition needs: the ETag of a lockfile, the Info of a
    lock item, None for an item without one."""

    lock: LockInfo | MalformedLock
    version: str | None

    @property
    def mark(self) -> str:
        """What tells this lock apart from another in its place: its id, for a malformed one what is stored."""
        return self.lock.id if isinstance(self.lock, LockInfo) else f"malformed {self.version or ''}"


def state_key(key: str, *, workspace: str = DEFAULT_WORKSPACE, workspace_key_prefix: str = WORKSPACE_PREFIX) -> str:
    """The key of a workspace's state object, from the `key` of the backend block."""
    return key if workspace == DEFAULT_WORKSPACE else f"{workspace_key_prefix}/{workspace}/{key}"


def lock_id(bucket: str, object_key: str) -> str:
    """The LockID of a state's lock item in the lock table, which is also the `Path` of its LockInfo."""
    return f"{bucket}/{object_key}"


def digest_id(bucket: str, object_key: str) -> str:
    """The LockID of a state's digest item in the lock table."""
    return f"{lock_id(bucket, object_key)}{DIGEST_SUFFIX}"


def lockfile_key(object_key: str) -> str:
    """The key of a state's lockfile."""
    return f"{object_key}{LOCKFILE_SUFFIX}"


def md5_of(content: bytes) -> str:
    """What the digest item must hold for a state of these bytes."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def parse_lock(content: str | bytes | None) -> LockInfo | MalformedLock:
    """What a lock says: the Info of a lock item (None where the item has none), or the body of a lockfile.

    Never fails. A field that Terraform may leave out reads as empty; without an id nobody can release the lock by it.
    """
    if content is None:
        return MalformedLock("The lock item has no Info", None)
    text = content.decode("utf-8", errors="replace") if isinstance(content, bytes) else content
    try:
        fields = _lock_fields(text)
    except DocumentError as error:
        return MalformedLock(error.message, text)
    return LockInfo(
        fields["ID"],
        fields["Operation"],
        fields["Info"],
        fields["Who"],
        fields["Version"],
        parse_time(fields["Created"]),
        fields["Path"],
    )


def render_lock(lock: LockInfo) -> bytes:
    """The text to store, in the order in which Terraform writes the fields. `created` must be known."""
    if lock.created is None:
        raise ValueError("a lock of our own has a time")
    values = (lock.id, lock.operation, lock.info, lock.who, lock.version, format_time(lock.created), lock.path)
    return json.dumps(dict(zip(_FIELDS, values, strict=True)), ensure_ascii=False).encode()


def _lock_fields(text: str) -> dict[str, str]:
    if not text.strip():
        raise DocumentError("The lock is empty")
    stored = parse_json(text.encode("utf-8", errors="surrogatepass"), what="The lock")
    if not isinstance(stored, dict):
        raise DocumentError("The lock is JSON, but no object")
    wrong = [name for name in _FIELDS if not isinstance(stored.get(name, ""), str)]
    if wrong:
        raise DocumentError(f"{', '.join(wrong)} of the lock {'is' if len(wrong) == 1 else 'are'} no text")
    if not stored.get("ID"):
        raise DocumentError("The lock has no ID")
    if not str(stored["ID"]).isprintable():
        raise DocumentError("The ID of the lock holds characters that nobody can type")
    return {name: stored.get(name, "") for name in _FIELDS}
