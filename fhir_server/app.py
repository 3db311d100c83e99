"""The only place where the parts are wired together."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from fhir_server.api.door import FhirDoor, Receive, Scope, Send
from fhir_server.consent.matrix import load_matrix
from fhir_server.consent.narrow import Narrow
from fhir_server.context import Clock, Interaction, Services
from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.ids import RandomIds
from fhir_server.indexing import Index
from fhir_server.operations.registry import OPERATIONS
from fhir_server.search.cursor import Cursors
from fhir_server.settings import Settings
from fhir_server.storage import open_store
from fhir_server.storage.interface import Ledger
from fhir_server.validation.validator import Validator

log = structlog.get_logger()

# Seconds between two looks at the ledger.
_GLANCE: Final = 1.0


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
        index = Index(definitions, store)
        # The first server on a store makes the key of its paging links: that store is new.
        if await store.ledger.put("key", "cursor", os.urandom(32), expires=None, only_new=True):
            await index.begin()
        await index.refresh(clock())
        yield Services(
            settings=settings,
            definitions=definitions,
            index=index,
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
            parts = await self._parts.__aenter__()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        self._door = FhirDoor(parts)
        watch = asyncio.create_task(_watch(parts, self._door))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watch.cancel()
        await self._parts.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})


async def _watch(parts: Services, door: FhirDoor) -> None:
    """Notice what a reindex in another process puts in force, and say when one is needed; and have ready what would
    hold the first who asks for it."""
    if parts.index.outdated:
        log.warning(
            "the index was made with other definitions: some searches are not offered until `fhir-server reindex`"
        )
    while True:
        await asyncio.sleep(_GLANCE)
        try:
            await parts.index.refresh(parts.clock())
            await door.warm()
        except Exception:
            log.exception("what is in force of the index cannot be made ready")


async def _cursor_key(ledger: Ledger, now: int) -> bytes:
    """The key of the paging links, made once and shared by every process on this store."""
    key: Any = await ledger.get("key", "cursor", now=now)
    assert isinstance(key, bytes)
    return key
