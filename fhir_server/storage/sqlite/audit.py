"""The access log: a chain in which each row's hash covers all rows before it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from fhir_server.storage.interface import AuditEntry, AuditRow

CHAIN_ID: Final = b"fhir-server audit 1"
GENESIS: Final = sha256(CHAIN_ID).digest()
"""What the first row's hash is linked to."""

_SELECT: Final = "SELECT a.seq, a.id, a.cid, a.time, a.body, a.hash FROM audit AS a"


def link(before: bytes, body: bytes) -> bytes:
    """The hash of a row: SHA-256 of the hash before it, then its own bytes."""
    return sha256(before + body).digest()


def of_record(
    cursor: sqlite3.Cursor, cid: int, *, since: int | None, until: int | None, before: int | None, limit: int
) -> list[tuple[Any, ...]]:
    """The rows of one record, newest first."""
    conditions, args = ["a.cid = ?"], [cid]
    for condition, bound in (("a.seq < ?", before), ("a.time >= ?", since), ("a.time < ?", until)):
        if bound is not None:
            conditions.append(condition)
            args.append(bound)
    where = " AND ".join(conditions)
    return cursor.execute(f"{_SELECT} WHERE {where} ORDER BY a.seq DESC LIMIT ?", (*args, limit)).fetchall()


def by_id(cursor: sqlite3.Cursor, id: str) -> tuple[Any, ...] | None:
    """The row of that AuditEvent."""
    row: tuple[Any, ...] | None = cursor.execute(f"{_SELECT} WHERE a.id = ?", (id,)).fetchone()
    return row


def from_seq(cursor: sqlite3.Cursor, first: int, limit: int) -> list[tuple[Any, ...]]:
    """The rows of the chain from `first`."""
    return cursor.execute(f"{_SELECT} WHERE a.seq >= ? ORDER BY a.seq LIMIT ?", (first, limit)).fetchall()


def entry(row: tuple[Any, ...], patient: Callable[[int], str | None]) -> AuditEntry:
    """The entry of a row; `patient` knows whose compartment it is."""
    seq, id, cid, time, body, hash = row
    return AuditEntry(seq, hash, AuditRow(id, patient(cid), time, body))
