"""audit …: prove the access log, seal it, hand its seals out, and let old rows go."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from fhir_server.cli.parts import console, settings_given, with_services
from fhir_server.consent import seals
from fhir_server.consent.audit_chain import Verdict
from fhir_server.context import Services

audit = typer.Typer(no_args_is_help=True, help="The access log: verify, seals, prune, new-key.")
T = TypeVar("T")


@audit.command("verify")
def verify(
    chain: Annotated[str, typer.Option(help="The id of the chain; a store of one file has one.")] = seals.CHAIN,
    first: Annotated[int, typer.Option("--from", min=1, help="Begin with this row.")] = 1,
    sealed: Annotated[
        Path | None, typer.Option("--seals", help="Seals that were exported, and kept elsewhere.")
    ] = None,
) -> None:
    """Walk the hash chain of the access log, and hold it against its seals.

    Exits 0 when it is intact; 1 when it is not, with the first bad row and what befell it: altered, missing, reordered,
    truncated, bad-seal; 2 without a log that can be read.
    """
    if chain != seals.CHAIN:
        _unreadable(f"this store has the chain {seals.CHAIN!r} only")

    async def walk(parts: Services) -> Verdict:
        ledger, now = parts.store.ledger, parts.clock()
        ring = await seals.keyring(ledger, parts.settings.audit_key_file, now)
        if sealed is None:
            known, kept = dict(ring.known), await seals.seals(ledger, now)
        else:
            known, kept = seals.imported(sealed.read_bytes())
            known = {**ring.known, **known}
        return await seals.verified(parts.store.system(), ledger, known, kept, now, first=first)

    verdict = _with_log(walk)
    typer.echo(str(verdict))
    raise typer.Exit(0 if verdict.intact else 1)


@audit.command("seals")
def export(
    out: Annotated[Path | None, typer.Option(help="A file, to be kept where this server cannot write.")] = None,
    now_too: Annotated[bool, typer.Option("--now", help="Seal the end of the log first.")] = False,
) -> None:
    """Give out all seals, with the public keys that they are checked by."""

    async def give(parts: Services) -> bytes:
        ledger, now = parts.store.ledger, parts.clock()
        ring = await seals.keyring(ledger, parts.settings.audit_key_file, now)
        if now_too:
            await seals.seal(parts.store.system(), ledger, ring, now)
        return seals.exported(ring, await seals.seals(ledger, now))

    told = _with_log(give)
    if out is None:
        typer.echo(told)
        return
    with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(told)


@audit.command("prune")
def prune(
    until: Annotated[int, typer.Option("--until-seal", min=1, help="The row of a seal; it goes, and all before it.")],
) -> None:
    """Let the rows up to a seal go. The log has to be whole; it begins after that row from now on, which is signed.

    Exits 1, and nothing is pruned, when the log is broken; 2 when there is no such seal.
    """

    async def drop(parts: Services) -> Verdict:
        ledger, now = parts.store.ledger, parts.clock()
        ring = await seals.keyring(ledger, parts.settings.audit_key_file, now)
        return await seals.prune(parts.store.system(), ledger, ring, until, now)

    verdict = _with_log(drop)
    typer.echo(f"pruned to row {until}" if verdict.intact else str(verdict))
    raise typer.Exit(0 if verdict.intact else 1)


@audit.command("new-key")
def new_key() -> None:
    """Sign with a new key from now on, and print its name. What older ones have signed still holds.

    With FHIR_SERVER_AUDIT_KEY_FILE the file is written anew (mode 0600), or made; servers read it when they start.
    """

    async def change(parts: Services) -> str:
        ring = await seals.rotate(parts.store.ledger, parts.settings.audit_key_file, parts.clock())
        return seals.kid_of(ring.signing.public_key())

    typer.echo(_with_log(change))


def _with_log(act: Callable[[Services], Awaitable[T]]) -> T:
    """What `act` makes of the log; ends with 2 when there is none that can be read."""
    settings = settings_given()
    path = Path(settings.store.removeprefix("sqlite:"))
    if not path.is_file():
        _unreadable(f"no store at {path}")
    try:
        return with_services(settings, act)
    except typer.Exit:
        raise
    except seals.Unsealed as error:
        _unreadable(str(error))
    except Exception as error:
        # Whatever makes the log unreadable is not for a command to tell apart: it proves nothing, and says so.
        _unreadable(f"the access log cannot be read: {type(error).__name__}")


def _unreadable(why: str) -> NoReturn:
    console.print(why, style="red")
    raise typer.Exit(2)
