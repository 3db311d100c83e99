"""What a Reference may say: a literal of a known form, a type among the targets, a fragment that is there (ref-1)."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from fhir_server.fhir.references import parse_reference
from fhir_server.validation.findings import Check, Finding, Findings, Scope, one
from fhir_server.validation.primitives import PRIMITIVES

_is_id = PRIMITIVES["id"]

_NOT_A_TARGET = "This element does not refer to a resource of that type."
_FORM = "A reference is Type/id, an absolute URL, a urn:, or # and the id of a contained resource."


def reference_rule(resource_types: Set[str], targets: Set[str]) -> Check:
    """The check of an object whose elements are those of Reference; no targets means any type."""
    allowed = targets or resource_types

    def check(reference: dict[str, Any], scope: Scope) -> Findings:
        literal = reference.get("reference")
        if type(literal) is str:
            type_name, _, rest = literal.partition("/")
            if type_name not in allowed or _is_id(rest, scope) is not None:
                found = _literal(literal, scope)
                if found is not None:
                    return found
        if "type" in reference:
            return _type(reference["type"], literal)
        return None

    def _literal(literal: str, scope: Scope) -> Findings:
        parsed = parse_reference(literal)
        if parsed.kind == "invalid":
            return one("value", _FORM, ".reference")
        if parsed.kind == "fragment":
            return _fragment(parsed.id, scope)
        if parsed.type in allowed or not parsed.type:
            return None
        if parsed.type in resource_types:
            return one("invalid", _NOT_A_TARGET, ".reference")
        if parsed.kind == "absolute":
            return None
        return one("value", "The reference names a resource type that R4 does not have.", ".reference")

    def _fragment(id: str, scope: Scope) -> Findings:
        scope.fragments.add("#" + id)
        if not id:
            return None if scope.inside else one("invalid", "Only a contained resource refers to #.", ".reference")
        contained = scope.contained.get(id)
        if contained is None:
            return one("not-found", "The fragment names no contained resource.", ".reference")
        if contained not in allowed and contained in resource_types:
            return one("invalid", _NOT_A_TARGET, ".reference")
        return None

    def _type(named: Any, literal: Any) -> Findings:
        if type(named) is not str or ":" in named:
            return None  # not a string is told by its own check; an absolute URI names a logical model
        found: list[Finding] = []
        if named not in resource_types:
            found += one("value", "The type is not a resource type of R4.", ".type")
        elif named not in allowed:
            found += one("invalid", _NOT_A_TARGET, ".type")
        parsed = parse_reference(literal) if type(literal) is str else None
        if parsed and parsed.type in resource_types and parsed.type != named:
            found += one("invalid", "The type is not that of the reference.", ".type")
        return found or None

    return check
