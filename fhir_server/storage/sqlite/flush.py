"""Writes what a group decided, each table in a few large statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.storage.chain import link
from fhir_server.storage.cipher import Cipher
from fhir_server.storage.sqlite import words
from fhir_server.storage.sqlite.decide import Group, Standing, Step
from fhir_server.storage.sqlite.names import Head, Interner
from fhir_server.storage.sqlite.projection import NONE, Exchange, rows_of
from fhir_server.storage.sqlite.rows import (
    Rows,
    pack_facts,
    pack_rows,
    to_rows,
    unpack_rows,
)
from fhir_server.storage.sqlite.sealing import Sealing
from fhir_server.storage.sqlite.statements import delete, insert

_VERSION: Final = "vid, rid, version, time, deleted, facts, entries, body"
_RESOURCE: Final = (
    "rid, key, type, cid, vid, version, time, deleted, kind, type_code, class_code, vis, data_time, deposited_at, "
    "release_at, lineage"
)
_CHANGES: Final = "ON CONFLICT (rid) DO UPDATE SET " + ", ".join(
    f"{name} = excluded.{name}" for name in _RESOURCE.split(", ") if name not in ("rid", "key", "type")
)
_NO_ROWS: Final = pack_rows(Rows())


class Flush:
    """One group on its way into the file."""

    def __init__(
        self, cursor: sqlite3.Cursor, interner: Interner, head: Head, group: Group, cipher: Cipher | None
    ) -> None:
        self._cursor = cursor
        self._interner = interner
        self._head = head
        self._group = group
        self._rows: dict[str, Rows] = {}
        self._words: list[tuple[int, str]] = []
        self._sealing = Sealing(cursor, cipher, group.steps) if cipher and group.steps else None

    def write(self) -> None:
        """Write everything. After an sqlite3.Error the transaction is to be rolled back."""
        if self._group.steps:
            self._versions()
            if self._sealing:
                self._sealing.take_over()
            self._projections()
            self._held()
        self._policies()
        self._audits()
        self._interner.write()

    def _versions(self) -> None:
        """Append the versions, and point each resource at its last."""
        versions: list[tuple[Any, ...]] = []
        resources: dict[str, tuple[Any, ...]] = {}
        packed = dict(self._group.packed)
        for step in self._group.steps:
            made, key = step.made, step.key
            self._head.vid += 1
            if not made.deleted:
                pids = self._interner.parameters(made.facts)
                self._interner.name(made.facts.links)
                self._rows[key] = to_rows(step.entries, self._interner.symbols, pids)
                packed[key] = pack_rows(self._rows[key])
                self._add_words(made.facts, step.entries)
            body = self._sealing.body(step) if self._sealing else made.body
            kept = (pack_facts(made.facts), packed.get(key, _NO_ROWS), body)
            versions.append((self._head.vid, made.position, made.version, made.time, made.deleted, *kept))
            resources[key] = self._resource(step)
        insert(self._cursor, "version", _VERSION, versions)
        insert(self._cursor, "resource", _RESOURCE, list(resources.values()), _CHANGES)
        words.add(self._cursor, self._words)

    def _add_words(self, facts: Facts, entries: Entries) -> None:
        tokens = words.document(entries.prose, self._interner.symbols[facts.rtype], self._interner.cid(facts.patient))
        if tokens is not None:
            self._words.append((self._head.vid, tokens))

    def _resource(self, step: Step) -> tuple[Any, ...]:
        made, facts = step.made, step.made.facts
        return (
            made.position,
            step.key,
            self._interner.symbols[made.type],
            self._interner.cid(facts.patient),
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
        """Bring the narrow tables from what they say to what they should."""
        group, exchange = self._group, Exchange()
        for key in dict.fromkeys(step.key for step in group.steps):
            before = group.before.get(key)
            found = NONE if before is None else self._projected(before, unpack_rows(group.packed[key]))
            exchange.add(found, self._projected(group.now[key], self._rows.get(key)))
        exchange.write(self._cursor)

    def _projected(self, standing: Standing, rows: Rows | None) -> Sequence[list[Any]]:
        if standing.deleted or rows is None:
            return NONE
        return rows_of(self._interner, standing.facts, standing.rid, rows)

    def _held(self) -> None:
        before, now = self._group.held_before, self._group.held
        delete(self._cursor, "held", "key", [(key,) for key, holder in before.items() if now.get(key) != holder])
        fresh = [(key, self._group.now[holder].rid) for key, holder in now.items() if before.get(key) != holder]
        insert(self._cursor, "held", "key, rid", fresh)

    def _policies(self) -> None:
        rows = [(self._interner.cid(patient), self._group.policies[patient]) for patient in self._group.bumped]
        changes = "ON CONFLICT (cid) DO UPDATE SET policy = excluded.policy"
        insert(self._cursor, "record", "cid, policy", rows, changes)

    def _audits(self) -> None:
        head, rows = self._head, []
        for row in self._group.audits:
            head.seq += 1
            head.hash = link(head.hash, row.body)
            rows.append((head.seq, row.id, self._interner.cid(row.patient), row.time, row.body, head.hash))
        insert(self._cursor, "audit", "seq, id, cid, time, body, hash", rows)
