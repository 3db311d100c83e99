"""keys …: encrypt a store at rest, change the key of its keys, erase a record by destroying its own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fhir_server.cli.parts import console, operator, progress, settings_given, with_services
from fhir_server.consent.audit import row
from fhir_server.context import Services, Trace
from fhir_server.search.predicate import TRUE
from fhir_server.storage import sqlite_path
from fhir_server.storage.cipher import Keks
from fhir_server.storage.opening import keks_of
from fhir_server.storage.residency import check_residency
from fhir_server.storage.sqlite.encrypt import encrypt

keys = typer.Typer(no_args_is_help=True, help="Encryption at rest: make, encrypt, rotate, destroy.")


@keys.command("make")
def make(file: Annotated[Path, typer.Argument(help="A new file, for FHIR_SERVER_KEK_FILE.")]) -> None:
    """Write a new key that encrypts keys to a file of mode 0600. Without it the store cannot be read: keep a copy apart
    from every copy of the store."""
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as made:
            made.write(secrets.token_hex(32) + "\n")
    except FileExistsError:
        _refused(f"{file} is there already")


@keys.command("encrypt")
def encrypt_() -> None:
    """Encrypt the store of FHIR_SERVER_STORE with FHIR_SERVER_KEK_FILE, while no server has it open.

    It can be stopped, and goes on where it was. It needs as much free space as the store is large.
    """
    settings = settings_given()
    try:
        check_residency(settings)
        keks, path = _keks(), sqlite_path(settings.store)
        if not Path(path).is_file():
            _refused(f"no store at {path}")
        with progress() as bar:
            task = bar.add_task("encrypt", total=None)
            done = encrypt(
                path,
                keks,
                key_store=settings.key_store,
                told=lambda at, of: bar.update(task, completed=at, total=of),
            )
    except ValueError as error:
        _refused(str(error))
    typer.echo(f"encrypted: {done} versions")


@keys.command("rotate")
def rotate() -> None:
    """Wrap every data key by FHIR_SERVER_KEK_FILE, those that FHIR_SERVER_KEK_FILE_BEFORE still wraps.

    No resource is touched, and servers that know both keys go on meanwhile. It can be stopped, and run again.
    """
    _keks()

    async def walk(parts: Services) -> int:
        with progress() as bar:
            task = bar.add_task("rotate", total=None)
            return await parts.store.system().rewrap(lambda done: bar.update(task, completed=done))

    try:
        done = with_services(settings_given(), walk)
    except ValueError as error:
        _refused(str(error))
    typer.echo(f"wrapped anew: {done} data keys")


@keys.command("destroy")
def destroy(
    patient: Annotated[str, typer.Argument(help="The id of the Patient whose record is erased.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a record for good: destroy its data key, and take all that is in it out of the store.

    Nothing brings it back, from no copy of the store: only the access log of it stays, with a line about this.
    """
    _keks()
    patient = patient.removeprefix("Patient/")
    if (
        not yes
        and typer.prompt(f"Nothing brings this record back. Its id again, to erase Patient/{patient}") != patient
    ):
        _refused("nothing was erased")

    async def erase(parts: Services) -> int:
        async with parts.store.snapshot() as snapshot:
            if await snapshot.read("Patient", patient, visible=TRUE) is None:
                return 0
        trace = Trace(interaction="$erase", type="Patient", id=patient, patient=patient)
        line = row(operator("keys destroy"), trace, outcome="", now=parts.clock())
        return await parts.store.system().erase(patient, (line,))

    try:
        done = with_services(settings_given(), erase)
    except ValueError as error:
        _refused(str(error))
    if not done:
        _refused(f"there is no Patient/{patient}")
    typer.echo(f"erased: {done} versions")


def _keks() -> Keks:
    try:
        found = keks_of(settings_given())
    except ValueError as error:
        _refused(str(error))
    if found is None:
        _refused("FHIR_SERVER_KEK_FILE must name the key that encrypts keys")
    return found


def _refused(why: str) -> NoReturn:
    console.print(why, style="red")
    raise typer.Exit(1)
