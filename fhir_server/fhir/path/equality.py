"""When items are equal, equivalent, or one before the other (https://hl7.org/fhirpath/N1/#equality)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

from fhir_server.fhir.path import amounts, moments
from fhir_server.fhir.path.amounts import Amount
from fhir_server.fhir.path.frame import Collection, Environment
from fhir_server.fhir.path.moments import Moment
from fhir_server.fhir.path.node import Node
from fhir_server.fhir.path.tokens import PathError
from fhir_server.fhir.path.values import Atom, atom

_CHARACTERS: Final = 20
"""How many characters of JSON are as much work as one node."""


def keys(environment: Environment, items: Collection) -> list[object]:
    """What equal items have in common and different ones do not, for each item: for sets of items."""
    found = [_key(item) for item in items]
    environment.spend(sum(len(each) // _CHARACTERS if type(each) is str else 1 for each in found))
    return found


def _key(node: Node) -> object:
    value = atom(node)
    if value is None:
        return json.dumps(node.value or node.companion, sort_keys=True, default=str)
    if isinstance(value, bool | str):
        return type(value), value
    if isinstance(value, Moment):
        clock = moments.in_utc(value)
        return value.kind == "Time", clock.fields, clock.offset if len(clock.fields) > 3 else None
    return amounts.comparable(value) if isinstance(value, Amount) else value


def distinct(environment: Environment, items: Collection) -> Collection:
    """The items, equal ones once, in order."""
    found: dict[object, Node] = {}
    for key, item in zip(keys(environment, items), items, strict=True):
        found.setdefault(key, item)
    return list(found.values())


def equal(environment: Environment, left: Collection, right: Collection) -> bool | None:
    """`=`: the same items in the same order; None where a side is empty or it cannot be decided."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    decided = [_equal(environment, one, other) for one, other in zip(left, right, strict=True)]
    if False in decided:
        return False
    return None if None in decided else True


def _equal(environment: Environment, left: Node, right: Node) -> bool | None:
    if left.value is None or right.value is None:
        return None  # an element with extensions alone has no value to compare
    one, other = _alike(atom(left), atom(right))
    if isinstance(one, Moment) and isinstance(other, Moment) and (one.kind == "Time") == (other.kind == "Time"):
        order = moments.compare(one, other)
        return None if order is None else order == 0
    if isinstance(one, Amount) and isinstance(other, Amount):
        return amounts.equals(one, other)
    if isinstance(one, Amount):
        return False
    key, of = keys(environment, [left, right])
    return key == of


def _alike(one: Atom | None, other: Atom | None) -> tuple[Atom | None, Atom | None]:
    """Both as quantities where one is and the other is a number."""
    if isinstance(one, Amount):
        return one, _as_amount(other)
    return (_as_amount(one), other) if isinstance(other, Amount) else (one, other)


def _as_amount(value: Atom | None) -> Atom | None:
    return Amount(Decimal(value)) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value


def equivalent(environment: Environment, left: Collection, right: Collection) -> bool:
    """`~`: the same items in any order, strings without regard to case and white space, numbers rounded."""
    if len(left) != len(right):
        return False
    environment.spend(len(left) * len(right))
    waiting = [_rough(environment, item) for item in right]
    for item in left:
        one = _rough(environment, item)
        position = next((at for at, other in enumerate(waiting) if _equivalent(one, other)), -1)
        if position < 0:
            return False
        del waiting[position]
    return True


def _rough(environment: Environment, node: Node) -> Atom | tuple[str]:
    """An item as equivalence looks at it: strings and objects as one text, in a tuple to tell it from a String."""
    value = atom(node)
    if value is not None and not isinstance(value, str):
        return value
    text = repr(_plain(node.value or node.companion if value is None else value))
    environment.spend(len(text) // _CHARACTERS)
    return (text,)


def _equivalent(left: Atom | tuple[str], right: Atom | tuple[str]) -> bool:
    if isinstance(left, tuple) or isinstance(right, tuple):
        return left == right
    one, other = _alike(left, right)
    if isinstance(one, Amount) and isinstance(other, Amount):
        return amounts.equivalent(one, other)
    if isinstance(one, Moment) and isinstance(other, Moment):
        return (one.kind == "Time") == (other.kind == "Time") and moments.compare(one, other) == 0
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | Decimal) and isinstance(other, int | Decimal):
        places = min(_places(one), _places(other))
        return round(Decimal(one), places) == round(Decimal(other), places)
    return False


def _places(number: int | Decimal) -> int:
    """How many decimals are written."""
    return max(-int(number.as_tuple().exponent), 0) if isinstance(number, Decimal) else 0


def _plain(value: Any) -> Any:
    """A JSON value with what equivalence does not look at taken away: case, white space, order, ids."""
    if type(value) is str:
        return " ".join(value.casefold().split())
    if type(value) is list:
        return sorted((_plain(each) for each in value), key=repr)
    if type(value) is dict:
        return {name: _plain(each) for name, each in value.items() if name != "id"}
    return value


def compare(left: Node, right: Node) -> int | None:
    """-1, 0 or 1; None where it cannot be decided; PathError for what has no order, or none together."""
    one, other = _alike(atom(left), atom(right))
    if one is None or other is None:
        if isinstance(left.value, dict) or isinstance(right.value, dict):
            raise PathError(f"{left.type} and {right.type} have no order")
        return None
    if isinstance(one, Moment) and isinstance(other, Moment) and (one.kind == "Time") == (other.kind == "Time"):
        return moments.compare(one, other)
    if isinstance(one, Amount) and isinstance(other, Amount):
        return amounts.compare(one, other)
    if isinstance(one, str) and isinstance(other, str):
        return (one > other) - (one < other)
    numbers = isinstance(one, int | Decimal) and isinstance(other, int | Decimal)
    if numbers and not isinstance(one, bool) and not isinstance(other, bool):
        return (one > other) - (one < other)  # type: ignore[operator]
    raise PathError(f"{left.type} and {right.type} have no order")
