"""A whole record taken out of the file: every version, every index row, every word. The access log of it stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from fhir_server.search.entries import Prose
from fhir_server.storage.sqlite import words
from fhir_server.storage.sqlite.names import HEAD, Head, Interner
from fhir_server.storage.sqlite.projection import NONE, Exchange, rows_of
from fhir_server.storage.sqlite.rows import Param, unpack_facts, unpack_rows
from fhir_server.storage.sqlite.sealing import contents
from fhir_server.storage.sqlite.statements import delete, select_in

_VERSIONS: Final = (
    "SELECT r.rid, r.key, r.vid, r.deleted, v.vid, v.deleted, v.facts, v.entries"
    " FROM resource AS r JOIN version AS v ON v.rid = r.rid WHERE"
)
_ELSEWHERE: Final = (
    "SELECT 1 FROM symbol AS s JOIN link AS l ON l.target = s.sid AND l.pid = 0"
    " JOIN resource AS r ON r.rid = l.rid WHERE s.text = ? AND r.cid <> ?"
)
_STILL_THERE: Final = "SELECT DISTINCT s.text FROM symbol AS s JOIN resource AS r ON r.cid = s.sid WHERE s.text"
_MERGED_AT_ONCE: Final = 500
"""Pages of the index of words that one step puts together."""


log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Erase:
    """Take the record of that patient out, with the contents of its documents."""

    patient: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Put some of the index of words together, so that nothing is left in it of what was taken out."""


def apply(cursor: sqlite3.Cursor, job: Erase, interner: Interner) -> int:
    """How many versions were taken out. Within the writer's transaction, before it looks at what commits depend on."""
    row = cursor.execute("SELECT sid FROM symbol WHERE text = ?", (f"Patient/{job.patient}",)).fetchone()
    if row is None:
        return 0
    cid: int = row[0]
    # Nothing of it is to be found in free pages afterwards.
    cursor.execute("PRAGMA secure_delete = ON")
    found = cursor.execute(f"{_VERSIONS} r.cid = ?", (cid,)).fetchall()
    named = {link for each in found for link in contents(unpack_facts(each[6]))}
    alone = [key for key in sorted(named) if not cursor.execute(_ELSEWHERE, (key, cid)).fetchone()]
    if alone:
        found += select_in(cursor, f"{_VERSIONS} r.key", alone)
    _take_out(cursor, interner, found)
    # Whoever decided on the policy of this record before has to look again, and finds no record.
    cursor.execute("UPDATE record SET policy = policy + 1 WHERE cid = ?", (cid,))
    return len(found)


def settle(cursor: sqlite3.Cursor) -> int:
    """How much there was to put together; less than 2 when nothing is left to do (https://sqlite.org/fts5.html)."""
    before = cursor.connection.total_changes
    cursor.execute("INSERT INTO words (words, rank) VALUES ('merge', ?)", (-_MERGED_AT_ONCE,))
    return cursor.connection.total_changes - before


def catch_up(connection: sqlite3.Connection, patients: Iterable[str]) -> None:
    """Take out the records of those patients that are in the file though their data keys are destroyed: a copy from
    before that was put back, or the work broke off."""
    cursor = connection.cursor()
    keys = [f"Patient/{patient}" for patient in patients]
    found = sorted(key for (key,) in select_in(cursor, _STILL_THERE, keys)) if keys else ()
    for key in found:
        cursor.execute("BEGIN IMMEDIATE")
        try:
            interner = Interner(cursor)
            interner.begin(Head(*cursor.execute(HEAD).fetchone()))
            apply(cursor, Erase(key.removeprefix("Patient/")), interner)
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
    if found:
        log.warning("records whose data keys are destroyed were in the store and are taken out", records=len(found))
        while settle(cursor) > 1:
            pass


def _take_out(cursor: sqlite3.Cursor, interner: Interner, versions: Sequence[tuple[Any, ...]]) -> None:
    params: dict[Param, str] = dict(cursor.execute("SELECT pid, name FROM parameter"))
    exchange = Exchange()
    for rid, _, current, gone, vid, deleted, packed, entries in versions:
        facts, rows = unpack_facts(packed), unpack_rows(entries)
        if vid == current and not gone:
            exchange.add(rows_of(interner, facts, rid, rows), NONE)
        if not deleted:
            prose = [Prose(params[pid].partition(".")[2], text) for pid, text in rows.prose]
            document = words.document(prose, interner.symbols[facts.rtype], interner.cid(facts.patient))
            words.exchange(cursor, vid, document, None)
    exchange.write(cursor)
    rids = sorted({(each[0],) for each in versions})
    for table in ("held", "version", "resource"):
        delete(cursor, table, "rid", rids)
