"""How much one document may cost before it is refused with 413."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from importers.issues import over_limit

MB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps on one document.

    `xml_bytes` as received; `depth` of nesting, the root being 1; `elements` in all; `attributes` of one element;
    `all_attributes` of the document, which together with `elements` bounds the memory of a parse to about 200 MB;
    `attachment_bytes` of one decoded attachment, `all_attachment_bytes` of those in a body; `seconds` spent on the
    document. Of an archive or a message of several parts: `zip_bytes` as received, `zip_members` in it,
    `zip_inflated_bytes` in all and `zip_ratio` of one member, both counted while it is inflated.
    """

    xml_bytes: int = 20 * MB
    depth: int = 64
    elements: int = 500_000
    attributes: int = 64
    all_attributes: int = 500_000
    attachment_bytes: int = 10 * MB
    all_attachment_bytes: int = 20 * MB
    seconds: float = 10.0
    zip_bytes: int = 50 * MB
    zip_members: int = 100
    zip_inflated_bytes: int = 200 * MB
    zip_ratio: int = 100

    def hold(self, cap: str, amount: float) -> None:
        """Raise TooLarge, naming the cap, if the amount exceeds it."""
        maximum = getattr(self, cap)
        if amount > maximum:
            raise over_limit(cap, maximum)


class Stopwatch:
    """The time spent on one document, held under `Limits.seconds`."""

    __slots__ = ("_limits", "_spent", "_started")

    def __init__(self, limits: Limits, spent: float = 0.0) -> None:
        """Start now, `spent` seconds having gone before."""
        self._limits, self._spent, self._started = limits, spent, time.perf_counter()

    def check(self) -> float:
        """The seconds spent so far; TooLarge once they are more than the document may take."""
        seconds = self._spent + time.perf_counter() - self._started
        self._limits.hold("seconds", seconds)
        return seconds
