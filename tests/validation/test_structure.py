"""Names, cardinalities, JSON types, choices and extensions beside primitives: https://hl7.org/fhir/R4/json.html."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.fhir.json import MAX_DEPTH
from fhir_server.validation.findings import MAX_FINDINGS
from fhir_server.validation.validator import Validator
from tests.validation.samples import PATIENT, SAMPLES

Found = set[tuple[str, str]]


def found(validator: Validator, resource: Any) -> Found:
    """(code, expression) of all issues."""
    return {(issue.code, issue.expression) for issue in validator.validate(resource)}


def patient(**elements: Any) -> dict[str, Any]:
    """A Patient of these elements."""
    return {"resourceType": "Patient", **elements}


def observation(**elements: Any) -> dict[str, Any]:
    """A valid Observation and these elements."""
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **elements}


@pytest.mark.parametrize("resource", SAMPLES, ids=lambda r: r["resourceType"])
def test_a_valid_resource_has_no_issue(validator: Validator, resource: dict[str, Any]) -> None:
    """Every shape the samples hold is R4."""
    assert validator.validate(resource) == []


EXTENDED = {"extension": [{"url": "http://example.org/x", "valueString": "y"}]}

WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("an unknown element", patient(nom="x"), "structure", "Patient.nom"),
    ("an unknown element deep down", patient(name=[{"famly": "x"}]), "structure", "Patient.name[0].famly"),
    ("a name that is no name", patient(**{"Jean Dupont": 1}), "structure", "Patient"),
    ("a comment of DSTU2", patient(fhir_comments=["x"]), "structure", "Patient.fhir_comments"),
    ("a scalar where an array is due", patient(name={"family": "x"}), "structure", "Patient.name"),
    ("an array where an object is due", patient(maritalStatus=[{"text": "x"}]), "structure", "Patient.maritalStatus"),
    ("an array where a scalar is due", patient(gender=["male"]), "structure", "Patient.gender"),
    ("a string where an object is due", patient(maritalStatus="M"), "structure", "Patient.maritalStatus"),
    ("a boolean as a string", patient(active="true"), "structure", "Patient.active"),
    ("a boolean as a number", patient(active=1), "structure", "Patient.active"),
    ("null", patient(gender=None), "structure", "Patient.gender"),
    ("null beside an extension", patient(birthDate=None, _birthDate=EXTENDED), "structure", "Patient.birthDate"),
    ("an empty object", patient(maritalStatus={}), "invariant", "Patient.maritalStatus"),
    ("an empty array", patient(name=[]), "structure", "Patient.name"),
    ("an empty string", patient(name=[{"family": ""}]), "value", "Patient.name[0].family"),
    ("an element with an id alone", patient(maritalStatus={"id": "x"}), "invariant", "Patient.maritalStatus"),
    (
        "an id of an element with a space",
        patient(maritalStatus={"id": "a b", "text": "x"}),
        "value",
        "Patient.maritalStatus.id",
    ),
    ("a null item", patient(name=[None]), "structure", "Patient.name[0]"),
    ("a null primitive item", patient(name=[{"given": ["a", None]}]), "structure", "Patient.name[0].given[1]"),
    ("a missing element", {"resourceType": "Observation", "code": {"text": "x"}}, "required", "Observation.status"),
    ("a missing element deep down", patient(link=[{"type": "seealso"}]), "required", "Patient.link[0].other"),
    ("a missing choice", patient(extension=[{"valueString": "x"}]), "required", "Patient.extension[0].url"),
    ("two of one choice", observation(valueString="a", valueInteger=1), "structure", "Observation.value"),
    (
        "two of one choice, one by its extension",
        observation(valueString="a", _valueInteger=EXTENDED),
        "structure",
        "Observation.value",
    ),
    (
        "a type the choice does not take",
        observation(valueAddress={"text": "x"}),
        "structure",
        "Observation.valueAddress",
    ),
    ("a choice without its type", observation(value="x"), "structure", "Observation.value"),
    (
        "a wrong value in a choice",
        observation(valueQuantity={"value": "1"}),
        "structure",
        "Observation.value.ofType(Quantity).value",
    ),
    ("an extension without url", patient(extension=[{"valueString": "x"}]), "required", "Patient.extension[0].url"),
    (
        "an extension with nothing",
        patient(extension=[{"url": "http://example.org"}]),
        "invariant",
        "Patient.extension[0]",
    ),
    (
        "an extension with both",
        patient(extension=[{"url": "http://example.org", "valueString": "x", **EXTENDED}]),
        "invariant",
        "Patient.extension[0]",
    ),
    (
        "a SimpleQuantity with a comparator",
        observation(referenceRange=[{"low": {"value": 1, "comparator": "<"}}]),
        "invariant",
        "Observation.referenceRange[0].low.comparator",
    ),
    ("a companion of a complex element", patient(_maritalStatus={"id": "x"}), "structure", "Patient.maritalStatus"),
    ("a companion of the id of the resource", patient(id="x", _id={"id": "x"}), "structure", "Patient.id"),
    ("a companion that is no object", patient(birthDate="1980", _birthDate="x"), "structure", "Patient.birthDate"),
    ("a companion with a value in it", patient(_birthDate={"value": "1980"}), "structure", "Patient.birthDate.value"),
    ("a companion with an id and no value", patient(_birthDate={"id": "x"}), "invariant", "Patient.birthDate"),
    ("a companion that is empty", patient(birthDate="1980", _birthDate={}), "invariant", "Patient.birthDate"),
    (
        "companions that are no array",
        patient(name=[{"given": ["a"], "_given": EXTENDED}]),
        "structure",
        "Patient.name[0].given",
    ),
    (
        "companions of another length",
        patient(name=[{"given": ["a", "b"], "_given": [EXTENDED]}]),
        "structure",
        "Patient.name[0].given",
    ),
    ("no companions", patient(name=[{"given": ["a"], "_given": []}]), "structure", "Patient.name[0].given"),
    (
        "null on both sides",
        patient(name=[{"given": ["a", None], "_given": [EXTENDED, None]}]),
        "structure",
        "Patient.name[0].given[1]",
    ),
    ("null companions without values", patient(name=[{"_given": [None]}]), "structure", "Patient.name[0].given[0]"),
    (
        "a wrong companion among good ones",
        patient(name=[{"given": ["a", "b"], "_given": [None, {"x": 1}]}]),
        "structure",
        "Patient.name[0].given[1].x",
    ),
]


@pytest.mark.parametrize(("what", "resource", "code", "expression"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_found_where_it_is(
    validator: Validator, what: str, resource: dict[str, Any], code: str, expression: str
) -> None:
    """Each kind of damage gives one issue, with its code and its place."""
    assert (code, expression) in found(validator, resource)


def test_an_extension_stands_for_a_value_that_is_required(validator: Validator) -> None:
    """`_status` alone satisfies min 1: the element is there, with extensions and without a value."""
    resource = {"resourceType": "Observation", "_status": EXTENDED, "code": {"text": "x"}}
    assert validator.validate(resource) == []


def test_a_value_and_its_companion_are_one_choice(validator: Validator) -> None:
    """`valueString` with `_valueString` is given once."""
    assert validator.validate(observation(valueString="a", _valueString={"id": "v"})) == []


def test_all_issues_come_at_once(validator: Validator) -> None:
    """One bad element does not hide another."""
    resource = patient(active="x", gender="x", name=[{"use": "x"}, {"famly": "x"}], link=[{}])
    assert found(validator, resource) == {
        ("structure", "Patient.active"),
        ("code-invalid", "Patient.gender"),
        ("code-invalid", "Patient.name[0].use"),
        ("structure", "Patient.name[1].famly"),
        ("required", "Patient.link[0].other"),
        ("required", "Patient.link[0].type"),
        ("invariant", "Patient.link[0]"),
    }


@pytest.mark.parametrize("resource", [None, 1, "x", [], {}, {"resourceType": 1}, {"resourceType": "Nobody"}, True, 1.5])
def test_what_is_no_resource_is_one_issue(validator: Validator, resource: object) -> None:
    """Not an object, no type, a type R4 does not have."""
    issues = validator.validate(resource)
    assert [(issue.code, issue.severity, issue.expression) for issue in issues] == [("structure", "error", "")]


@pytest.mark.parametrize("name", ["Resource", "DomainResource", "HumanName", "Patient.contact", "string"])
def test_what_is_no_resource_type_is_not_one(validator: Validator, name: str) -> None:
    """Abstract types, datatypes and backbone elements cannot be sent as resources."""
    assert found(validator, {"resourceType": name}) == {("structure", "")}


def test_the_expected_type_is_checked(validator: Validator) -> None:
    """A Patient sent where an Observation is expected is one issue, beside its own."""
    issues = validator.validate(patient(active="x"), expect_type="Observation")
    assert [(issue.code, issue.expression) for issue in issues] == [
        ("invalid", "Patient"),
        ("structure", "Patient.active"),
    ]
    assert validator.validate(patient(active=True), expect_type="Patient") == []


def test_entries_of_a_bundle_are_validated_with_their_path(validator: Validator) -> None:
    """`Bundle.entry[1].resource…` names the element of the entry."""
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": PATIENT}, {"resource": patient(name=[{"family": 1}])}],
    }
    assert found(validator, bundle) == {("structure", "Bundle.entry[1].resource.name[0].family")}


def test_the_narrative_is_named_as_fhirpath_writes_it(validator: Validator) -> None:
    """`div` is an operator of FHIRPath and is quoted."""
    resource = patient(text={"status": "generated", "div": "<p>x</p>"})
    assert found(validator, resource) == {("invariant", "Patient.text.`div`")}


def test_deep_nesting_is_an_issue_and_no_recursion_error(validator: Validator) -> None:
    """However deep the JSON, one issue says so."""
    extension: dict[str, Any] = {"url": "http://example.org", "valueString": "x"}
    for _ in range(20_000):
        extension = {"url": "http://example.org", "extension": [extension]}
    issues = validator.validate(patient(extension=[extension]))
    assert [issue.code for issue in issues] == ["too-long"]


def test_what_the_parser_lets_through_is_not_too_deep_for_bundles_in_bundles(validator: Validator) -> None:
    """A resource nests as deep inside a Bundle as outside; the whole is bounded."""
    resource: dict[str, Any] = patient(active=True)
    for _ in range(MAX_DEPTH):
        resource = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}
    issues = validator.validate(resource)
    assert [issue.code for issue in issues] == ["too-long"]


def test_a_hostile_body_does_not_multiply(validator: Validator) -> None:
    """A hundred thousand errors give a bounded answer."""
    resource = patient(name=[None] * 100_000, telecom=[{"x": 1}] * 100_000, **{f"x{n}": 1 for n in range(5_000)})
    assert len(validator.validate(resource)) <= MAX_FINDINGS
    given = patient(name=[{"_given": [{}] * 100_000}])
    assert len(validator.validate(given)) <= MAX_FINDINGS
