"""What was computed once and is a function of its key: a table of texts in one SQLite file."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

__all__ = ["Cache", "cache_key"]

_log = logging.getLogger("selfmoa")
_AT_ONCE = 500
"""Keys asked in one statement; SQLite allows 999 at the least."""


def cache_key(*parts: object) -> str:
    """64 hex digits for everything that the value depends on."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


class Cache:
    """Key -> text, safe to share between processes. A file that cannot be read is a miss with a warning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)  # it holds answers to attacks

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """What is known of `keys`."""
        found: dict[str, str] = {}
        with self._told("asked"), self._open() as database:
            for start in range(0, len(keys), _AT_ONCE):
                part = list(keys[start : start + _AT_ONCE])
                marks = ",".join("?" * len(part))
                found.update(database.execute(f"SELECT key, value FROM kept WHERE key IN ({marks})", part))
        return found

    def put(self, values: Mapping[str, str]) -> None:
        """Keep these; a key that is there stays as it is."""
        with self._told("added to"), self._open() as database, database:
            database.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", list(values.items()))

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """A cache that is damaged within, or locked for too long, is done without: all it saves is time."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            _log.warning("%s cannot be %s now (%s).", self._path, what, error)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            database = self._connect()
        except sqlite3.OperationalError:  # locked, or no place to write: another process may be using it
            raise
        except sqlite3.DatabaseError as error:
            broken = self._path.with_suffix(".broken")
            _log.warning("%s is not readable (%s); it is set aside as %s.", self._path, error, broken.name)
            self._path.replace(broken)
            database = self._connect()
        with closing(database):
            yield database

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=60)
        try:
            database.execute("CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database
