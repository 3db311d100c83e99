"""Resources in resources: those that stand for themselves, and the contained ones (dom-2 to dom-5)."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any

from fhir_server.validation.findings import Check, Finding, Findings, Scope, one

_NO_OBJECT = "A resource is a JSON object."
_NO_TYPE = "A resource has a resourceType, a string."
_UNKNOWN_TYPE = "R4 has no resource of this type."
# rule, element of meta
_META_RULES = (("dom-4", "versionId"), ("dom-4", "lastUpdated"), ("dom-5", "security"))


def resource_check(resource_types: Set[str], object_of: Callable[[str], Check]) -> Check:
    """The check of a resource that stands for itself. `object_of` gives the check of a type."""

    def check(resource: Any, scope: Scope) -> Findings:
        problem = _type_problem(resource, resource_types)
        if problem is not None:
            return problem
        contained = _contained(resource) if "contained" in resource else {}
        own = scope.of(resource, contained)
        found = object_of(resource["resourceType"])(resource, own)
        if "contained" in resource:
            return [*(found or ()), *_container_problems(resource, own)] or None
        return found

    return check


def contained_check(resource_types: Set[str], object_of: Callable[[str], Check]) -> Check:
    """The check of one item of `contained`."""

    def check(resource: Any, scope: Scope) -> Findings:
        if scope.inside:
            return one("invariant", "A contained resource contains no other (dom-2).")
        problem = _type_problem(resource, resource_types)
        if problem is not None:
            return problem
        scope.inside, scope.resource = True, resource
        scope.fragments.discard("#")
        found = list(object_of(resource["resourceType"])(resource, scope) or ())
        scope.inside, scope.resource = False, scope.root
        if "#" in scope.fragments and type(resource.get("id")) is str:
            scope.fragments.add("#" + resource["id"])  # it refers to its container, which rule dom-3 takes as well
        return [*found, *_contained_problems(resource)] or None

    return check


def _type_problem(resource: Any, resource_types: Set[str]) -> Findings:
    """Why the type of the resource is not known."""
    if type(resource) is not dict:
        return one("structure", _NO_OBJECT)
    name = resource.get("resourceType")
    if type(name) is not str:
        return one("structure", _NO_TYPE)
    if name not in resource_types:
        return one("structure", _UNKNOWN_TYPE)
    return None


def _contained(resource: dict[str, Any]) -> dict[str, str]:
    """id → resource type of what the resource contains, as far as it is written as it should be."""
    items = resource["contained"]
    found: dict[str, str] = {}
    for item in items if type(items) is list else ():
        if type(item) is dict and type(item.get("id")) is str:
            name = item.get("resourceType")
            found[item["id"]] = name if type(name) is str else ""
    return found


def _contained_problems(resource: dict[str, Any]) -> list[Finding]:
    """What a contained resource has that it may not have, or lacks."""
    found: list[Finding] = []
    if "id" not in resource:
        found += one("required", "A contained resource has an id, to be referred to.", ".id")
    meta = resource.get("meta")
    for rule, name in _META_RULES:
        if type(meta) is dict and (name in meta or "_" + name in meta):
            found += one("invariant", f"A contained resource has no meta.{name} ({rule}).", f".meta.{name}")
    return found


def _container_problems(resource: dict[str, Any], scope: Scope) -> list[Finding]:
    """Contained resources that nothing refers to (dom-3), or whose id another one has."""
    found: list[Finding] = []
    met: set[str] = set()
    for index, item in enumerate(resource["contained"] if type(resource["contained"]) is list else ()):
        id = item.get("id") if type(item) is dict else None
        if type(id) is not str:
            continue
        if "#" + id not in scope.fragments:
            text = "A contained resource is referred to from its container, or refers to it (dom-3)."
            found += one("invariant", text, f".contained[{index}]")
        if id in met:
            found += one("duplicate", "Another contained resource has the same id.", f".contained[{index}].id")
        met.add(id)
    return found
