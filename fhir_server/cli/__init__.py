"""The command line: serve, demo, import, reindex, account, client, token, audit, keys."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import orjson
import typer

from fhir_server.app import LOOPBACK, create_app
from fhir_server.auth.actor import ROLES, Actor
from fhir_server.auth.scopes import is_scope
from fhir_server.auth.tokens import issue, revoke
from fhir_server.cli.accounts import account
from fhir_server.cli.audit import audit
from fhir_server.cli.clients import client
from fhir_server.cli.demo import demo
from fhir_server.cli.imports import import_
from fhir_server.cli.keys import keys
from fhir_server.cli.parts import console, progress, settings_given, with_services
from fhir_server.cli.store import store
from fhir_server.context import Services
from fhir_server.errors import Conflict
from fhir_server.operations.reindex import Report, reindex
from fhir_server.serving import run

main = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
token = typer.Typer(no_args_is_help=True, help="Access tokens: issue, revoke.")
main.add_typer(token, name="token")
main.add_typer(audit, name="audit")
main.add_typer(account, name="account")
main.command()(demo)
main.command("import")(import_)
main.add_typer(client, name="client")
main.add_typer(keys, name="keys")
main.add_typer(store, name="store")


@main.command()
def serve(
    open: Annotated[bool, typer.Option("--open", help="No authorization at all; loopback only.")] = False,
) -> None:
    """Serve the record of FHIR_SERVER_STORE."""
    settings = settings_given()
    if open:
        if settings.host not in LOOPBACK:
            raise typer.BadParameter("--open listens on loopback only; unset FHIR_SERVER_HOST")
        console.rule("[bold red]OPEN: NO AUTHORIZATION, NO CONSENT, NO AUDIT")
        console.print("Everyone on this machine reads and writes everything. For tests and benchmarks.", style="red")
    if settings.host in ("0.0.0.0", "::") and not settings.base_url:
        console.print(f"Links will say http://{settings.host}: set FHIR_SERVER_BASE_URL.", style="yellow")
    console.print(f"{settings.fhir_base}  ({settings.store})")
    run(create_app(settings, open=open), settings)


@main.command("reindex")
def reindex_(
    again: Annotated[bool, typer.Option("--again", help="Also when nothing has changed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="The report as one line of JSON on standard output.")] = False,
) -> None:
    """Make the index again after a change of definitions, and put the active SearchParameters in force.

    Servers on this store go on meanwhile; it can be stopped, and goes on where it was. Exits 1 when a SearchParameter
    had to be left out, 2 while another reindex is at work.
    """

    async def walk(parts: Services) -> Report | None:
        system = parts.store.system()
        with progress() as bar:
            task = bar.add_task("reindex", total=sum((await system.counts()).values()))
            return await reindex(parts, system, lambda done: bar.update(task, completed=done), again=again)

    try:
        report = with_services(settings_given(), walk)
    except Conflict as error:
        console.print(str(error), style="red")
        raise typer.Exit(2) from error
    refused = report.refused if report else {}
    for url, reason in refused.items():
        console.print(f"{url}: {reason}", style="yellow")
    if json:
        typer.echo(orjson.dumps(asdict(report) if report else {"resources": 0}))
    else:
        typer.echo(str(report) if report else "the index is up to date")
    raise typer.Exit(1 if refused else 0)


@token.command("issue")
def token_issue(
    role: Annotated[str, typer.Option(help=", ".join(each for each in ROLES if each != "open"))],
    reference: Annotated[str, typer.Option(help="Patient/…, RelatedPerson/…, Practitioner/… or Device/…")],
    name: Annotated[str, typer.Option(help="As the patient reads it in the access log.")],
    patient: Annotated[list[str] | None, typer.Option(help="Patient id that the token is bound to.")] = None,
    rpps: Annotated[str, typer.Option(help="Of the professional.")] = "",
    profession: Annotated[str, typer.Option(help="TRE_G15 code, 10 for a médecin.")] = "",
    structure: Annotated[str, typer.Option(help="FINESS number of the exercice.")] = "",
    role_reference: Annotated[list[str] | None, typer.Option(help="PractitionerRole/… or Organization/… held.")] = None,
    client: Annotated[str, typer.Option(help="The calling software.")] = "",
    country: Annotated[str, typer.Option(help="Of an EU gateway, ISO 3166.")] = "",
    authoriser: Annotated[str, typer.Option(help="For an app: the Patient/… or RelatedPerson/… who let it in.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="SMART scope; none: all that the role may do.")] = None,
    hours: Annotated[float, typer.Option(help="How long it lives.")] = 1.0,
) -> None:
    """Print a new access token. It is stored hashed: this is the only time it is seen."""
    patients = tuple(each.removeprefix("Patient/") for each in patient or ())
    _check_token(role, patients, rpps, profession, authoriser, hours)
    if not all(map(is_scope, scope or ())):
        raise typer.BadParameter("not a scope of this server", param_hint="--scope")
    named = {"rpps": rpps, "org": structure, "client": client, "country": country}
    keys = {f"{kind}:{value}" for kind, value in named.items() if value} | {reference, *(role_reference or ())}
    actor = Actor(
        role=role,
        reference=reference,
        name=name,
        jti="",
        keys=frozenset(keys),
        patients=patients,
        authoriser={"Patient": "patient", "RelatedPerson": "rep"}.get(authoriser.partition("/")[0], ""),
        authoriser_key=authoriser,
        profession=profession,
        structure=structure,
        client=client,
        country=country,
        scopes=tuple(scope or ()),
    )

    async def give(parts: Services) -> str:
        return await issue(parts.store.ledger, actor, ttl=int(hours * 3_600_000_000), now=parts.clock())

    typer.echo(with_services(settings_given(), give))


@token.command("revoke")
def token_revoke(value: Annotated[str, typer.Argument(help="The token; - reads it from standard input.")]) -> None:
    """End a token now, on every process. Exits 1 if it was not alive."""
    secret = typer.get_text_stream("stdin").readline().strip() if value == "-" else value

    async def end(parts: Services) -> bool:
        return await revoke(parts.store.ledger, secret)

    raise typer.Exit(0 if with_services(settings_given(), end) else 1)


def _check_token(
    role: str, patients: tuple[str, ...], rpps: str, profession: str, authoriser: str, hours: float
) -> None:
    """Refuse what would be a token that opens nothing."""
    if role not in ROLES or role == "open":
        raise typer.BadParameter(f"one of {', '.join(each for each in ROLES if each != 'open')}", param_hint="--role")
    if role in ("patient", "rep", "app") and not patients:
        raise typer.BadParameter("say whose record it opens", param_hint="--patient")
    if role == "app" and not authoriser:
        raise typer.BadParameter("say who let the application in", param_hint="--authoriser")
    if role == "lgc" and rpps:
        raise typer.BadParameter(
            "software acting for a professional has the role ps, and --client", param_hint="--role"
        )
    if role == "ps" and not (rpps and profession):
        raise typer.BadParameter("a professional has --rpps and --profession", param_hint="--rpps")
    if hours <= 0:
        raise typer.BadParameter("must be positive", param_hint="--hours")
