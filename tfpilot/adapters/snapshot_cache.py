"""What was last read of every request, in a local sqlite file, so that a start does not read the whole bucket again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tfpilot.adapters.bulk import Fetched
from tfpilot.adapters.s3 import Listed
from tfpilot.core.model import RequestRow
from tfpilot.errors import StorageError

T = TypeVar("T")

_APPLICATION_ID: Final = 0x74667031
_FORMAT: Final = 1
_BUSY_SECONDS: Final = 10
_OUTDATED_AT_ONCE: Final = 1000
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS object (
  key TEXT PRIMARY KEY, etag TEXT NOT NULL, size INTEGER NOT NULL, modified TEXT NOT NULL,
  rules TEXT NOT NULL, row BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS body (key TEXT PRIMARY KEY, content BLOB);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
COMMIT;
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


class CacheReplacedError(StorageError):
    """The cache could not be used any more and was made anew: it is empty now."""


class SnapshotCache:
    """One sqlite file for one bucket (`owner`). May be used from several threads and by several processes.

    A file that is broken, of another format or of another bucket is set aside as `<name>.old`, and a new one begun.
    Every method raises StorageError where the file cannot be read or written at all.
    """

    def __init__(self, path: Path, *, owner: str) -> None:
        self._path = path
        self._owner = owner
        self._lock = threading.Lock()
        self._db = self._open_or_replace()

    def load(self, *, rules: str) -> Mapping[str, Entry]:
        """What is cached and was derived by these rules, by key."""

        def select(db: sqlite3.Connection) -> dict[str, Entry]:
            found = db.execute("SELECT key, etag, row FROM object WHERE rules = ?", (rules,))
            return {key: Entry(etag, _row_decoder.decode(row)) for key, etag, row in found}

        return self._do(select)

    def outdated(self, *, rules: str) -> Iterator[list[Fetched]]:
        """What is cached and was derived by other rules, some at a time."""
        last = ""
        while batch := self._do(partial(_select_outdated, rules=rules, after=last)):
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

        self._do(insert)

    def finish(self, *, gone: Iterable[str], read_at: datetime) -> None:
        """Forgets the keys that are gone and remembers that everything was complete at `read_at`."""
        keys = [(key,) for key in gone]

        def write(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM object WHERE key = ?", keys)
            db.executemany("DELETE FROM body WHERE key = ?", keys)
            db.execute("INSERT OR REPLACE INTO about VALUES ('read_at', ?)", (read_at.isoformat(),))

        self._do(write)

    def find_read_at(self) -> datetime | None:
        """When the last complete reading began; None where none was completed."""
        found = self._do(lambda db: db.execute("SELECT value FROM about WHERE name = 'read_at'").fetchone())
        return datetime.fromisoformat(found[0]) if found else None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The work as one transaction. Raises CacheReplacedError where the file turned out to be broken."""
        with self._lock:
            try:
                with self._db:
                    return work(self._db)
            except sqlite3.OperationalError as error:
                raise self._unusable(error) from error
            except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
                self._db.close()
                _set_aside(self._path)
                self._db = self._open_or_replace()
                raise CacheReplacedError(
                    f"The local cache {self._path} was broken and is made anew", "The next reading fills it."
                ) from error

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if (db := _find_cache(self._path, owner=self._owner)) is not None:
                return db
            _set_aside(self._path)
            db = _find_cache(self._path, owner=self._owner)
        except (sqlite3.OperationalError, OSError) as error:
            raise self._unusable(error) from error
        if db is None:
            raise self._unusable("somebody else keeps replacing it")
        return db

    def _unusable(self, reason: object) -> StorageError:
        return StorageError(
            f"The local cache {self._path} cannot be used: {reason}",
            "Check that its folder (TFPILOT_CACHE_DIR) can be written and that the disk is not full.",
        )


def _find_cache(path: Path, *, owner: str) -> sqlite3.Connection | None:
    """The cache of this bucket, begun where there is no file; None where the file is something else."""
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            db.executescript(_SCHEMA)
            with db:
                db.execute("INSERT OR IGNORE INTO about VALUES ('owner', ?)", (owner,))
        if _is_cache(db, owner=owner):
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            return db
    except sqlite3.OperationalError:
        db.close()
        raise
    except sqlite3.DatabaseError:
        db.close()
        return None
    db.close()
    return None


def _is_cache(db: sqlite3.Connection, *, owner: str) -> bool:
    marks = (db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0])
    if marks != (_APPLICATION_ID, _FORMAT):
        return False
    found: object = db.execute("SELECT value FROM about WHERE name = 'owner'").fetchone()
    return found == (owner,)


def _set_aside(path: Path) -> None:
    for part in ("", "-wal", "-shm"):
        current, old = path.with_name(f"{path.name}{part}"), path.with_name(f"{path.name}.old{part}")
        old.unlink(missing_ok=True)
        if current.exists():
            current.replace(old)


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
