"""The links between the resources of one snapshot, for the memory reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from fhir_server.search.facts import Facts
from fhir_server.storage.sqlite.rows import unpack_facts
from fhir_server.storage.sqlite.statements import select_in

_TARGETS = "SELECT v.facts, r.deleted FROM resource AS r JOIN version AS v ON v.vid = r.vid WHERE r.key"
_REFERRERS = (
    "SELECT v.facts FROM symbol AS s JOIN link AS l ON l.target = s.sid JOIN resource AS r ON r.rid = l.rid"
    " JOIN version AS v ON v.vid = r.vid WHERE s.text = ? AND l.pid = 0 AND r.deleted = 0"
)


class Links:
    """search.match.Refs, read from the tables."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def targets(self, facts: Facts) -> Iterator[tuple[Facts, bool]]:
        """Each resource of `facts.links` that is or was here, and whether it is live."""
        for packed, deleted in select_in(self._connection.cursor(), _TARGETS, sorted(facts.links)):
            yield unpack_facts(packed), not deleted

    def referrers(self, facts: Facts) -> Iterator[Facts]:
        """Every live resource whose links hold this one."""
        for (packed,) in self._connection.execute(_REFERRERS, (f"{facts.rtype}/{facts.id}",)):
            yield unpack_facts(packed)
