"""The links between the resources of one snapshot, for the memory reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from fhir_server.search.facts import Facts
from fhir_server.search.match import Row
from fhir_server.storage.sqlite.names import Names
from fhir_server.storage.sqlite.rows import KeptEntries, unpack_facts
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


class Links:
    """search.match.Refs, read from the tables."""

    def __init__(self, connection: sqlite3.Connection, names: Names) -> None:
        self._connection = connection
        self._names = names

    def targets(self, facts: Facts) -> Iterator[tuple[Facts, bool]]:
        """Each resource of `facts.links` that is or was here, and whether it is live."""
        for packed, deleted in select_in(self._connection.cursor(), _TARGETS, sorted(facts.links)):
            yield unpack_facts(packed), not deleted

    def referrers(self, facts: Facts) -> Iterator[Facts]:
        """Every live resource whose links hold this one."""
        for packed, _, _ in self._connection.execute(_REFERRERS, (f"{facts.rtype}/{facts.id}", _LINKED)):
            yield unpack_facts(packed)

    def row(self, link: str) -> Row | None:
        """That live resource."""
        found = self._connection.execute(_LIVE, (link,)).fetchone()
        return self._row(*found) if found else None

    def referring(self, type: str, param: str, link: str) -> Iterator[Row]:
        """Every live resource of that type whose reference parameter leads to `link`."""
        for pid in self._names.parameters((type,), param):
            for found in self._connection.execute(_REFERRERS, (link, pid)):
                yield self._row(*found)

    def _row(self, facts: bytes, entries: bytes, time: int) -> Row:
        return Row(unpack_facts(facts), KeptEntries(entries, self._names.text, self._names.param), time)
