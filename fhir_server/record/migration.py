"""Documents from files, by the operator of the server: the same import, as software that deposits.

Reading and converting run in processes of their own; one writer takes what they come to. A journal says which files are
done, so that a migration can be broken off anywhere and begun again. Source: importers page §9.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import structlog

from fhir_server.auth.actor import Actor
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.errors import FhirServerError
from fhir_server.interactions.create import create
from fhir_server.record.documents import Options, import_document
from fhir_server.record.files import Place, Read, read_place
from fhir_server.record.incoming import Incoming, Wanted
from fhir_server.record.pushed import REJECTED, Told, refused, told
from importers.limits import Limits

log = structlog.get_logger()

_KEY: Final = "client:fhir-server-import"
IMPORTER: Final = Actor(
    role="ps",
    reference="Device/fhir-server-import",
    name="fhir-server import",
    jti="import",
    keys=frozenset({_KEY, "Device/fhir-server-import"}),
    client="fhir-server-import",
)
OPERATOR: Final = Actor(role="admin", reference="Device/fhir-server-import", name="fhir-server import", jti="import")
_AHEAD: Final = 8


@dataclass(frozen=True, slots=True)
class Migration:
    """How files are imported. `create_patient`: whom the record does not know is made from the document."""

    mode: str = "migration"
    dry_run: bool = False
    create_patient: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file: of each document in it. `skipped`: it holds none; `known`: it was done before."""

    place: Place
    sha256: str
    documents: Sequence[Told] = ()
    skipped: bool = False
    known: bool = False

    @property
    def path(self) -> Path:
        """The file on the disk."""
        return self.place.path

    @property
    def refused(self) -> bool:
        """Whether a document of the file is not in the record."""
        return any(each.status == REJECTED for each in self.documents)

    @property
    def status(self) -> str:
        """In one word: that of its documents where they agree."""
        statuses = {each.status for each in self.documents}
        if self.known:
            return "done before"
        if not statuses:
            return "skipped"
        return statuses.pop() if len(statuses) == 1 else REJECTED if self.refused else "mixed"

    @property
    def codes(self) -> tuple[str, ...]:
        """Why documents were refused."""
        return tuple(code for each in self.documents if each.status == REJECTED for code in each.codes)


async def migrate(
    services: Services,
    places: Iterable[Place],
    migration: Migration,
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    done: Mapping[str, Collection[str]] | None = None,
) -> AsyncIterator[Outcome]:
    """Import the files in their order, some read ahead by `jobs` processes. `done`: by path the SHA-256 of what was
    imported before, which is passed over.

    One document that cannot be imported, whatever the reason, never stops the others.
    """
    wanted = Wanted(
        strict=services.settings.ins_policy == "strict" and migration.mode == "strict",
        production=services.settings.production,
        at=services.clock(),
        limits=Limits(attachment_bytes=services.settings.max_attachment_bytes),
    )
    async for read in _read(places, wanted, done or {}, executor, jobs * _AHEAD):
        documents = [await _import(services, each, migration) for each in read.documents]
        yield Outcome(read.place, read.sha256, documents, read.skipped, read.known)


async def _read(
    places: Iterable[Place],
    wanted: Wanted,
    done: Mapping[str, Collection[str]],
    executor: Executor | None,
    ahead: int,
) -> AsyncIterator[Read]:
    loop, waiting = asyncio.get_running_loop(), deque[asyncio.Future[Read]]()
    for place in places:
        before = done.get(str(place), ())
        if executor is None:
            yield read_place(place, wanted, before)
            continue
        waiting.append(loop.run_in_executor(executor, read_place, place, wanted, before))
        if len(waiting) >= ahead:
            yield await waiting.popleft()
    while waiting:
        yield await waiting.popleft()


async def _import(services: Services, read: Incoming | Told, migration: Migration) -> Told:
    """Import one document that was read. With `create_patient`, a patient the record does not know is made from it."""
    if isinstance(read, Told):
        return read
    options = Options(migration.mode, migration.dry_run)
    try:
        return await _attempt(services, read, migration, options)
    except FhirServerError as error:
        if migration.dry_run and migration.create_patient and "902" in refused(error).codes:
            return Told("created", report=read.conversion.report)
        return refused(error)
    except Exception as error:
        log.error("fault", kind=type(error).__name__)
        return refused(FhirServerError("The server failed to import this document."))


async def _attempt(services: Services, read: Incoming, migration: Migration, options: Options) -> Told:
    try:
        return await _once(services, read, options)
    except FhirServerError as error:
        unknown = "902" in refused(error).codes and read.identity is not None
        if not migration.create_patient or migration.dry_run or not unknown:
            raise
    await _create_patient(services, read)
    return await _once(services, read, options)


async def _once(services: Services, read: Incoming, options: Options) -> Told:
    ctx = Context(services, IMPORTER, Trace(interaction="$import-document", request_id="import"))
    try:
        return told(await import_document(ctx, read, options))
    except FhirServerError as error:
        await ctx.record(error)
        raise


async def _create_patient(services: Services, read: Incoming) -> None:
    patient = {**(read.identity.patient if read.identity else {}), "resourceType": "Patient", "active": True}
    ctx = Context(services, OPERATOR, Trace(interaction="create", type="Patient", request_id="import"))
    await create(ctx, Request("POST", ("Patient",), body=orjson.dumps(patient)))


async def import_one(services: Services, path: Path, *, create_patient: bool, mode: str, dry_run: bool) -> Outcome:
    """Import one file, here and now."""
    migration = Migration(mode, dry_run, create_patient)
    found = [each async for each in migrate(services, [Place(path, named=True)], migration)]
    return found[0]
