"""What every store keeps to (fhir_server/storage/interface.py), as tests that a backend's own module imports.

`from tests.storage.contract import *` in a module with two fixtures: `opened`, an async function `(clock) -> Store`
that opens one and the same place each time, empty at first; and `fresh`, an async function `() -> Store` that opens a
new empty place each time. Both close what they opened when the test is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fhir_server.storage.interface import Store
from tests.storage.agreement import *  # noqa: F403
from tests.storage.contract_changes import *  # noqa: F403
from tests.storage.contract_commit import *  # noqa: F403
from tests.storage.contract_hops import *  # noqa: F403
from tests.storage.contract_log import *  # noqa: F403
from tests.storage.contract_reading import *  # noqa: F403
from tests.storage.contract_search import *  # noqa: F403
from tests.storage.making import Clock


@pytest.fixture
def clock() -> Clock:
    """The clock of the store under test."""
    return Clock()


@pytest.fixture
def store(opened: Callable[[Clock], Awaitable[Store]], clock: Clock, runner: asyncio.Runner) -> Store:
    """An empty store."""
    return runner.run(opened(clock))
