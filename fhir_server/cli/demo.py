"""demo: a small synthetic family to look at, with the secrets of everyone in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from fhir_server.app import LOOPBACK, create_app
from fhir_server.cli.parts import settings_given, with_services
from fhir_server.context import Services
from fhir_server.demo.build import build, credentials
from fhir_server.demo.people import people
from fhir_server.serving import run

_FILE: Final = "credentials.json"


def demo(folder: Annotated[Path, typer.Option(help="Where the demonstration lives.")] = Path(".demo")) -> None:
    """Serve a small synthetic family: people who log in, programs that are let in, tokens of one day for everyone."""
    settings = settings_given()
    if settings.host not in LOOPBACK:
        raise typer.BadParameter("the demonstration listens on loopback only; unset FHIR_SERVER_HOST")
    folder.mkdir(parents=True, exist_ok=True)
    settings = replace(settings, store=f"sqlite:{folder / 'record.db'}", demo=True)
    before = _kept(folder / _FILE)

    async def fill(parts: Services) -> dict[str, Any]:
        cast = await build(parts)
        return {"actors": await credentials(parts, cast), **await people(parts, cast, before)}

    given = {"base": settings.fhir_base, "login": f"{settings.web_base}/login", **with_services(settings, fill)}
    _keep_private(folder / _FILE, orjson.dumps(given, option=orjson.OPT_INDENT_2))
    _introduce(folder / _FILE, given)
    run(create_app(settings), settings)


def _kept(path: Path) -> Mapping[str, Any]:
    """The secrets of the start before."""
    try:
        read = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return read if isinstance(read, dict) else {}


def _keep_private(path: Path, content: bytes) -> None:
    """Readable by their owner only, from the first byte on."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)


def _introduce(path: Path, given: Mapping[str, Any]) -> None:
    base, actors = given["base"], given["actors"]
    patient, doctor = actors["patient"], actors["care_team"]["token"]
    typer.echo(f"\n  {base}  (metadata: {base}/metadata)\n")
    for name, each in actors.items():
        typer.echo(f"  {name:22} {each['token']}")
    typer.echo(f"\n  Tokens live one day and are kept in {path}. Log in at {given['login']} with:\n")
    for login, password in given["accounts"].items():
        typer.echo(f"  {login:22} {password}")
    typer.echo("\n  Try:\n")
    for secret, url in (
        (doctor, f"DocumentReference?status=current&patient={patient['reference']}"),
        (patient["token"], patient["reference"]),
        (patient["token"], f"AuditEvent?patient={patient['reference']}"),
    ):
        typer.echo(f"  curl -H 'Authorization: Bearer {secret}' '{base}/{url}'")
    typer.echo("")
