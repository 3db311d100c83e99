"""Index entries made anew, in the place of those a version has. The version itself stays as it is: no number, time or
byte of it changes, and nothing is written to the access log."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fhir_server.search.entries import Entries, Prose
from fhir_server.search.facts import Facts
from fhir_server.storage.interface import Version
from fhir_server.storage.sqlite import words
from fhir_server.storage.sqlite.names import Interner
from fhir_server.storage.sqlite.projection import Exchange, rows_of
from fhir_server.storage.sqlite.rows import (
    Param,
    Rows,
    pack_rows,
    to_rows,
    unpack_facts,
    unpack_rows,
)
from fhir_server.storage.sqlite.statements import select_in

_CURRENT: Final = (
    "SELECT r.key, r.version, r.rid, r.vid, v.facts, v.entries FROM resource AS r JOIN version AS v ON v.vid = r.vid"
    " WHERE r.deleted = 0 AND r.key"
)


@dataclass(frozen=True, slots=True)
class Reindex:
    """The entries that these versions should have."""

    rows: tuple[tuple[Version, Entries], ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """A version that is current: its place, its facts, and the rows it has."""

    rid: int
    vid: int
    facts: Facts
    rows: Rows

    def prose(self, params: Mapping[Param, str]) -> list[Prose]:
        """The texts it has; `params`: the names of search parameters."""
        return [Prose(params[pid].partition(".")[2], words) for pid, words in self.rows.prose]


def apply(cursor: sqlite3.Cursor, job: Reindex, interner: Interner) -> int:
    """How many of the versions are current, and have their entries now. Within the writer's transaction, before it
    looks at what commits depend on."""
    wanted = {f"{version.type}/{version.id}": (version.version, entries) for version, entries in job.rows}
    found = [
        (_Found(rid, vid, unpack_facts(facts), unpack_rows(entries)), wanted[key][1])
        for key, number, rid, vid, facts, entries in select_in(cursor, _CURRENT, sorted(wanted))
        if number == wanted[key][0]
    ]
    params: dict[Param, str] = dict(cursor.execute("SELECT pid, name FROM parameter"))
    exchange = Exchange()
    for each, entries in found:
        rows = to_rows(entries, interner.symbols, interner.parameters(each.facts))
        if rows != each.rows:
            before = rows_of(interner, each.facts, each.rid, each.rows)
            exchange.add(before, rows_of(interner, each.facts, each.rid, rows))
            _exchange_words(cursor, interner, each, each.prose(params), entries.prose)
            cursor.execute("UPDATE version SET entries = ? WHERE vid = ?", (pack_rows(rows), each.vid))
    exchange.write(cursor)
    return len(found)


def _exchange_words(
    cursor: sqlite3.Cursor, interner: Interner, found: _Found, before: Sequence[Prose], now: Sequence[Prose]
) -> None:
    type, cid = interner.symbols[found.facts.rtype], interner.cid(found.facts.patient)
    old, new = words.document(before, type, cid), words.document(now, type, cid)
    if before != list(now):
        words.exchange(cursor, found.vid, old, new)
