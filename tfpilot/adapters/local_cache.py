"""A local sqlite file that may be lost at any time: what is in it can be read again from the bucket."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tfpilot.errors import StorageError

T = TypeVar("T")

_BUSY_SECONDS: Final = 10
_ABOUT: Final = "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"


class CacheReplacedError(StorageError):
    """The cache could not be used any more and was made anew: it is empty now."""


@contextmanager
def cache_place(path: Path | None, *, name: str) -> Iterator[Path]:
    """Where a cache is: at `path`; where that is None, under that name in a folder that goes at the end."""
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tfpilot-cache-") as folder:
        yield Path(folder) / name


class LocalCache:
    """One sqlite file for one bucket (`owner`). May be used from several threads and by several processes.

    `tables` makes them in a new file; `kind` and `layout` are numbers that tell what the file is and how it is laid
    out. A file that is broken, of another kind or layout or of another bucket is set aside as `<name>.old`, and a new
    one begun. Every method raises StorageError where the file cannot be read or written at all.
    """

    def __init__(self, path: Path, *, owner: str, tables: str, kind: int, layout: int) -> None:
        self._path = path
        self._owner = owner
        self._marks = (kind, layout)
        self._tables = tables
        self._lock = threading.Lock()
        self._db = self._open_or_replace()

    def find_note(self, name: str) -> str | None:
        """What was noted under that name."""
        found = self.do(lambda db: db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone())
        return found[0] if found else None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
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
            if (db := self._find_cache()) is not None:
                return db
            _set_aside(self._path)
            db = self._find_cache()
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

    def _find_cache(self) -> sqlite3.Connection | None:
        """The cache of this bucket, begun where there is no file; None where the file is something else."""
        db = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                self._begin(db)
            if self._is_ours(db):
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

    def _begin(self, db: sqlite3.Connection) -> None:
        kind, layout = self._marks
        marks = f"PRAGMA application_id = {kind}; PRAGMA user_version = {layout};"
        db.executescript(f"BEGIN IMMEDIATE; {_ABOUT} {self._tables} {marks} COMMIT;")
        with db:
            db.execute("INSERT OR IGNORE INTO about VALUES ('owner', ?)", (self._owner,))

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        marks = (db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0])
        if marks != self._marks:
            return False
        found: object = db.execute("SELECT value FROM about WHERE name = 'owner'").fetchone()
        return found == (self._owner,)


def _set_aside(path: Path) -> None:
    for part in ("", "-wal", "-shm"):
        current, old = path.with_name(f"{path.name}{part}"), path.with_name(f"{path.name}.old{part}")
        old.unlink(missing_ok=True)
        if current.exists():
            current.replace(old)
