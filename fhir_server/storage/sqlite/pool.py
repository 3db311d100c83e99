"""Reading connections: lent to one snapshot at a time, kept for the next with their prepared statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final

from fhir_server.errors import Unavailable
from fhir_server.storage.sqlite.names import Known
from fhir_server.storage.sqlite.read import Reader, SqliteSnapshot

_MOST_IDLE: Final = 8


class Pool:
    """Makes readers as they are needed, with `connect`."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._known = Known()
        self._idle: list[Reader] = []
        self._closed = False

    def take(self) -> Reader:
        """A reader for its taker alone. Raises Unavailable when the store is closed."""
        if self._closed:
            raise Unavailable
        return self._idle.pop() if self._idle else Reader(self._connect(), self._known)

    def give_back(self, reader: Reader) -> None:
        """Take a reader back; one with a transaction that cannot be ended is thrown away."""
        if self._closed or len(self._idle) >= _MOST_IDLE or reader.connection.in_transaction:
            reader.connection.close()
        else:
            self._idle.append(reader)

    def close(self) -> None:
        """Close what is idle now, and every other reader when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().connection.close()

    def reader(self) -> Lent:
        """A reader for single statements outside any snapshot."""
        return Lent(self)


class Lent:
    """A reader, for the length of a `with` block."""

    __slots__ = ("_pool", "_reader")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Reader:
        self._reader = self._pool.take()
        return self._reader

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.give_back(self._reader)
        if isinstance(error, sqlite3.Error):
            raise Unavailable from error


class SnapshotContext:
    """One read transaction, for the length of an `async with` block."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> SqliteSnapshot:
        reader = self._pool.take()
        try:
            reader.cursor.execute("BEGIN")
        except sqlite3.Error as error:
            reader.connection.close()
            raise Unavailable from error
        self._reader, self._snapshot = reader, SqliteSnapshot(reader)
        return self._snapshot

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._snapshot.end()
        with suppress(sqlite3.Error):
            self._reader.cursor.execute("COMMIT")
        self._pool.give_back(self._reader)
        if isinstance(error, sqlite3.Error):
            raise Unavailable from error
