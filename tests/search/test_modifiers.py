"""Modifiers beyond those of one leaf: value sets, types of identifiers, canonicals, sounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds_of_links import BASE, World

from fhir_server.errors import Malformed
from fhir_server.search.kinds.phonetic import keys
from fhir_server.search.kinds.string import normalise
from fhir_server.search.parse import parse
from fhir_server.search.predicate import TokenIs, UriIs, conj, disj, negate
from fhir_server.search.registry import SearchRegistry

INS = "urn:oid:1.2.250.1.213.1.4.8"
TYPES = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"


def meaning(registry: SearchRegistry, type_: str, name: str, value: str) -> Any:
    return parse(registry, (type_,), [(name, value)], strict=True, base_url=BASE).plan.where


def test_a_value_set_is_the_codes_that_r4_requires(registry: SearchRegistry) -> None:
    """With the system for codes that say one; its contrary is everything else."""
    genders = disj(*(TokenIs("gender", "", each) for each in ("female", "male", "other", "unknown")))
    value_set = "http://hl7.org/fhir/ValueSet/administrative-gender"
    assert meaning(registry, "Patient", "gender:in", value_set) == genders
    assert meaning(registry, "Patient", "gender:in", value_set + "|4.0.1") == genders
    assert meaning(registry, "Patient", "gender:not-in", value_set) == negate(genders)
    concept = meaning(registry, "Condition", "code:in", value_set)
    assert concept == disj(
        *(TokenIs("code", "http://hl7.org/fhir/administrative-gender", each) for each in sorted(
            ("female", "male", "other", "unknown")))
    )  # fmt: skip
    whole = meaning(registry, "Observation", "code:in", "http://hl7.org/fhir/ValueSet/mimetypes")
    assert whole == TokenIs("code", "urn:ietf:bcp:13", None)


def test_hierarchies_of_codes_are_refused_in_words_of_their_own(registry: SearchRegistry) -> None:
    """Nothing is known of what lies above or below a code."""
    for modifier in ("above", "below"):
        with pytest.raises(Malformed) as raised:
            meaning(registry, "Observation", f"code:{modifier}", "http://snomed.info/sct|1")
        assert "ierarchies" in raised.value.issues[0].text


def identified(*identifiers: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [
            {
                "type": {"coding": [{"system": system, "code": code}, {"display": "no code"}]},
                "system": INS,
                "value": value,
            }
            for system, code, value in identifiers
        ],
    }


PART = st.sampled_from(["a", "b", "a|b", "x,y"])


@given(st.lists(st.tuples(PART, PART, PART), max_size=3), PART, PART, PART)
def test_an_identifier_is_found_by_its_type(
    registry: SearchRegistry, identifiers: list[tuple[str, str, str]], system: str, code: str, value: str
) -> None:
    """System and code of the type and the value, all of one identifier."""
    asked = "|".join(each.replace("|", r"\|").replace(",", r"\,") for each in (system, code, value))
    expected = any(s == system and f"{c}|{v}" == f"{code}|{value}" for s, c, v in identifiers)
    world = World(registry, [identified(*identifiers)])
    assert world.found("Patient", "identifier:of-type", asked) == ({"p"} if expected else set())


def test_canonicals_have_what_is_above_and_below_them(registry: SearchRegistry) -> None:
    """As references, and as uris; a profile with or without its version."""
    below = meaning(registry, "CarePlan", "instantiates-canonical:below", "http://x/")
    assert below == UriIs("instantiates-canonical:canonical", "below", "http://x/")
    plan = {"resourceType": "CarePlan", "id": "c", "instantiatesCanonical": ["http://x/PlanDefinition/p|1.0"]}
    world = World(registry, [{**plan, "meta": {"profile": ["http://x/profile|2"]}}])
    for name, value, expected in (
        ("instantiates-canonical", "http://x/PlanDefinition/p", True),
        ("instantiates-canonical", "http://x/PlanDefinition/p|1.0", True),
        ("instantiates-canonical", "http://x/PlanDefinition/p|2.0", False),
        ("instantiates-canonical:below", "http://x/", True),
        ("instantiates-canonical:above", "http://x/PlanDefinition/p/more", True),
        ("instantiates-canonical:above", "http://x/", False),
        ("_profile", "http://x/profile", True),
        ("_profile", "http://x/profile|2", True),
        ("_profile", "http://x/profile|1", False),
        ("_profile:below", "http://x/", True),
    ):
        assert world.found("CarePlan", name, value) == ({"c"} if expected else set()), (name, value)
    with pytest.raises(Malformed):
        meaning(registry, "Observation", "subject:below", "Patient/1")


ALIKE = [
    ("Lefebvre", "Lefèvre", "LEFEVRE"),
    ("Gauthier", "Gautier", "Gotier"),
    ("Philippe", "Filip", "Phillipe"),
    ("Dupont", "Dupond", "Dupon"),
    ("Catherine", "Katrine", "Kathrin"),
    ("Schmitt", "Chmit", "Schmidt"),
    ("Quentin", "Kentin"),
    ("Hervé", "Ervé"),
    ("Cécile", "Sessile"),
    ("Georges", "Jorge"),
]
APART = [("Martin", "Bernard"), ("Dupont", "Durand"), ("Anna", "Nana"), ("Leroy", "Noel"), ("Marie", "Maude")]


@pytest.mark.parametrize("names", ALIKE)
def test_names_that_sound_alike_have_one_key(names: tuple[str, ...]) -> None:
    """In French or in English."""
    assert len({tuple(keys(normalise(name))) for name in names}) == 1


@pytest.mark.parametrize("names", APART)
def test_names_that_do_not_have_two(names: tuple[str, ...]) -> None:
    """The consonants in their order, and a vowel in front."""
    assert len({tuple(keys(normalise(name))) for name in names}) == 2


@given(st.text())
def test_every_word_has_a_sound(text: str) -> None:
    """One key a word, the same for the same name in other letters, for the first sixteen."""
    words = normalise(text)
    assert len(keys(words)) <= min(16, len(words.split()))
    assert keys(words) == keys(normalise(text.upper()))


def test_a_person_is_found_by_the_sound_of_each_word(registry: SearchRegistry) -> None:
    """Of the name, given or family."""
    patient = {"resourceType": "Patient", "id": "p", "name": [{"family": "Lefebvre", "given": ["Philippe"]}]}
    world = World(registry, [patient])
    assert world.found("Patient", "phonetic", "filip lefèvre") == {"p"}
    assert world.found("Patient", "phonetic", "filip martin") == set()
    key = meaning(registry, "Patient", "phonetic", "lefèvre filip")
    assert key == conj(*getattr(key, "of", ()))
