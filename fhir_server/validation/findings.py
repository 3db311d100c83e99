"""What a check of one value gives back, and what the checks of one resource share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Finding = tuple[str, str, str]
"""(FHIRPath from the checked value, empty for the value itself; code of http://hl7.org/fhir/issue-type; text)."""

Findings = list[Finding] | None
"""None where all is well: the path a finding needs is only built when there is a finding."""

MAX_FINDINGS: Final = 1000
"""About how many findings of one resource are told; a hostile body cannot make the answer larger than itself."""

MAX_DEPTH: Final = 64
"""How many objects may lie in one another."""


class Scope:
    """What the checks of one resource and of what it contains share.

    `contained` is id → resource type of the contained resources, `fragments` are the references `#…` met so far,
    `inside` tells whether a contained resource is being checked, `depth` how many objects are open.
    """

    __slots__ = ("contained", "depth", "fragments", "inside")

    def __init__(self, contained: dict[str, str], depth: int = 0) -> None:
        self.contained = contained
        self.depth = depth
        self.fragments: set[str] = set()
        self.inside = False


Check = Callable[[Any, Scope], Findings]
"""Checks one JSON value. Never raises, whatever the value."""


def one(code: str, text: str, path: str = "") -> list[Finding]:
    """A single finding."""
    return [(path, code, text)]


def below(segment: str, findings: list[Finding]) -> list[Finding]:
    """The same findings seen from the parent of the value."""
    return [(segment + path, code, text) for path, code, text in findings]
