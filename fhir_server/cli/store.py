"""store …: copy a store while it is served, put a copy in its place, remove content that no document came for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fhir_server.cli.audit import verify
from fhir_server.cli.parts import ended, operator, settings_given, with_services
from fhir_server.consent import seals
from fhir_server.context import Services
from fhir_server.operations.sweep import sweep
from fhir_server.storage import sqlite_path
from fhir_server.storage.sqlite.backup import back_up, put_back

store = typer.Typer(no_args_is_help=True, help="The store: backup, restore, sweep.")


@store.command("backup")
def backup(file: Annotated[Path, typer.Argument(help="A new file.")]) -> None:
    """Write one state of the store to a file, while servers go on. The keys of an encrypted store are not in it."""
    try:
        back_up(sqlite_path(settings_given().store), str(file))
    except (OSError, ValueError) as error:
        _refused(error)


@store.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="A copy that `backup` made.")],
    sealed: Annotated[
        Path | None, typer.Option("--seals", help="Seals of the access log that were kept elsewhere.")
    ] = None,
) -> None:
    """Make the store of a copy, where there is none, and prove its access log; as `audit verify` ends, so does this.

    Records that were erased since the copy was made are taken out again.
    """
    try:
        put_back(str(file), sqlite_path(settings_given().store))
    except (OSError, ValueError) as error:
        _refused(error)
    verify(chain=seals.CHAIN, first=1, sealed=sealed)


@store.command("sweep")
def sweep_() -> None:
    """Remove content that was deposited more than an hour ago and that no document has ever pointed to.

    Servers do so every ten minutes; it may be run while they go on. Each removal has its line in the access log.
    """

    async def walk(parts: Services) -> int:
        return await sweep(parts, parts.store.system(), operator("store sweep"))

    typer.echo(f"removed: {with_services(settings_given(), walk)} Binaries")


def _refused(error: Exception) -> NoReturn:
    said = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
    ended(said, status=2)
