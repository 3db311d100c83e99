"""Wrong secrets slow down whoever tries them: each failure after the third doubles the wait, to a quarter of an hour.

Never permanent (spec access §9), the same for names that nobody has, and one attempt at a time: a hundred guesses at
once are a hundred guesses one after the other. Counted in the ledger, so for every process on the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Final

import orjson

from fhir_server.errors import TooManyRequests
from fhir_server.storage.interface import Ledger

FREE: Final = 3
LONGEST: Final = 900_000_000
"""Microseconds of the longest wait."""

_SECOND: Final = 1_000_000
_REMEMBERED: Final = 86_400_000_000
_LOOKS, _PAUSE = 40, 0.05


class Attempt:
    """One try; it has failed unless it is told otherwise."""

    succeeded = False


class Delayed(TooManyRequests):
    """Too many failures; wait before the next try."""


@asynccontextmanager
async def attempt(ledger: Ledger, name: str, *, now: int) -> AsyncIterator[Attempt]:
    """One try under that name; set `succeeded` on what is given. Raises Delayed, before it, while the wait lasts."""
    key = sha256(name.encode()).hexdigest()
    async with _alone(ledger, key, now):
        failures = await _failures(ledger, key, now)
        tried = Attempt()
        yield tried
        if tried.succeeded:
            await ledger.delete("failures", key)
        else:
            kept = orjson.dumps([failures + 1, now + wait(failures + 1)])
            await ledger.put("failures", key, kept, expires=now + _REMEMBERED)


async def failed(ledger: Ledger, name: str, *, now: int) -> bool:
    """Whether the last try under that name has failed."""
    return await ledger.get("failures", sha256(name.encode()).hexdigest(), now=now) is not None


def wait(failures: int) -> int:
    """Microseconds to wait after so many failures in a row."""
    return 0 if failures < FREE else min(LONGEST, _SECOND << min(failures - FREE, 30))


async def _failures(ledger: Ledger, key: str, now: int) -> int:
    kept = await ledger.get("failures", key, now=now)
    failures, until = orjson.loads(kept) if kept else (0, 0)
    if now < until:
        raise Delayed(seconds=-((now - until) // _SECOND))
    return int(failures)


@asynccontextmanager
async def _alone(ledger: Ledger, key: str, now: int) -> AsyncIterator[None]:
    for _ in range(_LOOKS):
        if await ledger.put("attempt", key, b"", expires=now + 30 * _SECOND, only_new=True):
            break
        await asyncio.sleep(_PAUSE)
    else:
        raise Delayed(seconds=1)
    try:
        yield
    finally:
        await ledger.delete("attempt", key)
