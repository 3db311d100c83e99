"""The SQL reader of the algebra: a predicate becomes a condition on `resource AS r` (spec access §4).

SQL's third truth value never shows: facts are compared with IS; a range or a set asks for IS NOT NULL first; what has
many values is asked for by EXISTS or IN over columns that are never NULL; And and Or stand in parentheses.

A search leaf looks at the index tables, in one of two ways. A *probe* asks whether this row has such an entry: right
where the primary key leads to it. The *rids* of a leaf are all rows that have one: right for ranges, gathered once, and
to begin a search with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from fhir_server.search import facts
from fhir_server.search.predicate import (
    AllRefs,
    And,
    AnyRef,
    Bit,
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
    RefersTo,
    Rng,
    StringIs,
    T,
    TokenIs,
    Updated,
    UriIs,
)
from fhir_server.storage.sqlite.entries import EVERY, Clause, Entry, all_of, among, any_of, entry_of, merged
from fhir_server.storage.sqlite.names import RECORD, Names
from fhir_server.storage.sqlite.rows import MULTI
from fhir_server.storage.sqlite.statements import marks, padded

NEVER: Final = Clause("0")

_ROW: Final = "r"
_COLUMNS: Final = {"rtype": "type", "patient": "cid"}
_MOST_TERMS: Final = 100
# SQLite bounds the depth of an expression (1000), and a chain of a OR b OR c is as deep as it is long.


class Compiler:
    """Compiles for one search: over resources of `types`, in the compartments `cids` (None: in any)."""

    def __init__(self, names: Names, types: Sequence[str], cids: Sequence[int] | None) -> None:
        self._names = names
        self._types = types
        self._cids = cids

    def condition(self, predicate: Predicate, row: str = _ROW) -> Clause:
        """The condition that holds for just the rows that satisfy `predicate`, in words of the table alias `row`.

        Linked rows (any alias but `r`) are judged by their facts alone, as `search.match` does. Raises ValueError for
        a column that is not a fact of its kind.
        """
        return _READERS[type(predicate)](self, predicate, row)

    def rids(self, predicate: Predicate) -> Clause | None:
        """A SELECT of the rids that satisfy `predicate`, when index tables alone can tell; None otherwise."""
        if isinstance(predicate, _ENTRY_LEAVES):
            return self._rids(entry_of(predicate, self._names))
        if not isinstance(predicate, Or):
            return None
        clauses = [
            self._rids(part) if isinstance(part, Entry) else self.rids(part)
            for part in merged(predicate.of, self._names)
        ]
        if None in clauses:
            return None
        return _joined([clause for clause in clauses if clause], " UNION ALL ")

    def _nothing(self, p: F, row: str) -> Clause:
        return NEVER

    def _everything(self, p: T, row: str) -> Clause:
        return EVERY

    def _eq(self, p: Eq, row: str) -> Clause:
        return Clause(f"{_single(row, p.column)} IS ?", (self._value(p.column, p.value),))

    def _in(self, p: In, row: str) -> Clause:
        if not p.values:
            return NEVER
        column = _single(row, p.column)
        values = padded([self._value(p.column, value) for value in sorted(p.values)])
        return Clause(f"({column} IS NOT NULL AND {column} IN ({marks(len(values))}))", tuple(values))

    def _value(self, column: str, value: str | None) -> str | int | None:
        if column == "patient":
            return self._names.compartment(value)
        if column == "rtype" and value is not None:
            return self._names.symbol(value)
        return value

    def _has(self, p: Has, row: str) -> Clause:
        if p.column not in facts.MULTI:
            raise ValueError(f"{p.column!r} is not a fact with many values")
        text = f"EXISTS (SELECT 1 FROM multi AS m WHERE m.rid = {row}.rid AND m.fact = ? AND m.value = ?)"
        return Clause(text, (MULTI[p.column], self._names.symbol(p.value)))

    def _bit(self, p: Bit, row: str) -> Clause:
        return Clause(f"({row}.vis & ?) <> 0", (p.mask,))

    def _rng(self, p: Rng, row: str) -> Clause:
        if p.column not in facts.TIMES:
            raise ValueError(f"{p.column!r} is not a time")
        return _within(f"{row}.{p.column}", p.low, p.high)

    def _updated(self, p: Updated, row: str) -> Clause:
        if row == _ROW:
            return _within("r.time", p.low, p.high)
        return EVERY if (p.low is None or p.low <= 0) and (p.high is None or p.high > 0) else NEVER

    def _all_refs(self, p: AllRefs, row: str) -> Clause:
        link, text, other = f"{row}l", f"{row}s", f"{row}t"
        each = self.condition(p.each, other)
        return Clause(
            f"NOT EXISTS (SELECT 1 FROM link AS {link} CROSS JOIN symbol AS {text} ON {text}.sid = {link}.target"
            f" CROSS JOIN resource AS {other} ON {other}.key = {text}.text"
            f" WHERE {link}.rid = {row}.rid AND {link}.pid = 0 AND {other}.kind IS 'record'"
            f" AND NOT ({other}.deleted = 0 AND ({each.text})))",
            each.args,
        )

    def _any_ref(self, p: AnyRef, row: str) -> Clause:
        link, text, other = f"{row}l", f"{row}s", f"{row}t"
        some = self.condition(p.some, other)
        return Clause(
            f"EXISTS (SELECT 1 FROM symbol AS {text} CROSS JOIN link AS {link} ON {link}.target = {text}.sid"
            f" CROSS JOIN resource AS {other} ON {other}.rid = {link}.rid"
            f" WHERE {text}.text = {row}.key AND {link}.pid = 0 AND {other}.deleted = 0 AND ({some.text}))",
            some.args,
        )

    def _not(self, p: Not, row: str) -> Clause:
        of = self.condition(p.of, row)
        return Clause(f"NOT ({of.text})", of.args)

    def _and(self, p: And, row: str) -> Clause:
        return _all([self.condition(part, row) for part in p.of], " AND ")

    def _or(self, p: Or, row: str) -> Clause:
        parts = merged(p.of, self._names) if row == _ROW else iter(p.of)
        clauses = [self._among(part) if isinstance(part, Entry) else self.condition(part, row) for part in parts]
        return _all(clauses, " OR ")

    def _leaf(self, p: Any, row: str) -> Clause:
        return self._among(entry_of(p, self._names)) if row == _ROW else NEVER

    def _present(self, p: Present, row: str) -> Clause:
        if row != _ROW:
            return NEVER
        return _all([self._among(entry) for entry in any_of(p.param)], " OR ")

    def _among(self, entry: Entry) -> Clause:
        """Whether this row has such an entry: by a probe, or by the gathered rids."""
        pids = self._names.parameters(self._types, entry.param)
        if not pids:
            return NEVER
        if entry.point or (self._cids is None and self._names.scope(pids) & RECORD):
            return self._probe(entry, pids)
        found = self._rids(entry)
        return Clause(f"r.rid IN ({found.text})", found.args)

    def _probe(self, entry: Entry, pids: Sequence[int]) -> Clause:
        of_row = all_of(self._home(entry), among("k.pid", pids), entry.condition)
        text = f"EXISTS (SELECT 1 FROM {entry.table} AS k WHERE {of_row.text} AND k.rid = r.rid)"
        return Clause(text, of_row.args)

    def _rids(self, entry: Entry) -> Clause:
        pids = self._names.parameters(self._types, entry.param)
        if not pids:
            return Clause("SELECT 0 WHERE 0")
        found = all_of(self._compartments(entry, pids), among("k.pid", pids), entry.condition)
        return Clause(f"SELECT k.rid FROM {entry.table} AS k WHERE {found.text}", found.args)

    def _home(self, entry: Entry) -> Clause:
        """The row's entries lie in this compartment."""
        if entry.table == "link":
            return EVERY
        if "Patient" not in self._types:
            return Clause("k.cid = r.cid")
        if len(self._types) == 1:
            return Clause("k.cid = 0")
        return Clause("k.cid = CASE r.type WHEN ? THEN 0 ELSE r.cid END", (self._names.symbol("Patient"),))

    def _compartments(self, entry: Entry, pids: Sequence[int]) -> Clause:
        """The entries lie in one of these compartments."""
        if entry.table == "link":
            return EVERY
        if self._cids is not None:
            records = self._cids if any(type != "Patient" for type in self._types) else ()
            return among("k.cid", [*records, *((0,) if "Patient" in self._types else ())])
        if self._names.scope(pids) & RECORD:
            return Clause("k.cid IN (SELECT cid FROM record)")
        return Clause("k.cid = 0")


def _single(row: str, column: str) -> str:
    if column not in facts.SINGLE:
        raise ValueError(f"{column!r} is not a fact with one value")
    return f"{row}.{_COLUMNS.get(column, column)}"


def _within(column: str, low: int | None, high: int | None) -> Clause:
    parts = [f"{column} IS NOT NULL"]
    if low is not None:
        parts.append(f"{column} >= ?")
    if high is not None:
        parts.append(f"{column} < ?")
    return Clause(f"({' AND '.join(parts)})", tuple(bound for bound in (low, high) if bound is not None))


def _all(clauses: Sequence[Clause], word: str) -> Clause:
    """The clauses joined by AND or OR, in parentheses."""
    while len(clauses) > _MOST_TERMS:
        steps = range(0, len(clauses), _MOST_TERMS)
        clauses = [_all(clauses[start : start + _MOST_TERMS], word) for start in steps]
    joined = _joined(clauses, word)
    return Clause(f"({joined.text})", joined.args)


def _joined(clauses: Sequence[Clause], word: str) -> Clause:
    return Clause(
        word.join(clause.text for clause in clauses), tuple(chain.from_iterable(clause.args for clause in clauses))
    )


_ENTRY_LEAVES: Final = (TokenIs, StringIs, DateIs, NumberIs, QuantityIs, RefersTo, UriIs)
_READERS: Final[dict[type, Callable[[Compiler, Any, str], Clause]]] = {
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
    **dict.fromkeys(_ENTRY_LEAVES, Compiler._leaf),
}
