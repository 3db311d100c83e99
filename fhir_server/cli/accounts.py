"""account …: who may log in: patients, representatives, administrators."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fhir_server.api.acts import note_account
from fhir_server.auth.accounts import HOUR, Accounts
from fhir_server.cli.parts import operator, refused, settings_given, with_services
from fhir_server.context import Services
from fhir_server.errors import FhirServerError
from fhir_server.record.holders import holders

account = typer.Typer(no_args_is_help=True, help="Local accounts: add, passwd, enrol, remove.")

_Login = Annotated[str, typer.Argument(help="What the person logs in as.")]


@account.command("add")
def add(
    login: _Login,
    name: Annotated[str, typer.Option(help="As the patient reads it in the access log.")],
    patient: Annotated[str, typer.Option(help="Patient/…: the person's own record.")] = "",
    represents: Annotated[
        list[str] | None, typer.Option(help="Patient/…=RelatedPerson/…: as whom in whose record; once for each.")
    ] = None,
    admin: Annotated[bool, typer.Option("--admin", help="An administrator, who reads no record.")] = False,
    password: Annotated[bool, typer.Option("--password/--no-password", help="Ask for a password.")] = True,
) -> None:
    """Make an account. Without a password its person comes in by FranceConnect, with a code of `account enrol`."""
    if not (patient or represents or admin) or (admin and (patient or represents)):
        raise typer.BadParameter("say whose it is: --patient, --represents, or --admin")
    secret = _asked() if password else ""

    async def keep(parts: Services) -> None:
        actors = await holders(parts, login, name, patient=patient, represents=represents or (), admin=admin)
        made = await Accounts(parts.store.ledger, parts.passwords).add(login, actors, secret)
        await note_account(parts, operator("account add"), "add-account", made)

    _done(keep)


@account.command("passwd")
def passwd(login: _Login) -> None:
    """Give an account another password; its login sessions end."""
    secret = _asked()

    async def change(parts: Services) -> None:
        accounts, now = Accounts(parts.store.ledger, parts.passwords), parts.clock()
        await accounts.set_password(login, secret, now=now)
        await note_account(parts, operator("account passwd"), "change-account", await accounts.get(login, now=now))

    _done(change)


@account.command("enrol")
def enrol(
    login: _Login, hours: Annotated[float, typer.Option(help="How long the code is good.", min=0.1, max=720)] = 24.0
) -> None:
    """Print a code, good once, that binds the FranceConnect identity of whoever gives it to the account."""

    async def make(parts: Services) -> str:
        accounts, now = Accounts(parts.store.ledger, parts.passwords), parts.clock()
        code = await accounts.enrolment_code(login, now=now, ttl=int(hours * HOUR))
        await note_account(parts, operator("account enrol"), "enrol-account", await accounts.get(login, now=now))
        return code

    typer.echo(_done(make))


@account.command("remove")
def remove(login: _Login) -> None:
    """End an account, and its login sessions. Exits 1 if there was none."""

    async def end(parts: Services) -> None:
        accounts, now = Accounts(parts.store.ledger, parts.passwords), parts.clock()
        account = await accounts.get(login, now=now)
        await accounts.remove(login, now=now)
        await note_account(parts, operator("account remove"), "remove-account", account)

    _done(end)


def _done(act: Any) -> Any:
    try:
        return with_services(settings_given(), act)
    except FhirServerError as error:
        refused(error)


def _asked() -> str:
    """From the terminal twice, or one line of standard input."""
    stdin = typer.get_text_stream("stdin")
    if stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return stdin.readline().rstrip("\n")
