"""Whether a resource is R4 as to its structure: the one entry to the checks of this package."""

from __future__ import annotations

from typing import Any

from fhir_server.errors import Issue
from fhir_server.fhir.definitions import Definitions
from fhir_server.validation.findings import MAX_FINDINGS, Scope
from fhir_server.validation.structure import Structure


class Validator:
    """Validates against R4 itself, structure, required codes and invariants: no profile, no look-up of anything."""

    def __init__(self, definitions: Definitions) -> None:
        self._structure = Structure(definitions)
        self._resource_types = definitions.resource_types

    def validate(self, resource: Any, *, expect_type: str | None = None, warnings: bool = False) -> list[Issue]:
        """All that is wrong with a resource parsed from JSON, at once; empty if nothing is. Never raises.

        Each issue names its place in FHIRPath (`Patient.name[0].family`). No text holds a value of the resource. After
        about 1,000 issues the rest is not told. What is wrong is an error; with `warnings` come those rules of R4 that
        say what is better (dom-6: a narrative, xxx-0: a name for computers) and only warn.
        """
        name = resource.get("resourceType") if type(resource) is dict else None
        root = name if type(name) is str and name in self._resource_types else ""
        scope = Scope({}, warnings=warnings)
        findings = self._structure.resource(resource, scope)
        told = (findings or ())[:MAX_FINDINGS]
        issues = [Issue(code, text, root + path, severity) for path, code, text, severity in told]
        if warnings and scope.budget.left < 0:
            issues.append(
                Issue("too-costly", "Not all rules were tried: that would be too much work.", root, "warning")
            )
        if root and expect_type and root != expect_type:
            text = f"A resource of the type {expect_type} is expected here."
            issues.insert(0, Issue("invalid", text, root))
        return issues
