"""Documents from files, by the operator of the server: the same import, as software that deposits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from fhir_server.auth.actor import Actor
from fhir_server.context import Context, Request, Services, Trace
from fhir_server.errors import FhirServerError
from fhir_server.interactions.create import create
from fhir_server.interactions.status import status_of
from fhir_server.record.documents import Imported, Options, import_document
from importers.cda.document import read

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status`: created, superseding, superseded, unchanged, or the HTTP status of a refusal; `codes` its codings."""

    path: Path
    status: str
    codes: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether nothing of the file is in the record."""
        return self.status.isdecimal()


def documents_in(paths: Iterable[Path]) -> list[Path]:
    """The files named, and every XML file of the folders named, in the order of their names."""
    found: dict[Path, None] = {}
    for path in paths:
        inside = sorted(each for each in path.rglob("*") if each.suffix.lower() == ".xml") if path.is_dir() else [path]
        found.update(dict.fromkeys(inside))
    return list(found)


async def import_one(services: Services, path: Path, *, create_patient: bool, mode: str, dry_run: bool) -> Outcome:
    """Import one file. With `create_patient`, a patient the record does not know is made from the document."""
    document = path.read_bytes()
    options = Options(mode=mode, dry_run=dry_run)
    try:
        try:
            imported = await _import(services, document, options)
        except FhirServerError as error:
            if not create_patient or dry_run or "902" not in _codes(error):
                raise
            await _create_patient(services, document)
            imported = await _import(services, document, options)
    except FhirServerError as error:
        if dry_run and create_patient and "902" in _codes(error):
            return Outcome(path, "created with its patient")
        return Outcome(path, str(status_of(error)), _codes(error))
    return Outcome(path, imported.status)


async def _import(services: Services, document: bytes, options: Options) -> Imported:
    ctx = Context(services, IMPORTER, Trace(interaction="$import-document", request_id="import"))
    try:
        return await import_document(ctx, document, options)
    except FhirServerError as error:
        await ctx.record(error)
        raise


async def _create_patient(services: Services, document: bytes) -> None:
    patient = {**read(document).identity.patient, "active": True}
    ctx = Context(services, OPERATOR, Trace(interaction="create", type="Patient", request_id="import"))
    await create(ctx, Request("POST", ("Patient",), body=orjson.dumps(patient)))


def _codes(error: FhirServerError) -> tuple[str, ...]:
    return tuple(issue.coding[1] if issue.coding else issue.code for issue in error.issues)
