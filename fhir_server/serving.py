"""Run the application on uvicorn."""

from __future__ import annotations

import gc
from socket import socket
from typing import Any

import uvicorn

from fhir_server import logs
from fhir_server.settings import Settings


def config(app: Any, settings: Settings) -> uvicorn.Config:
    """How it is served: no access log (urls hold identities; the audit is the log), no banner, and no header believed
    that says for whom a proxy asks."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=10,
    )


def run(app: Any, settings: Settings) -> None:
    """Serve until interrupted."""
    logs.configure(settings.log_level)
    _Server(config(app, settings)).run()


class _Server(uvicorn.Server):
    """One that has what its start-up made kept out of every collection of garbage."""

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start, lifespan included, then settle."""
        await super().startup(sockets)
        settle()


def settle() -> None:
    """What start-up made stays; large answers make many short-lived objects, and looking at them all again is dear.

    A collection stops every thread: it is of 150,000 new objects at most, or once in ten millions of all."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 2, 100)
