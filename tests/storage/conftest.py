"""Lets a storage test be an `async def`, and stand on the same event loop as the store it is given."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator

import pytest

for part in ("agreement", *(f"contract_{each}" for each in ("changes", "commit", "hops", "log", "reading", "search"))):
    pytest.register_assert_rewrite(f"tests.storage.{part}")


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """The event loop of one test and of what its fixtures open."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine on that loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    runner: asyncio.Runner = pyfuncitem.funcargs["runner"]
    runner.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
