"""Codes of required bindings (https://hl7.org/fhir/R4/terminologies.html#required), and of the widest sets allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from fhir_server.fhir.definitions import Definitions, ElementDefinition
from fhir_server.validation.findings import Check, Findings, Scope, one

_FHIR = "http://hl7.org/fhir/"
_ALL_LANGUAGES = _FHIR + "ValueSet/all-languages"
_DATA_ABSENT_REASON = _FHIR + "StructureDefinition/data-absent-reason"
_NAMED = 12
"""A value set up to this size is told in full."""

Codes = Mapping[str, frozenset[str] | None]

# RFC 6838 with the parameters of RFC 2045; R4 itself writes the formats of a server also as a bare `json` or `xml`.
_mime_type = re.compile(
    r"[\w!#$&^.+\-]+(/[\w!#$&^.+\-]+)?( ?; ?[\w!#$&^.+\-]+=([\w!#$&^.+\-/:]+|\"[^\"]*\"))*", re.ASCII
).fullmatch
# The shape of RFC 5646, §2.1; whether each subtag is registered is not looked up.
_language_tag = re.compile(
    r"([A-Za-z]{2,3}(-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?"
    r"(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*(-[0-9A-WY-Za-wy-z](-[A-Za-z0-9]{2,8})+)*(-[Xx](-[A-Za-z0-9]{1,8})+)?"
    r"|[XxIi](-[A-Za-z0-9]{1,8})+"
).fullmatch

_SHAPES: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType({"urn:ietf:bcp:13": _mime_type})


def bound_check(definitions: Definitions, element: ElementDefinition, type: str, check: Check) -> Check:
    """The check of a value of the element, with its required codes where it has a binding that can be judged."""
    bound = element.binding
    if bound is None:
        return check
    if bound.widest == _ALL_LANGUAGES and type == "code":
        return _shaped(_language_tag, "A language is a tag of BCP 47, such as fr or fr-FR.")
    codes = definitions.codes(bound.value_set) if bound.strength == "required" else None
    if codes is None:
        return check
    if type == "code":
        return _code_check(bound.value_set, codes)
    return _concept_check(bound.value_set, codes, check)


def _code_check(value_set: str, codes: Codes) -> Check:
    """A `code` of the value set, whatever its system."""
    if None in codes.values():
        shape = _SHAPES[next(iter(codes))]
        return _shaped(shape, "A MIME type is expected, such as application/fhir+json.")
    allowed = frozenset().union(*(c for c in codes.values() if c is not None))
    expected = _expected(value_set, allowed)

    def check(value: Any, scope: Scope) -> Findings:
        if type(value) is str and value in allowed:
            return None
        if type(value) is not str:
            return one("structure", "A JSON string is expected.")
        return one("code-invalid", expected)

    return check


def _shaped(accepts: Callable[[str], object], expected: str) -> Check:
    """A code whose system is known by its form alone."""

    def check(value: Any, scope: Scope) -> Findings:
        if type(value) is str and accepts(value):
            return None
        if type(value) is not str:
            return one("structure", "A JSON string is expected.")
        return one("code-invalid", expected)

    return check


def _concept_check(value_set: str, codes: Codes, check: Check) -> Check:
    """A CodeableConcept one of whose codings is of the value set."""
    expected = _expected(value_set, frozenset().union(*(c or () for c in codes.values())))

    def check_concept(value: Any, scope: Scope) -> Findings:
        found = check(value, scope)
        if found is not None or _is_coded(value, codes) or _is_absent(value):
            return found
        return one("code-invalid", expected)

    return check_concept


def _is_coded(concept: dict[str, Any], codes: Codes) -> bool:
    """Whether a coding of the concept is in the value set."""
    for coding in concept.get("coding", ()):
        system, code = coding.get("system"), coding.get("code")
        if code is not None and system in codes:
            allowed = codes[system]
            if allowed is None or code in allowed:
                return True
    return False


def _is_absent(concept: dict[str, Any]) -> bool:
    """Whether the concept says that it has no value and why."""
    if "coding" in concept or "text" in concept:
        return False
    return any(extension["url"] == _DATA_ABSENT_REASON for extension in concept.get("extension", ()))


def _expected(value_set: str, allowed: frozenset[str]) -> str:
    """What to say when none of the codes is there."""
    if 0 < len(allowed) <= _NAMED:
        return f"One of {', '.join(sorted(allowed))} is expected (ValueSet {value_set.rpartition('/')[2]})."
    return f"A code of the value set {value_set} is expected."
