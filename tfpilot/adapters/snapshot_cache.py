"""What was last read of every request, in a local sqlite file, so that a start does not read the whole bucket again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from tfpilot.adapters.bulk import Fetched
from tfpilot.adapters.local_cache import LocalCache
from tfpilot.adapters.s3 import Listed
from tfpilot.core.model import RequestRow

_KIND: Final = 0x74667031
_LAYOUT: Final = 1
_OUTDATED_AT_ONCE: Final = 1000
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS object (
  key TEXT PRIMARY KEY, etag TEXT NOT NULL, size INTEGER NOT NULL, modified TEXT NOT NULL,
  rules TEXT NOT NULL, row BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS body (key TEXT PRIMARY KEY, content BLOB);
"""
_row_decoder: Final = msgspec.msgpack.Decoder(RequestRow)


@dataclass(frozen=True, slots=True)
class Entry:
    """The row of one object, and the version it was made from."""

    etag: str
    row: RequestRow


@dataclass(frozen=True, slots=True)
class Read:
    """One object as it was read, and the row made from it."""

    fetched: Fetched
    row: RequestRow


class SnapshotCache:
    """The requests of one bucket (`owner`) in one `LocalCache`, which tells what goes wrong."""

    def __init__(self, path: Path, *, owner: str) -> None:
        self._cache = LocalCache(path, owner=owner, tables=_TABLES, kind=_KIND, layout=_LAYOUT)

    def load(self, *, rules: str) -> Mapping[str, Entry]:
        """What is cached and was derived by these rules, by key."""

        def select(db: sqlite3.Connection) -> dict[str, Entry]:
            found = db.execute("SELECT key, etag, row FROM object WHERE rules = ?", (rules,))
            return {key: Entry(etag, _row_decoder.decode(row)) for key, etag, row in found}

        return self._cache.do(select)

    def outdated(self, *, rules: str) -> Iterator[list[Fetched]]:
        """What is cached and was derived by other rules, some at a time."""
        last = ""
        while batch := self._cache.do(partial(_select_outdated, rules=rules, after=last)):
            yield batch
            last = batch[-1].listed.key

    def save(self, read: Iterable[Read], *, rules: str) -> None:
        """Keeps what was read, in place of what was kept of the same keys."""
        objects, bodies = [], []
        for each in read:
            listed = each.fetched.listed
            row = msgspec.msgpack.encode(each.row)
            objects.append((listed.key, listed.etag, listed.size, listed.modified.isoformat(), rules, row))
            bodies.append((listed.key, each.fetched.content))

        def insert(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)", objects)
            db.executemany("INSERT OR REPLACE INTO body VALUES (?, ?)", bodies)

        self._cache.do(insert)

    def finish(self, *, gone: Iterable[str], read_at: datetime) -> None:
        """Forgets the keys that are gone and remembers that everything was complete at `read_at`."""
        keys = [(key,) for key in gone]

        def write(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM object WHERE key = ?", keys)
            db.executemany("DELETE FROM body WHERE key = ?", keys)
            db.execute("INSERT OR REPLACE INTO about VALUES ('read_at', ?)", (read_at.isoformat(),))

        self._cache.do(write)

    def find_read_at(self) -> datetime | None:
        """When the last complete reading began; None where none was completed."""
        found = self._cache.find_note("read_at")
        return datetime.fromisoformat(found) if found else None

    def close(self) -> None:
        self._cache.close()


def _select_outdated(db: sqlite3.Connection, *, rules: str, after: str) -> list[Fetched]:
    found = db.execute(
        "SELECT key, etag, size, modified, content FROM object LEFT JOIN body USING (key)"
        " WHERE rules <> ? AND key > ? ORDER BY key LIMIT ?",
        (rules, after, _OUTDATED_AT_ONCE),
    )
    return [
        Fetched(Listed(key, etag, size, datetime.fromisoformat(modified)), content)
        for key, etag, size, modified, content in found
    ]
