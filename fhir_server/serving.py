"""Run the application on uvicorn."""

from __future__ import annotations

import gc
import logging
from typing import Any

import structlog
import uvicorn

from fhir_server.settings import Settings


def config(app: Any, settings: Settings) -> uvicorn.Config:
    """How it is served: no access log (urls hold identities; the audit is the log), no banner, and no header believed
    that says for whom a proxy asks."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=10,
    )


def run(app: Any, settings: Settings) -> None:
    """Serve until interrupted."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    logging.getLogger().setLevel(level)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    # What start-up made stays; large answers make many short-lived objects, and looking at them all again is dear.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    uvicorn.Server(config(app, settings)).run()
