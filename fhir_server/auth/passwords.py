"""Secrets that people and clients choose or are given, kept as argon2id: off the event loop, a few at a time.

Parameters: 19 MiB, 2 passes, 1 lane, the least that OWASP's Password Storage page recommends; some 50 ms each. A flood
of logins would otherwise be a flood of memory.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fhir_server.errors import Unavailable

T = TypeVar("T")

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
LONGEST: Final = 1024
"""Characters: what is longer is nobody's password, and is not worth hashing."""


class Passwords:
    """Makes and checks hashes. One object for a server: it is what holds their number down."""

    def __init__(self, *, at_once: int = 2, waiting: int = 64) -> None:
        """`at_once`: how many are computed side by side; `waiting`: how many more may wait for their turn."""
        self._turn = asyncio.Semaphore(at_once)
        self._room = at_once + waiting
        self._inside = 0
        self._decoy = ""

    async def hash(self, secret: str) -> str:
        """The argon2id hash of a secret, in the PHC string format. Raises ValueError when it is too long."""
        if len(secret) > LONGEST:
            raise ValueError(f"a secret has at most {LONGEST} characters")
        return await self._aside(lambda: _HASHER.hash(secret))

    async def verify(self, kept: str, secret: str) -> bool:
        """Whether `secret` is the one that was hashed. An empty `kept` is nobody's: false, in the same time.

        Raises Unavailable when too many are waiting.
        """
        known = kept or await self._nobody()
        fits = await self._aside(lambda: _fits(known, secret[:LONGEST]))
        return fits and bool(kept) and len(secret) <= LONGEST

    async def _nobody(self) -> str:
        if not self._decoy:
            self._decoy = await self.hash(secrets.token_urlsafe(16))
        return self._decoy

    async def _aside(self, work: Callable[[], T]) -> T:
        if self._inside >= self._room:
            raise Unavailable("Too many logins at once.")
        self._inside += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work)
        finally:
            self._inside -= 1


def _fits(kept: str, secret: str) -> bool:
    try:
        return _HASHER.verify(kept, secret)
    except (VerificationError, InvalidHashError):
        return False
