"""Reading: one snapshot, in which every verb sees the same committed state. Nothing here waits, nothing here writes.

A read of one resource is judged by `search.match.holds` alone. A search is judged by SQL, and each row it gives is held
against `search.match.holds` again before it leaves.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate, T
from fhir_server.storage import Disagreement
from fhir_server.storage.interface import AuditEntry, Version
from fhir_server.storage.sqlite import audit
from fhir_server.storage.sqlite.links import Links
from fhir_server.storage.sqlite.names import Known, Names
from fhir_server.storage.sqlite.query import Query, in_order
from fhir_server.storage.sqlite.rows import to_entries, unpack_facts, unpack_rows

_COLUMNS: Final = "v.version, v.time, v.deleted, v.facts, v.entries, v.body"
_CURRENT: Final = f"SELECT r.rid, {_COLUMNS} FROM resource AS r JOIN version AS v ON v.vid = r.vid WHERE r.key = ?"
_VERSION: Final = f"SELECT v.rid, {_COLUMNS} FROM version AS v WHERE v.rid = ? AND v.version = ?"
_HISTORY: Final = (
    f"SELECT v.rid, {_COLUMNS} FROM version AS v WHERE v.rid = ? AND v.version < ? ORDER BY v.version DESC LIMIT ?"
)
_NO_VERSION: Final = 1 << 62


class KeptEntries(Entries):
    """Index entries that are unpacked when a search leaf first asks for one."""

    __slots__ = ("_names", "_packed")

    def __init__(self, packed: bytes, names: Names) -> None:
        object.__setattr__(self, "_packed", packed)
        object.__setattr__(self, "_names", names)

    def __getattr__(self, name: str) -> Any:
        # Reached only while the slots of Entries are empty.
        entries = to_entries(unpack_rows(self._packed), self._names.text, self._names.param)
        for each in Entries.__slots__:
            object.__setattr__(self, each, getattr(entries, each))
        return object.__getattribute__(self, name)


class Reader:
    """One reading connection, used by one snapshot at a time."""

    def __init__(self, connection: sqlite3.Connection, known: Known) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.names = Names(connection, known)
        self.links = Links(connection)


class SqliteSnapshot:
    """storage.interface.Snapshot."""

    def __init__(self, reader: Reader) -> None:
        self._cursor = reader.cursor
        self._names = reader.names
        self._links = reader.links

    def end(self) -> None:
        """Nothing more can be read: the connection belongs to somebody else."""
        del self._cursor, self._names, self._links

    async def read(self, type: str, id: str, *, visible: Predicate, version: int | None = None) -> Version | None:
        row = self._cursor.execute(_CURRENT, (f"{type}/{id}",)).fetchone()
        if row is None:
            return None
        current = _version(row)
        if not self._shows(visible, row, current):
            return None
        if version is None or version == current.version:
            return current
        row = self._cursor.execute(_VERSION, (current.position, version)).fetchone()
        if row is None:
            return None
        wanted = _version(row)
        return wanted if self._shows(visible, row, wanted) else None

    async def history(
        self, type: str, id: str, *, visible: Predicate, before: int | None = None, limit: int = 20
    ) -> list[Version]:
        row = self._cursor.execute(_CURRENT, (f"{type}/{id}",)).fetchone()
        if row is None or not self._shows(visible, row, _version(row)):
            return []
        found: list[Version] = []
        below = _NO_VERSION if before is None else before
        while len(found) < limit:
            rows = self._cursor.execute(_HISTORY, (row[0], below, limit)).fetchall()
            if not rows:
                break
            versions = [(each, _version(each)) for each in rows]
            found += (version for each, version in versions if self._shows(visible, each, version))
            below = versions[-1][1].version
        return found[:limit]

    async def search(self, plan: Plan, *, visible: Predicate) -> list[Version]:
        text, args = Query(self._cursor, self._names, plan, visible).page()
        found = []
        for rid, number, time, packed, entries, body in self._cursor.execute(text, args).fetchall():
            facts = unpack_facts(packed)
            self._assert_shown(visible, facts, entries, time)
            found.append(Version(facts.rtype, facts.id, number, time, False, body, facts, rid))
        return in_order(found, plan.sort)

    async def count(self, plan: Plan, *, visible: Predicate) -> int:
        text, args = Query(self._cursor, self._names, plan, visible).count()
        (count,) = self._cursor.execute(text, args).fetchone()
        return int(count)

    async def compartment(self, type: str, id: str) -> str | None:
        row = self._cursor.execute("SELECT cid FROM resource WHERE key = ?", (f"{type}/{id}",)).fetchone()
        return self._names.patient(row[0]) if row else None

    async def policy_version(self, patient: str) -> int:
        cid = self._names.compartment(patient)
        row = self._cursor.execute("SELECT policy FROM record WHERE cid = ?", (cid,)).fetchone()
        return row[0] if row else 0

    async def audits(
        self,
        patient: str,
        *,
        visible: Predicate,
        since: int | None = None,
        until: int | None = None,
        before: int | None = None,
        limit: int = 20,
    ) -> list[AuditEntry]:
        if not self._shows_log(visible, patient):
            return []
        cid = self._names.compartment(patient)
        rows = audit.of_record(self._cursor, cid, since=since, until=until, before=before, limit=limit)
        return [audit.entry(row, self._names.patient) for row in rows]

    async def audit(self, id: str, *, visible: Predicate) -> AuditEntry | None:
        row = audit.by_id(self._cursor, id)
        if row is None:
            return None
        entry = audit.entry(row, self._names.patient)
        return entry if self._shows_log(visible, entry.row.patient) else None

    def _shows(self, visible: Predicate, row: tuple[Any, ...], version: Version) -> bool:
        return holds(visible, Row(version.facts, KeptEntries(row[5], self._names), version.time), self._links)

    def _shows_log(self, visible: Predicate, patient: str | None) -> bool:
        facts = Facts(rtype="AuditEvent", id="", kind="record", patient=patient)
        return holds(visible, Row(facts, Entries(), 0), self._links)

    def _assert_shown(self, visible: Predicate, facts: Facts, entries: bytes, time: int) -> None:
        if isinstance(visible, T):
            return
        if not holds(visible, Row(facts, KeptEntries(entries, self._names), time), self._links):
            raise Disagreement("a row that SQL gave does not satisfy the caller's predicate")


def _version(row: tuple[Any, ...]) -> Version:
    rid, number, time, deleted, packed, _, body = row
    facts = unpack_facts(packed)
    return Version(facts.rtype, facts.id, number, time, bool(deleted), body, facts, rid)
