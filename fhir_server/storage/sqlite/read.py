"""Reading: one snapshot, in which every verb sees the same committed state. Nothing here waits, nothing here writes.

A read of one resource is judged by `search.match.holds` alone. A search is judged by SQL, and each row it gives is held
against `search.match.holds` again before it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from fhir_server.errors import Unavailable
from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.match import Row, holds
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import Predicate
from fhir_server.storage import Disagreement
from fhir_server.storage.blind import asked_plan
from fhir_server.storage.cipher import Cipher, Damaged, Erased, WrongKey
from fhir_server.storage.interface import AuditEntry, Version
from fhir_server.storage.sqlite import audit
from fhir_server.storage.sqlite.changes import Changes, moments
from fhir_server.storage.sqlite.order import in_order
from fhir_server.storage.sqlite.query import Query
from fhir_server.storage.sqlite.reader import Reader
from fhir_server.storage.sqlite.rows import KeptEntries, KeptFacts, unpack_facts, unpacking

COLUMNS: Final = "v.version, v.time, v.deleted, v.facts, v.entries, v.body"
_CURRENT: Final = (
    f"SELECT r.rid, {COLUMNS}, r.cid, d.policy FROM resource AS r JOIN version AS v ON v.vid = r.vid"
    " LEFT JOIN record AS d ON d.cid = r.cid WHERE r.key = ?"
)
_VERSION: Final = f"SELECT v.rid, {COLUMNS} FROM version AS v WHERE v.rid = ? AND v.version = ?"
_HISTORY: Final = (
    f"SELECT v.rid, {COLUMNS} FROM version AS v"
    " WHERE v.rid = ? AND v.version < ? AND {} ORDER BY v.version DESC LIMIT ?"
)
_NO_VERSION: Final = 1 << 62
_NAMES: Final = frozenset({"rtype", "id"})

log = structlog.get_logger()


class SqliteSnapshot:
    """storage.interface.Snapshot."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cursor = reader.cursor
        self._names = reader.names
        self._cipher = reader.cipher
        # What was looked at last stays true: whose record a resource is in is asked right before it is read.
        self._current: tuple[str, tuple[Any, ...] | None] = "", None
        self._policy: tuple[str | None, int] = None, 0

    def end(self) -> None:
        """Nothing more can be read: the connection belongs to somebody else."""
        del self._reader, self._cursor, self._names

    async def read(self, type: str, id: str, *, visible: Predicate, version: int | None = None) -> Version | None:
        visible = self._asked(visible)
        row = self._look(f"{type}/{id}")
        if row is None:
            return None
        current = version_of(row)
        if not self._shows(visible, row, current):
            return None
        if version is None or version == current.version:
            return opened(self._cipher, current)
        row = self._cursor.execute(_VERSION, (current.position, version)).fetchone()
        if row is None:
            return None
        wanted = version_of(row)
        return opened(self._cipher, wanted) if self._shows(visible, row, wanted) else None

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
        visible = self._asked(visible)
        row = self._look(f"{type}/{id}")
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
        return self._opened(found[:limit])

    async def changes(
        self,
        types: Sequence[str],
        *,
        visible: Predicate,
        patients: Sequence[str | None] | None = None,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        before: int | None = None,
        limit: int = 20,
    ) -> list[Version]:
        visible = self._asked(visible)
        changes = Changes(self._reader, types, patients, visible, since, at)
        current: dict[int, bool] = {}
        found: list[Version] = []
        for row in changes.rows(before, limit):
            version, vid, now = version_of(row[:7]), row[7], row[8:]
            if version.position not in current:
                facts, entries, time = now
                current[version.position] = self._holds(visible, unpack_facts(facts), entries, time)
            if current[version.position] and self._shows(visible, row, version):
                found.append(version._replace(order=(vid,)))
                if len(found) == limit:
                    break
        return self._opened(found)

    async def search(self, plan: Plan, *, visible: Predicate) -> list[Version]:
        visible = self._asked(visible)
        if self._cipher:
            plan = asked_plan(plan, self._cipher.blind)
        judge, links = self._reader.remembered.judge(visible), self._reader.links
        unpacked = unpacking(_NAMES | judge.facts if judge else _NAMES)
        found = []
        for row in Query(self._reader, plan, visible, entries=judge is None).page():
            rid, number, time, packed, entries, body = row[:6]
            known, facts = unpacked(packed), KeptFacts.of(packed)
            shown = judge.satisfied(known, links) if judge else self._holds(visible, facts, entries, time)
            if not shown:
                raise Disagreement("a row that SQL gave does not satisfy the caller's predicate")
            found.append(Version(known.rtype, known.id, number, time, False, body, facts, rid, row[6:]))
        return in_order(self._opened(found), plan.sort)

    async def count(self, plan: Plan, *, visible: Predicate) -> int:
        if self._cipher:
            plan = asked_plan(plan, self._cipher.blind)
        return Query(self._reader, plan, self._asked(visible)).count()

    async def compartment(self, type: str, id: str) -> str | None:
        row = self._look(f"{type}/{id}")
        if row is None or not row[7]:
            return None
        patient = self._names.patient(row[7])
        self._policy = patient, row[8] or 0
        return patient

    async def policy_version(self, patient: str) -> int:
        known, version = self._policy
        if patient == known:
            return version
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

    def _look(self, key: str) -> tuple[Any, ...] | None:
        """The current version of a resource as a row: rid, `COLUMNS`, its compartment, the policy version of that."""
        if key != self._current[0]:
            self._current = key, self._cursor.execute(_CURRENT, (key,)).fetchone()
        return self._current[1]

    def _asked(self, visible: Predicate) -> Predicate:
        return self._reader.remembered.asked(visible, self._cipher.blind) if self._cipher else visible

    def _opened(self, versions: list[Version]) -> list[Version]:
        if self._cipher is None:
            return versions
        return [each for version in versions if (each := opened(self._cipher, version))]

    def _shows(self, visible: Predicate, row: tuple[Any, ...], version: Version) -> bool:
        return self._holds(visible, version.facts, row[5], version.time)

    def _holds(self, visible: Predicate, facts: Facts, entries: bytes, time: int) -> bool:
        kept = KeptEntries(entries, self._names.text, self._names.param)
        return holds(visible, Row(facts, kept, time), self._reader.links)

    def _shows_log(self, visible: Predicate, patient: str | None) -> bool:
        facts = Facts(rtype="AuditEvent", id="", kind="record", patient=patient)
        return holds(visible, Row(facts, Entries(), 0), self._reader.links)


def version_of(row: tuple[Any, ...]) -> Version:
    """The version of a row: its rid, then `COLUMNS`."""
    rid, number, time, deleted, packed, _, body = row[:7]
    facts = unpack_facts(packed)
    return Version(facts.rtype, facts.id, number, time, bool(deleted), body, facts, rid)


def opened(cipher: Cipher | None, version: Version) -> Version | None:
    """The version with its body as it was written; None when its data key is destroyed, as if it had never been.

    Raises Unavailable for a body that is not what was sealed there.
    """
    if cipher is None or version.deleted:
        return version
    try:
        body = cipher.unwrap(version.body, place=f"{version.type}/{version.id}", version=version.version)
    except Erased:
        log.warning("a body was asked for whose data key is destroyed")
        return None
    except (Damaged, WrongKey) as error:
        log.error("a body cannot be opened", reason=str(error))
        raise Unavailable from error
    return version._replace(body=body)
