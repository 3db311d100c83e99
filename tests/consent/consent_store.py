"""A real store with resources in it, for the parts of the decision that read one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.consent.facts import facts_of
from fhir_server.consent.matrix import load_matrix
from fhir_server.consent.narrow import Narrow
from fhir_server.consent.policy import RecordPolicy, load_policy
from fhir_server.fhir.dates import date_range
from fhir_server.fhir.definitions import load_definitions
from fhir_server.search.extract import extract
from fhir_server.search.predicate import TRUE
from fhir_server.search.registry import SearchRegistry
from fhir_server.settings import Settings
from fhir_server.storage import open_store
from fhir_server.storage.interface import AuditRow, Commit, Store, Version, Write

NOW = date_range("2026-06-01T12:00:00Z")[0]
BASE = Settings().fhir_base
R4 = load_definitions()
REGISTRY = SearchRegistry(R4)
DOCTOR = Actor(
    "ps",
    "Practitioner/x",
    "Dr X",
    "jti-1",
    frozenset({"rpps:10000000001", "org:990000001", "Practitioner/x", "PractitionerRole/r"}),
    profession="10",
)
COLLEAGUE = Actor(
    "ps", "Practitioner/y", "Dr Y", "jti-2", frozenset({"rpps:10000000002", "Practitioner/y"}), profession="10"
)
PATIENT = Actor("patient", "Patient/p1", "P", "jti-3", frozenset({"Patient/p1"}), ("p1",))
REPRESENTATIVE = Actor("rep", "RelatedPerson/r1", "R", "jti-4", frozenset({"RelatedPerson/r1"}), ("p1",))


class House:
    """A store, a clock that stands until it is set, and the predicates made over them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW
        self.narrow = Narrow(load_matrix(NOW), Settings(), lambda: self.now)

    async def put(self, resource: dict[str, Any], id: str, by: Actor = DOCTOR, version: int = 1) -> Version:
        """Keep a resource as deposited by that caller; the policy of its record moves on."""
        whole = {**resource, "id": id}
        facts = facts_of(R4, whole, id=id, depositor=by, now=self.now, base=BASE)
        entries = extract(REGISTRY, whole["resourceType"], whole, BASE)
        write = Write(whole["resourceType"], id, version, orjson.dumps(whole), facts, entries)
        bump = frozenset({facts.patient} - {None})
        [made] = await self.store.commit(Commit(writes=(write,), bump=bump))  # type: ignore[arg-type]
        return made

    async def delete(self, version: Version) -> None:
        """End a resource."""
        write = Write(version.type, version.id, version.version + 1, b"", version.facts, deleted=True)
        bump = frozenset({version.facts.patient} - {None})
        await self.store.commit(Commit(writes=(write,), bump=bump))  # type: ignore[arg-type]

    async def log(self, *rows: AuditRow) -> None:
        """Write lines of the access log."""
        for each in rows:
            await self.store.commit(Commit(audits=(each,)))

    async def policy(self, patient: str = "p1") -> RecordPolicy:
        """The policy of a record, read now."""
        async with self.store.snapshot() as snapshot:
            return await load_policy(snapshot, patient, base=BASE)

    async def sees(self, actor: Actor, link: str) -> bool:
        """Whether that caller reads that resource."""
        type_, id = link.split("/")
        async with self.store.snapshot() as snapshot:
            visible = await self.narrow.for_instance(snapshot, actor, type_, id)
            found = await snapshot.read(type_, id, visible=visible)
            assert await snapshot.read(type_, id, visible=TRUE) is not None
        return found is not None


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """An empty house."""
    store = open_store(str(folder / "record.db"), clock=lambda: NOW)
    try:
        yield House(store)
    finally:
        await store.close()
