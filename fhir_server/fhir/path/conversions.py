"""Conversions of FHIRPath between its own types (§5.5), and iif and type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from fhir_server.fhir.path.amounts import CALENDAR, Amount, amount_in, comparable
from fhir_server.fhir.path.arithmetic import computed
from fhir_server.fhir.path.frame import Collection, Environment, Frame, Run
from fhir_server.fhir.path.functions import Function, Functions, boolean, single
from fhir_server.fhir.path.moments import DAY, Kind, Moment, parse_moment
from fhir_server.fhir.path.strings import text_of
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.types import type_info
from fhir_server.fhir.path.values import Atom, atom, decimal_of

Conversion = Callable[[Atom], Atom | None]

_integer = re.compile(r"[+-]?\d{1,10}", re.ASCII).fullmatch
_decimal = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII).fullmatch
_quantity = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:'([^']+)'|([a-z]+))?", re.ASCII).fullmatch
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0", "0.0"})


def _to_boolean(value: Atom) -> Atom | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | Decimal):
        return bool(value) if value in (0, 1) else None
    text = value.lower() if isinstance(value, str) else ""
    return True if text in _TRUE else False if text in _FALSE else None


def _to_integer(value: Atom) -> Atom | None:
    if isinstance(value, int):
        return int(value)
    return int(value) if isinstance(value, str) and _integer(value) else None


def _to_decimal(value: Atom) -> Atom | None:
    if isinstance(value, int | Decimal):
        return Decimal(value)
    return decimal_of(value) if isinstance(value, str) and _decimal(value) else None


def to_text(value: Atom) -> str:
    """A value as FHIRPath writes it: a decimal with the digits it has, a date as precise as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _to_moment(kind: Kind) -> Conversion:
    def convert(value: Atom) -> Atom | None:
        if isinstance(value, str):
            return parse_moment(value, kind)
        if not isinstance(value, Moment) or (value.kind == "Time") != (kind == "Time"):
            return None
        if kind == "Date" and value.precision > DAY:
            return Moment(kind, value.fields[: DAY + 1])
        return Moment(kind, value.fields, value.offset)

    return convert


def _to_quantity(value: Atom) -> Amount | None:
    if isinstance(value, Amount):
        return value
    if isinstance(value, int | Decimal):
        return Amount(Decimal(value))
    found = _quantity(value) if isinstance(value, str) else None
    number = decimal_of(found[1]) if found else None
    if not found or number is None or (found[3] and found[3] not in CALENDAR):
        return None
    return amount_in(number, found[2] or found[3] or "1")


def to_quantity(environment: Environment, items: Collection, unit: Collection | None = None) -> Collection:
    """`toQuantity([unit])`: in that unit, empty where it cannot be."""
    item = single(items, "toQuantity()")
    value = None if item is None else atom(item)
    amount = None if value is None else _to_quantity(value)
    wanted = text_of(unit) if unit else None
    if amount is None or wanted is None:
        return computed(amount)
    (base, kind), (one, of) = comparable(amount), comparable(amount_in(Decimal(1), wanted))
    return computed(amount_in(base / one, wanted)) if kind == of and one else []


_CONVERSIONS: Final[Mapping[str, Conversion]] = MappingProxyType(
    {
        "Boolean": _to_boolean,
        "Integer": _to_integer,
        "Decimal": _to_decimal,
        "String": to_text,
        "Date": _to_moment("Date"),
        "DateTime": _to_moment("DateTime"),
        "Time": _to_moment("Time"),
    }
)


def _converting(name: str, convert: Conversion) -> Callable[[Environment, Collection], Collection]:
    def converted(environment: Environment, items: Collection) -> Collection:
        item = single(items, name)
        value = None if item is None else atom(item)
        return [] if value is None else computed(convert(value))

    return converted


def _asking(convert: Callable[..., Collection]) -> Callable[..., Collection]:
    def asked(environment: Environment, items: Collection, *unit: Collection) -> Collection:
        return boolean(bool(convert(environment, items, *unit))) if items else []

    return asked


def if_else(frame: Frame, items: Collection, criterion: Run, then: Run, otherwise: Run | None = None) -> Collection:
    """`iif()`: the one or the other; what is not chosen is not evaluated."""
    single(items, "iif()")
    inner = Frame(frame.environment, items, frame.index, frame.total)
    decided = single(criterion(inner), "the criterion of iif()")
    if decided is not None and type(decided.value) is not bool:
        raise PathError("the criterion of iif() is a Boolean")
    if decided is not None and decided.value:
        return then(inner)
    return otherwise(inner) if otherwise else []


def types_of(environment: Environment, items: Collection) -> Collection:
    """`type()`: what is known of the type of each item."""
    return [type_info(item) for item in items]


_TABLE: Final = {name: _converting(f"to{name}()", convert) for name, convert in _CONVERSIONS.items()}

FUNCTIONS: Final[Functions] = MappingProxyType(
    {
        "iif": Function(if_else, 2, 3, lazy=True),
        "type": Function(types_of),
        "toQuantity": Function(to_quantity, 0, 1, "Quantity"),
        "convertsToQuantity": Function(_asking(to_quantity), 0, 1, "Boolean"),
        **{f"to{name}": Function(call, gives=name) for name, call in _TABLE.items()},
        **{f"convertsTo{name}": Function(_asking(call), gives="Boolean") for name, call in _TABLE.items()},
    }
)
