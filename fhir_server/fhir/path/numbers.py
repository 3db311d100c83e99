"""Functions of FHIRPath on numbers and quantities (§5.7)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal, DecimalException
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path.amounts import Amount
from fhir_server.fhir.path.arithmetic import CONTEXT, computed, is_number
from fhir_server.fhir.path.filtering import number_of
from fhir_server.fhir.path.frame import Collection, Environment
from fhir_server.fhir.path.functions import Function, Functions, single
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.values import Atom, atom

NUMBERS: Final = frozenset(
    {"System.Integer", "System.Decimal", "System.Quantity", "integer", "decimal", "Quantity", "System.Any"}
)
MAX_PLACES: Final = 31
"""How many decimals a number may be asked for."""


def _number(items: Collection) -> Decimal | None:
    item = single(items, "a mathematical function")
    value = None if item is None else atom(item)
    if value is None:
        return None
    if not is_number(value):
        raise PathError("a mathematical function is for numbers")
    return Decimal(value)  # type: ignore[arg-type]


def absolute(environment: Environment, items: Collection) -> Collection:
    """`abs()`: without its sign, a quantity in its unit."""
    item = single(items, "abs()")
    value = None if item is None else atom(item)
    if isinstance(value, Amount):
        return computed(Amount(abs(value.value), value.unit, value.calendar))
    if isinstance(value, int) and not isinstance(value, bool):
        return computed(abs(value))
    number = _number(items)
    return [] if number is None else computed(abs(number))


def _to_integer(rounding: str) -> Callable[[Environment, Collection], Collection]:
    def rounded(environment: Environment, items: Collection) -> Collection:
        number = _number(items)
        return [] if number is None else computed(int(number.to_integral_value(rounding)))

    return rounded


def _calculated(calculate: Callable[[Decimal], Decimal]) -> Callable[[Environment, Collection], Collection]:
    def call(environment: Environment, items: Collection) -> Collection:
        number = _number(items)
        return [] if number is None else _guarded(lambda: calculate(number))

    return call


def _guarded(calculate: Callable[[], Atom | None]) -> Collection:
    """The result of a calculation; empty where it has none that can be written."""
    try:
        return computed(calculate())
    except DecimalException:
        return []


def rounded(environment: Environment, items: Collection, places: Collection | None = None) -> Collection:
    """`round()`: half away from zero, to so many decimals."""
    number = _number(items)
    digits = number_of(places, "the precision of round()") if places else 0
    if number is None or digits is None:
        return []
    if not 0 <= digits <= MAX_PLACES:
        raise PathError(f"round() is to 0 to {MAX_PLACES} decimals")
    return _guarded(lambda: number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, CONTEXT))


def logarithm(environment: Environment, items: Collection, base: Collection) -> Collection:
    """`log(base)`; empty where it has none."""
    number, of = _number(items), _number(base)
    if number is None or of is None or number <= 0 or of <= 0 or of == 1:
        return []
    return _guarded(lambda: _near(CONTEXT.divide(CONTEXT.ln(number), CONTEXT.ln(of))))


def power(environment: Environment, items: Collection, exponent: Collection) -> Collection:
    """`power(exponent)`; empty where it is no number. Of two Integers an Integer."""
    number, to = _number(items), _number(exponent)
    if number is None or to is None or (number < 0 and to != int(to)):
        return []
    found = _guarded(lambda: CONTEXT.power(number, to))
    whole = type(atom(items[0])) is int and type(atom(exponent[0])) is int and to >= 0
    return computed(int(found[0].value)) if whole and found and abs(found[0].value) < 2**31 else [] if whole else found


def _near(number: Decimal) -> Decimal:
    """A logarithm whose last digits are noise, without them: that of 16 to 2 is 4."""
    return CONTEXT.normalize(number.quantize(Decimal(1).scaleb(-20), ROUND_HALF_UP, CONTEXT))


def _root(number: Decimal) -> Decimal:
    return CONTEXT.sqrt(number)


def _math(call: Callable[..., Collection], least: int = 0, most: int = 0, gives: str = "Decimal") -> Function:
    return Function(call, least, most or least, gives, NUMBERS)


FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "abs": _math(absolute, gives=""),
        "ceiling": _math(_to_integer(ROUND_CEILING), gives="Integer"),
        "floor": _math(_to_integer(ROUND_FLOOR), gives="Integer"),
        "truncate": _math(_to_integer(ROUND_DOWN), gives="Integer"),
        "round": _math(rounded, 0, 1),
        "sqrt": _math(_calculated(_root)),
        "exp": _math(_calculated(CONTEXT.exp)),
        "ln": _math(_calculated(CONTEXT.ln)),
        "log": _math(logarithm, 1),
        "power": _math(power, 1, gives=""),
    }
)
