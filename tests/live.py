"""A real server on a real port with a store of its own, for the length of a block."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn

from fhir_server.app import create_app
from fhir_server.serving import config
from fhir_server.settings import Settings

UNLIMITED = dict.fromkeys(("rate_subject", "rate_client", "rate_address", "rate_lookup", "new_patients"), 0)
"""A few callers of a test ask as much as thousands would: the settings that let them."""

ENVIRONMENT = {f"FHIR_SERVER_{name.upper()}": str(value) for name, value in UNLIMITED.items()}
"""The same for a server in a process of its own."""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(folder: Path, *, open: bool = False, **settings: Any) -> Iterator[Settings]:
    """The settings of a server that answers; it is stopped, and its store closed, at the end of the block."""
    chosen = replace(
        Settings(store=f"sqlite:{folder / 'record.db'}", port=free_port(), demo=True), **UNLIMITED | settings
    )
    server = uvicorn.Server(config(create_app(chosen, open=open), chosen))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            thread.join(0.005)
        yield chosen
    finally:
        server.should_exit = True
        thread.join(15)
