"""client …: the programs that may ask for tokens; the same registrations as at /admin/clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from fhir_server.auth import keys
from fhir_server.auth.clients import every, register, remove
from fhir_server.auth.grants import revoke_client
from fhir_server.cli.parts import ended, refused, settings_given, with_services
from fhir_server.context import Services
from fhir_server.errors import Invalid

client = typer.Typer(no_args_is_help=True, help="Registered programs: add, list, remove; new-signing-keys.")


@client.command("add")
def add(
    registration: Annotated[
        Path,
        typer.Argument(
            help="A file of JSON, as at POST /admin/clients; - for stdin.", exists=True, dir_okay=False, allow_dash=True
        ),
    ],
) -> None:
    """Register a program. Prints its registration, with its secret where it has one: the only time it is seen.

    Exits 1, with every fault, when the registration is not one.
    """
    text = typer.get_text_stream("stdin").read() if str(registration) == "-" else registration.read_text("utf-8")
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter("not JSON") from error

    async def keep(parts: Services) -> dict[str, Any]:
        made, secret = await register(parts.store.ledger, parts.passwords, given)
        return made.told() | ({"client_secret": secret} if secret else {})

    try:
        typer.echo(orjson.dumps(with_services(settings_given(), keep), option=orjson.OPT_INDENT_2))
    except Invalid as error:
        refused(error)


@client.command("list")
def list_() -> None:
    """Every registered program, one line of JSON each; never a secret."""

    async def read(parts: Services) -> list[dict[str, Any]]:
        return [each.told() for each in await every(parts.store.ledger)]

    for each in with_services(settings_given(), read):
        typer.echo(orjson.dumps(each))


@client.command("remove")
def remove_(id: Annotated[str, typer.Argument(help="Its client_id.")]) -> None:
    """Forget a program, and end all that it was granted. Exits 1 if it was not known."""

    async def away(parts: Services) -> bool:
        known = await remove(parts.store.ledger, id)
        await revoke_client(parts.store.ledger, id, now=parts.clock())
        return known

    if not with_services(settings_given(), away):
        ended("No program is registered under that id.")


@client.command("new-signing-keys")
def new_signing_keys() -> None:
    """Sign id tokens with new keys from now on; those of the keys before stay good until the next time. Prints the
    new kids."""

    async def renew(parts: Services) -> list[str]:
        return await keys.rotate(parts.store.ledger, now=parts.clock())

    for kid in with_services(settings_given(), renew):
        typer.echo(kid)
