"""The invariants of R4 (https://hl7.org/fhir/R4/conformance-rules.html#constraints) on the elements they are stated on.

An invariant is broken where its expression is false. Where it is empty nothing is decided: so R4 means it, or ref-1
(`reference.startsWith('#').not() or …`) would be broken by each Reference that has an identifier alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from fhir_server.fhir.definitions import Definitions, ElementDefinition, Invariant
from fhir_server.fhir.path import PathError, parse
from fhir_server.fhir.path.node import Schema
from fhir_server.validation.conditions import Condition, Conditions
from fhir_server.validation.findings import Check, Finding, Findings, Scope

NATIVE: Final = frozenset(
    {"dom-2", "dom-3", "dom-4", "dom-5", "ele-1", "ext-1", "ref-1", "sqty-1", "txt-1", "txt-2"}
    | {f"bdl-{number}" for number in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12)}
)
"""Keys of the invariants that are checked without FHIRPath, in `objects`, `contained`, `references`, `bundle` …"""

CORRECTED: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        # As it is written, every Condition with a category and without a status breaks it.
        ("Condition", "con-3"): "clinicalStatus.exists() or verificationStatus.coding.where(system = "
        "'http://terminology.hl7.org/CodeSystem/condition-ver-status' and code = 'entered-in-error').exists() or "
        "category.coding.where(system = 'http://terminology.hl7.org/CodeSystem/condition-category' and "
        "code = 'problem-list-item').empty()",
        # System.Boolean is never the type of an element.
        ("Questionnaire.item.enableWhen", "que-7"): "operator = 'exists' implies (answer is boolean)",
    }
)
"""(where, key) of invariants that R4 4.0.1 words wrongly → what it means."""

NOT_EVALUATED: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("ChargeItemDefinition", "cid-0"): "asks for the name of a ChargeItemDefinition, which has none in R4",
        **{("Consent", f"ppc-{number}"): "asks for codes of a system called 'something'" for number in range(2, 6)},
        (
            "ElementDefinition",
            "eld-11",
        ): "select() gives an item whether or not the code is one of those, so none fails",
    }
)
"""(where, key) of invariants that are wrong in R4 4.0.1 → why."""

Rule = tuple[Condition, Finding]


class Invariants:
    """The invariants of types and elements as checks, each made when first asked for."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._schema = Schema(definitions)

    def of_type(self, name: str) -> Check | None:
        """The check of an object of a type or backbone element: its own invariants and those it inherits."""
        paths = list(self._definitions.ancestry(name))
        return _check([rule for path in reversed(paths) for rule in self._rules(path, name)], frozenset({dict}))

    def of_element(self, element: ElementDefinition, type_: str) -> Check | None:
        """The check of a value of an element, for what is stated there and not on its type."""
        if element.path == type_:
            return None
        try:
            return _check(list(self._rules(element.path, type_)), self._json_types(type_))
        except PathError:
            if element.choice:  # the rule is about another of its types (ras-1: about a Range, not a decimal)
                return None
            raise

    def _json_types(self, type_: str) -> frozenset[type]:
        """What values of a type are in JSON; what is told to be none of them is not held to the rules too."""
        return frozenset({str, int, float, bool, Decimal} if self._schema.is_primitive(type_) else {dict})

    def _rules(self, path: str, type_: str) -> Iterator[Rule]:
        for invariant in self._definitions.invariants(path):
            if invariant.key not in NATIVE and (path, invariant.key) not in NOT_EVALUATED:
                text = CORRECTED.get((path, invariant.key), invariant.expression)
                yield Conditions(self._schema, type_).condition(parse(text)), _finding(invariant, text)


def _finding(invariant: Invariant, text: str) -> Finding:
    return "", "invariant", f"The rule {invariant.key} is broken: {text}", invariant.severity


def _check(rules: list[Rule], json_types: frozenset[type]) -> Check | None:
    """One check of all rules, those that only warn where warnings are asked for."""
    errors = [rule for rule in rules if rule[1][3] == "error"]
    warnings = [rule for rule in rules if rule[1][3] != "error"]
    if not rules:
        return None

    def check(value: Any, scope: Scope) -> Findings:
        if type(value) not in json_types:
            return None
        found = [finding for condition, finding in errors if condition(value, scope) is False]
        if scope.warnings:
            found += [finding for condition, finding in warnings if condition(value, scope) is False]
        return found or None

    return check
