"""UCUM: what a quantity is in base units, so that 5.4 mg and 0.0054 g are one (https://ucum.org/ucum).

A unit is a product of powers of base units times a factor; factors are exact fractions, so two ways to write one
quantity end in one value, however many conversions lie between. The units themselves are data: `terminologies/ucum`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache, lru_cache
from importlib.resources import files
from math import isfinite
from typing import Any, Final

import orjson

MAX_LENGTH: Final = 200
MAX_DEPTH: Final = 10
# Of a factor's numerator and denominator: 10*999 is a unit, a hundred of them multiplied are an attack.
MAX_BITS: Final = 8_192

_ROUNDED: Final = Context(prec=34, Emax=999_999, Emin=-999_999)
_EXACT: Final = Context(prec=10_000, Emax=9_999_999, Emin=-9_999_999)
_MAX_DIGITS: Final = 1_000

_SYMBOL: Final = re.compile(r"10[*^]|(?:[A-Za-z%'_]|\[[!-Z\\^-z|~]*\])+")
_EXPONENT: Final = re.compile(r"[+-]?[0-9]{1,3}")
_FACTOR: Final = re.compile(r"[0-9]{1,20}")
_ANNOTATION: Final = re.compile(r"\{[!-z|~]*\}")
_ALONE: Final = re.compile(r"([^{}]*)(?:\{[!-z|~]*\})?")


@dataclass(frozen=True, slots=True)
class _Unit:
    """`factor` times the product of base units, each to its power; nothing is to the power of 0."""

    factor: Fraction = Fraction(1)
    powers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Scale:
    """(value + offset) × numerator / denominator is the value in `base`. `shift`: the power of ten that this is, where
    it is one."""

    numerator: Decimal
    denominator: Decimal
    offset: Decimal
    base: str
    shift: int | None


class _Unknown(Exception):
    """Not UCUM, or a unit that the table does not have."""


def canonical(value: Decimal, code: str) -> tuple[Decimal, str] | None:
    """The quantity in base units: `(Decimal("5.4"), "mg/dL")` → `(Decimal("54"), "g.m-3")`; "1" for a mere number.

    The texts of two codes are equal if and only if their quantities are comparable; larger stays larger. Values are
    exact where a decimal can be, else rounded once, to 34 digits. Annotations say nothing (UCUM §6). Degrees Celsius
    and Fahrenheit are kelvins; an arbitrary unit is comparable to itself only.

    None for a code that is not UCUM (codes are case sensitive), that the table does not know or that is not
    proportional to its base (pH, decibel …), and for a value that is not finite.
    """
    scale = _scale(code) if len(code) <= MAX_LENGTH else None
    if scale is None or not value.is_finite() or len(value.as_tuple().digits) > _MAX_DIGITS:
        return None
    exact = _EXACT.multiply(_EXACT.add(value, scale.offset) if scale.offset else value, scale.numerator)
    return _ROUNDED.divide(exact, scale.denominator), scale.base


def canonical_float(value: float, code: str) -> tuple[float, str] | None:
    """As `canonical`, for the decimal that a float is written as; the result is the float next to the exact one."""
    scale = _scale(code) if len(code) <= MAX_LENGTH else None
    if scale is not None and scale.shift is not None and "e" not in (digits := repr(value)) and isfinite(value):
        # Most units are others times a power of ten, which costs the least where it is written.
        return float(f"{digits}e{scale.shift}"), scale.base
    found = canonical(Decimal(repr(value)), code)
    return (float(found[0]), found[1]) if found else None


@lru_cache(maxsize=4096)
def _scale(code: str) -> _Scale | None:
    try:
        offset, unit = _with_offset(code)
    except _Unknown:
        return None
    numerator, denominator = unit.factor.as_integer_ratio()
    shift = _power_of_ten(unit.factor) if not offset else None
    return _Scale(Decimal(numerator), Decimal(denominator), offset, _text(unit.powers), shift)


def _power_of_ten(factor: Fraction) -> int | None:
    above, below = str(factor.numerator), str(factor.denominator)
    return len(above) - len(below) if {above.rstrip("0"), below.rstrip("0")} == {"1"} else None


def _with_offset(code: str) -> tuple[Decimal, _Unit]:
    """A unit whose zero lies elsewhere stands alone: there are no degrees Celsius a minute (UCUM §21)."""
    alone = _ALONE.fullmatch(code)
    row = _table()["offset"].get(alone.group(1)) if alone else None
    if row is None:
        return Decimal(0), _parsed(code)
    factor, unit, offset = row
    return Decimal(offset), _times(_Unit(Fraction(factor)), _parsed(unit))


def _text(powers: Mapping[str, int]) -> str:
    return ".".join(f"{name}{'' if power == 1 else power}" for name, power in sorted(powers.items())) or "1"


def _parsed(code: str) -> _Unit:
    unit, end = _term(code, 0, 0)
    if end != len(code):
        raise _Unknown(code)
    return unit


def _term(code: str, at: int, depth: int) -> tuple[_Unit, int]:
    """`[/] component {(. | /) component}`, from the left: a/b.c is (a/b).c. And where it ends."""
    if depth > MAX_DEPTH:
        raise _Unknown(code)
    unit, power = _Unit(), 1
    if code.startswith("/", at):
        at, power = at + 1, -1
    while True:
        component, at = _component(code, at, depth)
        unit = _times(unit, component, power)
        if at == len(code) or code[at] not in "./":
            return unit, at
        power = 1 if code[at] == "." else -1
        at += 1


def _component(code: str, at: int, depth: int) -> tuple[_Unit, int]:
    """`(term)`, a unit or a number, each with or without an annotation; or an annotation alone, which is 1."""
    unit = _Unit()
    if code.startswith("(", at):
        unit, end = _term(code, at + 1, depth + 1)
        if not code.startswith(")", end):
            raise _Unknown(code)
        end += 1
    elif symbol := _SYMBOL.match(code, at):
        exponent = _EXPONENT.match(code, symbol.end())
        unit = _times(unit, _symbol(symbol.group()), int(exponent.group()) if exponent else 1)
        end = (exponent or symbol).end()
    elif number := _FACTOR.match(code, at):
        unit, end = _Unit(Fraction(number.group())), number.end()
    else:
        end = at
    # UCUM §6 has annotations after units only; its own examples have them after numbers too ("/100{WBC}").
    annotation = _ANNOTATION.match(code, end)
    end = annotation.end() if annotation else end
    if end == at or not unit.factor:
        raise _Unknown(code)
    return unit, end


def _times(unit: _Unit, other: _Unit, power: int = 1) -> _Unit:
    """unit × otherᵖᵒʷᵉʳ."""
    size = max(other.factor.numerator.bit_length(), other.factor.denominator.bit_length())
    if size * abs(power) > MAX_BITS:
        raise _Unknown
    factor = unit.factor * other.factor**power
    if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > MAX_BITS:
        raise _Unknown
    powers = dict(unit.powers)
    for name, each in other.powers.items():
        powers[name] = powers.get(name, 0) + each * power
    return _Unit(factor, {name: each for name, each in powers.items() if each})


@lru_cache(maxsize=4096)
def _symbol(symbol: str) -> _Unit:
    """The unit of that symbol, or of a prefix and a metric unit."""
    table = _table()
    unit = _atom(symbol)
    if unit is not None:
        return unit
    for length in (1, 2):
        prefix, rest = table["prefixes"].get(symbol[:length]), symbol[length:]
        if prefix and rest in table["prefixed"]:
            found = _atom(rest)
            if found is not None:
                return _Unit(Fraction(prefix) * found.factor, found.powers)
    raise _Unknown(symbol)


def _atom(symbol: str) -> _Unit | None:
    table = _table()
    if symbol in table["dimensions"]:
        return _Unit(powers={symbol: 1})
    row = table["metric"].get(symbol) or table["plain"].get(symbol)
    return _times(_Unit(Fraction(row[0])), _parsed(row[1])) if row else None


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads(files("terminologies").joinpath("ucum", "units.json").read_bytes())
    arbitrary = table["arbitrary"]
    table["dimensions"] = frozenset((*table["base"], *arbitrary["metric"], *arbitrary["plain"]))
    table["prefixed"] = frozenset((*table["base"], *arbitrary["metric"], *table["metric"]))
    return table
