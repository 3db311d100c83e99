"""SearchParameter resources of one's own: those that can be indexed, and why the others cannot."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds_of_links import BASE, World

from fhir_server.errors import Invalid
from fhir_server.fhir.definitions import Definitions
from fhir_server.search.custom import parameter_of
from fhir_server.search.entries import Ref, Text
from fhir_server.search.extract import extract
from fhir_server.search.parse import parse
from fhir_server.search.predicate import StringIs
from fhir_server.search.registry import SearchRegistry, project_parameters

MOTHER = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
DEFINED = {
    "resourceType": "SearchParameter",
    "url": "http://example.org/SearchParameter/maiden-name",
    "code": "maiden-name",
    "base": ["Patient"],
    "type": "string",
    "expression": f"Patient.extension('{MOTHER}').value as string",
}


def test_a_parameter_of_ones_own_is_indexed_and_asked_for(definitions: Definitions) -> None:
    """Beside those of R4 and of the project."""
    own = parameter_of(DEFINED)
    assert (own.base, own.parameter.code, own.parameter.url) == (("Patient",), "maiden-name", DEFINED["url"])
    registry = SearchRegistry(definitions, [*project_parameters(), own])
    patient = {"extension": [{"url": MOTHER, "valueString": "Le Goff"}]}
    assert Text("maiden-name", "le goff", "Le Goff") in extract(registry, "Patient", patient, BASE).strings
    query = parse(
        registry, ("Patient",), [("maiden-name", "Le G"), ("_sort", "maiden-name")], strict=True, base_url=BASE
    )
    assert query.plan.where == StringIs("maiden-name", "starts", "le g")
    assert query.plan.sort[0].kind == "string"


def test_a_parameter_may_be_for_every_type(definitions: Definitions) -> None:
    """Resource and DomainResource stand for what specialises them."""
    every = {**DEFINED, "code": "by-language", "base": ["Resource"], "type": "token", "expression": "Resource.language"}
    own = parameter_of(every, definitions)
    assert set(own.base) == definitions.resource_types
    domain = parameter_of({**every, "base": ["DomainResource"], "expression": "DomainResource.language"}, definitions)
    assert set(own.base) - set(domain.base) == {"Binary", "Bundle", "Parameters"}


def test_a_reference_of_ones_own_leads_where_it_says(definitions: Definitions) -> None:
    """Chains and includes follow it."""
    expression = "Patient.extension('http://x/midwife').value as Reference"
    own = parameter_of(
        {**DEFINED, "code": "midwife", "type": "reference", "target": ["Practitioner"], "expression": expression},
        definitions,
    )
    registry = SearchRegistry(definitions, [own])
    patient = {"extension": [{"url": "http://x/midwife", "valueReference": {"reference": "Practitioner/m"}}]}
    assert Ref("midwife", "Practitioner/m") in extract(registry, "Patient", patient, BASE).references
    assert parse(registry, ("Patient",), [("midwife.family", "x")], strict=True, base_url=BASE).used


OPEN = "Patient.extension.where(url = 'http://x/open').value"
OF_EACH_KIND: list[tuple[str, dict[str, Any], str]] = [
    ("token", {"valueCodeableConcept": {"coding": [{"system": "http://x", "code": "c"}]}}, "http://x|c"),
    ("token", {"valueBoolean": True}, "true"),
    ("string", {"valueString": "Le Goff"}, "le goff"),
    ("string", {"valueHumanName": {"given": ["Anne"], "family": "Le Goff"}}, "goff"),
    ("reference", {"valueReference": {"reference": "Practitioner/m"}}, "Practitioner/m"),
    ("date", {"valueDate": "2026-05-01"}, "2026-05"),
    ("quantity", {"valueQuantity": {"value": 5.4, "unit": "mg"}}, "5.4||mg"),
    ("number", {"valueInteger": 5}, "5"),
    ("uri", {"valueUrl": "http://x/y"}, "http://x/y"),
]


@pytest.mark.parametrize(("kind", "value", "asked"), OF_EACH_KIND)
def test_a_parameter_may_be_of_an_extension_of_any_type(
    definitions: Definitions, kind: str, value: dict[str, Any], asked: str
) -> None:
    """As most guides write them: what the kind knows of an open element is indexed, and the rest passed over."""
    own = parameter_of({**DEFINED, "code": "open", "type": kind, "expression": OPEN}, definitions)
    registry = SearchRegistry(definitions, [own])
    world = World(
        registry,
        [
            {"resourceType": "Patient", "id": "it", "extension": [{"url": "http://x/open", **value}]},
            {"resourceType": "Patient", "id": "other", "extension": [{"url": "http://x/open", "valueMoney": {}}]},
        ],
    )
    assert world.found("Patient", "open", asked) == {"it"}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"resourceType": "Patient"}, "SearchParameter", "invalid"),
    ({"code": None}, "SearchParameter.code", "required"),
    ({"code": "family"}, "SearchParameter.code", "duplicate"),
    ({"code": "_id"}, "SearchParameter.code", "duplicate"),
    ({"code": "_mine"}, "SearchParameter.code", "invalid"),
    ({"code": "a.b"}, "SearchParameter.code", "invalid"),
    ({"code": "a:b"}, "SearchParameter.code", "invalid"),
    ({"url": 5}, "SearchParameter.url", "required"),
    ({"base": []}, "SearchParameter.base", "required"),
    ({"base": ["Colour"]}, "SearchParameter.base", "invalid"),
    ({"base": "Patient"}, "SearchParameter.base", "invalid"),
    ({"type": "composite"}, "SearchParameter.type", "not-supported"),
    ({"type": "special"}, "SearchParameter.type", "not-supported"),
    ({"type": "colour"}, "SearchParameter.type", "not-supported"),
    ({"expression": None, "xpath": "f:Patient"}, "SearchParameter.expression", "required"),
    ({"expression": "Patient.colour"}, "SearchParameter.expression", "invalid"),
    ({"expression": "Patient.name.("}, "SearchParameter.expression", "invalid"),
    ({"expression": "Patient.maritalStatus"}, "SearchParameter.expression", "invalid"),
    ({"expression": "Observation.code"}, "SearchParameter.expression", "invalid"),
    ({"type": "number"}, "SearchParameter.expression", "invalid"),
    ({"target": ["Colour"]}, "SearchParameter.target", "invalid"),
]


@pytest.mark.parametrize(("changed", "place", "code"), REFUSED)
def test_what_cannot_be_indexed_is_refused_with_its_place(
    definitions: Definitions, changed: dict[str, Any], place: str, code: str
) -> None:
    """And the reason."""
    with pytest.raises(Invalid) as raised:
        parameter_of({**DEFINED, **changed}, definitions)
    assert (place, code) in [(issue.expression, issue.code) for issue in raised.value.issues]


def test_a_parameter_with_nothing_but_xpath_is_refused(definitions: Definitions) -> None:
    """At the xpath."""
    only = {name: value for name, value in DEFINED.items() if name != "expression"}
    with pytest.raises(Invalid) as raised:
        parameter_of({**only, "xpath": "f:Patient/f:name"}, definitions)
    assert [issue.expression for issue in raised.value.issues] == ["SearchParameter.xpath"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["Patient", "string", "Patient.name"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(DEFINED)), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(DEFINED)), JSON))
def test_any_resource_is_a_parameter_or_invalid(definitions: Definitions, changed: dict[str, Any]) -> None:
    """Nothing else is raised."""
    try:
        found = parameter_of({**DEFINED, **changed}, definitions)
    except Invalid:
        return
    SearchRegistry(definitions, [found]).indexes(found.base[0])
