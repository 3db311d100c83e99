"""Quantities in units of UCUM: the unit of the question need not be that of the resource."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from worlds_of_links import World

from fhir_server.search.registry import SearchRegistry

UCUM = "http://unitsofmeasure.org"
# What each is in milligrams.
MASSES = {"mg": Decimal(1), "g": Decimal(1000), "kg": Decimal(1_000_000), "ug": Decimal("0.001")}
VALUES = st.decimals(-9999, 9999, places=3)
UNITS = st.sampled_from(sorted(MASSES))


@given(VALUES, UNITS, VALUES, UNITS, st.integers(0, 3), st.sampled_from(["", "<", ">", "<=", ">="]))
def test_amounts_compare_whatever_their_units(
    registry: SearchRegistry, value: Decimal, unit: str, asked: Decimal, other: str, places: int, comparator: str
) -> None:
    """By the digits that are asked for, in the unit that is asked for: the edges of a range are exact."""
    quantity: dict[str, Any] = {"value": float(value), "system": UCUM, "code": unit}
    if comparator:
        quantity["comparator"] = comparator
    world = World(registry, [{"resourceType": "Observation", "id": "o", "valueQuantity": quantity}])
    asked = asked.quantize(Decimal(1).scaleb(-places))
    said, wanted = value * MASSES[unit], asked * MASSES[other]
    half = Decimal(5).scaleb(-places - 1) * MASSES[other]
    equal = not comparator and wanted - half <= said < wanted + half
    expected = {"eq": equal, "ne": not equal} | {
        "": {"gt": said > wanted, "lt": said < wanted, "ge": said >= wanted, "le": said <= wanted},
        "<": {"gt": said > wanted, "lt": True, "ge": said > wanted, "le": True, "eb": said <= wanted},
        "<=": {"gt": said > wanted, "lt": True, "ge": said >= wanted, "le": True, "eb": said < wanted},
        ">": {"gt": True, "lt": said < wanted, "ge": True, "le": said < wanted, "sa": said >= wanted},
        ">=": {"gt": True, "lt": said < wanted, "ge": True, "le": said <= wanted, "sa": said > wanted},
    }[comparator]
    for prefix, answer in expected.items():
        found = world.found("Observation", "value-quantity", f"{prefix}{asked}|{UCUM}|{other}")
        assert found == ({"o"} if answer else set()), prefix


def test_other_dimensions_and_other_systems_are_other_quantities(registry: SearchRegistry) -> None:
    """A milligram is no millilitre; a number without unit is the number that the resource says."""
    quantity = {"value": 5.4, "unit": "milligrams", "system": UCUM, "code": "mg"}
    world = World(registry, [{"resourceType": "Observation", "id": "o", "valueQuantity": quantity}])
    for value, found in (
        (f"5.4|{UCUM}|mg", True),
        (f"5400|{UCUM}|ug", True),
        (f"0.0054|{UCUM}|g", True),
        (f"5.4|{UCUM}|mL", False),
        (f"0.0054|{UCUM}|", False),
        (f"5.4|{UCUM}|", True),
        ("5.4||mg", True),
        ("5.4||milligrams", True),
        ("0.0054||g", False),
        ("5.4", True),
        ("0.0054", False),
        ("5.4|http://x|mg", False),
    ):
        assert world.found("Observation", "value-quantity", value) == ({"o"} if found else set()), value


def test_temperatures_are_compared_across_their_scales(registry: SearchRegistry) -> None:
    """98.6 °F is 37 °C."""
    quantity = {"value": 37.0, "system": UCUM, "code": "Cel"}
    world = World(registry, [{"resourceType": "Observation", "id": "o", "valueQuantity": quantity}])
    assert world.found("Observation", "value-quantity", f"98.6|{UCUM}|[degF]") == {"o"}
    assert world.found("Observation", "value-quantity", f"gt98.7|{UCUM}|[degF]") == set()


@given(st.floats(-1e300, 1e300), st.sampled_from(["", f"|{UCUM}|", f"|{UCUM}|[in_i]"]))
@example(66.89999999999999, f"|{UCUM}|[in_i]")
def test_what_a_resource_says_is_found_by_the_same_digits(registry: SearchRegistry, value: float, unit: str) -> None:
    """However many they are: half a unit of the last one may be less than a float can tell apart."""
    quantity = {"value": value, "system": UCUM, "code": "[in_i]"}
    world = World(registry, [{"resourceType": "Observation", "id": "o", "valueQuantity": quantity}])
    assert world.found("Observation", "value-quantity", f"{value!r}{unit}") == {"o"}
