"""Measurements of a document as FHIR: the digits it writes, the unit it means, ends in their order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from importers.cda.quantities import dose, ends_of, number, quantity, ranged, ratio, translations

UCUM = "http://unitsofmeasure.org"


def element(xml: str) -> etree._Element:
    """A `value` with that content or those attributes."""
    return etree.fromstring(f'<value xmlns="urn:hl7-org:v3" xmlns:p="urn:hl7-org:pharm" {xml}')


def ucum(value: str, unit: str) -> dict[str, Any]:
    """A Quantity of a UCUM unit."""
    return {"value": Decimal(value), "unit": unit, "system": UCUM, "code": unit}


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_a_number_keeps_every_digit_that_is_written(value: Decimal) -> None:
    """75.0 is not 75: the digits are the precision of the laboratory."""
    assert str(number(str(value))) == str(value)


@given(st.text(max_size=20))
def test_what_is_no_number_is_none(written: str) -> None:
    """No text raises, and no number comes of one that has no digit."""
    found = number(written)
    assert found is None or (found.is_finite() and any(each.isdecimal() for each in written))


@pytest.mark.parametrize(
    ("written", "expected"),
    [("+5", "5"), ("-.5", "-0.5"), ("5.", "5"), ("007", "7"), ("0", "0"), (" 1,50 ", "1.50"), ("1e2", "1E+2")],
)
def test_other_spellings_of_a_number_are_read(written: str, expected: str) -> None:
    """Signs, bare points, leading zeros, the French comma."""
    assert str(number(written)) == expected


@pytest.mark.parametrize("written", [None, "", "-", ".", "e0", "1.2.3", "NaN", "inf", "1e999", "٣", "1 000", "9" * 65])
def test_other_texts_are_no_numbers(written: str | None) -> None:
    """Nor is a number no double can hold, nor one too long to be one."""
    assert number(written) is None


def test_a_unit_has_a_code_only_if_it_is_ucum() -> None:
    """A unit outside UCUM is kept as a text; logarithmic units are UCUM though nothing converts them."""
    assert quantity(element('value="75.0" unit="g/L"/>')) == ucum("75.0", "g/L")
    assert quantity(element('value="7.4" unit="[pH]"/>')) == ucum("7.4", "[pH]")
    assert quantity(element('value="2" unit="boîtes"/>')) == {"value": 2, "unit": "boîtes"}
    assert quantity(element('value="2"/>')) == {"value": 2}


def test_a_null_quantity_is_none() -> None:
    """Also where a value stands beside the nullFlavor, and where it cannot be read."""
    assert quantity(None) is None
    assert quantity(element('nullFlavor="UNK" value="1"/>')) is None
    assert quantity(element('value="élevé" unit="g/L"/>')) is None


def test_the_translations_of_a_quantity_have_their_unit_in_their_code() -> None:
    """Mass beside mole; a translation without value says nothing."""
    found = translations(
        element('value="0.62" unit="g/L"><translation value="0.71" code="mmol/L"/><translation/></value>')
    )
    assert found == [ucum("0.71", "mmol/L")]


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (
            '><low value="1" unit="g"/><high value="2" unit="g"/></value>',
            {"vRange": {"low": ucum("1", "g"), "high": ucum("2", "g")}},
        ),
        ('><low value="1" unit="g"/><high value="1" unit="g"/></value>', {"vQuantity": ucum("1", "g")}),
        ('><low value="1" unit="g"/></value>', {"vQuantity": {**ucum("1", "g"), "comparator": ">="}}),
        ('><low value="1" unit="g" inclusive="false"/></value>', {"vQuantity": {**ucum("1", "g"), "comparator": ">"}}),
        ('><high value="1" unit="g"/></value>', {"vQuantity": {**ucum("1", "g"), "comparator": "<="}}),
        ('><high value="1" unit="g" inclusive="false"/></value>', {"vQuantity": {**ucum("1", "g"), "comparator": "<"}}),
        ('><center value="1" unit="g"/></value>', {"vQuantity": ucum("1", "g")}),
        ('value="1" unit="g"/>', {"vQuantity": ucum("1", "g")}),
        ('><low nullFlavor="UNK"/></value>', {}),
        ('><low value="2" unit="g"/><high value="1" unit="g"/></value>', {}),
    ],
)
def test_an_interval_is_a_range_or_a_compared_quantity(xml: str, expected: dict[str, Any]) -> None:
    """Both ends, one end that is or is not of the interval, none; ends in the wrong order are none (rng-2)."""
    assert ranged("v", element(xml)) == expected


def test_ends_of_one_dimension_are_compared_in_their_units() -> None:
    """900 mg to 1 g is in order, 1 g to 900 mg is not; other dimensions are not compared."""
    assert ends_of(element('><low value="900" unit="mg"/><high value="1" unit="g"/></value>'))
    assert not ends_of(element('><low value="1" unit="g"/><high value="900" unit="mg"/></value>'))
    assert ends_of(element('><low value="9" unit="{tablet}"/><high value="1" unit="mL"/></value>'))


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ('value="1"/>', {"doseQuantity": {"value": Decimal(1)}}),
        ('><low value="1" unit="g"/><high value="1" unit="g"/></value>', {"doseQuantity": ucum("1", "g")}),
        (
            '><low value="1" unit="g"/><high value="2" unit="g"/></value>',
            {"doseRange": {"low": ucum("1", "g"), "high": ucum("2", "g")}},
        ),
        ('><high value="2" unit="g"/></value>', {"doseRange": {"high": ucum("2", "g")}}),
        ('nullFlavor="NA"/>', {}),
    ],
)
def test_a_dose_never_has_a_comparator(xml: str, expected: dict[str, Any]) -> None:
    """R4 wants a SimpleQuantity, so one end is a Range with one end."""
    assert dose("dose", element(xml)) == expected
    assert dose("dose", None) == {}


def test_a_ratio_needs_both_parts_and_no_zero_below() -> None:
    """In the namespace of an extension too."""
    numerator, denominator = '<numerator value="500" unit="mg"/>', '<denominator value="1"/>'
    assert ratio(element(f">{numerator}{denominator}</value>")) == {
        "numerator": ucum("500", "mg"),
        "denominator": {"value": 1},
    }
    prefixed = '><p:numerator value="500" unit="mg"/><p:denominator value="1"/></value>'
    assert ratio(element(prefixed)) == ratio(element(f">{numerator}{denominator}</value>"))
    assert ratio(element(f">{numerator}</value>")) is None
    assert ratio(element(f'>{numerator}<denominator value="0"/></value>')) is None
