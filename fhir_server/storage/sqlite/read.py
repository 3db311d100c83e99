"""Reading: one snapshot, in which every verb sees the same committed state. Nothing here waits, nothing here writes.

A read of one resource is judged by `search.match.holds` alone. A search is judged by SQL, and each row it gives is held
against `search.match.holds` again before it leaves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate
from fhir_server.storage import Disagreement
from fhir_server.storage.interface import AuditEntry, Version
from fhir_server.storage.sqlite import audit
from fhir_server.storage.sqlite.changes import Changes, moments
from fhir_server.storage.sqlite.functions import Questions
from fhir_server.storage.sqlite.links import Links
from fhir_server.storage.sqlite.names import Known, Names
from fhir_server.storage.sqlite.order import in_order
from fhir_server.storage.sqlite.query import Query
from fhir_server.storage.sqlite.rows import KeptEntries, KeptFacts, unpack_facts, unpack_judged

COLUMNS: Final = "v.version, v.time, v.deleted, v.facts, v.entries, v.body"
_CURRENT: Final = f"SELECT r.rid, {COLUMNS} FROM resource AS r JOIN version AS v ON v.vid = r.vid WHERE r.key = ?"
_VERSION: Final = f"SELECT v.rid, {COLUMNS} FROM version AS v WHERE v.rid = ? AND v.version = ?"
_HISTORY: Final = (
    f"SELECT v.rid, {COLUMNS} FROM version AS v"
    " WHERE v.rid = ? AND v.version < ? AND {} ORDER BY v.version DESC LIMIT ?"
)
_NO_VERSION: Final = 1 << 62


class Reader:
    """One reading connection, used by one snapshot at a time."""

    def __init__(self, connection: sqlite3.Connection, known: Known) -> None:
        self.connection = connection
        self.cursor = connection.cursor()
        self.names = Names(connection, known)
        self.links = Links(connection, self.names)
        self.questions = Questions(connection, self.names)


class SqliteSnapshot:
    """storage.interface.Snapshot."""

    def __init__(self, reader: Reader) -> None:
        self._cursor = reader.cursor
        self._names = reader.names
        self._links = reader.links
        self._questions = reader.questions

    def end(self) -> None:
        """Nothing more can be read: the connection belongs to somebody else."""
        del self._cursor, self._names, self._links, self._questions

    async def read(self, type: str, id: str, *, visible: Predicate, version: int | None = None) -> Version | None:
        row = self._cursor.execute(_CURRENT, (f"{type}/{id}",)).fetchone()
        if row is None:
            return None
        current = version_of(row)
        if not self._shows(visible, row, current):
            return None
        if version is None or version == current.version:
            return current
        row = self._cursor.execute(_VERSION, (current.position, version)).fetchone()
        if row is None:
            return None
        wanted = version_of(row)
        return wanted if self._shows(visible, row, wanted) else None

    async def history(
        self,
        type: str,
        id: str,
        *,
        visible: Predicate,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        before: int | None = None,
        limit: int = 20,
    ) -> list[Version]:
        row = self._cursor.execute(_CURRENT, (f"{type}/{id}",)).fetchone()
        if row is None or not self._shows(visible, row, version_of(row)):
            return []
        asked = moments(since, at)
        found: list[Version] = []
        below = _NO_VERSION if before is None else before
        while len(found) < limit:
            args = (row[0], below, *asked.args, limit)
            rows = self._cursor.execute(_HISTORY.format(asked.text), args).fetchall()
            versions = [(each, version_of(each)) for each in rows]
            found += (version for each, version in versions if self._shows(visible, each, version))
            if len(rows) < limit:
                break
            below = versions[-1][1].version
        return found[:limit]

    async def changes(
        self,
        types: Sequence[str],
        *,
        visible: Predicate,
        patients: Sequence[str] | None = None,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        before: int | None = None,
        limit: int = 20,
    ) -> list[Version]:
        changes = Changes(self._cursor, self._names, self._questions, types, patients, visible, since, at)
        current: dict[int, bool] = {}
        found: list[Version] = []
        for row in changes.rows(before, limit):
            version, vid, now = version_of(row[:7]), row[7], row[8:]
            if version.position not in current:
                facts, entries, time = now
                current[version.position] = self._holds(visible, unpack_facts(facts), entries, time)
            if current[version.position] and self._shows(visible, row, version):
                found.append(replace(version, order=(vid,)))
                if len(found) == limit:
                    break
        return found

    async def search(self, plan: Plan, *, visible: Predicate) -> list[Version]:
        query = Query(self._cursor, self._names, self._questions, plan, visible)
        judge = self._names.remembered.judge(visible)
        found = []
        for rid, number, time, packed, entries, body, *order in query.page():
            judged = unpack_judged(packed)
            if not (judge(judged) if judge else self._holds(visible, unpack_facts(packed), entries, time)):
                raise Disagreement("a row that SQL gave does not satisfy the caller's predicate")
            facts = KeptFacts.of(packed)
            found.append(Version(judged.rtype, judged.id, number, time, False, body, facts, rid, tuple(order)))
        return in_order(found, plan.sort)

    async def count(self, plan: Plan, *, visible: Predicate) -> int:
        return Query(self._cursor, self._names, self._questions, plan, visible).count()

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
        return self._holds(visible, version.facts, row[5], version.time)

    def _holds(self, visible: Predicate, facts: Facts, entries: bytes, time: int) -> bool:
        kept = KeptEntries(entries, self._names.text, self._names.param)
        return holds(visible, Row(facts, kept, time), self._links)

    def _shows_log(self, visible: Predicate, patient: str | None) -> bool:
        facts = Facts(rtype="AuditEvent", id="", kind="record", patient=patient)
        return holds(visible, Row(facts, Entries(), 0), self._links)


def version_of(row: tuple[Any, ...]) -> Version:
    """The version of a row: its rid, then `COLUMNS`."""
    rid, number, time, deleted, packed, _, body = row
    facts = unpack_facts(packed)
    return Version(facts.rtype, facts.id, number, time, bool(deleted), body, facts, rid)
