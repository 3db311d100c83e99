"""Make the index again, with the definitions of this server and the SearchParameter resources that are active now.

For the command line: it walks the whole store and answers no request. It may be stopped at any moment and goes on where
it was; servers on the same store may read and write meanwhile (`fhir_server/indexing.py` says why nothing is missed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import orjson

from fhir_server.context import Services
from fhir_server.errors import Conflict, FhirServerError
from fhir_server.indexing import KIND, Edition
from fhir_server.search.custom import parameter_of
from fhir_server.search.extract import extract
from fhir_server.search.parameter import ProjectParameter
from fhir_server.search.plan import Plan
from fhir_server.search.predicate import TRUE
from fhir_server.storage.interface import System

BATCH: Final = 200
_POSITION: Final = "position"
_LEASE: Final = "lease"
_LEASE_TIME: Final = 15_000_000


@dataclass(frozen=True, slots=True)
class Report:
    """What a reindex did. `resources`: walked through; `indexed`: given new entries, the others having been written
    meanwhile; `parameters`: canonicals of the custom ones in force; `refused`: canonical → why it is left out."""

    resources: int
    indexed: int
    resumed: bool
    parameters: tuple[str, ...]
    refused: dict[str, str]

    def __str__(self) -> str:
        named = ", ".join(self.parameters) or "none"
        return f"{self.resources} resources, {self.indexed} indexed anew; custom search parameters in force: {named}"


async def reindex(
    services: Services, system: System, progress: Callable[[int], None], *, again: bool = False
) -> Report | None:
    """Walk, then put the new edition in force; None when it is already, unless `again`. `progress` is told how many
    resources are done. Raises Conflict while another one is at work."""
    index, now = services.index, services.clock()
    await index.refresh(now)
    custom, refused = await _gather(services)
    edition = index.packaged.edition(custom)
    if edition == index.in_force and not (again or index.announced):
        return None
    if not await services.store.ledger.put(KIND, _LEASE, b"", expires=now + _LEASE_TIME, only_new=True):
        raise Conflict("Another reindex is at work, or was killed a moment ago.")
    try:
        after, done = await _resumed(services, edition)
        progress(done)
        # Before the announcement: a place is worth something only while its edition is the one announced.
        await _keep(services, edition, after, done)
        await index.announce(edition)
        walked, indexed = await _walk(services, system, edition, after, done, progress)
        await index.enforce(edition)
        await services.store.ledger.delete(KIND, _POSITION)
    finally:
        await services.store.ledger.delete(KIND, _LEASE)
    return Report(walked, indexed, after > 0, tuple(str(each["url"]) for each in edition.custom), refused)


async def _walk(
    services: Services, system: System, edition: Edition, after: int, done: int, progress: Callable[[int], None]
) -> tuple[int, int]:
    registry, base = services.index.registry(edition), services.settings.fhir_base
    indexed, left = 0, True
    while left:
        rows = await system.live(after=after, limit=BATCH)
        indexed += await system.reindex(
            [(row, extract(registry, row.type, orjson.loads(row.body), base)) for row in rows]
        )
        # What comes after a batch that is not full was written since the announcement, and is right.
        left = len(rows) == BATCH
        after, done = rows[-1].position if rows else after, done + len(rows)
        await _keep(services, edition, after, done)
        progress(done)
    return done, indexed


async def _keep(services: Services, edition: Edition, after: int, done: int) -> None:
    """Where it is, and that it is alive."""
    ledger = services.store.ledger
    text = orjson.dumps({"edition": _digest(edition), "after": after, "done": done})
    await ledger.put(KIND, _POSITION, text, expires=None)
    await ledger.put(KIND, _LEASE, b"", expires=services.clock() + _LEASE_TIME)


async def _resumed(services: Services, edition: Edition) -> tuple[int, int]:
    """Where a reindex to the same edition was stopped: (position, resources done)."""
    kept = await services.store.ledger.get(KIND, _POSITION, now=services.clock())
    at = orjson.loads(kept) if kept else {}
    return (at["after"], at["done"]) if at.get("edition") == _digest(edition) else (0, 0)


async def _gather(services: Services) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The active SearchParameter resources that compile, the newest of each canonical; and why others do not."""
    found: dict[str, tuple[dict[str, Any], ProjectParameter]] = {}
    refused: dict[str, str] = {}
    for resource in await _stored(services):
        url = str(resource.get("url"))
        try:
            custom = parameter_of(resource, services.definitions)
            _check(services, custom, [other for key, (_, other) in found.items() if key != url])
            found[url] = (resource, custom)
        except FhirServerError as error:
            refused[url] = " ".join(issue.text for issue in error.issues)
    return [resource for resource, _ in found.values()], refused


async def _stored(services: Services) -> list[dict[str, Any]]:
    plan, found = Plan(types=("SearchParameter",), limit=BATCH), []
    async with services.store.snapshot() as snapshot:
        while rows := await snapshot.search(plan, visible=TRUE):
            found += [orjson.loads(row.body) for row in rows]
            plan = replace(plan, after=((), rows[-1].position))
    return [each for each in found if each.get("status") == "active"]


def _check(services: Services, custom: ProjectParameter, others: Iterable[ProjectParameter]) -> None:
    """Raise Conflict when it takes the code of a parameter of this server, or of another custom one."""
    for each in (*services.index.packaged.parameters, *others):
        shared = set(each.base).intersection(custom.base)
        if shared and custom.parameter.code in (each.parameter.code, *each.parameter.aliases):
            raise Conflict(f"{min(shared)} has a parameter {custom.parameter.code} already.")


def _digest(edition: Edition) -> str:
    return sha256(edition.dump()).hexdigest()
