"""The value of an observation by its xsi:type (importers §6 rules 5 and 7)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from lxml import etree

from importers.cda.texts import Texts
from importers.cda.values import quantity, value
from importers.issues import Notes

MG = {"unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}


def valued(written: str) -> tuple[dict[str, Any] | None, list[str]]:
    """What a `value` makes, and the codes of the notes."""
    spaces = 'xmlns="urn:hl7-org:v3" xmlns:c="urn:hl7-org:v3" xmlns:pharm="urn:hl7-org:pharm"'
    spaces += ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    root = etree.fromstring(f'<r {spaces}><t ID="t">dit</t>{written}</r>')
    notes = Notes()
    found = value(root[1], notes, Texts(root))
    return found, [each.coding[1] for each in notes.issues if each.coding]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('<value xsi:type="PQ" value="1.00" unit="mg/dL"/>', {"valueQuantity": {"value": Decimal("1.00"), **MG}}),
        ('<value xsi:type="c:PQ" value="2" unit="mg/dL"/>', {"valueQuantity": {"value": Decimal(2), **MG}}),
        ('<value xsi:type="pharm:PQ" value="2"/>', {"valueQuantity": {"value": Decimal(2)}}),
        ('<value xsi:type="PQ" value="2" unit="dé"/>', {"valueQuantity": {"value": Decimal(2), "unit": "dé"}}),
        ('<value xsi:type="PQ" value="1,5" unit="1"/>', {"valueQuantity": {"value": Decimal("1.5")}}),
        ('<value xsi:type="REAL" value="-.5"/>', {"valueQuantity": {"value": Decimal("-0.5")}}),
        ('<value xsi:type="INT" value="12"/>', {"valueInteger": 12}),
        ('<value xsi:type="INT" value="99999999999"/>', {"valueQuantity": {"value": Decimal(99999999999)}}),
        ('<value xsi:type="BL" value="false"/>', {"valueBoolean": False}),
        ('<value xsi:type="BL" value="oui"/>', {}),
        ('<value xsi:type="ST"> a  b </value>', {"valueString": "a b"}),
        ('<value xsi:type="ED"><reference value="#t"/></value>', {"valueString": "dit"}),
        ('<value xsi:type="ED">dit</value>', {"valueString": "dit"}),
        ('<value xsi:type="TS" value="20240301"/>', {"valueDateTime": "2024-03-01"}),
        ('<value xsi:type="IVL_TS"><low value="2024"/></value>', {"valuePeriod": {"start": "2024"}}),
        ('<value xsi:type="CD" code="a" codeSystem="1.2.3"/>',
         {"valueCodeableConcept": {"coding": [{"system": "urn:oid:1.2.3", "code": "a"}]}}),
        ('<value code="a"/>', {"valueCodeableConcept": {"coding": [{"code": "a"}]}}),
        ('<value xsi:type="CD" nullFlavor="OTH"><originalText>autre</originalText></value>',
         {"valueCodeableConcept": {"text": "autre"}}),
        ('<value xsi:type="IVL_PQ"><low value="1" unit="mg/dL"/><high value="2" unit="mg/dL"/></value>',
         {"valueRange": {"low": {"value": Decimal(1), **MG}, "high": {"value": Decimal(2), **MG}}}),
        ('<value xsi:type="IVL_PQ"><low value="1" unit="mg/dL"/></value>',
         {"valueQuantity": {"value": Decimal(1), "comparator": ">=", **MG}}),
        ('<value xsi:type="IVL_PQ"><high value="1" inclusive="false" unit="mg/dL"/></value>',
         {"valueQuantity": {"value": Decimal(1), "comparator": "<", **MG}}),
        ('<value xsi:type="IVL_PQ"><low value="1"/><high value="1"/></value>',
         {"valueQuantity": {"value": Decimal(1)}}),
        ('<value xsi:type="RTO"><numerator value="1" unit="mg/dL"/><denominator value="2"/></value>',
         {"valueRatio": {"numerator": {"value": Decimal(1), **MG}, "denominator": {"value": Decimal(2)}}}),
        ('<value xsi:type="RTO"><numerator value="1"/><denominator value="0"/></value>', {}),
        ('<value xsi:type="PQ"/>', {}),
    ],
)  # fmt: skip
def test_each_type_has_its_value(written: str, expected: dict[str, Any]) -> None:
    """A prefix is resolved; a unit is coded only where it is UCUM."""
    found, _ = valued(written)
    assert found == expected


@pytest.mark.parametrize("digits", ["1", "1.0", "1.00", "0.10", "-2.50"])
def test_decimals_keep_their_digits(digits: str) -> None:
    """1.00 is measured more exactly than 1."""
    found, _ = valued(f'<value xsi:type="PQ" value="{digits}"/>')
    assert found is not None
    assert str(found["valueQuantity"]["value"]) == digits


@pytest.mark.parametrize(
    ("flavor", "code"),
    [("UNK", "unknown"), ("NI", "unknown"), ("NAV", "temp-unknown"), ("NASK", "not-asked"), ("ASKU", "asked-unknown"),
     ("NA", "not-applicable"), ("MSK", "masked"), ("OTH", "unknown")],
)  # fmt: skip
def test_a_null_value_is_absent_for_a_reason(flavor: str, code: str) -> None:
    """Whatever its type."""
    for kind in ("CD", "PQ", "TS", "BL"):
        found, _ = valued(f'<value xsi:type="{kind}" nullFlavor="{flavor}"/>')
        assert found is not None
        assert found["dataAbsentReason"]["coding"][0]["code"] == code


@pytest.mark.parametrize("kind", ["GLIST_PQ", "XYZ", "", "nowhere:PQ"])
def test_an_unknown_type_is_no_value(kind: str) -> None:
    """None, and noted: what it says stays in the narrative."""
    assert valued(f'<value xsi:type="{kind}" value="1"/>') == (None, ["unknown-value-type"])


@pytest.mark.parametrize("written", ["NaN", "Infinity", "1e400", "1.2.3", "-", "٣", "0x10", "9" * 80])
def test_what_is_no_decimal_is_left_out(written: str) -> None:
    """And noted."""
    notes = Notes()
    assert quantity(etree.Element("value", value=written), notes) == {}
    assert [each.coding[1] for each in notes.issues if each.coding] == ["bad-number"]


def test_an_upside_down_range_is_left_out() -> None:
    """rng-2."""
    found, notes = valued('<value xsi:type="IVL_PQ"><low value="3"/><high value="2"/></value>')
    assert (found, notes) == ({}, ["bad-range"])
