"""Reading connections: lent to one snapshot at a time, kept for the next with their prepared statements.

A read transaction is begun once in a turn of the event loop: who takes a reader later in that turn is given the one
that is begun, if it is free. To begin and to end one costs as much as a read does. Nobody sees less by it: all who run
until the turn is over were waked before the transaction began, so what they know of had been committed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, TypeAlias

from fhir_server.errors import Unavailable
from fhir_server.storage.cipher import Cipher
from fhir_server.storage.sqlite.names import Known
from fhir_server.storage.sqlite.read import SqliteSnapshot
from fhir_server.storage.sqlite.reader import Reader
from fhir_server.storage.sqlite.remembered import Remembered

Loop: TypeAlias = asyncio.AbstractEventLoop

_MOST_IDLE: Final = 8


class Pool:
    """Makes readers as they are needed, with `connect`."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], cipher: Cipher | None = None) -> None:
        self._connect = connect
        self._cipher = cipher
        self._known = Known()
        self._remembered = Remembered()
        self._idle: list[Reader] = []
        # By event loop: a reader that nobody has, in the transaction that was begun in this turn.
        self._begun: dict[Loop, Reader] = {}
        # Readers whose transaction goes on for the next taker until the turn is over.
        self._current: set[Reader] = set()
        self._closed = False

    def take(self) -> Reader:
        """A reader in a transaction, for its taker alone. Raises Unavailable when none can be had."""
        if self._closed:
            raise Unavailable
        loop = asyncio.get_running_loop()
        return self._begun.pop(loop, None) or self._begin(loop)

    def give_back(self, reader: Reader, error: BaseException | None) -> None:
        """Take a reader back. `error`: what its taker met; raises Unavailable for one of SQLite."""
        failed = isinstance(error, sqlite3.Error)
        loop = asyncio.get_running_loop()
        if reader in self._current and not (failed or self._closed or loop in self._begun):
            self._begun[loop] = reader
        else:
            self._end(reader)
        if failed:
            raise Unavailable from error

    def close(self) -> None:
        """Close what is idle now, and every other reader when it comes back."""
        self._closed = True
        while self._begun:
            self._end(self._begun.popitem()[1])
        while self._idle:
            self._idle.pop().connection.close()

    def reader(self) -> Lent:
        """A reader for single statements outside any snapshot."""
        return Lent(self)

    def _begin(self, loop: Loop) -> Reader:
        reader = self._idle.pop() if self._idle else self._new()
        try:
            reader.cursor.execute("BEGIN")
        except sqlite3.Error as error:
            reader.connection.close()
            raise Unavailable from error
        self._current.add(reader)
        loop.call_soon(self._turn_over, loop, reader)
        return reader

    def _new(self) -> Reader:
        return Reader(self._connect(), self._known, self._remembered, self._cipher)

    def _turn_over(self, loop: Loop, reader: Reader) -> None:
        self._current.discard(reader)
        if self._begun.get(loop) is reader:
            self._end(self._begun.pop(loop))

    def _end(self, reader: Reader) -> None:
        """End its transaction; a reader with one that cannot be ended is thrown away."""
        self._current.discard(reader)
        with suppress(sqlite3.Error):
            reader.cursor.execute("COMMIT")
        if self._closed or len(self._idle) >= _MOST_IDLE or reader.connection.in_transaction:
            reader.connection.close()
        else:
            self._idle.append(reader)


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
        self._pool.give_back(self._reader, error)


class SnapshotContext:
    """One read transaction, for the length of an `async with` block."""

    __slots__ = ("_pool", "_reader", "_snapshot")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __aenter__(self) -> SqliteSnapshot:
        self._reader = self._pool.take()
        self._snapshot = SqliteSnapshot(self._reader)
        return self._snapshot

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._snapshot.end()
        self._pool.give_back(self._reader, error)
