"""Quantities of FHIRPath: a number with a UCUM or a calendar unit (https://hl7.org/fhirpath/N1/#quantity)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.ucum import MAX_LENGTH, canonical

CALENDAR: Final[Mapping[str, str]] = MappingProxyType(
    {
        f"{unit}{plural}": unit
        for unit in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
        for plural in ("", "s")
    }
)
"""Calendar words → their singular."""

# Calendar units that last as long as a unit of UCUM; a year and a month do not (`a` is 365.25 days).
_EXACT: Final = {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}
_ROUGH: Final = {"year": "a", "month": "mo"}
DEFINITE: Final[Mapping[str, str]] = MappingProxyType({code: unit for unit, code in _EXACT.items()})
"""Codes of UCUM that can be added to a date → the calendar unit they are."""

_simple = re.compile(r"[A-Za-z\[\]_]+").fullmatch


@dataclass(frozen=True, slots=True)
class Amount:
    """`unit`: a code of UCUM, "1" without; or, where `calendar`, a calendar unit in the singular."""

    value: Decimal
    unit: str = "1"
    calendar: bool = False

    def __str__(self) -> str:
        if self.calendar:
            return f"{self.value:f} {self.unit}" + ("" if self.value == 1 else "s")
        return f"{self.value:f} '{self.unit}'"


def amount_in(value: Decimal, unit: str) -> Amount:
    """The amount of a unit as it is written, a word of the calendar or a code."""
    return Amount(value, CALENDAR[unit], True) if unit in CALENDAR else Amount(value, unit)


def comparable(amount: Amount) -> tuple[Decimal, str]:
    """The amount in base units; amounts with the same second part can be compared.

    Calendar years and months are comparable to one another only, a unit that UCUM does not know to itself.
    """
    if amount.calendar and amount.unit in _ROUGH:
        return amount.value * (12 if amount.unit == "year" else 1), "month"
    code = _EXACT[amount.unit] if amount.calendar else amount.unit
    return canonical(amount.value, code) or (amount.value, f"'{code}'")


def equals(left: Amount, right: Amount) -> bool | None:
    """`=`; None where the units cannot be compared."""
    order = compare(left, right)
    return None if order is None else order == 0


def compare(left: Amount, right: Amount) -> int | None:
    """-1, 0 or 1; None where the units cannot be compared."""
    (one, unit), (other, of) = comparable(left), comparable(right)
    return (one > other) - (one < other) if unit == of else None


def equivalent(left: Amount, right: Amount) -> bool:
    """`~`: equal when rounded as the less precise one is written; a calendar year is an `a`, a month a `mo`."""
    one, other = _definite(left), _definite(right)
    (low, unit), (high, of) = comparable(one), comparable(other)
    coarse = max(_last_digit(one), _last_digit(other))
    return unit == of and (not coarse or round(low / coarse) == round(high / coarse))


def multiply(left: Amount, right: Amount) -> Amount | None:
    """The product, in the product of the units; None where that is longer than any unit."""
    value = left.value * right.value
    one, other = _code(left), _code(right)
    if "1" in (one, other):
        return Amount(value, other if one == "1" else one)
    return _in_unit(value, f"{_factor(one)}.{_factor(other)}")


def divide(left: Amount, right: Amount) -> Amount | None:
    """The quotient, in the quotient of the units; `right` is not zero. None as for `multiply`."""
    value = left.value / right.value
    one, other = _code(left), _code(right)
    if other == "1" or one == other:
        return Amount(value, one if other == "1" else "1")
    return _in_unit(value, f"{_factor(one)}/{_factor(other)}")


def _in_unit(value: Decimal, unit: str) -> Amount | None:
    return Amount(value, unit) if len(unit) <= MAX_LENGTH else None


def _definite(amount: Amount) -> Amount:
    return Amount(amount.value, _ROUGH[amount.unit]) if amount.calendar and amount.unit in _ROUGH else amount


def _last_digit(amount: Amount) -> Decimal:
    """What one in the last digit of the amount is in base units."""
    exponent = min(int(amount.value.as_tuple().exponent), 0)
    zero, one = (comparable(Amount(value, amount.unit, amount.calendar))[0] for value in (Decimal(0), Decimal(1)))
    return abs(one - zero).scaleb(exponent)


def _code(amount: Amount) -> str:
    return {**_EXACT, **_ROUGH}[amount.unit] if amount.calendar else amount.unit


def _factor(code: str) -> str:
    return code if _simple(code) else f"({code})"
