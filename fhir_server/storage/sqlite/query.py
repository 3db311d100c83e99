"""From a search plan to one statement: where the search begins, what each row must satisfy, in which order it goes.

A search begins with what is fewest: the ids it names; the rows of one search leaf, when these are few; the rows of the
patient; at worst all rows of the type, in the order of creation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.search.plan import Plan, Sort
from fhir_server.search.predicate import And, Eq, In, Predicate, conj
from fhir_server.storage.interface import Version
from fhir_server.storage.sqlite.compile import Compiler
from fhir_server.storage.sqlite.entries import EVERY, Clause, all_of, among
from fhir_server.storage.sqlite.names import UNKNOWN, Names

_FEW_OF_PATIENT: Final = 100
_FEW_OF_ALL: Final = 5000
"""How many rows a leaf may find for a search to begin with it: within patients' records; in the whole store."""

_MOST_KEYS: Final = 1000

_ORDERS: Final = {"": "r.rid", "_lastUpdated": "r.time", "_id": "r.id"}
_KEYS: Final[dict[str, Callable[[Version], Any]]] = {
    "": lambda found: found.position,
    "_lastUpdated": lambda found: (found.time, found.position),
    "_id": lambda found: (found.id, found.position),
}


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a search begins: how table `resource` is entered, the condition that does it, what is left to ask."""

    index: str
    condition: Clause
    rest: Predicate


class Query:
    """One plan under one visibility predicate."""

    def __init__(self, cursor: sqlite3.Cursor, names: Names, plan: Plan, visible: Predicate) -> None:
        if plan.sort.key not in _ORDERS:
            raise ValueError("a search is sorted by _lastUpdated, _id or nothing")
        self._cursor = cursor
        self._plan = plan
        self._visible = visible
        # Types without a symbol have no rows.
        known = {type: names.symbol(type) for type in plan.types}
        self._types = {type: sid for type, sid in known.items() if sid != UNKNOWN}
        self._cids = None if plan.patients is None else [names.compartment(patient) for patient in plan.patients]
        self._compiler = Compiler(names, tuple(self._types), self._cids)

    def page(self) -> Clause:
        """SELECT one page: rid, version, time, facts, entries, body; to be put in order by `in_order`."""
        rows = self._rows(self._after())
        return Clause(
            "SELECT p.rid, v.version, v.time, v.facts, v.entries, v.body FROM ("
            f"SELECT r.rid, r.vid FROM {rows.text} ORDER BY {_order(self._plan.sort)} LIMIT ?) AS p"
            " CROSS JOIN version AS v ON v.vid = p.vid",
            (*rows.args, self._plan.limit),
        )

    def count(self) -> Clause:
        """SELECT how many rows there are."""
        rows = self._rows(EVERY)
        return Clause(f"SELECT count(*) FROM {rows.text}", rows.args)

    def _rows(self, after: Clause) -> Clause:
        if not self._types or self._cids == []:
            return Clause("resource AS r WHERE 0")
        start = self._start()
        found = all_of(
            start.condition,
            self._confined("r"),
            Clause("r.deleted = 0"),
            after,
            self._compiler.condition(start.rest),
            self._compiler.condition(self._visible),
        )
        return Clause(f"resource AS r {start.index} WHERE {found.text}", found.args)

    def _confined(self, row: str) -> Clause:
        """Rows of the types and the patients of the plan."""
        types = among(f"{row}.type", list(self._types.values()))
        return types if self._cids is None else all_of(types, among(f"{row}.cid", self._cids))

    def _start(self) -> _Start:
        parts = self._plan.where.of if isinstance(self._plan.where, And) else (self._plan.where,)
        for part in parts:
            keys = self._keys(part)
            if keys is not None:
                rest = conj(*(other for other in parts if other is not part))
                return _Start("INDEXED BY by_key", among("r.key", keys), rest)
        fewest, found = None, Clause("")
        least = _FEW_OF_ALL if self._cids is None else _FEW_OF_PATIENT
        for part in parts:
            rids = self._compiler.rids(part)
            if rids is not None and (size := self._size(rids, least)) < least:
                fewest, found, least = part, rids, size
        if fewest is None:
            return self._scan()
        rest = conj(*(other for other in parts if other is not fewest))
        return _Start("NOT INDEXED", Clause(f"r.rid IN ({found.text})", found.args), rest)

    def _keys(self, part: Predicate) -> list[str] | None:
        """The "Type/id" that a part names, None when it names none."""
        match part:
            case Eq("id", str(id)):
                ids: Sequence[str] = [id]
            case In("id", values):
                ids = sorted(values)
            case _:
                return None
        keys = [f"{type}/{id}" for type in self._types for id in ids]
        return keys if 0 < len(keys) <= _MOST_KEYS else None

    def _size(self, rids: Clause, most: int) -> int:
        """How many rows a leaf finds, counted up to `most`."""
        text = f"SELECT count(*) FROM (SELECT 1 FROM ({rids.text}) LIMIT ?)"
        (size,) = self._cursor.execute(text, (*rids.args, most)).fetchone()
        return int(size)

    def _scan(self) -> _Start:
        """All rows of the patients, or of the types, in the order wanted where an index has it."""
        where = self._plan.where
        if self._cids is None:
            return _Start("INDEXED BY by_type", EVERY, where)
        index = "by_time" if self._plan.sort.key == "_lastUpdated" else "by_record"
        return _Start(f"INDEXED BY {index}", EVERY, where)

    def _after(self) -> Clause:
        """Rows behind the last of the page before."""
        if self._plan.after is None:
            return EVERY
        value, position = self._plan.after
        beyond = "<" if self._plan.sort.descending else ">"
        if not self._plan.sort.key:
            return Clause(f"r.rid {beyond} ?", (position,))
        return Clause(f"({_ORDERS[self._plan.sort.key]}, r.rid) {beyond} (?, ?)", (value, position))


def in_order(found: list[Version], sort: Sort) -> list[Version]:
    """The rows of a page as the search wants them. SQLite gives them so, but promises nothing of a join; to sort what
    is in order costs next to nothing, to have SQLite sort whole bodies does."""
    return sorted(found, key=_KEYS[sort.key], reverse=sort.descending)


def _order(sort: Sort) -> str:
    """Ties are broken by position, in the same direction."""
    way = " DESC" if sort.descending else ""
    key = _ORDERS[sort.key]
    return f"{key}{way}" if key == "r.rid" else f"{key}{way}, r.rid{way}"
