"""Sums, differences, products and quotients; of numbers, strings, quantities and dates (N1 §6.6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path import amounts, moments
from fhir_server.fhir.path.amounts import DEFINITE, Amount
from fhir_server.fhir.path.frame import Collection, Environment
from fhir_server.fhir.path.functions import single, string
from fhir_server.fhir.path.moments import Moment
from fhir_server.fhir.path.node import Node
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.values import Atom, atom, node_of

CONTEXT: Final = Context(prec=34, traps=[DivisionByZero, InvalidOperation, Overflow])
"""Decimals of 34 digits; what does not fit is an error, and then an empty result."""

_LARGEST: Final = 2**31


def computed(value: Atom | None) -> Collection:
    """The result of a calculation; empty where there is none, or an Integer beyond 32 bits."""
    if value is None or (type(value) is int and not -_LARGEST <= value < _LARGEST):
        return []
    if isinstance(value, Moment):
        return [Node(value, "System." + value.kind)]
    return [node_of(value)]


def is_number(value: object) -> bool:
    """Whether it is an Integer or a Decimal."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _operator(name: str, calculate: Callable[[Atom, Atom], Atom | None]) -> Callable[..., Collection]:
    def operated(environment: Environment, left: Collection, right: Collection) -> Collection:
        one, other = single(left, name), single(right, name)
        if one is None or other is None:
            return []
        a, b = atom(one), atom(other)
        if a is None or b is None:
            if isinstance(one.value, dict) or isinstance(other.value, dict):
                raise PathError(f"{one.type} {name} {other.type} means nothing")
            return []
        if isinstance(a, str) and isinstance(b, str):
            environment.write(len(a) + len(b))
        try:
            return computed(calculate(a, b))
        except (DivisionByZero, InvalidOperation, Overflow):
            return []
        except TypeError:
            raise PathError(f"{one.type} {name} {other.type} means nothing") from None

    return operated


def _add(one: Atom, other: Atom) -> Atom | None:
    if isinstance(one, str) and isinstance(other, str):
        return one + other
    if isinstance(one, Moment) and isinstance(other, Amount):
        return _later(one, other, 1)
    if isinstance(one, Amount) and isinstance(other, Amount):
        return _sum(one, other, 1)
    if isinstance(one, int) and isinstance(other, int) and is_number(one) and is_number(other):
        return one + other
    return CONTEXT.add(_decimal(one), _decimal(other))


def _subtract(one: Atom, other: Atom) -> Atom | None:
    if isinstance(one, Moment) and isinstance(other, Amount):
        return _later(one, other, -1)
    if isinstance(one, Amount) and isinstance(other, Amount):
        return _sum(one, other, -1)
    if isinstance(one, int) and isinstance(other, int) and is_number(one) and is_number(other):
        return one - other
    return CONTEXT.subtract(_decimal(one), _decimal(other))


def _later(moment: Moment, amount: Amount, sign: int) -> Moment | None:
    unit = amount.unit if amount.calendar else DEFINITE.get(amount.unit)
    if unit is None:
        raise TypeError
    return moments.add(moment, amount.value * sign, unit)


def _sum(one: Amount, other: Amount, sign: int) -> Amount | None:
    """In the unit they share, else in base units; None where they cannot be compared."""
    if (one.unit, one.calendar) == (other.unit, other.calendar):
        return Amount(CONTEXT.add(one.value, other.value * sign), one.unit, one.calendar)
    (a, unit), (b, of) = amounts.comparable(one), amounts.comparable(other)
    return Amount(CONTEXT.add(a, b * sign), unit, unit == "month") if unit == of else None


def _multiply(one: Atom, other: Atom) -> Atom | None:
    if isinstance(one, Amount) or isinstance(other, Amount):
        return amounts.multiply(_amount(one), _amount(other))
    if isinstance(one, int) and isinstance(other, int) and is_number(one) and is_number(other):
        return one * other
    return CONTEXT.multiply(_decimal(one), _decimal(other))


def _divide(one: Atom, other: Atom) -> Atom | None:
    if isinstance(one, Amount) or isinstance(other, Amount):
        divisor = _amount(other)
        return amounts.divide(_amount(one), divisor) if divisor.value else None
    return CONTEXT.divide(_decimal(one), _decimal(other))


def _div(one: Atom, other: Atom) -> Atom | None:
    return int(CONTEXT.divide_int(_decimal(one), _decimal(other)))


def _mod(one: Atom, other: Atom) -> Atom | None:
    rest = CONTEXT.remainder(_decimal(one), _decimal(other))
    return int(rest) if isinstance(one, int) and isinstance(other, int) else rest


def _decimal(value: Atom) -> Decimal:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    raise TypeError


def _amount(value: Atom) -> Amount:
    return value if isinstance(value, Amount) else Amount(_decimal(value))


def _concatenate(environment: Environment, left: Collection, right: Collection) -> Collection:
    """`&`: an empty side counts as an empty string."""
    parts = [single(left, "&"), single(right, "&")]
    texts = ["" if part is None else atom(part) or "" for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise PathError("& is for strings")
    environment.write(sum(len(str(text)) for text in texts))
    return string("".join(map(str, texts)))


def negative(items: Collection, negated: bool) -> Collection:
    """`-items`, or `+items`; PathError for what is no number or quantity."""
    item = single(items, "a sign")
    value = None if item is None else atom(item)
    if value is None:
        return []
    if isinstance(value, Amount):
        return computed(Amount(-value.value, value.unit, value.calendar)) if negated else items
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        raise PathError("a sign is for numbers")
    return computed(-value) if negated else items


ARITHMETIC: Final[Mapping[str, Callable[..., Collection]]] = MappingProxyType(
    {
        "+": _operator("+", _add),
        "-": _operator("-", _subtract),
        "*": _operator("*", _multiply),
        "/": _operator("/", _divide),
        "div": _operator("div", _div),
        "mod": _operator("mod", _mod),
        "&": _concatenate,
    }
)
