"""UCUM: quantities in base units, exact, bounded, and as UCUM has them (https://ucum.org/ucum)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.fhir.ucum import MAX_LENGTH, canonical, canonical_float

TABLE = orjson.loads((Path(__file__).parents[2] / "terminologies" / "ucum" / "units.json").read_bytes())
METRIC = (*TABLE["base"], *TABLE["metric"])
PLAIN = tuple(code for code in TABLE["plain"] if not code.startswith("10"))
# Of the 1,357 codes of R4's ucum-common, annotations with blanks (not UCUM), special, survey and typographic units.
LEFT_OUT = 70

values = st.decimals(min_value=-(10**9), max_value=10**9, places=6)
codes = st.one_of(
    st.sampled_from(PLAIN),
    st.tuples(st.sampled_from(["", *TABLE["prefixes"]]), st.sampled_from(METRIC)).map("".join),
    st.integers(1, 999).map(str),
)


def quantity(value: str, code: str) -> tuple[Decimal, str]:
    """The canonical of a quantity that there is one of."""
    found = canonical(Decimal(value), code)
    assert found is not None, code
    return found


@pytest.mark.parametrize(
    ("value", "code", "expected", "base"),
    [
        ("5.4", "mg", "0.0054", "g"),
        ("5.4", "mg/dL", "54", "g.m-3"),
        ("1", "ml", "0.000001", "m3"),
        ("80", "/min", "1.333333333333333333333333333333333", "s-1"),
        ("80", "{beats}/min", "1.333333333333333333333333333333333", "s-1"),
        ("120", "mm[Hg]", "15998640", "g.m-1.s-2"),
        ("12", "kPa", "12000000", "g.m-1.s-2"),
        ("42", "%", "0.42", "1"),
        ("4.5", "10*6/uL", "4.5e15", "m-3"),
        ("4.5", "10^12/L", "4.5e15", "m-3"),
        ("7", "10*-3", "0.007", "1"),
        ("3", "{score}", "3", "1"),
        ("3", "1", "3", "1"),
        ("1", "mmol", "602214076000000000000", "1"),
        ("2", "meq", "1204428152000000000000", "1"),
        ("60", "U", "602214076000000000", "s-1"),
        ("1", "ukat", "602214076000000000", "s-1"),
        ("5", "m[iU]/mL", "5000", "[iU].m-3"),
        ("5", "m[IU]/mL", "5000", "[iU].m-3"),
        ("90", "mL/min/{1.73_m2}", "0.0000015", "m3.s-1"),
        ("1", "[lb_av]", "453.59237", "g"),
        ("1", "[foz_us]", "0.0000295735295625", "m3"),
        ("1", "[in_i]", "0.0254", "m"),
        ("6", "a", "189345600", "s"),
        ("1", "kg.m/s2", "1000", "g.m.s-2"),
        ("1", "m/s.s", "1", "m"),
        ("1", "m/(s.s)", "1", "m.s-2"),
        ("1", "/(12.h)", "0.00002314814814814814814814814814814815", "s-1"),
        ("1", "/100{WBC}", "0.01", "1"),
        ("1", "g/(8.h){shift}", "0.00003472222222222222222222222222222222", "g.s-1"),
        ("1", "mho", "0.001", "C2.g-1.m-2.s"),
        ("37", "Cel", "310.15", "K"),
        ("37", "Cel{oral}", "310.15", "K"),
        ("98.6", "[degF]", "310.15", "K"),
        ("1", "Kibit", "1024", "1"),
    ],
)
def test_a_quantity_is_known_in_base_units(value: str, code: str, expected: str, base: str) -> None:
    """The scale is UCUM's, and what a decimal can say exactly is said exactly."""
    assert quantity(value, code) == (Decimal(expected), base)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("1", "mg/dL"), ("0.01", "g/L")),
        (("1000", "mg"), ("1", "g")),
        (("1", "/min"), ("60", "/h")),
        (("36", "Cel"), ("96.8", "[degF]")),
        (("7", "d"), ("1", "wk")),
        (("1", "a"), ("12", "mo")),
        (("1", "[oz_av]"), ("28.349523125", "g")),
        (("3", "[tsp_us]"), ("1", "[tbs_us]")),
        (("1", "mmol/L"), ("1", "mol/m3")),
        (("1", "kcal"), ("4.184", "kJ")),
        (("180", "deg"), ("1", "[pi].rad")),
        (("1", "Ci"), ("37", "GBq")),
    ],
)
def test_one_quantity_written_twice_is_one(one: tuple[str, str], other: tuple[str, str]) -> None:
    """The same value and the same text, whatever the conversions between."""
    assert quantity(*one) == quantity(*other)


@pytest.mark.parametrize(
    "code",
    [
        "",
        " ",
        "mg ",
        "Mg{",
        "SEC",
        "mcg",
        "TAB",
        "hr",
        "month",
        "mEq",
        "{a b}",
        "{é}",
        "{",
        "a}",
        "Ce{x}l",
        "kmin",
        "m%",
        "dd",
        "g//L",
        "g.",
        "/",
        ".g",
        "(g",
        "g)",
        "()",
        "g^2",
        "0",
        "g/0",
        "10*1000",
        "1,5",
        "µg",
        "Cel/min",
        "mCel",
        "[pH]",
        "dB",
        "B[SPL]",
        "[p'diop]",
        "(" * 11 + "g" + ")" * 11,
        "g" + ".g" * MAX_LENGTH,
        ".".join(["10*999"] * 25),
    ],
)
def test_what_is_not_ucum_or_not_proportional_is_none(code: str) -> None:
    """Case counts, special units have no factor, and length, depth and size are bounded."""
    assert canonical(Decimal(1), code) is None


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_only_finite_values_have_a_canonical(value: str) -> None:
    """There is no such amount of anything."""
    assert canonical(Decimal(value), "g") is None


def test_arbitrary_units_are_comparable_to_themselves_only() -> None:
    """An allergy unit is no international unit (UCUM §24)."""
    bases = [quantity("1", code)[1] for code in ("[iU]", "[AU]", "[USP'U]", "U", "1")]
    assert len(set(bases)) == len(bases)


@given(codes, st.integers(-3, 3).filter(bool), values)
def test_a_power_is_a_repeated_product(code: str, power: int, value: Decimal) -> None:
    """u3 is u.u.u and u-2 is /u/u."""
    if code[-1].isdigit():
        return
    repeated = ".".join([code] * power) if power > 0 else "".join([f"/{code}"] * -power)
    assert canonical(value, f"{code}{power}") == canonical(value, repeated)


@given(codes, codes, values)
def test_what_is_multiplied_and_divided_again_is_as_before(one: str, other: str, value: Decimal) -> None:
    """a.b/b is a, exactly."""
    expected = canonical(value, one)
    assert expected is not None
    assert canonical(value, f"{one}.{other}/{other}") == expected
    assert canonical(value, f"{other}.({one}/{other})") == expected


@given(codes, values, values)
def test_order_is_kept(code: str, one: Decimal, other: Decimal) -> None:
    """A larger amount of a unit is larger in base units, so ranges may be compared there."""
    ours, theirs = canonical(one, code), canonical(other, code)
    assert ours
    assert theirs
    assert (ours[0] < theirs[0]) == (one < other)
    assert ours[1] == theirs[1]


@given(codes, values)
def test_the_canonical_is_its_own_canonical(code: str, value: Decimal) -> None:
    """The text of the base units is UCUM itself."""
    found = canonical(value, code)
    assert found
    assert canonical(*found) == found


@given(codes, st.floats())
def test_a_float_is_converted_as_the_decimal_it_is_written_as(code: str, value: float) -> None:
    """To the float next to the exact result, whichever way it goes there."""
    exact = canonical(Decimal(repr(value)), code)
    assert canonical_float(value, code) == (exact and (float(exact[0]), exact[1]))


@given(st.text(st.characters(codec="ascii"), max_size=40) | st.text(alphabet="gmLs10*^/.(){}[]'%iUHg-+", max_size=60))
def test_any_text_is_a_unit_or_none(code: str) -> None:
    """No text makes it fail, and what is a unit has a positive scale."""
    found = canonical(Decimal(1), code)
    assert found is None or found[0] > 0


def quantities(value: Any) -> Iterator[str]:
    """The UCUM codes in a resource."""
    if isinstance(value, dict):
        if value.get("system") == "http://unitsofmeasure.org" and isinstance(value.get("code"), str):
            yield value["code"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from quantities(each)


@pytest.mark.r4_package
def test_nearly_all_units_of_the_r4_examples_are_known(r4_package: Path) -> None:
    """Those that are not known are not UCUM: mcg, TAB, mEq …"""
    found = [
        code
        for path in sorted(r4_package.glob("*.json"))
        if not path.name.startswith(("ValueSet-", "CodeSystem-", "StructureDefinition-", "Bundle-", "ConceptMap-"))
        for code in quantities(orjson.loads(path.read_bytes()))
    ]
    unknown = sorted({code for code in found if canonical(Decimal(1), code) is None})
    assert unknown == ["TAB", "drop", "ea", "mEq", "mcg", "ml/hr", "month"]


@pytest.mark.r4_package
def test_the_common_units_of_r4_are_known(r4_package: Path) -> None:
    """Of the value set ucum-common, all but survey and typographic units, special units and codes with blanks."""
    includes = orjson.loads((r4_package / "ValueSet-ucum-common.json").read_bytes())["compose"]["include"]
    listed = {concept["code"] for each in includes for concept in each.get("concept", ())}
    unknown = {code for code in listed if canonical(Decimal(1), code) is None}
    assert len(unknown) <= LEFT_OUT
