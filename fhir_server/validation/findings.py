"""What a check of one value gives back, and what the checks of one resource share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fhir_server.fhir.path import Budget

Finding = tuple[str, str, str, str]
"""(FHIRPath from the checked value, empty for the value itself; code of http://hl7.org/fhir/issue-type; text; severity,
error or warning)."""

Findings = list[Finding] | None
"""None where all is well: the path a finding needs is only built when there is a finding."""

MAX_FINDINGS: Final = 1000
"""About how many findings of one resource are told; a hostile body cannot make the answer larger than itself."""

MAX_DEPTH: Final = 64
"""How many objects may lie in one another."""

MAX_WORK: Final = 400_000
"""How many nodes the invariants of one body may visit that are left to FHIRPath: a second. A record of 150 resources
visits some thousands."""


class Scope:
    """What the checks of one resource and of what it contains share.

    `contained` is id → resource type of the contained resources, `fragments` are the references `#…` met so far,
    `inside` tells whether a contained resource is being checked, `depth` how many objects are open. `resource` is the
    resource being checked, `root` the one that contains it, if any does. `warnings` tells whether to look for what is
    no error, `budget` how much FHIRPath may still cost.
    """

    __slots__ = ("budget", "contained", "depth", "fragments", "inside", "resource", "root", "warnings")

    def __init__(self, contained: dict[str, str], *, warnings: bool = False) -> None:
        self.contained = contained
        self.depth = 0
        self.fragments: set[str] = set()
        self.inside = False
        self.resource: Any = None
        self.root: Any = None
        self.warnings = warnings
        self.budget = Budget(MAX_WORK)

    def of(self, resource: Any, contained: dict[str, str]) -> Scope:
        """The scope of a resource that stands for itself inside of this one."""
        scope = Scope(contained, warnings=self.warnings)
        scope.depth, scope.budget = self.depth, self.budget
        scope.resource = scope.root = resource
        return scope


Check = Callable[[Any, Scope], Findings]
"""Checks one JSON value. Never raises, whatever the value."""


def one(code: str, text: str, path: str = "") -> list[Finding]:
    """A single finding, an error."""
    return [(path, code, text, "error")]


def below(segment: str, findings: list[Finding]) -> list[Finding]:
    """The same findings seen from the parent of the value."""
    return [(segment + path, code, text, severity) for path, code, text, severity in findings]


def both(first: Check | None, second: Check | None) -> Check | None:
    """One check that makes both, of which either can be missing."""
    if first is None or second is None:
        return first or second

    def check(value: Any, scope: Scope) -> Findings:
        one_found, other = first(value, scope), second(value, scope)
        return one_found if other is None else [*(one_found or ()), *other]

    return check
