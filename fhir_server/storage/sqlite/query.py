"""From a search plan to statements: where the search begins, what each row must satisfy, in which order it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fhir_server.search.plan import Plan, Value
from fhir_server.search.predicate import Predicate
from fhir_server.storage.sqlite import start
from fhir_server.storage.sqlite.clauses import EVERY, NEVER, Clause, Parts, all_of, among_rids
from fhir_server.storage.sqlite.compile import Compiler
from fhir_server.storage.sqlite.order import Key, Order, Walk, after, by, columns
from fhir_server.storage.sqlite.reader import Reader

_LIVE: Final = Clause("r.deleted = 0")


class Query:
    """One plan under one visibility predicate."""

    def __init__(self, reader: Reader, plan: Plan, visible: Predicate, *, entries: bool = True) -> None:
        """`entries`: they are wanted with each row.

        Raises ValueError for what the algebra does not have, an unknown order, a hop that nobody has cleared.
        """
        reader.questions.clear()
        self._cursor = reader.cursor
        self._plan = plan
        self._parts = Parts(reader.cursor, reader.questions)
        found = start.scope(self._parts, reader.names, plan.types, plan.patients, plan.where, visible)
        self._scope = found or start.NOWHERE
        self._compiler = Compiler(reader.names, self._parts, self._scope)
        self._order = Order(plan.sort, self._compiler)
        shown = reader.remembered.condition(self._compiler, visible)
        begun = self._begin(reader, visible) if found else None
        rest = self._compiler.condition(begun.rest if begun else plan.where)
        self._begun = begun is not None
        by_time = bool(plan.sort) and plan.sort[0].param == "_lastUpdated"
        self._entry = begun.index if begun else self._scope.all(by_time=by_time)
        self._rows = all_of(begun.condition if begun else EVERY, self._scope.confined() if found else NEVER, _LIVE)
        self._asked = all_of(rest, shown)
        self._nowhere = found is None
        self._entries = "v.entries" if entries else "NULL"

    def _begin(self, reader: Reader, visible: Predicate) -> start.Start | None:
        """With few rows of those that are asked for, or with those that can be seen, where these are fewer."""
        seen = reader.remembered.seen(self._compiler, visible)
        if seen is None:
            return self._compiler.begin(self._plan.where)
        least = self._parts.size(seen, start.FEW_OF_ALL)
        fewer = self._compiler.begin(self._plan.where, least)
        if fewer or least == start.FEW_OF_ALL:
            return fewer
        return start.Start("NOT INDEXED", among_rids(seen), self._plan.where)

    def page(self) -> list[tuple[Any, ...]]:
        """rid, version, time, facts, entries, body and the value of each sort key, in the plan's order."""
        rows: list[tuple[Any, ...]] = []
        for text, args in self.statements():
            rows += self._cursor.execute(text, args).fetchall()
            if len(rows) >= self._plan.limit:
                break
        return rows[: self._plan.limit]

    def count(self) -> int:
        """How many rows there are."""
        if self._nowhere:
            return 0
        text, args = self.counting()
        (count,) = self._cursor.execute(text, args).fetchone()
        return int(count)

    def counting(self) -> Clause:
        """SELECT how many rows there are."""
        found = all_of(self._rows, self._asked)
        text = f"SELECT count(*) FROM resource AS r {self._entry} WHERE {found.text}"
        return self._parts.whole(Clause(text, found.args))

    def statements(self) -> Iterator[Clause]:
        """SELECT one page; by two statements, of which the second may not be needed, where an index is walked along."""
        if self._nowhere:
            return
        after = self._plan.after
        walk = None if self._begun else self._order.walk()
        if walk is None:
            yield self._page(EVERY, after)
        elif after is None or after[0][0] is not None:
            yield self._walked(walk)
            yield self._page(walk.absent, None)
        else:
            yield self._page(walk.absent, after)

    def _page(self, only: Clause, place: tuple[tuple[Value, ...], int] | None) -> Clause:
        """The rows behind `place` that satisfy `only`."""
        keys = self._order.keys
        found = all_of(self._rows, self._after(keys, place), self._asked, only)
        return self._select("SELECT", keys, f"resource AS r {self._entry}", found)

    def _walked(self, walk: Walk) -> Clause:
        """The rows that have a value of the first key, which is the table walked along."""
        keys = [walk.key, *self._order.keys[1:]]
        found = all_of(walk.place, self._after(keys, self._plan.after), self._rows, self._asked, walk.least)
        # A row may have its value by two entries.
        rows = f"{walk.table} AS w CROSS JOIN resource AS r ON r.rid = w.rid"
        return self._select("SELECT DISTINCT", keys, rows, found)

    def _select(self, select: str, keys: list[Key], rows: str, found: Clause) -> Clause:
        values, way = columns(keys), by(keys, descending=self._order.descending)
        return self._parts.whole(
            Clause(
                f"SELECT p.rid, v.version, v.time, v.facts, {self._entries}, v.body"
                f"{''.join(f', p.o{n}' for n in range(len(keys)))} FROM ("
                f"{select} r.rid, r.vid{values.text} FROM {rows} WHERE {found.text} ORDER BY {way} LIMIT ?) AS p"
                " CROSS JOIN version AS v ON v.vid = p.vid",
                (*values.args, *found.args, self._plan.limit),
            )
        )

    def _after(self, keys: list[Key], place: tuple[tuple[Value, ...], int] | None) -> Clause:
        return EVERY if place is None else after(keys, *place, descending=self._order.descending)
