"""Which parameters each type has, and which of them can be asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fhir_server.fhir.definitions import Definitions
from fhir_server.search.parse import parse
from fhir_server.search.predicate import FALSE, TRUE
from fhir_server.search.registry import Parameter, ProjectParameter, SearchRegistry, project_parameters

BASE = "http://localhost/fhir"


def test_every_parameter_of_r4_is_known_for_every_type(registry: SearchRegistry, definitions: Definitions) -> None:
    """With its canonical, its kind and its targets."""
    for resource_type in definitions.resource_types:
        known = registry.parameters(resource_type)
        for code, defined in definitions.search_parameters(resource_type).items():
            assert (known[code].url, known[code].type) == (defined.url, defined.type)


def test_what_cannot_be_asked_for_yet_is_a_short_list(registry: SearchRegistry, definitions: Definitions) -> None:
    """Positions, and queries by name; everything else is built."""
    parameters = [each for type_ in definitions.resource_types for each in registry.parameters(type_).values()]
    assert {each.code for each in parameters if not each.built} == {"_query", "near"}
    asked = Counter(each.type for type_ in definitions.resource_types for each in registry.searchable(type_))
    assert asked["composite"] == 72
    assert sum(asked.values()) == len([each for each in parameters if each.code not in ("_query", "near")])


def test_a_kind_knows_every_type_that_a_parameter_of_r4_leads_to(
    registry: SearchRegistry, definitions: Definitions
) -> None:
    """Values of other types would be passed over."""
    for type_ in definitions.resource_types:
        for each in registry.searchable(type_):
            if each.expression and each.type != "composite":
                assert each.kind.add.keys() >= set(each.types), (type_, each.code)


def test_every_parameter_that_can_be_asked_for_parses(registry: SearchRegistry, definitions: Definitions) -> None:
    """A value of its kind, for every parameter of every type, strictly."""
    values = {
        "token": "a",
        "string": "a",
        "date": "2024",
        "number": "1",
        "quantity": "1",
        "reference": "Patient/1",
        "uri": "http://x",
    }
    for resource_type in definitions.resource_types:
        for each in registry.searchable(resource_type):
            value = "$".join(values[part.parameter.type] for part in each.components) or values.get(each.type, "")
            value = "_id eq a" if each.code == "_filter" else value
            query = parse(registry, (resource_type,), [(each.code, value)], strict=True, base_url=BASE)
            assert query.used
            assert query.plan.where not in (TRUE, FALSE)


def test_the_patient_parameter_leads_to_patients_alone(registry: SearchRegistry, definitions: Definitions) -> None:
    """Also where R4's shared definition names Group beside Patient."""
    for resource_type in definitions.resource_types:
        patient = registry.find(resource_type, "patient")
        assert patient is None or patient.targets == {"Patient"}


def test_a_parameter_of_ones_own_takes_its_place_among_those_of_r4(definitions: Definitions) -> None:
    """Under its code and its aliases, for its types."""
    own = Parameter("nick", "string", "http://x/nick", "Patient.name.text", aliases=("Nickname",))
    registry = SearchRegistry(definitions, [ProjectParameter(("Patient",), own)])
    found = registry.find("Patient", "Nickname")
    assert found is not None
    assert (found.code, found.types) == ("nick", ("string",))
    assert registry.find("Patient", "nick") is found
    assert registry.find("Person", "nick") is None
    assert registry.find("List", "designationType") is None


def test_an_expression_that_does_not_compile_is_an_error(definitions: Definitions) -> None:
    """As soon as its type is asked for."""
    own = Parameter("nick", "string", "http://x/nick", "Patient.nick")
    with pytest.raises(ValueError, match="nick"):
        SearchRegistry(definitions, [ProjectParameter(("Patient",), own)]).parameters("Patient")


def test_an_unknown_type_is_a_key_error(registry: SearchRegistry) -> None:
    """In every question."""
    questions: list[Any] = [registry.parameters, registry.searchable, registry.indexes, registry.holders]
    for question in questions:
        with pytest.raises(KeyError):
            question("Colour")


def test_the_projects_own_parameters_name_types_and_canonicals_that_exist(definitions: Definitions) -> None:
    """One row a parameter, no alias twice."""
    rows = project_parameters()
    for row in rows:
        assert definitions.resource_types.issuperset(row.base)
        assert row.parameter.url.startswith("http")
    names = Counter(
        (base, name) for row in rows for base in row.base for name in (row.parameter.code, *row.parameter.aliases)
    )
    assert set(names.values()) == {1}
