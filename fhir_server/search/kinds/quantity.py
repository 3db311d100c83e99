"""Quantities with their units (https://hl7.org/fhir/R4/search.html#quantity); units are compared, not converted."""

from __future__ import annotations

from math import inf, nextafter
from typing import Any, Final

from fhir_server.search.entries import Amount
from fhir_server.search.kinds import number
from fhir_server.search.kinds.asked import Asked, split, unescape
from fhir_server.search.kinds.bounds import cut
from fhir_server.search.kinds.sink import Add, Sink, passed_over
from fhir_server.search.predicate import Predicate, QuantityIs

MODIFIERS: Final = frozenset({""})
CURRENCY: Final = "urn:iso:std:iso:4217"


def where(asked: Asked, text: str) -> Predicate:
    """`number`, or `number|system|code`; without a system the code may also be the unit as people read it."""
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) not in (1, 3):
        raise asked.malformed("A quantity is expected, such as 5.4 or 5.4|http://unitsofmeasure.org|mg.")
    prefix, low, high = number.read(asked, parts[0])
    system, code = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    return QuantityIs(asked.param, prefix, low, high, system or None, code or None)


def _quantity(param: str, value: Any, sink: Sink) -> None:
    if type(value) is not dict:
        return
    amount = number.finite(value.get("value"))
    if amount is not None:
        _add(param, _compared(amount, value.get("comparator")), value, sink)


def _compared(amount: float, comparator: Any) -> tuple[float, float]:
    """The closed range that `< <= >= >` leave to a value (https://hl7.org/fhir/R4/datatypes.html#Quantity)."""
    match comparator:
        case "<":
            return -inf, nextafter(amount, -inf)
        case "<=":
            return -inf, amount
        case ">=":
            return amount, inf
        case ">":
            return nextafter(amount, inf), inf
    return amount, amount


def _range(param: str, value: Any, sink: Sink) -> None:
    ends = number.limits(value) if type(value) is dict else None
    if ends:
        low, high = value.get("low"), value.get("high")
        _add(param, ends, low if type(low) is dict else high, sink)


def _money(param: str, value: Any, sink: Sink) -> None:
    if type(value) is not dict:
        return
    amount, currency = number.finite(value.get("value")), value.get("currency")
    if amount is not None:
        system, code = (CURRENCY, cut(currency)) if type(currency) is str else ("", "")
        sink.quantities.append(Amount(param, system, code, amount, amount))


def _add(param: str, ends: tuple[float, float], quantity: dict[str, Any], sink: Sink) -> None:
    """An entry for the unit's code, and one for its name where that differs."""
    system, code, unit = (
        cut(each) if type(each) is str else "" for each in map(quantity.get, ("system", "code", "unit"))
    )
    sink.quantities.append(Amount(param, system, code, *ends))
    if unit and unit != code:
        sink.quantities.append(Amount(param, "", unit, *ends))


ADD: Final[dict[str, Add]] = {
    "Quantity": _quantity,
    "Age": _quantity,
    "Count": _quantity,
    "Distance": _quantity,
    "Duration": _quantity,
    "Range": _range,
    "Money": _money,
    # A series of measurements has no one value to compare with.
    "SampledData": passed_over,
}
