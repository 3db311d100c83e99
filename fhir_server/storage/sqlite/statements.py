"""Statements over many rows at once: each call gives up the interpreter lock, so few large ones beat many small."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any, Final

_SIZES: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)
# A few sizes rather than any, so that the connection's cache of prepared statements holds them all.


def insert(cursor: sqlite3.Cursor, table: str, columns: str, rows: Sequence[tuple[Any, ...]], then: str = "") -> None:
    """Insert `rows`, each as wide as `columns` (comma-separated); `then` ends the statement (ON CONFLICT …)."""
    start, left = 0, len(rows)
    for size in _SIZES:
        while left >= size:
            part = rows[start : start + size]
            cursor.execute(_insertion(table, columns, size, then), list(chain.from_iterable(part)))
            start, left = start + size, left - size


def delete(cursor: sqlite3.Cursor, table: str, columns: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Delete the rows that have these values in `columns` (comma-separated)."""
    if rows:
        where = " AND ".join(f"{column} = ?" for column in columns.split(", "))
        cursor.executemany(f"DELETE FROM {table} WHERE {where}", rows)


def select_in(cursor: sqlite3.Cursor, select: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of `select` (ending in a column) whose column is among `values`."""
    for start in range(0, len(values), _SIZES[0]):
        part = padded(values[start : start + _SIZES[0]])
        yield from cursor.execute(f"{select} IN ({marks(len(part))})", part).fetchall()


def padded(values: Sequence[Any]) -> list[Any]:
    """`values` (at least one) up to a power of two by repeating the last, which an IN list does not mind."""
    wanted = 1 << (len(values) - 1).bit_length()
    return [*values, *repeat(values[-1], wanted - len(values))]


@cache
def marks(count: int) -> str:
    """`?, ?, ?`"""
    return ", ".join("?" * count)


@cache
def _insertion(table: str, columns: str, count: int, then: str) -> str:
    row = f"({marks(columns.count(',') + 1)})"
    return f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * count)} {then}"
