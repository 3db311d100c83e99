"""The order of a search: by columns of the row, and by the least or greatest entry of a parameter.

A row's value is read from its packed entries. Where the entries of the first key lie together in one compartment, and
nothing makes the rows few, a search *walks* along the index of those entries, which has them in order; the rows without
an entry come behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Final

from fhir_server.search.plan import OF_THE_ROW, Sort, Value
from fhir_server.storage.interface import Version
from fhir_server.storage.sqlite.clauses import NEVER, Clause, all_of, grouped
from fhir_server.storage.sqlite.functions import KINDS
from fhir_server.storage.sqlite.leaves import Leaves
from fhir_server.storage.sqlite.names import RECORD

_COLUMNS: Final = {"_lastUpdated": "r.time", "_id": "r.id"}
_WALKED: Final = {
    "token": ("token", "code"),
    "string": ("string", "normal"),
    "date": ("span", "low"),
    "number": ("number", "low"),
    "quantity": ("quantity", "low"),
    "uri": ("uri", "value"),
}


@dataclass(frozen=True, slots=True)
class Key:
    """One sort key: a row's value in SQL, and the way it goes. `always`: no row is without one."""

    value: Clause
    descending: bool
    always: bool = False

    def beyond(self, value: Value) -> Clause:
        """Rows further on than `value`. Nothing is behind those that have none."""
        if value is None:
            return NEVER
        further = Clause(f"{self.value.text} {'<' if self.descending else '>'} ?", (*self.value.args, value))
        if self.always:
            return further
        return grouped([further, Clause(f"{self.value.text} IS NULL", self.value.args)], " OR ")

    def same(self, value: Value) -> Clause:
        """Rows with just that value."""
        return Clause(f"{self.value.text} IS ?", (*self.value.args, value))


@dataclass(frozen=True, slots=True)
class Walk:
    """The way along an index table, whose row is `w`. `place`: the entries to go by; `least`: that which counts among
    those of a row; `absent`: the rows that have none."""

    table: str
    place: Clause
    key: Key
    least: Clause
    absent: Clause


class Order:
    """The sort keys of one search."""

    def __init__(self, sort: Sequence[Sort], leaves: Leaves) -> None:
        """Raises ValueError for a key that has no order."""
        self._sort = sort
        self._leaves = leaves
        self.keys = [_key(each, leaves) for each in sort]
        self.descending = bool(sort) and sort[-1].descending

    def walk(self) -> Walk | None:
        """The index to walk along, if there is one that has all in order."""
        if not self._sort or self._sort[0].kind not in _WALKED:
            return None
        sort, home = self._sort[0], self._home()
        pids = self._leaves.pids(sort.param)
        if home is None or len(pids) != 1:
            return None
        table, column = _WALKED[sort.kind]
        only = " AND w.exact <> ''" if sort.kind == "string" else ""
        place = Clause(f"w.cid = ? AND w.pid = ?{only}", (home, pids[0]))
        value = self.keys[0].value
        return Walk(
            table,
            place,
            Key(Clause(f"w.{column}"), sort.descending, always=True),
            Clause(f"{value.text} = w.{column}", value.args),
            Clause(f"r.rid NOT IN (SELECT w.rid FROM {table} AS w WHERE {place.text})", place.args),
        )

    def _home(self) -> int | None:
        """The one compartment that the entries of the first key lie in."""
        homes = self._leaves.scope.homes
        if homes is not None:
            return homes[0] if len(set(homes)) == 1 else None
        pids = self._leaves.pids(self._sort[0].param)
        return None if not pids or self._leaves.names.scope(pids) & RECORD else 0


def _key(sort: Sort, leaves: Leaves) -> Key:
    if sort.kind == "row" and sort.param in OF_THE_ROW:
        return Key(Clause(_COLUMNS[sort.param]), sort.descending, always=True)
    if sort.kind not in KINDS:
        raise ValueError("a search is sorted by _lastUpdated, _id or the entries of a parameter")
    return Key(leaves.entry_value(sort), sort.descending)


def after(keys: Sequence[Key], values: Sequence[Value], position: int, *, descending: bool) -> Clause:
    """The rows behind a place: the first key that differs decides, at last the position."""
    same: list[Clause] = []
    options: list[Clause] = []
    for key, value in zip(keys, values, strict=True):
        options.append(all_of(*same, key.beyond(value)))
        same.append(key.same(value))
    options.append(all_of(*same, Clause(f"r.rid {'<' if descending else '>'} ?", (position,))))
    behind = grouped(options, " OR ")
    if not keys or not keys[0].always:
        return behind
    # Says nothing new, but lets an index begin there.
    bound = Clause(f"{keys[0].value.text} {'<=' if keys[0].descending else '>='} ?", (values[0],))
    return all_of(bound, behind)


def columns(keys: Sequence[Key]) -> Clause:
    """The values of the keys as columns o0, o1 …, each after a comma."""
    text = "".join(f", {key.value.text} AS o{n}" for n, key in enumerate(keys))
    return Clause(text, tuple(arg for key in keys for arg in key.value.args))


def by(keys: Sequence[Key], *, descending: bool) -> str:
    """What stands behind ORDER BY."""
    ways = [f"o{n}{_way(key)}" for n, key in enumerate(keys)]
    return ", ".join([*ways, f"r.rid{' DESC' if descending else ''}"])


def _way(key: Key) -> str:
    # NULL is least to SQLite: last already when descending.
    if key.descending:
        return " DESC"
    return "" if key.always else " NULLS LAST"


def in_order(found: list[Version], sort: Sequence[Sort]) -> list[Version]:
    """The rows of a page as the search wants them. SQLite gives them so, but promises nothing of a join; to sort what
    is in order costs next to nothing, to have SQLite sort whole bodies does."""
    found.sort(key=attrgetter("position"), reverse=bool(sort) and sort[-1].descending)
    for n in reversed(range(len(sort))):
        present = [each for each in found if each.order[n] is not None]
        absent = [each for each in found if each.order[n] is None]
        present.sort(key=partial(_nth, n), reverse=sort[n].descending)
        found = present + absent
    return found


def _nth(n: int, found: Version) -> Any:
    return found.order[n]
