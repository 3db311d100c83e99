"""What the leaves of the algebra ask of `resource AS r`: its columns, its facts with many values, its index entries.

SQL's third truth value never shows: facts are compared with IS; a range or a set asks for IS NOT NULL first; what has
many values is asked for by EXISTS or IN over columns that are never NULL.

A search leaf looks at the index tables, in one of two ways. A *probe* asks whether this row has such an entry: right
where the primary key leads to it. The *rids* of a leaf are all rows that have one: right for ranges, gathered once, and
to begin a search with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from fhir_server.search import facts
from fhir_server.search.plan import Sort
from fhir_server.search.predicate import (
    Bit,
    DateIs,
    Eq,
    F,
    Has,
    In,
    NumberIs,
    Predicate,
    Present,
    QuantityIs,
    RefersTo,
    Rng,
    StringIs,
    T,
    Together,
    TokenIs,
    Updated,
    UriIs,
    Words,
)
from fhir_server.storage.sqlite.clauses import EVERY, NEVER, Clause, Parts, all_of, among, among_rids, grouped
from fhir_server.storage.sqlite.entries import Entry, any_of, entry_of
from fhir_server.storage.sqlite.names import RECORD, Names
from fhir_server.storage.sqlite.rows import MULTI
from fhir_server.storage.sqlite.start import Scope
from fhir_server.storage.sqlite.statements import marks, padded
from fhir_server.storage.sqlite.words import matching

_COLUMNS: Final = {"rtype": "type", "patient": "cid"}
_ENTRIES_OF_ROW: Final = "(SELECT e.entries FROM version AS e WHERE e.vid = r.vid)"
_NO_RIDS: Final = Clause("SELECT 0 WHERE 0")


class Leaves:
    """Leaves on the rows of one scope, in one statement."""

    def __init__(self, names: Names, parts: Parts, scope: Scope, *, linked: bool = False) -> None:
        """`linked`: rows behind a link, which are judged by their facts alone, as `search.match` does."""
        self.names = names
        self.parts = parts
        self.scope = scope
        self.linked = linked

    def pids(self, param: str) -> list[int]:
        """The numbers of that search parameter of the types looked among."""
        return self.names.parameters(tuple(self.scope.types), param)

    def entry_value(self, sort: Sort) -> Clause:
        """The row's value of a sort key that looks at entries."""
        return Clause(f"sorted_by({_ENTRIES_OF_ROW}, ?)", (self.parts.ask(sort),))

    def among(self, entry: Entry) -> Clause:
        """Whether this row has such an entry: by a probe, or by the gathered rids."""
        pids = self.pids(entry.param)
        if not pids:
            return NEVER
        if entry.point or (self.scope.cids is None and self.names.scope(pids) & RECORD):
            return self._probe(entry, pids)
        return among_rids(self.rids_of(entry))

    def rids_of(self, entry: Entry) -> Clause:
        """SELECT the rids that have such an entry."""
        pids = self.pids(entry.param)
        if not pids:
            return _NO_RIDS
        found = all_of(self._compartments(entry, pids), among("k.pid", pids), entry.condition)
        return Clause(f"SELECT k.rid FROM {entry.table} AS k WHERE {found.text}", found.args)

    def rids_of_words(self, p: Words) -> Clause:
        """SELECT the rids whose text holds those words."""
        found = self._matching(p)
        if found is None:
            return _NO_RIDS
        return Clause(
            f"SELECT c.rid FROM ({found.text}) AS w CROSS JOIN version AS v ON v.vid = w.rowid"
            " CROSS JOIN resource AS c ON c.rid = v.rid AND c.vid = v.vid",
            found.args,
        )

    def _nothing(self, p: F) -> Clause:
        return NEVER

    def _everything(self, p: T) -> Clause:
        return EVERY

    def _eq(self, p: Eq) -> Clause:
        return Clause(f"{_single(p.column)} IS ?", (self._value(p.column, p.value),))

    def _in(self, p: In) -> Clause:
        if not p.values:
            return NEVER
        column = _single(p.column)
        values = padded([self._value(p.column, value) for value in sorted(p.values)])
        return Clause(f"({column} IS NOT NULL AND {column} IN ({marks(len(values))}))", tuple(values))

    def _value(self, column: str, value: str | None) -> str | int | None:
        if column == "patient":
            return self.names.compartment(value)
        if column == "rtype" and value is not None:
            return self.names.symbol(value)
        return value

    def _has(self, p: Has) -> Clause:
        if p.column not in facts.MULTI:
            raise ValueError(f"{p.column!r} is not a fact with many values")
        text = "EXISTS (SELECT 1 FROM multi AS m WHERE m.cid = r.cid AND m.fact = ? AND m.value = ? AND m.rid = r.rid)"
        return Clause(text, (MULTI[p.column], self.names.symbol(p.value)))

    def _bit(self, p: Bit) -> Clause:
        return Clause("(r.vis & ?) <> 0", (p.mask,))

    def _rng(self, p: Rng) -> Clause:
        if p.column not in facts.TIMES:
            raise ValueError(f"{p.column!r} is not a time")
        return _within(f"r.{p.column}", p.low, p.high)

    def _updated(self, p: Updated) -> Clause:
        if not self.linked:
            return _within("r.time", p.low, p.high)
        return EVERY if (p.low is None or p.low <= 0) and (p.high is None or p.high > 0) else NEVER

    def _entry(self, p: Any) -> Clause:
        return NEVER if self.linked else self.among(entry_of(p, self.names))

    def _present(self, p: Present) -> Clause:
        return NEVER if self.linked else grouped([self.among(entry) for entry in any_of(p.param)], " OR ")

    def _together(self, p: Together) -> Clause:
        return self._satisfied(p) if self.pids(p.param) else NEVER

    def _satisfied(self, question: Predicate) -> Clause:
        """The row's entries satisfy `question`, asked of each row by the memory reader."""
        return Clause(f"satisfies({_ENTRIES_OF_ROW}, r.time, ?)", (self.parts.ask(question),))

    def _words(self, p: Words) -> Clause:
        found = self._matching(p)
        return NEVER if found is None else Clause(f"r.vid IN ({found.text})", found.args)

    def _matching(self, p: Words) -> Clause | None:
        types = self.scope.types.values()
        return matching(p.param, p.words, types, self.scope.cids) if types else None

    def _probe(self, entry: Entry, pids: Sequence[int]) -> Clause:
        of_row = all_of(self._home(entry), among("k.pid", pids), entry.condition)
        text = f"EXISTS (SELECT 1 FROM {entry.table} AS k WHERE {of_row.text} AND k.rid = r.rid)"
        return Clause(text, of_row.args)

    def _home(self, entry: Entry) -> Clause:
        """The row's entries lie in this compartment."""
        if entry.table == "link":
            return EVERY
        if "Patient" not in self.scope.types:
            return Clause("k.cid = r.cid")
        if len(self.scope.types) == 1:
            return Clause("k.cid = 0")
        return Clause("k.cid = CASE r.type WHEN ? THEN 0 ELSE r.cid END", (self.names.symbol("Patient"),))

    def _compartments(self, entry: Entry, pids: Sequence[int]) -> Clause:
        """The entries lie in one of these compartments."""
        if entry.table == "link":
            return EVERY
        homes = self.scope.homes
        if homes is not None:
            return among("k.cid", homes)
        if self.names.scope(pids) & RECORD:
            return Clause("k.cid IN (SELECT cid FROM record)")
        return Clause("k.cid = 0")


def _single(column: str) -> str:
    if column not in facts.SINGLE:
        raise ValueError(f"{column!r} is not a fact with one value")
    return f"r.{_COLUMNS.get(column, column)}"


def _within(column: str, low: int | None, high: int | None) -> Clause:
    parts = [f"{column} IS NOT NULL"]
    if low is not None:
        parts.append(f"{column} >= ?")
    if high is not None:
        parts.append(f"{column} < ?")
    return Clause(f"({' AND '.join(parts)})", tuple(bound for bound in (low, high) if bound is not None))


ENTRY_LEAVES: Final = (TokenIs, StringIs, DateIs, NumberIs, QuantityIs, RefersTo, UriIs)
LEAVES: Final[dict[type, Callable[[Any, Any], Clause]]] = {
    T: Leaves._everything,
    F: Leaves._nothing,
    Eq: Leaves._eq,
    In: Leaves._in,
    Has: Leaves._has,
    Bit: Leaves._bit,
    Rng: Leaves._rng,
    Updated: Leaves._updated,
    Present: Leaves._present,
    Together: Leaves._together,
    Words: Leaves._words,
    **dict.fromkeys(ENTRY_LEAVES, Leaves._entry),
}
