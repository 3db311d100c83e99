"""The command line: serve, demo, import, reindex, token, audit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fhir_server.app import create_app, services
from fhir_server.auth.actor import ROLES, Actor
from fhir_server.auth.scopes import resource_scopes
from fhir_server.auth.tokens import issue, revoke
from fhir_server.consent.audit import verify
from fhir_server.context import Services
from fhir_server.demo.build import build, credentials
from fhir_server.errors import Conflict, FhirServerError
from fhir_server.operations.reindex import Report, reindex
from fhir_server.record.migration import Outcome, documents_in, import_one
from fhir_server.serving import run
from fhir_server.settings import Settings

main = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
token = typer.Typer(no_args_is_help=True, help="Access tokens: issue, revoke.")
audit = typer.Typer(no_args_is_help=True, help="The access log: verify.")
main.add_typer(token, name="token")
main.add_typer(audit, name="audit")
console = Console(stderr=True)

LOOPBACK = ("127.0.0.1", "::1", "localhost")
T = TypeVar("T")


@main.command()
def serve(
    open: Annotated[bool, typer.Option("--open", help="No authorization at all; loopback only.")] = False,
) -> None:
    """Serve the record of FHIR_SERVER_STORE."""
    settings = _settings()
    if open:
        if settings.host not in LOOPBACK:
            raise typer.BadParameter("--open listens on loopback only; unset FHIR_SERVER_HOST")
        console.rule("[bold red]OPEN: NO AUTHORIZATION, NO CONSENT, NO AUDIT")
        console.print("Everyone on this machine reads and writes everything. For tests and benchmarks.", style="red")
    if settings.host in ("0.0.0.0", "::") and not settings.base_url:
        console.print(f"Links will say http://{settings.host}: set FHIR_SERVER_BASE_URL.", style="yellow")
    console.print(f"{settings.fhir_base}  ({settings.store})")
    run(create_app(settings, open=open), settings)


@main.command()
def demo(folder: Annotated[Path, typer.Option(help="Where the demonstration lives.")] = Path(".demo")) -> None:
    """Serve a small synthetic family, with tokens of one day for everyone in it."""
    settings = _settings()
    if settings.host not in LOOPBACK:
        raise typer.BadParameter("the demonstration listens on loopback only; unset FHIR_SERVER_HOST")
    folder.mkdir(parents=True, exist_ok=True)
    settings = replace(settings, store=f"sqlite:{folder / 'record.db'}")

    async def fill(parts: Services) -> dict[str, dict[str, str]]:
        return await credentials(parts, await build(parts))

    given = _with_services(settings, fill)
    _keep_private(folder / "credentials.json", orjson.dumps({"base": settings.fhir_base, "actors": given}))
    _introduce(settings.fhir_base, folder / "credentials.json", given)
    run(create_app(settings), settings)


@main.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="CDA files, or folders of them.")],
    create_patient: Annotated[bool, typer.Option(help="Create the patients that the record does not know.")] = True,
    mode: Annotated[
        str, typer.Option(help="strict, or migration: takes versions whose predecessor is missing.")
    ] = "strict",
    dry_run: Annotated[bool, typer.Option(help="Do everything but keep the result.")] = False,
) -> None:
    """Import legacy documents into the record of FHIR_SERVER_STORE. Exits 1 if one was refused."""
    if mode not in ("strict", "migration"):
        raise typer.BadParameter("strict or migration", param_hint="--mode")
    files = documents_in(paths)

    async def everything(parts: Services) -> list[Outcome]:
        with _progress() as progress:
            task = progress.add_task("import", total=len(files))
            outcomes = []
            for path in files:
                outcomes.append(
                    await import_one(parts, path, create_patient=create_patient, mode=mode, dry_run=dry_run)
                )
                progress.advance(task)
        return outcomes

    outcomes = _with_services(_settings(), everything)
    for each in outcomes:
        if each.refused:
            console.print(f"{each.path.name}: {each.status} {' '.join(each.codes)}", style="yellow")
    counts = {
        status: sum(each.status == status for each in outcomes) for status in sorted({o.status for o in outcomes})
    }
    console.print("  ".join(f"{count} {status}" for status, count in counts.items()))
    raise typer.Exit(1 if any(each.refused for each in outcomes) else 0)


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
        with _progress() as progress:
            task = progress.add_task("reindex", total=sum((await system.counts()).values()))
            return await reindex(parts, system, lambda done: progress.update(task, completed=done), again=again)

    try:
        report = _with_services(_settings(), walk)
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
    try:
        resource_scopes(scope or ())
    except FhirServerError as error:
        raise typer.BadParameter(str(error), param_hint="--scope") from error
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

    typer.echo(_with_services(_settings(), give))


@token.command("revoke")
def token_revoke(value: Annotated[str, typer.Argument(help="The token; - reads it from standard input.")]) -> None:
    """End a token now, on every process. Exits 1 if it was not alive."""
    secret = typer.get_text_stream("stdin").readline().strip() if value == "-" else value

    async def end(parts: Services) -> bool:
        return await revoke(parts.store.ledger, secret)

    raise typer.Exit(0 if _with_services(_settings(), end) else 1)


@audit.command("verify")
def audit_verify() -> None:
    """Walk the hash chain of the access log. Exits 1 at the first row that does not fit, 2 without a log to read."""
    settings = _settings()
    path = Path(settings.store.removeprefix("sqlite:"))
    if not path.is_file():
        console.print(f"no store at {path}", style="red")
        raise typer.Exit(2)

    async def walk(parts: Services) -> tuple[bool, str]:
        verdict = await verify(parts.store.system())
        return verdict.intact, str(verdict)

    try:
        intact, text = _with_services(settings, walk)
    except Exception as error:
        # Whatever makes the log unreadable is not for this command to tell apart: it proves nothing, and says so.
        console.print(f"the access log cannot be read: {type(error).__name__}", style="red")
        raise typer.Exit(2) from error
    typer.echo(text)
    raise typer.Exit(0 if intact else 1)


def _check_token(
    role: str, patients: tuple[str, ...], rpps: str, profession: str, authoriser: str, hours: float
) -> None:
    """Refuse what would be a token that opens nothing."""
    if role not in ROLES or role == "open":
        raise typer.BadParameter("unknown role", param_hint="--role")
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


def _settings() -> Settings:
    try:
        return Settings.from_environment(os.environ)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _with_services(settings: Settings, act: Callable[[Services], Awaitable[T]]) -> T:
    async def go() -> T:
        async with services(settings) as parts:
            return await act(parts)

    return asyncio.run(go())


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _keep_private(path: Path, content: bytes) -> None:
    """Tokens are readable by their owner only, from the first byte on."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _introduce(base: str, path: Path, given: dict[str, dict[str, str]]) -> None:
    patient, doctor = given["patient"], given["care_team"]["token"]
    typer.echo(f"\n  {base}  (metadata: {base}/metadata)\n")
    for name, each in given.items():
        typer.echo(f"  {name:17} {each['token']}")
    typer.echo(f"\n  Tokens live one day and are kept in {path}. Try:\n")
    for secret, url in (
        (doctor, f"DocumentReference?patient={patient['reference']}"),
        (patient["token"], patient["reference"]),
        (patient["token"], f"AuditEvent?patient={patient['reference']}"),
    ):
        typer.echo(f"  curl -H 'Authorization: Bearer {secret}' '{base}/{url}'")
    typer.echo("")
