"""SQLite keeps the storage contract when what it keeps is encrypted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from fhir_server.storage import open_store
from fhir_server.storage.cipher import Keks, LocalKek
from fhir_server.storage.interface import Store
from tests.storage.contract import *  # noqa: F403
from tests.storage.making import Clock

KEKS = Keks(LocalKek("1f" * 32))


@pytest.fixture
def opened(tmp_path: Path, runner: asyncio.Runner) -> Iterator[Callable[[Clock], Awaitable[Store]]]:
    """Opens the one file of the test."""
    stores: list[Store] = []

    async def open(clock: Clock) -> Store:
        stores.append(open_store(f"sqlite:{tmp_path / 'store.db'}", clock=clock, keks=KEKS))
        return stores[-1]

    yield open
    for store in stores:
        runner.run(store.close())


@pytest.fixture
def fresh(tmp_path: Path, runner: asyncio.Runner) -> Iterator[Callable[[], Awaitable[Store]]]:
    """Opens a new file each time."""
    stores: list[Store] = []

    async def open() -> Store:
        stores.append(open_store(str(tmp_path / f"fresh{len(stores)}.db"), clock=Clock(), keks=KEKS))
        return stores[-1]

    yield open
    for store in stores:
        runner.run(store.close())


@pytest.fixture
def examples() -> int:
    """That SQL and memory agree is the same in clear text; here it is shown that nothing is lost on the way."""
    return 25
