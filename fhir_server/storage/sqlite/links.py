"""The links between the resources of one snapshot, for the memory reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from fhir_server.search.facts import Facts
from fhir_server.search.match import Row
from fhir_server.storage.judge import Judge
from fhir_server.storage.sqlite.names import Names
from fhir_server.storage.sqlite.rows import KeptEntries, KeptFacts, unpacking
from fhir_server.storage.sqlite.statements import select_in

_TARGETS: Final = "SELECT v.facts, r.deleted FROM resource AS r JOIN version AS v ON v.vid = r.vid WHERE r.key"
_REFERRERS: Final = (
    "SELECT v.facts, v.entries, v.time FROM symbol AS s JOIN link AS l ON l.target = s.sid"
    " JOIN resource AS r ON r.rid = l.rid JOIN version AS v ON v.vid = r.vid"
    " WHERE s.text = ? AND l.pid = ? AND r.deleted = 0"
)
_LIVE: Final = (
    "SELECT v.facts, v.entries, v.time FROM resource AS r JOIN version AS v ON v.vid = r.vid"
    " WHERE r.key = ? AND r.deleted = 0"
)
_LINKED: Final = 0
_KIND: Final = frozenset({"kind"})


class Links:
    """search.match.Refs and storage.judge.Links, read from the tables."""

    def __init__(self, connection: sqlite3.Connection, names: Names) -> None:
        self._connection = connection
        self._names = names

    def targets(self, facts: Facts) -> Iterator[tuple[Facts, bool]]:
        """Each resource of `facts.links` that is or was here, and whether it is live."""
        return ((KeptFacts.of(packed), not deleted) for packed, deleted in self._targets(facts))

    def referrers(self, facts: Facts) -> Iterator[Facts]:
        """Every live resource whose links hold this one."""
        return map(KeptFacts.of, self._referrers(facts))

    def all(self, facts: Any, each: Judge) -> bool:
        """Every record resource that these facts link to, deleted ones too, is live and satisfies `each`."""
        unpacked = unpacking(each.facts | _KIND)
        for packed, deleted in self._targets(facts):
            there = unpacked(packed)
            if there.kind == "record" and (deleted or not each.satisfied(there, self)):
                return False
        return True

    def some(self, facts: Any, some: Judge) -> bool:
        """Some live record resource that these facts link to satisfies `some`."""
        unpacked = unpacking(some.facts | _KIND)
        there = (unpacked(packed) for packed, deleted in self._targets(facts) if not deleted)
        return any(each.kind == "record" and some.satisfied(each, self) for each in there)

    def any(self, facts: Any, some: Judge) -> bool:
        """Some live resource that links to the row with these facts satisfies `some`."""
        unpacked = unpacking(some.facts)
        return any(some.satisfied(unpacked(packed), self) for packed in self._referrers(facts))

    def row(self, link: str) -> Row | None:
        """That live resource."""
        found = self._connection.execute(_LIVE, (link,)).fetchone()
        return self._row(*found) if found else None

    def referring(self, type: str, param: str, link: str) -> Iterator[Row]:
        """Every live resource of that type whose reference parameter leads to `link`."""
        for pid in self._names.parameters((type,), param):
            for found in self._connection.execute(_REFERRERS, (link, pid)):
                yield self._row(*found)

    def _targets(self, facts: Any) -> Iterator[tuple[bytes, int]]:
        return select_in(self._connection.cursor(), _TARGETS, sorted(facts.links))

    def _referrers(self, facts: Any) -> Iterator[bytes]:
        found = self._connection.execute(_REFERRERS, (f"{facts.rtype}/{facts.id}", _LINKED))
        return (packed for packed, _, _ in found)

    def _row(self, facts: bytes, entries: bytes, time: int) -> Row:
        return Row(KeptFacts.of(facts), KeptEntries(entries, self._names.text, self._names.param), time)
