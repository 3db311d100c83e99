"""Small secrets and one-time things: read inline, written with the next group of commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

from fhir_server.storage.sqlite.reader import Reader

_LIVE = "(expires IS NULL OR expires > ?)"
_ONE = f"kind = ? AND key = ? AND {_LIVE}"
_GET = f"SELECT value FROM ledger WHERE {_ONE}"
_KEYS = f"SELECT key FROM ledger WHERE kind = ? AND key >= ? AND key < ? AND {_LIVE} ORDER BY key"
_LAST = chr(0x10FFFF)
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


@dataclass(frozen=True, slots=True)
class Take:
    """Let a value go, and have it."""

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Swap:
    """Put one value in the place of another."""

    kind: str
    key: str
    old: bytes
    new: bytes
    expires: int | None


Change: TypeAlias = Put | Delete | Take | Swap


def apply(cursor: sqlite3.Cursor, change: Change, now: int) -> bool | bytes | None:
    """Do it within the writer's transaction; what the verb of the ledger answers."""
    match change:
        case Put():
            return _put(cursor, change, now)
        case Delete():
            return cursor.execute(f"DELETE FROM ledger WHERE {_ONE}", (change.kind, change.key, now)).rowcount > 0
        case Take():
            taken = cursor.execute(f"DELETE FROM ledger WHERE {_ONE} RETURNING value", (change.kind, change.key, now))
            # All rows are fetched: a statement that is not stepped to its end would hold up the COMMIT.
            return next((value for (value,) in taken.fetchall()), None)
        case Swap():
            args = (change.new, change.expires, change.kind, change.key, now, change.old)
            text = f"UPDATE ledger SET value = ?, expires = ? WHERE {_ONE} AND value = ?"
            return cursor.execute(text, args).rowcount > 0


def _put(cursor: sqlite3.Cursor, change: Put, now: int) -> bool:
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


Submit: TypeAlias = Callable[[Change], Awaitable[Any]]


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
        done: bool = await self._submit(Put(kind, key, value, expires, only_new))
        return done

    async def delete(self, kind: str, key: str) -> bool:
        done: bool = await self._submit(Delete(kind, key))
        return done

    async def take(self, kind: str, key: str) -> bytes | None:
        value: bytes | None = await self._submit(Take(kind, key))
        return value

    async def swap(self, kind: str, key: str, old: bytes, new: bytes, *, expires: int | None) -> bool:
        done: bool = await self._submit(Swap(kind, key, old, new, expires))
        return done

    async def keys(self, kind: str, *, prefix: str = "", now: int) -> list[str]:
        with self._reading() as reader:
            return [key for (key,) in reader.cursor.execute(_KEYS, (kind, prefix, prefix + _LAST, now))]
