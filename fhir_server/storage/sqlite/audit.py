"""The rows of the access log, by record, by id, and along the chain."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.storage.interface import AuditEntry, AuditRow
from fhir_server.storage.sqlite import ledger


@dataclass(frozen=True, slots=True)
class Prune:
    """Let go of the rows up to one, and keep what is said of it."""

    until: int
    keep: ledger.Put


def prune(cursor: sqlite3.Cursor, job: Prune, now: int) -> int:
    """Do it within the writer's transaction; how many rows went."""
    ledger.apply(cursor, job.keep, now)
    return cursor.execute("DELETE FROM audit WHERE seq <= ?", (job.until,)).rowcount


_SELECT: Final = "SELECT a.seq, a.id, a.cid, a.time, a.body, a.hash FROM audit AS a"


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
