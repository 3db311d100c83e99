"""Codes of required bindings: https://hl7.org/fhir/R4/terminologies.html#required."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.validation.validator import Validator

CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"


def allergy(clinical: dict[str, Any]) -> dict[str, Any]:
    """An AllergyIntolerance with that clinicalStatus, whose binding is required."""
    return {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/1"}, "clinicalStatus": clinical}


def attachment(**elements: Any) -> dict[str, Any]:
    """A Patient with a photo."""
    return {"resourceType": "Patient", "photo": [{"title": "x", **elements}]}


def codes(validator: Validator, resource: dict[str, Any]) -> list[tuple[str, str]]:
    """(code, expression) of the issues."""
    return [(issue.code, issue.expression) for issue in validator.validate(resource)]


@pytest.mark.parametrize("gender", ["male", "female", "other", "unknown"])
def test_a_code_of_the_value_set_is_accepted(validator: Validator, gender: str) -> None:
    """The codes of AdministrativeGender."""
    assert codes(validator, {"resourceType": "Patient", "gender": gender}) == []


@pytest.mark.parametrize("gender", ["M", "Male", "masculin", ""])
def test_another_code_is_refused(validator: Validator, gender: str) -> None:
    """Case counts; the text tells the codes there are, not the one that came."""
    (issue,) = validator.validate({"resourceType": "Patient", "gender": gender})
    assert (issue.code, issue.expression) == ("code-invalid", "Patient.gender")
    assert issue.text == "One of female, male, other, unknown is expected (ValueSet administrative-gender)."


def test_a_required_code_is_a_string(validator: Validator) -> None:
    """A number, or an object that could not be looked up, is a matter of structure."""
    assert codes(validator, {"resourceType": "Patient", "gender": 1}) == [("structure", "Patient.gender")]
    assert codes(validator, {"resourceType": "Patient", "gender": {}}) == [("structure", "Patient.gender")]


@pytest.mark.parametrize(
    "concept",
    [
        {"coding": [{"system": CLINICAL, "code": "active"}]},
        {"coding": [{"system": "http://example.org", "code": "x"}, {"system": CLINICAL, "code": "resolved"}]},
        {"extension": [{"url": ABSENT, "valueCode": "unknown"}]},
    ],
)
def test_one_coding_of_a_concept_is_of_the_value_set(validator: Validator, concept: dict[str, Any]) -> None:
    """The others may be of any system; a concept may say that it is absent and why."""
    assert codes(validator, allergy(concept)) == []


@pytest.mark.parametrize(
    "concept",
    [
        {"text": "active"},
        {"coding": [{"code": "active"}]},
        {"coding": [{"system": CLINICAL, "code": "actif"}]},
        {"coding": [{"system": "http://example.org", "code": "active"}]},
        {"coding": [{"system": CLINICAL}]},
        {"extension": [{"url": "http://example.org", "valueCode": "unknown"}]},
        {"text": "x", "extension": [{"url": ABSENT, "valueCode": "unknown"}]},
    ],
)
def test_a_concept_without_such_a_coding_is_refused(validator: Validator, concept: dict[str, Any]) -> None:
    """Text alone, another system, another code."""
    assert codes(validator, allergy(concept)) == [("code-invalid", "AllergyIntolerance.clinicalStatus")]


def test_a_malformed_concept_is_told_as_such(validator: Validator) -> None:
    """Its structure is judged first."""
    assert codes(validator, allergy({"coding": ["x"]})) == [
        ("structure", "AllergyIntolerance.clinicalStatus.coding[0]")
    ]


@pytest.mark.parametrize(
    "code", ["application/pdf", "text/plain;charset=UTF-8", 'a/b; c="d e"', "image/svg+xml", "json"]
)
def test_a_mime_type_is_known_by_its_form(validator: Validator, code: str) -> None:
    """BCP 13 is not a list; R4 writes formats also without a slash."""
    assert codes(validator, attachment(contentType=code)) == []


@pytest.mark.parametrize("code", ["application/", "/pdf", "a/b/c", "application/pdf; x", "a/b; c=d e", "é/x"])
def test_what_is_no_mime_type_is_refused(validator: Validator, code: str) -> None:
    """The form is the one of RFC 6838 and RFC 2045."""
    assert codes(validator, attachment(contentType=code)) == [("code-invalid", "Patient.photo[0].contentType")]


@pytest.mark.parametrize(
    "tag", ["fr", "fr-FR", "zh-Hant-TW", "de-CH-1996", "sl-rozaj", "en-US-u-ca-gregory", "x-a", "i-klingon"]
)
def test_a_language_tag_is_known_by_its_form(validator: Validator, tag: str) -> None:
    """BCP 47 is the widest value set of every `language`."""
    assert codes(validator, attachment(language=tag)) == []
    assert codes(validator, {"resourceType": "Patient", "language": tag}) == []


@pytest.mark.parametrize("tag", ["français", "fr_FR", "f", "fr-", "123", "fr FR"])
def test_what_is_no_language_tag_is_refused(validator: Validator, tag: str) -> None:
    """The form is the one of RFC 5646."""
    assert codes(validator, attachment(language=tag)) == [("code-invalid", "Patient.photo[0].language")]


@pytest.mark.parametrize(
    ("currency", "valid"), [("EUR", True), ("VES", True), ("XCG", True), ("EURO", False), ("ZZZ", False)]
)
def test_currencies_are_those_of_iso_4217(validator: Validator, currency: str, valid: bool) -> None:
    """Those of the package and those added since."""
    money = {"url": "http://example.org", "valueMoney": {"value": 1, "currency": currency}}
    assert (codes(validator, {"resourceType": "Patient", "extension": [money]}) == []) is valid


def test_a_system_as_a_whole_takes_any_code(validator: Validator) -> None:
    """UCUM is bound as a whole: the system counts, the code is not looked up."""
    unit = {"coding": [{"system": "http://unitsofmeasure.org", "code": "mg/dL"}]}
    characteristic = {"definitionCodeableConcept": {"text": "x"}, "unitOfMeasure": unit}
    resource = {
        "resourceType": "ResearchElementDefinition",
        "status": "draft",
        "type": "outcome",
        "characteristic": [characteristic],
    }
    assert codes(validator, resource) == []
    unit["coding"][0]["system"] = "http://example.org"
    place = "ResearchElementDefinition.characteristic[0].unitOfMeasure"
    assert codes(validator, resource) == [("code-invalid", place)]


def test_a_weaker_binding_is_not_judged(validator: Validator) -> None:
    """An extensible or preferred value set refuses nothing."""
    concept = {"coding": [{"system": "http://example.org", "code": "x"}]}
    assert codes(validator, {"resourceType": "Patient", "maritalStatus": concept}) == []
