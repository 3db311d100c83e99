"""Whether a resource is R4 as to its structure: the one entry to the checks of this package."""

from __future__ import annotations

from typing import Any, Final

from fhir_server.errors import Issue
from fhir_server.fhir.definitions import Definitions
from fhir_server.validation.findings import MAX_FINDINGS, Scope
from fhir_server.validation.structure import Structure

CHECKED_INVARIANTS: Final = frozenset(
    {"dom-2", "dom-3", "dom-4", "dom-5", "ele-1", "ext-1", "ref-1", "sqty-1", "txt-1", "txt-2"}
    | {f"bdl-{number}" for number in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12)}
)
"""Keys of the invariants that are checked here without FHIRPath."""


class Validator:
    """Validates against R4 itself: no profile, no invariant but `CHECKED_INVARIANTS`, no look-up of anything."""

    def __init__(self, definitions: Definitions) -> None:
        self._structure = Structure(definitions)
        self._resource_types = definitions.resource_types

    def validate(self, resource: Any, *, expect_type: str | None = None) -> list[Issue]:
        """All that is wrong with a resource parsed from JSON, at once; empty if nothing is. Never raises.

        Each issue is an error and names its place in FHIRPath (`Patient.name[0].family`). No text holds a value of the
        resource. After about 1,000 issues the rest is not told.
        """
        name = resource.get("resourceType") if type(resource) is dict else None
        root = name if type(name) is str and name in self._resource_types else ""
        findings = self._structure.resource(resource, Scope({}))
        issues = [Issue(code, text, root + path) for path, code, text in (findings or ())[:MAX_FINDINGS]]
        if root and expect_type and root != expect_type:
            text = f"A resource of the type {expect_type} is expected here."
            issues.insert(0, Issue("invalid", text, root))
        return issues
