"""What the value of a node is to FHIRPath: a Boolean, a String, a number, a moment, an amount, or none of them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from fhir_server.fhir.path.amounts import Amount
from fhir_server.fhir.path.moments import Kind, Moment, parse_moment
from fhir_server.fhir.path.node import SYSTEM, Node

Atom: TypeAlias = bool | int | Decimal | str | Moment | Amount
"""A value FHIRPath calculates with."""

UCUM: Final = "http://unitsofmeasure.org"

_MOMENTS: Final[Mapping[str, Kind]] = MappingProxyType(
    {"date": "Date", "dateTime": "DateTime", "instant": "DateTime", "time": "Time"}
)
_QUANTITIES: Final = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"})
STRINGS: Final = frozenset({"System.String", "string", "uri"})
"""The types, and what specialises them, that are Strings."""


def atom(node: Node) -> Atom | None:
    """The value of a node; None of an object that is no Quantity, and of a primitive element without value.

    What stands where R4 expects something else keeps the meaning its JSON has: nothing is raised.
    """
    value = node.value
    kind = type(value)
    if kind is str:
        return _text(value, node.type)
    if kind is dict:
        return _amount(value) if node.type in _QUANTITIES else None
    if kind is float:
        return _number(value)
    if kind is Decimal:
        return value if _can_be_written(value) else None
    if kind is int:
        return _integer(value, node.type)
    return value if kind in _ATOMS else None


_ATOMS: Final = frozenset({bool, Moment, Amount})
_DIGITS: Final = 400


def _can_be_written(number: Decimal) -> bool:
    """Whether the number has some hundred digits at most, with its zeros: 1E+999999999 is one too."""
    return number.is_finite() and abs(number.adjusted()) < _DIGITS and len(number.as_tuple().digits) < _DIGITS


def _integer(value: int, type_: str) -> int | Decimal | None:
    if value.bit_length() > _DIGITS:
        return None
    return Decimal(value) if type_ == "decimal" else value


def _text(value: str, type_: str) -> Atom:
    kind = _MOMENTS.get(type_)
    return value if kind is None else parse_moment(value, kind) or value


def _number(value: float) -> Decimal | None:
    number = Decimal(repr(value))
    return number if _can_be_written(number) else None


def _amount(quantity: dict[str, Any]) -> Amount | None:
    """A FHIR Quantity: by its code if that is of UCUM, else by its unit; None without value or with a comparator."""
    number = quantity.get("value")
    value = atom(Node(number, "decimal")) if type(number) in (int, float, Decimal) else None
    if not isinstance(value, Decimal) or "comparator" in quantity:
        return None
    unit = quantity.get("code") if quantity.get("system") == UCUM else quantity.get("unit", quantity.get("code"))
    return Amount(value, unit if type(unit) is str and unit else "1")


def node_of(value: Any) -> Node:
    """The node of a value that was computed or given from outside."""
    if isinstance(value, Node):
        return value
    if isinstance(value, Moment):
        return Node(value, SYSTEM + value.kind)
    return Node(value, SYSTEM + _TYPES.get(type(value), "Any"))


_TYPES: Final[Mapping[type, str]] = MappingProxyType(
    {bool: "Boolean", int: "Integer", Decimal: "Decimal", str: "String", Amount: "Quantity"}
)


def decimal_of(text: str) -> Decimal | None:
    """A number as text; None for anything else."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if _can_be_written(number) else None
