"""Writes, questions and clocks for the storage tests, in as few words as each test needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson

from fhir_server.search.entries import Entries
from fhir_server.search.facts import Facts
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE, Eq, Predicate
from fhir_server.storage.interface import AuditRow, Commit, Store, Version, Write

NOON = 1_795_348_800_000_000
"""2026-11-22T12:00:00Z."""

MILLISECOND = 1000

BLANK = b"0000-00-00T00:00:00.000Z"
PUBLIC_TYPES = ("Practitioner", "Organization", "ValueSet")


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: int = NOON

    def __call__(self) -> int:
        return self.now


def facts_of(type: str, id: str, patient: str | None = "p1", **more: Any) -> Facts:
    """Facts of a record row, or of a public one for the types of the directory."""
    if type in PUBLIC_TYPES:
        return Facts(type, id, "public", lineage=f"{type}/{id}", **more)
    if type == "Patient":
        patient = id
    return Facts(type, id, "record", patient, **{"lineage": f"{type}/{id}", **more})


def write(
    link: str,
    *,
    version: int = 1,
    patient: str | None = "p1",
    entries: Entries | None = None,
    keys: tuple[str, ...] = (),
    text: str = "",
    **facts: Any,
) -> Write:
    """One version of the resource "Type/id", its body stamped."""
    type, id = link.split("/")
    body = orjson.dumps({"resourceType": type, "id": id, "meta": {"lastUpdated": BLANK.decode()}, "text": text})
    return Write(
        type,
        id,
        version,
        body,
        facts_of(type, id, patient, **facts),
        entries or Entries(),
        stamp=body.index(BLANK),
        keys=keys,
    )


def deletion(link: str, version: int, **facts: Any) -> Write:
    """The deletion that makes `version`."""
    return replace(write(link, version=version, **facts), body=b"", deleted=True, stamp=None)


def audit_row(id: str, patient: str | None = "p1", time: int = NOON) -> AuditRow:
    """One line of the access log."""
    return AuditRow(id, patient, time, b'{"id":"%s"}' % id.encode())


def of(patient: str) -> Predicate:
    """What belongs to that patient."""
    return Eq("patient", patient)


def links(versions: list[Version]) -> list[str]:
    """ "Type/id" of each."""
    return [f"{version.type}/{version.id}" for version in versions]


def ids(versions: list[Version]) -> list[str]:
    """The id of each."""
    return [version.id for version in versions]


async def put(store: Store, *writes: Write, **more: Any) -> list[Version]:
    """Commit these writes together."""
    return list(await store.commit(Commit(writes, **more)))


async def one(store: Store, link: str, visible: Predicate = TRUE, version: int | None = None) -> Version | None:
    """Read in a snapshot of its own."""
    type, id = link.split("/")
    async with store.snapshot() as snapshot:
        return await snapshot.read(type, id, visible=visible, version=version)


async def found(store: Store, *types: str, visible: Predicate = TRUE, **plan: Any) -> list[Version]:
    """Search in a snapshot of its own."""
    async with store.snapshot() as snapshot:
        return await snapshot.search(Plan(types, **plan), visible=visible)


async def counted(store: Store, *types: str, visible: Predicate = TRUE, **plan: Any) -> int:
    """Count in a snapshot of its own."""
    async with store.snapshot() as snapshot:
        return await snapshot.count(Plan(types, **plan), visible=visible)


async def versions(store: Store, link: str, visible: Predicate = TRUE, **more: Any) -> list[int]:
    """The version numbers of a history."""
    type, id = link.split("/")
    async with store.snapshot() as snapshot:
        return [each.version for each in await snapshot.history(type, id, visible=visible, **more)]
