"""The wrapped data keys: a SQLite file of their own, so that no copy of the record holds the keys to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final

from fhir_server.errors import Unavailable
from fhir_server.storage.cipher import Wrapped
from fhir_server.storage.sqlite.database import private_file

APPLICATION_ID: Final = 0x46484B59
"""`FHKY` in ASCII."""

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS data_key (owner TEXT PRIMARY KEY, kek TEXT NOT NULL, key BLOB NOT NULL) WITHOUT ROWID"
)


class KeyFile:
    """storage.cipher.Keys. Used by several threads; other processes may use the file at the same time."""

    def __init__(self, path: str, *, make: bool, busy: float = 5.0) -> None:
        """Raises ValueError when there is no such file and none is to be made, or when it is something else."""
        if not make and not Path(path).is_file():
            raise ValueError(f"the file of data keys is missing: {path}")
        private_file(path)
        self._lock = Lock()
        self._connection = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, path: str) -> None:
        connection = self._connection
        connection.execute("BEGIN")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        connection.execute("ROLLBACK")
        if application != APPLICATION_ID and (application or tables):
            raise ValueError(f"this is not a file of data keys: {path}")
        # Without a log beside it and with what is replaced overwritten, nothing is left of a key that is destroyed.
        for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}").close()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")

    def find(self, owner: str) -> Wrapped | None:
        """storage.cipher.Keys"""
        with self._reached() as connection:
            row = connection.execute("SELECT kek, key FROM data_key WHERE owner = ?", (owner,)).fetchone()
        return Wrapped(*row) if row else None

    def add(self, keys: Iterable[tuple[str, Wrapped]]) -> None:
        """storage.cipher.Keys"""
        rows = [(owner, wrapped.kek, wrapped.key) for owner, wrapped in keys]
        with self._reached() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO data_key VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)
            connection.execute("COMMIT")

    def replace(self, owner: str, old: Wrapped, new: Wrapped) -> bool:
        """storage.cipher.Keys"""
        with self._reached() as connection:
            changed = connection.execute(
                "UPDATE data_key SET kek = ?, key = ? WHERE owner = ? AND kek = ? AND key = ?", (*new, owner, *old)
            )
            return changed.rowcount == 1

    def walk(self, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        """storage.cipher.Keys"""
        select = "SELECT owner, kek, key FROM data_key WHERE owner > ? ORDER BY owner LIMIT ?"
        with self._reached() as connection:
            rows = connection.execute(select, (after, limit)).fetchall()
        return [(owner, Wrapped(kek, key)) for owner, kek, key in rows]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _reached(self) -> Iterator[sqlite3.Connection]:
        """The file, for one thread; raises Unavailable when it cannot be read or written."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    self._connection.rollback()
                raise Unavailable from error
