"""The only place where the parts are wired together."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Final

import structlog

from fhir_server.api.door import FhirDoor, Receive, Scope, Send
from fhir_server.api.threshold import Application, Threshold
from fhir_server.auth.limits import Limits
from fhir_server.auth.providers import providers
from fhir_server.consent import seals
from fhir_server.consent.matrix import Matrix, load_matrix
from fhir_server.consent.narrow import Narrow
from fhir_server.context import Clock, Interaction, Services
from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.ids import RandomIds
from fhir_server.indexing import Index
from fhir_server.interactions.capabilities import capabilities
from fhir_server.operations.registry import OPERATIONS
from fhir_server.operations.sweep import sweep
from fhir_server.search.cursor import Cursors
from fhir_server.settings import Settings
from fhir_server.storage.interface import Ledger
from fhir_server.storage.opening import open_kept
from fhir_server.validation.validator import Validator

log = structlog.get_logger()

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

# Seconds between two looks at the ledger.
_GLANCE: Final = 1.0
# Seconds between two looks for content that no document came for.
_SWEEP: Final = 600.0


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
    store = open_kept(settings, clock=clock)
    try:
        index = Index(definitions, store, settings.zone)
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
            narrow=Narrow(_matrix(clock()), settings, clock),
            cursors=Cursors(await _cursor_key(store.ledger, clock())),
            clock=clock,
            ids=RandomIds(),
            limits=Limits(settings, store.ledger, clock),
            capabilities=capabilities,
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
        self._front: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and self._front:
            await self._front(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        parts: Services | None = None
        try:
            parts = await self._parts.__aenter__()
            await _check(parts)
            ring = await seals.keyring(parts.store.ledger, parts.settings.audit_key_file, parts.clock())
        except Exception as error:
            if parts:
                await self._parts.__aexit__(None, None, None)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        door = FhirDoor(parts)
        # Nobody logs in where nobody is asked who they are.
        web = None if parts.open else Web(parts)
        self._front = Threshold(parts, _doors(door, web))
        works = (_watch(parts, door, web), _seal_often(parts, ring), _sweep_often(parts))
        upkeep = [asyncio.create_task(each) for each in works]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in upkeep:
            task.cancel()
        await _seal(parts, ring)
        await self._parts.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})


def _doors(door: FhirDoor, web: Web | None) -> Application:
    """FHIR and health at the one door, all else at the other, where there is one."""
    if web is None:
        return door

    async def doors(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        fhir = path.startswith(("/fhir", "/health/")) and not path.startswith("/fhir/.well-known/")
        await (door if fhir else web)(scope, receive, send)

    return doors


async def _check(parts: Services) -> None:
    """Raise ValueError for what this server must not be started with."""
    providers(parts.settings)
    if parts.settings.demo and parts.settings.host not in LOOPBACK:
        raise ValueError("the demonstration listens on loopback only: unset FHIR_SERVER_HOST")
    if not parts.settings.demo and await parts.store.ledger.get("demo", "cast", now=parts.clock()):
        raise ValueError("this is the store of a demonstration, whose people and secrets are known: fhir-server demo")


class Web:
    """The doors for people, programs and administrators, imported when first wanted: that takes half a second, which
    neither a start nor a first FHIR request is to wait for."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._made: Any = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        await self.warm()
        await self._made(scope, receive, send)

    async def warm(self) -> None:
        """Have it ready."""
        async with self._making:
            if self._made is None:
                await asyncio.to_thread(_import_web)
                self._made = _web(self._parts)


def _import_web() -> None:
    import_module("fhir_server.portal.router")
    import_module("fhir_server.api.web")


def _web(parts: Services) -> Any:
    from fhir_server.api.web import create_web
    from fhir_server.portal.router import portal

    router, grants = portal(parts)
    return create_web(parts, [router], grants=grants)


async def _watch(parts: Services, door: FhirDoor, web: Web | None) -> None:
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
            if web:
                await web.warm()
        except Exception:
            log.exception("what is in force of the index cannot be made ready")
        await _look(parts)


async def _look(parts: Services) -> None:
    """Keep the limits in step with other processes, and notice when the access log is not to be built on."""
    try:
        await parts.limits.reconcile()
        fault = await seals.fault_of_end(parts.store.system(), parts.store.ledger, parts.clock())
    except Exception as error:
        fault = "The store does not answer."
        log.error("upkeep failed", kind=type(error).__name__)
    if fault and fault != parts.health.fault:
        log.error("not ready", why=fault)
    parts.health.fault = fault


async def _seal_often(parts: Services, ring: seals.Keyring) -> None:
    """Seal the end of the access log every few minutes."""
    while minutes := parts.settings.audit_seal_minutes:
        await asyncio.sleep(60 * minutes)
        await _seal(parts, ring)


async def _seal(parts: Services, ring: seals.Keyring) -> None:
    """Seal the end of the access log, unless that is turned off."""
    try:
        if parts.settings.audit_seal_minutes and not parts.open:
            await seals.seal(parts.store.system(), parts.store.ledger, ring, parts.clock())
    except Exception as error:
        log.error("the access log cannot be sealed", kind=type(error).__name__)


async def _sweep_often(parts: Services) -> None:
    """Remove content that no document came for (DOC-11); without authorization nothing has a depositor."""
    while not parts.open:
        await asyncio.sleep(_SWEEP)
        try:
            if removed := await sweep(parts, parts.store.system()):
                log.info("content that no document came for was removed", binaries=removed)
        except Exception as error:
            log.error("upkeep failed", kind=type(error).__name__)


async def _cursor_key(ledger: Ledger, now: int) -> bytes:
    """The key of the paging links, made once and shared by every process on this store."""
    key: Any = await ledger.get("key", "cursor", now=now)
    assert isinstance(key, bytes)
    return key


def _matrix(now: int) -> Matrix:
    """The habilitation matrix in force; that it is not the official table is said at every start."""
    matrix = load_matrix(now)
    say = log.info if matrix.status == "official" else log.warning
    say(f"habilitation matrix: {matrix.status}", matrix=matrix.id, version=matrix.version, effective=matrix.effective)
    return matrix
