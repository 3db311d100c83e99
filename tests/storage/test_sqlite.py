"""SQLite keeps the storage contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from fhir_server.storage import open_store
from fhir_server.storage.interface import Store
from tests.storage.contract import *  # noqa: F403
from tests.storage.making import Clock


@pytest.fixture
def opened(tmp_path: Path, runner: asyncio.Runner) -> Iterator[Callable[[Clock], Awaitable[Store]]]:
    """Opens the one file of the test."""
    stores: list[Store] = []

    async def open(clock: Clock) -> Store:
        stores.append(open_store(f"sqlite:{tmp_path / 'store.db'}", clock=clock))
        return stores[-1]

    yield open
    for store in stores:
        runner.run(store.close())


@pytest.fixture
def fresh(tmp_path: Path, runner: asyncio.Runner) -> Iterator[Callable[[], Awaitable[Store]]]:
    """Opens a new file each time."""
    stores: list[Store] = []

    async def open() -> Store:
        stores.append(open_store(str(tmp_path / f"fresh{len(stores)}.db"), clock=Clock()))
        return stores[-1]

    yield open
    for store in stores:
        runner.run(store.close())
