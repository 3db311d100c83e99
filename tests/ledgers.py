"""A real ledger, in a file of the test's own, with a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fhir_server.storage import open_store
from fhir_server.storage.interface import Ledger

SECOND = 1_000_000


@dataclass
class Time:
    """Now, in microseconds since 1970 UTC."""

    now: int = 1_800_000_000_000_000

    def passes(self, seconds: float) -> None:
        """Turn it."""
        self.now += int(seconds * SECOND)


def with_ledger(folder: Path, story: Callable[[Ledger, Time], Awaitable[None]]) -> None:
    """Run a story that needs one."""

    async def go() -> None:
        time = Time()
        store = open_store(str(folder / "ledger.db"), clock=lambda: time.now)
        try:
            await story(store.ledger, time)
        finally:
            await store.close()

    asyncio.run(go())
