"""The versions of many resources, the last written first: what is left of them to judge comes by the place it was
written at (vid).

Of few resources the versions are gathered and put in order; of many, or of all, the table of versions is gone through
from its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fhir_server.search.predicate import Predicate
from fhir_server.storage.sqlite import start
from fhir_server.storage.sqlite.clauses import EVERY, Clause, Parts, all_of, among_rids, joined
from fhir_server.storage.sqlite.compile import Compiler
from fhir_server.storage.sqlite.reader import Reader

_END: Final = 1 << 62
_MOST_AT_ONCE: Final = 1000
_BY_SEEN: Final = "NOT INDEXED"


def moments(since: int | None, at: tuple[int, int] | None) -> Clause:
    """Version `v` was written at `since` or later; was current at some moment of `at`."""
    parts: list[Clause] = []
    if since is not None:
        parts.append(Clause("v.time >= ?", (since,)))
    if at is not None:
        following = "(SELECT n.time FROM version AS n WHERE n.rid = v.rid AND n.version = v.version + 1)"
        parts.append(Clause(f"max(v.time, ?) < min(coalesce({following}, ?), ?)", (at[0], _END, at[1])))
    return all_of(*parts) if parts else EVERY


def _index(scope: start.Scope, *, by_time: bool) -> str:
    """The index that has the rows of the scope together, in whatever order."""
    if scope.cids is None:
        return "by_type"
    return "by_time" if by_time else "by_record"


class Changes:
    """One question about the versions of many resources."""

    def __init__(
        self,
        reader: Reader,
        types: Sequence[str],
        patients: Sequence[str | None] | None,
        visible: Predicate,
        since: int | None,
        at: tuple[int, int] | None,
    ) -> None:
        reader.questions.clear()
        self._cursor = reader.cursor
        self._parts = Parts(reader.cursor, reader.questions)
        self._scope = start.scope(self._parts, reader.names, types, patients, visible)
        compiler = Compiler(reader.names, self._parts, self._scope or start.NOWHERE)
        shown = reader.remembered.condition(compiler, visible)
        # Of a deleted resource the tables no longer tell all: it is left to the memory reader.
        self._asked = all_of(Clause(f"(r.deleted = 1 OR {shown.text})", shown.args), moments(since, at))
        self._seen = reader.remembered.seen(compiler, visible) if self._scope else None
        self._entry: str | None = None
        self._since = since
        self._first = 0 if since is None else self._place(since)
        self._last = self._place(_END if at is None else at[1])

    def rows(self, before: int | None, limit: int) -> Iterator[tuple[Any, ...]]:
        """rid, version, time, deleted, facts, entries, body and vid of each version, and facts, entries and time of the
        version that is current: of all that can be visible, newest first. `limit`: how many are likely to be wanted."""
        last = self._last if before is None else min(before, self._last)
        while self._scope and self._first < last and limit:
            text, args = self._select(self._scope, last, limit)
            rows = self._cursor.execute(text, args).fetchall()
            yield from rows
            if len(rows) < limit:
                return
            last, limit = rows[-1][7], min(2 * limit, _MOST_AT_ONCE)

    def _select(self, scope: start.Scope, last: int, limit: int) -> Clause:
        found = all_of(Clause("v.vid >= ? AND v.vid < ?", (self._first, last)), scope.confined(), self._asked)
        if self._begun(scope):
            rows, found = self._gathered(scope, found)
        else:
            rows = "version AS v CROSS JOIN resource AS r ON r.rid = v.rid"
        select = f"SELECT v.vid, r.vid AS current FROM {rows} WHERE {found.text} ORDER BY v.vid DESC LIMIT ?"
        return self._parts.whole(
            Clause(
                "SELECT v.rid, v.version, v.time, v.deleted, v.facts, v.entries, v.body, v.vid,"
                f" c.facts, c.entries, c.time FROM ({select}) AS p CROSS JOIN version AS v ON v.vid = p.vid"
                " CROSS JOIN version AS c ON c.vid = p.current ORDER BY v.vid DESC",
                (*found.args, limit),
            )
        )

    def _gathered(self, scope: start.Scope, found: Clause) -> tuple[str, Clause]:
        if self._since is not None:
            found = all_of(Clause("r.time >= ?", (self._since,)), found)
        if self._entry == _BY_SEEN:
            found = all_of(among_rids(self._within_sight(scope)), found)
        return f"resource AS r {self._entry} CROSS JOIN version AS v INDEXED BY version_of ON v.rid = r.rid", found

    def _begun(self, scope: start.Scope) -> bool:
        """Whether the versions are gathered: of what can be seen, or of what is confined to records, if few."""
        if self._entry is None and self._seen and self._few(self._within_sight(scope)):
            self._entry = _BY_SEEN
        if self._entry is None:
            found = scope.confined()
            entry = f"INDEXED BY {_index(scope, by_time=self._since is not None)}"
            few = self._few(Clause(f"SELECT 1 FROM resource AS r {entry} WHERE {found.text}", found.args))
            self._entry = entry if few else ""
        return self._entry != ""

    def _few(self, rows: Clause) -> bool:
        return self._parts.size(rows, start.FEW_OF_ALL) < start.FEW_OF_ALL

    def _within_sight(self, scope: start.Scope) -> Clause:
        """The rids that can be seen; facts do not lead to what is deleted."""
        assert self._seen
        found = scope.confined()
        deleted = "SELECT r.rid FROM resource AS r INDEXED BY of_deleted WHERE r.deleted = 1"
        return joined([self._seen, Clause(f"{deleted} AND {found.text}", found.args)], " UNION ALL ")

    def _place(self, time: int) -> int:
        """The first vid of that time or later: times never run backwards from vid to vid."""
        low, high = 0, 1 + self._cursor.execute("SELECT vid FROM head").fetchone()[0]
        if time == _END:
            return int(high)
        while low < high:
            middle = (low + high) // 2
            found = self._cursor.execute("SELECT time FROM version WHERE vid = ?", (middle,)).fetchone()
            if found is None or found[0] < time:
                low = middle + 1
            else:
                high = middle
        return low
