"""What a value that is written so precisely can be: lowBoundary, highBoundary, precision, comparable (§5.7)."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, DecimalException
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path import amounts
from fhir_server.fhir.path.amounts import Amount
from fhir_server.fhir.path.arithmetic import CONTEXT, computed, is_number
from fhir_server.fhir.path.filtering import number_of
from fhir_server.fhir.path.frame import Collection, Environment
from fhir_server.fhir.path.functions import Function, Functions, boolean, integer, single
from fhir_server.fhir.path.moments import Moment
from fhir_server.fhir.path.numbers import MAX_PLACES
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.values import Atom, atom

# Digits of a date or time → how many of its fields they write.
_DATE_DIGITS: Final = {4: 1, 6: 2, 8: 3, 10: 4, 12: 5, 17: 6}
_TIME_DIGITS: Final = {2: 4, 4: 5, 9: 6}
_DEFAULTS: Final = {"Date": 8, "DateTime": 17, "Time": 9}
_LAST: Final = (9999, 12, 31, 23, 59, Decimal("59.999"))
_FIRST: Final = (1, 1, 1, 0, 0, Decimal("0.000"))
_WEST, _EAST = -12 * 60, 14 * 60


def _boundary(high: bool) -> Callable[..., Collection]:
    def bounded(environment: Environment, items: Collection, digits: Collection | None = None) -> Collection:
        item = single(items, "a boundary")
        value = None if item is None else atom(item)
        places = number_of(digits, "the precision of a boundary") if digits else None
        return [] if value is None else computed(_bound(value, places, high))

    return bounded


def _bound(value: Atom, places: int | None, high: bool) -> Atom | None:
    if isinstance(value, Moment):
        return _of_moment(value, places, high)
    if isinstance(value, Amount):
        number = _of_number(value.value, places, high)
        return None if number is None else Amount(number, value.unit, value.calendar)
    if is_number(value):
        return _of_number(Decimal(value), places, high)
    raise PathError("a boundary is of a number, a quantity, a date or a time")


def _of_number(number: Decimal, places: int | None, high: bool) -> Decimal | None:
    """Half of the last digit away, to so many decimals, 8 unless told."""
    places = 8 if places is None else places
    if not 0 <= places <= MAX_PLACES:
        return None
    half = Decimal(5).scaleb(min(int(number.as_tuple().exponent), 0) - 1)
    try:
        edge = CONTEXT.add(number, half if high else -half)
        return edge.quantize(Decimal(1).scaleb(-places), ROUND_CEILING if high else ROUND_FLOOR, CONTEXT)
    except DecimalException:
        return None


def _of_moment(moment: Moment, digits: int | None, high: bool) -> Moment | None:
    """The first or the last moment it can be, written with so many digits; without offset, anywhere on earth."""
    table = _TIME_DIGITS if moment.kind == "Time" else _DATE_DIGITS
    wanted = table.get(_DEFAULTS[moment.kind] if digits is None else digits)
    if wanted is None or (moment.kind == "Date" and wanted > 3):
        return None
    fields = list(moment.fields[:wanted])
    for position in range(len(fields), wanted):
        last = monthrange(int(fields[0]), int(fields[1]))[1] if position == 2 else _LAST[position]
        fields.append(last if high else _FIRST[position])
    if wanted == 6:
        fields[5] = _milliseconds(Decimal(fields[5]), high)
    offset = moment.offset
    if moment.kind == "DateTime" and wanted > 3 and offset is None:
        offset = _WEST if high else _EAST
    return Moment(moment.kind, tuple(fields), offset if wanted > 3 else None)


def _milliseconds(second: Decimal, high: bool) -> Decimal:
    """A second with three digits of its fraction, those it lacks 0 or 9."""
    digits = min(max(-int(second.as_tuple().exponent), 0), 3)
    missing = Decimal(10 ** (3 - digits) - 1).scaleb(-3) if high else Decimal(0)
    return (second + missing).quantize(Decimal("0.001"), ROUND_FLOOR)


def precision(environment: Environment, items: Collection) -> Collection:
    """How many digits are written: after the point of a decimal, all of a date or time."""
    item = single(items, "precision()")
    value = None if item is None else atom(item)
    if value is None:
        return []
    if isinstance(value, Moment):
        clock = str(Moment(value.kind, value.fields))
        return integer(sum(character.isdigit() for character in clock))
    if not is_number(value):
        raise PathError("precision() is of a decimal, a date or a time")
    return integer(max(-int(Decimal(value).as_tuple().exponent), 0))  # type: ignore[arg-type]


def is_comparable(environment: Environment, items: Collection, other: Collection) -> Collection:
    """`comparable()`: whether two quantities have units of one kind."""
    one, two = single(items, "comparable()"), single(other, "comparable()")
    if one is None or two is None:
        return []
    left, right = atom(one), atom(two)
    if not isinstance(left, Amount) or not isinstance(right, Amount):
        raise PathError("comparable() is for quantities")
    return boolean(amounts.comparable(left)[1] == amounts.comparable(right)[1])


FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "lowBoundary": Function(_boundary(False), 0, 1),
        "highBoundary": Function(_boundary(True), 0, 1),
        "precision": Function(precision, gives="Integer"),
        "comparable": Function(is_comparable, 1, 1, "Boolean"),
    }
)
