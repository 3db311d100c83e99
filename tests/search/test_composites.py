"""Composite parameters: values of one element, asked for together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds_of_links import BASE, World

from fhir_server.errors import Malformed
from fhir_server.fhir.definitions import Definitions
from fhir_server.search.entries import Combination, Entries, Number, Ref, Token
from fhir_server.search.extract import extract
from fhir_server.search.parse import parse
from fhir_server.search.predicate import (
    DateIs,
    Predicate,
    QuantityIs,
    RefersTo,
    StringIs,
    Together,
    TokenIs,
    conj,
    disj,
)
from fhir_server.search.registry import SearchRegistry


def meaning(registry: SearchRegistry, type_: str, name: str, value: str) -> Predicate:
    return parse(registry, (type_,), [(name, value)], strict=True, base_url=BASE).plan.where


def test_a_composite_asks_one_combination_and_what_each_component_asks_alone(registry: SearchRegistry) -> None:
    """The latter follows from the former, and gives a store an index to begin with."""
    assert meaning(registry, "Observation", "code-value-quantity", "http://loinc.org|1$gt5") == conj(
        TokenIs("code", "http://loinc.org", "1"),
        QuantityIs("value-quantity", "gt", 5.0, 5.0, None, None),
        Together(
            "code-value-quantity",
            (TokenIs("0", "http://loinc.org", "1"), QuantityIs("1", "gt", 5.0, 5.0, None, None)),
        ),
    )
    quantity = QuantityIs("1:ucum", "eq", 0.00535, 0.00545, "http://unitsofmeasure.org", "g")
    asked = meaning(registry, "Observation", "component-code-value-quantity", "1$5.4|http://unitsofmeasure.org|mg")
    assert Together("component-code-value-quantity", (TokenIs("0", None, "1"), quantity)) in getattr(asked, "of", ())


def test_values_of_composites_keep_their_escapes_prefixes_and_alternatives(registry: SearchRegistry) -> None:
    r"""`\$` parts nothing; a bare OID is two systems; commas are or."""
    asked = meaning(registry, "Observation", "code-value-string", r"a\$b\,c$Dé")
    assert asked == conj(
        TokenIs("code", None, "a$b,c"),
        StringIs("value-string", "starts", "de"),
        Together("code-value-string", (TokenIs("0", None, "a$b,c"), StringIs("1", "starts", "de"))),
    )
    asked = meaning(registry, "Observation", "code-value-concept", "1.2|a$b")
    assert disj(
        Together("code-value-concept", (TokenIs("0", "1.2", "a"), TokenIs("1", None, "b"))),
        Together("code-value-concept", (TokenIs("0", "urn:oid:1.2", "a"), TokenIs("1", None, "b"))),
    ) in getattr(asked, "of", ())
    one, other = (meaning(registry, "Observation", "code-value-date", each) for each in ("a$2024", "b$ge2025"))
    assert meaning(registry, "Observation", "code-value-date", "a$2024,b$ge2025") == disj(one, other)
    assert any(isinstance(each, DateIs) for each in getattr(one, "of", ()))


def test_errors_of_a_component_name_the_composite(registry: SearchRegistry) -> None:
    """As the client knows no other parameter."""
    with pytest.raises(Malformed) as raised:
        meaning(registry, "Observation", "code-value-date", "a$soon")
    assert [issue.expression for issue in raised.value.issues] == ["code-value-date"]


def test_combinations_are_made_within_one_element(registry: SearchRegistry) -> None:
    """Of components in their places; without words, which nobody can ask a composite for."""
    found = extract(
        registry,
        "DocumentReference",
        {"relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/1"}}, {"code": "signs"}]},
        BASE,
    )
    entries = Entries(tokens=(Token("1", None, "replaces"),), references=(Ref("0", "DocumentReference/1"),))
    assert found.combinations == (Combination("relationship", entries),)
    asked = meaning(registry, "DocumentReference", "relationship", "DocumentReference/1$replaces")
    leaves = (RefersTo("0", "DocumentReference/1"), TokenIs("1", None, "replaces"))
    assert Together("relationship", leaves) in getattr(asked, "of", ())


def test_a_component_may_lie_at_the_root(registry: SearchRegistry) -> None:
    """The chromosome of a sequence with each of its variants."""
    sequence = {
        "referenceSeq": {"chromosome": {"coding": [{"code": "1"}]}},
        "variant": [{"start": 5, "end": 9}, {"start": 20}],
    }
    found = extract(registry, "MolecularSequence", sequence, BASE).combinations
    numbers = (Number("2", 9.0, 9.0), Number("1", 5.0, 5.0))
    (variant,) = [each for each in found if each.param == "chromosome-variant-coordinate"]
    assert variant.entries.tokens == (Token("0", None, "1"),)
    assert set(variant.entries.numbers) == set(numbers)


def test_every_composite_of_r4_has_components_that_narrow(registry: SearchRegistry, definitions: Definitions) -> None:
    """72 of them: each component's own parameter finds whatever the combination finds."""
    composites = [
        each
        for type_ in definitions.resource_types
        for each in registry.parameters(type_).values()
        if each.type == "composite"
    ]
    assert len(composites) == 72
    for each in composites:
        assert len(each.components) in (2, 3)
        assert all(part.narrows and part.types for part in each.components)


@pytest.mark.r4_package
def test_what_a_component_finds_its_own_parameter_finds(
    registry: SearchRegistry, definitions: Definitions, r4_examples: Any
) -> None:
    """On the examples of R4: every entry of a combination is one of the component's parameter."""
    seen = 0
    for resource in r4_examples:
        type_ = resource["resourceType"]
        found = extract(registry, type_, resource, BASE)
        for param, entries in found.combinations:
            components = registry.parameters(type_)[param].components
            for each in (*entries.tokens, *entries.strings, *entries.dates, *entries.numbers, *entries.references):
                place, colon, part = each.param.partition(":")
                code = components[int(place)].parameter.code + colon + part
                assert each._replace(param=code) in (
                    *found.tokens, *found.strings, *found.dates, *found.numbers, *found.references
                )  # fmt: skip
                seen += 1
    assert seen > 100


CODES = st.sampled_from(["a", "b", "c"])
VALUES = st.integers(1, 4)
COMPONENTS = st.lists(st.tuples(st.sets(CODES, max_size=2), st.none() | VALUES), max_size=3)


@given(st.sets(CODES, max_size=2), st.none() | VALUES, COMPONENTS, CODES, st.sampled_from(["", "gt", "le"]), VALUES)
def test_code_and_value_are_of_one_element(
    registry: SearchRegistry,
    codes: set[str],
    value: int | None,
    components: list[tuple[set[str], int | None]],
    code: str,
    prefix: str,
    asked: int,
) -> None:
    """Of the observation itself, of one component, or of either."""

    def element(codes: set[str], value: int | None) -> dict[str, Any]:
        quantity = {} if value is None else {"valueQuantity": {"value": value}}
        return {"code": {"coding": [{"code": each} for each in sorted(codes)]}, **quantity}

    resource = {
        "resourceType": "Observation",
        "id": "o",
        **element(codes, value),
        "component": [element(*each) for each in components],
    }

    def fits(codes: set[str], value: int | None) -> bool:
        if value is None or code not in codes:
            return False
        return {"": value == asked, "gt": value > asked, "le": value <= asked}[prefix]

    world = World(registry, [resource])
    whole, part = fits(codes, value), any(fits(*each) for each in components)
    for name, expected in (
        ("code-value-quantity", whole),
        ("component-code-value-quantity", part),
        ("combo-code-value-quantity", whole or part),
    ):
        assert world.found("Observation", name, f"{code}${prefix}{asked}") == ({"o"} if expected else set())
