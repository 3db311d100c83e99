"""What shapes an answer: sort, summary, elements, includes."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.search.parse import parse
from fhir_server.search.plan import Sort
from fhir_server.search.query import Include, Query
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"


@pytest.fixture(scope="session")
def ask(registry: SearchRegistry) -> Any:
    """Parse `Type?name=value&…` written out as pairs, strictly unless told otherwise."""

    def asked(types: str, *pairs: tuple[str, str], strict: bool = True, **more: Any) -> Query:
        return parse(registry, tuple(types.split(",")), pairs, strict=strict, base_url=BASE, **more)

    return asked


def code(raised: pytest.ExceptionInfo[Malformed]) -> list[tuple[str, str]]:
    return [(issue.code, issue.expression) for issue in raised.value.issues]


@pytest.mark.parametrize(
    ("types", "value", "keys"),
    [
        ("Observation", "_lastUpdated", (Sort("_lastUpdated"),)),
        ("Observation", "-_lastUpdated", (Sort("_lastUpdated", descending=True),)),
        ("Observation", "-_id", (Sort("_id", descending=True),)),
        ("Observation", "-date,code,_id", (Sort("date", "date", True), Sort("code", "token"), Sort("_id"))),
        ("Patient", "family,-birthdate", (Sort("family", "string"), Sort("birthdate", "date", True))),
        ("Observation", "value-quantity", (Sort("value-quantity", "quantity"),)),
        ("Observation", "subject", (Sort("subject", "reference"),)),
        ("RiskAssessment", "probability", (Sort("probability", "number"),)),
        ("ValueSet", "url", (Sort("url", "uri"),)),
        ("DocumentReference", "PDSm_DocumentReference_period-start", (Sort("period-start", "date"),)),
        ("Condition,Observation", "code", (Sort("code", "token"),)),
    ],
)
def test_a_search_is_sorted_by_any_parameter_that_has_an_order(
    ask: Any, types: str, value: str, keys: tuple[Sort, ...]
) -> None:
    """Several of them, each in its direction."""
    query = ask(types, ("_sort", value))
    assert query.plan.sort == keys
    assert query.used == (("_sort", value),)


def test_every_sortable_parameter_sorts(registry: SearchRegistry, definitions: Definitions, ask: Any) -> None:
    """All but composites, positions, sounds and words."""
    for type_ in definitions.resource_types:
        for each in registry.searchable(type_):
            if each.sortable:
                (key,) = ask(type_, ("_sort", each.code)).plan.sort
                assert key.kind in ("row", each.type)
            else:
                assert each.type in ("composite", "special") or each.code in ("phonetic", "_text", "_content")


def test_what_not_all_types_have_in_common_is_no_order(ask: Any) -> None:
    """A parameter that one of them does not have, or has of another kind."""
    query = ask("Condition,Observation", ("_sort", "onset-date"), strict=False)
    assert query.plan.sort == ()
    assert [warning.expression for warning in query.warnings] == ["_sort"]
    with pytest.raises(Malformed) as raised:
        ask("Claim,Medication", ("_sort", "status,identifier,colour"))
    assert code(raised) == [("not-supported", "_sort")]


def test_an_order_has_five_keys_at_the_most(ask: Any) -> None:
    """More are too costly."""
    with pytest.raises(Malformed) as raised:
        ask("Observation", ("_sort", "date,code,status,subject,_id,_lastUpdated"))
    assert code(raised) == [("too-costly", "_sort")]


@pytest.mark.parametrize(
    ("value", "summary", "limit"),
    [("true", "true", 20), ("text", "text", 20), ("data", "data", 20), ("count", "count", 0), ("false", "", 20)],
)  # fmt: skip
def test_all_five_summaries_are_known(ask: Any, value: str, summary: str, limit: int) -> None:
    """The one of the count asks for no rows."""
    query = ask("Observation", ("_summary", value))
    assert (query.summary, query.plan.limit, query.used) == (summary, limit, (("_summary", value),))


def test_a_summary_of_the_text_comes_without_includes(ask: Any) -> None:
    """As R4 has it."""
    with pytest.raises(Malformed) as raised:
        ask("Observation", ("_summary", "text"), ("_include", "Observation:subject"))
    assert code(raised) == [("value", "_summary")]


def test_elements_are_those_of_the_type(ask: Any) -> None:
    """By their names, or as JSON has them; a choice by either."""
    query = ask("Observation", ("_elements", "code,valueQuantity,status,code,id,meta"))
    assert query.elements == ("code", "value", "status", "id", "meta")
    assert query.used == (("_elements", "code,valueQuantity,status,code,id,meta"),)
    assert ask("Observation", ("_elements", "value[x]")).elements == ("value",)
    assert ask("Observation,Patient", ("_elements", "birthDate,code")).elements == ("birthDate", "code")
    query = ask("Observation", ("_elements", "code,colour"), strict=False)
    assert (query.elements, query.used) == ((), ())
    for wrong in ("colour", "code.text", "Observation.code", ","):
        with pytest.raises(Malformed) as raised:
            ask("Observation", ("_elements", wrong))
        assert code(raised) == [("not-supported", "_elements")]


@pytest.mark.parametrize(
    ("types", "name", "value", "include"),
    [
        ("Observation", "_include", "Observation:subject", Include("Observation", "subject")),
        ("Observation", "_include", "Observation:subject:Patient", Include("Observation", "subject", "Patient")),
        ("Observation", "_include", "Observation:*", Include("Observation", "*")),
        ("Observation", "_include", "*", Include("*", "*")),
        ("Observation", "_include:iterate", "Patient:general-practitioner",
         Include("Patient", "general-practitioner", iterate=True)),
        ("Patient", "_revinclude", "Observation:patient", Include("Observation", "patient", reverse=True)),
        ("Patient", "_revinclude", "Provenance:*", Include("Provenance", "*", reverse=True)),
        ("Patient", "_revinclude:iterate", "Provenance:target",
         Include("Provenance", "target", reverse=True, iterate=True)),
        ("List", "_include", "List:PDSm_List_PatientAsSource", Include("List", "source")),
    ],
)  # fmt: skip
def test_includes(ask: Any, types: str, name: str, value: str, include: Include) -> None:
    """Forwards and backwards, of one type or all, again from what was included."""
    query = ask(types, (name, value))
    assert query.includes == (include,)
    assert query.used == ((name, value),)


def test_includes_are_repeated_but_not_without_end(ask: Any) -> None:
    """Ten of them, in an order that does not depend on the client's."""
    pairs = [
        ("_revinclude", "Provenance:target"),
        ("_include", "Observation:subject"),
        ("_include", "Observation:device"),
    ]
    one, other = ask("Observation", *pairs), ask("Observation", *reversed(pairs))
    assert one == other
    assert [each.param for each in one.includes] == ["device", "subject", "target"]
    with pytest.raises(Malformed) as raised:
        ask("Observation", *[("_include", "Observation:subject")] * 11)
    assert code(raised) == [("too-costly", "_include")]


def test_that_contained_resources_are_not_looked_for_is_understood(ask: Any) -> None:
    """It asks for nothing."""
    query = ask("Observation", ("_contained", "false"), ("_containedType", "container"))
    assert query.used == (("_contained", "false"), ("_containedType", "container"))


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("Patient", {"Observation", "Condition", "Patient", "Appointment"}),
        ("Encounter", {"Observation", "Condition", "Encounter"}),
        ("Practitioner", {"Observation", "Appointment", "Practitioner"}),
        ("Device", {"Observation", "Appointment", "Device"}),
        ("RelatedPerson", {"Observation", "Appointment", "RelatedPerson"}),
    ],
)
def test_compartments_have_members(registry: SearchRegistry, ask: Any, name: str, types: set[str]) -> None:
    """And each member can be searched in each of the five, all of them at once too."""
    members = registry.members(name)
    assert set(members) >= types
    assert "ValueSet" not in members
    query = parse(registry, members, [("_lastUpdated", "ge2024")], strict=True, base_url=BASE, compartment=(name, "1"))
    assert query.plan.types == members
    assert query.plan.patients == (("1",) if name == "Patient" else None)
