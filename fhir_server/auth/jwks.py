"""The keys that clients keep at an address of their own, fetched sparingly (access §1, A18).

What `Cache-Control` lets be kept is kept, a day at the most. A kid that is not there, or an address that does not
answer, is not asked for again within a minute, and no address more than ten times a minute, whatever is asked.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson
import structlog

from fhir_server.auth.outbound import Outbound

log = structlog.get_logger()

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
_LONGEST: Final = 86_400
_USUAL: Final = 300
"""Seconds that keys are kept where the answer says nothing about it."""
_BUDGET: Final = 10
_MAX_AGE: Final = re.compile(r"max-age=\"?(\d{1,9})", re.ASCII)


@dataclass(slots=True)
class _Known:
    """What one address last gave. `until`: how long it may be kept; `fetched`: the times of the last fetches."""

    keys: tuple[Any, ...] = ()
    until: int = 0
    fetched: deque[int] = field(default_factory=lambda: deque(maxlen=_BUDGET))
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def fresh(self, kid: str, now: int) -> bool:
        """Whether what is known answers for that kid: it has it, or was asked for too lately to ask again."""
        there = any(isinstance(key, dict) and key.get("kid") == kid for key in self.keys)
        lately = bool(self.fetched) and now - self.fetched[-1] < _MINUTE
        return now < self.until if there else lately

    def spent(self, now: int) -> bool:
        """Whether this address has been asked as often as it may be."""
        return len(self.fetched) == _BUDGET and now - self.fetched[0] < _MINUTE


class ClientKeys:
    """The keys behind registered addresses, as far as they are known here. One object for a server."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._known: dict[str, _Known] = {}

    async def at(self, url: str, kid: str, *, now: int) -> tuple[Any, ...]:
        """The keys at a registered address; none where it does not answer, or not with keys. `kid`: the wanted one."""
        known = self._known.setdefault(url, _Known())
        async with known.turn:
            # Once the budget is spent, what is known is less than a minute old: whoever spends it shuts nobody out.
            if not known.fresh(kid, now) and not known.spent(now):
                known.fetched.append(now)
                known.keys, seconds = await self._fetched(url)
                known.until = now + seconds * _SECOND
            return known.keys

    async def _fetched(self, url: str) -> tuple[tuple[Any, ...], int]:
        """The keys there, and for how many seconds they hold."""
        try:
            answer = await self._outbound.call("GET", url, headers={"Accept": "application/json"})
            if answer.status_code != 200:
                raise ValueError("no keys")
            keys = orjson.loads(answer.content)["keys"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            log.warning("keys of a client", host=httpx.URL(url).host, fault=type(error).__name__)
            return (), 0
        return tuple(keys) if isinstance(keys, list) else (), _kept(answer.headers.get("cache-control", ""))


def _kept(cache_control: str) -> int:
    """Seconds, by the answer's Cache-Control (RFC 9111 §5.2.2)."""
    said = cache_control.lower()
    if "no-store" in said or "no-cache" in said:
        return 0
    found = _MAX_AGE.search(said)
    return min(int(found[1]), _LONGEST) if found else _USUAL
