"""What the commands share: the console, the settings of the environment, the parts of a server, a progress bar."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import NoReturn, TypeVar

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fhir_server.app import services
from fhir_server.auth.actor import Actor
from fhir_server.context import Services
from fhir_server.errors import FhirServerError
from fhir_server.settings import Settings

console = Console(stderr=True)
T = TypeVar("T")


def settings_given() -> Settings:
    """The settings of the environment; a command ends with the name of a variable that cannot be read."""
    try:
        return Settings.from_environment(os.environ)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def with_services(settings: Settings, act: Callable[[Services], Awaitable[T]]) -> T:
    """What `act` makes of the parts of a server; a command ends with 2 where they cannot be had: a store that is not
    ours, a key that is another one."""

    async def go() -> T:
        async with AsyncExitStack() as opened:
            try:
                parts = await opened.enter_async_context(services(settings))
            except ValueError as error:
                ended(str(error), status=2)
            return await act(parts)

    # What a command prints is its result; what the parts have to say goes beside it.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    return asyncio.run(go())


def operator(command: str) -> Actor:
    """Whoever has a shell on this machine, as the access log names them."""
    return Actor(
        role="admin", reference="Device/fhir-server", name=f"{getpass.getuser()} (fhir-server {command})", jti=""
    )


def refused(error: FhirServerError) -> NoReturn:
    """End a command with 1 and every reason, by the place that is at fault."""
    ended("\n".join(f"{each.expression}: {each.text}" if each.expression else each.text for each in error.issues))


def ended(why: str, *, status: int = 1) -> NoReturn:
    """End a command, saying why on standard error."""
    console.print(why, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(status)


def progress() -> Progress:
    """A bar of what is done and of the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
