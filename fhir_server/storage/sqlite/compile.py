"""The SQL reader of the algebra: a predicate becomes a condition on `resource AS r` (spec access §4).

What one row is asked about itself is in leaves.py; here it is put together. And and Or stand in parentheses. What leads
to other rows is compiled for those as it is for these: a named part of the statement, with a compiler of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fhir_server.search.predicate import AllRefs, And, AnyRef, Chained, Not, Or, Predicate, Referred, SomeRef, Words
from fhir_server.storage.sqlite import hops, start
from fhir_server.storage.sqlite.clauses import NEVER, Clause, Parts, among, among_rids, grouped, joined
from fhir_server.storage.sqlite.entries import Entry, entry_of, merged
from fhir_server.storage.sqlite.leaves import ENTRY_LEAVES, LEAVES, Leaves
from fhir_server.storage.sqlite.names import Names
from fhir_server.storage.sqlite.start import NOWHERE, Scope, Start

_LIVE: Final = Clause("r.deleted = 0")
_OF_RECORD: Final = Clause("r.kind IS 'record'")


class Compiler(Leaves):
    """Compiles conditions on the rows of one scope, into one statement."""

    def __init__(self, names: Names, parts: Parts, scope: Scope, *, linked: bool = False) -> None:
        super().__init__(names, parts, scope, linked=linked)
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
                return self.rids_of_words(predicate)
            case Chained() | Referred():
                return self._few(predicate)
            case Or(of):
                clauses = [
                    self.rids_of(part) if isinstance(part, Entry) else self.rids(part)
                    for part in merged(of, self.names)
                ]
                found = [clause for clause in clauses if clause]
                return joined(found, " UNION ALL ") if len(found) == len(clauses) else None
        return self.rids_of(entry_of(predicate, self.names)) if isinstance(predicate, ENTRY_LEAVES) else None

    def begin(self, where: Predicate, least: int | None = None) -> Start | None:
        """Where a search for `where` begins, if it can begin with few rows, or with fewer than `least`."""
        few = self.scope.few if least is None else min(least, self.scope.few)
        return start.begin(self.names, self.parts, self.scope, where, self.rids, few)

    def into(self, parts: Parts) -> Compiler:
        """A compiler for the same rows, into another statement."""
        return Compiler(self.names, parts, self.scope)

    def _not(self, p: Not) -> Clause:
        of = self.condition(p.of)
        return Clause(f"NOT ({of.text})", of.args)

    def _and(self, p: And) -> Clause:
        return grouped([self.condition(part) for part in p.of], " AND ")

    def _or(self, p: Or) -> Clause:
        parts = iter(p.of) if self.linked else merged(p.of, self.names)
        return grouped(
            [self.among(part) if isinstance(part, Entry) else self.condition(part) for part in parts], " OR "
        )

    # What leads to other rows

    def _all_refs(self, p: AllRefs) -> Clause:
        each = self._of_linked(p.each)
        wrong = Clause(f"NOT (r.deleted = 0 AND ({each.text}))", each.args)
        led = hops.refers(self.parts, hops.LINKED, _OF_RECORD, wrong)
        return Clause(f"NOT {led.text}", led.args)

    def _some_ref(self, p: SomeRef) -> Clause:
        some = self._of_linked(p.some)
        right = Clause(f"r.deleted = 0 AND ({some.text})", some.args)
        return hops.refers(self.parts, hops.LINKED, _OF_RECORD, right)

    def _any_ref(self, p: AnyRef) -> Clause:
        some = self._of_linked(p.some)
        return hops.referred(self.parts, hops.LINKED, _LIVE, Clause(f"({some.text})", some.args))

    def _of_linked(self, predicate: Predicate) -> Clause:
        return Compiler(self.names, self.parts, NOWHERE, linked=True).condition(predicate)

    def _hop(self, p: Chained | Referred) -> Clause:
        found = self._few(p)
        return self._probed(p) if found is None else among_rids(found)

    def _few(self, p: Chained | Referred) -> Clause | None:
        """The rids that a hop leads from, when they are few and soon found."""
        # By identity: to compare or to hash what is deep costs more. The predicate is kept, and with it its id.
        if id(p) not in self._found:
            mark = len(self.parts.named)
            found = self._gathered(p)
            if found and self.parts.size(found, self.scope.few) >= self.scope.few:
                found = None
            if found is None:
                del self.parts.named[mark:]
            self._found[id(p)] = p, found
        return self._found[id(p)][1]

    def _gathered(self, p: Chained | Referred) -> Clause | None:
        """The rids that a hop leads from, gathered from few rows at the other end."""
        there = self._there(p)
        pids = self._ways(there, p)
        begun = there.begin(hops.asked_of(p)) if there and pids else None
        if there is None or begun is None:
            return None
        return hops.rids(self.parts, p, begun, *there._seen(p, begun.rest), among("k.pid", pids))

    def _probed(self, p: Chained | Referred) -> Clause:
        there = self._there(p)
        pids = self._ways(there, p)
        asked = hops.asked_of(p)
        if there is None or not pids:
            # Nowhere to go, but what is refused elsewhere is refused here too.
            Compiler(self.names, Parts(self.parts.cursor, self.parts.questions), NOWHERE).condition(asked)
            return NEVER
        lead = hops.refers if isinstance(p, Chained) else hops.referred
        return lead(self.parts, among("k.pid", pids), *there._seen(p, asked))

    def _seen(self, p: Chained | Referred, asked: Predicate) -> tuple[Clause, ...]:
        """The live rows of this scope that satisfy `asked`, and that the caller may see at the end of the hop."""
        return self.scope.confined(), _LIVE, self.condition(asked), self.condition(hops.visible_of(p))

    def _there(self, p: Chained | Referred) -> Compiler | None:
        """A compiler for the rows at the other end; None when there can be none."""
        predicates = hops.asked_of(p), hops.visible_of(p)
        scope = start.scope(self.parts, self.names, hops.types_of(p), None, *predicates)
        return Compiler(self.names, self.parts, scope) if scope else None

    def _ways(self, there: Compiler | None, p: Chained | Referred) -> list[int]:
        """The numbers of the hop's reference parameter, of the types that it belongs to."""
        known = self if isinstance(p, Chained) else there
        return known.pids(p.param) if known else []


_READERS: Final[dict[type, Callable[[Compiler, Any], Clause]]] = {
    **LEAVES,
    And: Compiler._and,
    Or: Compiler._or,
    Not: Compiler._not,
    AllRefs: Compiler._all_refs,
    SomeRef: Compiler._some_ref,
    AnyRef: Compiler._any_ref,
    Chained: Compiler._hop,
    Referred: Compiler._hop,
}
