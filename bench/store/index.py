"""The index: one summary per run in sqlite, a cache that may be lost, spoilt or locked without harm.

A refresh looks at the runs the journals name since the last one, at those in which a change may be under way,
and at those whose state depends on a living process. Where the file cannot be used, it is done in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.store.journal import Journal

if TYPE_CHECKING:
    from sqlite3 import Connection

Row = dict[str, Any]
LOCK_SECONDS = 3.0

_VERSION = 3
_TABLES = """
CREATE TABLE runs (key TEXT PRIMARY KEY, method TEXT, task TEXT, mortal INTEGER, summary TEXT) WITHOUT ROWID;
CREATE INDEX mortal ON runs (key) WHERE mortal;
CREATE TABLE underway (key TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
CREATE TABLE journals (name TEXT PRIMARY KEY, read INTEGER) WITHOUT ROWID;
"""


class Index:
    """Summaries of all runs; `summarise(key)` reads a run's folder (None: gone), `keys()` lists them all."""

    def __init__(
        self,
        path: Path,
        journal: Journal,
        summarise: Callable[[str], Row | None],
        keys: Callable[[], Iterable[str]],
    ) -> None:
        self.path = path
        self._journal = journal
        self._summarise = summarise
        self._keys = keys

    def rows(self, wanted: Callable[[str, str], bool]) -> list[Row]:
        """The summaries, as they are now, of the runs whose (method, task) is `wanted`; unordered."""
        import sqlite3

        spoilt = (sqlite3.Error, ValueError)
        try:
            return self._read(self._file(), wanted)
        except spoilt as error:
            if _rebuildable(error) and self.discard():
                with suppress(*spoilt):
                    return self._read(self._file(), wanted)
        with suppress(*spoilt):
            return self._read(self._copy(), wanted)
        return self._read(_memory(), wanted)

    def discard(self) -> bool:
        """Delete the file, so that the next reading makes it anew; False where that is not possible."""
        try:
            self.path.unlink(missing_ok=True)
            self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _file(self) -> Connection:
        import sqlite3

        return sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)

    def _copy(self) -> Connection:
        """The file's content in memory, for a file that can be read but not written."""
        import sqlite3

        memory, uri = _memory(), f"{self.path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS)) as file:
            file.backup(memory, progress=_not_locked)
        return memory

    def _read(self, connection: Connection, wanted: Callable[[str, str], bool]) -> list[Row]:
        """Refresh, read and close."""
        with closing(connection):
            connection.execute("BEGIN IMMEDIATE")  # one refresh at a time; nothing of a killed one stays
            self._refresh(connection)
            connection.execute("COMMIT")
            pairs = connection.execute("SELECT DISTINCT method, task FROM runs").fetchall()
            chosen = {pair for pair in pairs if wanted(*pair)}
            found = connection.execute("SELECT method, task, summary FROM runs")
            return [json.loads(summary) for method, task, summary in found if (method, task) in chosen]

    def _refresh(self, connection: Connection) -> None:
        sizes = self._journal.sizes()
        made = connection.execute("PRAGMA user_version").fetchone()[0] == _VERSION
        known = dict(connection.execute("SELECT name, read FROM journals")) if made else {}
        fresh = not made or any(sizes.get(name, 0) < read for name, read in known.items())
        if fresh:
            _make(connection)
            known = {}
        touched: set[str] = set()
        for name, size in sizes.items():
            if size > known.get(name, 0):
                touched |= self._follow(connection, name, known.get(name, 0))
        if fresh:  # after the journals were read: what changes later will be in them
            touched = set(self._keys())
        else:
            touched.update(key for (key,) in connection.execute("SELECT key FROM runs WHERE mortal"))
            touched.update(key for (key,) in connection.execute("SELECT key FROM underway"))
        for key in touched:
            _put(connection, key, self._summarise(key))

    def _follow(self, connection: Connection, name: str, start: int) -> set[str]:
        """Read on in a journal: the keys it names; changes begun and not ended are counted in `underway`."""
        lines, end = self._journal.read(name, start)
        counts: dict[str, int] = {}
        for key, change in lines:
            counts[key] = counts.get(key, 0) + change
        connection.executemany(
            "INSERT INTO underway VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(key, count) for key, count in counts.items() if count],
        )
        connection.execute("DELETE FROM underway WHERE count = 0")
        connection.execute("INSERT OR REPLACE INTO journals VALUES (?, ?)", (name, end))
        return set(counts)


def _not_locked(status: int, remaining: int, total: int) -> None:
    """Stop a backup that would otherwise wait for a lock without end."""
    import sqlite3

    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("database is locked")


def _memory() -> Connection:
    import sqlite3

    return sqlite3.connect(":memory:", isolation_level=None)


def _make(connection: Connection) -> None:
    """Empty tables, whatever was there."""
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        connection.execute('DROP TABLE "{}"'.format(name.replace('"', '""')))
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {_VERSION}")


def _put(connection: Connection, key: str, row: Row | None) -> None:
    if row is None:
        connection.execute("DELETE FROM runs WHERE key = ?", (key,))
        return
    mortal = row["state"] in ("running", "stale")
    values = (key, row["method"], row["task"], mortal, json.dumps(row))
    connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", values)


def _rebuildable(error: Exception) -> bool:
    """Whether the file itself is at fault, rather than its being locked, read-only or out of reach."""
    import sqlite3

    names = ("BUSY", "LOCKED", "READONLY", "CANTOPEN", "PERM", "FULL", "IOERR")
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF not in {getattr(sqlite3, f"SQLITE_{name}") for name in names}
