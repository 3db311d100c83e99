"""The only place where the parts are wired together."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fhir_server.api.door import FhirDoor, Receive, Scope, Send
from fhir_server.consent.matrix import load_matrix
from fhir_server.consent.narrow import Narrow
from fhir_server.context import Clock, Interaction, Services
from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.ids import RandomIds
from fhir_server.operations.registry import OPERATIONS
from fhir_server.search.cursor import Cursors
from fhir_server.search.registry import SearchRegistry, project_parameters
from fhir_server.settings import Settings
from fhir_server.storage import open_store
from fhir_server.storage.interface import Ledger
from fhir_server.validation.validator import Validator


def system_clock() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


@asynccontextmanager
async def services(
    settings: Settings,
    *,
    open: bool = False,
    clock: Clock = system_clock,
    operations: Mapping[str, Interaction] = OPERATIONS,
) -> AsyncIterator[Services]:
    """The parts of a running server, for as long as the block lasts. `open`: no authorization, consent or audit."""
    definitions = load_definitions()
    store = open_store(settings.store, clock=clock)
    try:
        yield Services(
            settings=settings,
            definitions=definitions,
            registry=SearchRegistry(definitions, project_parameters()),
            validator=Validator(definitions),
            store=store,
            narrow=Narrow(load_matrix(clock()), settings, clock),
            cursors=Cursors(await _cursor_key(store.ledger, clock())),
            clock=clock,
            ids=RandomIds(),
            operations=operations,
            open=open,
        )
    finally:
        await store.close()


def create_app(settings: Settings, *, open: bool = False, clock: Clock = system_clock) -> App:
    """The ASGI application; its lifespan opens and closes the store."""
    return App(settings, open, clock)


class App:
    """Lifespan and HTTP of one server."""

    def __init__(self, settings: Settings, open: bool, clock: Clock) -> None:
        self._parts = services(settings, open=open, clock=clock)
        self._door: FhirDoor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and self._door:
            await self._door(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._door = FhirDoor(await self._parts.__aenter__())
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._parts.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})


async def _cursor_key(ledger: Ledger, now: int) -> bytes:
    """The key of the paging links, made once and shared by every process on this store."""
    await ledger.put("key", "cursor", os.urandom(32), expires=None, only_new=True)
    key: Any = await ledger.get("key", "cursor", now=now)
    assert isinstance(key, bytes)
    return key
