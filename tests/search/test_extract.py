"""From a resource to its index entries, type by type."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf, nextafter
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.definitions import Definitions
from fhir_server.search.entries import Amount, Entries, Number, Ref, Span, Text, Token, Uri
from fhir_server.search.extract import extract
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"
OPEN = 2**62


@pytest.fixture(scope="session")
def indexed(registry: SearchRegistry) -> Any:
    """The entries of a resource under one code, whatever their kind."""

    def entries_of(resource_type: str, param: str, /, **elements: Any) -> list[Any]:
        found = extract(registry, resource_type, {"resourceType": resource_type, **elements}, BASE)
        return [each for kind in every_kind(found) for each in kind if each.param.partition(":")[0] == param]

    return entries_of


def every_kind(found: Entries) -> list[tuple[Any, ...]]:
    return [
        found.tokens,
        found.strings,
        found.dates,
        found.numbers,
        found.quantities,
        found.references,
        found.uris,
    ]


def us(text: str) -> int:
    """Microseconds of an ISO moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


# Tokens


def test_a_concept_gives_a_token_for_every_coding_and_its_words_apart(indexed: Any) -> None:
    """Codings without a code give none; the text and displays are found by :text."""
    code = {
        "coding": [
            {"system": "http://loinc.org", "code": "85354-9", "display": "Blood pressure"},
            {"code": "bp"},
            {"system": "http://x", "display": "Only words"},
        ],
        "text": "Tension artérielle",
    }
    assert indexed("Observation", "code", code=code) == [
        Token("code", "http://loinc.org", "85354-9"),
        Token("code", None, "bp"),
        Text("code:text", "blood pressure", ""),
        Text("code:text", "only words", ""),
        Text("code:text", "tension arterielle", ""),
    ]


@pytest.mark.parametrize(
    ("resource_type", "code", "elements", "entries"),
    [
        ("Observation", "status", {"status": "final"}, [Token("status", None, "final")]),
        ("Patient", "active", {"active": True}, [Token("active", None, "true")]),
        ("Patient", "active", {"active": False}, [Token("active", None, "false")]),
        ("Patient", "active", {"active": "true"}, []),
        ("Patient", "deceased", {}, [Token("deceased", None, "false")]),
        ("Patient", "deceased", {"deceasedDateTime": "2024"}, [Token("deceased", None, "true")]),
        ("Patient", "deceased", {"deceasedBoolean": False}, [Token("deceased", None, "false")]),
        (
            "Patient",
            "identifier",
            {"identifier": [{"system": "urn:oid:1.2", "value": "9", "type": {"text": "INS"}}, {"system": "urn:oid:3"}]},
            [Token("identifier", "urn:oid:1.2", "9"), Text("identifier:text", "ins", "")],
        ),
        (
            "Patient",
            "telecom",
            {"telecom": [{"system": "phone", "value": "+33 1"}, {"system": "email", "value": "a@b.c"}]},
            [Token("telecom", None, "+33 1"), Token("telecom", None, "a@b.c")],
        ),
        ("Patient", "email", {"telecom": [{"system": "phone", "value": "1"}]}, []),
        ("Patient", "phone", {"telecom": [{"system": "phone", "value": "1"}]}, [Token("phone", None, "1")]),
        (
            "Encounter",
            "class",
            {"class": {"system": "http://v3", "code": "AMB"}},
            [Token("class", "http://v3", "AMB")],
        ),
        ("Observation", "_tag", {"meta": {"tag": [{"code": "t"}]}}, [Token("_tag", None, "t")]),
        (
            "Observation",
            "_security",
            {"meta": {"security": [{"system": "s", "code": "R"}]}},
            [Token("_security", "s", "R")],
        ),
        ("ValueSet", "version", {"version": "1.0"}, [Token("version", None, "1.0")]),
        ("Observation", "_id", {"id": "o1"}, []),
        ("Observation", "_lastUpdated", {"meta": {"lastUpdated": "2024-01-01T00:00:00Z"}}, []),
    ],
)
def test_tokens(indexed: Any, resource_type: str, code: str, elements: dict[str, Any], entries: list[Any]) -> None:
    """Each type as R4 tabulates it; id and last change are facts of the row, not entries."""
    assert indexed(resource_type, code, **elements) == entries


# Strings


def test_a_name_is_found_by_each_of_its_parts_and_their_later_words(indexed: Any) -> None:
    """The parts of a double family name stand for themselves; only the whole part is an exact match."""
    name = [{"use": "official", "family": "Le Gall-Hervé", "given": ["Anne", "Zoë"], "prefix": ["Dr."]}]
    assert indexed("Patient", "name", name=name) == [
        Text("name", "le gall herve", "Le Gall-Hervé"),
        Text("name", "gall herve", ""),
        Text("name", "herve", ""),
        Text("name", "anne", "Anne"),
        Text("name", "zoe", "Zoë"),
        Text("name", "dr", "Dr."),
    ]
    assert indexed("Patient", "family", name=name) == [
        Text("family", "le gall herve", "Le Gall-Hervé"),
        Text("family", "gall herve", ""),
        Text("family", "herve", ""),
    ]
    assert [each.exact for each in indexed("Patient", "phonetic", name=name)] == ["l", "gl", "arv", "an", "s"]


def test_an_address_is_found_by_each_of_its_parts(indexed: Any) -> None:
    """Not by its use or period."""
    address = [{"use": "home", "line": ["12, rue de l'Église"], "city": "Évry", "postalCode": "91000"}]
    assert [each.normal for each in indexed("Patient", "address", address=address)] == [
        "12 rue de l eglise",
        "evry",
        "91000",
    ]
    assert indexed("Patient", "address-city", address=address) == [Text("address-city", "evry", "Évry")]


def test_a_string_of_punctuation_alone_is_no_entry(indexed: Any) -> None:
    """Nothing could be looked for."""
    assert indexed("DocumentReference", "description", description="— … —") == []
    assert indexed("DocumentReference", "description", description="Lettre") == [
        Text("description", "lettre", "Lettre")
    ]


# Dates


@pytest.mark.parametrize(
    ("element", "value", "low", "high"),
    [
        ("effectiveDateTime", "2024", us("2024-01-01"), us("2025-01-01")),
        ("effectiveDateTime", "2024-02", us("2024-02-01"), us("2024-03-01")),
        ("effectiveDateTime", "2024-02-29", us("2024-02-29"), us("2024-03-01")),
        ("effectiveDateTime", "2024-05-01T10:00:00+02:00", us("2024-05-01T08:00:00"), us("2024-05-01T08:00:01")),
        ("effectiveInstant", "2024-05-01T08:00:00Z", us("2024-05-01T08:00:00"), us("2024-05-01T08:00:01")),
        ("effectivePeriod", {"start": "2024", "end": "2024-02"}, us("2024-01-01"), us("2024-03-01")),
        ("effectivePeriod", {"start": "2024"}, us("2024-01-01"), OPEN),
        ("effectivePeriod", {"end": "2024"}, -OPEN, us("2025-01-01")),
        ("effectivePeriod", {"start": "2024", "end": "2023"}, us("2024-01-01"), us("2024-01-01")),
        (
            "effectiveTiming",
            {"event": ["2024-03-01", "2024-01-01"], "repeat": {"boundsPeriod": {"start": "2024-01-02"}}},
            us("2024-01-01"),
            OPEN,
        ),
        ("effectiveTiming", {"event": ["2024-03-01", "2024-01-01"]}, us("2024-01-01"), us("2024-03-02")),
    ],
)
def test_dates_are_as_wide_as_their_precision(indexed: Any, element: str, value: Any, low: int, high: int) -> None:
    """Periods are open where they do not say, empty when they end too soon; of a Timing the outer limits matter."""
    assert indexed("Observation", "date", **{element: value}) == [Span("date", low, high)]


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("effectiveDateTime", "yesterday"),
        ("effectiveDateTime", "2023-02-29"),
        ("effectivePeriod", {}),
        ("effectivePeriod", {"start": "soon", "end": "2024"}),
        ("effectiveTiming", {"repeat": {"frequency": 1}}),
        ("effectiveTiming", {"event": ["soon"]}),
    ],
)
def test_what_is_no_date_gives_no_entry(indexed: Any, element: str, value: Any) -> None:
    """A period half unreadable is unreadable: an open end is something else."""
    assert indexed("Observation", "date", **{element: value}) == []


@pytest.mark.parametrize(
    ("resource_type", "code", "elements"),
    [
        ("Invoice", "totalnet", {"totalNet": "12 EUR"}),
        ("Invoice", "totalnet", {"totalNet": {"currency": "EUR"}}),
        ("Observation", "value-quantity", {"valueQuantity": 5}),
        ("Condition", "onset-age", {"onsetRange": "adult"}),
        ("RiskAssessment", "probability", {"prediction": [{"probabilityRange": []}, {"probabilityDecimal": "1"}]}),
        ("Observation", "category", {"category": ["vital-signs"]}),
        ("Observation", "_tag", {"meta": {"tag": ["t"]}}),
        ("Patient", "telecom", {"telecom": ["+33"]}),
        ("Patient", "identifier", {"identifier": ["1"]}),
        ("Patient", "name", {"name": ["Dupont"]}),
        ("Observation", "date", {"effectivePeriod": "2024", "effectiveTiming": "2024"}),
        ("Bundle", "composition", {"entry": [{"resource": "c"}]}),
        ("Observation", "subject", {"subject": "Patient/1"}),
        ("CarePlan", "instantiates-canonical", {"instantiatesCanonical": ["#p", {}]}),
    ],
)
def test_values_of_another_shape_are_passed_over(
    indexed: Any, resource_type: str, code: str, elements: dict[str, Any]
) -> None:
    """Each kind by itself."""
    assert indexed(resource_type, code, **elements) == []


def test_a_date_in_words_gives_no_entry(indexed: Any) -> None:
    """occurrenceString is no point in time."""
    assert indexed("Immunization", "date", occurrenceString="as a child") == []


def test_dates_without_offset_are_read_in_the_zone_of_the_registry(definitions: Definitions) -> None:
    """A birthday in Paris begins at 23:00 UTC of the day before."""
    registry = SearchRegistry(definitions, zone=ZoneInfo("Europe/Paris"))
    found = extract(registry, "Patient", {"birthDate": "2024-01-01"}, BASE)
    assert found.dates == (Span("birthdate", us("2023-12-31T23:00:00"), us("2024-01-01T23:00:00")),)


# Numbers and quantities

UCUM = "http://unitsofmeasure.org"


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        ({"value": 5.4, "system": UCUM, "code": "mg", "unit": "mg"}, [(UCUM, "mg", 5.4, 5.4)]),
        ({"value": 120, "system": UCUM, "code": "mm[Hg]", "unit": "mmHg"},
         [(UCUM, "mm[Hg]", 120.0, 120.0), ("", "mmHg", 120.0, 120.0)]),
        ({"value": 3, "unit": "tablets"}, [("", "", 3.0, 3.0), ("", "tablets", 3.0, 3.0)]),
        ({"value": 3}, [("", "", 3.0, 3.0)]),
        ({"value": 3, "comparator": "<"}, [("", "", -inf, nextafter(3.0, -inf))]),
        ({"value": 3, "comparator": "<="}, [("", "", -inf, 3.0)]),
        ({"value": 3, "comparator": ">="}, [("", "", 3.0, inf)]),
        ({"value": 3, "comparator": ">"}, [("", "", nextafter(3.0, inf), inf)]),
        ({"unit": "mg"}, []),
        ({"value": "3"}, []),
        ({"value": True}, []),
        ({"value": 10**400}, []),
    ],
)  # fmt: skip
def test_quantities(indexed: Any, value: Any, entries: list[Any]) -> None:
    """The exact value, or what a comparator leaves open; the unit's code, and its name where that differs."""
    expected = [Amount("value-quantity", *each) for each in entries]
    found = indexed("Observation", "value-quantity", valueQuantity=value)
    assert [each for each in found if each.param == "value-quantity"] == expected


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        ({"value": 5.4, "code": "mg"}, [("g", 0.0054, 0.0054)]),
        ({"value": 120, "code": "mm[Hg]"}, [("g.m-1.s-2", 15998640.0, 15998640.0)]),
        ({"value": 37, "code": "Cel"}, [("K", 310.15, 310.15)]),
        ({"value": 5, "comparator": "<", "code": "mg"}, [("g", -inf, nextafter(0.005, -inf))]),
        ({"value": 5, "comparator": ">=", "code": "kg"}, [("g", 5000.0, inf)]),
        ({"value": 7, "code": "[pH]"}, []),
        ({"value": 7, "code": "spoons"}, []),
        ({"value": 7}, []),
        ({"value": 7, "code": "mg", "system": "http://x"}, []),
    ],
)
def test_an_amount_of_ucum_is_in_base_units_too(indexed: Any, value: Any, entries: list[Any]) -> None:
    """Under a parameter of its own, so that a number without unit is that of the resource."""
    found = indexed("Observation", "value-quantity", valueQuantity={"system": UCUM, **value})
    converted = [each for each in found if each.param == "value-quantity:ucum"]
    assert converted == [Amount("value-quantity:ucum", UCUM, *each) for each in entries]


def test_a_range_a_price_and_an_age_are_quantities(indexed: Any) -> None:
    """A Range with its open end; Money under the code system of currencies."""
    low, years = {"value": 2, "system": UCUM, "code": "a"}, 2 * 365.25 * 86_400
    for elements, ends, converted in (
        ({"onsetRange": {"low": low}}, (2.0, inf), (years, inf)),
        ({"onsetRange": {"high": low}}, (-inf, 2.0), (-inf, years)),
        ({"onsetRange": {"low": low, "high": {**low, "value": 4}}}, (2.0, 4.0), (years, 2 * years)),
        ({"onsetAge": low}, (2.0, 2.0), (years, years)),
    ):
        assert indexed("Condition", "onset-age", **elements) == [
            Amount("onset-age", UCUM, "a", *ends),
            Amount("onset-age:ucum", UCUM, "s", *converted),
        ]
    assert indexed("Condition", "onset-age", onsetRange={}) == []
    assert indexed("Invoice", "totalnet", totalNet={"value": 12.5, "currency": "EUR"}) == [
        Amount("totalnet", "urn:iso:std:iso:4217", "EUR", 12.5, 12.5)
    ]
    assert indexed("Invoice", "totalnet", totalNet={"value": 12.5}) == [Amount("totalnet", "", "", 12.5, 12.5)]


def test_a_series_of_measurements_gives_no_quantity(indexed: Any) -> None:
    """SampledData has no one value."""
    sampled = {"origin": {"value": 1}, "period": 1, "dimensions": 1, "data": "1 2"}
    assert indexed("Observation", "value-quantity", valueSampledData=sampled) == []


def test_numbers(indexed: Any) -> None:
    """Decimals and integers as they are, a Range of probability by its ends."""
    assert indexed("ChargeItem", "factor-override", factorOverride=0.8) == [Number("factor-override", 0.8, 0.8)]
    prediction = [{"probabilityDecimal": 0.25}, {"probabilityRange": {"low": {"value": 0.1}, "high": {"value": 0.2}}}]
    assert indexed("RiskAssessment", "probability", prediction=prediction) == [
        Number("probability", 0.25, 0.25),
        Number("probability", 0.1, 0.2),
    ]


# References and uris


@pytest.mark.parametrize(
    ("reference", "targets"),
    [
        ("Patient/1", ["Patient/1"]),
        ("Patient/1/_history/2", ["Patient/1"]),
        (f"{BASE}/Patient/1", ["Patient/1"]),
        (f"{BASE}/Patient/1/_history/2", ["Patient/1"]),
        ("http://elsewhere/fhir/Patient/1", ["http://elsewhere/fhir/Patient/1"]),
        ("http://elsewhere/fhir/Patient/1/_history/2", ["http://elsewhere/fhir/Patient/1"]),
        ("http://localhost/fhir2/Patient/1", ["http://localhost/fhir2/Patient/1"]),
        ("urn:uuid:1-2", ["urn:uuid:1-2"]),
        ("#contained", []),
        ("Patient?identifier=1", []),
        ("patient/1", []),
        ("", []),
        (7, []),
    ],
)
def test_references(indexed: Any, reference: Any, targets: list[str]) -> None:
    """Local ones as Type/id without version, foreign ones whole, contained and conditional ones not at all."""
    found = indexed("Observation", "subject", subject={"reference": reference})
    assert found == [Ref("subject", target) for target in targets]


def test_a_logical_reference_is_a_token_of_its_own(indexed: Any) -> None:
    """Beside the literal one, if both are there."""
    subject = {"reference": "Patient/1", "identifier": {"system": "urn:oid:1.2", "value": "9"}}
    assert indexed("Observation", "subject", subject=subject) == [
        Token("subject:identifier", "urn:oid:1.2", "9"),
        Ref("subject", "Patient/1"),
    ]


def test_the_patient_parameter_takes_patients_alone(indexed: Any) -> None:
    """`resolve() is Patient`, decided by the reference itself."""
    assert indexed("Observation", "patient", subject={"reference": "Patient/1"}) == [Ref("patient", "Patient/1")]
    assert indexed("Observation", "patient", subject={"reference": "Group/1"}) == []


def test_a_canonical_is_found_with_and_without_its_version(indexed: Any) -> None:
    """Under reference and uri parameters alike."""
    canonical = "http://x/PlanDefinition/p|1.0"
    assert indexed("CarePlan", "instantiates-canonical", instantiatesCanonical=[canonical]) == [
        Ref("instantiates-canonical", canonical),
        Ref("instantiates-canonical", "http://x/PlanDefinition/p"),
        Uri("instantiates-canonical:canonical", "http://x/PlanDefinition/p"),
    ]
    assert indexed("Observation", "_profile", meta={"profile": [canonical, "http://x/y"]}) == [
        Uri("_profile", canonical),
        Uri("_profile", "http://x/PlanDefinition/p"),
        Uri("_profile", "http://x/y"),
    ]
    assert indexed("ValueSet", "url", url="http://x/ValueSet/v") == [Uri("url", "http://x/ValueSet/v")]


def test_the_first_entry_of_a_document_is_referred_to(indexed: Any) -> None:
    """Bundle?composition= finds the document by its Composition."""
    entry = [{"resource": {"resourceType": "Composition", "id": "c1"}}, {"resource": {"resourceType": "Patient"}}]
    assert indexed("Bundle", "composition", entry=entry) == [Ref("composition", "Composition/c1")]


# The whole


def test_entries_are_given_once_in_order(registry: SearchRegistry) -> None:
    """The same code twice is one entry."""
    coding = {"system": "http://loinc.org", "code": "1"}
    resource = {"resourceType": "Observation", "category": [{"coding": [coding, coding]}, {"coding": [coding]}]}
    assert extract(registry, "Observation", resource, BASE).tokens == (Token("category", "http://loinc.org", "1"),)


def test_every_type_has_its_indexes_and_every_value_type_its_way_in(
    registry: SearchRegistry, definitions: Definitions
) -> None:
    """A FHIR type that a kind does not know would be an error here, not a silent gap."""
    for resource_type in definitions.resource_types:
        assert registry.indexes(resource_type)
        assert extract(registry, resource_type, {"resourceType": resource_type}, BASE).references == ()


def test_an_unknown_resource_type_is_a_key_error(registry: SearchRegistry) -> None:
    """It cannot have come this far."""
    with pytest.raises(KeyError):
        extract(registry, "Colour", {}, BASE)


NAMES = st.sampled_from([
    "identifier", "name", "family", "given", "telecom", "system", "value", "birthDate", "deceasedDateTime", "address",
    "line", "generalPractitioner", "reference", "meta", "tag", "profile", "code", "coding", "display", "text", "type",
    "effectivePeriod", "start", "end", "effectiveTiming", "event", "repeat", "boundsPeriod", "valueQuantity", "unit",
    "comparator", "subject", "valueRange", "low", "high", "component", "active", "url", "status", "extension",
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6) | st.just("2024-01"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, JSON, max_size=8))
def test_no_shape_makes_the_extraction_raise(registry: SearchRegistry, resource: dict[str, Any]) -> None:
    """And whatever is found is of the declared types."""
    for resource_type in ("Patient", "Observation", "ValueSet"):
        found = extract(registry, resource_type, {**resource, "resourceType": resource_type}, BASE)
        assert all(isinstance(each.code, str) and isinstance(each.system, str | None) for each in found.tokens)
        assert all(isinstance(each.low, int) and each.low <= each.high for each in found.dates)
        assert all(isinstance(each.low, float) for each in (*found.numbers, *found.quantities))
        assert all(isinstance(each[-1], str) for each in (*found.strings, *found.references, *found.uris))
