"""An invariant as a test of a JSON object says what FHIRPath says of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir.definitions import load_definitions
from fhir_server.fhir.path import Node, PathError, compile_expression, parse
from fhir_server.fhir.path.node import Schema
from fhir_server.validation.conditions import Conditions
from fhir_server.validation.findings import Scope
from fhir_server.validation.invariants import NATIVE, NOT_EVALUATED
from fhir_server.validation.validator import Validator

SCHEMA = Schema(load_definitions())
STATED = [
    (path, invariant)
    for path in SCHEMA.definitions._invariants
    for invariant in SCHEMA.definitions.invariants(path)
    if invariant.key not in NATIVE | {"que-2", "csd-1"}
    and (path, invariant.key) not in NOT_EVALUATED
    and path in SCHEMA.definitions._rows
    and SCHEMA.definitions.type(path).elements
]
CODING = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from([f"http://terminology.hl7.org/CodeSystem/condition-{x}" for x in
                                   ("clinical", "ver-status", "category")]),
        "code": st.sampled_from(["active", "resolved", "entered-in-error", "problem-list-item"]),
        "extension": st.just([{"url": "http://x", "valueString": "x"}]),
    },
)  # fmt: skip
STRING = st.sampled_from(["a", "display", "group", "exists", "searchset", "changes", "root", "*", "1", "Reference"])
COMPANION = st.just({"extension": [{"url": "http://x", "valueString": "x"}]})


def value_of(type_: str) -> st.SearchStrategy[Any]:
    """Some values of a type, as JSON."""
    if type_ == "CodeableConcept":
        return st.fixed_dictionaries({}, optional={"coding": st.lists(CODING, max_size=2), "text": STRING})
    if type_ in ("date", "dateTime", "instant"):
        return st.sampled_from(["2024", "2024-05", "2024-05-01T10:00:00Z", "2024-05-01T10:00:00+02:00", "2023-05"])
    if type_ == "boolean":
        return st.booleans()
    if type_ in ("integer", "decimal", "positiveInt", "unsignedInt"):
        return st.integers(-1, 101)
    if SCHEMA.is_primitive(type_):
        return STRING
    return st.sampled_from([{}, {"text": "a"}, {"url": "http://x", "valueString": "x"}])


def objects(path: str, expression: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a type that have some of the elements the expression names."""
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for json, (element, type_) in list(SCHEMA.definitions.type(path).properties.items()):
        if element.name in expression and len(optional) < 40:
            value = value_of(type_)
            optional[json] = st.lists(value, min_size=1, max_size=2) if element.many else value
            if SCHEMA.is_primitive(type_) and not element.many:
                optional["_" + json] = COMPANION
    return st.fixed_dictionaries({}, optional=optional)


@pytest.mark.parametrize(("path", "invariant"), STATED, ids=[f"{path}-{each.key}" for path, each in STATED])
def test_the_test_of_an_object_says_what_fhirpath_says(path: str, invariant: Any) -> None:
    """Every invariant of R4, on objects with some of the elements it names."""
    condition = Conditions(SCHEMA, path).condition(parse(invariant.expression))
    expression = compile_expression(invariant.expression, SCHEMA, path)

    @settings(max_examples=12)
    @given(objects(path, invariant.expression))
    def agree(value: dict[str, Any]) -> None:
        scope = Scope({}).of(value, {})
        try:
            held = expression.holds(value, focus=Node(value, path))
        except PathError:
            held = None
        assert condition(value, scope) is held

    agree()


@pytest.mark.parametrize("value", [None, 5, "low", [], [5], {"low": 5}, {"low": {"code": 5}}, {"low": [[]]}])
def test_no_shape_of_json_makes_a_rule_raise(validator: Validator, value: Any) -> None:
    """Structure is told, rules pass over what is none."""
    resource = {"resourceType": "RiskAssessment", "status": "final", "subject": {"reference": "Patient/1"},
                "prediction": [{"probabilityRange": value}]}  # fmt: skip
    assert {issue.code for issue in validator.validate(resource)} <= {"structure", "invariant", "value"}
    assert validator.validate(resource)
