"""References and contained resources: https://hl7.org/fhir/R4/references.html."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.validation.validator import Validator


def codes(validator: Validator, resource: dict[str, Any]) -> list[tuple[str, str]]:
    """(code, expression) of the issues."""
    return [(issue.code, issue.expression) for issue in validator.validate(resource)]


def patient(reference: object, **more: Any) -> dict[str, Any]:
    """A Patient with a managing organization, which can only be an Organization."""
    return {"resourceType": "Patient", "managingOrganization": {"reference": reference}, **more}


ORGANIZATION = {"resourceType": "Organization", "id": "o", "name": "CHU"}
PLACE = "Patient.managingOrganization.reference"


@pytest.mark.parametrize(
    "reference",
    [
        "Organization/1",
        "Organization/1/_history/2",
        "http://example.org/fhir/Organization/1",
        "https://example.org/fhir/Organization/1/_history/1",
        "http://example.org/somewhere",
        "http://example.org/fhir/Company/1",
        "urn:uuid:0b5903af-a008-4780-8179-52c268784af8",
        "urn:oid:1.2.3",
        "Organization?identifier=http://example.org|1",
    ],
)
def test_a_reference_to_a_target_is_accepted(validator: Validator, reference: str) -> None:
    """Relative, absolute, urn and conditional; what an unknown URL leads to is not known."""
    assert codes(validator, patient(reference)) == []


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("Practitioner/1", "invalid"),
        ("Practitioner/1/_history/2", "invalid"),
        ("http://example.org/fhir/Practitioner/1", "invalid"),
        ("Practitioner?identifier=x", "invalid"),
        ("Company/1", "value"),
        ("Organization/", "value"),
        ("Organization", "value"),
        ("organization/1", "value"),
        ("Organization/a_b", "value"),
        ("1", "value"),
        ("a b", "value"),
        ("#nobody", "not-found"),
        ("#", "invalid"),
        (1, "structure"),
    ],
)
def test_a_reference_elsewhere_is_refused(validator: Validator, reference: object, code: str) -> None:
    """Another type, a type R4 does not have, no form at all, a fragment of nothing."""
    assert codes(validator, patient(reference)) == [(code, PLACE)]


def test_the_type_of_a_reference_is_checked(validator: Validator) -> None:
    """It is a resource type of R4, among the targets, and that of the literal reference."""

    def typed(name: object, **more: Any) -> list[tuple[str, str]]:
        return codes(validator, {"resourceType": "Patient", "managingOrganization": {"type": name, **more}})

    place = "Patient.managingOrganization.type"
    assert typed("Organization", reference="Organization/1") == []
    assert typed("Organization", identifier={"value": "x"}) == []
    assert typed("http://example.org/StructureDefinition/Company") == []
    assert typed("Company") == [("value", place)]
    assert typed("Patient") == [("invalid", place)]
    assert typed(1) == [("structure", place)]
    performer = {"reference": "Practitioner/1", "type": "Organization"}
    resource = {"resourceType": "Patient", "generalPractitioner": [performer]}
    assert codes(validator, resource) == [("invalid", "Patient.generalPractitioner[0].type")]


def test_a_contained_resource_is_referred_to(validator: Validator) -> None:
    """By its id, from its container."""
    assert codes(validator, patient("#o", contained=[ORGANIZATION])) == []


def test_a_contained_resource_may_be_named_by_a_canonical(validator: Validator) -> None:
    """Rule dom-3 counts canonical, uri and url as well as references."""
    definition = {"resourceType": "ActivityDefinition", "id": "a", "status": "draft"}
    plan = {"resourceType": "PlanDefinition", "status": "draft", "contained": [definition]}
    assert codes(validator, plan | {"action": [{"definitionCanonical": "#a"}]}) == []
    assert codes(validator, plan | {"action": [{"title": "#a"}]}) == [("invariant", "PlanDefinition.contained[0]")]


def test_a_contained_resource_may_refer_to_its_container(validator: Validator) -> None:
    """`#` is the container, only from inside."""
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "#"},
    }
    resource = {"resourceType": "Patient", "contained": [observation | {"id": "x"}]}
    assert codes(validator, resource) == []


@pytest.mark.parametrize(
    ("contained", "code", "place"),
    [
        ({"id": "b", "resourceType": "Organization", "name": "x"}, "invariant", ""),
        ({"resourceType": "Organization", "name": "x"}, "required", ".id"),
        ({"id": "o", "resourceType": "Organization"}, "duplicate", ".id"),
        ({"id": "b", "resourceType": "Company"}, "structure", ""),
        ({"id": "b"}, "structure", ""),
        ("x", "structure", ""),
        (None, "structure", ""),
        ({"id": 1, "resourceType": "Organization"}, "structure", ".id"),
        ({"id": "b", "resourceType": "Organization", "contained": [ORGANIZATION]}, "invariant", ".contained[0]"),
        ({"id": "b", "resourceType": "Organization", "meta": {"versionId": "1"}}, "invariant", ".meta.versionId"),
        (
            {"id": "b", "resourceType": "Organization", "meta": {"security": [{"code": "R"}]}},
            "invariant",
            ".meta.security",
        ),
        (
            {"id": "b", "resourceType": "Organization", "meta": {"lastUpdated": "2024-01-01T00:00:00Z"}},
            "invariant",
            ".meta.lastUpdated",
        ),
        ({"id": "b", "resourceType": "Organization", "active": "x"}, "structure", ".active"),
    ],
)
def test_what_a_contained_resource_may_not_be(validator: Validator, contained: object, code: str, place: str) -> None:
    """Unreferenced, without id, with an id twice, of no type, with contained resources or versions of its own."""
    resource = patient("#o", contained=[ORGANIZATION, contained])
    assert (code, "Patient.contained[1]" + place) in codes(validator, resource)


def test_a_contained_resource_of_another_type_is_no_target(validator: Validator) -> None:
    """The fragment leads to a Practitioner where an Organization is expected."""
    contained = [{"resourceType": "Practitioner", "id": "o"}]
    assert codes(validator, patient("#o", contained=contained)) == [("invalid", PLACE)]


def test_contained_that_is_no_array_is_told(validator: Validator) -> None:
    """And nothing else is made of it."""
    assert codes(validator, {"resourceType": "Patient", "contained": ORGANIZATION}) == [
        ("structure", "Patient.contained")
    ]


def test_each_entry_of_a_bundle_is_a_container_of_its_own(validator: Validator) -> None:
    """A fragment does not reach into another entry."""
    entries = [{"resource": patient("#o", contained=[ORGANIZATION])}, {"resource": patient("#o")}]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    place = "Bundle.entry[1].resource.managingOrganization.reference"
    assert codes(validator, bundle) == [("not-found", place)]


def test_contained_resources_may_refer_to_one_another(validator: Validator) -> None:
    """The ids of a container are known inside what it contains."""
    parent = ORGANIZATION | {"id": "p"}
    child = ORGANIZATION | {"partOf": {"reference": "#p"}}
    assert codes(validator, patient("#o", contained=[child, parent])) == []
