"""What was last listed and read of the run index, in a local sqlite file: each entry is read once per version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from tfpilot.adapters.bulk import Fetched
from tfpilot.adapters.local_cache import LocalCache
from tfpilot.adapters.s3 import Listed
from tfpilot.core.index_listing import IndexObject

_KIND: Final = 0x74667032
_LAYOUT: Final = 1
_AT_ONCE: Final = 1000
_ASKED_AT_ONCE: Final = 500
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS object (
  key TEXT PRIMARY KEY, etag TEXT NOT NULL, size INTEGER NOT NULL, modified INTEGER NOT NULL,
  read INTEGER NOT NULL, content BLOB, refused TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unread ON object (key) WHERE read = 0;
"""
_FIND_CHANGES: Final = (
    "SELECT EXISTS (SELECT 1 FROM listed LEFT JOIN object USING (key) WHERE object.etag IS NOT listed.etag)"
    " OR EXISTS (SELECT 1 FROM object LEFT JOIN listed USING (key) WHERE listed.key IS NULL)"
)
_TAKE_OVER: Final = (
    "INSERT OR REPLACE INTO object SELECT listed.key, listed.etag, listed.size, listed.modified, 0, NULL, ''"
    " FROM listed LEFT JOIN object USING (key) WHERE object.etag IS NOT listed.etag"
)


class IndexCache:
    """The run index of one bucket (`owner`) in one `LocalCache`, which tells what goes wrong."""

    def __init__(self, path: Path, *, owner: str) -> None:
        self._cache = LocalCache(path, owner=owner, tables=_TABLES, kind=_KIND, layout=_LAYOUT)

    def take_over(self, listed: Iterable[Listed], *, read_at: datetime) -> bool:
        """From now on these objects are there and no others, as of `read_at`; whether that differs from before.

        What was read of an object stays as long as its version does.
        """
        rows = ((each.key, each.etag, each.size, int(each.modified.timestamp())) for each in listed)

        def write(db: sqlite3.Connection) -> bool:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS listed (key TEXT PRIMARY KEY, etag, size, modified)")
            db.execute("DELETE FROM listed")
            db.executemany("INSERT INTO listed VALUES (?, ?, ?, ?)", rows)
            differs = bool(db.execute(_FIND_CHANGES).fetchone()[0])
            db.execute("DELETE FROM object WHERE key NOT IN (SELECT key FROM listed)")
            db.execute(_TAKE_OVER)
            db.execute("DELETE FROM listed")
            db.execute("INSERT OR REPLACE INTO about VALUES ('read_at', ?)", (read_at.isoformat(),))
            return differs

        return self._cache.do(write)

    def places(self) -> Sequence[tuple[str, int]]:
        """Every key with the time of its storing, in whole seconds since 1970."""
        return self._cache.do(lambda db: db.execute("SELECT key, modified FROM object").fetchall())

    def count_unread(self) -> int:
        """How many objects have not been read in their version."""
        return int(self._cache.do(lambda db: db.execute("SELECT count(*) FROM object WHERE read = 0").fetchone())[0])

    def unread(self, limit: int) -> Sequence[Listed]:
        """Some objects that have not been read in their version."""

        def select(db: sqlite3.Connection) -> list[Listed]:
            found = db.execute("SELECT key, etag, size, modified FROM object WHERE read = 0 LIMIT ?", (limit,))
            return [Listed(key, etag, size, _time(modified)) for key, etag, size, modified in found]

        return self._cache.do(select)

    def save(self, asked: Sequence[Listed], fetched: Iterable[Fetched]) -> None:
        """Keeps what was read of the objects that were asked for, and forgets those that were gone."""
        read = {each.listed.key: each for each in fetched}
        gone = [(each.key, each.etag) for each in asked if each.key not in read]
        rows = [(key, *_columns(each)) for key, each in read.items()]

        def write(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM object WHERE key = ? AND etag = ?", gone)
            db.executemany("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, 1, ?, ?)", rows)

        self._cache.do(write)

    def objects(self) -> Iterator[IndexObject]:
        """Every object that was read, in the order of the keys, some at a time."""
        last = ""
        while batch := self._cache.do(partial(_select_after, last)):
            yield from batch
            last = batch[-1].key

    def find(self, keys: Sequence[str]) -> Mapping[str, tuple[Listed, IndexObject | None]]:
        """These objects as they are listed, each with what was read of it; without what is not listed."""
        found: dict[str, tuple[Listed, IndexObject | None]] = {}
        for start in range(0, len(keys), _ASKED_AT_ONCE):
            found |= self._cache.do(partial(_select_keys, keys[start : start + _ASKED_AT_ONCE]))
        return found

    def find_read_at(self) -> datetime | None:
        """When the last complete listing began; None where none was completed."""
        found = self._cache.find_note("read_at")
        return datetime.fromisoformat(found) if found else None

    def close(self) -> None:
        self._cache.close()


def index_object(fetched: Fetched) -> IndexObject:
    """An object that was read, as the core takes it."""
    listed = fetched.listed
    return IndexObject(listed.key, listed.etag, fetched.content, fetched.refused or "")


def _columns(fetched: Fetched) -> tuple[str, int, int, bytes | None, str]:
    listed = fetched.listed
    return listed.etag, listed.size, int(listed.modified.timestamp()), fetched.content, fetched.refused or ""


def _select_after(last: str, db: sqlite3.Connection) -> list[IndexObject]:
    found = db.execute(
        "SELECT key, etag, content, refused FROM object WHERE read = 1 AND key > ? ORDER BY key LIMIT ?",
        (last, _AT_ONCE),
    )
    return [IndexObject(*columns) for columns in found]


def _select_keys(keys: Sequence[str], db: sqlite3.Connection) -> dict[str, tuple[Listed, IndexObject | None]]:
    marks = ", ".join("?" * len(keys))
    found = db.execute(
        f"SELECT key, etag, size, modified, read, content, refused FROM object WHERE key IN ({marks})",  # noqa: S608 only question marks
        keys,
    )
    return {
        key: (
            Listed(key, etag, size, _time(modified)),
            IndexObject(key, etag, content, refused) if read else None,
        )
        for key, etag, size, modified, read, content, refused in found
    }


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
