"""What R4 defines is known as R4 defines it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fhir_server.fhir.definitions import Definitions, load_definitions
from profiles.r4.compile import tables

VALUE_SET = "http://hl7.org/fhir/ValueSet/"


@pytest.fixture(scope="module")
def r4() -> Definitions:
    """The packaged definitions."""
    return load_definitions()


def test_r4_has_146_resource_types_and_63_datatypes(r4: Definitions) -> None:
    """Abstract types and backbone elements are none of them."""
    assert len(r4.resource_types) == 146
    assert {"Patient", "Bundle", "Parameters", "Binary"} <= r4.resource_types
    assert not {"Resource", "DomainResource", "HumanName", "Patient.contact"} & r4.resource_types
    assert r4.type("HumanName").kind == "complex-type"
    assert r4.type("code").is_primitive
    assert not r4.type("Patient").is_primitive


def test_the_elements_of_a_type_come_in_the_order_of_r4(r4: Definitions) -> None:
    """Those of Resource first, then DomainResource, then its own; XML is written in this order."""
    names = list(r4.type("Patient").elements)
    assert names[:9] == [
        "id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension", "identifier"
    ]  # fmt: skip
    assert names[-3:] == ["generalPractitioner", "managingOrganization", "link"]
    assert list(r4.type("Period").elements) == ["id", "extension", "start", "end"]
    assert list(r4.type("Age").elements) == list(r4.type("Quantity").elements)


def test_an_element_says_all_that_r4_says_of_it(r4: Definitions) -> None:
    """Cardinality, types, binding, targets, flags."""
    gender = r4.type("Patient").elements["gender"]
    assert (gender.path, gender.types, gender.min, gender.many) == ("Patient.gender", ("code",), 0, False)
    assert gender.binding is not None
    assert (gender.binding.strength, gender.binding.value_set) == ("required", VALUE_SET + "administrative-gender")
    assert gender.is_summary
    assert r4.type("Patient").elements["active"].is_modifier
    assert r4.type("Patient").elements["name"].many
    assert r4.type("Observation").elements["status"].min == 1
    assert r4.type("Patient").elements["managingOrganization"].targets == {"Organization"}
    assert r4.type("Observation").elements["focus"].targets == frozenset()
    assert r4.type("Range").elements["low"].simple
    language = r4.type("Patient").elements["language"].binding
    assert language is not None
    assert (language.strength, language.widest) == ("preferred", VALUE_SET + "all-languages")


def test_an_element_of_xml_that_is_an_attribute_is_marked(r4: Definitions) -> None:
    """The id of an element and the url of an extension, and not the id of a resource."""
    assert r4.type("HumanName").elements["id"].xml_attribute
    assert r4.type("Extension").elements["url"].xml_attribute
    assert not r4.type("Patient").elements["id"].xml_attribute


def test_a_json_property_leads_to_its_element_and_type(r4: Definitions) -> None:
    """Each type of a choice has a name of its own."""
    properties = r4.type("Observation").properties
    assert properties["valueQuantity"][1] == "Quantity"
    assert properties["valueDateTime"][1] == "dateTime"
    assert properties["valueQuantity"][0] is r4.type("Observation").elements["value"]
    assert properties["component"] == (r4.type("Observation").elements["component"], "Observation.component")
    assert "value" not in properties
    assert len(r4.type("Extension").elements["value"].types) == 50


def test_backbone_elements_and_content_references_are_types_under_their_path(r4: Definitions) -> None:
    """`Questionnaire.item.item` is `Questionnaire.item` again."""
    assert r4.type("Questionnaire").properties["item"][1] == "Questionnaire.item"
    assert r4.type("Questionnaire.item").properties["item"][1] == "Questionnaire.item"
    assert r4.type("Bundle.entry").properties["link"][1] == "Bundle.link"
    assert r4.type("Timing").properties["repeat"][1] == "Timing.repeat"
    assert "modifierExtension" in r4.type("Patient.contact").elements
    assert "modifierExtension" not in r4.type("Timing.repeat").elements


def test_every_type_an_element_names_is_there(r4: Definitions) -> None:
    """No element leads nowhere, in any resource."""
    met: set[str] = set()
    waiting = list(r4.resource_types)
    while waiting:
        name = waiting.pop()
        if name not in met:
            met.add(name)
            waiting += (type_name for _, type_name in r4.type(name).properties.values())
    assert len(met) > 600
    assert "ElementDefinition.slicing.discriminator" in met


def test_an_unknown_type_is_a_key_error(r4: Definitions) -> None:
    """Asking for what R4 does not have."""
    with pytest.raises(KeyError):
        r4.type("Nobody")
    with pytest.raises(KeyError):
        r4.search_parameters("Nobody")
    with pytest.raises(KeyError):
        r4.compartment("Nobody")


def test_a_type_knows_its_ancestry(r4: Definitions) -> None:
    """Nearest first, itself included."""
    assert list(r4.ancestry("Patient")) == ["Patient", "DomainResource", "Resource"]
    assert list(r4.ancestry("Bundle")) == ["Bundle", "Resource"]
    assert list(r4.ancestry("Age")) == ["Age", "Quantity", "Element"]
    assert list(r4.ancestry("Patient.contact")) == ["Patient.contact", "BackboneElement", "Element"]


def test_invariants_are_said_where_they_belong(r4: Definitions) -> None:
    """On the type or element that R4 states them on, once."""
    assert [i.key for i in r4.invariants("Patient.contact")] == ["pat-1"]
    assert [i.key for i in r4.invariants("Element")] == ["ele-1"]
    assert [i.key for i in r4.invariants("Extension")] == ["ext-1"]
    assert {i.key: i.severity for i in r4.invariants("DomainResource")}["dom-6"] == "warning"
    assert [i.key for i in r4.invariants("Age")] == ["age-1"]
    assert r4.invariants("Patient") == ()
    assert r4.invariants("Patient.contact")[0].expression.startswith("name.exists()")


def test_a_resource_type_has_its_search_parameters_and_those_of_its_ancestors(r4: Definitions) -> None:
    """`_text` is of DomainResource, so a Bundle has none."""
    patient = r4.search_parameters("Patient")
    assert patient["birthdate"].type == "date"
    assert patient["general-practitioner"].targets == {"Organization", "Practitioner", "PractitionerRole"}
    assert patient["phonetic"].usage == "phonetic"
    assert {"_id", "_lastUpdated", "_text", "_content", "_filter"} <= set(patient)
    assert "_text" not in r4.search_parameters("Bundle")
    assert r4.search_parameters("Observation")["code"].url == "http://hl7.org/fhir/SearchParameter/clinical-code"


def test_a_composite_names_its_components(r4: Definitions) -> None:
    """Each leads to another parameter, with a path of its own."""
    pair = r4.search_parameters("Observation")["code-value-quantity"]
    assert pair.components == (
        ("clinical-code", "code"),
        ("Observation-value-quantity", "value.as(Quantity)"),
    )
    for parameter in r4.search_parameters_by_id.values():
        assert all(id in r4.search_parameters_by_id for id, _ in parameter.components)
        assert bool(parameter.components) == (parameter.type == "composite")


def test_no_resource_type_has_two_parameters_of_one_code(r4: Definitions) -> None:
    """So a search by code is never ambiguous."""
    for name in r4.resource_types:
        bases = set(r4.ancestry(name))
        codes = [p.code for p in r4.search_parameters_by_id.values() if bases & set(p.base)]
        assert len(codes) == len(set(codes))
    assert len(r4.search_parameters_by_id) == 1376


def test_compartments_name_search_parameters_that_exist(r4: Definitions) -> None:
    """In the five compartments, each code is one of the resource type, or the resource itself."""
    for compartment in ("Patient", "Encounter", "Device", "Practitioner", "RelatedPerson"):
        for name, codes in r4.compartment(compartment).items():
            assert set(codes) - {"{def}"} <= set(r4.search_parameters(name))
    assert r4.compartment("Patient")["Observation"] == ("subject", "performer")
    assert "Organization" not in r4.compartment("Patient")


def test_operations_say_what_they_are_invoked_with(r4: Definitions) -> None:
    """And what they are for."""
    operations = {o.id: o for o in r4.operations}
    assert len(operations) == 46
    everything = operations["Patient-everything"]
    assert (everything.code, everything.resources) == ("everything", ("Patient",))
    assert not everything.affects_state
    assert everything.url == "http://hl7.org/fhir/OperationDefinition/Patient-everything"
    assert [p.name for p in everything.parameters if p.use == "in"] == [
        "start", "end", "_since", "_type", "_count"
    ]  # fmt: skip
    lookup = {p.name: p for p in operations["CodeSystem-lookup"].parameters}
    assert [part.name for part in lookup["designation"].parts] == ["language", "use", "value"]


def test_codes_of_required_value_sets_are_listed_by_system(r4: Definitions) -> None:
    """A version in the canonical is passed over; what is not listed is told apart from what is empty."""
    gender = r4.codes(VALUE_SET + "administrative-gender|4.0.1")
    assert gender == {"http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}}
    assert r4.codes(VALUE_SET + "mimetypes") == {"urn:ietf:bcp:13": None}
    assert r4.codes(VALUE_SET + "observation-codes") is None


def test_every_required_binding_but_one_can_be_judged(r4: Definitions) -> None:
    """The exception is an answer list of LOINC that the package does not hold."""
    unknown = set()
    for name in r4.resource_types:
        for element in r4.type(name).elements.values():
            bound = element.binding
            if bound and bound.strength == "required" and r4.codes(bound.value_set) is None:
                unknown.add(bound.value_set)
    assert unknown == set()
    variant = r4.type("MolecularSequence.structureVariant").elements["variantType"].binding
    assert variant is not None
    assert r4.codes(variant.value_set) is None


def test_definitions_cannot_be_changed(r4: Definitions) -> None:
    """They are shared by every request."""
    with pytest.raises(TypeError):
        r4.type("Patient").elements["x"] = r4.type("Patient").elements["name"]  # type: ignore[index]
    with pytest.raises(TypeError):
        r4.search_parameters("Patient")["x"] = r4.search_parameters("Patient")["name"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        r4.type("Patient").elements["name"].min = 1  # type: ignore[misc]


@pytest.mark.r4_package
def test_the_committed_tables_are_what_the_package_gives(r4_package: Path) -> None:
    """Byte for byte."""
    package = r4_package.parent / "hl7.fhir.r4.examples-4.0.1.tgz"
    if not package.is_file():
        pytest.skip("the package itself is not beside its files: `make examples`")
    made = list(tables(str(package)))
    assert len(made) == 6
    for path, text in made:
        assert path.read_text(encoding="utf-8") == text, path.name
