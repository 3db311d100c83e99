"""No resource costs many times its own size in the index, and what is beyond the bounds is never taken for a match."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from fhir_server.errors import Malformed
from fhir_server.search.entries import Entries, Uri
from fhir_server.search.extract import extract
from fhir_server.search.facts import Facts
from fhir_server.search.kinds.sink import Sink
from fhir_server.search.match import Row, holds
from fhir_server.search.parse import parse
from fhir_server.search.registry import SearchRegistry

BASE = "http://localhost/fhir"
MEGABYTE = "x" * 1_000_000
FULL = "x" * 1_000


def entries(registry: SearchRegistry, type_: str, **elements: Any) -> Entries:
    return extract(registry, type_, {"resourceType": type_, **elements}, BASE)


def finds(registry: SearchRegistry, found: Entries, type_: str, name: str, value: str) -> bool:
    where = parse(registry, (type_,), [(name, value)], strict=True, base_url=BASE).plan.where
    return holds(where, Row(Facts(type_, "1", "record"), found, 0))


def characters(found: Entries) -> int:
    every = (*found.tokens, *found.strings, *found.quantities, *found.references, *found.uris)
    return sum(len(each) for entry in every for each in entry if isinstance(each, str))


def test_a_long_name_is_found_by_its_first_sixteen_words(registry: SearchRegistry) -> None:
    """Each of them starts one entry, so that 12 KB of words are no 40 MB of entries."""
    words = [f"w{number:02}" for number in range(4_000)]
    found = entries(registry, "Patient", name=[{"family": " ".join(words)}])
    assert len([each for each in found.strings if each.param == "family"]) == 16
    assert all(finds(registry, found, "Patient", "family", word) for word in words[:16])
    assert not finds(registry, found, "Patient", "family", words[16])
    assert finds(registry, found, "Patient", "family:contains", words[16])
    assert characters(found) < 100_000


@pytest.mark.parametrize(
    ("type_", "elements"),
    [
        ("Patient", {"name": [{"family": MEGABYTE, "given": ["é " * 500_000]}], "address": [{"city": MEGABYTE}]}),
        ("Patient", {"identifier": [{"system": MEGABYTE, "value": MEGABYTE, "type": {"text": MEGABYTE}}]}),
        ("Patient", {"gender": MEGABYTE, "telecom": [{"system": "phone", "value": MEGABYTE}]}),
        ("Observation", {"code": {"coding": [{"system": MEGABYTE, "code": MEGABYTE, "display": MEGABYTE}]}}),
        ("Observation", {"valueQuantity": {"value": 1, "system": MEGABYTE, "code": MEGABYTE, "unit": "y" + MEGABYTE}}),
        ("Observation", {"subject": {"reference": "http://x/" + MEGABYTE, "identifier": {"value": MEGABYTE}}}),
        ("Observation", {"meta": {"profile": ["http://x/" + MEGABYTE + "|1"], "source": "http://x/" + MEGABYTE}}),
        ("ValueSet", {"url": "http://x/" + MEGABYTE, "description": MEGABYTE}),
        ("ChargeItem", {"priceOverride": {"value": 1, "currency": MEGABYTE}}),
        ("Bundle", {"type": "document", "entry": [{"resource": {"resourceType": "Composition", "id": MEGABYTE}}]}),
    ],
)
def test_a_text_of_a_megabyte_is_no_key_of_the_index(
    registry: SearchRegistry, type_: str, elements: dict[str, Any]
) -> None:
    """Of whatever kind it is: something is there, and it is short."""
    assert 1_000 < characters(entries(registry, type_, **elements)) < 100_000


def test_a_text_that_was_cut_is_found_by_its_beginning_alone(registry: SearchRegistry) -> None:
    """It is not missing, and nothing that can be asked for is the same as it."""
    patient = entries(
        registry, "Patient", name=[{"family": FULL + "y"}], identifier=[{"system": "s", "value": FULL + "y"}]
    )
    assert finds(registry, patient, "Patient", "family", FULL)
    assert not finds(registry, patient, "Patient", "family:exact", FULL)
    assert not finds(registry, patient, "Patient", "identifier", FULL)
    assert finds(registry, patient, "Patient", "identifier", "s|")
    assert finds(registry, patient, "Patient", "identifier:missing", "false")


def test_a_text_of_a_thousand_characters_is_found_whole(registry: SearchRegistry) -> None:
    """As the longest that can be asked for; a longer value is refused by the name of its parameter."""
    patient = entries(registry, "Patient", name=[{"family": FULL}], identifier=[{"value": FULL}])
    for name in ("family", "family:exact", "family:contains", "identifier"):
        assert finds(registry, patient, "Patient", name, FULL)
        with pytest.raises(Malformed) as raised:
            finds(registry, patient, "Patient", name, FULL + "x")
        assert raised.value.issues[0].expression == name


def test_a_uri_that_was_cut_is_below_another_and_above_none(registry: SearchRegistry) -> None:
    """Its beginning is its own; the whole of it cannot be asked for."""
    url = "http://x/" + FULL
    found = entries(registry, "ValueSet", url=url)
    assert finds(registry, found, "ValueSet", "url:below", "http://x/xxx")
    assert not finds(registry, found, "ValueSet", "url:above", url[:1_000])
    assert not finds(registry, found, "ValueSet", "url", url[:1_000])


def test_a_parameter_has_a_thousand_entries_of_a_resource(registry: SearchRegistry) -> None:
    """Other parameters have their own thousand, and what was found twice takes one place."""
    identifiers = [{"value": str(number // 2)} for number in range(10_000)]
    found = entries(registry, "Patient", identifier=identifiers, name=[{"given": ["a b c"] * 9 + ["d"]}], active=True)
    assert [each.code for each in found.tokens if each.param == "identifier"] == [str(n) for n in range(1_000)]
    assert finds(registry, found, "Patient", "active", "true")
    assert finds(registry, found, "Patient", "given", "d")


def test_a_code_element_is_found_with_the_system_that_r4_binds_it_to(registry: SearchRegistry) -> None:
    """It says no system itself: its own, none and any find it, another does not."""
    found = entries(registry, "Patient", gender="male")
    gender = "http://hl7.org/fhir/administrative-gender|"
    for value in ("male", "|male", gender + "male", gender):
        assert finds(registry, found, "Patient", "gender", value)
    for value in (gender + "female", "http://x|male", "female"):
        assert not finds(registry, found, "Patient", "gender", value)
    assert not finds(registry, found, "Patient", "gender:not", gender + "male")
    assert registry.parameters("Encounter")["status"].system == "http://hl7.org/fhir/encounter-status"


def test_only_codes_of_one_required_system_have_it_for_granted(registry: SearchRegistry) -> None:
    """Not those of two systems, of none that is required, nor concepts, which say theirs."""
    for type_, code in (("Task", "intent"), ("CodeSystem", "code"), ("Observation", "category"), ("Patient", "name")):
        assert registry.parameters(type_)[code].system == ""


def test_many_components_take_time_in_proportion(registry: SearchRegistry) -> None:
    """Their values are not compared with each other: a thousand combinations of each composite, and no more."""
    components = [{"code": {"coding": [{"code": str(n)}]}, "valueQuantity": {"value": n}} for n in range(20_000)]
    found = entries(registry, "Observation", component=components)
    assert len([each for each in found.combinations if each.param == "component-code-value-quantity"]) == 1_000
    assert finds(registry, found, "Observation", "component-code-value-quantity", "999$999")
    assert not finds(registry, found, "Observation", "component-code-value-quantity", "1000$1000")


def test_what_is_gathered_takes_no_more_room_than_the_index() -> None:
    """A quarter of a million values of one parameter are gathered in a hundred thousand places, and the first thousand
    different ones are kept."""
    sink, most = Sink(BASE, UTC), 0
    for number in sink.bounded(list(range(250_000))):
        sink.uris.append(Uri("url", f"urn:{number // 2}"))
        most = max(most, len(sink.uris))
    assert most < 101_000
    assert sink.entries().uris == tuple(Uri("url", f"urn:{number}") for number in range(1_000))
