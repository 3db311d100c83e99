"""The narrow tables: what they should say of a resource, and how they are brought from what they say to that."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from fhir_server.search.facts import Facts
from fhir_server.storage.sqlite.names import Interner
from fhir_server.storage.sqlite.rows import MULTI, Rows
from fhir_server.storage.sqlite.statements import delete, insert

_TABLES: Final = (
    ("token", "cid, rid, pid, code, system"),
    ("string", "cid, rid, pid, normal, exact"),
    ("span", "cid, rid, pid, low, high"),
    ("number", "cid, rid, pid, low, high"),
    ("quantity", "cid, rid, pid, low, high, system, code"),
    ("uri", "cid, rid, pid, value"),
    ("link", "rid, pid, target"),
    ("multi", "cid, rid, fact, value"),
)
_LINKED: Final = 0
"""In place of a parameter: a link among the facts."""

NONE: Final[Sequence[list[Any]]] = tuple([] for _ in _TABLES)
"""The rows of what is not there, or deleted."""


def rows_of(interner: Interner, facts: Facts, rid: int, rows: Rows) -> Sequence[list[Any]]:
    """The rows of `_TABLES` that a live resource has, none two alike."""
    symbols = interner.symbols
    here = (interner.home(facts), rid)
    compartmented = (rows.tokens, rows.strings, rows.dates, rows.numbers, rows.quantities, rows.uris)
    links = [(rid, pid, target) for pid, target in rows.references]
    cid = interner.cid(facts.patient)
    return [
        *([here + row for row in each] if each else [] for each in compartmented),
        links + [(rid, _LINKED, symbols[target]) for target in facts.links],
        [(cid, rid, number, symbols[value]) for name, number in MULTI.items() for value in getattr(facts, name)],
    ]


class Exchange:
    """The rows of several resources that go, and those that come: only what differs is touched."""

    def __init__(self) -> None:
        self._gone: list[list[Any]] = [[] for _ in _TABLES]
        self._fresh: list[list[Any]] = [[] for _ in _TABLES]

    def add(self, found: Sequence[list[Any]], wanted: Sequence[list[Any]]) -> None:
        """The rows that a resource has, and those it should have."""
        for gone, fresh, old, new in zip(self._gone, self._fresh, found, wanted, strict=True):
            if old:
                gone += set(old).difference(new)
                fresh += set(new).difference(old)
            else:
                fresh += new

    def write(self, cursor: sqlite3.Cursor) -> None:
        """Each table in a few large statements."""
        for (table, columns), gone, fresh in zip(_TABLES, self._gone, self._fresh, strict=True):
            delete(cursor, table, columns, gone)
            insert(cursor, table, columns, sorted(fresh))
