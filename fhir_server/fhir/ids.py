"""Ids that the server gives: random (UUID 4), so that they tell nothing of what else is stored."""

from __future__ import annotations

import os
from typing import Final

_AT_ONCE: Final = 256


class RandomIds:
    """Gives a new id at each call; drawn from the system many at a time, since a system call each is dear."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def __call__(self) -> str:
        """A UUID 4 as text (RFC 9562 §5.4)."""
        if not self._ready:
            drawn = os.urandom(16 * _AT_ONCE).hex()
            self._ready = [_uuid4(drawn[start : start + 32]) for start in range(0, len(drawn), 32)]
        return self._ready.pop()


def _uuid4(drawn: str) -> str:
    variant = "89ab"[int(drawn[16], 16) & 3]
    return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{variant}{drawn[17:20]}-{drawn[20:]}"
