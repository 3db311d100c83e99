"""The SQL reader of the algebra: a predicate becomes a condition on `resource AS r` (spec access §4).

SQL's third truth value never shows: facts are compared with IS; a range or a set asks for IS NOT NULL first; what has
many values is asked for by EXISTS or IN over columns that are never NULL; And and Or stand in parentheses.

A search leaf looks at the index tables, in one of two ways. A *probe* asks whether this row has such an entry: right
where the primary key leads to it. The *rids* of a leaf are all rows that have one: right for ranges, gathered once, and
to begin a search with. Hops have the same two ways (hops.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from fhir_server.search import facts
from fhir_server.search.plan import Sort
from fhir_server.search.predicate import (
    AllRefs,
    And,
    AnyRef,
    Bit,
    Chained,
    DateIs,
    Eq,
    F,
    Has,
    In,
    Not,
    NumberIs,
    Or,
    Predicate,
    Present,
    QuantityIs,
    Referred,
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
from fhir_server.storage.sqlite import hops
from fhir_server.storage.sqlite.clauses import EVERY, NEVER, Clause, Parts, all_of, among, grouped, joined
from fhir_server.storage.sqlite.entries import Entry, any_of, entry_of, merged
from fhir_server.storage.sqlite.names import RECORD, Names
from fhir_server.storage.sqlite.rows import MULTI
from fhir_server.storage.sqlite.start import NOWHERE, Scope
from fhir_server.storage.sqlite.statements import marks, padded
from fhir_server.storage.sqlite.words import matching

_COLUMNS: Final = {"rtype": "type", "patient": "cid"}
_ENTRIES_OF_ROW: Final = "(SELECT e.entries FROM version AS e WHERE e.vid = r.vid)"


NO_RIDS: Final = Clause("SELECT 0 WHERE 0")


class Compiler:
    """Compiles conditions on the rows of one scope, into one statement."""

    def __init__(self, names: Names, parts: Parts, scope: Scope, *, linked: bool = False) -> None:
        """`linked`: rows behind a link, which are judged by their facts alone, as `search.match` does."""
        self.names = names
        self.parts = parts
        self.scope = scope
        self._linked = linked
        self._found: dict[int, tuple[Predicate, Clause | None]] = {}

    def condition(self, predicate: Predicate) -> Clause:
        """The condition that holds for just the rows that satisfy `predicate`.

        Raises ValueError for a column that is not a fact of its kind, and for a hop that nobody has cleared.
        """
        return _READERS[type(predicate)](self, predicate)

    def rids(self, predicate: Predicate) -> Clause | None:
        """A SELECT of the rids that satisfy `predicate`, when indexes alone can tell; None otherwise."""
        match predicate:
            case Words():
                return self._rids_of_words(predicate)
            case Chained() | Referred():
                return self._few(predicate)
            case Or(of):
                clauses = [
                    self._rids(part) if isinstance(part, Entry) else self.rids(part) for part in merged(of, self.names)
                ]
                found = [clause for clause in clauses if clause]
                return joined(found, " UNION ALL ") if len(found) == len(clauses) else None
        return self._rids(entry_of(predicate, self.names)) if isinstance(predicate, _ENTRY_LEAVES) else None

    def entries_satisfy(self, question: Predicate) -> Clause:
        """The row's entries satisfy `question`, asked of each row by the memory reader."""
        return Clause(f"satisfies({_ENTRIES_OF_ROW}, r.time, ?)", (self.parts.ask(question),))

    def of(self, scope: Scope) -> Compiler:
        """A compiler for other rows, into the same statement."""
        return Compiler(self.names, self.parts, scope)

    def check(self, predicate: Predicate) -> None:
        """Raises ValueError where `condition` does."""
        self.into(Parts(self.parts.cursor, self.parts.questions)).of(NOWHERE).condition(predicate)

    def into(self, parts: Parts) -> Compiler:
        """A compiler for the same rows, into another statement."""
        return Compiler(self.names, parts, self.scope)

    def entry_value(self, sort: Sort) -> Clause:
        """The row's value of a sort key that looks at entries."""
        return Clause(f"sorted_by({_ENTRIES_OF_ROW}, ?)", (self.parts.ask(sort),))

    def pids(self, param: str) -> list[int]:
        """The numbers of that search parameter of the types looked among."""
        return self.names.parameters(tuple(self.scope.types), param)

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
        text = "EXISTS (SELECT 1 FROM multi AS m WHERE m.rid = r.rid AND m.fact = ? AND m.value = ?)"
        return Clause(text, (MULTI[p.column], self.names.symbol(p.value)))

    def _bit(self, p: Bit) -> Clause:
        return Clause("(r.vis & ?) <> 0", (p.mask,))

    def _rng(self, p: Rng) -> Clause:
        if p.column not in facts.TIMES:
            raise ValueError(f"{p.column!r} is not a time")
        return _within(f"r.{p.column}", p.low, p.high)

    def _updated(self, p: Updated) -> Clause:
        if not self._linked:
            return _within("r.time", p.low, p.high)
        return EVERY if (p.low is None or p.low <= 0) and (p.high is None or p.high > 0) else NEVER

    def _all_refs(self, p: AllRefs) -> Clause:
        each = self._of_linked(p.each)
        targets = self.parts.add(
            "rid",
            Clause(
                "SELECT k.rid FROM link AS k CROSS JOIN symbol AS s ON s.sid = k.target"
                " CROSS JOIN resource AS r ON r.key = s.text"
                f" WHERE k.pid = 0 AND r.kind IS 'record' AND NOT (r.deleted = 0 AND ({each.text}))",
                each.args,
            ),
        )
        return Clause(f"NOT EXISTS (SELECT 1 FROM {targets} WHERE {targets}.rid = r.rid)")

    def _any_ref(self, p: AnyRef) -> Clause:
        some = self._of_linked(p.some)
        referrers = self.parts.add(
            "target",
            Clause(
                "SELECT s.text FROM symbol AS s CROSS JOIN link AS k ON k.target = s.sid"
                " CROSS JOIN resource AS r ON r.rid = k.rid"
                f" WHERE k.pid = 0 AND r.deleted = 0 AND ({some.text})",
                some.args,
            ),
        )
        return Clause(f"EXISTS (SELECT 1 FROM {referrers} WHERE {referrers}.target = r.key)")

    def _of_linked(self, predicate: Predicate) -> Clause:
        return Compiler(self.names, self.parts, NOWHERE, linked=True).condition(predicate)

    def _not(self, p: Not) -> Clause:
        of = self.condition(p.of)
        return Clause(f"NOT ({of.text})", of.args)

    def _and(self, p: And) -> Clause:
        return grouped([self.condition(part) for part in p.of], " AND ")

    def _or(self, p: Or) -> Clause:
        parts = iter(p.of) if self._linked else merged(p.of, self.names)
        return grouped(
            [self._among(part) if isinstance(part, Entry) else self.condition(part) for part in parts], " OR "
        )

    def _leaf(self, p: Any) -> Clause:
        return NEVER if self._linked else self._among(entry_of(p, self.names))

    def _present(self, p: Present) -> Clause:
        return NEVER if self._linked else grouped([self._among(entry) for entry in any_of(p.param)], " OR ")

    def _together(self, p: Together) -> Clause:
        return self.entries_satisfy(p) if self.pids(p.param) else NEVER

    def _words(self, p: Words) -> Clause:
        found = self._matching(p)
        return NEVER if found is None else Clause(f"r.vid IN ({found.text})", found.args)

    def _rids_of_words(self, p: Words) -> Clause:
        found = self._matching(p)
        if found is None:
            return NO_RIDS
        return Clause(
            f"SELECT c.rid FROM ({found.text}) AS w CROSS JOIN version AS v ON v.vid = w.rowid"
            " CROSS JOIN resource AS c ON c.rid = v.rid AND c.vid = v.vid",
            found.args,
        )

    def _matching(self, p: Words) -> Clause | None:
        types = self.scope.types.values()
        return matching(p.param, p.words, types, self.scope.cids) if types else None

    def _hop(self, p: Chained | Referred) -> Clause:
        found = self._few(p)
        return hops.probe(self, p) if found is None else Clause(f"r.rid IN ({found.text})", found.args)

    def _few(self, p: Chained | Referred) -> Clause | None:
        """The rids that a hop leads from, when they are few."""
        # By identity: to compare or to hash what is deep costs more. The predicate is kept, and with it its id.
        if id(p) not in self._found:
            self._found[id(p)] = p, hops.few(self, p)
        return self._found[id(p)][1]

    def _among(self, entry: Entry) -> Clause:
        """Whether this row has such an entry: by a probe, or by the gathered rids."""
        pids = self.pids(entry.param)
        if not pids:
            return NEVER
        if entry.point or (self.scope.cids is None and self.names.scope(pids) & RECORD):
            return self._probe(entry, pids)
        found = self._rids(entry)
        return Clause(f"r.rid IN ({found.text})", found.args)

    def _probe(self, entry: Entry, pids: Sequence[int]) -> Clause:
        of_row = all_of(self._home(entry), among("k.pid", pids), entry.condition)
        text = f"EXISTS (SELECT 1 FROM {entry.table} AS k WHERE {of_row.text} AND k.rid = r.rid)"
        return Clause(text, of_row.args)

    def _rids(self, entry: Entry) -> Clause:
        pids = self.pids(entry.param)
        if not pids:
            return NO_RIDS
        found = all_of(self._compartments(entry, pids), among("k.pid", pids), entry.condition)
        return Clause(f"SELECT k.rid FROM {entry.table} AS k WHERE {found.text}", found.args)

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


_ENTRY_LEAVES: Final = (TokenIs, StringIs, DateIs, NumberIs, QuantityIs, RefersTo, UriIs)
_READERS: Final[dict[type, Callable[[Compiler, Any], Clause]]] = {
    T: Compiler._everything,
    F: Compiler._nothing,
    And: Compiler._and,
    Or: Compiler._or,
    Not: Compiler._not,
    Eq: Compiler._eq,
    In: Compiler._in,
    Has: Compiler._has,
    Bit: Compiler._bit,
    Rng: Compiler._rng,
    AllRefs: Compiler._all_refs,
    AnyRef: Compiler._any_ref,
    Updated: Compiler._updated,
    Present: Compiler._present,
    Together: Compiler._together,
    Words: Compiler._words,
    Chained: Compiler._hop,
    Referred: Compiler._hop,
    **dict.fromkeys(_ENTRY_LEAVES, Compiler._leaf),
}
