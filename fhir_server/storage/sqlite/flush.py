"""Writes what a group decided, each table in a few large statements."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from fhir_server.search.facts import Facts
from fhir_server.storage.chain import link
from fhir_server.storage.sqlite.decide import Group, Standing, Step
from fhir_server.storage.sqlite.names import PUBLIC, RECORD, Head, Interner
from fhir_server.storage.sqlite.rows import (
    MULTI,
    Rows,
    pack_facts,
    pack_rows,
    params_of,
    texts_of,
    to_rows,
    unpack_rows,
)
from fhir_server.storage.sqlite.statements import delete, insert

_VERSION: Final = "vid, rid, version, time, deleted, facts, entries, body"
_RESOURCE: Final = (
    "rid, key, type, cid, vid, version, time, deleted, kind, type_code, class_code, vis, data_time, deposited_at, "
    "release_at, lineage"
)
_CHANGES: Final = "ON CONFLICT (rid) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in _RESOURCE.split(", ") if name not in ("rid", "key", "type")
)
_TABLES: Final = (
    ("token", "cid, rid, pid, code, system"),
    ("string", "cid, rid, pid, normal, exact"),
    ("span", "cid, rid, pid, low, high"),
    ("number", "cid, rid, pid, low, high"),
    ("quantity", "cid, rid, pid, low, high, system, code"),
    ("uri", "cid, rid, pid, value"),
    ("link", "rid, pid, target"),
    ("multi", "rid, fact, value"),
)
_LINKED: Final = 0
"""In place of a parameter: a link among the facts."""

_NO_ROWS: Final = pack_rows(Rows())


class Flush:
    """One group on its way into the file."""

    def __init__(self, cursor: sqlite3.Cursor, interner: Interner, head: Head, group: Group) -> None:
        self._cursor = cursor
        self._interner = interner
        self._head = head
        self._group = group
        self._rows: dict[str, Rows] = {}

    def write(self) -> None:
        """Write everything. After an sqlite3.Error the transaction is to be rolled back."""
        self._admit()
        self._versions()
        self._projections()
        self._held()
        self._policies()
        self._audits()

    def _admit(self) -> None:
        """Give every text, compartment and parameter of the group its integer."""
        group, interner = self._group, self._interner
        patients = group.bumped | {row.patient for row in group.audits if row.patient is not None}
        texts: set[str] = set()
        for facts in (*(each.facts for each in group.before.values()), *(step.made.facts for step in group.steps)):
            texts.add(facts.rtype)
            texts.update(facts.links, *(getattr(facts, name) for name in MULTI))
            if facts.patient is not None:
                patients.add(facts.patient)
        for step in group.steps:
            texts |= texts_of(step.entries)
        texts.update(f"Patient/{patient}" for patient in patients)
        interner.admit(self._cursor, self._head, texts)
        interner.admit_records(self._cursor, set(map(self._cid, patients)))
        for step in group.steps:
            scope = RECORD if self._home(step.made.facts) else PUBLIC
            interner.admit_parameters(self._cursor, self._head, step.made.type, scope, params_of(step.entries))

    def _cid(self, patient: str | None) -> int:
        return 0 if patient is None else self._interner.symbols[f"Patient/{patient}"]

    def _home(self, facts: Facts) -> int:
        """The compartment that the index rows lie in."""
        return 0 if facts.rtype == "Patient" else self._cid(facts.patient)

    def _versions(self) -> None:
        """Append the versions, and point each resource at its last."""
        versions: list[tuple[Any, ...]] = []
        resources: dict[str, tuple[Any, ...]] = {}
        packed = dict(self._group.packed)
        for step in self._group.steps:
            made, key = step.made, step.key
            self._head.vid += 1
            if not made.deleted:
                pids = self._interner.parameters.get(made.type, {})
                self._rows[key] = to_rows(step.entries, self._interner.symbols, pids)
                packed[key] = pack_rows(self._rows[key])
            kept = (pack_facts(made.facts), packed.get(key, _NO_ROWS), made.body)
            versions.append((self._head.vid, made.position, made.version, made.time, made.deleted, *kept))
            resources[key] = self._resource(step)
        insert(self._cursor, "version", _VERSION, versions)
        insert(self._cursor, "resource", _RESOURCE, list(resources.values()), _CHANGES)

    def _resource(self, step: Step) -> tuple[Any, ...]:
        made, facts = step.made, step.made.facts
        return (
            made.position,
            step.key,
            self._interner.symbols[made.type],
            self._cid(facts.patient),
            self._head.vid,
            made.version,
            made.time,
            made.deleted,
            facts.kind,
            facts.type_code,
            facts.class_code,
            facts.vis,
            facts.data_time,
            facts.deposited_at,
            facts.release_at,
            facts.lineage,
        )

    def _projections(self) -> None:
        """Bring the narrow tables from what they say to what they should: only rows that differ are touched."""
        gone: list[list[Any]] = [[] for _ in _TABLES]
        fresh: list[list[Any]] = [[] for _ in _TABLES]
        for key in dict.fromkeys(step.key for step in self._group.steps):
            wanted = self._projected(self._group.now[key], self._rows.get(key))
            before = self._group.before.get(key)
            if before is None:
                for rows, new in zip(fresh, wanted, strict=True):
                    rows += new
                continue
            found = self._projected(before, unpack_rows(self._group.packed[key]))
            for n, (old, new) in enumerate(zip(found, wanted, strict=True)):
                gone[n] += set(old).difference(new)
                fresh[n] += set(new).difference(old)
        for (table, columns), old, new in zip(_TABLES, gone, fresh, strict=True):
            delete(self._cursor, table, columns, old)
            insert(self._cursor, table, columns, sorted(new))

    def _projected(self, standing: Standing, rows: Rows | None) -> list[list[Any]]:
        """The rows of `_TABLES` that a resource has, none two alike; a deleted one has none."""
        if standing.deleted or rows is None:
            return [[] for _ in _TABLES]
        facts, rid, symbols = standing.facts, standing.rid, self._interner.symbols
        here = (self._home(facts), rid)
        compartmented = (rows.tokens, rows.strings, rows.dates, rows.numbers, rows.quantities, rows.uris)
        links = [(rid, pid, target) for pid, target in rows.references]
        return [
            *([here + row for row in each] for each in compartmented),
            links + [(rid, _LINKED, symbols[target]) for target in facts.links],
            [(rid, number, symbols[value]) for name, number in MULTI.items() for value in getattr(facts, name)],
        ]

    def _held(self) -> None:
        before, now = self._group.held_before, self._group.held
        delete(self._cursor, "held", "key", [(key,) for key, holder in before.items() if now.get(key) != holder])
        fresh = [(key, self._group.now[holder].rid) for key, holder in now.items() if before.get(key) != holder]
        insert(self._cursor, "held", "key, rid", fresh)

    def _policies(self) -> None:
        rows = [(self._cid(patient), self._group.policies[patient]) for patient in self._group.bumped]
        changes = "ON CONFLICT (cid) DO UPDATE SET policy = excluded.policy"
        insert(self._cursor, "record", "cid, policy", rows, changes)

    def _audits(self) -> None:
        head, rows = self._head, []
        for row in self._group.audits:
            head.seq += 1
            head.hash = link(head.hash, row.body)
            rows.append((head.seq, row.id, self._cid(row.patient), row.time, row.body, head.hash))
        insert(self._cursor, "audit", "seq, id, cid, time, body, hash", rows)
