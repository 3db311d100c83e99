"""Small secrets and one-time things: read inline, written with the next group of commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from fhir_server.storage.sqlite.reader import Reader

_LIVE = "(expires IS NULL OR expires > ?)"
_GET = f"SELECT value FROM ledger WHERE kind = ? AND key = ? AND {_LIVE}"
_SWEPT_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Put:
    """Keep a value."""

    kind: str
    key: str
    value: bytes
    expires: int | None
    only_new: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """Let a value go."""

    kind: str
    key: str


def apply(cursor: sqlite3.Cursor, change: Put | Delete, now: int) -> bool:
    """Do it within the writer's transaction; what `put` and `delete` of the ledger answer."""
    if isinstance(change, Delete):
        where = f"kind = ? AND key = ? AND {_LIVE}"
        return cursor.execute(f"DELETE FROM ledger WHERE {where}", (change.kind, change.key, now)).rowcount > 0
    keep = f"WHERE NOT {_LIVE}" if change.only_new else ""
    text = (
        "INSERT INTO ledger (kind, key, value, expires) VALUES (?, ?, ?, ?)"
        f" ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires {keep}"
    )
    args = (change.kind, change.key, change.value, change.expires, *((now,) if change.only_new else ()))
    return cursor.execute(text, args).rowcount > 0


def sweep(cursor: sqlite3.Cursor, now: int) -> None:
    """Forget some of what has expired."""
    cursor.execute(
        "DELETE FROM ledger WHERE (kind, key) IN"
        " (SELECT kind, key FROM ledger WHERE expires IS NOT NULL AND expires <= ? LIMIT ?)",
        (now, _SWEPT_AT_ONCE),
    )


Submit: TypeAlias = Callable[[Put | Delete], Awaitable[bool]]


class SqliteLedger:
    """storage.interface.Ledger. A value that has expired, by the store's clock, is not there: its key is free again."""

    def __init__(self, reading: Callable[[], AbstractContextManager[Reader]], submit: Submit) -> None:
        self._reading = reading
        self._submit = submit

    async def get(self, kind: str, key: str, *, now: int) -> bytes | None:
        with self._reading() as reader:
            row = reader.cursor.execute(_GET, (kind, key, now)).fetchone()
        return row[0] if row else None

    async def put(self, kind: str, key: str, value: bytes, *, expires: int | None, only_new: bool = False) -> bool:
        return await self._submit(Put(kind, key, value, expires, only_new))

    async def delete(self, kind: str, key: str) -> bool:
        return await self._submit(Delete(kind, key))
